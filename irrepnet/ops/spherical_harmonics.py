"""Solid spherical harmonics of points, differentiable to every order."""

from __future__ import annotations

import torch
from torch import Tensor

from irrepnet.errors import DtypeError, ShapeError
from irrepnet.ops._autocast import autocasting
from irrepnet.ops._backend import choose
from irrepnet.ops._register import Derivative, Op, register, rowwise
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
        return wide if autocasting(xyz.device) else wide.to(xyz.dtype)
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


# The gradient of a solid harmonic is a constant combination of those one degree lower: d_i R = G_i R. So the trilinear
# form T(v, g, r) = sum_i v_i g.(G_i r) carries all derivatives: `_gradient_v`, `_gradient_g`, `_gradient_r` are its
# gradients, each of their derivatives is another of them, and `_backward(g, xyz)` is `_gradient_v(g, R(xyz))` in one
# pass. Its derivative along u, the Hessian of g.R(xyz) times u, is the gradient of T(u, g, R(xyz)), so it is itself
# with `_gradient_r(u, g)` for g.

_backward: Op = register(
    "spherical_harmonics_backward",
    fake=lambda g, xyz, lmax: xyz.new_empty(xyz.shape),
    derivatives={
        0: Derivative(vjp=lambda v, g, xyz, lmax: _gradient_g(v, _harmonics(xyz, lmax), lmax)),
        1: Derivative(
            vjp=lambda v, g, xyz, lmax: _backward(_gradient_r(v, g, lmax), xyz, lmax),
            jvp=lambda v, g, xyz, lmax: _backward(_gradient_r(v, g, lmax), xyz, lmax),
        ),
    },
    batch=rowwise,
)

_harmonics: Op = register(
    "spherical_harmonics",
    fake=lambda xyz, lmax: xyz.new_empty((*xyz.shape[:-1], (lmax + 1) ** 2)),
    derivatives={
        0: Derivative(
            vjp=_backward,
            jvp=lambda v, xyz, lmax: _gradient_g(v, _harmonics(xyz, lmax), lmax),
        )
    },
    batch=rowwise,
)

_gradient_v: Op = register(
    "spherical_harmonics_gradient_v",
    fake=lambda g, r, lmax: g.new_empty((*g.shape[:-1], 3)),
    derivatives={
        0: Derivative(vjp=lambda v, g, r, lmax: _gradient_g(v, r, lmax)),
        1: Derivative(vjp=lambda v, g, r, lmax: _gradient_r(v, g, lmax)),
    },
    batch=rowwise,
)

_gradient_g: Op = register(
    "spherical_harmonics_gradient_g",
    fake=lambda v, r, lmax: r.new_empty(r.shape),
    derivatives={
        0: Derivative(vjp=lambda g, v, r, lmax: _gradient_v(g, r, lmax)),
        1: Derivative(vjp=lambda g, v, r, lmax: _gradient_r(v, g, lmax)),
    },
    batch=rowwise,
)

_gradient_r: Op = register(
    "spherical_harmonics_gradient_r",
    fake=lambda v, g, lmax: g.new_empty(g.shape),
    derivatives={
        0: Derivative(vjp=lambda r, v, g, lmax: _gradient_v(g, r, lmax)),
        1: Derivative(vjp=lambda r, v, g, lmax: _gradient_g(v, r, lmax)),
    },
    batch=rowwise,
)
