"""The parts of Cartesian tensors that transform as one irrep, and how large such parts usually are."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from irrepnet.io.cartesian_tensor import CartesianTensor
from irrepnet.o3.irrep import Irrep

__all__ = ["irrep_parts", "irrep_spread"]


def irrep_parts(formula: str, tensors: NDArray[np.float64]) -> dict[Irrep, NDArray[np.float64]]:
    """Return the components of tensors in an orthonormal basis, by irrep.

    The squares of all of them add up to those of the tensors.

    Args:
        formula: How the indices transform, as :class:`CartesianTensor` takes it.
        tensors: Shape ``[R, 3, 3, ...]``, an axis of size 3 for each index.

    Returns:
        For each irrep its components in all tensors, ``[R, mul * dim]``.

    Raises:
        ShapeError: If the axes do not fit the indices.

    Example:
        >>> {str(ir): part.shape for ir, part in irrep_parts("ij=ji", np.ones((4, 3, 3))).items()}
        {'0e': (4, 1), '2e': (4, 5)}
    """
    irreps = CartesianTensor(formula)
    components = irreps.from_cartesian(torch.as_tensor(tensors)).numpy()
    parts: dict[Irrep, list[NDArray[np.float64]]] = {}
    for entry, where in zip(irreps, irreps.slices(), strict=True):
        parts.setdefault(entry.ir, []).append(components[:, where])
    return {ir: np.concatenate(columns, axis=1) for ir, columns in parts.items()}


def irrep_spread(irrep: Irrep, part: NDArray[np.float64]) -> float:
    """Return the usual size of a component: around its mean where it is a scalar, around zero where it turns.

    The mean of a part that turns is zero over all rotations, so a mean over some frames is no property of the tensor.

    Args:
        irrep: How the part transforms.
        part: Shape ``[R, mul * dim]``, of :func:`irrep_parts`.

    Example:
        >>> irrep_spread(Irrep("0e"), np.array([[1.0], [3.0]])), irrep_spread(Irrep("1o"), np.full((2, 3), 2.0))
        (1.0, 2.0)
    """
    centred = part - part.mean(axis=0) if irrep.l == 0 else part
    return float(np.sqrt(np.square(centred).mean()))
