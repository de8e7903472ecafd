"""The section ``model`` of a configuration: one class per kind of model, with open places for what the data say."""

from __future__ import annotations

import functools
import operator
from typing import Annotated, Any, Literal, Optional

from pydantic import BaseModel, BeforeValidator, Field, create_model

from irrepnet.errors import did_you_mean
from irrepnet.models.registry import MODELS

__all__ = ["SECTIONS", "ModelSection", "determined_by_data"]

DEFAULT_KIND = "force_field"


def determined_by_data(kind: str) -> tuple[str, ...]:
    """Return the keys that may be ``null`` in a training configuration, because the training frames tell them.

    Example:
        >>> determined_by_data("property")
        ('species', 'avg_num_neighbors')
    """
    config_class: Any = MODELS[kind][0]
    return tuple(config_class.DETERMINED_BY_DATA)


def _model_section(kind: str) -> type[BaseModel]:
    """Return the config class of a model with ``kind``, and with optional values for what the data determine."""
    config_class, _ = MODELS[kind]
    fields: dict[str, Any] = {"kind": (Literal[kind], Field(kind, description="which model"))}
    for name in determined_by_data(kind):
        field = config_class.model_fields[name]
        annotation: Any = field.annotation
        for constraint in field.metadata:
            annotation = Annotated[annotation, constraint]
        description = f"{field.description}; null: from the training frames"
        fields[name] = (Optional[annotation], Field(None, description=description))  # noqa: UP045 - built at run time
    return create_model(f"{config_class.__name__}Section", __base__=config_class, __doc__="The network.", **fields)


SECTIONS: dict[str, type[BaseModel]] = {kind: _model_section(kind) for kind in MODELS}


def _of_its_kind(value: Any) -> Any:
    """Validate a mapping as its ``kind`` says; mistakes are then those of one class, not of each in turn."""
    if not isinstance(value, dict):
        return value
    kind = value.get("kind", DEFAULT_KIND)
    if kind not in SECTIONS:
        raise ValueError(
            f"kind needs to be one of {', '.join(SECTIONS)}; found {kind!r}.{did_you_mean(kind, SECTIONS)}"
        )
    return SECTIONS[kind].model_validate(value)


ModelSection = Annotated[functools.reduce(operator.or_, SECTIONS.values()), BeforeValidator(_of_its_kind)]  # type: ignore[valid-type]
