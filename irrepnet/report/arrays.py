"""How the parts of a report keep their arrays: float64, and of shapes that fit each other."""

from __future__ import annotations

import numpy as np

from irrepnet.errors import ShapeError

__all__ = ["check_shapes", "freeze_arrays"]


def freeze_arrays(owner: object, names: tuple[str, ...]) -> None:
    """Keep anything array-like in the fields ``names`` of a frozen dataclass as float64; None stays None."""
    for name in names:
        value = getattr(owner, name)
        if value is not None:
            object.__setattr__(owner, name, np.asarray(value, dtype=np.float64))


def check_shapes(owner: object, names: tuple[str, ...], shape: tuple[int, ...]) -> None:
    """Refuse fields of another shape.

    Raises:
        ShapeError: If one differs; it names the class and the field.
    """
    for name in names:
        value = getattr(owner, name)
        found = None if value is None else list(value.shape)
        if found != list(shape):
            kind = type(owner).__name__
            raise ShapeError(f"{kind} needs {name} {list(shape)}; found {found}; give all its arrays for the same rows")
