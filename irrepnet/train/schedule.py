"""Learning-rate schedules as functions of progress, so that they serve a budget of steps and one of minutes alike."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["SCHEDULES", "learning_rate"]

# The rate as a share of its peak, from the share of the decay that is done and the floor.
SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "cosine": lambda done, floor: floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2,
    "linear": lambda done, floor: floor + (1 - floor) * (1 - done),
    "exponential": lambda done, floor: floor**done,
    "constant": lambda done, floor: 1.0,
}


def learning_rate(progress: float, *, peak: float, warmup: float, floor: float, schedule: str = "cosine") -> float:
    r"""Return the learning rate at a point of the training budget: linear warm-up, then a decay down to a floor.

    With the share of the decay that is done, :math:`q = (p - w) / (1 - w)`, and the floor f:

    .. math:: \eta_\mathrm{cosine} = \eta_0 \left(f + \frac{1 - f}{2} (1 + \cos \pi q)\right), \quad
              \eta_\mathrm{linear} = \eta_0 (f + (1 - f)(1 - q)), \quad
              \eta_\mathrm{exponential} = \eta_0 f^q, \quad \eta_\mathrm{constant} = \eta_0

    A pure function has nothing to save and nothing to restore, which is half of an exact resume.

    Args:
        progress: Share of the budget that is spent, 0 to 1 (values outside are clamped).
        peak: The rate at the end of the warm-up.
        warmup: Share of the budget over which the rate rises from ``floor * peak`` to ``peak``, 0 to below 1.
        floor: The first and last rate as a share of ``peak``, 0 to 1; above 0 for ``"exponential"``.
        schedule: ``"cosine"``, ``"linear"``, ``"exponential"`` or ``"constant"``.

    Returns:
        The learning rate, in the units of ``peak``.

    Reference: Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5 (cosine, without restarts).

    Example:
        >>> [round(learning_rate(p, peak=1.0, warmup=0.1, floor=0.01), 3) for p in (0.0, 0.1, 0.55, 1.0)]
        [0.01, 1.0, 0.505, 0.01]
        >>> learning_rate(0.5, peak=1.0, warmup=0.0, floor=0.01, schedule="exponential")
        0.1
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < warmup:
        return peak * (floor + (1 - floor) * progress / warmup)
    return peak * SCHEDULES[schedule]((progress - warmup) / (1 - warmup), floor)
