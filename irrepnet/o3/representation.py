"""What a single irrep and a direct sum of irreps share: matrices of rotations, however the rotation is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["Representation"]


class Representation:
    """Something on which rotations and inversion act by matrices; a subclass says how, given Euler angles.

    Example:
        >>> import torch
        >>> from irrepnet.o3 import Irrep, Irreps
        >>> Irreps("0e + 1o").D_from_matrix(-torch.eye(3)).diagonal()
        tensor([ 1., -1., -1., -1.])
        >>> Irrep("1e").D_from_axis_angle(torch.tensor([0.0, 1, 0]), torch.tensor(0.0)).diagonal()
        tensor([1., 1., 1.])
    """

    __slots__ = ()

    def D_from_angles(
        self, alpha: torch.Tensor, beta: torch.Tensor, gamma: torch.Tensor, k: torch.Tensor | None = None
    ) -> torch.Tensor:
        r"""Return the matrix that represents :math:`(-1)^k R_y(\alpha) R_x(\beta) R_y(\gamma)`.

        Args:
            alpha: Third rotation, about y, radians, shape ``[...]``.
            beta: Second rotation, about x, radians, shape ``[...]``.
            gamma: First rotation, about y, radians, shape ``[...]``.
            k: Number of inversions, shape ``[...]``; none by default.

        Returns:
            Matrices, shape ``[..., dim, dim]``, of the dtype and device of the angles.

        Raises:
            DtypeError: If the angles are not floating-point tensors of one dtype.

        Example:
            >>> import torch
            >>> from irrepnet.o3 import Irreps
            >>> Irreps("0e + 1o").D_from_angles(*torch.zeros(3), k=torch.tensor(1)).diagonal()
            tensor([ 1., -1., -1., -1.])
        """
        raise TypeError(f"{type(self).__name__} does not say how rotations act on it: define D_from_angles.")

    def D_from_quaternion(self, q: torch.Tensor, k: torch.Tensor | None = None) -> torch.Tensor:
        """Return the matrix that represents the rotation of a quaternion.

        The derivative is finite but may be wrong at beta = 0 and pi (at the identity and every rotation about y): the
        way leads through Euler angles, which are arbitrary there, with derivatives taken as 0. Elsewhere it is right.
        To differentiate there, go round the point by a fixed rotation S: D(R) = D(R S^T) D(S).

        Args:
            q: Quaternions (w, x, y, z) of any length but zero, shape ``[..., 4]``.
            k: Number of inversions, shape ``[...]``; none by default.

        Returns:
            Matrices, shape ``[..., dim, dim]``.

        Raises:
            ShapeError: If ``q`` is not ``[..., 4]``.

        Example:
            >>> import torch
            >>> from irrepnet.o3 import Irrep
            >>> Irrep("2e").D_from_quaternion(torch.tensor([1.0, 0, 0, 0])).diagonal()
            tensor([1., 1., 1., 1., 1.])
        """
        from irrepnet.o3.rotation import quaternion_to_angles

        return self.D_from_angles(*quaternion_to_angles(q), k)

    def D_from_axis_angle(self, axis: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
        """Return the matrix that represents a rotation about an axis.

        The derivative is finite but may be wrong at beta = 0 and pi (at the identity and every rotation about y): the
        way leads through Euler angles, which are arbitrary there, with derivatives taken as 0. Elsewhere it is right.
        To differentiate there, go round the point by a fixed rotation S: D(R) = D(R S^T) D(S).

        Args:
            axis: Directions of any length but zero, shape ``[..., 3]``.
            angle: Right-handed angles, radians, shape ``[...]``.

        Returns:
            Matrices, shape ``[..., dim, dim]``.

        Raises:
            ShapeError: If ``axis`` is not ``[..., 3]``.

        Example:
            >>> import torch
            >>> from irrepnet.o3 import Irreps
            >>> Irreps("2x1o").D_from_axis_angle(torch.tensor([0.0, 1, 0]), torch.tensor(0.0)).shape
            torch.Size([6, 6])
        """
        from irrepnet.o3.rotation import axis_angle_to_angles

        return self.D_from_angles(*axis_angle_to_angles(axis, angle))

    def D_from_matrix(self, R: torch.Tensor) -> torch.Tensor:
        """Return the matrix that represents ``R``; where det R < 0 it represents inversion times a rotation.

        The derivative is finite but may be wrong at beta = 0 and pi (at the identity and every rotation about y): the
        way leads through Euler angles, which are arbitrary there, with derivatives taken as 0. Elsewhere it is right.
        To differentiate there, go round the point by a fixed rotation S: D(R) = D(R S^T) D(S).

        Args:
            R: Orthogonal matrices, shape ``[..., 3, 3]``.

        Returns:
            Matrices, shape ``[..., dim, dim]``.

        Raises:
            ShapeError: If ``R`` is not ``[..., 3, 3]``.
            DataError: If ``R`` is not orthogonal (inside ``torch.compile`` this is not looked at).

        Example:
            >>> import torch
            >>> from irrepnet.o3 import Irrep
            >>> Irrep("1e").D_from_matrix(-torch.eye(3)).diagonal()
            tensor([1., 1., 1.])
        """
        from irrepnet.o3.rotation import split_orthogonal

        angles, k = split_orthogonal(R)
        return self.D_from_angles(*angles, k)
