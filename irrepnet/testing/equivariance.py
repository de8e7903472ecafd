"""Check that a function commutes with rotations, inversion, translations and permutations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from irrepnet.errors import ConfigError, DtypeError, ShapeError
from irrepnet.testing.calling import LEAST_RMS, call, check_inputs, check_tensor, draw_inputs, name_of, rms
from irrepnet.testing.report import EntryErrors, EquivarianceReport
from irrepnet.testing.signature import Kind, Permutation, Signature, read_signature
from irrepnet.testing.transforms import Transform, draw_transforms

__all__ = ["assert_equivariant", "equivariance_error"]

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
SMALLEST_PART = 1e-2  # of the whole output; times the tolerance in float32 it is 8 units of rounding


def assert_equivariant(  # noqa: PLR0913 a test names the few options it needs
    f: Callable[..., Any],
    irreps_in: Any,
    irreps_out: Any,
    *,
    parity: bool = True,
    translation: bool | None = None,
    permutation: Permutation | tuple[Sequence[int], ...] | None = None,
    trials: int = 10,
    tol: float | None = None,
    seed: int = 0,
    inputs: Sequence[Any] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    r"""Raise ``AssertionError`` unless ``f(g x) = g f(x)`` for random transformations ``g``.

    .. math:: \text{error} = \frac{\max |f(g x) - g f(x)|}{u} \le \text{tol}, \qquad
        u = \max\Bigl(\operatorname{rms} y, \tfrac{1}{100} \operatorname{rms} f(x), 10^{-6}\Bigr)

    Each entry y of the irreps is measured by its own size, so a fault in a small one does not hide behind a large one.
    What is less than a hundredth of the whole output is measured by that: its rounding may come from there. A function
    that returns zeros fails too: it commutes with everything, which proves nothing.

    Args:
        f: A function or module that takes tensors by position and returns a tensor or a tuple of tensors.
        irreps_in: What the arguments are: irreps; or ``"cartesian_points"`` for positions, which rotate as ``1o`` and
            move with translations; or None for what does not transform (give ``inputs`` then). A list if ``f`` takes
            several arguments.
        irreps_out: The same for the outputs; None for an output that is not compared.
        parity: Whether to check the inversion of space.
        translation: Whether to check translations: positions in and out move, all else stays. By default this is done
            where some argument is declared ``"cartesian_points"``.
        permutation: None, or ``Permutation(inputs, outputs, indices)``: the positions of the arguments and outputs
            whose rows move together, and of the arguments that hold row numbers.
        trials: How many transformations of each kind, >= 1, each with new random arguments.
        tol: Greatest error to accept. By default 1e-10 for float64 and 1e-4 where anything with irreps is float32.
        seed: Seed of the random arguments and transformations. The global random state is left alone, and every call of
            ``f`` finds it the same, so a layer with dropout can be checked.
        inputs: Arguments to use instead of random ones; needed where their shapes or values must fit each other.
        dtype: Of the random arguments. By default that of the module's parameters; float64 for a function.

    Raises:
        AssertionError: If an error exceeds ``tol``, a value is not finite, or an output is zero (rms below 1e-6); it
            names the kind of transformation, the output, its irreps, the error and the tolerance.
        ConfigError: If the declarations do not fit together, ``trials`` is no integer >= 1, a permutation has fewer
            than two rows to exchange, or both ``inputs`` and ``dtype`` are given.
        ShapeError: If ``f`` returns another number or other shapes of outputs than declared, or ``inputs`` do not fit.
        DtypeError: If ``tol`` is None and there is no default for the dtype.
        IrrepsError: If irreps cannot be read.

    Example:
        >>> from irrepnet import o3
        >>> assert_equivariant(o3.Linear("2x0e+1o", "1o"), "2x0e+1o", "1o")
        >>> assert_equivariant(lambda pos: pos - pos.mean(0), "cartesian_points", "1o")
        >>> assert_equivariant(lambda a, b: torch.linalg.cross(a, b), ["1o", "1o"], "1o")  # a pseudovector: 1e
        Traceback (most recent call last):
        ...
        AssertionError: <lambda> is not equivariant under inversion: ...
    """
    __tracebackhide__ = True  # pytest then shows the line of the test
    report = equivariance_error(
        f,
        irreps_in,
        irreps_out,
        parity=parity,
        translation=translation,
        permutation=permutation,
        trials=trials,
        seed=seed,
        inputs=inputs,
        dtype=dtype,
    )
    if tol is None and report.dtype not in TOLERANCE:
        raise DtypeError(f"assert_equivariant needs tol for {report.dtype}: it has defaults for float64 and float32.")
    limit = TOLERANCE[report.dtype] if tol is None else tol
    name = name_of(f)
    kind, finding = max(report.findings.items(), key=lambda item: item[1].error)
    if not finding.error <= limit:
        raise AssertionError(
            f"{name} is not equivariant under {kind}: {finding.place} has error {finding.error:.1e}, "
            f"tolerance {limit:.0e}.\n{report}"
        )
    if report.rms < LEAST_RMS:
        raise AssertionError(
            f"{name} returns zero (rms {report.rms:.1e}, needed {LEAST_RMS:.0e}), which is equivariant but proves "
            f"nothing: give it inputs or weights for which every output is non-zero.\n{report}"
        )


def equivariance_error(  # noqa: PLR0913 as assert_equivariant
    f: Callable[..., Any],
    irreps_in: Any,
    irreps_out: Any,
    *,
    parity: bool = True,
    translation: bool | None = None,
    permutation: Permutation | tuple[Sequence[int], ...] | None = None,
    trials: int = 10,
    seed: int = 0,
    inputs: Sequence[Any] | None = None,
    dtype: torch.dtype | None = None,
) -> EquivarianceReport:
    """Measure how far ``f(g x)`` is from ``g f(x)``; arguments and errors are those of ``assert_equivariant``.

    Returns:
        The worst error of each kind of transformation and where it stands, and those of each entry of the irreps.
        Printable.

    Raises:
        ConfigError, ShapeError, IrrepsError: As ``assert_equivariant``.

    Example:
        >>> report = equivariance_error(torch.linalg.cross, ["1o", "1o"], "1o")  # it is 1e: inversion tells
        >>> report.errors["rotation"] < 1e-12, report.errors["inversion"] > 1
        (True, True)
    """
    signature = read_signature(irreps_in, irreps_out, translation, permutation)
    if not isinstance(trials, int) or trials < 1:
        raise ConfigError(f"trials needs an integer >= 1; got {trials}.")
    given = None if inputs is None else check_inputs(inputs, signature.inputs, dtype)
    random = torch.Generator().manual_seed(seed)
    entries: dict[tuple[int, int], EntryErrors] = {}
    least_rms, dtypes = math.inf, set[torch.dtype]()
    for _ in range(trials):
        x = draw_inputs(signature.inputs, f, dtype, random) if given is None else given
        y = _outputs(f, x, signature)
        least_rms = min(least_rms, *(rms(value) for _, value, _ in _compared(y, signature)))
        laws = (*signature.inputs, *signature.outputs)
        dtypes |= {t.dtype for t, law in zip((*x, *y), laws, strict=True) if law.irreps is not None}
        for kind, g in draw_transforms(signature, x, parity, random).items():
            gx = [g.on_input(i, v, law) for i, (v, law) in enumerate(zip(x, signature.inputs, strict=True))]
            for place, found in _differences(_outputs(f, gx, signature), y, g, kind, signature).items():
                entries[place] = _worse(entries.get(place, found), found)
    coarsest = max(dtypes, key=lambda dtype: torch.finfo(dtype).eps)
    return EquivarianceReport(tuple(entries.values()), least_rms, coarsest, trials)


def _outputs(f: Callable[..., Any], inputs: Sequence[Any], signature: Signature) -> list[Any]:
    """Call ``f`` and look at the number and the shapes of its outputs."""
    outputs = call(f, inputs)
    if len(outputs) != len(signature.outputs):
        raise ShapeError(f"irreps_out declares {len(signature.outputs)} outputs; {name_of(f)} returned {len(outputs)}.")
    for i, y, law in _compared(outputs, signature):
        check_tensor(f"output {i} of {name_of(f)}", y, law)
    return outputs


def _compared(outputs: Sequence[Any], signature: Signature) -> list[tuple[int, Any, Kind]]:
    """Return position, value and law of the outputs that are compared."""
    laws = enumerate(signature.outputs)
    return [(i, y, law) for y, (i, law) in zip(outputs, laws, strict=True) if law.irreps is not None]


def _differences(
    found: Sequence[Tensor], y: Sequence[Tensor], g: Transform, kind: str, signature: Signature
) -> dict[tuple[int, int], EntryErrors]:
    """Return the greatest difference between ``f(g x)`` and ``g f(x)`` in each entry, in units of its size."""
    out = {}
    for i, value, law in _compared(y, signature):
        assert law.irreps is not None
        needed = g.on_output(i, value.double(), law)
        if found[i].shape != needed.shape:
            raise ShapeError(
                f"output {i} needs one shape whatever the transformation; got {list(needed.shape)} before it and "
                f"{list(found[i].shape)} after. Compare what keeps its shape."
            )
        difference = (found[i].double() - needed).abs().reshape(-1, needed.shape[-1])  # [rows, dim]
        columns = difference.amax(0) if len(difference) else needed.new_zeros(needed.shape[-1])  # NaN stays NaN
        least = max(LEAST_RMS, SMALLEST_PART * rms(value), SMALLEST_PART * rms(needed))
        for k, (entry, s) in enumerate(zip(law.irreps, law.irreps.slices(), strict=True)):
            if s.start < s.stop:
                size = rms(value[..., s])
                # Points that lie around the origin are small; moved away from it, they round as what they are then.
                error = columns[s].max().item() / max(size, rms(needed[..., s]), least)
                errors = {kind: error if math.isfinite(error) else math.inf}
                out[i, k] = EntryErrors(i, str(entry), str(law), size, errors)
    return out


def _worse(one: EntryErrors, other: EntryErrors) -> EntryErrors:
    """Return the worse of two findings about the same entry."""
    errors = {kind: max(one.errors.get(kind, error), error) for kind, error in other.errors.items()}
    return one._replace(rms=min(one.rms, other.rms), errors=one.errors | errors)
