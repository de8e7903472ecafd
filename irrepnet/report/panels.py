"""Single panels: each draws one thing on an ``Axes`` that it is given, with its units; no global pyplot state."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.elements import atomic_number
from irrepnet.report.data import Dynamics, Parity, RadialDistribution
from irrepnet.report.key_numbers import FS_PER_PS, MILLI, ErrorRow, energy_drift, error_rows, force_error_rows
from irrepnet.report.targets import TargetRow
from irrepnet.report.torsions import TorsionScan

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

__all__ = [
    "annotate",
    "cycle_of_colours",
    "diagonal",
    "draw_energy_parity",
    "draw_error_histogram",
    "draw_errors_by_species",
    "draw_force_parity",
    "draw_nve_energies",
    "draw_rdf",
    "draw_stress_parity",
    "draw_temperature",
    "draw_torsion",
    "draw_total_energy",
    "dress",
    "legend",
    "log_scale",
    "minus",
    "plain_log_axis",
    "readable_time",
    "three_digits",
]

# Okabe and Ito 2008: told apart with every common kind of colour blindness.
BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
INK, FAINT = "#1b1f24", "#8b949e"
_SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
_TALL = 4.0  # g(r) above which a peak (a bond) goes into an inset, so that the liquid's structure stays visible
_SHORT = 200.0  # fs; runs up to here are drawn in fs
_MOST_POINTS = 4000  # of a line: more cannot be told apart on paper


def dress(ax: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Give a panel its title, its axes with units, and one look."""
    ax.set_title(title, fontsize=11, color=INK, loc="left", fontweight="bold")
    ax.set_xlabel(xlabel, fontsize=10, color=INK)
    ax.set_ylabel(ylabel, fontsize=10, color=INK)
    ax.tick_params(labelsize=9, colors=INK, which="both")
    ax.grid(True, color="#d8dee4", linewidth=0.6)
    ax.set_axisbelow(True)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def draw_energy_parity(ax: Axes, parity: Parity) -> None:
    """Draw predicted against reference energies per atom, both relative to the mean reference."""
    row = _row(parity, "energy")
    centre = float(np.nanmean(parity.energy_ref))
    reference, predicted = MILLI * (parity.energy_ref - centre), MILLI * (parity.energy_pred - centre)
    diagonal(ax, reference, predicted)
    ax.plot(reference, predicted, "o", color=BLUE, markersize=5, alpha=0.75, markeredgewidth=0)
    dress(ax, "Energy per atom", "reference − mean (meV/atom)", "predicted − mean (meV/atom)")
    annotate(ax, row, f"mean = {minus(centre, '.4f')} eV/atom\n{row.size} frames")


def draw_force_parity(ax: Axes, parity: Parity) -> None:
    """Draw the density of predicted against reference force components."""
    row = _row(parity, "forces")
    known = np.isfinite(parity.forces_ref)
    reference, predicted = parity.forces_ref[known], parity.forces_pred[known]
    _density(ax, reference, predicted, "force components")
    dress(ax, "Force components", "reference (eV/Å)", "predicted (eV/Å)")
    annotate(ax, row, f"{row.size} components")


def draw_stress_parity(ax: Axes, parity: Parity) -> None:
    """Draw predicted against reference stress components; the parity needs stresses."""
    assert parity.stress_ref is not None and parity.stress_pred is not None
    row = _row(parity, "stress")
    reference, predicted = MILLI * parity.stress_ref.ravel(), MILLI * parity.stress_pred.ravel()
    diagonal(ax, reference, predicted)
    ax.plot(reference, predicted, "o", color=BLUE, markersize=3.5, alpha=0.6, markeredgewidth=0)
    dress(ax, "Stress components", "reference (meV/Å³)", "predicted (meV/Å³)")
    annotate(ax, row, f"{row.size} components")


