"""From values in some directions to a signal: directions that are one, the best fit, and the nearest samples."""

from __future__ import annotations

import torch
from torch import Tensor

from irrepnet.errors import DataError
from irrepnet.ops.reference.spherical_harmonics import direction

__all__ = ["harmonic_pseudoinverse", "merge_directions", "nearest_samples"]

_MOST_DISTANCES = 2**22  # between grid and samples at one time; 32 MB in float64


def merge_directions(unit: Tensor, within: float) -> Tensor:
    """Return the directions, each moved to the mean of those next to it.

    So the directions of a group are one, whatever their order, and the derivative is that of their mean. Zero vectors
    stay zero.

    Args:
        unit: Unit vectors or zeros, shape ``[..., N, 3]``.
        within: Distance below which two are next to each other.

    Returns:
        Unit vectors or zeros, shape ``[..., N, 3]``.

    Example:
        >>> merge_directions(torch.tensor([[0.6, 0.8, 0.0], [0.0, 1.0, 0.0], [0.8, 0.6, 0.0]]), within=0.5)
        tensor([[0.7071, 0.7071, 0.0000],
                [0.0000, 1.0000, 0.0000],
                [0.7071, 0.7071, 0.0000]])
    """
    fixed = unit.detach()
    # Not by products of matrices: 1 - x.y has no digit left where directions are close.
    distances = torch.cdist(fixed, fixed, compute_mode="donot_use_mm_for_euclid_dist")  # [..., N, N]
    return direction((distances < within).to(unit.dtype) @ unit)[0]


def harmonic_pseudoinverse(Y: Tensor, least: float) -> Tensor:
    """Return the matrices from values to coefficients that fit them best, of least norm among these.

    Args:
        Y: Harmonics of the directions, shape ``[..., N, dim]``.
        least: Singular values below this part of the largest count as zero.

    Returns:
        Shape ``[..., dim, N]``.

    Raises:
        DataError: If ``Y`` is not finite.

    Example:
        >>> harmonic_pseudoinverse(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), 1e-6)
        tensor([[0.2500, 0.2500],
                [0.0000, 0.0000]])
    """
    try:
        return torch.linalg.pinv(Y, rtol=least)
    except torch.linalg.LinAlgError as error:
        raise DataError(
            "with_peaks_at needs finite vectors; got a NaN or an infinity. Look at the rows that hold one."
        ) from error


def nearest_samples(points: Tensor, samples: Tensor) -> Tensor:
    """Return the index of the sample nearest to each point.

    Args:
        points: Unit vectors, shape ``[P, 3]``.
        samples: Unit vectors, or zeros, which are at distance 1 from every point; shape ``[B, N, 3]``, N >= 1.

    Returns:
        Indices, shape ``[B, P]``.

    Example:
        >>> nearest_samples(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]), torch.eye(3)[None, [2, 0]])
        tensor([[1, 1]])
    """
    rows = max(1, _MOST_DISTANCES // max(1, samples.shape[0] * samples.shape[1]))
    offset = samples.square().sum(dim=-1).unsqueeze(-2) / 2  # [B, 1, N]; |p - s|^2 / 2 up to a constant
    return torch.cat([(some @ samples.mT - offset).argmax(dim=-1) for some in points.split(rows)], dim=-1)
