"""Spherical harmonics of points or of their directions, differentiable to every order."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from irrepnet.errors import DtypeError, ShapeError
from irrepnet.ops._autocast import autocasting
from irrepnet.ops._backend import choose
from irrepnet.ops._register import Derivative, Joint, Op, register, rowwise
from irrepnet.ops.reference import spherical_harmonics as reference

__all__ = ["spherical_harmonics"]

_HALF = (torch.float16, torch.bfloat16)


def spherical_harmonics(xyz: Tensor, lmax: int, *, normalize: bool = False, backend: str = "auto") -> Tensor:
    r"""Return the real solid spherical harmonics of every degree up to lmax.

    .. math:: R_{lm}(\vec r) = |\vec r|^l \, Y_{lm}(\vec r / |\vec r|), \qquad \sum_m R_{lm}^2 = (2l+1) |\vec r|^{2l}

    They are polynomials, so values and derivatives of every order are finite everywhere, at the zero vector too.
    Polar axis y, no Condon-Shortley phase: degree 1 is ``sqrt(3) * (x, y, z)``. With ``normalize`` they are the
    harmonics on the sphere, :math:`Y_{lm}(\vec r / |\vec r|)`, and no tensor of directions is made.

    Args:
        xyz: Points, shape ``[..., 3]``, any unit. float16 and bfloat16 are computed in float32 and rounded once at
            the end, in every backend; under autocast they give float32.
        lmax: Highest degree (inclusive), >= 0.
        normalize: Whether to divide the points by their lengths first. The zero vector gives 0 for l > 0, and its
            derivatives are taken as 0, so it makes no NaN.
        backend: 'auto', 'reference' or 'fused'.

    Returns:
        Shape ``[..., (lmax + 1)**2]``: degree after degree, components m = -l ... l. Unit of xyz to the power l;
        none with ``normalize``.

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
        wide = spherical_harmonics(xyz.float(), lmax, normalize=normalize, backend=backend)
        return wide if autocasting(xyz.device) else wide.to(xyz.dtype)
    if choose(backend, "spherical_harmonics", xyz) == "fused":
        return _harmonics(xyz, lmax, bool(normalize))
    return reference.spherical_harmonics(xyz, lmax, normalize)


def _check(xyz: Tensor, lmax: int) -> None:
    if not isinstance(xyz, Tensor) or not xyz.is_floating_point():
        found = xyz.dtype if isinstance(xyz, Tensor) else type(xyz).__name__
        raise DtypeError(f"spherical_harmonics needs xyz as a floating-point tensor [..., 3]; got {found}.")
    if xyz.ndim == 0 or xyz.shape[-1] != 3:
        raise ShapeError(f"spherical_harmonics needs xyz [..., 3]; got xyz {list(xyz.shape)}.")
    if not isinstance(lmax, int) or lmax < 0:
        raise ShapeError(f"spherical_harmonics needs an integer lmax >= 0; got lmax = {lmax!r}.")


# Y(xyz) is R(xyz), or R of the direction. `_backward(g, xyz)` is the gradient of g.Y(xyz), and `_double_backward(v, g,
# xyz)` has the slopes of Y and of `_backward` along v: (J v, H v), J the Jacobian of Y and H the Hessian of g.Y. It is
# also what both gradients of v.backward(g, xyz) are. Beyond it, second slopes of these are made from the ops below.


def _backward_vjp(needed: tuple[bool, ...], grads: tuple[Tensor | None, ...], *args: Any) -> tuple[Tensor | None, ...]:
    g, xyz, *rest = args
    slope, turned = _double_backward(grads[0], g, xyz, *rest)
    return slope if needed[0] else None, turned if needed[1] else None, None, None


def _backward_jvp(tangents: tuple[Tensor | None, ...], *args: Any) -> Tensor | None:
    g, xyz, *rest = args
    terms = []
    if tangents[0] is not None:
        terms.append(_backward(tangents[0], xyz, *rest))
    if tangents[1] is not None:
        terms.append(_double_backward(tangents[1], g, xyz, *rest)[1])
    return _total(terms)


def _double_backward_vjp(
    needed: tuple[bool, ...], grads: tuple[Tensor | None, ...], *args: Any
) -> tuple[Tensor | None, ...]:
    a, b = grads
    v, g, xyz, *rest = args
    of_v, of_g, of_xyz = [], [], []
    if a is not None:
        if needed[0]:
            of_v.append(_backward(a, xyz, *rest))
        if needed[2]:
            of_xyz.append(_double_backward(v, a, xyz, *rest)[1])
    if b is not None:
        if needed[0]:
            of_v.append(_double_backward(b, g, xyz, *rest)[1])
        if needed[1] or needed[2]:
            second = _Second(b, v, xyz, *rest)
            if needed[1]:
                of_g.append(second.of_harmonics())
            if needed[2]:
                of_xyz.append(second.of_backward(g))
    return *(_total(terms) for terms in (of_v, of_g, of_xyz)), None, None