def draw_error_histogram(ax: Axes, parity: Parity) -> None:
    """Draw how the errors of force components are spread, one line per element, on a logarithmic axis."""
    error = MILLI * (parity.forces_pred - parity.forces_ref)
    reach = max(float(np.nanquantile(np.abs(error), 0.9995)), 1e-6)
    edges = np.linspace(-reach, reach, 61)
    for colour, row in zip(cycle_of_colours(), force_error_rows(parity), strict=False):
        counts, _ = np.histogram(error[parity.species == atomic_number(row.label)], edges)
        share = counts / (row.size * np.diff(edges))
        ax.stairs(share, edges, color=colour, linewidth=1.6, label=f"{row.label}, {row.size // 3} atoms")
    dress(ax, "Errors of force components", "predicted − reference (meV/Å)", "density (Å/meV)")
    log_scale(ax)
    legend(ax)


def draw_errors_by_species(ax: Axes, parity: Parity) -> None:
    """Draw RMSE and MAE of the forces on each element as bars, with the share of the spread in words."""
    rows = force_error_rows(parity)
    places = np.arange(len(rows))
    ax.barh(places - 0.2, [row.rmse for row in rows], 0.38, color=BLUE, label="RMSE")
    ax.barh(places + 0.2, [row.mae for row in rows], 0.38, color=SKY, label="MAE")
    for place, row in zip(places, rows, strict=True):
        spread = f"{100 * row.share:.1f} % of {row.spread:.0f}" if row.spread > 0 else "reference does not vary"
        ax.text(row.rmse, place - 0.2, f" {row.rmse:.1f}  ({spread})", va="center", fontsize=9, color=INK)
        ax.text(row.mae, place + 0.2, f" {row.mae:.1f}", va="center", fontsize=9, color=INK)
    ax.set_yticks(places, [row.label for row in rows])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.75 * max(row.rmse for row in rows) or 1.0)
    dress(ax, "Force error by element", "error of a component (meV/Å); in brackets the spread", "")
    ax.grid(False, axis="y")
    legend(ax, loc="lower right")


def draw_rdf(ax: Axes, rdf: RadialDistribution, *, with_legend: bool = True) -> None:
    """Draw g(r) of dynamics over that of the reference; bonds, which are much taller, go into an inset."""
    _rdf_lines(ax, rdf)
    dress(ax, f"g(r), {rdf.pair.replace('-', '–')}", "r (Å)", "g(r)")
    highest = np.fmax(rdf.g_md, rdf.g_ref)
    tall = np.flatnonzero(highest > _TALL)
    ax.set_xlim(0, rdf.r[-1])
    ax.set_ylim(bottom=0)
    if with_legend:
        legend(ax, loc="lower right")
    if not len(tall) or len(tall) == len(highest):
        return
    rest = np.delete(highest, np.arange(max(tall[0] - 2, 0), min(tall[-1] + 3, len(highest))))
    ax.set_ylim(0, 2.2 * max(rest.max(initial=0.0), 1.0))  # the upper half is the inset's
    inset = ax.inset_axes((0.5, 0.63, 0.46, 0.28))
    _rdf_lines(inset, rdf)
    width = rdf.r[tall[-1]] - rdf.r[tall[0]]
    inset.set_xlim(rdf.r[tall[0]] - width / 2 - 0.05, rdf.r[tall[-1]] + width / 2 + 0.05)
    inset.set_ylim(0, 1.1 * highest.max())
    inset.tick_params(labelsize=8, colors=INK)
    inset.set_title("the cut peak in full", fontsize=8, color=INK, pad=2)


