"""The rotations as a group: draw one, the identity, the inverse, one after another; in four ways of writing them."""

from __future__ import annotations

import math

import torch

from irrepnet.o3.rotation import (
    Angles,
    angles_to_axis_angle,
    angles_to_matrix,
    angles_to_quaternion,
    axis_angle_to_quaternion,
    matrix_to_angles,
    need_float,
    quaternion_to_axis_angle,
)

__all__ = [
    "compose_angles",
    "compose_axis_angle",
    "compose_quaternion",
    "identity_angles",
    "identity_quaternion",
    "inverse_angles",
    "inverse_quaternion",
    "rand_angles",
    "rand_axis_angle",
    "rand_matrix",
    "rand_quaternion",
]

Device = torch.device | str | None


def rand_angles(
    *shape: int, requires_grad: bool = False, dtype: torch.dtype | None = None, device: Device = None
) -> Angles:
    """Draw uniform random rotations as Euler angles.

    Args:
        *shape: Shape of each result.
        requires_grad: Whether the results record gradients.
        dtype: Default: torch's default dtype.
        device: Default: torch's default device.

    Returns:
        alpha, beta and gamma, radians, each of shape ``shape``.

    Example:
        >>> alpha, beta, gamma = rand_angles(5)
        >>> alpha.shape
        torch.Size([5])
    """
    alpha, gamma, u = torch.rand(3, *shape, dtype=dtype, device=device)
    angles = 2 * math.pi * alpha, torch.acos(2 * u - 1), 2 * math.pi * gamma
    return tuple(_leaf(angle, requires_grad) for angle in angles)  # type: ignore[return-value]


def rand_matrix(
    *shape: int, requires_grad: bool = False, dtype: torch.dtype | None = None, device: Device = None
) -> torch.Tensor:
    """Draw uniform random rotation matrices, shape ``[*shape, 3, 3]``; arguments as for ``rand_angles``.

    Example:
        >>> rand_matrix(5).shape
        torch.Size([5, 3, 3])
    """
    return _leaf(angles_to_matrix(*rand_angles(*shape, dtype=dtype, device=device)), requires_grad)


def rand_quaternion(
    *shape: int, requires_grad: bool = False, dtype: torch.dtype | None = None, device: Device = None
) -> torch.Tensor:
    """Draw uniform random unit quaternions, shape ``[*shape, 4]``; arguments as for ``rand_angles``.

    Example:
        >>> rand_quaternion(5).shape
        torch.Size([5, 4])
    """
    return _leaf(angles_to_quaternion(*rand_angles(*shape, dtype=dtype, device=device)), requires_grad)