def _double_backward_jvp(tangents: tuple[Tensor | None, ...], *args: Any) -> tuple[Tensor | None, ...]:
    v, g, xyz, *rest = args
    slopes, turned = [], []
    if tangents[0] is not None:
        both = _double_backward(tangents[0], g, xyz, *rest)
        slopes.append(both[0])
        turned.append(both[1])
    if tangents[1] is not None:
        turned.append(_double_backward(v, tangents[1], xyz, *rest)[1])
    if tangents[2] is not None:
        second = _Second(v, tangents[2], xyz, *rest)
        slopes.append(second.of_harmonics())
        turned.append(second.of_backward(g))
    return _total(slopes), _total(turned)


def _total(terms: list[Tensor]) -> Tensor | None:
    return sum(terms[1:], terms[0]) if terms else None


class _Second:
    """Second slopes along two vectors a and b, which serve third derivatives; made from differentiable ops."""

    def __init__(self, a: Tensor, b: Tensor, xyz: Tensor, lmax: int, normalize: bool):
        self.a, self.b, self.lmax = a, b, lmax
        self.direction = _Direction(xyz) if normalize else None
        self.r = _harmonics(xyz, lmax, normalize)

    def of_harmonics(self) -> Tensor:
        """Return the second slope of Y."""
        lmax, r, u = self.lmax, self.r, self.direction
        a, b = (u.slope(self.a), u.slope(self.b)) if u else (self.a, self.b)
        second = _gradient_g(a, _gradient_g(b, r, lmax), lmax)
        return second + _gradient_g(u.bend(self.a, self.b), r, lmax) if u else second

    def of_backward(self, g: Tensor) -> Tensor:
        """Return the second slope of the gradient of g.Y, by the chain rule for a third derivative."""
        lmax, r, u = self.lmax, self.r, self.direction
        a, b = (u.slope(self.a), u.slope(self.b)) if u else (self.a, self.b)
        along_a, along_b = _gradient_r(a, g, lmax), _gradient_r(b, g, lmax)
        third = _gradient_v(_gradient_r(a, along_b, lmax), r, lmax)
        if u is None:
            return third
        bent = _gradient_r(u.bend(self.a, self.b), g, lmax)
        return (
            u.slope(third + _gradient_v(bent, r, lmax))
            + u.bend(self.a, _gradient_v(along_b, r, lmax))
            + u.bend(self.b, _gradient_v(along_a, r, lmax))
            + u.twist(self.a, self.b, _gradient_v(g, r, lmax))
        )


class _Direction:
    """The derivatives of xyz / |xyz| along vectors: those of |xyz| one order higher, so symmetric in all vectors."""

    def __init__(self, xyz: Tensor):
        self.u, self.inverse = reference.direction(xyz)

    def slope(self, a: Tensor) -> Tensor:
        """Return the first derivative."""
        return self.inverse * (a - self.u * _dot(self.u, a))

    def bend(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the second derivative."""
        u, slope_a, slope_b = self.u, self.slope(a), self.slope(b)
        return -self.inverse * (_dot(u, a) * slope_b + _dot(u, b) * slope_a + _dot(a, slope_b) * u)

    def twist(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """Return the third derivative."""
        u, slope_a, slope_b, slope_c = self.u, self.slope(a), self.slope(b), self.slope(c)
        bend_ab, bend_bc, bend_ca = self.bend(a, b), self.bend(b, c), self.bend(c, a)
        bends = _dot(u, a) * bend_bc + _dot(u, b) * bend_ca + _dot(u, c) * bend_ab + _dot(a, bend_bc) * u
        slopes = _dot(a, slope_b) * slope_c + _dot(b, slope_c) * slope_a + _dot(c, slope_a) * slope_b
        return -self.inverse * (bends + slopes)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1, keepdim=True)


_double_backward: Op = register(
    "spherical_harmonics_double_backward",
    fake=lambda v, g, xyz, lmax, normalize: (g.new_empty(g.shape), xyz.new_empty(xyz.shape)),
    derivatives=Joint(_double_backward_vjp, _double_backward_jvp),
    batch=rowwise,
)

_backward: Op = register(
    "spherical_harmonics_backward",
    fake=lambda g, xyz, lmax, normalize: xyz.new_empty(xyz.shape),
    derivatives=Joint(_backward_vjp, _backward_jvp),
    batch=rowwise,
)

_harmonics: Op = register(
    "spherical_harmonics",
    fake=lambda xyz, lmax, normalize: xyz.new_empty((*xyz.shape[:-1], (lmax + 1) ** 2)),
    derivatives={
        0: Derivative(
            vjp=_backward,
            jvp=lambda v, xyz, lmax, normalize: _gradient_g(
                _Direction(xyz).slope(v) if normalize else v, _harmonics(xyz, lmax, normalize), lmax
            ),
        )
    },
    batch=rowwise,
)

# The gradient of a solid harmonic is a constant combination of those one degree lower: d_i R = G_i R. So the trilinear
# form T(v, g, r) = sum_i v_i g.(G_i r) carries all derivatives: `_gradient_v`, `_gradient_g`, `_gradient_r` are its
# gradients, and each of their derivatives is another of them.

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
