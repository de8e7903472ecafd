"""Spherical harmonics of vectors, by irreps and normalisation; the polynomials themselves come from ``ops``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from irrepnet.errors import ConfigError, DtypeError, IrrepsError, ShapeError, did_you_mean
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.su2 import degree, integer
from irrepnet.ops.spherical_harmonics import spherical_harmonics as all_harmonics

__all__ = ["SphericalHarmonics", "spherical_harmonics"]

_FACTORS = {  # relative to 'component', which is what ops.spherical_harmonics returns
    "component": lambda l: 1.0,
    "norm": lambda l: 1 / math.sqrt(2 * l + 1),
    "integral": lambda l: 1 / math.sqrt(4 * math.pi),
}


def spherical_harmonics(
    l: int | Sequence[int] | str | Irreps,
    x: torch.Tensor,
    normalize: bool,
    normalization: str = "integral",
    *,
    backend: str = "auto",
) -> torch.Tensor:
    r"""Evaluate real spherical harmonics: polar axis y, no Condon-Shortley phase, degree 1 proportional to (x, y, z).

    Without ``normalize`` they are the solid harmonics :math:`|x|^l Y^l(x / |x|)`, polynomials of the components.

    Args:
        l: Degree, degrees in any order, or irreps whose degrees are wanted.
        x: Vectors, shape ``[..., 3]``, floating point.
        normalize: Whether to divide the vectors by their length first. The zero vector gives 0 for l > 0, and its
            derivative is taken as 0, so it makes no NaN.
        normalization: On the unit sphere, ``"component"``: :math:`\|Y^l\|^2 = 2l+1`; ``"norm"``:
            :math:`\|Y^l\| = 1`; ``"integral"``: :math:`\int Y_m^2 = 1`.
        backend: "auto", "reference" or "fused"; see ``ops.spherical_harmonics``.

    Returns:
        Shape ``[..., sum of 2l+1]``, the degrees in the order asked for.

    Raises:
        IrrepsError: If ``l`` is not a degree, the parities do not fit together, or ``normalization`` is unknown.
        ConfigError: If ``normalize`` is not True or False.
        ShapeError: If ``x`` is not ``[..., 3]``.
        DtypeError: If ``x`` is not a floating-point tensor.
        BackendError: If a named backend cannot serve.

    Example:
        >>> spherical_harmonics([0, 1], torch.tensor([0.0, 2.0, 0.0]), normalize=True, normalization="component")
        tensor([1.0000, 0.0000, 1.7321, 0.0000])
    """
    _, irreps_out = _resolve(l, None)
    return _evaluate(x, tuple(irreps_out.ls), _need_bool(normalize), _known(normalization), backend)


class SphericalHarmonics(torch.nn.Module):
    """Module that evaluates ``spherical_harmonics`` of fixed degrees; it has no parameters.

    Args:
        irreps_out: Degree, degrees, or irreps; irreps must have the parities that ``irreps_in`` gives.
        normalize: Whether to divide the vectors by their length first.
        normalization: "component", "norm" or "integral"; see ``spherical_harmonics``.
        irreps_in: ``"1o"`` (a vector, the default) or ``"1e"`` (a pseudovector; the default where ``irreps_out`` has an
            odd degree of even parity).
        backend: "auto", "reference" or "fused"; see ``ops.spherical_harmonics``.

    Raises:
        IrrepsError: If the parities do not fit, a degree is not one, or ``normalization`` is unknown.
        ConfigError: If ``normalize`` is not True or False.

    Example:
        >>> harmonics = SphericalHarmonics("0e + 1o", normalize=True)
        >>> harmonics
        SphericalHarmonics(1x1o -> 1x0e+1x1o | normalize=True, normalization='integral')
        >>> harmonics(torch.randn(7, 3)).shape
        torch.Size([7, 4])
    """

    def __init__(
        self,
        irreps_out: int | Sequence[int] | str | Irreps,
        normalize: bool,
        normalization: str = "integral",
        irreps_in: Any = None,
        *,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = _resolve(irreps_out, irreps_in)
        self.normalize = _need_bool(normalize)
        self.normalization = _known(normalization)
        self.backend = backend
        self._ls = tuple(self.irreps_out.ls)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Evaluate the harmonics of vectors ``[..., 3]``; returns ``[..., irreps_out.dim]``."""
        return _evaluate(x, self._ls, self.normalize, self.normalization, self.backend)

    def __repr__(self) -> str:
        options = f"normalize={self.normalize}, normalization={self.normalization!r}"
        return f"SphericalHarmonics({self.irreps_in} -> {self.irreps_out} | {options})"


