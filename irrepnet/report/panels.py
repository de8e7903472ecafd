"""Single panels: each draws one thing on an ``Axes`` that it is given, with its units; no global pyplot state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from irrepnet.report.data import Dynamics, Parity, RadialDistribution
from irrepnet.report.key_numbers import FS_PER_PS, MILLI, ErrorRow, energy_drift, error_rows, force_error_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "column",
    "draw_energy_parity",
    "draw_error_histogram",
    "draw_errors_by_species",
    "draw_force_parity",
    "draw_learning_curve",
    "draw_nve_energies",
    "draw_rdf",
    "draw_stress_parity",
    "draw_temperature",
    "draw_total_energy",
    "dress",
    "log_scale",
    "readable_time",
]

# Okabe and Ito 2008: told apart with every common kind of colour blindness.
BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
INK, FAINT = "#1b1f24", "#8b949e"
_SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
_TALL = 4.0  # g(r) above which a peak (a bond) goes into an inset, so that the liquid's structure stays visible
_ERROR_LABELS = {"forces": "error of a force component", "energy": "error of the energy", "loss": "loss"}
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


def draw_learning_curve(ax: Axes, history: Sequence[Mapping[str, Any]], name: str, unit: str, title: str) -> None:
    """Draw a quantity of validation and of training against the step, on a logarithmic axis.

    Args:
        ax: Where to draw.
        history: Rows of the log.
        name: ``"forces"`` draws ``forces_rmse``, ``forces_mae`` and ``train_forces_rmse``; ``"loss"`` the losses.
        unit: Of the quantity; empty for none.
        title: Of the panel.
    """
    if name == "loss":
        lines = [("valid_loss", "validation", BLUE, "o-"), ("train_loss", "training", ORANGE, "-")]
    else:
        lines = [
            (f"{name}_rmse", "RMSE, validation", BLUE, "o-"),
            (f"{name}_mae", "MAE, validation", GREEN, "s-"),
            (f"train_{name}_rmse", "RMSE, training", ORANGE, "-"),
        ]
    steps = column(history, "step")
    for key, label, colour, style in lines:
        values = column(history, key)
        shown = np.isfinite(values) & (values > 0)
        if shown.any():
            every = max(1, int(shown.sum()) // 25)  # a marker on each of hundreds of points would be a band
            (line,) = ax.plot(
                steps[shown], values[shown], style, color=colour, label=label, linewidth=1.4, markersize=4
            )
            line.set_markevery(every)
    dress(ax, title, "optimiser step", f"{_ERROR_LABELS[name]} ({unit})" if unit else _ERROR_LABELS[name])
    log_scale(ax)
    _legend(ax)


def draw_energy_parity(ax: Axes, parity: Parity) -> None:
    """Draw predicted against reference energies per atom, both relative to the mean reference."""
    row = error_rows(parity)[0]
    centre = parity.energy_ref.mean()
    reference, predicted = MILLI * (parity.energy_ref - centre), MILLI * (parity.energy_pred - centre)
    _diagonal(ax, reference, predicted)
    ax.plot(reference, predicted, "o", color=BLUE, markersize=5, alpha=0.75, markeredgewidth=0)
    dress(ax, "Energy per atom", "reference − mean (meV/atom)", "predicted − mean (meV/atom)")
    _annotate(ax, row, f"mean = {_minus(centre, '.4f')} eV/atom\n{row.size} frames")


def draw_force_parity(ax: Axes, parity: Parity) -> None:
    """Draw the density of predicted against reference force components."""
    row = error_rows(parity)[-1 if parity.stress_ref is None else -2]
    reference, predicted = parity.forces_ref.ravel(), parity.forces_pred.ravel()
    _density(ax, reference, predicted, "force components")
    dress(ax, "Force components", "reference (eV/Å)", "predicted (eV/Å)")
    _annotate(ax, row, f"{row.size} components")


def draw_stress_parity(ax: Axes, parity: Parity) -> None:
    """Draw predicted against reference stress components; the parity needs stresses."""
    assert parity.stress_ref is not None and parity.stress_pred is not None
    row = error_rows(parity)[-1]
    reference, predicted = MILLI * parity.stress_ref.ravel(), MILLI * parity.stress_pred.ravel()
    _diagonal(ax, reference, predicted)
    ax.plot(reference, predicted, "o", color=BLUE, markersize=3.5, alpha=0.6, markeredgewidth=0)
    dress(ax, "Stress components", "reference (meV/Å³)", "predicted (meV/Å³)")
    _annotate(ax, row, f"{row.size} components")


def draw_error_histogram(ax: Axes, parity: Parity) -> None:
    """Draw how the errors of force components are spread, one line per element, on a logarithmic axis."""
    error = MILLI * (parity.forces_pred - parity.forces_ref)
    reach = max(float(np.quantile(np.abs(error), 0.9995)), 1e-6)
    edges = np.linspace(-reach, reach, 61)
    for colour, row, number in zip(_cycle(), force_error_rows(parity), np.unique(parity.species), strict=False):
        counts, _ = np.histogram(error[parity.species == number], edges)
        share = counts / (row.size * np.diff(edges))
        ax.stairs(share, edges, color=colour, linewidth=1.6, label=f"{row.label}, {row.size // 3} atoms")
    dress(ax, "Errors of force components", "predicted − reference (meV/Å)", "density (Å/meV)")
    log_scale(ax)
    _legend(ax)


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
    _legend(ax, loc="lower right")


def draw_rdf(ax: Axes, rdf: RadialDistribution, *, legend: bool = True) -> None:
    """Draw g(r) of dynamics over that of the reference; bonds, which are much taller, go into an inset."""
    _rdf_lines(ax, rdf)
    dress(ax, f"g(r), {rdf.pair.replace('-', '–')}", "r (Å)", "g(r)")
    highest = np.fmax(rdf.g_md, rdf.g_ref)
    tall = np.flatnonzero(highest > _TALL)
    ax.set_xlim(0, rdf.r[-1])
    ax.set_ylim(bottom=0)
    if legend:
        _legend(ax, loc="lower right")
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
    dress(ax, "Energies at constant energy", f"time ({unit})", "change since the start (meV/atom)")
    _leave_room(ax)
    _legend(ax, loc="upper center", ncols=3)


def draw_total_energy(ax: Axes, dynamics: Dynamics) -> None:
    """Draw the total energy per atom alone, magnified, with its straight line."""
    time, unit = readable_time(dynamics)
    change = MILLI * (dynamics.total_energy - dynamics.total_energy[0]) / dynamics.num_atoms
    ax.plot(*_thinned(time, change), color=BLUE, linewidth=1.0, label="total energy")
    drift = energy_drift(dynamics)
    if drift is not None:
        since_middle = (dynamics.time - dynamics.time.mean()) / FS_PER_PS
        line = drift.slope * since_middle + change[np.isfinite(change)].mean()
        label = f"drift {_minus(drift.slope, '+.3g')} meV/atom/ps"
        ax.plot(time[[0, -1]], line[[0, -1]], "--", color=INK, linewidth=1.3, label=label)
    dress(ax, "Total energy, magnified", f"time ({unit})", "change since the start (meV/atom)")
    _leave_room(ax)
    _legend(ax, loc="upper left")


def draw_temperature(ax: Axes, dynamics: Dynamics) -> None:
    """Draw the temperature against time with its mean."""
    time, unit = readable_time(dynamics)
    mean = float(np.nanmean(dynamics.temperature))
    ax.plot(*_thinned(time, dynamics.temperature), color=PURPLE, linewidth=1.0)
    ax.axhline(mean, color=INK, linewidth=1.2, linestyle="--", label=f"mean {mean:.0f} K")
    dress(ax, "Temperature", f"time ({unit})", "temperature (K)")
    _legend(ax, loc="best")


def readable_time(dynamics: Dynamics) -> tuple[NDArray[np.float64], str]:
    """Return the times in the unit that fits the length of the run, ``"fs"`` or ``"ps"``."""
    return (dynamics.time, "fs") if dynamics.time[-1] < _SHORT else (dynamics.time / FS_PER_PS, "ps")


def log_scale(ax: Axes) -> None:
    """Make the y axis logarithmic with plain numbers; 2 and 5 are labelled too where that leaves room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_yscale("log")
    low, high = ax.get_ylim()
    plain = FuncFormatter(lambda value, _: _minus(value, "g").replace("e−0", "e−"))
    ax.yaxis.set_major_formatter(plain)
    is_short = high / low < 500
    ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5) if is_short else tuple(range(2, 10))))
    ax.yaxis.set_minor_formatter(plain if is_short else NullFormatter())
    ax.grid(True, which="minor", color="#eef1f4", linewidth=0.5)


