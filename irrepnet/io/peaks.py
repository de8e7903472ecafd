r"""Peaks of signals on the sphere: candidates on a grid without poles or seam, refined by Newton's method.

A rotation by a small vector :math:`\omega` changes a signal by its coefficients alone, through the generators X of
rotations. So the slope and the curvature at any point are three and nine more signals of the same degree,

.. math:: f(e^{\omega} x) = f(x) - \omega_i (X_i c) \cdot Y(x) + \tfrac12 \omega_i \omega_j (X_i X_j c) \cdot Y(x) + ...

and one evaluation of the harmonics gives all of them.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, normalize

from irrepnet.errors import ConfigError, DataError, DtypeError, ShapeError
from irrepnet.io.signal_arguments import as_integer
from irrepnet.o3.wigner import so3_generators
from irrepnet.ops.spherical_harmonics import spherical_harmonics

__all__ = ["Peaks", "find_peaks"]

_FINEST = 8  # points per half circle and degree below which a grid begins to miss peaks of random signals
_AT_ONCE = 16  # signals that are on the grid together; at degree 8 and the usual resolution their points take 12 MB
_MOST_STEPS = 60
_DONE = 1e-8  # radians: Newton's method squares its error, so the step after this one would be lost in rounding
_SAME = 0.1  # in spacings of the grid


class Peaks(NamedTuple):
    """What ``find_peaks`` returns: directions ``pos [P, 3]``, heights ``value [P]``, and whose they are ``batch [P]``.

    Example:
        >>> find_peaks(torch.tensor([[0.0, 0.0, 2.0, 0.0]])).batch
        tensor([0])
    """

    pos: Tensor
    value: Tensor
    batch: Tensor


def find_peaks(signals: Tensor, res: int = 100) -> Peaks:
    r"""Find the peaks of signals on the sphere, :math:`f(x) = \sum_{lm} c_{lm} Y_{lm}(x)`, to rounding.

    A peak is an isolated local maximum, whether its height is positive or not. Where the highest points are not
    isolated, as along the equator of :math:`-Y_{20}` or everywhere on a constant, there is none. Peaks come signal by
    signal, highest first, and turn with the signal: those of D(R) c are R times those of c.

    Candidates are the points of a grid that are at least as high as their eight neighbours; Newton's method moves each
    to the top in float64. Peaks that differ by less than a tenth of the grid's spacing count as one, and curvatures
    below sqrt(eps) of the largest possible ones, with eps of the dtype of the signals, count as zero. A peak whose
    curvature is zero in some direction, but which is isolated, is found to about 1e-4 radians.

    Positions and heights are differentiable with respect to the signals, twice, as the peak moves and not as it comes
    or goes. The search itself records nothing. Where the curvature is zero in some direction, the position has no
    derivative, as a small change may move it far or split it: zero is returned, and the height has its first alone.

    Args:
        signals: Coefficients in 'integral' normalisation, shape ``[B, (lmax + 1)**2]``, float32 or float64.
        res: Points of the grid per half circle, an integer >= ``2 * (lmax + 1)``. Below ``8 * (lmax + 1)`` it is taken
            as that, since peaks of random signals would be missed.

    Returns:
        Directions of length 1 ``[P, 3]``, heights ``[P]`` and rows of ``signals`` ``[P]``, P = 0 where there are none.

    Raises:
        ShapeError: If ``signals`` is not ``[B, (lmax + 1)**2]``.
        DtypeError: If it is neither float32 nor float64.
        ConfigError: If ``res`` is too coarse for the degree.
        DataError: If ``signals`` holds a NaN or an infinity.

    Reference: Ronchi, Iacono and Paolucci 1996, J. Comput. Phys. 124, 93 (the grid).

    Example:
        >>> signals = torch.tensor([[0.0, 0.0, 2.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, -3.0, 0.0, 0.0]])
        >>> pos, value, batch = find_peaks(signals)
        >>> pos.round() + 0.0
        tensor([[ 0.,  1.,  0.],
                [-1.,  0.,  0.]])
        >>> value, batch
        (tensor([0.9772, 1.4658]), tensor([0, 2]))
    """
    lmax, res = _checked(signals, res)
    coefficients = signals.double()
    scale = coefficients.detach().abs().amax(dim=1, keepdim=True)  # [B, 1]
    scale = scale.masked_fill(scale == 0, 1.0)
    coefficients = coefficients / scale  # so that curvatures of huge and tiny signals stay in range
    with torch.no_grad():
        grid = _grid(max(res, _FINEST * (lmax + 1)), lmax, signals.device)
        flat = math.sqrt(torch.finfo(signals.dtype).eps)
        found = [_search(c, grid, lmax, flat) for c in coefficients.split(_AT_ONCE)]
        pos = torch.cat([peaks for peaks, _, _ in found])
        batch = torch.cat([owners + i * _AT_ONCE for i, (_, owners, _) in enumerate(found)])
        (curved,) = torch.nonzero(torch.cat([curved for *_, curved in found]), as_tuple=True)
    surface = _Surface(coefficients, lmax)
    if torch.is_grad_enabled() and signals.requires_grad:
        for _ in range(2):  # each step from the solution has one derivative more that is right, at least
            pos = pos.index_put((curved,), surface.newton(pos[curved], batch[curved]))
    heights = surface.heights(pos, batch) * scale[batch, 0]
    return Peaks(pos.to(signals.dtype), heights.to(signals.dtype), batch)


def _checked(signals: Tensor, res: int) -> tuple[int, int]:
    """Return the degree of signals that are as they should be, and the resolution."""
    dtype = getattr(signals, "dtype", type(signals).__name__)
    if dtype not in (torch.float32, torch.float64):
        raise DtypeError(f"find_peaks needs a tensor of signals in float32 or float64; got {dtype}.")
    width = signals.shape[-1] if signals.ndim == 2 else 0
    lmax = math.isqrt(width) - 1
    if width == 0 or (lmax + 1) ** 2 != width:
        raise ShapeError(f"find_peaks needs signals [B, (lmax + 1)**2]; got signals {list(signals.shape)}.")
    number = as_integer(res)
    if number is None or number < 2 * (lmax + 1):
        raise ConfigError(f"find_peaks needs an integer res >= {2 * (lmax + 1)} for lmax = {lmax}; got res = {res!r}.")
    if not signals.isfinite().all():
        raise DataError("find_peaks needs finite signals; got a NaN or an infinity. Look at the rows that hold one.")
    return lmax, number


class _Grid(NamedTuple):
    """Points on three faces of a cube around the sphere, their harmonics, and their largest spacing in radians."""

    points: Tensor  # [3, m, m, 3]
    harmonics: Tensor  # [3 * m * m, dim]
    spacing: float


def _search(coefficients: Tensor, grid: _Grid, lmax: int, flat: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return directions ``[P, 3]`` and rows ``[P]`` of the peaks, each once, and which are curved in all directions."""
    pos, batch, highest = _candidates(coefficients, grid, lmax)
    surface = _Surface(coefficients, lmax, highest=highest, flat=flat, spacing=grid.spacing)
    pos = surface.climb(pos, batch)
    top, curved = surface.is_peak(pos, batch)
    heights = surface.heights(pos, batch)
    kept = [batch[:0]]
    for row in range(len(coefficients)):
        (i,) = torch.nonzero(top & (batch == row), as_tuple=True)
        i = i[heights[i].argsort(descending=True, stable=True)]
        near = (pos[i, None] - pos[i]).norm(dim=-1) < _SAME * grid.spacing  # [P, P]
        kept.append(i[~near.tril(-1).any(dim=1)])
    i = torch.cat(kept)
    return pos[i], batch[i], curved[i]


