"""The figures of a report, composed of panels and turned into PNG; matplotlib's Agg canvas, no display, no pyplot."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from irrepnet.report.breakdown import force_bins, frame_errors, group_rows
from irrepnet.report.data import Parity, ReportData
from irrepnet.report.error_panels import (
    draw_calibration,
    draw_energy_error_by_size,
    draw_energy_error_histogram,
    draw_error_by_force,
    draw_errors_by_group,
    draw_irreps,
    draw_target_parity,
)
from irrepnet.report.key_numbers import error_rows, force_error_rows
from irrepnet.report.learning import loss_weights, validated
from irrepnet.report.learning_panels import draw_learning_curve, draw_loss_weights, draw_rate, draw_speed
from irrepnet.report.panels import (
    BLUE,
    INK,
    draw_energy_parity,
    draw_error_histogram,
    draw_errors_by_species,
    draw_force_parity,
    draw_nve_energies,
    draw_rdf,
    draw_stress_parity,
    draw_temperature,
    draw_torsion,
    draw_total_energy,
)
from irrepnet.report.structure_figure import colours_of, draw_structure
from irrepnet.report.targets import irrep_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "breakdown_figure",
    "committee_figure",
    "dynamics_figure",
    "force_error_figure",
    "has_breakdown",
    "learning_figure",
    "overview_figure",
    "panels_figure",
    "parity_figure",
    "png_bytes",
    "rdf_figure",
    "structures_figure",
    "targets_figure",
    "torsion_figure",
]

_DPI = 140  # 1400 pixels for a figure of 10 inches: sharp on every screen, about 50 kB
_RDF_COLUMNS = 3
_MOST_CURVES = 6  # quantities with a learning curve of their own
_MOST_STRUCTURES = 3
_TITLES = {"forces": "Forces", "energy": "Energy", "stress": "Stress"}


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
    """Return errors, loss, learning rate, weights of the loss and speed against the step; the data need a history.

    Example:
        >>> axes = learning_figure(ReportData("a", history=[{"step": 1, "forces_rmse": 50.0}])).axes
        >>> [panel.get_title(loc="left") for panel in axes]
        ['Forces', 'Loss', 'Learning rate', 'Speed, validation included']
    """
    history = data.history
    units = {target.name: target.unit for target in data.targets}
    draws: list[Callable[[Axes], None]] = [
        partial(draw_learning_curve, history=history, name=name, unit=unit, title=_TITLES.get(name, name))
        for name, unit in list(validated(history, units).items())[:_MOST_CURVES]
    ]
    draws.append(partial(draw_learning_curve, history=history, name="loss", unit="", title="Loss"))
    draws.append(partial(draw_rate, history=history))
    if loss_weights(history, data.config):
        draws.append(partial(draw_loss_weights, history=history, config=data.config))
    draws.append(partial(draw_speed, history=history, edges_per_step=data.edges_per_step))
    return panels_figure(draws, columns=2 if len(draws) <= 4 else 3)


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
    draw_of = {"energy": draw_energy_parity, "forces": draw_force_parity, "stress": draw_stress_parity}
    draws = [draw_of[row.label] for row in error_rows(parity)]
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
    num_species = len(force_error_rows(data.parity))
    figure = _figure(10, max(3.6, 1.2 + 0.6 * num_species))
    draw_errors_by_species(figure.add_subplot(1, 2, 1), data.parity)
    draw_error_histogram(figure.add_subplot(1, 2, 2), data.parity)
    return figure


def breakdown_figure(data: ReportData) -> Figure | None:
    """Return errors by reference force, by frame, by size and by group; None if there is none of these to draw.

    Example:
        >>> from irrepnet.report.data import Parity
        >>> parity = Parity([-1.0], [-1.1], np.eye(3), 1.1 * np.eye(3), [8, 1, 1])
        >>> breakdown_figure(ReportData("a", parity=parity)).axes[0].get_xlabel()
        'length of the reference force (eV/Å)'
    """
    assert data.parity is not None
    draws = _breakdown_panels(data.parity)
    return panels_figure(draws, columns=2) if draws else None


def has_breakdown(parity: Parity) -> bool:
    """Tell whether :func:`breakdown_figure` has anything to draw.

    Example:
        >>> has_breakdown(Parity([np.nan], [-1.1], np.full((3, 3), np.nan), np.eye(3), [8, 1, 1]))
        False
    """
    return bool(_breakdown_panels(parity))


def _breakdown_panels(parity: Parity) -> list[Callable[[Axes], None]]:
    bins, frames = force_bins(parity), frame_errors(parity)
    draws: list[Callable[[Axes], None]] = []
    if bins is not None:
        draws.append(partial(draw_error_by_force, bins=bins))
    if sum(np.isfinite(frame.energy_error) for frame in frames) > 1:
        draws.append(partial(draw_energy_error_histogram, frames=frames))
    if len({frame.num_atoms for frame in frames if np.isfinite(frame.energy_error)}) > 1:
        draws.append(partial(draw_energy_error_by_size, frames=frames))
    kind, rows = group_rows(parity)
    if rows and any(np.isfinite(row.force_rmse) for row in rows):
        draws.append(partial(draw_errors_by_group, kind=kind, rows=rows))
    return draws


def structures_figure(data: ReportData) -> Figure:
    """Return still pictures of the worst frames, at most three; the data need at least one.

    Example:
        >>> from irrepnet.report.structure_errors import StructureErrors
        >>> frame = StructureErrors("a frame 0", [1, 1], np.eye(2, 3), np.zeros((2, 3)), 0.01 * np.eye(2, 3))
        >>> structures_figure(ReportData("a", structures=[frame])).axes[-1].get_ylabel()
        'force error of an atom (meV/Å)'
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.lines import Line2D

    shown = data.structures[:_MOST_STRUCTURES]
    figure = _figure(max(5.6, 3.9 * len(shown) + 0.6), 5.2)
    axes = [figure.add_subplot(1, len(shown), place + 1) for place in range(len(shown))]
    colours = colours_of(shown)
    for ax, structure in zip(axes, shown, strict=True):
        scale = draw_structure(ax, structure, colours)
        ax.text(0.0, -0.02, f"an arrow of 1 Å is {1 / scale:.2g} eV/Å", transform=ax.transAxes, fontsize=8.5, color=INK)
    bar = figure.colorbar(ScalarMappable(colours[1], colours[0]), ax=axes, shrink=0.8, pad=0.01)
    bar.set_label("force error of an atom (meV/Å)", fontsize=9, color=INK)
    bar.ax.tick_params(labelsize=8, colors=INK)
    keys = [Line2D([], [], color=INK, linewidth=3), Line2D([], [], color=BLUE, linewidth=2)]
    figure.legend(keys, ["reference force", "predicted force"], loc="outside lower center", ncols=2, frameon=False)
    return figure


