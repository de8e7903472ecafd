"""Check that a function commutes with rotations, inversion, translations and permutations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from irrepnet.errors import ConfigError, DtypeError, ShapeError
from irrepnet.testing.report import EquivarianceReport, Finding
from irrepnet.testing.signature import Kind, Permutation, Signature, read_signature
from irrepnet.testing.transforms import Transform, draw_transforms

__all__ = ["assert_equivariant", "equivariance_error"]

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
LEAST_RMS = 1e-6
NUM_ROWS = 5


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

    .. math:: \text{error} = \frac{\max |f(g x) - g f(x)|}{\max(1, \operatorname{rms} f(x))} \le \text{tol}

    A function that returns zeros fails too: it commutes with everything, which proves nothing.

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
        AssertionError: If an error exceeds ``tol`` or is not finite, or an output is zero (rms below 1e-6); it names
            the kind of transformation, the output, its irreps, the error and the tolerance.
        ConfigError: If the declarations do not fit together.
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
    name = _name(f)
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
        The worst error of each kind of transformation, and where it stands. Printable.

    Raises:
        ConfigError, ShapeError, IrrepsError: As ``assert_equivariant``.

    Example:
        >>> report = equivariance_error(torch.linalg.cross, ["1o", "1o"], "1o")  # it is 1e: inversion tells
        >>> report.errors["rotation"] < 1e-12, report.errors["inversion"] > 1
        (True, True)
    """
    signature = read_signature(irreps_in, irreps_out, translation, permutation)
    if trials < 1:
        raise ConfigError(f"trials needs an integer >= 1; got {trials}.")
    given = None if inputs is None else _checked_inputs(inputs, signature)
    random = torch.Generator().manual_seed(seed)
    worst: dict[str, Finding] = {}
    least_rms, dtypes = math.inf, set[torch.dtype]()
    for _ in range(trials):
        x = _random_inputs(signature, f, dtype, random) if given is None else given
        y = _call(f, x, signature)
        least_rms = min(least_rms, *(_rms(value) for _, value, _ in _compared(y, signature)))
        laws = (*signature.inputs, *signature.outputs)
        dtypes |= {t.dtype for t, law in zip((*x, *y), laws, strict=True) if law.irreps is not None}
        for kind, g in draw_transforms(signature, x, parity, random).items():
            gx = [g.on_input(i, v, law) for i, (v, law) in enumerate(zip(x, signature.inputs, strict=True))]
            found = _worst(_call(f, gx, signature), y, g, signature)
            worst[kind] = max(worst.get(kind, found), found, key=lambda finding: finding.error)
    coarsest = max(dtypes, key=lambda dtype: torch.finfo(dtype).eps)
    return EquivarianceReport(worst, least_rms, coarsest, trials)


def _checked_inputs(inputs: Sequence[Any], signature: Signature) -> list[Any]:
    """Return given arguments without gradients, after a look at their shapes."""
    if len(inputs) != len(signature.inputs):
        raise ShapeError(f"irreps_in declares {len(signature.inputs)} arguments; inputs holds {len(inputs)}.")
    for i, (x, law) in enumerate(zip(inputs, signature.inputs, strict=True)):
        if law.irreps is not None:
            _check_tensor(f"inputs[{i}]", x, law)
    return [x.detach() if isinstance(x, Tensor) else x for x in inputs]


def _check_tensor(name: str, x: Any, law: Kind) -> None:
    """Raise unless ``x`` is a floating-point tensor that ends with the dimension of its irreps."""
    assert law.irreps is not None
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim == 0 or x.shape[-1] != law.irreps.dim:
        found = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ShapeError(f"{name} needs a floating-point tensor [..., {law.irreps.dim}] for {law}; got {found}.")


