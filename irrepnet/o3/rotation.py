r"""Rotations as Euler angles, matrices, quaternions (w, x, y, z) and axis with angle, and every way between them.

The polar axis is y: :math:`R = R_y(\alpha) R_x(\beta) R_y(\gamma)`. Results have the dtype and device of the input.
Angles come from ``atan2``, so they keep full precision next to the poles and next to half turns; where an angle is
arbitrary (at a pole, at the identity) one is chosen and its derivative is zero instead of NaN. A derivative taken
through such an angle is finite there but may be wrong: at the identity, and at every rotation about y.
"""

from __future__ import annotations

import torch

from irrepnet.errors import DataError, DtypeError, ShapeError

__all__ = [
    "angles_to_axis_angle",
    "angles_to_matrix",
    "angles_to_quaternion",
    "angles_to_xyz",
    "axis_angle_to_angles",
    "axis_angle_to_matrix",
    "axis_angle_to_quaternion",
    "matrix_to_angles",
    "matrix_to_axis_angle",
    "matrix_to_quaternion",
    "matrix_x",
    "matrix_y",
    "matrix_z",
    "quaternion_to_angles",
    "quaternion_to_axis_angle",
    "quaternion_to_matrix",
    "split_orthogonal",
    "xyz_to_angles",
]

Angles = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def need_float(x: torch.Tensor, name: str, *, shape: tuple[int, ...] = ()) -> torch.Tensor:
    """Return ``x`` if it is a floating-point tensor whose last axes are ``shape``, else raise."""
    if not isinstance(x, torch.Tensor) or not x.is_floating_point():
        found = x.dtype if isinstance(x, torch.Tensor) else type(x).__name__
        raise DtypeError(f"{name} needs a floating-point tensor; got {found}. Give dtype=torch.float64 or float32.")
    if shape and tuple(x.shape[-len(shape) :]) != shape:
        raise ShapeError(f"{name} needs shape [..., {', '.join(map(str, shape))}]; got {list(x.shape)}.")
    return x


