"""The factor that keeps features at unit scale through a nonlinearity."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import lru_cache
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from irrepnet.errors import ConfigError, did_you_mean

__all__ = ["in_double", "random_sample", "second_moment_factor"]

Function = Callable[[Tensor], Tensor]


def second_moment_factor(f: Function, method: str = "exact") -> float:
    r"""Return the factor c for which c f(z) has second moment 1, z being a normal variable.

    .. math:: c = \left( \int \frac{e^{-z^2/2}}{\sqrt{2\pi}} \, f(z)^2 \, dz \right)^{-1/2}

    Args:
        f: Elementwise function of a tensor, called in float64; of a module a copy in float64 is called.
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
    known = _known(f)
    if known is not None:
        return known[method]
    # A module or another callable object may change, so only plain functions are remembered.
    plain = isinstance(f, (FunctionType, BuiltinFunctionType))
    return _remembered_factor(f, method) if plain else _factor(f, method)


def _factor(f: Function, method: str) -> float:
    z, weights = _SAMPLES[method]()
    with torch.no_grad():
        values = in_double(f)(z).to(z)
    moment = (values.square() * weights).sum().item()
    if not 0 < moment < math.inf:
        raise ConfigError(f"an activation needs a second moment above zero and finite; {f} has {moment}.")
    factor = moment**-0.5
    return 1.0 if method == "e3nn" and abs(factor - 1) < 1e-4 else factor


def in_double(f: Function) -> Function:
    """Return a function that takes float64 tensors on the CPU: a module is copied.

    Example:
        >>> in_double(torch.nn.PReLU())(torch.zeros(1, dtype=torch.float64)).dtype
        torch.float64
    """
    return copy.deepcopy(f).double().cpu() if isinstance(f, torch.nn.Module) else f


_remembered_factor = lru_cache(maxsize=64)(_factor)


def random_sample() -> Tensor:
    """Return the normal numbers on which e3nn's constants rest: a million from seed 0, float64.

    Example:
        >>> random_sample().shape
        torch.Size([1000000])
    """
    generator = torch.Generator("cpu").manual_seed(0)
    return torch.randn(1_000_000, generator=generator, dtype=torch.float64, device="cpu")


def _random_sample() -> tuple[Tensor, Tensor | float]:
    z = random_sample()
    return z, 1 / len(z)


def _quadrature() -> tuple[Tensor, Tensor | float]:
    """Trapezoid rule, which converges exponentially for a smooth integrand that dies off on both sides.

    Zero is one of its points, so functions with a kink there (ReLU, abs) are integrated as well as smooth ones.
    """
    z = torch.linspace(-12, 12, 4801, dtype=torch.float64, device="cpu")
    return z, torch.exp(-z.square() / 2) * (24 / 4800 / math.sqrt(2 * math.pi))


_SAMPLES: dict[str, Callable[[], tuple[Tensor, Tensor | float]]] = {"exact": _quadrature, "e3nn": _random_sample}


def _known(f: Function) -> dict[str, float] | None:
    """Return the factors of a well-known function, or of a module that stands for it with its default options."""
    kind: Any = type(f)
    if isinstance(f, torch.nn.Module) and kind in _MODULES and f.extra_repr() == kind().extra_repr():
        f = _MODULES[kind]
    return _KNOWN.get(f) if isinstance(f, (FunctionType, BuiltinFunctionType)) else None


def _factors(exact: float, e3nn: float) -> dict[str, float]:
    return {"exact": exact, "e3nn": e3nn}


# What `_factor` returns for well-known functions, so that a network need not draw a million numbers while it is built.
# A test computes them again.
_KNOWN: dict[Any, dict[str, float]] = {
    torch.abs: _factors(1.0, 1.001110600838467),
    torch.cos: _factors(1.3272506002845748, 1.326609063570005),
    torch.relu: _factors(1.414213562373095, 1.4163393446331365),
    torch.sigmoid: _factors(1.8462285453386054, 1.8467055342154766),
    torch.sin: _factors(1.5208666231788148, 1.5218334864623193),
    torch.tanh: _factors(1.5925374197228312, 1.5937334472592695),
    functional.elu: _factors(1.2451983007027123, 1.2467863885570514),
    functional.gelu: _factors(1.533530441195535, 1.5360642850770578),
    functional.leaky_relu: _factors(1.4141428569978352, 1.4162684218969972),
    functional.logsigmoid: _factors(1.0418668355353016, 1.0422056251224927),
    functional.mish: _factors(1.486847581273208, 1.4891609082630328),
    functional.relu: _factors(1.414213562373095, 1.4163393446331365),
    functional.selu: _factors(1.0000000000032112, 1.001049225017453),
    functional.sigmoid: _factors(1.8462285453386054, 1.8467055342154766),
    functional.silu: _factors(1.676532470331091, 1.679176792398942),
    functional.softplus: _factors(1.0418668355353016, 1.0426436590527184),
    functional.softsign: _factors(2.337533363161616, 2.339261168724108),
    functional.tanh: _factors(1.5925374197228312, 1.5937334472592695),
}

_MODULES: dict[Any, Function] = {
    torch.nn.ELU: functional.elu,
    torch.nn.GELU: functional.gelu,
    torch.nn.LeakyReLU: functional.leaky_relu,
    torch.nn.Mish: functional.mish,
    torch.nn.ReLU: torch.relu,
    torch.nn.SELU: functional.selu,
    torch.nn.SiLU: functional.silu,
    torch.nn.Sigmoid: torch.sigmoid,
    torch.nn.Softplus: functional.softplus,
    torch.nn.Softsign: functional.softsign,
    torch.nn.Tanh: torch.tanh,
}
