"""Find out as what irreps, and so with what parity, the output of a function transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from irrepnet.errors import DtypeError, IrrepsError, ShapeError
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps
from irrepnet.testing.calling import LEAST_RMS, call, check_inputs, draw_inputs, name_of, rms
from irrepnet.testing.signature import Kind, read_kinds
from irrepnet.testing.transforms import Transform, draw_rotations, inversion, orthogonal

__all__ = ["infer_parity"]

TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3}
TRIALS = 3
LMAX = 12


def infer_parity(
    f: Callable[..., Any],
    irreps_in: Any,
    *,
    tol: float | None = None,
    seed: int = 0,
    inputs: Sequence[Any] | None = None,
    dtype: torch.dtype | None = None,
) -> Irreps | tuple[Irreps, ...]:
    r"""Return the irreps as which the output of ``f`` really transforms: degrees and parities, found by trying.

    The output is turned by random rotations, which tells its degrees from the first column on, and by the inversion,
    which tells the parity :math:`p` of each: :math:`f(-x) = p\, f(x)`, where :math:`-x` is the inverted argument (an
    even one stays as it is).

    Args:
        f: A function or module that takes tensors by position and returns a tensor ``[..., dim]`` or a tuple of them.
        irreps_in: What the arguments are, as for ``assert_equivariant``: irreps, ``"cartesian_points"``, or None for
            what does not transform (give ``inputs`` then). A list if ``f`` takes several arguments.
        tol: Greatest difference, in units of the rms of the columns concerned, that counts as rounding. By default 1e-8
            for float64 and 1e-3 for float32.
        seed: Seed of the random arguments and rotations. The global random state is left alone.
        inputs: Arguments to use instead of random ones; needed where their shapes or values must fit each other.
        dtype: Of the random arguments. By default that of the module's parameters; float64 for a function.

    Returns:
        The irreps of the output, in the order of its columns, neighbours of a kind together; a tuple of them if ``f``
        returns several outputs.

    Raises:
        IrrepsError: If a column is zero (rms below 1e-6 of that of the output, or below 16 units of rounding), does not
            rotate as irreps up to l = 12, or has a part of either parity; it says which, where and how much.
        ConfigError: If an argument is declared None and ``inputs`` are not given, or both ``inputs`` and ``dtype`` are.
        DtypeError: If ``tol`` is None and there is no default for the dtype.
        ShapeError: If an output is no floating-point tensor with columns, or ``inputs`` do not fit.

    Example:
        >>> infer_parity(torch.linalg.cross, ["1o", "1o"])  # a pseudovector
        1x1e
        >>> infer_parity(lambda a, b, c: (a * torch.linalg.cross(b, c)).sum(-1, keepdim=True), ["1o", "1o", "1o"])
        1x0o
        >>> infer_parity(lambda a, b: (a, (a * b).sum(-1, keepdim=True)), ["1o", "1o"])
        (1x1o, 1x0e)
        >>> infer_parity(lambda a, b: a + torch.linalg.cross(a, b), ["1o", "1o"])
        Traceback (most recent call last):
        ...
        irrepnet.errors.IrrepsError: columns 0 to 2 of output 0 of <lambda> have no parity: they rotate as l = 1, ...
    """
    laws = read_kinds(irreps_in)
    given = None if inputs is None else check_inputs(inputs, laws, dtype)
    random = torch.Generator().manual_seed(seed)
    trials = [_trial(f, laws, given, dtype, random) for _ in range(TRIALS)]
    counts = {len(trial.y) for trial in trials}
    if len(counts) > 1:
        raise ShapeError(f"infer_parity needs as many outputs whatever the arguments; got {sorted(counts)}.")
    found = tuple(_irreps_of(f"output {i} of {name_of(f)}", trials, i, tol) for i in range(counts.pop()))
    return found[0] if len(found) == 1 else found


class _Trial(NamedTuple):
    """Outputs for the same arguments: as they are, rotated, inverted."""

    y: list[Any]
    rotated: list[Any]
    inverted: list[Any]
    rotation: Transform


def _trial(
    f: Callable[..., Any],
    laws: Sequence[Kind],
    given: list[Any] | None,
    dtype: torch.dtype | None,
    random: torch.Generator,
) -> _Trial:
    x = draw_inputs(laws, f, dtype, random) if given is None else given
    rotation = orthogonal(draw_rotations(random))
    rotated, inverted = (
        [g.on_input(i, v, law) for i, (v, law) in enumerate(zip(x, laws, strict=True))] for g in (rotation, inversion())
    )
    return _Trial(call(f, x), call(f, rotated), call(f, inverted), rotation)


def _irreps_of(name: str, trials: Sequence[_Trial], i: int, tol: float | None) -> Irreps:
    """Take irreps off the columns of one output, from the first to the last."""
    for y in (y for trial in trials for y in (trial.y[i], trial.rotated[i], trial.inverted[i])):
        _check_output(name, y, trials[0].y[i])
    limit = _tolerance(name, trials, i) if tol is None else tol
    dim = trials[0].y[i].shape[-1]
    irreps, start = Irreps(), 0
    while start < dim:
        l = _degree(name, trials, i, start, limit)
        columns = slice(start, start + 2 * l + 1)
        irreps += Irreps([(1, Irrep(l, _parity(name, trials, i, columns, limit)))])
        start = columns.stop
    return irreps.simplify()


def _check_output(name: str, y: Any, first: Any) -> None:
    if not isinstance(y, Tensor) or not y.is_floating_point() or y.ndim == 0:
        found = f"{y.dtype} {list(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise ShapeError(f"{name} needs a floating-point tensor [..., dim]; got {found}.")
    if y.shape != first.shape:
        raise ShapeError(f"{name} needs one shape whatever the arguments; got {list(first.shape)} and {list(y.shape)}.")
    if not y.isfinite().all():
        raise IrrepsError(f"{name} has no irreps: it is not finite. Give inputs for which it is.")


def _tolerance(name: str, trials: Sequence[_Trial], i: int) -> float:
    dtype = trials[0].y[i].dtype
    if dtype not in TOLERANCE:
        raise DtypeError(
            f"infer_parity needs tol for {dtype}, the dtype of {name}: it has defaults for float64 and float32."
        )
    return TOLERANCE[dtype]


def _degree(name: str, trials: Sequence[_Trial], i: int, start: int, limit: float) -> int:
    """Return the degree as which the columns from ``start`` on rotate.

    The smallest that fits: as no part of an irrep is an irrep, columns that turn as ``l`` begin with nothing smaller.
    """
    values = [y[i] for trial in trials for y in (trial.y, trial.rotated)]
    if all(rms(y[..., start]) <= _zero(y) for y in values):
        raise IrrepsError(
            f"column {start} of {name} is zero, which transforms as every irrep does: give inputs or weights for which "
            "it is not."
        )
    dim = trials[0].y[i].shape[-1]
    errors = {}
    for l in range(min(LMAX, (dim - start - 1) // 2) + 1):
        columns, law = slice(start, start + 2 * l + 1), Kind(Irreps([(1, (l, 1))]))
        errors[l] = max(
            _error(
                trial.rotated[i][..., columns],
                trial.rotation.on_output(i, trial.y[i][..., columns], law),
                _zero(trial.y[i]),
            )
            for trial in trials
        )
        if errors[l] <= limit:
            return l
    best = min(errors, key=errors.__getitem__)
    raise IrrepsError(
        f"{name} does not rotate as irreps from column {start} of {dim} on: the nearest, l = {best}, has error "
        f"{errors[best]:.1e} (tolerance {limit:.0e}). It is not equivariant, or its columns are not those of irreps."
    )


def _parity(name: str, trials: Sequence[_Trial], i: int, columns: slice, limit: float) -> int:
    """Return 1 or -1: what the inversion does to the columns."""
    pairs = [(trial.inverted[i][..., columns].double(), trial.y[i][..., columns].double()) for trial in trials]
    zero = max(_zero(trial.y[i]) for trial in trials)
    errors = {p: max(_error(inverted, p * y, zero) for inverted, y in pairs) for p in (1, -1)}
    best = min(errors, key=errors.__getitem__)
    if errors[best] <= limit:
        return best
    l = (columns.stop - columns.start) // 2
    even, odd = (max(rms(y + p * inverted) / 2 for inverted, y in pairs) for p in (1, -1))
    which = f"columns {columns.start} to {columns.stop - 1} of {name} have no parity: they rotate"
    if l == 0:
        which = f"column {columns.start} of {name} has no parity: it rotates"
    raise IrrepsError(
        f"{which} as l = {l}, but the inversion shows an even part, {l}e, of rms {even:.1e} and an odd part, {l}o, of "
        f"rms {odd:.1e}. Keep the two in columns of their own, or drop one."
    )


def _zero(y: Tensor) -> float:
    """Return the rms of a column that counts as zero: that of rounding, beside the whole output or beside 1."""
    return max(LEAST_RMS * rms(y), 16 * torch.finfo(y.dtype).eps)


def _error(found: Tensor, needed: Tensor, zero: float) -> float:
    """Return the greatest difference in units of the rms."""
    difference = (found.double() - needed.double()).abs()
    return difference.max().item() / max(rms(needed), zero) if difference.numel() else 0.0
