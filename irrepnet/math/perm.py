"""Permutations of 0 ... n-1, written as tuples: ``p[i]`` is what ``p`` makes of ``i``."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from irrepnet.errors import ConfigError
from irrepnet.math.linalg import complete_basis

__all__ = [
    "compose",
    "from_int",
    "germinate",
    "group",
    "identity",
    "inverse",
    "is_group",
    "is_perm",
    "natural_representation",
    "rand",
    "sign",
    "standard_representation",
    "to_cycles",
    "to_int",
]

Permutation = tuple[int, ...]


def is_perm(p: Sequence[int]) -> bool:
    """Return whether ``p`` holds each of 0 ... n-1 once.

    Example:
        >>> is_perm((1, 0)), is_perm((1, 1))
        (True, False)
    """
    return sorted(p) == list(range(len(p)))


def identity(n: int) -> Permutation:
    """Return the permutation that changes nothing.

    Example:
        >>> identity(3)
        (0, 1, 2)
    """
    return tuple(range(n))


def compose(p1: Permutation, p2: Permutation) -> Permutation:
    """Return the permutation that does ``p2`` first and then ``p1``: ``i`` becomes ``p1[p2[i]]``.

    Args:
        p1: The second one to act.
        p2: The first one to act.

    Raises:
        ConfigError: If they are not permutations of one length.

    Example:
        >>> compose((1, 2, 0), (0, 2, 1))
        (1, 0, 2)
    """
    _check(p1, p2)
    return tuple(p1[i] for i in p2)


def inverse(p: Permutation) -> Permutation:
    """Return the permutation that undoes ``p``.

    Raises:
        ConfigError: If ``p`` is not a permutation.

    Example:
        >>> inverse((1, 2, 0))
        (2, 0, 1)
    """
    _check(p)
    return tuple(sorted(range(len(p)), key=lambda i: p[i]))


def rand(n: int) -> Permutation:
    """Draw a permutation with Python's ``random``, all equally likely.

    Example:
        >>> is_perm(rand(5))
        True
    """
    return from_int(random.randrange(math.factorial(n)), n)


def from_int(i: int, n: int) -> Permutation:
    """Return the permutation of number ``i``, the inverse of ``to_int``.

    Args:
        i: From 0 to n! - 1.
        n: Length of the permutation.

    Raises:
        ConfigError: If there is no such number.

    Example:
        >>> [from_int(i, 3) for i in range(3)]
        [(0, 1, 2), (1, 0, 2), (2, 0, 1)]
    """
    if not 0 <= i < math.factorial(n):
        raise ConfigError(f"permutations of length {n} have numbers 0 to {math.factorial(n) - 1}; got {i}.")
    left, p = list(range(n)), []
    for size in range(n, 0, -1):
        i, place = divmod(i, size)
        p.append(left.pop(place))
    return tuple(p)


def to_int(p: Permutation) -> int:
    """Return the number of a permutation, from 0 (the identity) to n! - 1.

    Its digits, the lowest first and in bases n, n - 1, ..., are the places of p[0], p[1], ... among what is left.

    Raises:
        ConfigError: If ``p`` is not a permutation.

    Example:
        >>> to_int((1, 2, 0))
        4
    """
    _check(p)
    left, number, base = list(range(len(p))), 0, 1
    for image in p:
        place = left.index(image)
        number += base * place
        base *= len(left)
        left.pop(place)
    return number


def group(n: int) -> set[Permutation]:
    """Return all permutations of length ``n``.

    Example:
        >>> sorted(group(2))
        [(0, 1), (1, 0)]
    """
    return set(itertools.permutations(range(n)))


def germinate(subset: Iterable[Permutation]) -> set[Permutation]:
    """Return the smallest group that holds the given permutations (the empty set for none).

    Args:
        subset: Permutations of one length.

    Raises:
        ConfigError: If they are not.

    Example:
        >>> sorted(germinate({(1, 2, 0)}))
        [(0, 1, 2), (1, 2, 0), (2, 0, 1)]
    """
    seeds = set(subset)
    _check(*seeds)
    found = {identity(len(p)) for p in seeds}
    new = found
    while new:  # a finite group: products alone reach the inverses
        new = {compose(p, seed) for p in new for seed in seeds} - found
        found = found | new
    return found


def is_group(g: Iterable[Permutation]) -> bool:
    """Return whether the permutations are a group: not empty, and holding all their products.

    Args:
        g: Permutations of one length.

    Raises:
        ConfigError: If they are not.

    Example:
        >>> is_group({(0, 1), (1, 0)}), is_group({(1, 0)})
        (True, False)
    """
    members = set(g)
    return bool(members) and germinate(members) == members


def to_cycles(p: Permutation) -> set[Permutation]:
    """Return the cycles of a permutation, each from its smallest member on; what stays in place is left out.

    Raises:
        ConfigError: If ``p`` is not a permutation.

    Example:
        >>> sorted(to_cycles((1, 0, 2, 4, 3)))
        [(0, 1), (3, 4)]
    """
    _check(p)
    cycles, seen = set(), set()
    for start in range(len(p)):
        i, cycle = start, []
        while i not in seen:
            seen.add(i)
            cycle.append(i)
            i = p[i]
        if len(cycle) > 1:
            cycles.add(tuple(cycle))
    return cycles


def sign(p: Permutation) -> int:
    """Return 1 for a permutation made of an even number of swaps, -1 for an odd one.

    Raises:
        ConfigError: If ``p`` is not a permutation.

    Example:
        >>> sign((1, 0, 2)), sign((1, 2, 0))
        (-1, 1)
    """
    return (-1) ** sum(len(cycle) - 1 for cycle in to_cycles(p))


def standard_representation(
    p: Permutation, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Tensor:
    """Return the matrix of ``p`` in the irrep of dimension n - 1: on vectors whose entries add up to zero.

    Args:
        p: Permutation of length n.
        dtype: Default: torch's default dtype.
        device: Default: torch's default device.

    Returns:
        Orthogonal, shape ``[n - 1, n - 1]``.

    Raises:
        ConfigError: If ``p`` is not a permutation.

    Example:
        >>> standard_representation((1, 0))
        tensor([[-1.]])
    """
    exact = natural_representation(p, torch.float64, "cpu")
    basis = complete_basis(torch.ones(min(1, len(p)), len(p), dtype=torch.float64, device="cpu"))
    return (basis @ exact @ basis.T).to(dtype=dtype or torch.get_default_dtype(), device=device)


def natural_representation(
    p: Permutation, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Tensor:
    """Return the matrix that moves entry i of a vector to place ``p[i]``.

    Args:
        p: Permutation of length n.
        dtype: Default: torch's default dtype.
        device: Default: torch's default device.

    Returns:
        Zeros and ones, shape ``[n, n]``.

    Raises:
        ConfigError: If ``p`` is not a permutation.

    Example:
        >>> natural_representation((1, 2, 0)) @ torch.tensor([1.0, 2.0, 3.0])
        tensor([3., 1., 2.])
    """
    rows = [[float(i == source) for i in range(len(p))] for source in inverse(p)]
    return torch.tensor(rows, dtype=dtype, device=device).reshape(len(p), len(p))


def _check(*permutations: Permutation) -> None:
    """Raise unless all are permutations of one length."""
    for p in permutations:
        if not is_perm(p):
            raise ConfigError(f"a permutation holds each of 0 ... {len(p) - 1} once; got {p}.")
        if len(p) != len(permutations[0]):
            raise ConfigError(f"permutations need one length; got {permutations[0]} and {p}.")