def _evaluate(x: torch.Tensor, ls: tuple[int, ...], normalize: bool, normalization: str, backend: str) -> torch.Tensor:
    if not isinstance(x, torch.Tensor) or not x.is_floating_point():
        found = x.dtype if isinstance(x, torch.Tensor) else type(x).__name__
        raise DtypeError(f"spherical_harmonics needs a floating-point tensor x [..., 3]; got {found}.")
    if x.ndim == 0 or x.shape[-1] != 3:
        raise ShapeError(f"spherical_harmonics needs x [..., 3]; got x {list(x.shape)}.")
    lmax = max(ls, default=0)
    Y = all_harmonics(x, lmax, normalize=normalize, backend=backend)  # [..., (lmax+1)^2]
    factors = [_FACTORS[normalization](l) for l in ls]
    if ls == tuple(range(lmax + 1)) and len(set(factors)) == 1:  # all of it, one factor: no copy
        return Y if factors[0] == 1.0 else Y * factors[0]
    parts = [Y[..., l * l : (l + 1) * (l + 1)] * factor for l, factor in zip(ls, factors, strict=True)]
    return torch.cat(parts, dim=-1) if parts else Y[..., :0]


def _resolve(irreps_out: Any, irreps_in: Any) -> tuple[Irreps, Irreps]:
    """Return the irreps of the argument and of the result, consistent with each other."""
    by_degree = False
    if not isinstance(irreps_out, (str, Irrep, Irreps)):
        items = irreps_out if isinstance(irreps_out, Iterable) else [degree(irreps_out)]
        irreps_out = tuple(items)  # a generator can be read only once
        by_degree = all(isinstance(l, int) or integer(l) is not None for l in irreps_out)
    if irreps_in is None:
        odd = [] if by_degree else [ir.p for mul, ir in Irreps(irreps_out) if ir.l % 2 == 1 and mul > 0]
        irreps_in = Irreps([(1, (1, odd[0] if odd else -1))])
    irreps_in = Irreps(irreps_in)
    if irreps_in not in (Irreps("1o"), Irreps("1e")):
        raise IrrepsError(
            f"SphericalHarmonics needs irreps_in '1o' (vector) or '1e' (pseudovector); got '{irreps_in}'."
        )
    vector = irreps_in[0].ir
    if by_degree:
        return irreps_in, Irreps([(1, (l, vector.p**l)) for l in map(degree, irreps_out)])
    irreps_out = Irreps(irreps_out)
    for _, ir in irreps_out:
        right = Irrep(ir.l, vector.p**ir.l)
        if ir != right:
            raise IrrepsError(
                f"spherical harmonics of degree {ir.l} of a {vector} are {right}; got {ir} in irreps_out "
                f"'{irreps_out}'. Did you mean {right}?"
            )
    return irreps_in, irreps_out


def _need_bool(normalize: bool) -> bool:
    if not isinstance(normalize, bool):
        raise ConfigError(
            f"normalize must be True or False; got {normalize!r}. The normalisation is another argument: write "
            "normalization='component'."
        )
    return normalize


def _known(normalization: str) -> str:
    if normalization not in _FACTORS:
        hint = did_you_mean(str(normalization), _FACTORS)
        raise IrrepsError(f"normalization must be 'component', 'norm' or 'integral'; got {normalization!r}.{hint}")
    return normalization
