r"""Bases of the tensors that change by a sign when their indices are permuted, split into irreps.

A product of irreps is coupled from left to right, which gives an orthonormal basis of *chains*, each an irrep. By
Schur's lemma the average over the permutations acts on the multiplicities of each irrep alone, and its matrix elements
are those of one component. So everything is decided in the small space of multiplicities. That space falls apart
further: a *block* picks one irrep for each index, and blocks that no permutation exchanges do not mix.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.wigner import table_3j

__all__ = ["symmetric_basis"]

Block = tuple[int, ...]  # for each index: which of its irreps
Kind = tuple[Irrep, ...]  # the irreps that a block picks
Key = tuple[tuple[Irrep, ...], Block]  # the irreps on the way, the last first, and the block: names a chain
Symmetries = list[tuple[int, tuple[int, ...]]]


class _Chains(NamedTuple):
    """All ways to couple a kind to one irrep."""

    mids: list[tuple[Irrep, ...]]  # the irreps on the way, the last first
    tensors: np.ndarray  # [chains, ir.dim, *dims], each row orthonormal to all others


class _Mixtures(NamedTuple):
    """Copies of an irrep that have the symmetries, as orthonormal mixtures of chains."""

    pivots: list[Key]  # the first chain in each copy
    coefficients: dict[Block, np.ndarray]  # [copies, chains of the block]


def symmetric_basis(
    irreps: Sequence[Irreps],
    symmetries: Symmetries,
    keep_out: frozenset[Irrep] | None = None,
    keep_mid: frozenset[Irrep] | None = None,
    eps: float = 1e-9,
) -> tuple[Irreps, np.ndarray]:
    """Return the irreps in the tensors that have given symmetries, and the tensors that make them up.

    Copies of an irrep are chosen as e3nn does: each is the part of a chain that has the symmetries, made orthogonal to
    the copies before it; its first coefficient is positive.

    Args:
        irreps: Of each index.
        symmetries: Group of signs and permutations, as ``germinate_formulas`` returns it.
        keep_out: Irreps to keep; all by default.
        keep_mid: Irreps to keep at each step of the coupling (also the last one); all by default.
        eps: What counts as zero.

    Returns:
        The irreps, and an orthonormal basis, float64 ``[irreps.dim, *dims of the indices]``.

    Example:
        >>> irreps, basis = symmetric_basis([Irreps("1o"), Irreps("1o")], [(1, (0, 1)), (-1, (1, 0))])
        >>> irreps, basis.shape
        (1x1e, (3, 3, 3))
    """
    places = [_places(index) for index in irreps]
    couplings = _Couplings(keep_mid)
    kinds = {}
    for block in itertools.product(*(range(len(index)) for index in places)):
        kind = tuple(index[place][0] for index, place in zip(places, block, strict=True))
        if any(keep_out is None or ir in keep_out for ir in couplings[kind]):
            kinds[block] = kind
    found: dict[Irrep, list[_Mixtures]] = {}
    for orbit in _orbits(kinds, symmetries):
        chains = {block: couplings[kinds[block]] for block in orbit}
        projector, columns = _projector(chains, symmetries, keep_mid is None, eps)
        for ir, keys in columns.items():
            if keep_out is None or ir in keep_out:
                found.setdefault(ir, []).append(_mixtures(projector, keys, eps))
    order = sorted(found) if len(irreps) > 1 else list(found)
    irreps_out = Irreps([(sum(len(m.pivots) for m in found[ir]), ir) for ir in order]).simplify()
    basis = np.zeros((irreps_out.dim, *(index.dim for index in irreps)))
    for (mul, ir), where in zip(irreps_out, irreps_out.slices(), strict=True):
        copies = basis[where].reshape(mul, ir.dim, *basis.shape[1:])  # a view
        for block, rows, coefficients in _by_block(found[ir]):
            tensors = couplings[kinds[block]][ir].tensors
            inside = [index[place][1] for index, place in zip(places, block, strict=True)]
            target: Any = (rows, slice(None), *inside)
            copies[target] = np.tensordot(coefficients, tensors, 1)
    return irreps_out, basis


def _places(irreps: Irreps) -> list[tuple[Irrep, slice]]:
    """Return each single irrep and where it lies."""
    out, start = [], 0
    for mul, ir in irreps:
        for _ in range(mul):
            out.append((ir, slice(start, start + ir.dim)))
            start += ir.dim
    return out


class _Couplings(dict[Kind, dict[Irrep, _Chains]]):
    """What irreps make when they are coupled from left to right; worked out when it is first asked for."""

    def __init__(self, keep: frozenset[Irrep] | None) -> None:
        super().__init__()
        self.keep = keep

    def __missing__(self, kind: Kind) -> dict[Irrep, _Chains]:
        *_, right = kind
        if len(kind) == 1:
            self[kind] = {right: _Chains([()], np.eye(right.dim)[None])}
            return self[kind]
        parts: dict[Irrep, list[_Chains]] = {}
        for mid, (mids, tensors) in sorted(self[kind[:-1]].items(), key=lambda item: item[0]):
            for ir in mid * right:
                if self.keep is None or ir in self.keep:
                    # [chains, mid, ...] with [mid, right, ir] to [chains, ir, ..., right]
                    longer = np.moveaxis(np.tensordot(tensors, _coupling(mid, right, ir), (1, 0)), -1, 1)
                    names = [(mid, *before) if len(kind) > 2 else () for before in mids]
                    parts.setdefault(ir, []).append(_Chains(names, longer))
        self[kind] = {
            ir: _Chains([mids for part in some for mids in part.mids], np.concatenate([part.tensors for part in some]))
            for ir, some in parts.items()
        }
        return self[kind]


def _coupling(left: Irrep, right: Irrep, out: Irrep) -> np.ndarray:
    """Return one step, ``[left, right, out]``, scaled so that orthonormal tensors stay so."""
    degrees = (left.l, right.l, out.l)
    axes = sorted(range(3), key=lambda axis: degrees[axis])
    # Tables are made for sorted degrees only: a swap of two degrees brings a sign where their sum is odd.
    swapped = axes in ([0, 2, 1], [1, 0, 2], [2, 1, 0])
    table = table_3j(*sorted(degrees)).transpose([axes.index(axis) for axis in range(3)])
    return (-1) ** (swapped * sum(degrees)) * math.sqrt(out.dim) * table


def _orbits(blocks: dict[Block, Kind], symmetries: Symmetries) -> Iterator[list[Block]]:
    """Yield the sets of blocks that the permutations exchange."""
    left = dict.fromkeys(blocks)
    for block in blocks:
        if block in left:
            orbit = dict.fromkeys(tuple(block[axis] for axis in p) for _, p in symmetries)
            yield [image for image in orbit if image in left]
            for image in orbit:
                left.pop(image, None)


def _projector(
    chains: dict[Block, dict[Irrep, _Chains]], symmetries: Symmetries, complete: bool, eps: float
) -> tuple[np.ndarray, dict[Irrep, dict[Key, int]]]:
    """Return the projector onto the mixtures of the chains in an orbit of blocks that have the symmetries.

    Args:
        chains: The chains of each block.
        symmetries: The group.
        complete: Whether the chains are a basis, with which permuted chains can be written again.
        eps: What counts as zero.

    Returns:
        The projector, and for each irrep the chains and their places in the projector.

    """
    firsts: dict[Block, np.ndarray] = {}  # first component of each chain, [chains, *dims]
    where: dict[Block, slice] = {}
    columns: dict[Irrep, dict[Key, int]] = {}
    size = 0
    for block, by_irrep in chains.items():
        firsts[block] = np.concatenate([tensors[:, 0] for _, tensors in by_irrep.values()])
        where[block] = slice(size, size + len(firsts[block]))
        for ir, (mids, _) in by_irrep.items():
            columns.setdefault(ir, {}).update({(mid, block): size + i for i, mid in enumerate(mids)})
            size += len(mids)
    sources = list(chains)[:1] if complete else list(chains)
    average = np.zeros((size, sum(len(firsts[source]) for source in sources)))
    for source in sources:
        for target, moved in _images(source, firsts[source], symmetries):
            if target in firsts:
                average[where[target], where[source]] = _flat(firsts[target]) @ _flat(moved).T
    if complete:  # every block is an image of the first one, so the columns of that one say all
        return len(chains) * average @ average.T, columns
    # Chains that were left out break the symmetry: what has it wholly are the eigenvectors of eigenvalue 1.
    values, vectors = np.linalg.eigh(average)
    kept = vectors[:, values > 1 - 2 * eps]
    return kept @ kept.T, columns


def _images(block: Block, tensors: np.ndarray, symmetries: Symmetries) -> Iterator[tuple[Block, np.ndarray]]:
    """Yield the blocks to which the average over the symmetries takes tensors of a block, and what arrives there."""
    moved: dict[Block, np.ndarray] = {}
    for sign, p in symmetries:
        target = tuple(block[axis] for axis in p)
        image = tensors.transpose(0, *(axis + 1 for axis in p)) * (sign / len(symmetries))
        moved[target] = moved[target] + image if target in moved else image
    yield from moved.items()


def _flat(tensors: np.ndarray) -> np.ndarray:
    return tensors.reshape(len(tensors), -1)


def _mixtures(projector: np.ndarray, columns: dict[Key, int], eps: float) -> _Mixtures:
    """Take the range of the projector apart for one irrep."""
    keys = sorted(columns)
    chosen = [columns[key] for key in keys]
    pivots, X = _echelon(projector[np.ix_(chosen, chosen)], eps)
    blocks = dict.fromkeys(block for _, block in keys)
    coefficients = {block: X[:, [i for i, (_, other) in enumerate(keys) if other == block]] for block in blocks}
    return _Mixtures([keys[pivot] for pivot in pivots], coefficients)


def _echelon(projector: np.ndarray, eps: float) -> tuple[list[int], np.ndarray]:
    """Return the pivots and the rows X of the echelon form with ``X.T @ X = projector`` and positive pivots.

    It is Cholesky's, where pivots of zero are passed over, and the same as Gram-Schmidt on the rows of the projector.
    """
    rest = projector.copy()
    pivots: list[int] = []
    X = np.zeros((round(projector.trace()), len(projector)))
    for i in range(len(rest)):
        if len(pivots) == len(X):
            break
        if rest[i, i] > eps:
            row = X[len(pivots)] = rest[i] / math.sqrt(rest[i, i])
            rest -= np.outer(row, row)
            pivots.append(i)
    return pivots, np.where(np.abs(X) < eps, 0.0, X)


def _by_block(found: list[_Mixtures]) -> Iterator[tuple[Block, list[int], np.ndarray]]:
    """Yield for each block the copies of an irrep that have parts in it, in the order of their pivots, and how much."""
    order = {pivot: row for row, pivot in enumerate(sorted(pivot for m in found for pivot in m.pivots))}
    for mixtures in found:
        rows = [order[pivot] for pivot in mixtures.pivots]
        for block, coefficients in mixtures.coefficients.items():
            if coefficients.any():
                yield block, rows, coefficients
