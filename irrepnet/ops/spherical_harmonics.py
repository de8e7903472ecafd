"""Solid spherical harmonics of points, differentiable to every order."""

from __future__ import annotations

import torch
from torch import Tensor

from irrepnet.errors import DtypeError, ShapeError
from irrepnet.ops._backend import choose
from irrepnet.ops._register import Derivative, register, rowwise
from irrepnet.ops.reference import spherical_harmonics as reference

__all__ = ["spherical_harmonics"]

_HALF = (torch.float16, torch.bfloat16)


def spherical_harmonics(xyz: Tensor, lmax: int, *, backend: str = "auto") -> Tensor:
    r"""Return the real solid spherical harmonics of every degree up to lmax.

    .. math:: R_{lm}(\vec r) = |\vec r|^l \, Y_{lm}(\vec r / |\vec r|), \qquad \sum_m R_{lm}^2 = (2l+1) |\vec r|^{2l}

    They are polynomials, so values and derivatives of every order are finite everywhere, at the zero vector too.
    Polar axis y, no Condon-Shortley phase: degree 1 is ``sqrt(3) * (x, y, z)``. Nothing is normalised: pass unit
    vectors for harmonics on the sphere.

    Args:
        xyz: Points, shape ``[..., 3]``, any unit. float16 and bfloat16 are computed in float32 and rounded once at
            the end, in every backend; under autocast they give float32.
        lmax: Highest degree (inclusive), >= 0.
        backend: 'auto', 'reference' or 'fused'.

    Returns:
        Shape ``[..., (lmax + 1)**2]``: degree after degree, components m = -l ... l. Unit of xyz to the power l.

    Raises:
        ShapeError: If xyz is not ``[..., 3]`` or lmax is not an integer >= 0.
        DtypeError: If xyz is not a real floating-point tensor.
        BackendError: If the backend is unknown, or was named and cannot serve.

    Reference: Varshalovich, Moskalev, Khersonskii 1988, Quantum Theory of Angular Momentum, chapter 5.

    Example:
        >>> spherical_harmonics(torch.tensor([[0.0, 2.0, 0.0]]), 1)
        tensor([[1.0000, 0.0000, 3.4641, 0.0000]])
    """
    _check(xyz, lmax)
    if xyz.dtype in _HALF:
        wide = spherical_harmonics(xyz.float(), lmax, backend=backend)
        return wide if torch.is_autocast_enabled(xyz.device.type) else wide.to(xyz.dtype)
    if choose(backend, "spherical_harmonics", xyz) == "fused":
        return _harmonics(xyz, lmax)
    return reference.spherical_harmonics(xyz, lmax)


def _check(xyz: Tensor, lmax: int) -> None:
    if not isinstance(xyz, Tensor) or not xyz.is_floating_point():
        found = xyz.dtype if isinstance(xyz, Tensor) else type(xyz).__name__
        raise DtypeError(f"spherical_harmonics needs xyz as a floating-point tensor [..., 3]; got {found}.")
    if xyz.ndim == 0 or xyz.shape[-1] != 3:
        raise ShapeError(f"spherical_harmonics needs xyz [..., 3]; got xyz {list(xyz.shape)}.")
    if not isinstance(lmax, int) or lmax < 0:
        raise ShapeError(f"spherical_harmonics needs an integer lmax >= 0; got lmax = {lmax!r}.")


# A derivative of a solid harmonic of degree l is a constant combination of those of degree l - 1: d_i R = G_i R. So
# one trilinear form, T(v, g, r) = sum_i v_i g.(G_i r), carries all derivatives: the three ops below are its gradients
# with respect to v, g and r, and each of their derivatives is another of them.

_harmonics = register(
    "spherical_harmonics",
    fake=lambda xyz, lmax: xyz.new_empty((*xyz.shape[:-1], (lmax + 1) ** 2)),
    derivatives={
        0: Derivative(
            vjp=lambda grad, output, xyz, lmax: _harmonics_vjp(grad, output, lmax),
            jvp=lambda tangent, output, xyz, lmax: _harmonics_jvp(tangent, output, lmax),
        )
    },
    batch=rowwise,
    needs_output=True,
)

_harmonics_vjp = register(
    "spherical_harmonics_vjp",  # (g, r) -> dT/dv, shape [..., 3]
    fake=lambda g, r, lmax: g.new_empty((*g.shape[:-1], 3)),
    derivatives={
        0: Derivative(vjp=lambda v, _, g, r, lmax: _harmonics_jvp(v, r, lmax)),
        1: Derivative(vjp=lambda v, _, g, r, lmax: _harmonics_jvp_adjoint(v, g, lmax)),
    },
    batch=rowwise,
)

_harmonics_jvp = register(
    "spherical_harmonics_jvp",  # (v, r) -> dT/dg, shape [..., (lmax+1)**2]
    fake=lambda v, r, lmax: torch.empty_like(r),
    derivatives={
        0: Derivative(vjp=lambda g, _, v, r, lmax: _harmonics_vjp(g, r, lmax)),
        1: Derivative(vjp=lambda g, _, v, r, lmax: _harmonics_jvp_adjoint(v, g, lmax)),
    },
    batch=rowwise,
)

_harmonics_jvp_adjoint = register(
    "spherical_harmonics_jvp_adjoint",  # (v, g) -> dT/dr, shape [..., (lmax+1)**2]
    fake=lambda v, g, lmax: torch.empty_like(g),
    derivatives={
        0: Derivative(vjp=lambda r, _, v, g, lmax: _harmonics_vjp(g, r, lmax)),
        1: Derivative(vjp=lambda r, _, v, g, lmax: _harmonics_jvp(v, r, lmax)),
    },
    batch=rowwise,
)
