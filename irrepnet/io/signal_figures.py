"""Figures of signals on the sphere: closed surfaces, and their drawing with plotly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from irrepnet.errors import DtypeError, ShapeError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["closed_surface", "draw_signals", "surface_trace"]


def closed_surface(
    grid: Tensor, values: Tensor, center: Tensor | None = None, *, radius: bool = True, relu: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the grid as a closed surface: the first and the last row drawn together into poles, the seam closed.

    Args:
        grid: Points on the sphere from pole to pole, shape ``[res_beta, res_alpha, 3]``.
        values: Values there, shape ``[res_beta, res_alpha]``; that of a pole is the mean of its row.
        center: Of the surface, shape ``[3]``; the origin by default.
        radius: Whether the distance from the centre is the absolute value, or 1.
        relu: Whether negative values become 0.

    Returns:
        Points ``[res_beta, res_alpha + 1, 3]`` and values ``[res_beta, res_alpha + 1]``.

    Raises:
        ShapeError: If ``center`` is not ``[3]``.
        DtypeError: If it is not of the dtype of the grid.

    Example:
        >>> from irrepnet.o3 import ToS2Grid
        >>> points, values = closed_surface(ToS2Grid(1).grid, torch.ones(4, 3), torch.tensor([0.0, 5.0, 0.0]))
        >>> points.shape, points[0, 0], points[-1, 0]
        (torch.Size([4, 4, 3]), tensor([0., 6., 0.]), tensor([0., 4., 0.]))
    """
    if center is not None:
        _need_center(center, grid.dtype)
    values = values.relu() if relu else values
    row = torch.ones_like(values[:1])
    values = torch.cat([values[:1].mean() * row, values[1:-1], values[-1:].mean() * row])
    pole = grid.new_tensor([0.0, 1.0, 0.0]).expand(1, grid.shape[1], 3)
    points = torch.cat([pole, grid[1:-1], -pole])
    points, values = torch.cat([points, points[:, :1]], dim=1), torch.cat([values, values[:, :1]], dim=1)
    if radius:
        points = points * values.abs().unsqueeze(-1)
    return points if center is None else points + center, values


def _need_center(center: Tensor, dtype: torch.dtype) -> None:
    """Refuse what would move each point elsewhere, or make surfaces of another dtype."""
    if getattr(center, "dtype", None) != dtype:
        found = getattr(center, "dtype", type(center).__name__)
        raise DtypeError(f"a surface needs its center in {dtype}, as its points; got {found}.")
    if center.shape != (3,):
        raise ShapeError(f"a surface needs one center [3]; got center {list(center.shape)}.")


def surface_trace(points: Tensor, values: Tensor) -> dict[str, Any]:
    """Return the arguments of ``plotly.graph_objects.Surface`` for a surface.

    Args:
        points: Shape ``[a, b, 3]``.
        values: What colours say, shape ``[a, b]``.

    Returns:
        NumPy arrays x, y, z and surfacecolor, each ``[a, b]``.

    Example:
        >>> sorted(surface_trace(torch.zeros(4, 5, 3), torch.zeros(4, 5)))
        ['surfacecolor', 'x', 'y', 'z']
    """
    x, y, z = points.detach().cpu().unbind(dim=-1)
    return {"x": x.numpy(), "y": y.numpy(), "z": z.numpy(), "surfacecolor": values.detach().cpu().numpy()}


def draw_signals(traces: Iterable[Mapping[str, Any]], arrows: Tensor | None = None, title: str = "") -> Figure:
    """Draw surfaces, one colour scale for all with zero in its middle, and lines from the origin.

    Args:
        traces: What ``SphericalTensor.plotly_surface`` returns.
        arrows: Where lines from the origin end, such as peaks times their heights, shape ``[P, 3]``.
        title: Of the figure.

    Returns:
        A figure of plotly: show it, or write it with ``write_html``.

    Raises:
        ImportError: If plotly is not installed.
        ShapeError: If ``arrows`` is not ``[P, 3]``.

    Example:
        >>> from irrepnet.io import SphericalTensor
        >>> sphere = SphericalTensor(2, 1, -1)
        >>> signal = sphere.with_peaks_at(torch.tensor([[0.0, 0.0, 2.0]]))
        >>> figure = draw_signals(sphere.plotly_surface(signal, res=20), sphere.find_peaks(signal)[0])
        >>> [trace.type for trace in figure.data]
        ['surface', 'scatter3d']
    """
    try:
        from plotly import graph_objects
    except ImportError as error:
        raise ImportError(
            "draw_signals needs plotly; found it not installed; pip install 'irrepnet[report]'"
        ) from error
    traces = list(traces)
    largest = max((float(abs(trace["surfacecolor"]).max()) for trace in traces), default=1.0) or 1.0
    colors = {"cmin": -largest, "cmax": largest, "colorscale": "RdBu_r"}
    shapes = [graph_objects.Surface(**trace, **colors, showscale=i == 0) for i, trace in enumerate(traces)]
    if arrows is not None:
        shapes.append(graph_objects.Scatter3d(**_lines(arrows), mode="lines", line={"color": "black", "width": 4}))
    axes = {f"{axis}axis": {"visible": False} for axis in "xyz"}
    layout = {"title": title, "scene": {"aspectmode": "data", **axes}, "showlegend": False}
    return graph_objects.Figure(data=shapes, layout=layout)


def _lines(ends: Tensor) -> dict[str, Any]:
    """Return lines from the origin; a NaN lifts the pen."""
    if ends.ndim != 2 or ends.shape[1] != 3:
        raise ShapeError(f"draw_signals needs arrows [P, 3]; got arrows {list(ends.shape)}.")
    ends = ends.detach().cpu()
    path = torch.stack([torch.zeros_like(ends), ends, torch.full_like(ends, torch.nan)], dim=1).flatten(0, 1)
    return dict(zip("xyz", path.T.numpy(), strict=True))
