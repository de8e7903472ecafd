"""Check that a layer keeps the size of its features: variance 1 in, variance 1 out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from statistics import NormalDist
from typing import Any, NamedTuple

import torch
from torch import Tensor

from irrepnet.errors import ConfigError, ShapeError, did_you_mean
from irrepnet.testing.calling import call, check_inputs, check_tensor, draw_inputs, module_of, name_of
from irrepnet.testing.signature import Kind, read_kinds

__all__ = ["assert_normalized"]

NORMALIZATIONS = ("component", "norm")
NUM_STANDARD_ERRORS = 5.0  # a normal variable is further off less than once in a million times
NUM_ROUNDINGS = 16  # what a right function may be off where chance is nothing: vectors that all have the same length
COARSEST = 0.5
FEWEST_TRIALS = 30
NUM_ROWS = 64


def assert_normalized(  # noqa: PLR0913 a test names the few options it needs
    f: Callable[..., Any],
    irreps_in: Any,
    irreps_out: Any,
    *,
    normalization: str = "component",
    trials: int = 400,
    weights: Iterable[Tensor] | None = None,
    tol: float = 0.0,
    seed: int = 0,
    inputs: Sequence[Any] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    r"""Raise ``AssertionError`` unless normal features of variance 1 go in and features of variance 1 come out.

    In each trial the weights and the inputs are drawn anew from N(0, 1), and the mean square of each column of the
    output is taken. Over the trials it has a mean and a standard error :math:`s`. Each entry of the irreps, the mean of
    its columns, must keep

    .. math:: |\operatorname{mean} - \text{variance}| \le \text{tol} + 5 s, \qquad s \propto 1 / \sqrt{\text{trials}}

    so that a layer that is right does not fail by chance, and more trials make a sharper test. Then each column must
    keep it too, with as many :math:`s` as make chance no likelier for all columns together: a channel or a component
    that is too large does not make up for one that is too small. Rounding is allowed for, 16 units of it.

    Args:
        f: A function or module that takes tensors by position and returns a tensor or a tuple of tensors.
        irreps_in: What the arguments are, as for ``assert_equivariant``; None for what is not drawn (give ``inputs``).
            A list if ``f`` takes several arguments.
        irreps_out: The same for the outputs; None for an output that is not measured.
        normalization: ``"component"``: each component has variance 1, in and out; ``"norm"``: 1 / (2l+1).
        trials: How many draws of weights and inputs, >= 30.
        weights: Parameters to draw from N(0, 1). By default those of the module, but for parameters that are all 0 or
            all 1: biases and scales, which start at a constant. Afterwards they are what they were.
        tol: Deviation of the variance to accept besides what chance explains, relative to the variance asked for.
        seed: Seed of weights and inputs. The global random state is left alone.
        inputs: Arguments whose shapes are to be drawn (those with irreps), or that are passed as they are (those
            without); needed where arguments fit each other. By default 64 rows.
        dtype: Of the random arguments. By default that of the module's parameters; float64 for a function.

    Raises:
        AssertionError: If a variance is off; it names the output, the entry or the column, and what was measured.
        ConfigError: If ``normalization`` is unknown, ``trials`` is no integer >= 30, nothing is to be measured, both
            ``inputs`` and ``dtype`` are given, or the trials are too few to tell a variance of 1 from one of 1.5.
        ShapeError: If ``f`` returns another number or other shapes of outputs than declared, or ``inputs`` do not fit.
        IrrepsError: If irreps cannot be read.

    Example:
        >>> from irrepnet import o3
        >>> assert_normalized(o3.Linear("8x0e + 4x1o", "4x0e + 8x1o"), "8x0e + 4x1o", "4x0e + 8x1o")
        >>> assert_normalized(lambda x: 2 * x, "0e + 1o", "0e + 1o")
        Traceback (most recent call last):
        ...
        AssertionError: <lambda> is not normalized: output 0 (1x0e of 1x0e+1x1o) has variance ..., needed 1 +- ...
    """
    __tracebackhide__ = True  # pytest then shows the line of the test
    laws_in, laws_out = read_kinds(irreps_in), read_kinds(irreps_out)
    _check_options(normalization, trials, irreps_out, laws_out)
    given = None if inputs is None else check_inputs(inputs, laws_in, dtype)
    random = torch.Generator().manual_seed(seed)
    measured: list[Tensor] = []
    rounding = 0.0
    with _drawn(_weights(f, weights), random) as draw_weights:
        for _ in range(trials):
            draw_weights()
            if given is None:
                x: list[Any] = list(draw_inputs(laws_in, f, dtype, random, num_rows=NUM_ROWS))
            else:
                x = _like(given, laws_in, random)
            if normalization == "norm":
                x = [_scaled(v, law) for v, law in zip(x, laws_in, strict=True)]
            outputs = _measured(name_of(f), call(f, x), laws_out)
            measured.append(torch.cat([y.double().square().flatten(0, -2).mean(0).cpu() for y in outputs]))
            rounding = NUM_ROUNDINGS * max(torch.finfo(y.dtype).eps for y in outputs)
    _compare(name_of(f), _places(laws_out, normalization), torch.stack(measured), tol, rounding)


def _check_options(normalization: str, trials: int, irreps_out: Any, laws_out: Sequence[Kind]) -> None:
    if normalization not in NORMALIZATIONS:
        near = did_you_mean(normalization, NORMALIZATIONS)
        raise ConfigError(f"normalization needs 'component' or 'norm'; got {normalization!r}.{near}")
    if not isinstance(trials, int) or trials < FEWEST_TRIALS:
        raise ConfigError(
            f"trials needs an integer >= {FEWEST_TRIALS}: chance is judged by their spread; got {trials}."
        )
    if not any(law.irreps is not None and law.irreps.dim for law in laws_out):
        raise ConfigError(f"irreps_out needs an output to measure, with irreps; got {irreps_out!r}.")


def _weights(f: Callable[..., Any], weights: Iterable[Tensor] | None) -> list[Tensor]:
    """Return the parameters to draw."""
    if weights is not None:
        return list(weights)
    module = module_of(f)
    parameters = [] if module is None else list(module.parameters())
    return [p for p in parameters if p.numel() and not any((p == constant).all() for constant in (0, 1))]


@contextmanager
def _drawn(weights: Sequence[Tensor], random: torch.Generator) -> Iterator[Callable[[], None]]:
    """Give a function that draws the weights anew; put them back in the end."""
    before = [weight.detach().clone() for weight in weights]

    def draw() -> None:
        with torch.no_grad():
            for weight in weights:
                weight.copy_(torch.randn(weight.shape, generator=random, dtype=torch.float64, device="cpu"))

    try:
        yield draw
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, before, strict=True):
                weight.copy_(value)


def _like(given: Sequence[Any], laws: Sequence[Kind], random: torch.Generator) -> list[Any]:
    """Draw what carries irreps in the shapes of given arguments; pass on the rest."""
    return [
        x if law.irreps is None else torch.randn(x.shape, generator=random, dtype=torch.float64, device="cpu").to(x)
        for x, law in zip(given, laws, strict=True)
    ]


def _scaled(x: Any, law: Kind) -> Any:
    """Give every irrep the expected squared length 1 instead of 2l+1."""
    if law.irreps is None:
        return x
    scale = [ir.dim**-0.5 for mul, ir in law.irreps for _ in range(mul * ir.dim)]
    return x * torch.tensor(scale, dtype=torch.float64, device="cpu").to(x)


class _Place(NamedTuple):
    text: str
    variance: float
    columns: slice  # of all outputs together


def _places(laws: Sequence[Kind], normalization: str) -> list[_Place]:
    """Return the entries that are measured, and the variance that they need."""
    places, start = [], 0
    for i, law in enumerate(laws):
        for entry in law.irreps or ():
            text = f"output {i} ({entry} of {law})" if len(law.irreps or ()) > 1 else f"output {i} ({law})"
            variance = 1.0 if normalization == "component" else 1 / entry.ir.dim
            if entry.dim:
                places.append(_Place(text, variance, slice(start, start + entry.dim)))
            start += entry.dim
    return places


def _measured(name: str, outputs: Sequence[Any], laws: Sequence[Kind]) -> list[Tensor]:
    """Return the outputs that are measured, after a look at their number and shapes."""
    if len(outputs) != len(laws):
        raise ShapeError(f"irreps_out declares {len(laws)} outputs; {name} returned {len(outputs)}.")
    pairs = [(i, y, law) for i, (y, law) in enumerate(zip(outputs, laws, strict=True)) if law.irreps is not None]
    for i, y, law in pairs:
        check_tensor(f"output {i} of {name}", y, law)
    return [torch.atleast_2d(y) for _, y, _ in pairs]


def _compare(name: str, places: Sequence[_Place], measured: Tensor, tol: float, rounding: float) -> None:
    """Raise unless the means over trials, ``[trials, columns]``, are what is needed, as far as chance allows."""
    __tracebackhide__ = True  # pytest then shows the line of the test
    chances = []
    for place in places:
        mean, error = _mean_and_error(measured[:, place.columns].mean(1))
        chances.append((NUM_STANDARD_ERRORS * error / place.variance, place.text))
        _check(name, place, mean, NUM_STANDARD_ERRORS * error, tol + rounding, len(measured))
    coarse, worst = max(chances)
    if coarse > COARSEST:
        needed = math.ceil(len(measured) * (coarse / COARSEST) ** 2)
        raise ConfigError(
            f"assert_normalized cannot tell with trials={len(measured)}: the variance of {worst} is known to "
            f"+- {100 * coarse:.0f} % only. Give trials={needed} or more."
        )
    normal = NormalDist()
    wider = -normal.inv_cdf(normal.cdf(-NUM_STANDARD_ERRORS) / measured.shape[1])
    for place in places:
        for i, values in enumerate(measured[:, place.columns].T):
            mean, error = _mean_and_error(values)
            _check(
                name,
                place._replace(text=f"column {i} of {place.text}"),
                mean,
                wider * error,
                tol + rounding,
                len(values),
            )


def _mean_and_error(values: Tensor) -> tuple[float, float]:
    """Return the mean of trials and its standard error."""
    return values.mean().item(), values.std().item() / math.sqrt(len(values))


def _check(name: str, place: _Place, mean: float, chance: float, tol: float, trials: int) -> None:
    """Raise unless a variance is within the limits."""
    __tracebackhide__ = True
    limit = tol * place.variance + chance
    if not abs(mean - place.variance) <= limit:
        raise AssertionError(
            f"{name} is not normalized: {place.text} has variance {mean:.4g}, needed {place.variance:.4g} +- "
            f"{limit:.2g} ({trials} trials)."
        )