def _grid(res: int, lmax: int, device: torch.device) -> _Grid:
    """Return the grid that has at least so many points per half circle.

    Lines on a face are meridians at equal angles. The other faces are the antipodes. Each face reaches one point beyond
    its edges, so that every point of the sphere has its eight neighbours on one face.
    """
    cells = max(4, (res + 1) // 2)
    spacing = math.pi / 2 / cells
    angles = torch.arange(-1, cells + 2, dtype=torch.float64, device=device) * spacing - math.pi / 4
    u, v = torch.meshgrid(angles.tan(), angles.tan(), indexing="ij")
    face = normalize(torch.stack([torch.ones_like(u), u, v], dim=-1), dim=-1)  # [m, m, 3]
    points = torch.stack([face.roll(axis, dims=-1) for axis in range(3)])
    return _Grid(points, _harmonics(points.reshape(-1, 3), lmax), spacing)


def _candidates(coefficients: Tensor, grid: _Grid, lmax: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return where to climb from ``[P, 3]``, on which signals ``[P]``, and how large each signal gets ``[B]``."""
    parity = torch.cat([coefficients.new_full((2 * l + 1,), (-1.0) ** l) for l in range(lmax + 1)])
    both = torch.stack([coefficients, coefficients * parity])  # [2, B, dim]: at the points, then at their antipodes
    heights = (both @ grid.harmonics.T).unflatten(-1, grid.points.shape[:-1])  # [2, B, 3, m, m]
    highest = heights.abs().amax(dim=(0, 2, 3, 4))
    noise = 1e-13 * highest[:, None, None, None]  # what rounding makes of a constant has no peaks
    side, batch, face, i, j = torch.nonzero(_near_top(heights, noise), as_tuple=True)
    return grid.points[face, i + 1, j + 1] * (1 - 2 * side)[:, None], batch, highest


def _near_top(heights: Tensor, noise: Tensor) -> Tensor:
    """Return which inner points ``[..., m - 2, m - 2]`` are no lower than their neighbours, or close to a top.

    The latter by the parabola through the nine points: where two peaks are hardly apart, or one is on a ridge, the
    point nearest to a top may have a higher neighbour.
    """

    def beside(i: int, j: int) -> Tensor:
        m = heights.shape[-1]
        return heights[..., 1 + i : m - 1 + i, 1 + j : m - 1 + j]

    def pooled(values: Tensor) -> Tensor:
        return max_pool2d(values.flatten(0, -4), 3, stride=1).unflatten(0, heights.shape[:-3])

    here = beside(0, 0)
    top = (here >= pooled(heights)) & (here + pooled(-heights) > noise)
    u, v = (beside(1, 0) - beside(-1, 0)) / 2, (beside(0, 1) - beside(0, -1)) / 2
    uu, vv = beside(1, 0) + beside(-1, 0) - 2 * here, beside(0, 1) + beside(0, -1) - 2 * here
    uv = (beside(1, 1) - beside(1, -1) - beside(-1, 1) + beside(-1, -1)) / 4
    det = uu * vv - uv * uv
    within_one = ((vv * u - uv * v).abs() <= det) & ((uu * v - uv * u).abs() <= det)  # Cramer's rule
    return top | (within_one & (uu < 0) & (det > noise * noise))


def _harmonics(pos: Tensor, lmax: int) -> Tensor:
    """Return all harmonics of directions ``[P, 3]``, 'integral' normalisation, ``[P, dim]``."""
    return spherical_harmonics(pos, lmax) / math.sqrt(4 * math.pi)


class _Surface:
    """Signals around points, as landscapes to climb; ``batch[i]`` says on which signal point i is.

    Args:
        coefficients: Signals, ``[B, dim]``, float64.
        lmax: Degree.
        highest: Largest absolute height of each signal, ``[B]``.
        flat: Below which part of the largest possible curvature one counts as zero.
        spacing: Spacing of the grid that the points come from, radians.
    """

    def __init__(
        self,
        coefficients: Tensor,
        lmax: int,
        *,
        highest: Tensor | None = None,
        flat: float = 0.0,
        spacing: float = 0.0,
    ) -> None:
        self.lmax, self.spacing = lmax, spacing
        self.jets = _jets(coefficients, lmax)  # [B, 13, dim]
        # Bernstein: a signal of degree L whose height stays below 1 has no curvature beyond L^2.
        self.steepest = (lmax + 1) ** 2 * (coefficients.new_ones(len(coefficients)) if highest is None else highest)
        self.floor = flat * self.steepest  # [B]

    def heights(self, pos: Tensor, batch: Tensor) -> Tensor:
        """Return the height at each point, ``[P]``."""
        return (self.jets[batch, 0] * _harmonics(pos, self.lmax)).sum(dim=-1)

    def expand(self, pos: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return slope ``[P, 3]`` and curvature ``[P, 3, 3]`` with respect to rotation vectors.

        A rotation about the point itself moves nothing. There the curvature is set to the most negative one there can
        be, so that the matrix is as definite as the surface, and such rotations are never asked for.
        """
        jets = (self.jets[batch] @ _harmonics(pos, self.lmax).unsqueeze(-1)).squeeze(-1)  # [P, 13]
        slope, curvature = jets[:, 1:4], jets[:, 4:].unflatten(1, (3, 3))
        along = pos[:, :, None] * pos[:, None, :]
        across = torch.eye(3, dtype=pos.dtype, device=pos.device) - along
        curvature = across @ curvature @ across  # symmetric: what two rotations do not commute by is about the point
        return slope, curvature - self.steepest[batch, None, None] * along

    def newton(self, pos: Tensor, batch: Tensor) -> Tensor:
        """Return the points after one step of Newton's method, differentiable; they must be near nondegenerate tops."""
        slope, curvature = self.expand(pos, batch)
        return _turn(pos, torch.linalg.solve(-curvature, slope))

    def uphill(self, pos: Tensor, batch: Tensor) -> Tensor:
        """Return the step of Newton's method, turned uphill along the axes on which the surface is not convex."""
        slope, curvature = self.expand(pos, batch)
        values, axes = torch.linalg.eigh(curvature)
        along_axes = (axes.mT @ slope[:, :, None]) / values.abs().maximum(self.floor[batch, None])[:, :, None]
        return (axes @ along_axes).squeeze(-1)

    def climb(self, pos: Tensor, batch: Tensor) -> Tensor:
        """Return the tops above the points."""
        pos, moving = pos.clone(), torch.arange(len(pos), device=pos.device)
        for _ in range(_MOST_STEPS):
            if len(moving) == 0:
                break
            step = self.uphill(pos[moving], batch[moving])
            length = step.norm(dim=-1)
            pos[moving] = _turn(pos[moving], step * (2 * self.spacing / length).clamp(max=1.0)[:, None])
            moving = moving[length > _DONE]
        return pos

    def is_peak(self, pos: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return which points are isolated maxima, ``[P]``, and which of them are curved in all directions, ``[P]``.

        Where the surface is flat in some direction, the way back is tried from both sides: on a ring of equal heights
        it leads to other points.
        """
        slope, curvature = self.expand(pos, batch)
        values, axes = torch.linalg.eigh(curvature)
        floor, flattest = self.floor[batch], values[:, -1]
        level = slope.norm(dim=-1) <= floor * self.spacing
        curved = level & (flattest < -floor)
        peak = curved.clone()
        (i,) = torch.nonzero(level & (flattest.abs() <= floor), as_tuple=True)
        back = [self.climb(_turn(pos[i], side * axes[i, :, -1]), batch[i]) for side in (-self.spacing, self.spacing)]
        peak[i] = torch.stack([(p - pos[i]).norm(dim=-1) < self.spacing / 2 for p in back]).all(dim=0)
        return peak, curved


def _turn(pos: Tensor, rotation: Tensor) -> Tensor:
    """Return directions after small rotations, by rotation vectors at right angles to them; right to second order."""
    return normalize(pos + torch.linalg.cross(rotation, pos), dim=-1)


def _jets(coefficients: Tensor, lmax: int) -> Tensor:
    """Return the signals, their three derivatives by rotations, and the nine of these: ``[B, 1 + 3 + 9, dim]``."""
    parts = []
    for l, c in enumerate(coefficients.split([2 * l + 1 for l in range(lmax + 1)], dim=1)):
        X = torch.tensor(_generators(l), dtype=torch.float64, device=c.device)
        first = torch.einsum("zb,iba->zia", c, X)  # X is antisymmetric
        second = torch.einsum("zib,jba->zija", first, X)
        parts.append(torch.cat([c[:, None], first, second.flatten(1, 2)], dim=1))
    return torch.cat(parts, dim=2)


@cache
def _generators(l: int) -> np.ndarray:
    return so3_generators(l, dtype=torch.float64).numpy()
