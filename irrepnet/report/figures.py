"""The figures of a report, composed of panels and turned into PNG; matplotlib's Agg canvas, no display, no pyplot."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from irrepnet.report.data import ReportData
from irrepnet.report.panels import (
    BLUE,
    GREEN,
    column,
    draw_energy_parity,
    draw_error_histogram,
    draw_errors_by_species,
    draw_force_parity,
    draw_learning_curve,
    draw_nve_energies,
    draw_rdf,
    draw_stress_parity,
    draw_temperature,
    draw_total_energy,
    dress,
    log_scale,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "dynamics_figure",
    "force_error_figure",
    "learning_figure",
    "overview_figure",
    "parity_figure",
    "png_bytes",
    "rdf_figure",
]

_DPI = 140  # 1400 pixels for a figure of 10 inches: sharp on every screen, about 50 kB
_RDF_COLUMNS = 3


def png_bytes(figure: Figure) -> bytes:
    """Return a figure as PNG; the same figure gives the same bytes.

    Example:
        >>> png_bytes(overview_figure(ReportData("nothing yet")))[1:4]
        b'PNG'
    """
    from PIL import Image  # comes with matplotlib

    stream = io.BytesIO()
    figure.savefig(stream, format="raw", facecolor="white")
    width, height = figure.canvas.get_width_height()
    image = Image.frombytes("RGBA", (width, height), stream.getvalue()).convert("RGB")
    picture = io.BytesIO()
    # A palette of 256 colours looks the same and takes a third of the space.
    image.quantize(256, dither=Image.Dither.NONE).save(picture, "PNG", optimize=True)
    return picture.getvalue()


def learning_figure(data: ReportData) -> Figure:
    """Return errors, loss, learning rate and wall time against the step; the data need a history.

    Example:
        >>> len(learning_figure(ReportData("a", history=[{"step": 1, "forces_rmse": 50.0}])).axes)
        5
    """
    figure = _figure(10, 6.6)
    grid = figure.add_gridspec(2, 2)
    draw_learning_curve(figure.add_subplot(grid[0, 0]), data.history, "forces", "meV/Å", "Forces")
    draw_learning_curve(figure.add_subplot(grid[0, 1]), data.history, "energy", "meV/atom", "Energy")
    draw_learning_curve(figure.add_subplot(grid[1, 0]), data.history, "loss", "", "Loss")
    below = grid[1, 1].subgridspec(2, 1, hspace=0)
    rate, clock = figure.add_subplot(below[0]), figure.add_subplot(below[1])
    steps = column(data.history, "step")
    rate.plot(steps, column(data.history, "lr"), color=BLUE, linewidth=1.5)
    dress(rate, "Learning rate and wall time", "", "rate")
    log_scale(rate)
    rate.tick_params(labelbottom=False)
    clock.plot(steps, column(data.history, "seconds") / 60, color=GREEN, linewidth=1.5)
    dress(clock, "", "optimiser step", "time (min)")
    return figure


def parity_figure(data: ReportData) -> Figure:
    """Return predictions against labels: energy per atom, force components and, if there are any, stress components.

    Example:
        >>> from irrepnet.report.data import Parity
        >>> parity = Parity([-1.0, -2.0], [-1.1, -2.0], np.eye(3), np.eye(3), [8, 1, 1])
        >>> parity_figure(ReportData("a", parity=parity)).axes[0].get_xlabel()
        'reference − mean (meV/atom)'
    """
    parity = data.parity
    assert parity is not None
    draws = [draw_energy_parity] if len(parity.energy_ref) else []
    draws += [draw_force_parity] if len(parity.species) else []
    draws += [draw_stress_parity] if parity.stress_ref is not None else []
    figure = _figure(5.0 * max(len(draws), 1), 4.6 if len(draws) < 3 else 4.4)
    for index, draw in enumerate(draws):
        draw(figure.add_subplot(1, len(draws), index + 1), parity)
    return figure


def force_error_figure(data: ReportData) -> Figure:
    """Return the force errors by element; the data need a parity with atoms.

    Example:
        >>> from irrepnet.report.data import Parity
        >>> parity = Parity([-1.0], [-1.1], np.eye(3), 1.1 * np.eye(3), [8, 1, 1])
        >>> [text.get_text() for text in force_error_figure(ReportData("a", parity=parity)).axes[0].get_yticklabels()]
        ['H', 'O']
    """
    assert data.parity is not None
    num_species = len(np.unique(data.parity.species))
    figure = _figure(10, max(3.6, 1.2 + 0.6 * num_species))
    draw_errors_by_species(figure.add_subplot(1, 2, 1), data.parity)
    draw_error_histogram(figure.add_subplot(1, 2, 2), data.parity)
    return figure


def rdf_figure(data: ReportData) -> Figure:
    """Return the radial distribution functions side by side; the data need at least one.

    Example:
        >>> from irrepnet.report.data import RadialDistribution
        >>> rdf = RadialDistribution("O-O", r=[1.0, 2.0], g_md=[0.0, 1.0], g_ref=[0.0, 1.1])
        >>> rdf_figure(ReportData("a", rdfs=[rdf])).axes[0].get_xlabel()
        'r (Å)'
    """
    columns = min(_RDF_COLUMNS, len(data.rdfs))
    rows = -(-len(data.rdfs) // columns)
    figure = _figure(max(5.0, 3.6 * columns), 3.6 * rows + 0.3)
    for index, rdf in enumerate(data.rdfs):
        draw_rdf(figure.add_subplot(rows, columns, index + 1), rdf, legend=False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=10, frameon=False)
    return figure


def dynamics_figure(data: ReportData) -> Figure:
    """Return energies, the total energy magnified and the temperature against time; the data need dynamics.

    Example:
        >>> from irrepnet.report.data import Dynamics
        >>> md = Dynamics([0.0, 0.5], [-1.0, -1.1], [0.1, 0.2], [300.0, 310.0], num_atoms=3)
        >>> [axes.get_xlabel() for axes in dynamics_figure(ReportData("a", dynamics=md)).axes]
        ['time (fs)', 'time (fs)', 'time (fs)']
    """
    assert data.dynamics is not None
    figure = _figure(11, 3.7)
    for index, draw in enumerate((draw_nve_energies, draw_total_energy, draw_temperature)):
        draw(figure.add_subplot(1, 3, index + 1), data.dynamics)
    return figure


def overview_figure(data: ReportData) -> Figure:
    """Return the whole story in four panels: learning, forces, structure of the liquid, conservation of energy.

    A panel whose data are missing says so.

    Raises:
        ImportError: If matplotlib is not installed.

    Example:
        >>> len(overview_figure(ReportData("nothing yet")).axes)
        4
    """
    figure = _figure(10, 7.6)
    learning, forces, structure, energy = (figure.add_subplot(2, 2, place) for place in (1, 2, 3, 4))
    if data.history:
        draw_learning_curve(learning, data.history, "forces", "meV/Å", "Learning: force error")
    else:
        _say_missing(learning, "no training history")
    if data.parity is not None and len(data.parity.species):
        draw_force_parity(forces, data.parity)
    else:
        _say_missing(forces, "no test frames")
    if data.rdfs:
        draw_rdf(structure, data.rdfs[0])
    else:
        _say_missing(structure, "no radial distribution functions")
    if data.dynamics is not None and len(data.dynamics.time):
        draw_nve_energies(energy, data.dynamics)
    else:
        _say_missing(energy, "no dynamics")
    return figure


def _figure(width: float, height: float) -> Figure:
    """Return an empty figure with an Agg canvas of its own, inches."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as AnyFigure
    except ImportError as error:
        raise ImportError("pictures need matplotlib; found it not installed; pip install 'irrepnet[report]'") from error
    figure = AnyFigure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _say_missing(ax: Axes, what: str) -> None:
    ax.set_axis_off()
    ax.text(0.5, 0.5, what, ha="center", va="center", fontsize=11, color="#57606a", transform=ax.transAxes)
