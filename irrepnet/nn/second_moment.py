"""The factor that keeps features at unit scale through a nonlinearity."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from types import BuiltinFunctionType, FunctionType

import torch
from torch import Tensor

from irrepnet.errors import ConfigError, did_you_mean

__all__ = ["second_moment_factor"]

Function = Callable[[Tensor], Tensor]


def second_moment_factor(f: Function, method: str = "exact") -> float:
    r"""Return the factor c for which c f(z) has second moment 1, z being a normal variable.

    .. math:: c = \left( \int \frac{e^{-z^2/2}}{\sqrt{2\pi}} \, f(z)^2 \, dz \right)^{-1/2}

    Args:
        f: Elementwise function of a tensor; it is called in float64, or in the dtype of its parameters.
        method: ``"exact"``: quadrature, to 1e-12 for smooth functions. ``"e3nn"``: the mean over e3nn's million random
            numbers, off by about 1e-3, for weights that were trained with it; a factor within 1e-4 of 1 is 1.

    Raises:
        ConfigError: If the method is unknown, or the second moment is not positive and finite.

    Example:
        >>> from torch.nn.functional import silu
        >>> round(second_moment_factor(silu), 6), round(second_moment_factor(silu, "e3nn"), 6)
        (1.676532, 1.679177)
    """
    if method not in _SAMPLES:
        hint = did_you_mean(str(method), _SAMPLES)
        raise ConfigError(f"second_moment needs one of {', '.join(_SAMPLES)}; got {method!r}.{hint}")
    # A module or another callable object may change, so only plain functions are remembered.
    plain = isinstance(f, (FunctionType, BuiltinFunctionType))
    return _remembered_factor(f, method) if plain else _factor(f, method)


def _factor(f: Function, method: str) -> float:
    z, weights = _SAMPLES[method]()
    own = [*f.parameters(), *f.buffers()] if isinstance(f, torch.nn.Module) else []
    with torch.no_grad():
        values = f(z.to(own[0]) if own else z).to(z)
    moment = (values.square() * weights).sum().item()
    if not 0 < moment < math.inf:
        raise ConfigError(f"an activation needs a second moment above zero and finite; {f} has {moment}.")
    factor = moment**-0.5
    return 1.0 if method == "e3nn" and abs(factor - 1) < 1e-4 else factor


_remembered_factor = lru_cache(maxsize=64)(_factor)


def _random_sample() -> tuple[Tensor, Tensor | float]:
    """The normal numbers on which e3nn's constants rest: a million from seed 0."""
    generator = torch.Generator("cpu").manual_seed(0)
    z = torch.randn(1_000_000, generator=generator, dtype=torch.float64, device="cpu")
    return z, 1 / len(z)


def _quadrature() -> tuple[Tensor, Tensor | float]:
    """Trapezoid rule, which converges exponentially for a smooth integrand that dies off on both sides.

    Zero is one of its points, so functions with a kink there (ReLU, abs) are integrated as well as smooth ones.
    """
    z = torch.linspace(-12, 12, 4801, dtype=torch.float64, device="cpu")
    return z, torch.exp(-z.square() / 2) * (24 / 4800 / math.sqrt(2 * math.pi))


_SAMPLES: dict[str, Callable[[], tuple[Tensor, Tensor | float]]] = {"exact": _quadrature, "e3nn": _random_sample}
