"""What e3nn saves besides learned weights: constants, which are left out when a state dict of it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["without_constants"]


def without_constants(state_dict: Mapping[str, Any], prefix: str, constants: tuple[str, ...]) -> dict[str, Any]:
    """Return a state dict without the constants of one module; call it in ``_load_from_state_dict``.

    Args:
        state_dict: Key -> value, of the module and perhaps of others.
        prefix: Of the module's keys, as PyTorch passes it.
        constants: Names of constants. Those that end with "." or "_" stand for all that begin so.

    Example:
        >>> without_constants({"tp.weight": 1, "tp.mask": 2, "tp.masks": 3, "tp.cg_1": 4}, "tp.", ("mask", "cg_"))
        {'tp.weight': 1, 'tp.masks': 3}
    """
    names = {prefix + name for name in constants}
    begins = tuple(name for name in names if name.endswith((".", "_")))
    return {key: value for key, value in state_dict.items() if key not in names and not key.startswith(begins)}