def targets_figure(data: ReportData) -> Figure:
    """Return predictions against labels of every target, and the errors by irrep; the data need at least one target.

    Example:
        >>> from irrepnet.report.targets import TargetParity
        >>> gap = TargetParity("gap", "eV", [5.0, 6.0], [5.1, 5.9])
        >>> targets_figure(ReportData("a", targets=[gap])).axes[0].get_xlabel()
        'reference (eV)'
    """
    draws: list[Callable[[Axes], None]] = [
        partial(draw_target_parity, target=target) for target in data.targets if target.known.any()
    ]
    rows = [row for target in data.targets for row in irrep_rows(target)]
    if rows:
        draws.append(partial(draw_irreps, rows=rows))
    return panels_figure(draws, columns=min(3, len(draws)), size=4.2)


def torsion_figure(data: ReportData) -> Figure:
    """Return the energy profile of every scanned bond; the data need at least one.

    Example:
        >>> from irrepnet.report.torsions import TorsionScan
        >>> scan = TorsionScan("a", (2, 0, 1, 3), ("H", "O", "O", "H"), [0, 180], [[0.0, 0.1]])
        >>> torsion_figure(ReportData("a", torsions=[scan])).axes[0].get_ylabel()
        'energy change (meV)'
    """
    return panels_figure([partial(draw_torsion, scan=scan) for scan in data.torsions], columns=2)


def committee_figure(data: ReportData) -> Figure:
    """Return the error against the spread of a committee; the data need one.

    Example:
        >>> from irrepnet.report.committee import CommitteeSpread
        >>> committee = CommitteeSpread([0.1, 0.2], [0.2, 0.3], num_models=4)
        >>> committee_figure(ReportData("a", committee=committee)).axes[0].get_xlabel()
        'spread of 4 models (eV/Å)'
    """
    assert data.committee is not None
    return panels_figure([partial(draw_calibration, committee=data.committee)], columns=1, size=4.8)


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
        draw_rdf(figure.add_subplot(rows, columns, index + 1), rdf, with_legend=False)
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
    if data.parity is not None and force_error_rows(data.parity):
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


def panels_figure(draws: Sequence[Callable[[Axes], None]], columns: int, size: float = 3.5) -> Figure:
    """Return a figure with one panel for each drawing, in rows.

    Args:
        draws: At least one.
        columns: At most so many side by side.
        size: Height of a row, inches.
    """
    columns = min(columns, len(draws))
    rows = -(-len(draws) // columns)
    figure = _figure(max(5.6, (10.0 if columns == 2 else 4.4 * columns)) if columns > 1 else 6.4, size * rows)
    for index, draw in enumerate(draws):
        draw(figure.add_subplot(rows, columns, index + 1))
    return figure


def _say_missing(ax: Axes, what: str) -> None:
    ax.set_axis_off()
    ax.text(0.5, 0.5, what, ha="center", va="center", fontsize=11, color="#57606a", transform=ax.transAxes)