def draw_nve_energies(ax: Axes, dynamics: Dynamics) -> None:
    """Draw total, potential and kinetic energy per atom against time, each relative to its first value."""
    time, unit = readable_time(dynamics)
    for values, label, colour in (
        (dynamics.potential_energy, "potential", VERMILLION),
        (dynamics.kinetic_energy, "kinetic", GREEN),
        (dynamics.total_energy, "total", BLUE),
    ):
        change = MILLI * (values - values[0]) / dynamics.num_atoms
        ax.plot(*_thinned(time, change), color=colour, label=label, linewidth=1.8 if label == "total" else 1.1)
    title = "Energies at constant energy" if dynamics.keeps_energy else "Energies with a thermostat"
    dress(ax, title, f"time ({unit})", "change since the start (meV/atom)")
    _leave_room(ax)
    legend(ax, loc="upper center", ncols=3)


def draw_total_energy(ax: Axes, dynamics: Dynamics) -> None:
    """Draw the total energy per atom alone, magnified, with its straight line."""
    time, unit = readable_time(dynamics)
    change = MILLI * (dynamics.total_energy - dynamics.total_energy[0]) / dynamics.num_atoms
    ax.plot(*_thinned(time, change), color=BLUE, linewidth=1.0, label="total energy")
    drift = energy_drift(dynamics)
    if drift is not None:
        since_middle = (dynamics.time - dynamics.time.mean()) / FS_PER_PS
        line = drift.slope * since_middle + change[np.isfinite(change)].mean()
        label = f"drift {minus(drift.slope, '+.3g')} meV/atom/ps"
        ax.plot(time[[0, -1]], line[[0, -1]], "--", color=INK, linewidth=1.3, label=label)
    dress(ax, "Total energy, magnified", f"time ({unit})", "change since the start (meV/atom)")
    _leave_room(ax)
    legend(ax, loc="upper left")


def draw_temperature(ax: Axes, dynamics: Dynamics) -> None:
    """Draw the temperature against time with its mean and, of a thermostat, what it was to be."""
    time, unit = readable_time(dynamics)
    mean = float(np.nanmean(dynamics.temperature))
    ax.plot(*_thinned(time, dynamics.temperature), color=PURPLE, linewidth=1.0)
    ax.axhline(mean, color=INK, linewidth=1.2, linestyle="--", label=f"mean {mean:.0f} K")
    if dynamics.target_temperature is not None:
        ax.axhline(
            dynamics.target_temperature, color=FAINT, linewidth=1.2, label=f"set {dynamics.target_temperature:g} K"
        )
    dress(ax, "Temperature", f"time ({unit})", "temperature (K)")
    legend(ax, loc="best")


def draw_torsion(ax: Axes, scan: TorsionScan) -> None:
    """Draw the energy of a molecule against the angle by which one side is turned."""
    profile, spread = scan.profile, scan.spread
    if spread is not None:
        label = f"± spread of {len(scan.energies)} models"
        ax.fill_between(scan.angles, profile - spread, profile + spread, color=SKY, alpha=0.4, linewidth=0, label=label)
    ax.plot(scan.angles, profile, "-", color=BLUE, linewidth=1.6)
    sound = ~np.asarray(scan.clash)
    ax.plot(scan.angles[sound], profile[sound], "o", color=BLUE, markersize=4)
    if not sound.all():
        ax.plot(scan.angles[~sound], profile[~sound], "x", color=VERMILLION, markersize=6, label="atoms too near")
    ax.set_xticks(np.arange(0, 361, 60))
    dress(ax, scan.name, "turned by (degrees)", "energy change (meV)")
    legend(ax)


def readable_time(dynamics: Dynamics) -> tuple[NDArray[np.float64], str]:
    """Return the times in the unit that fits the length of the run, ``"fs"`` or ``"ps"``."""
    return (dynamics.time, "fs") if dynamics.time[-1] < _SHORT else (dynamics.time / FS_PER_PS, "ps")


def log_scale(ax: Axes) -> None:
    """Make the y axis logarithmic with plain numbers; 2 and 5 are labelled too where that leaves room."""
    plain_log_axis(ax.yaxis)


