"""The groups that checks know: rotations, rotations with inversion, or a finite list of matrices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from irrepnet.errors import ConfigError, DataError, ShapeError, did_you_mean
from irrepnet.testing.transforms import draw_rotations

__all__ = ["NAMES", "draw_elements", "read_group"]

NAMES = ("O(3)", "SO(3)")


def read_group(group: Any) -> str | Tensor:
    """Return the name of a continuous group, or the orthogonal matrices of a finite one in float64 on the CPU."""
    if isinstance(group, str):
        if group not in NAMES:
            near = did_you_mean(group, NAMES)
            raise ConfigError(f"group needs 'O(3)', 'SO(3)' or matrices [G, 3, 3]; got {group!r}.{near}")
        return group
    matrices = torch.as_tensor(group, dtype=torch.float64, device="cpu").detach()
    if matrices.ndim != 3 or matrices.shape[1:] != (3, 3) or len(matrices) == 0:
        raise ShapeError(f"group needs matrices [G, 3, 3], one or more; got {list(matrices.shape)}.")
    error = (matrices @ matrices.mT - torch.eye(3, dtype=torch.float64, device="cpu")).abs().max().item()
    if not error < 1e-6:
        raise DataError(
            f"group needs orthogonal matrices; got max |R R^T - 1| = {error:.2g}. Give rotations, reflections or "
            "their products in Cartesian coordinates, with all their digits."
        )
    return matrices


def draw_elements(group: str | Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Draw group elements uniformly, shape ``[count, 3, 3]``, float64 on the CPU."""
    if isinstance(group, Tensor):
        return group[_draw_integers(len(group), count, generator)]
    rotations = draw_rotations(generator, count)
    if group == "SO(3)":
        return rotations
    sign = 1 - 2 * _draw_integers(2, count, generator)
    return sign[:, None, None] * rotations


def _draw_integers(high: int, count: int, generator: torch.Generator | None) -> Tensor:
    device = "cpu" if generator is None else generator.device
    return torch.randint(high, (count,), generator=generator, device=device).cpu()
