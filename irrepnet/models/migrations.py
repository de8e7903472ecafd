"""Bring what an older irrepnet wrote into the format of this one.

``MIGRATIONS[n]`` takes the tensors and the metadata of a file of format n to those of format n + 1; a file goes through
all that it needs, one after the other. A new format is needed when the name, shape or meaning of a weight or of a
configuration key changes, or when a new key has a default that is not what the older code did. To add format n + 1:

1. before the change, write a small file with the released code into ``tests/golden``, and what it predicts beside it;
2. write ``_from_n`` and add it to ``MIGRATIONS``, which raises ``FORMAT_VERSION``;
3. let ``tests/models/test_migrations.py`` load the new golden file too. Migrations that exist stay as they are: they
   speak of formats that do not change any more, so they import nothing of the models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from irrepnet.errors import CheckpointError

__all__ = ["FORMAT_VERSION", "MIGRATIONS", "migrate", "with_younger_keys"]

Contents = tuple[dict[str, Tensor], Any]


def _from_1(tensors: dict[str, Tensor], metadata: Any) -> Contents:
    """The layers of a force field became those of its trunk; radial networks and repulsion got alternatives."""

    def renamed(name: str) -> str:
        for prefix in ("", "model.", "averaged.module."):  # of a model file; of the state of a run
            own = name.removeprefix(prefix)
            if name.startswith(prefix) and (own == "embedding" or own.startswith("layers.")):
                return f"{prefix}trunk.{own}"
        return name

    def completed(config: Any) -> Any:
        return {"radial_species": "shared", "repulsion": "none", **config} if isinstance(config, dict) else config

    match metadata:
        case {"kind": "force_field", "config": config}:
            metadata = {**metadata, "config": completed(config)}
        case {"config": {"model": model}, "progress": _}:
            metadata = {**metadata, "config": {**metadata["config"], "model": completed(model)}}
        case _:
            return tensors, metadata  # tensors of somebody else's
    return {renamed(name): tensor for name, tensor in tensors.items()}, metadata


_UNSAID_IN_2 = {"radial_decay": 0.0}  # keys of models that are younger than format 2, with what the code did then


def _from_2(tensors: dict[str, Tensor], metadata: Any) -> Contents:
    """Bessel functions were all of one size."""

    def completed(config: Any) -> Any:
        return {**_UNSAID_IN_2, **config} if isinstance(config, dict) else config

    match metadata:
        case {"kind": "force_field" | "property" | "tensor", "config": config}:
            metadata = {**metadata, "config": completed(config)}
        case {"config": {"model": section}, "progress": _}:
            metadata = {**metadata, "config": {**metadata["config"], "model": completed(section)}}
            if "model" in metadata:
                metadata["model"] = completed(metadata["model"])
    return tensors, metadata


MIGRATIONS: dict[int, Callable[[dict[str, Tensor], Any], Contents]] = {1: _from_1, 2: _from_2}
FORMAT_VERSION = 1 + max(MIGRATIONS)


def with_younger_keys(section: dict[str, Any]) -> dict[str, Any]:
    """Return a complete section ``model`` of the folder of a run or study with the keys that are younger than it.

    Their values are what the code did when it was written, not today's defaults. A section that a user wrote is not
    complete, and stays.

    Example:
        >>> with_younger_keys({"num_basis": 8, "cutoff": 4.0}), with_younger_keys({"cutoff": 4.0})
        ({'radial_decay': 0.0, 'num_basis': 8, 'cutoff': 4.0}, {'cutoff': 4.0})
    """
    return {**_UNSAID_IN_2, **section} if "num_basis" in section else section


def migrate(tensors: dict[str, Tensor], metadata: Any, version: int) -> Contents:
    """Return the contents of a file of an older format as those of this one.

    Args:
        tensors: By name.
        metadata: As in the file.
        version: Format of the file, at most ``FORMAT_VERSION``.

    Raises:
        CheckpointError: If there has never been such a format, or two tensors would get one name.

    Example:
        >>> import torch
        >>> old = {"embedding": torch.zeros(1, 4)}, {"kind": "force_field", "config": {"species": ["H"]}}
        >>> tensors, metadata = migrate(*old, version=1)
        >>> list(tensors), metadata["config"]["repulsion"]
        (['trunk.embedding'], 'none')
    """
    if version < 1:
        raise CheckpointError(f"formats are numbered from 1 to {FORMAT_VERSION}; found {version}; copy the file again")
    for step in range(version, FORMAT_VERSION):
        before = len(tensors)
        tensors, metadata = MIGRATIONS[step](tensors, metadata)
        if len(tensors) < before:
            raise CheckpointError(f"format {step} has no two tensors of one name in format {step + 1}; copy it again")
    return tensors, metadata
