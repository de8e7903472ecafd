"""Splitting work of unequal sizes: structures differ a hundredfold, and the slowest share sets the pace."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

__all__ = ["balanced_shares"]


def balanced_shares(costs: Sequence[float], num_shares: int) -> list[tuple[int, ...]]:
    r"""Split places into shares of nearly equal cost: the dearest first, each to the share that has least so far.

    .. math:: \max_s C_s \le \min\left(\tfrac{1}{m} \sum_i c_i + \left(1 - \tfrac{1}{m}\right) \max_i c_i,\;
              \left(\tfrac{4}{3} - \tfrac{1}{3m}\right) C^\mathrm{opt}\right)

    Args:
        costs: Of each item, not negative; for a batch of graphs their numbers of edges, or of edges and atoms.
        num_shares: How many shares, ``m``.

    Returns:
        For each share the places of its items, rising; together every place once. A share is empty if there are fewer
        items than shares. The same arguments give the same shares in every process.

    Raises:
        ValueError: If ``num_shares`` is not positive or a cost is negative or NaN.

    Reference: R. L. Graham, Bounds on multiprocessing timing anomalies, SIAM J. Appl. Math. 17 (1969) 416.

    Example:
        >>> balanced_shares([700, 200, 400, 300], 2)
        [(0, 1), (2, 3)]
    """
    if num_shares < 1:
        raise ValueError(f"balanced_shares needs num_shares >= 1; got {num_shares}")
    if not all(cost >= 0 for cost in costs):
        raise ValueError(f"balanced_shares needs costs >= 0; got {min(costs)}")
    shares: list[list[int]] = [[] for _ in range(num_shares)]
    # Items without cost must be spread as well, and ties must not depend on the heap: cost, items so far, number.
    least = [(0.0, 0, share) for share in range(num_shares)]
    for place in sorted(range(len(costs)), key=lambda place: (-costs[place], place)):
        total, count, share = least[0]
        shares[share].append(place)
        heapq.heapreplace(least, (total + float(costs[place]), count + 1, share))
    return [tuple(sorted(share)) for share in shares]