def _random_inputs(
    signature: Signature, f: Callable[..., Any], dtype: torch.dtype | None, random: torch.Generator
) -> list[Tensor]:
    """Draw normal arguments of a few rows, of the dtype and on the device of the module."""
    module = _module(f)
    state = [] if module is None else [*module.parameters(), *module.buffers()]
    like = next((t for t in state if t.is_floating_point()), torch.empty(0, dtype=torch.float64, device="cpu"))
    out = []
    for i, law in enumerate(signature.inputs):
        if law.irreps is None:
            raise ConfigError(f"argument {i} is declared None, so it cannot be drawn at random: give inputs=[...].")
        x = torch.randn(NUM_ROWS, law.irreps.dim, generator=random, dtype=torch.float64, device="cpu")
        out.append(x.to(like.device, dtype or like.dtype))
    return out


def _module(f: Callable[..., Any]) -> nn.Module | None:
    """Return ``f`` if it is a module, or the module whose method it is."""
    owner = getattr(f, "__self__", f)
    return owner if isinstance(owner, nn.Module) else None


def _call(f: Callable[..., Any], inputs: Sequence[Any], signature: Signature) -> list[Tensor]:
    """Call ``f`` on copies, put buffers and random state back, and return its outputs after a look at their shapes.

    Gradients stay enabled: a function may differentiate inside.
    """
    module = _module(f)
    buffers = [] if module is None else list(module.buffers())
    before = [buffer.clone() for buffer in buffers]
    devices = {t.device.index or 0 for t in inputs if isinstance(t, Tensor) and t.is_cuda}
    with torch.random.fork_rng(devices=sorted(devices)):
        output = f(*(x.clone() if isinstance(x, Tensor) else x for x in inputs))
    with torch.no_grad():
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
    outputs = list(output) if isinstance(output, (tuple, list)) else [output]
    if len(outputs) != len(signature.outputs):
        raise ShapeError(f"irreps_out declares {len(signature.outputs)} outputs; {_name(f)} returned {len(outputs)}.")
    for i, y, law in _compared(outputs, signature):
        _check_tensor(f"output {i} of {_name(f)}", y, law)
    return [y.detach() if isinstance(y, Tensor) else y for y in outputs]


def _compared(outputs: Sequence[Any], signature: Signature) -> list[tuple[int, Any, Kind]]:
    """Return position, value and law of the outputs that are compared."""
    laws = enumerate(signature.outputs)
    return [(i, y, law) for y, (i, law) in zip(outputs, laws, strict=True) if law.irreps is not None]


def _rms(y: Tensor) -> float:
    return y.double().square().mean().sqrt().item() if y.numel() else 0.0


def _worst(found: Sequence[Tensor], y: Sequence[Tensor], g: Transform, signature: Signature) -> Finding:
    """Return the greatest difference between ``f(g x)`` and ``g f(x)``, in units of max(1, rms), and its place."""
    worst = Finding(-1.0, "")
    for i, value, law in _compared(y, signature):
        needed = g.on_output(i, value.double(), law)
        if found[i].shape != needed.shape:
            raise ShapeError(
                f"output {i} needs one shape whatever the transformation; got {list(needed.shape)} before it and "
                f"{list(found[i].shape)} after. Compare what keeps its shape."
            )
        difference = (found[i].double() - needed).abs().reshape(-1, needed.shape[-1])  # [rows, dim]
        columns = difference.nan_to_num(nan=math.inf).amax(0) if len(difference) else needed.new_zeros(needed.shape[-1])
        error = columns.max().item() / max(1.0, _rms(value))
        if not error <= worst.error:
            worst = Finding(error if math.isfinite(error) else math.inf, _place(i, law, int(columns.argmax())))
    return worst


def _place(output: int, law: Kind, column: int) -> str:
    """Say in words where a component stands."""
    assert law.irreps is not None
    entry = next(entry for entry, s in zip(law.irreps, law.irreps.slices(), strict=True) if s.start <= column < s.stop)
    return f"output {output} ({law})" if len(law.irreps) == 1 else f"output {output} ({entry} of {law})"


def _name(f: Callable[..., Any]) -> str:
    return getattr(f, "__name__", type(f).__name__)