def rand_axis_angle(
    *shape: int, requires_grad: bool = False, dtype: torch.dtype | None = None, device: Device = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw uniform random rotations as axis ``[*shape, 3]`` and angle ``shape``; arguments as for ``rand_angles``.

    Example:
        >>> axis, angle = rand_axis_angle(5)
        >>> axis.shape, angle.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """
    axis, angle = angles_to_axis_angle(*rand_angles(*shape, dtype=dtype, device=device))
    return _leaf(axis, requires_grad), _leaf(angle, requires_grad)


def identity_angles(
    *shape: int, requires_grad: bool = False, dtype: torch.dtype | None = None, device: Device = None
) -> Angles:
    """Return three zero angles of shape ``shape``; arguments as for ``rand_angles``.

    Example:
        >>> identity_angles(2)[0]
        tensor([0., 0.])
    """
    zeros = torch.zeros(3, *shape, dtype=dtype, device=device)
    return tuple(_leaf(angle.clone(), requires_grad) for angle in zeros)  # type: ignore[return-value]


def identity_quaternion(
    *shape: int, requires_grad: bool = False, dtype: torch.dtype | None = None, device: Device = None
) -> torch.Tensor:
    """Return quaternions (1, 0, 0, 0), shape ``[*shape, 4]``; arguments as for ``rand_angles``.

    Example:
        >>> identity_quaternion(1)
        tensor([[1., 0., 0., 0.]])
    """
    q = torch.zeros(*shape, 4, dtype=dtype, device=device)
    q[..., 0] = 1.0
    return _leaf(q, requires_grad)


def inverse_angles(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> Angles:
    """Return the Euler angles of the inverse rotation, (-c, -b, -a).

    Example:
        >>> inverse_angles(torch.tensor(1.0), torch.tensor(2.0), torch.tensor(3.0))
        (tensor(-3.), tensor(-2.), tensor(-1.))
    """
    return -c, -b, -a


def inverse_quaternion(q: torch.Tensor) -> torch.Tensor:
    """Return the inverse (w, -x, -y, -z) of unit quaternions (w, x, y, z), shape ``[..., 4]``.

    Raises:
        ShapeError: If ``q`` is not ``[..., 4]``.

    Example:
        >>> inverse_quaternion(torch.tensor([0.0, 1, 0, 0]))
        tensor([ 0., -1., -0., -0.])
    """
    w, vector = need_float(q, "inverse_quaternion", shape=(4,)).split([1, 3], dim=-1)
    return torch.cat([w, -vector], dim=-1)


def compose_angles(
    a1: torch.Tensor, b1: torch.Tensor, c1: torch.Tensor, a2: torch.Tensor, b2: torch.Tensor, c2: torch.Tensor
) -> Angles:
    """Return the Euler angles of the rotation (a2, b2, c2) followed by (a1, b1, c1).

    Args:
        a1: First angle of the later rotation, radians, shape ``[...]``; ``b1`` and ``c1`` likewise.
        b1: See ``a1``.
        c1: See ``a1``.
        a2: First angle of the earlier rotation, radians, shape ``[...]``; ``b2`` and ``c2`` likewise.
        b2: See ``a2``.
        c2: See ``a2``.

    Returns:
        alpha, beta and gamma, radians, each of shape ``[...]``.

    Example:
        >>> one, zero = torch.tensor(1.0), torch.tensor(0.0)
        >>> round(compose_angles(one, zero, zero, one, zero, zero)[2].item(), 4)
        2.0
    """
    return matrix_to_angles(angles_to_matrix(a1, b1, c1) @ angles_to_matrix(a2, b2, c2))


def compose_quaternion(q1: torch.Tensor, q2: torch.Tensor) -> torch.Tensor:
    """Return the quaternion of ``q2`` followed by ``q1``, their Hamilton product.

    Args:
        q1: Later rotation (w, x, y, z), shape ``[..., 4]``.
        q2: Earlier rotation, shape ``[..., 4]``.

    Returns:
        Quaternions, shape ``[..., 4]``.

    Raises:
        ShapeError: If one is not ``[..., 4]``.

    Example:
        >>> i, j = torch.tensor([0.0, 1, 0, 0]), torch.tensor([0.0, 0, 1, 0])
        >>> compose_quaternion(i, j)
        tensor([0., 0., 0., 1.])
    """
    w1, v1 = need_float(q1, "compose_quaternion", shape=(4,)).split([1, 3], dim=-1)
    w2, v2 = need_float(q2, "compose_quaternion", shape=(4,)).split([1, 3], dim=-1)
    v1, v2 = torch.broadcast_tensors(v1, v2)
    w = w1 * w2 - torch.linalg.vecdot(v1, v2)[..., None]
    return torch.cat([w, w1 * v2 + w2 * v1 + torch.linalg.cross(v1, v2)], dim=-1)


def compose_axis_angle(
    axis1: torch.Tensor, angle1: torch.Tensor, axis2: torch.Tensor, angle2: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return axis and angle of the rotation ``(axis2, angle2)`` followed by ``(axis1, angle1)``.

    Args:
        axis1: Axis of the later rotation, shape ``[..., 3]``.
        angle1: Its angle, radians, shape ``[...]``.
        axis2: Axis of the earlier rotation, shape ``[..., 3]``.
        angle2: Its angle, radians, shape ``[...]``.

    Returns:
        Axis ``[..., 3]`` and angle ``[...]``, radians.

    Raises:
        ShapeError: If an axis is not ``[..., 3]``.

    Example:
        >>> z = torch.tensor([0.0, 0, 1])
        >>> compose_axis_angle(z, torch.tensor(0.5), z, torch.tensor(0.25))[1]
        tensor(0.7500)
    """
    q1, q2 = axis_angle_to_quaternion(axis1, angle1), axis_angle_to_quaternion(axis2, angle2)
    return quaternion_to_axis_angle(compose_quaternion(q1, q2))


def _leaf(x: torch.Tensor, requires_grad: bool) -> torch.Tensor:
    """Let a new tensor record gradients; vmap knows no ``requires_grad_``, not even of False."""
    return x.requires_grad_() if requires_grad else x
