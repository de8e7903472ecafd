"""A step that is smooth: all derivatives exist, and vanish where it begins."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from irrepnet.errors import DtypeError

__all__ = ["soft_unit_step"]


def soft_unit_step(x: Tensor) -> Tensor:
    r"""Return a smooth step: 0 up to x = 0, then rising towards 1.

    .. math:: x \mapsto \theta(x)\, e^{-1/x}

    It may be differentiated as often as one likes; all derivatives are 0 for x <= 0.

    Args:
        x: Floating-point tensor, shape ``[...]``.

    Returns:
        Shape ``[...]``.

    Raises:
        DtypeError: If x does not hold floating-point numbers.

    Example:
        >>> soft_unit_step(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([0.0000, 0.0000, 0.3679])
    """
    if not x.is_floating_point():
        raise DtypeError(f"soft_unit_step needs a floating-point tensor; got {x.dtype}. Write x.float().")
    # Where the result is below the smallest normal number it is 0. Closer to x = 0 the derivatives are products of a
    # number that underflows and powers of 1/x that overflow; masked before and after, no NaN reaches a gradient.
    rises = x > -1 / math.log(torch.finfo(x.dtype).smallest_normal)
    return torch.exp(-1 / torch.where(rises, x, 1.0)).masked_fill(~rises, 0.0)