def column(history: Sequence[Mapping[str, Any]], key: str) -> NDArray[np.float64]:
    """Return a column of the log, NaN where a row has no such value."""
    values = [row.get(key) for row in history]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _rdf_lines(ax: Axes, rdf: RadialDistribution) -> None:
    ax.fill_between(rdf.r, rdf.g_ref, color="#c9d1d9", linewidth=0, label="reference frames")
    ax.plot(rdf.r, rdf.g_ref, color=FAINT, linewidth=0.8)
    ax.plot(rdf.r, rdf.g_md, color=BLUE, linewidth=1.7, label="model dynamics")


def _density(ax: Axes, reference: NDArray[np.float64], predicted: NDArray[np.float64], what: str) -> None:
    low, high = _diagonal(ax, reference, predicted)
    extent = (low, high, low, high)
    drawn = ax.hexbin(reference, predicted, gridsize=70, extent=extent, bins="log", mincnt=1, linewidths=0.1)
    bar = ax.figure.colorbar(drawn, ax=ax, shrink=0.85, pad=0.02)
    bar.set_label(f"{what} in a cell", fontsize=9, color=INK)
    bar.ax.tick_params(labelsize=8, colors=INK)


def _diagonal(ax: Axes, reference: NDArray[np.float64], predicted: NDArray[np.float64]) -> tuple[float, float]:
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


def _annotate(ax: Axes, row: ErrorRow, last: str) -> None:
    numbers = (("MAE", row.mae), ("RMSE", row.rmse), ("std of reference", row.spread))
    text = "\n".join([*(f"{name} = {value:.3g} {row.unit}" for name, value in numbers), last])
    box = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": "#d8dee4", "alpha": 0.9}
    ax.text(0.03, 0.97, text, transform=ax.transAxes, va="top", fontsize=9, linespacing=1.35, color=INK, bbox=box)


def _legend(ax: Axes, loc: Any = "best", ncols: int = 1) -> None:
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=9, framealpha=0.9, edgecolor="#d8dee4", labelcolor=INK, loc=loc, ncols=ncols)


def _leave_room(ax: Axes) -> None:
    """Raise the upper end of the y axis, so that a legend there covers nothing."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.3 * (high - low))


def _thinned(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    every = max(1, len(x) // _MOST_POINTS)
    return x[::every], y[::every]


def _minus(value: float, form: str) -> str:
    return format(value, form).replace("-", "−")


def _cycle() -> list[str]:
    return list(_SERIES) * 20
