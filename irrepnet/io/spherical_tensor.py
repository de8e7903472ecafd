"""Signals on the sphere as features: points and samples become coefficients, coefficients values, grids and peaks."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from irrepnet.errors import DtypeError, IrrepsError, ShapeError
from irrepnet.io.interpolation import harmonic_pseudoinverse, merge_directions, nearest_samples
from irrepnet.io.peaks import find_peaks
from irrepnet.io.signal_arguments import as_integer, need_tensors
from irrepnet.io.signal_figures import closed_surface, surface_trace
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.s2grid import FromS2Grid, ToS2Grid
from irrepnet.o3.sphere_tables import Resolution
from irrepnet.ops.reference.spherical_harmonics import direction
from irrepnet.ops.spherical_harmonics import spherical_harmonics

__all__ = ["SignalOnGrid", "SphericalTensor"]

# Singular values that count as zero, in parts of the largest: below, rounding of coefficients is as large as values.
_LEAST = {torch.float64: 1e-13, torch.float32: 1e-8}


class SignalOnGrid(NamedTuple):
    """What ``SphericalTensor.signal_on_grid`` returns: points on the sphere and the values there.

    Example:
        >>> SignalOnGrid(torch.zeros(4, 3, 3), torch.zeros(4, 3)).grid.shape
        torch.Size([4, 3, 3])
    """

    grid: Tensor
    values: Tensor


class SphericalTensor(Irreps):
    r"""Irreps of the coefficients of a signal on the sphere, :math:`f(x) = \sum_{l=0}^{l_{max}} c^l \cdot Y^l(x)`.

    Harmonics are those of ``o3.spherical_harmonics`` in 'integral' normalisation. Inversion P takes the signal to

    .. math:: (P f)(x) = p_v f(p_a x) = \sum_l p_v p_a^l\, c^l \cdot Y^l(x)

    A signal that says how much there is in each direction, such as neighbours of an atom, has p_v = 1 and p_a = -1.

    Args:
        lmax: Highest degree, inclusive, >= 0.
        p_val: Parity of the values, 1 or -1.
        p_arg: Parity of the argument, 1 or -1.

    Raises:
        IrrepsError: If ``lmax`` is not a degree, or a parity is neither 1 nor -1.

    Example:
        >>> SphericalTensor(3, 1, -1), SphericalTensor(3, -1, -1)
        (1x0e+1x1o+1x2e+1x3o, 1x0o+1x1e+1x2o+1x3e)
        >>> sphere = SphericalTensor(4, 1, -1)
        >>> corners = torch.tensor([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 4.0]])
        >>> signal = sphere.with_peaks_at(corners)
        >>> sphere.signal_xyz(signal, corners)
        tensor([2.0000, 3.0000, 4.0000])
        >>> pos, height = sphere.find_peaks(signal)
        >>> len(pos), height[0].round()
        (6, tensor(4.))
    """

    def __new__(cls, lmax: int, p_val: int, p_arg: int) -> SphericalTensor:
        """See the class."""
        degree = as_integer(lmax)
        if degree is None or degree < 0:
            raise IrrepsError(f"SphericalTensor needs a degree lmax = 0, 1, 2, ...; got lmax = {lmax!r}.")
        for name, parity in (("p_val", p_val), ("p_arg", p_arg)):
            if parity not in (1, -1):
                raise IrrepsError(f"SphericalTensor needs {name} = 1 (even) or -1 (odd); got {name} = {parity!r}.")
        irreps = Irreps([(1, (l, int(p_val * p_arg**l))) for l in range(degree + 1)])
        return tuple.__new__(cls, irreps)

    def __getnewargs__(self) -> tuple[int, int, int]:
        """Return what ``copy`` and ``pickle`` call with; for a constant the parity of its argument does not matter."""
        p_val = self[0].ir.p
        return len(self) - 1, p_val, p_val * self[1].ir.p if len(self) > 1 else 1

    def with_peaks_at(self, vectors: Tensor, values: Tensor | None = None) -> Tensor:
        r"""Return the smallest signal with :math:`f(r_i / |r_i|) = |r_i|` at every vector, or with the values given.

        .. math:: c = Y^+ v, \qquad Y_{ia} = Y_a(r_i / |r_i|)

        It is exact where the rows of Y are independent, which for N different directions lmax + 1 >= N guarantees.
        Elsewhere (unequal values in one direction, too low a degree) it is the least-squares fit of least norm.
        Directions closer than sqrt(eps) of the dtype (1.5e-8 radians in float64, 3e-4 in float32) are one: their mean.

        Unequal values side by side ask for steep signals: k directions within d radians for coefficients up to about
        d^(1-k), so that values come back to about eps d^(1-k) only. Singular values of Y (always in float64) below
        1e-13 of the largest, 1e-8 for vectors in float32, count as zero: closer still, values are fitted again.

        A zero vector has no direction: without a value, or where every value for it is 0, it is left out, as padding of
        sets of unequal size; with another value it asks for :math:`f(0) = c^0 Y^0`, the mean of the signal. The result
        is differentiable with respect to vectors and values as long as the rank of Y stays the same.

        Args:
            vectors: Where the peaks are, shape ``[..., N, 3]``, float32 or float64; N may be 0.
            values: Heights, shape ``[..., N]``; lengths of the vectors by default. Many rows of values for one set of
                vectors cost one pseudoinverse.

        Returns:
            Coefficients, shape ``[..., dim]``.

        Raises:
            ShapeError: If ``vectors`` is not ``[..., N, 3]``, or ``values`` does not go with it.
            DtypeError: If dtypes are not both float32 or both float64.
            DataError: If ``vectors`` holds a NaN or an infinity.
            IrrepsError: If lengths, which inversion keeps, are to be the values and ``p_val`` is -1.

        Example:
            >>> sphere = SphericalTensor(4, 1, -1)
            >>> pos = torch.tensor([[1.0, 0.0, 0.0], [3.0, 4.0, 0.0]])
            >>> sphere.signal_xyz(sphere.with_peaks_at(pos, torch.tensor([-1.5, 2.0])), pos)
            tensor([-1.5000,  2.0000])
        """
        need_tensors("with_peaks_at", self.lmax, vectors=vectors, values=values)
        if vectors.dtype not in _LEAST:
            raise DtypeError(f"with_peaks_at needs vectors in float32 or float64; got {vectors.dtype}.")
        pos = vectors.double()
        unit = direction(pos)[0]
        if values is None:
            if self[0].ir.p == -1:
                raise IrrepsError(
                    "with_peaks_at needs p_val = 1 where the lengths of vectors are the values, as inversion keeps "
                    "lengths; got p_val = -1. Give values, or make a SphericalTensor with p_val = 1."
                )
            values = (pos * unit).sum(dim=-1)  # unlike a root, with finite derivatives at zero
        shape = torch.broadcast_tensors(unit[..., 0], values)[0].shape  # torch.broadcast_shapes would import sympy
        unit = unit.expand(*unit.shape[:-2], shape[-1], 3)
        valued = (values != 0).expand(shape).sum_to_size(unit.shape[:-1]).bool()  # [..., N]
        given = valued | (unit != 0).any(dim=-1)
        unit = merge_directions(unit, within=math.sqrt(torch.finfo(vectors.dtype).eps))
        Y = self._harmonics(unit) * given.unsqueeze(-1)  # [..., N, dim]
        inverse = harmonic_pseudoinverse(Y, _LEAST[vectors.dtype])  # [..., dim, N]
        values = values.double().expand(*values.shape[:-1], shape[-1])
        return torch.einsum("...an,...n->...a", inverse, values).to(vectors.dtype)

    def sum_of_diracs(self, positions: Tensor, values: Tensor) -> Tensor:
        r"""Return the sum of Dirac deltas cut off at degree lmax, each of height 1 at its top.

        .. math:: c = \frac{4 \pi}{(l_{max} + 1)^2} \sum_i v_i\, Y(r_i / |r_i|)

        A zero vector adds a constant.

        Args:
            positions: Directions of any length, shape ``[..., N, 3]``.
            values: Weights, shape ``[..., N]``; axes of size 1 are broadcast.

        Returns:
            Coefficients, shape ``[..., dim]``.

        Raises:
            ShapeError: If the shapes are not these.
            DtypeError: If dtypes are not floating-point and equal.

        Example:
            >>> sphere = SphericalTensor(7, 1, -1)
            >>> signal = sphere.sum_of_diracs(torch.eye(3), torch.tensor([1.0, 2.0, -1.0]))
            >>> sphere.signal_xyz(signal, torch.eye(3)).round()
            tensor([ 1.,  2., -1.])
        """
        need_tensors("sum_of_diracs", self.lmax, positions=positions, values=values)
        total = (self._harmonics(positions) * values.unsqueeze(-1)).sum(dim=-2)
        return total * (4 * math.pi / (self.lmax + 1) ** 2)

    def from_samples_on_s2(self, positions: Tensor, values: Tensor, res: Resolution = 100) -> Tensor:
        """Return the signal that has, at each point of a grid, the value of the nearest sample.

        Differentiable with respect to the values.

        Args:
            positions: Where the samples are, of any length, shape ``[..., N, 3]``.
            values: Samples, shape ``[..., N]``; axes of size 1 are broadcast.
            res: Of the grid, as ``o3.FromS2Grid`` takes it.

        Returns:
            Coefficients, shape ``[..., dim]``; zero where there are no samples.

        Raises:
            ShapeError: If the shapes are not these.
            DtypeError: If dtypes are not floating-point and equal.
            ConfigError: If the grid is too coarse for ``lmax``.

        Example:
            >>> sphere = SphericalTensor(2, 1, 1)
            >>> poles = torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])
            >>> sphere.norms(sphere.from_samples_on_s2(poles, torch.tensor([1.0, -1.0]))).round()
            tensor([0., 3., 0.])
        """
        need_tensors("from_samples_on_s2", self.lmax, positions=positions, values=values)
        from_grid = FromS2Grid(res, self.lmax, normalization="integral", dtype=values.dtype, device=values.device)
        *batch, n = torch.broadcast_tensors(positions[..., 0], values)[0].shape
        if math.prod(batch) * n == 0:
            return values.new_zeros(*batch, self.dim)
        sets = positions.shape[:-2]
        unit = direction(positions.detach())[0].expand(*sets, n, 3)
        nearest = nearest_samples(from_grid.grid.reshape(-1, 3), unit.reshape(-1, n, 3)).reshape(*sets, -1)  # [..., P]
        sampled = values.expand(*batch, n).gather(-1, nearest.expand(*batch, -1))
        return from_grid(sampled.unflatten(-1, (from_grid.res_beta, from_grid.res_alpha)))

    def norms(self, signal: Tensor) -> Tensor:
        """Return the norm of each degree, with derivatives that are zero where it is zero.

        Args:
            signal: Coefficients, shape ``[..., dim]``.

        Returns:
            Shape ``[..., lmax + 1]``.

        Raises:
            ShapeError: If the last axis has another size.
            DtypeError: If the signal is not a floating-point tensor.

        Example:
            >>> SphericalTensor(1, 1, -1).norms(torch.tensor([1.5, 0.0, 3.0, 4.0]))
            tensor([1.5000, 5.0000])
        """
        need_tensors("norms", self.lmax, signal=signal)
        degrees = signal.square().split([ir.dim for _, ir in self], dim=-1)
        squares = torch.stack([degree.sum(dim=-1) for degree in degrees], dim=-1)  # [..., lmax + 1]
        zero = squares == 0
        return squares.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)  # no derivative of the root at 0

    def signal_xyz(self, signal: Tensor, r: Tensor) -> Tensor:
        """Evaluate every signal in every direction; all derivatives are finite, at r = 0 too.

        Args:
            signal: Coefficients, shape ``[*A, dim]``.
            r: Directions of any length, shape ``[*B, 3]``; at zero the value is the mean of the signal.

        Returns:
            Values, shape ``[*A, *B]``.

        Raises:
            ShapeError: If the last axes have other sizes.
            DtypeError: If dtypes are not floating-point and equal.

        Example:
            >>> sphere = SphericalTensor(3, 1, -1)
            >>> sphere.signal_xyz(sphere.randn(2, 5, -1), torch.randn(7, 3)).shape
            torch.Size([2, 5, 7])
        """
        need_tensors("signal_xyz", self.lmax, signal=signal, r=r)
        values = signal.reshape(-1, self.dim) @ self._harmonics(r).reshape(-1, self.dim).T
        return values.reshape(signal.shape[:-1] + r.shape[:-1])

    def signal_on_grid(
        self, signal: Tensor, res: Resolution = 100, normalization: str | Tensor = "integral"
    ) -> SignalOnGrid:
        """Evaluate signals on a grid of polar angles and azimuths; see ``o3.ToS2Grid``.

        Args:
            signal: Coefficients, shape ``[..., dim]``.
            res: Of the grid, as ``o3.ToS2Grid`` takes it.
            normalization: Of the coefficients, as ``o3.ToS2Grid`` takes it.

        Returns:
            ``grid``, points on the sphere ``[res_beta, res_alpha, 3]``, and ``values [..., res_beta, res_alpha]``.

        Raises:
            ShapeError: If the last axis of the signal has another size.
            DtypeError: If the signal is not a floating-point tensor.
            ConfigError: If the grid is too coarse for ``lmax``, or ``normalization`` is unknown.

        Example:
            >>> sphere = SphericalTensor(2, 1, -1)
            >>> grid, values = sphere.signal_on_grid(sphere.randn(-1), res=(6, 5))
            >>> grid.shape, values.shape
            (torch.Size([6, 5, 3]), torch.Size([6, 5]))
        """
        need_tensors("signal_on_grid", self.lmax, signal=signal)
        to_grid = ToS2Grid(self.lmax, res, normalization, dtype=signal.dtype, device=signal.device)
        return SignalOnGrid(to_grid.grid, to_grid(signal))

    def plot(
        self,
        signal: Tensor,
        center: Tensor | None = None,
        res: Resolution = 100,
        radius: bool = True,
        relu: bool = False,
        normalization: str | Tensor = "integral",
    ) -> tuple[Tensor, Tensor]:
        """Return a closed surface that shows a signal.

        Args:
            signal: Coefficients, shape ``[dim]``.
            center: Of the surface, shape ``[3]``; the origin by default.
            res: Of the grid, as ``o3.ToS2Grid`` takes it.
            radius: Whether the distance from the centre is the absolute value, or 1.
            relu: Whether negative values become 0.
            normalization: Of the coefficients, as ``o3.ToS2Grid`` takes it.

        Returns:
            Points ``[res_beta, res_alpha + 1, 3]`` and values ``[res_beta, res_alpha + 1]``; the last meridian is the
            first, first and last row are the poles.

        Raises:
            ShapeError: If ``signal`` is not ``[dim]``, or ``center`` is not ``[3]``.
            DtypeError: If dtypes are not floating-point and equal.
            ConfigError: If the grid is too coarse for ``lmax``, or ``normalization`` is unknown.

        Example:
            >>> sphere = SphericalTensor(2, 1, -1)
            >>> points, values = sphere.plot(sphere.randn(-1), res=(6, 5))
            >>> points.shape, values.shape
            (torch.Size([6, 6, 3]), torch.Size([6, 6]))
        """
        need_tensors("plot", self.lmax, signal=signal)
        if signal.ndim != 1:
            raise ShapeError(
                f"plot needs one signal [{self.dim}]; got signal {list(signal.shape)}. See plotly_surface."
            )
        grid, values = self.signal_on_grid(signal, res, normalization)
        return closed_surface(grid, values, center, radius=radius, relu=relu)

    def plotly_surface(
        self,
        signals: Tensor,
        centers: Tensor | None = None,
        res: Resolution = 100,
        radius: bool = True,
        relu: bool = False,
        normalization: str | Tensor = "integral",
    ) -> list[dict[str, Any]]:
        """Return the arguments of ``plotly.graph_objects.Surface`` for each signal; ``draw_signals`` draws them.

        Args:
            signals: Coefficients, shape ``[..., dim]``.
            centers: Of the surfaces, as many as signals, shape ``[..., 3]``; the origin by default.
            res: Of the grid, as ``o3.ToS2Grid`` takes it.
            radius: Whether the distance from the centre is the absolute value, or 1.
            relu: Whether negative values become 0.
            normalization: Of the coefficients, as ``o3.ToS2Grid`` takes it.

        Returns:
            Dictionaries of NumPy arrays with keys x, y, z and surfacecolor.

        Raises:
            ShapeError: If the last axes have other sizes, or the numbers of signals and centres differ.
            DtypeError: If dtypes are not floating-point and equal.
            ConfigError: If the grid is too coarse for ``lmax``, or ``normalization`` is unknown.

        Example:
            >>> sphere = SphericalTensor(4, 1, -1)
            >>> [trace["x"].shape for trace in sphere.plotly_surface(sphere.randn(2, -1), res=(10, 9))]
            [(10, 10), (10, 10)]
        """
        need_tensors("plotly_surface", self.lmax, signals=signals, centers=centers)
        grid, values = self.signal_on_grid(signals.detach(), res, normalization)
        values = values.reshape(-1, *values.shape[-2:])
        if centers is not None and centers.numel() != 3 * len(values):
            wanted, found = f"one centre [3] for each of {len(values)} signals", list(centers.shape)
            raise ShapeError(f"plotly_surface needs {wanted}; got centers {found}.")
        places = [None] * len(values) if centers is None else centers.detach().reshape(-1, 3)
        surfaces = (closed_surface(grid, f, at, radius=radius, relu=relu) for f, at in zip(values, places, strict=True))
        return [surface_trace(*surface) for surface in surfaces]

    def find_peaks(self, signal: Tensor, res: int = 100) -> tuple[Tensor, Tensor]:
        """Find the isolated local maxima of a signal, to rounding; ``io.find_peaks`` takes many signals at once.

        Args:
            signal: Coefficients, shape ``[dim]``.
            res: Points of the grid per half circle on which the search starts, an integer >= ``2 * (lmax + 1)``.

        Returns:
            Directions of length 1 ``[P, 3]`` and heights ``[P]``, highest first; P = 0 where there are none.

        Raises:
            ShapeError: If ``signal`` is not ``[dim]``.
            DtypeError: If it is neither float32 nor float64.
            ConfigError: If ``res`` is too coarse for the degree.
            DataError: If the signal holds a NaN or an infinity.

        Example:
            >>> sphere = SphericalTensor(4, 1, -1)
            >>> signal = sphere.with_peaks_at(torch.tensor([[3.0, 0.0, 4.0], [0.0, 5.0, 0.0]]))
            >>> pos, height = sphere.find_peaks(signal)
            >>> pos.shape, (height > 4.9).sum()
            (torch.Size([6, 3]), tensor(2))
        """
        need_tensors("find_peaks", self.lmax, signal=signal)
        if signal.ndim != 1:
            raise ShapeError(
                f"find_peaks needs one signal [{self.dim}] for lmax = {self.lmax}; got signal {list(signal.shape)}. "
                "Use io.find_peaks for many."
            )
        pos, height, _ = find_peaks(signal[None], res)
        return pos, height

    def _harmonics(self, vectors: Tensor) -> Tensor:
        """Return the harmonics of directions, ``[..., dim]``; parities of the irreps do not change them."""
        return spherical_harmonics(vectors, self.lmax, normalize=True) / math.sqrt(4 * math.pi)
