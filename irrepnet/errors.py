"""The errors that irrepnet raises: each says what was needed, what was found and what to do.

They are also the built-in type that a caller would expect, so ``except ValueError`` keeps working.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BackendError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DtypeError",
    "IrrepsError",
    "NonFiniteError",
    "RankError",
    "ShapeError",
    "did_you_mean",
]


class IrrepsError(ValueError):
    """Irreps text, or a path between irreps, that mathematics does not allow."""


class ShapeError(ValueError):
    """A tensor whose shape does not fit; the message names the tensor, the needed and the found shape."""


class DtypeError(TypeError):
    """A tensor whose dtype does not fit."""


class DataError(ValueError):
    """Data that cannot be used as given; the message names file, key and frame where there are any."""


class ConfigError(ValueError):
    """A configuration that is not valid; the message names the key."""


class BackendError(RuntimeError):
    """A backend that was named but cannot serve; the message says why."""


class CheckpointError(RuntimeError):
    """A model or state file that is damaged, unsafe or made by another format version."""


class RankError(RuntimeError):
    """Another process of a training on several ranks has died, does not answer or never came."""


class NonFiniteError(ArithmeticError):
    """A NaN or infinity, or a force beyond the guard, in training or molecular dynamics."""


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest option, or an empty string.

    Example:
        >>> did_you_mean("refrence", ["reference", "fused"])
        " Did you mean 'reference'?"
        >>> did_you_mean("zzz", ["reference", "fused"])
        ''
    """
    nearest = difflib.get_close_matches(word, list(options), n=1)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""
