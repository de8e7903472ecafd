"""The models that irrepnet can train, save and load, by the name that configurations and model files use."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from torch import nn

from irrepnet.errors import ConfigError, did_you_mean
from irrepnet.models.force_field import ForceField, ForceFieldConfig
from irrepnet.models.property import PropertyConfig, PropertyModel
from irrepnet.models.tensor import TensorConfig, TensorModel

__all__ = ["MODELS", "build_model", "kind_of"]

MODELS: dict[str, tuple[type[BaseModel], type[nn.Module]]] = {
    "force_field": (ForceFieldConfig, ForceField),
    "property": (PropertyConfig, PropertyModel),
    "tensor": (TensorConfig, TensorModel),
}


def build_model(kind: str, config: BaseModel | dict[str, Any]) -> nn.Module:
    """Build a model with fresh weights.

    Args:
        kind: A key of ``MODELS``.
        config: The model's configuration, validated or as plain values.

    Raises:
        ConfigError: If there is no such kind.
        pydantic.ValidationError: If the configuration is not valid (a ``ValueError`` too).

    Example:
        >>> build_model("force_field", {"species": ["H", "O"], "irreps_hidden": "4x0e+4x1o"}).config.cutoff
        4.5
        >>> build_model("force", {})
        Traceback (most recent call last):
        irrepnet.errors.ConfigError: a model's kind is one of ...; found 'force'. Did you mean 'force_field'?
    """
    if kind not in MODELS:
        raise ConfigError(
            f"a model's kind is one of {', '.join(MODELS)}; found {kind!r}.{did_you_mean(str(kind), MODELS)}"
        )
    config_class, model_class = MODELS[kind]
    return model_class(config_class.model_validate(config))


def kind_of(model: nn.Module) -> str:
    """Return the name of a model's class in ``MODELS``.

    Raises:
        ConfigError: If the model is not of a registered class.

    Example:
        >>> kind_of(build_model("force_field", {"species": ["H"], "irreps_hidden": "4x0e+4x1o"}))
        'force_field'
    """
    for kind, (_, model_class) in MODELS.items():
        if type(model) is model_class:
            return kind
    raise ConfigError(
        f"a model of a registered class is needed ({', '.join(MODELS)}); found {type(model).__name__}; "
        "add the class to irrepnet.models.registry.MODELS, or save its tensors with save_tensors"
    )