def plain_log_axis(axis: Axis) -> None:
    """Make an axis logarithmic with plain numbers; 2 and 5 are labelled too where that leaves room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes = axis.axes
    (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log")
    low, high = axis.get_view_interval()
    plain = FuncFormatter(lambda value, _: minus(value, "g").replace("e−0", "e−"))
    axis.set_major_formatter(plain)
    is_short = high / low < 500
    axis.set_minor_locator(LogLocator(subs=(2, 5) if is_short else tuple(range(2, 10))))
    axis.set_minor_formatter(plain if is_short else NullFormatter())
    axis.grid(True, which="minor", color="#eef1f4", linewidth=0.5)


def _rdf_lines(ax: Axes, rdf: RadialDistribution) -> None:
    ax.fill_between(rdf.r, rdf.g_ref, color="#c9d1d9", linewidth=0, label="reference frames")
    ax.plot(rdf.r, rdf.g_ref, color=FAINT, linewidth=0.8)
    ax.plot(rdf.r, rdf.g_md, color=BLUE, linewidth=1.7, label="model dynamics")


def _density(ax: Axes, reference: NDArray[np.float64], predicted: NDArray[np.float64], what: str) -> None:
    low, high = diagonal(ax, reference, predicted)
    extent = (low, high, low, high)
    drawn = ax.hexbin(reference, predicted, gridsize=70, extent=extent, bins="log", mincnt=1, linewidths=0.1)
    bar = ax.figure.colorbar(drawn, ax=ax, shrink=0.85, pad=0.02)
    bar.set_label(f"{what} in a cell", fontsize=9, color=INK)
    bar.ax.tick_params(labelsize=8, colors=INK)


def diagonal(ax: Axes, reference: NDArray[np.float64], predicted: NDArray[np.float64]) -> tuple[float, float]:
    """Make the panel square from the lowest to the highest finite value, with the line of perfect prediction."""
    values = np.concatenate([reference, predicted])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    margin = 0.05 * (high - low) or 1.0
    low, high = low - margin, high + margin
    ax.plot([low, high], [low, high], color=FAINT, linewidth=1.0, zorder=1)
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    ax.set_aspect("equal")
    return low, high


def annotate(ax: Axes, row: ErrorRow | TargetRow, last: str) -> None:
    """Write MAE, RMSE and spread of a label into the corner of a panel, and a last line."""
    """Write MAE, RMSE and spread into the corner of a parity panel."""
    numbers = (("MAE", row.mae), ("RMSE", row.rmse), ("std of reference", row.spread))
    text = "\n".join([*(f"{name} = {three_digits(value)} {row.unit}" for name, value in numbers), last])
    box = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": "#d8dee4", "alpha": 0.9}
    ax.text(0.03, 0.97, text, transform=ax.transAxes, va="top", fontsize=9, linespacing=1.35, color=INK, bbox=box)


def legend(ax: Axes, loc: Any = "best", ncols: int = 1) -> None:
    """Add a legend if there is anything to name."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=9, framealpha=0.9, edgecolor="#d8dee4", labelcolor=INK, loc=loc, ncols=ncols)


def _leave_room(ax: Axes) -> None:
    """Raise the upper end of the y axis, so that a legend there covers nothing."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.3 * (high - low))


def _thinned(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    every = max(1, len(x) // _MOST_POINTS)
    return x[::every], y[::every]


def minus(value: float, form: str) -> str:
    """Return a number as text with a proper minus sign."""
    """Return a number as text, with a minus sign that is as wide as the plus sign."""
    return format(value, form).replace("-", "−")


def three_digits(value: float) -> str:
    """Return a number with three significant digits, and all its digits before the point: no powers of ten."""
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def cycle_of_colours() -> Iterator[str]:
    """Yield the colours of lines, again and again."""
    return itertools.cycle(_SERIES)


def _row(parity: Parity, label: str) -> ErrorRow:
    return next(row for row in error_rows(parity) if row.label == label)
