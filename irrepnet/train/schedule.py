"""Learning-rate schedule as a function of progress, so that it serves a budget of steps and one of minutes alike."""

from __future__ import annotations

import math

__all__ = ["learning_rate"]


def learning_rate(progress: float, *, peak: float, warmup: float, floor: float) -> float:
    r"""Return the learning rate at a point of the training budget: linear warm-up, then a cosine down to a floor.

    .. math:: \eta(p) = \eta_0 \left(f + \frac{1 - f}{2} (1 + \cos \pi \tfrac{p - w}{1 - w})\right), \quad p \ge w

    A pure function has nothing to save and nothing to restore, which is half of an exact resume.

    Args:
        progress: Share of the budget that is spent, 0 to 1 (values outside are clamped).
        peak: The rate at the end of the warm-up.
        warmup: Share of the budget over which the rate rises from ``floor * peak`` to ``peak``, 0 to below 1.
        floor: The last rate as a share of ``peak``, 0 to 1.

    Returns:
        The learning rate, in the units of ``peak``.

    Reference: Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5 (without restarts).

    Example:
        >>> [round(learning_rate(p, peak=1.0, warmup=0.1, floor=0.01), 3) for p in (0.0, 0.1, 0.55, 1.0)]
        [0.01, 1.0, 0.505, 0.01]
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < warmup:
        return peak * (floor + (1 - floor) * progress / warmup)
    falling = (progress - warmup) / (1 - warmup)
    return peak * (floor + (1 - floor) * (1 + math.cos(math.pi * falling)) / 2)