def _atan2(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """``atan2`` whose derivative at (0, 0) is 0; torch's is NaN."""
    undefined = (y == 0) & (x == 0)
    return torch.atan2(y.masked_fill(undefined, 0.0), x.masked_fill(undefined, 1.0))


def _rows(*entries: torch.Tensor) -> torch.Tensor:
    """Stack nine scalars ``[...]``, row by row, to matrices ``[..., 3, 3]``."""
    return torch.stack(torch.broadcast_tensors(*entries), dim=-1).unflatten(-1, (3, 3))


def matrix_x(angle: torch.Tensor) -> torch.Tensor:
    """Return the rotation about x.

    Args:
        angle: Radians, shape ``[...]``.

    Returns:
        Matrices, shape ``[..., 3, 3]``.

    Example:
        >>> matrix_x(torch.tensor(0.0)).diagonal()
        tensor([1., 1., 1.])
    """
    c, s = need_float(angle, "matrix_x").cos(), angle.sin()
    o, i = torch.zeros_like(c), torch.ones_like(c)
    return _rows(i, o, o, o, c, -s, o, s, c)


def matrix_y(angle: torch.Tensor) -> torch.Tensor:
    """Return the rotation about y; arguments as for ``matrix_x``.

    Example:
        >>> (matrix_y(torch.tensor(torch.pi / 2)) @ torch.tensor([0.0, 0, 1])).round()
        tensor([1., 0., -0.])
    """
    c, s = need_float(angle, "matrix_y").cos(), angle.sin()
    o, i = torch.zeros_like(c), torch.ones_like(c)
    return _rows(c, o, s, o, i, o, -s, o, c)


def matrix_z(angle: torch.Tensor) -> torch.Tensor:
    """Return the rotation about z; arguments as for ``matrix_x``.

    Example:
        >>> matrix_z(torch.tensor([0.0, 1.0])).shape
        torch.Size([2, 3, 3])
    """
    c, s = need_float(angle, "matrix_z").cos(), angle.sin()
    o, i = torch.zeros_like(c), torch.ones_like(c)
    return _rows(c, -s, o, s, c, o, o, o, i)


def angles_to_matrix(alpha: torch.Tensor, beta: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:
    r"""Return :math:`R_y(\alpha) R_x(\beta) R_y(\gamma)`.

    Args:
        alpha: Third rotation, radians, shape ``[...]``.
        beta: Second rotation, radians, shape ``[...]``.
        gamma: First rotation, radians, shape ``[...]``.

    Returns:
        Matrices, shape ``[..., 3, 3]``.

    Example:
        >>> angles_to_matrix(*torch.zeros(3, 5)).shape
        torch.Size([5, 3, 3])
    """
    return matrix_y(alpha) @ matrix_x(beta) @ matrix_y(gamma)


def angles_to_xyz(alpha: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    r"""Return the point on the unit sphere at polar angle beta (from y) and azimuth alpha (from z to x).

    .. math:: (\sin\beta \sin\alpha, \cos\beta, \sin\beta \cos\alpha) = R(\alpha, \beta, 0)\, e_y

    Args:
        alpha: Azimuth, radians, shape ``[...]``.
        beta: Polar angle, radians, shape ``[...]``.

    Returns:
        Points, shape ``[..., 3]``.

    Example:
        >>> angles_to_xyz(torch.tensor(0.0), torch.tensor(0.0))
        tensor([0., 1., 0.])
    """
    need_float(alpha, "angles_to_xyz"), need_float(beta, "angles_to_xyz")
    xyz = (beta.sin() * alpha.sin(), beta.cos(), beta.sin() * alpha.cos())
    return torch.stack(torch.broadcast_tensors(*xyz), dim=-1)


def xyz_to_angles(xyz: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return azimuth alpha in (-pi, pi] and polar angle beta in [0, pi] of a direction: undo ``angles_to_xyz``.

    Args:
        xyz: Vectors of any length, shape ``[..., 3]``.

    Returns:
        alpha and beta, radians, each of shape ``[...]``; alpha is 0 on the y axis.

    Raises:
        ShapeError: If ``xyz`` is not ``[..., 3]``.

    Example:
        >>> alpha, beta = xyz_to_angles(torch.tensor([0.0, 2.0, 0.0]))
        >>> alpha.item(), beta.item()
        (0.0, 0.0)
    """
    x, y, z = need_float(xyz, "xyz_to_angles", shape=(3,)).unbind(-1)
    return _atan2(x, z), _atan2(torch.linalg.vector_norm(xyz[..., ::2], dim=-1), y)


def matrix_to_angles(R: torch.Tensor) -> Angles:
    """Return Euler angles of a rotation matrix: alpha and gamma in (-pi, pi], beta in [0, pi].

    Args:
        R: Rotations, shape ``[..., 3, 3]`` (determinant 1; this is not looked at).

    Returns:
        alpha, beta and gamma, radians, each of shape ``[...]``; at a pole alpha is 0.

    Raises:
        ShapeError: If ``R`` is not ``[..., 3, 3]``.

    Example:
        >>> [angle.item() for angle in matrix_to_angles(torch.eye(3))]
        [0.0, 0.0, 0.0]
    """
    alpha, beta = xyz_to_angles(need_float(R, "matrix_to_angles", shape=(3, 3))[..., :, 1])
    # First row of (R_y(alpha) R_x(beta))^T R = R_y(gamma). It makes up for whatever alpha is next to a pole.
    row = alpha.cos()[..., None] * R[..., 0, :] - alpha.sin()[..., None] * R[..., 2, :]
    return alpha, beta, _atan2(row[..., 2], row[..., 0])


def angles_to_quaternion(alpha: torch.Tensor, beta: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:
    """Return the unit quaternion (w, x, y, z); arguments as for ``angles_to_matrix``.

    Example:
        >>> angles_to_quaternion(*torch.zeros(3))
        tensor([1., 0., 0., -0.])
    """
    need_float(alpha, "angles_to_quaternion"), need_float(beta, "angles_to_quaternion")
    total, difference = (alpha + need_float(gamma, "angles_to_quaternion")) / 2, (alpha - gamma) / 2
    c, s = (beta / 2).cos(), (beta / 2).sin()
    wxyz = (c * total.cos(), s * difference.cos(), c * total.sin(), -s * difference.sin())
    return torch.stack(torch.broadcast_tensors(*wxyz), dim=-1)


def quaternion_to_matrix(q: torch.Tensor) -> torch.Tensor:
    """Return the rotation matrix.

    Args:
        q: Quaternions (w, x, y, z) of any length but zero, shape ``[..., 4]``.

    Returns:
        Matrices, shape ``[..., 3, 3]``.

    Raises:
        ShapeError: If ``q`` is not ``[..., 4]``.

    Example:
        >>> quaternion_to_matrix(torch.tensor([1.0, 0, 0, 0])).diagonal()
        tensor([1., 1., 1.])
    """
    q = need_float(q, "quaternion_to_matrix", shape=(4,))
    w, x, y, z = (q * (2**0.5 / torch.linalg.vector_norm(q, dim=-1, keepdim=True))).unbind(-1)
    return _rows(
        1 - (y * y + z * z), x * y - w * z, x * z + w * y,
        x * y + w * z, 1 - (x * x + z * z), y * z - w * x,
        x * z - w * y, y * z + w * x, 1 - (x * x + y * y),
    )  # fmt: skip


def matrix_to_quaternion(R: torch.Tensor) -> torch.Tensor:
    """Return the unit quaternion (w, x, y, z) with w >= 0.

    The products of its components are linear in R; the row of the largest is scaled to unit length, so nothing small
    is ever divided by.

    Args:
        R: Rotations, shape ``[..., 3, 3]``.

    Returns:
        Quaternions, shape ``[..., 4]``.

    Raises:
        ShapeError: If ``R`` is not ``[..., 3, 3]``.

    Example:
        >>> matrix_to_quaternion(torch.eye(3))
        tensor([1., 0., 0., 0.])
    """
    (a, b, c), (d, e, f), (g, h, i) = (
        row.unbind(-1) for row in need_float(R, "matrix_to_quaternion", shape=(3, 3)).unbind(-2)
    )
    products = torch.stack(
        [1 + a + e + i, h - f, c - g, d - b,
         h - f, 1 + a - e - i, b + d, c + g,
         c - g, b + d, 1 - a + e - i, f + h,
         d - b, c + g, f + h, 1 - a - e + i],
        dim=-1,
    ).unflatten(-1, (4, 4))  # [..., 4, 4], 4 q_i q_j  # fmt: skip
    largest = products.diagonal(dim1=-2, dim2=-1).argmax(-1)[..., None, None].expand(*R.shape[:-2], 1, 4)
    q = torch.nn.functional.normalize(products.gather(-2, largest).squeeze(-2), dim=-1)
    return _upper(q)


def _upper(q: torch.Tensor) -> torch.Tensor:
    """Choose the sign of a quaternion with w >= 0; both signs are the same rotation."""
    return torch.where(q[..., :1] < 0, -q, q)


def quaternion_to_angles(q: torch.Tensor) -> Angles:
    """Return Euler angles of a quaternion; see ``quaternion_to_matrix`` and ``matrix_to_angles``.

    Example:
        >>> [angle.item() for angle in quaternion_to_angles(torch.tensor([1.0, 0, 0, 0]))]
        [0.0, 0.0, 0.0]
    """
    return matrix_to_angles(quaternion_to_matrix(q))


def axis_angle_to_quaternion(xyz: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Return the unit quaternion (w, x, y, z) of a right-handed rotation about an axis.

    Args:
        xyz: The axis, a vector of any length but zero, shape ``[..., 3]``.
        angle: Radians, shape ``[...]``.

    Returns:
        Quaternions, shape ``[..., 4]``.

    Raises:
        ShapeError: If ``xyz`` is not ``[..., 3]``.

    Example:
        >>> axis_angle_to_quaternion(torch.tensor([0.0, 0, 2]), torch.tensor(0.0))
        tensor([1., 0., 0., 0.])
    """
    axis = torch.nn.functional.normalize(need_float(xyz, "axis_angle_to_quaternion", shape=(3,)), dim=-1)
    half = need_float(angle, "axis_angle_to_quaternion")[..., None] / 2
    vector = half.sin() * axis
    return torch.cat([half.cos().expand(*vector.shape[:-1], 1), vector], dim=-1)


def quaternion_to_axis_angle(q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return unit axis and angle in [0, 2 pi] of a quaternion.

    Args:
        q: Quaternions (w, x, y, z) of any length but zero, shape ``[..., 4]``.

    Returns:
        Axis, shape ``[..., 3]``, and angle, radians, shape ``[...]``. At the identity the axis is y.

    Raises:
        ShapeError: If ``q`` is not ``[..., 4]``.

    Example:
        >>> axis, angle = quaternion_to_axis_angle(torch.tensor([0.0, 0, 0, 1]))
        >>> axis, round(angle.item(), 4)
        (tensor([0., 0., 1.]), 3.1416)
    """
    w, vector = need_float(q, "quaternion_to_axis_angle", shape=(4,)).split([1, 3], dim=-1)
    some_axis = (vector == 0).all(-1, keepdim=True)
    angle = 2 * _atan2(torch.linalg.vector_norm(vector, dim=-1), w.squeeze(-1))
    axis = torch.where(some_axis, torch.tensor([0.0, 1.0, 0.0], dtype=q.dtype, device=q.device), vector)
    return axis / torch.linalg.vector_norm(axis, dim=-1, keepdim=True), angle


def axis_angle_to_matrix(axis: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Return the rotation matrix; arguments as for ``axis_angle_to_quaternion``.

    Example:
        >>> axis_angle_to_matrix(torch.tensor([0.0, 0, 1]), torch.tensor(torch.pi)).diagonal().round()
        tensor([-1., -1.,  1.])
    """
    return quaternion_to_matrix(axis_angle_to_quaternion(axis, angle))


def axis_angle_to_angles(axis: torch.Tensor, angle: torch.Tensor) -> Angles:
    """Return Euler angles; arguments as for ``axis_angle_to_quaternion``, results as of ``matrix_to_angles``.

    Example:
        >>> [angle.item() for angle in axis_angle_to_angles(torch.tensor([0.0, 1, 0]), torch.tensor(0.5))]
        [0.0, 0.0, 0.5]
    """
    return matrix_to_angles(axis_angle_to_matrix(axis, angle))


def matrix_to_axis_angle(R: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return unit axis and angle in [0, pi] of a rotation matrix ``[..., 3, 3]``.

    Example:
        >>> matrix_to_axis_angle(torch.eye(3))
        (tensor([0., 1., 0.]), tensor(0.))
    """
    return quaternion_to_axis_angle(matrix_to_quaternion(R))


def angles_to_axis_angle(
    alpha: torch.Tensor, beta: torch.Tensor, gamma: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return unit axis and angle in [0, pi]; arguments as for ``angles_to_matrix``.

    Example:
        >>> angles_to_axis_angle(torch.tensor(0.5), torch.tensor(0.0), torch.tensor(0.25))[1]
        tensor(0.7500)
    """
    return quaternion_to_axis_angle(_upper(angles_to_quaternion(alpha, beta, gamma)))


def split_orthogonal(R: torch.Tensor) -> tuple[Angles, torch.Tensor]:
    """Write orthogonal matrices as rotation times inversion to the power k.

    Args:
        R: Orthogonal matrices, shape ``[..., 3, 3]``.

    Returns:
        Euler angles of the rotation, each ``[...]``, and k, 0 or 1, int64 ``[...]``.

    Raises:
        ShapeError: If ``R`` is not ``[..., 3, 3]``.
        DataError: If R R^T differs from 1 by more than 1e-3 (inside ``torch.compile`` this is not looked at).

    Example:
        >>> split_orthogonal(-torch.eye(3))[1]
        tensor(1)
    """
    need_float(R, "D_from_matrix", shape=(3, 3))
    if not torch.compiler.is_compiling() and R.numel() > 0:
        error = (R @ R.transpose(-1, -2) - torch.eye(3, dtype=R.dtype, device=R.device)).detach().abs().max().item()
        if not error < 1e-3:
            raise DataError(
                f"D_from_matrix needs orthogonal matrices; got max |R R^T - 1| = {error:.2g}. "
                "Give rotations, or rotations with inversion."
            )
    a, b, c = R.unbind(-2)
    k = (torch.linalg.vecdot(torch.linalg.cross(a, b), c) < 0).long()
    return matrix_to_angles(R * (1 - 2 * k).to(R.dtype)[..., None, None]), k
