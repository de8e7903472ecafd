"""Tensors that change by a sign when their indices are permuted: the group behind a formula, and a basis for them."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from irrepnet.errors import ConfigError
from irrepnet.math.perm import compose, identity

__all__ = ["germinate_formulas", "reduce_permutation", "same_size"]

Signed = tuple[int, tuple[int, ...]]  # a sign, and a permutation or the indices of an entry


def germinate_formulas(formula: str) -> tuple[str, set[Signed]]:
    """Return the indices of a formula and all symmetries that follow from it.

    Args:
        formula: Index letters and their permutations, such as ``"ij=-ji"`` or ``"ijkl=jikl=klij"``: all terms are
            equal, up to the signs.

    Returns:
        The indices, and a group of pairs of a sign and a permutation p: entry ``[i_0, i_1, ...]`` equals sign times
        entry ``[i_p[0], i_p[1], ...]``.

    Raises:
        ConfigError: If the formula is no text, is empty, repeats an index, or has a term that is no permutation of the
            first.

    Example:
        >>> f0, formulas = germinate_formulas("ij=-ji")
        >>> f0, sorted(formulas)
        ('ij', [(-1, (1, 0)), (1, (0, 1))])
    """
    if not isinstance(formula, str):
        raise ConfigError(f"a formula needs to be text such as 'ij=ji'; got {formula!r}.")
    terms = [_read_term(term) for term in "".join(formula.split()).split("=")]
    sign0, f0 = terms[0]
    if not f0 or len(set(f0)) < len(f0):
        raise ConfigError(
            f"formula {formula!r} needs a first term with each index once, such as 'ij' in 'ij=ji'; got {f0!r}."
        )
    seeds = set()
    for sign, term in terms[1:]:
        if sorted(term) != sorted(f0):
            raise ConfigError(
                f"formula {formula!r} needs permutations of {f0!r}; got {term!r}. Did you mean {_nearest(term, f0)!r}?"
            )
        seeds.add((sign0 * sign, tuple(f0.index(letter) for letter in term)))
    return f0, _generated(seeds, len(f0))


def reduce_permutation(
    f0: str,
    formulas: Iterable[Signed],
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    **dims: int,
) -> tuple[Tensor, list[list[Signed]]]:
    """Return an orthonormal basis of the tensors with given symmetries under permutations.

    Args:
        f0: The indices, as ``germinate_formulas`` returns them.
        formulas: The group of symmetries, as ``germinate_formulas`` returns it.
        dtype: Default: torch's default dtype.
        device: Default: torch's default device.
        **dims: Size of each index; one is enough of those that the symmetries exchange. Other names mean
            nothing, as in e3nn.

    Returns:
        The basis, shape ``[num_basis, *sizes]``, and for each of its tensors the entries that are not zero: signs
        and indices.

    Raises:
        ConfigError: If the size of an index is missing, or indices that are exchanged have different sizes.

    Example:
        >>> Q, entries = reduce_permutation(*germinate_formulas("ij=-ji"), i=2)
        >>> Q
        tensor([[[ 0.0000, -0.7071],
                 [ 0.7071,  0.0000]]])
        >>> entries
        [[(-1, (0, 1)), (1, (1, 0))]]
    """
    formulas = sorted(formulas)
    sizes = same_size(f0, formulas, dims, "dimension")
    shape = tuple(sizes[i] for i in f0)
    images = _images(formulas, shape)  # [group, entries]
    signs = np.array([sign for sign, _ in formulas])[:, None]
    first = images.min(axis=0, initial=math.prod(shape))
    plus, minus = (((images == first) & (signs == sign)).any(axis=0) for sign in (1, -1))
    free = np.flatnonzero(~(plus & minus))  # the others equal their own negative
    orbits: defaultdict[int, list[int]] = defaultdict(list)
    for entry in free.tolist():
        orbits[int(first[entry])].append(entry)
    Q = np.zeros((len(orbits), math.prod(shape)))
    entries = []
    for row, orbit in enumerate(orbits.values()):
        relative = [1 if plus[entry] else -1 for entry in orbit]
        # The sign of a basis tensor is a choice: as in e3nn, the first entry is negative if any entry is.
        relative = [-sign for sign in relative] if -1 in relative else relative
        Q[row, orbit] = np.array(relative) / math.sqrt(len(orbit))
        places = (tuple(map(int, np.unravel_index(entry, shape))) for entry in orbit)
        entries.append(sorted(zip(relative, places, strict=True)))
    basis = torch.tensor(Q, dtype=dtype or torch.get_default_dtype(), device=device)
    return basis.reshape(len(orbits), *shape), entries


def same_size(f0: str, formulas: Iterable[Signed], given: dict, what: str) -> dict:
    """Return what was given for each index, extended to those that the symmetries exchange.

    Args:
        f0: The indices.
        formulas: The group of symmetries.
        given: Index -> its irreps, or size.
        what: How to call it in errors.

    Raises:
        ConfigError: If something is missing, or indices that are exchanged have been given different things.

    Example:
        >>> same_size("ij", [(1, (1, 0))], {"i": 3}, "dimension")
        {'i': 3, 'j': 3}
    """
    found = {}
    for place, i in enumerate(f0):
        alike = sorted({i, *(f0[p[place]] for _, p in formulas)})
        values = {j: given[j] for j in alike if j in given}
        if not values:
            raise ConfigError(f"index {i} of '{f0}' has no {what}. Give {' or '.join(f'{j}=...' for j in alike)}.")
        j, value = next(iter(values.items()))
        for k, other in values.items():
            if other != value:
                raise ConfigError(
                    f"the {what} of {j} and {k} should be the same, for the formula exchanges them; got {j}={value} "
                    f"and {k}={other}. Give one of them."
                )
        found[i] = value
    return found


def _read_term(term: str) -> tuple[int, str]:
    """Read the sign before the letters of a term."""
    return (-1, term[1:]) if term.startswith("-") else (1, term)


def _nearest(term: str, f0: str) -> str:
    """Return the permutation of the indices that has most letters in common with a term, place by place."""
    some = itertools.islice(itertools.permutations(f0), 1000)
    return "".join(max(some, key=lambda p: sum(a == b for a, b in zip(p, term, strict=False))))


def _generated(seeds: set[Signed], n: int) -> set[Signed]:
    """Return the smallest group that holds the signed permutations."""
    found = {(1, identity(n))}
    new = found
    while new:  # a finite group: products alone reach the inverses
        new = {(s * t, compose(p, q)) for s, p in new for t, q in seeds} - found
        found = found | new
    return found


def _images(formulas: list[Signed], shape: tuple[int, ...]) -> np.ndarray:
    """Return where each symmetry takes each entry, as flat numbers, shape ``[group, entries]``."""
    numbers = np.arange(math.prod(shape)).reshape(shape)
    return np.stack([numbers.transpose(p).ravel() for _, p in formulas])
