"""Check that a function of a crystal sees the lattice, and not the cell by which it happens to be written down."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from irrepnet.errors import ConfigError, DataError, DtypeError, ShapeError, did_you_mean
from irrepnet.ops.neighbors import complete_cell
from irrepnet.testing.calling import LEAST_RMS, call, name_of, rms
from irrepnet.testing.equivariance import TOLERANCE

__all__ = ["assert_periodic"]

LAWS = ("per_atom", "extensive", "intensive")


def assert_periodic(
    f: Callable[..., Any],
    pos: Tensor,
    cell: Tensor,
    *per_atom: Tensor,
    outputs: str | Sequence[str | None] | None = "per_atom",
    pbc: bool | Sequence[bool] = True,
    tol: float | None = None,
    seed: int = 0,
) -> None:
    r"""Raise ``AssertionError`` unless ``f`` returns the same for every way to write down the same crystal.

    The crystal is written with atoms moved by lattice vectors, another origin, the lattice vectors in another order,
    another cell of the same lattice, a 2 x 2 x 2 supercell, and a skew supercell of four cells (such as the cube of a
    face-centred lattice is). With :math:`M` the integer matrix of the new cell,

    .. math:: \text{cell}' = M\, \text{cell}, \qquad
        \text{pos}' = \text{pos} + n\, \text{cell}, \quad n \in \mathbb{Z}^3 / \mathbb{Z}^3 M

    results per atom must repeat, extensive ones be multiplied by :math:`|\det M|`, and intensive ones stay. Distances
    and axes stay the same, so vectors and stresses in Cartesian components are compared as they are.

    Args:
        f: Called as ``f(pos, cell, *per_atom)``; returns a tensor or a tuple of tensors. Where neighbours matter it has
            to find them itself. What does not belong to atoms is bound beforehand, with ``functools.partial``.
        pos: Positions, shape ``[N, 3]``, in any unit of length.
        cell: Lattice vectors as rows, shape ``[3, 3]``.
        *per_atom: What else there is of each atom, such as species, each of shape ``[N, ...]``.
        outputs: What ``f`` returns: ``"per_atom"`` (``[N, ...]``, such as forces), ``"extensive"`` (a total energy),
            ``"intensive"`` (a stress), or None for what is not compared; several in a list.
        pbc: Which lattice vectors are periods: one bool or three. The others keep their place.
        tol: Greatest error to accept, in units of the rms of the output. By default 1e-10 for float64 and 1e-4 for
            float32.
        seed: Seed of the random moves. The global random state is left alone.

    Raises:
        AssertionError: If an output differs by more than ``tol``, is not finite, or is zero (rms below 1e-6); it names
            the change and the output.
        ConfigError: If ``outputs`` holds an unknown word or nothing to compare, or there is no period.
        ShapeError: If ``pos``, ``cell``, ``pbc``, an argument per atom, or an output has another shape.
        DtypeError: If ``pos`` or an output has no floating dtype, or ``tol`` is None and the dtype has no default.
        DataError: If the periods span no volume.

    Example:
        >>> from irrepnet.data import neighbor_list
        >>> def num_neighbors(pos, cell, *, pbc):
        ...     edge_index, _ = neighbor_list(pos, cell, pbc, cutoff=2.0)
        ...     return torch.bincount(edge_index[1], minlength=len(pos)).double()
        >>> pos, cell = 3 * torch.rand(4, 3, dtype=torch.float64), 3 * torch.eye(3, dtype=torch.float64)
        >>> assert_periodic(lambda pos, cell: num_neighbors(pos, cell, pbc=True), pos, cell)
        >>> assert_periodic(lambda pos, cell: num_neighbors(pos, cell, pbc=False), pos, cell)
        Traceback (most recent call last):
        ...
        AssertionError: <lambda> sees more than the lattice: with atoms moved by lattice vectors, output 0 ...
    """
    __tracebackhide__ = True  # pytest then shows the line of the test
    laws = [outputs] if outputs is None or isinstance(outputs, str) else list(outputs)
    periods = _read_periods(pbc, laws)
    crystal = _read_crystal(pos, cell, per_atom, periods)
    expected = _outputs(f, crystal, laws)
    dtypes = {y.dtype for y, law in zip(expected, laws, strict=True) if law is not None}
    coarsest = max(dtypes, key=lambda dtype: torch.finfo(dtype).eps)
    if tol is None and coarsest not in TOLERANCE:
        raise DtypeError(f"assert_periodic needs tol for {coarsest}: it has defaults for float64 and float32.")
    limit = TOLERANCE[coarsest] if tol is None else tol
    for change, other, copies in _ways(crystal, periods, torch.Generator().manual_seed(seed)):
        found = _outputs(f, other, laws)
        for i, law in enumerate(laws):
            error = 0.0 if law is None else _error(i, law, found[i], expected[i], copies)
            if not error <= limit:
                raise AssertionError(
                    f"{name_of(f)} sees more than the lattice: with {change}, output {i} ({law}) has error "
                    f"{error:.1e}, tolerance {limit:.0e}."
                )
    for i, law in enumerate(laws):
        if law is not None and rms(expected[i]) < LEAST_RMS:
            raise AssertionError(
                f"{name_of(f)} returns zero in output {i}, which proves nothing: give a crystal for which it does not."
            )


class _Crystal(NamedTuple):
    """The arguments of the function."""

    pos: Tensor
    cell: Tensor
    per_atom: tuple[Tensor, ...]


def _read_periods(pbc: bool | Sequence[bool], laws: Sequence[str | None]) -> Tensor:
    """Return three bools, after a look at the names of the outputs."""
    for law in laws:
        if law is not None and law not in LAWS:
            near = did_you_mean(str(law), LAWS)
            raise ConfigError(f"outputs needs 'per_atom', 'extensive', 'intensive' or None; got {law!r}.{near}")
    if all(law is None for law in laws):
        raise ConfigError("outputs needs one that is compared; got only None.")
    periods = torch.as_tensor(pbc, dtype=torch.bool, device="cpu")
    if periods.shape not in (torch.Size([]), torch.Size([3])):
        raise ShapeError(f"pbc needs one bool or three; got shape {list(periods.shape)}.")
    if not periods.any():
        raise ConfigError("assert_periodic needs a period; got pbc=False. Use assert_equivariant for an open system.")
    return periods.expand(3)


def _read_crystal(pos: Tensor, cell: Tensor, per_atom: Sequence[Tensor], periods: Tensor) -> _Crystal:
    """Return the arguments without gradients, after a look at their shapes."""
    if not (isinstance(pos, Tensor) and isinstance(cell, Tensor)) or pos.shape[1:] != (3,) or cell.shape != (3, 3):
        found = ", ".join(str(list(x.shape)) if isinstance(x, Tensor) else type(x).__name__ for x in (pos, cell))
        raise ShapeError(f"assert_periodic needs tensors pos [N, 3] and cell [3, 3]; got {found}.")
    if not (pos.is_floating_point() and pos.dtype == cell.dtype):
        raise DtypeError(f"pos and cell need one floating dtype; got {pos.dtype} and {cell.dtype}.")
    for i, x in enumerate(per_atom):
        if not isinstance(x, Tensor) or x.ndim == 0 or len(x) != len(pos):
            found = str(list(x.shape)) if isinstance(x, Tensor) else type(x).__name__
            raise ShapeError(
                f"argument {i + 2} needs a tensor of {len(pos)} rows, one per atom; got {found}. Bind what does not "
                "belong to atoms with functools.partial."
            )
    volume = complete_cell(cell.detach().double(), periods.to(cell.device)).det().abs().item()
    if not volume > 1e-9:
        raise DataError(f"assert_periodic needs a cell with a volume; got {volume:.1e} for {cell.tolist()}.")
    return _Crystal(pos.detach(), cell.detach(), tuple(x.detach() for x in per_atom))


# Integer matrices of new cells, by the number of periods: the same lattice in another order and by another basis, and
# sublattices. With one period there is no other order, so its direction is turned.
_CELLS = {
    "the lattice vectors in another order": {1: [[-1]], 2: [[0, 1], [1, 0]], 3: [[0, 0, 1], [0, 1, 0], [1, 0, 0]]},
    "another cell of the same lattice": {1: [[-1]], 2: [[1, 1], [0, 1]], 3: [[1, 1, 0], [0, 1, -1], [1, 1, 1]]},
    "a supercell, doubled along each period": {
        k: [[2 * (i == j) for j in range(k)] for i in range(k)] for k in (1, 2, 3)
    },
    "a skew supercell": {1: [[3]], 2: [[1, 1], [-1, 1]], 3: [[-1, 1, 1], [1, -1, 1], [1, 1, -1]]},
}


def _ways(crystal: _Crystal, periods: Tensor, random: torch.Generator) -> Iterator[tuple[str, _Crystal, int]]:
    """Yield the other ways to write the crystal: what was changed, the arguments, and how many cells they hold."""
    pos, cell = crystal.pos, crystal.cell
    moves = torch.randint(-2, 3, pos.shape, generator=random, device="cpu") * periods
    yield "atoms moved by lattice vectors", crystal._replace(pos=pos + moves.to(cell) @ cell), 1
    moved = pos + torch.randn(3, generator=random, dtype=torch.float64, device="cpu").to(pos)
    yield "another origin", crystal._replace(pos=moved), 1
    yield "another origin and atoms wrapped into the cell", crystal._replace(pos=_wrapped(moved, cell, periods)), 1
    along = periods.nonzero()[:, 0]
    for change, matrices in _CELLS.items():
        matrix = torch.eye(3, dtype=torch.float64, device="cpu")
        matrix[along[:, None], along] = torch.tensor(matrices[len(along)], dtype=torch.float64, device="cpu")
        shifts = _points_inside(matrix)
        images = (pos + shifts.to(cell)[:, None] @ cell).flatten(0, 1)  # [copies N, 3]
        repeated = tuple(torch.cat([x] * len(shifts)) for x in crystal.per_atom)
        yield change, _Crystal(images, matrix.to(cell) @ cell, repeated), len(shifts)


def _wrapped(pos: Tensor, cell: Tensor, periods: Tensor) -> Tensor:
    """Move atoms by lattice vectors into the cell."""
    box = complete_cell(cell.double(), periods.to(cell.device))
    numbers = torch.linalg.solve(box, pos.double(), left=False).floor() * periods.to(cell.device)
    return pos - numbers.to(cell) @ cell


def _points_inside(matrix: Tensor) -> Tensor:
    """Return the integer points in the cell spanned by the rows of an integer matrix, shape ``[abs(det), 3]``."""
    reach = range(-4, 5)
    points = torch.tensor(list(itertools.product(reach, reach, reach)), dtype=torch.float64, device="cpu")
    inside = torch.linalg.solve(matrix, points, left=False) + 1e-9  # rounding must not drop a point on the border
    return points[((inside >= 0) & (inside < 1 - 1e-6)).all(1)]


def _outputs(f: Callable[..., Any], crystal: _Crystal, laws: Sequence[str | None]) -> list[Any]:
    """Call ``f`` and look at the number, type and rows of its outputs."""
    outputs = call(f, [crystal.pos, crystal.cell, *crystal.per_atom])
    if len(outputs) != len(laws):
        raise ShapeError(f"outputs declares {len(laws)}; {name_of(f)} returned {len(outputs)}.")
    for i, (y, law) in enumerate(zip(outputs, laws, strict=True)):
        if law is not None and not (isinstance(y, Tensor) and y.is_floating_point()):
            found = y.dtype if isinstance(y, Tensor) else type(y).__name__
            raise DtypeError(f"output {i} of {name_of(f)} needs a floating-point tensor; got {found}.")
        if law == "per_atom" and (y.ndim == 0 or len(y) != len(crystal.pos)):
            raise ShapeError(
                f"output {i} of {name_of(f)} needs {len(crystal.pos)} rows, one per atom; got {list(y.shape)}. "
                "Declare a sum over atoms 'extensive' and a property of the crystal 'intensive'."
            )
    return outputs


def _error(i: int, law: str, found: Tensor, expected: Tensor, copies: int) -> float:
    """Return the greatest difference per atom or per cell, in units of the rms."""
    needed = torch.cat([expected] * copies) if law == "per_atom" else expected
    if found.shape != needed.shape:
        raise ShapeError(
            f"output {i} needs one shape however the crystal is written; got {list(found.shape)}, not "
            f"{list(needed.shape)}."
        )
    each = found.double() / (copies if law == "extensive" else 1)
    difference = (each - needed.double()).abs()
    error = difference.max().item() / max(LEAST_RMS, rms(expected)) if difference.numel() else 0.0
    return error if math.isfinite(error) else math.inf
