"""Does the spread of a committee of models tell how wrong it is? In bins, and with the factor that sets it right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from irrepnet.report.arrays import check_shapes, freeze_arrays

__all__ = ["Calibration", "CommitteeSpread", "calibrate"]

Array = NDArray[np.float64]
_MOST_BINS, _LEAST_IN_BIN = 12, 10


@dataclass(frozen=True, eq=False)
class CommitteeSpread:
    """Spread over the members of a committee, and the error of their mean, for each of many things.

    Args:
        spread: Shape ``[n]``: of the force on an atom the root of the variances of its three components added up.
        error: Shape ``[n]``: length of the error of the mean over the members.
        num_models: Members.
        what: What each number belongs to, ``"forces on atoms"``.
        unit: Of both, ``"eV/Å"``.
        is_calibrated: Whether the spreads were multiplied already by a factor from other frames.

    Raises:
        ShapeError: If the two differ in shape.

    Example:
        >>> CommitteeSpread([0.1, 0.2], [0.2, 0.3], num_models=4).unit
        'eV/Å'
    """

    spread: Array
    error: Array
    num_models: int
    what: str = "forces on atoms"
    unit: str = "eV/Å"
    is_calibrated: bool = False

    def __post_init__(self) -> None:
        freeze_arrays(self, ("spread", "error"))
        check_shapes(self, ("spread", "error"), (self.spread.size,))


class Calibration(NamedTuple):
    """What a committee's spread is worth.

    Example:
        >>> Calibration(2.0, 0.8, np.array([0.1]), np.array([0.2]), np.array([50])).factor
        2.0
    """

    factor: float  # by which to multiply a spread, so that its mean square is that of the errors
    rank_correlation: float  # Spearman's: 1, the larger the spread, the larger the error; 0, it tells nothing
    bin_spread: Array  # [K] rms spread in a bin
    bin_error: Array  # [K] rms error there
    bin_size: NDArray[np.int64]  # [K]


def calibrate(committee: CommitteeSpread) -> Calibration:
    r"""Compare spread and error in bins with equally many entries.

    .. math:: c = \sqrt{\langle e^2 \rangle / \langle s^2 \rangle}

    Entries whose error or spread is not known (NaN) are left out.

    Example:
        >>> spread = np.linspace(0.1, 1.0, 50)
        >>> result = calibrate(CommitteeSpread(spread, 2 * spread, num_models=4))
        >>> round(result.factor, 6), round(result.rank_correlation, 6), len(result.bin_size)
        (2.0, 1.0, 5)
    """
    known = np.isfinite(committee.spread) & np.isfinite(committee.error)
    spread, error = committee.spread[known], committee.error[known]
    order = np.argsort(spread, kind="stable")
    num_bins = min(_MOST_BINS, max(1, len(spread) // _LEAST_IN_BIN)) if len(spread) else 0
    bins = np.array_split(order, num_bins) if num_bins else []
    total = _rms(spread)
    return Calibration(
        factor=_rms(error) / total if total > 0 else float("nan"),
        rank_correlation=_rank_correlation(spread, error),
        bin_spread=np.array([_rms(spread[chosen]) for chosen in bins]),
        bin_error=np.array([_rms(error[chosen]) for chosen in bins]),
        bin_size=np.array([len(chosen) for chosen in bins], dtype=np.int64),
    )


def _rms(values: Array) -> float:
    return float(np.sqrt(np.square(values).mean())) if len(values) else float("nan")


def _rank_correlation(one: Array, two: Array) -> float:
    """Return Spearman's coefficient; equal values share their mean rank."""
    ranks = [_mean_ranks(values) for values in (one, two)]
    if len(one) < 2 or any(rank.std() == 0 for rank in ranks):
        return float("nan")
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _mean_ranks(values: Array) -> Array:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]
