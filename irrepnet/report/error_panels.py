"""Panels that show where a model errs: by force, by frame, by group, by size, by target, by irrep, by spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from irrepnet.report.breakdown import ForceBins, FrameErrors, GroupRow
from irrepnet.report.committee import CommitteeSpread, calibrate
from irrepnet.report.panels import (
    BLUE,
    FAINT,
    INK,
    ORANGE,
    SKY,
    VERMILLION,
    annotate,
    diagonal,
    dress,
    legend,
    log_scale,
    minus,
    plain_log_axis,
)
from irrepnet.report.targets import IrrepRow, TargetParity, target_row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "draw_calibration",
    "draw_energy_error_by_size",
    "draw_energy_error_histogram",
    "draw_error_by_force",
    "draw_errors_by_group",
    "draw_irreps",
    "draw_target_parity",
]

_LABEL_WIDTH = 0.08  # of a panel: nearer labels would cover each other
_MOST_DOTS = 3000  # points above which a parity panel shows a density


def draw_error_by_force(ax: Axes, bins: ForceBins) -> None:
    """Draw the force error against the size of the reference force, with its share of that force in words."""
    left, right = bins.mean - bins.edges[:-1], bins.edges[1:] - bins.mean
    ax.errorbar(
        bins.mean,
        bins.error,
        xerr=[left.clip(0), right.clip(0)],
        fmt="o-",
        color=BLUE,
        ecolor=SKY,
        elinewidth=3,
        markersize=5,
        linewidth=1.2,
    )
    labelled_to = -np.inf
    for x, y, share in zip(bins.mean, bins.error, bins.share, strict=True):
        if np.isfinite(share) and x - labelled_to > _LABEL_WIDTH * bins.edges[-1]:
            labelled_to = x
            words = f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"
            ax.annotate(words, (x, y), (0, 8), textcoords="offset points", ha="center", fontsize=8.5, color=INK)
    ax.set_ylim(0, 1.22 * bins.error.max() or 1.0)
    ax.set_xlim(left=0)
    dress(
        ax, "Force error by size of the force", "length of the reference force (eV/Å)", "rms error of a force (meV/Å)"
    )


def draw_energy_error_histogram(ax: Axes, frames: Sequence[FrameErrors]) -> None:
    """Draw how many frames have which error of the energy per atom."""
    errors = np.array([frame.energy_error for frame in frames])
    errors = errors[np.isfinite(errors)]
    num_bins = int(np.clip(np.sqrt(len(errors)) * 2, 5, 41))
    ax.hist(errors, bins=num_bins, color=BLUE, edgecolor="white", linewidth=0.5)
    ax.axvline(0, color=FAINT, linewidth=1)
    ax.axvline(
        errors.mean(),
        color=VERMILLION,
        linewidth=1.4,
        linestyle="--",
        label=f"mean {minus(errors.mean(), '+.2g')} meV/atom",
    )
    dress(ax, "Energy errors of the frames", "predicted − reference (meV/atom)", "frames")
    ax.set_ylim(top=1.2 * ax.get_ylim()[1])
    legend(ax, loc="upper right")


def draw_energy_error_by_size(ax: Axes, frames: Sequence[FrameErrors]) -> None:
    """Draw the error of the energy per atom of each frame against its number of atoms, with the rms at each size."""
    known = [frame for frame in frames if np.isfinite(frame.energy_error)]
    sizes = np.array([frame.num_atoms for frame in known])
    errors = np.array([frame.energy_error for frame in known])
    ax.plot(sizes, np.abs(errors), "o", color=BLUE, alpha=0.4, markersize=4, markeredgewidth=0, label="a frame")
    edges = np.unique(np.quantile(sizes, np.linspace(0, 1, 13)).round())
    place = np.searchsorted(edges, sizes, side="right")
    groups = [place == index for index in np.unique(place)]
    ax.plot(
        [sizes[group].mean() for group in groups],
        [np.sqrt(np.square(errors[group]).mean()) for group in groups],
        "s-",
        color=VERMILLION,
        linewidth=1.3,
        markersize=5,
        label="rms of frames of about this size",
    )
    dress(ax, "Energy error by size", "atoms in the frame", "|error| of the energy (meV/atom)")
    if (errors != 0).any():
        log_scale(ax)
    legend(ax)


def draw_errors_by_group(ax: Axes, kind: str, rows: Sequence[GroupRow], most: int = 15) -> None:
    """Draw the force error of each group as a bar, the largest at the top."""
    shown = list(rows[:most])
    places = [float(place) for place in range(len(shown))]
    ax.barh(places, [np.nan_to_num(row.force_rmse) for row in shown], 0.7, color=BLUE)
    for place, row in zip(places, shown, strict=True):
        share = f" ({100 * row.force_share:.1f} %)" if np.isfinite(row.force_share) else ""
        words = f" {row.force_rmse:.1f}{share}" if np.isfinite(row.force_rmse) else " no forces"
        ax.text(np.nan_to_num(row.force_rmse), place, words, va="center", fontsize=9, color=INK)
    ax.set_yticks(places, [_shortened(row.name) for row in shown])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.45 * max(np.nan_to_num(row.force_rmse) for row in shown) or 1.0)
    left_out = f", worst {most} of {len(rows)}" if len(rows) > most else ""
    dress(ax, f"Force error by {kind}{left_out}", "RMSE of a component (meV/Å); in brackets of its spread", "")
    ax.grid(False, axis="y")


def draw_target_parity(ax: Axes, target: TargetParity) -> None:
    """Draw predicted against reference values of one target, all components together."""
    row = target_row(target)
    reference, predicted = target.reference[target.known].ravel(), target.predicted[target.known].ravel()
    diagonal(ax, reference, predicted)
    if len(reference) > _MOST_DOTS:
        ax.hexbin(reference, predicted, gridsize=60, bins="log", mincnt=1, linewidths=0.1, extent=(*ax.get_xlim(),) * 2)
    else:
        ax.plot(reference, predicted, "o", color=BLUE, markersize=4, alpha=0.6, markeredgewidth=0)
    unit = f" ({target.unit})" if target.unit else ""
    what = "" if target.formula is None else ", components"
    dress(ax, f"{target.name}{what}", f"reference{unit}", f"predicted{unit}")
    share = "" if np.isnan(row.share) else f"RMSE / std = {100 * row.share:.1f} %\n"
    annotate(ax, row, f"{share}{row.size} numbers")


def draw_irreps(ax: Axes, rows: Sequence[IrrepRow]) -> None:
    """Draw for each irrep of each tensor its error as a share of its spread."""
    places = [float(place) for place in range(len(rows))]
    shares = np.array([100 * row.share for row in rows])
    ax.barh(places, np.nan_to_num(shares), 0.65, color=[ORANGE if row.irrep.startswith("0") else BLUE for row in rows])
    for place, row, share in zip(places, rows, shares, strict=True):
        words = f" {share:.1f} %" if np.isfinite(share) else " does not vary"
        ax.text(
            np.nan_to_num(share), place, f"{words}  ({row.rmse:.3g} {row.unit})", va="center", fontsize=9, color=INK
        )
    ax.set_yticks(places, [f"{row.name}, {row.irrep}" for row in rows])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.6 * np.nan_to_num(shares).max(initial=0.0) or 1.0)
    dress(ax, "Error by irrep", "RMSE over spread (%); in brackets the RMSE", "")
    ax.grid(False, axis="y")


def draw_calibration(ax: Axes, committee: CommitteeSpread) -> None:
    """Draw the actual error against the spread of a committee: all entries faint, bins on top, the ideal as a line."""
    result = calibrate(committee)
    shown = (committee.spread > 0) & (committee.error > 0)
    if shown.any():
        every = max(1, int(shown.sum()) // _MOST_DOTS)
        ax.plot(
            committee.spread[shown][::every], committee.error[shown][::every], ".", color=SKY, alpha=0.3, markersize=3
        )
    ax.plot(result.bin_spread, result.bin_error, "o-", color=BLUE, markersize=6, linewidth=1.4, label="rms in bins")
    ends = np.array([result.bin_spread.min(), result.bin_spread.max()])
    ax.plot(ends, ends, "-", color=FAINT, linewidth=1.2, label="error = spread")
    if np.isfinite(result.factor) and result.factor > 0:
        ax.plot(ends, result.factor * ends, "--", color=VERMILLION, label=f"error = {result.factor:.2f} × spread")
    plain_log_axis(ax.xaxis)
    plain_log_axis(ax.yaxis)
    dress(
        ax,
        "Spread against error",
        f"{'calibrated ' if committee.is_calibrated else ''}spread of {committee.num_models} models ({committee.unit})",
        f"error ({committee.unit})",
    )
    legend(ax, loc="upper left")


def _shortened(name: str, most: int = 24) -> str:
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-most // 2 :]}"
