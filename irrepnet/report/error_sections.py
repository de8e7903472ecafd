"""The sections of a report that say how large the errors are, and where."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from irrepnet.report import figures
from irrepnet.report.breakdown import force_bins, frame_errors, group_rows, worst_frames
from irrepnet.report.committee import calibrate
from irrepnet.report.data import Parity, ReportData
from irrepnet.report.key_numbers import error_rows, force_error_rows
from irrepnet.report.page import Html, link, paragraph, table
from irrepnet.report.pieces import NOTHING, absent, number, picture, share
from irrepnet.report.structure_errors import last_part
from irrepnet.report.targets import irrep_rows, target_row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["committee_section", "errors_section", "targets_section", "worst_section"]

_MOST_GROUPS = 30


def errors_section(data: ReportData) -> Iterator[Html]:
    """Yield tables and figures of the errors of a force field, or those of its targets."""
    parity = data.parity
    if parity is None:
        if not data.targets:
            yield absent(data, "parity", "No frames were tested")
        yield from targets_section(data)
        return
    rows = error_rows(parity)
    by_element = [row._replace(label=f"forces on {row.label}") for row in force_error_rows(parity)]
    yield table(
        "Spread is the standard deviation of the reference, which is the RMSE of predicting its mean.",
        ["label", "unit", "MAE", "RMSE", "spread", "RMSE / spread", "numbers compared"],
        (
            [
                row.label,
                row.unit,
                number(row.mae),
                number(row.rmse),
                number(row.spread),
                share(row.share),
                str(row.size),
            ]
            for row in [*rows, *(by_element if len(by_element) > 1 else [])]
        ),
        numbers=range(2, 7),
    )
    labels = {row.label for row in rows}
    if "stress" not in labels:
        yield paragraph("Stress: the test frames have no stress labels, so it was not compared.", soft=True)
    for label in ({"energy", "forces"} - labels) if rows else ():
        yield paragraph(
            f"{label.capitalize()}: the test frames have no such labels, so nothing was compared.", soft=True
        )
    if rows:
        caption = "Predictions against reference; on the grey line they would be perfect. Energies are per atom."
        yield picture(partial(figures.parity_figure, data), "Parity plots of energy and forces", caption)
    if "forces" in labels:
        caption = (
            "Left: errors of one force component by element. Right: their distribution, on a logarithmic axis: "
            "a narrow peak is good, long flanks are single atoms that are badly wrong."
        )
        yield picture(partial(figures.force_error_figure, data), "Force errors by element", caption)
    yield from _breakdown(data, parity)
    yield from targets_section(data)


def targets_section(data: ReportData) -> Iterator[Html]:
    """Yield tables and figures of the errors of properties and tensors."""
    if not data.targets:
        return
    yield table(
        "Errors of each target, over all its components. Spread is the standard deviation of the reference.",
        ["target", "unit", "MAE", "RMSE", "spread", "RMSE / spread", "numbers compared"],
        (
            [
                row.name,
                row.unit or NOTHING,
                *(number(value, ".4g") for value in (row.mae, row.rmse, row.spread)),
                share(row.share),
                str(row.size),
            ]
            for row in map(target_row, data.targets)
        ),
        numbers=range(2, 7),
    )
    rows = [row for target in data.targets for row in irrep_rows(target)]
    if rows:
        yield table(
            "Errors of the part of each tensor that transforms as one irrep, per component of it. Spread: of 0e, the "
            "standard deviation of the reference; of the others, whose mean over all rotations is 0, the root mean "
            "square of a component.",
            ["target", "irrep", "unit", "RMSE", "spread", "RMSE / spread"],
            (
                [
                    row.name,
                    row.irrep,
                    row.unit or NOTHING,
                    number(row.rmse, ".4g"),
                    number(row.spread, ".4g"),
                    share(row.share),
                ]
                for row in rows
            ),
            numbers=range(3, 6),
        )
    if any(target.known.any() for target in data.targets):
        caption = (
            "Predictions against reference; on the grey line they would be perfect. RMSE / std is 100 % for a model "
            "that always says the mean. Bars: the same by irrep; orange what does not turn, blue what turns with the "
            "structure."
        )
        alt = f"Parity plots of {', '.join(target.name for target in data.targets)}"
        yield picture(partial(figures.targets_figure, data), alt, caption)


def _breakdown(data: ReportData, parity: Parity) -> Iterator[Html]:
    bins, frames = force_bins(parity), frame_errors(parity)
    if not frames:
        yield paragraph("Single frames: the results do not say which atoms are of which frame.", soft=True)
    if bins is not None:
        yield table(
            "Forces by the length of the reference force: the largest are the rarest, and those that simulations "
            "break on.",
            ["reference force (eV/Å)", "atoms", "rms error (meV/Å)", "error / mean force"],
            (
                [f"{low:.2f} to {high:.2f}", str(size), number(error, ".1f"), share(part)]
                for low, high, size, error, part in zip(
                    bins.edges[:-1], bins.edges[1:], bins.size, bins.error, bins.share, strict=True
                )
            ),
            numbers=range(1, 4),
        )
    kind, rows = group_rows(parity)
    if rows:
        left_out = (
            f" The {_MOST_GROUPS} with the largest force errors of {len(rows)}." if len(rows) > _MOST_GROUPS else ""
        )
        yield table(
            f"Errors by {kind}.{left_out}",
            [kind, "frames", "energy MAE (meV/atom)", "energy RMSE (meV/atom)", "force RMSE (meV/Å)", "of spread"],
            (
                [
                    row.name,
                    str(row.num_frames),
                    number(row.energy_mae),
                    number(row.energy_rmse),
                    number(row.force_rmse),
                    share(row.force_share),
                ]
                for row in rows[:_MOST_GROUPS]
            ),
            numbers=range(1, 6),
        )
    if figures.has_breakdown(parity):
        caption = (
            "Error by size of the force: each point is a bin of atoms, its pale bar the range of their forces, the "
            "number the error as a share of the mean force; a sound model errs by a few per cent everywhere. "
            "Energy errors: a mean far from 0 is a shift between training and test. By size: an error per atom that "
            "grows with the number of atoms is no longer a local one. Only what the test frames allow is drawn."
        )
        make = partial(_drawn, data)
        yield picture(make, "Errors by size of the force, by frame, by size of the system and by group", caption)


def _drawn(data: ReportData) -> Figure:
    figure = figures.breakdown_figure(data)
    assert figure is not None  # there is something to draw
    return figure


def worst_section(data: ReportData, view: str | None) -> Iterator[Html]:
    """Yield the table of the worst frames, their picture and the way to the view in three dimensions.

    Args:
        data: What to show.
        view: Name of the file with that view, beside the report; None if there is none.
    """
    frames = [] if data.parity is None else worst_frames(data.parity)
    if frames:
        yield table(
            "The frames with the largest error of the force on an atom. Look at them first: what they have in common "
            "is what the training frames lack, or their labels are wrong.",
            [
                "frame",
                "group",
                "formula",
                "atoms",
                "energy error (meV/atom)",
                "force RMSE (meV/Å)",
                "largest force error (meV/Å)",
                "on atom",
            ],
            (
                [
                    last_part(frame.source),
                    frame.group or NOTHING,
                    frame.formula,
                    str(frame.num_atoms),
                    number(frame.energy_error, "+.2f"),
                    number(frame.force_rmse, ".1f"),
                    number(frame.largest_force_error, ".0f"),
                    f"{frame.atom} ({frame.symbol})" if np.isfinite(frame.largest_force_error) else NOTHING,
                ]
                for frame in frames
            ),
            numbers=range(3, 8),
        )
    if data.targets or not frames:
        yield _worst_of_targets(data)
    if not data.structures:
        yield absent(data, "structures", "No structures are shown")
        return
    if view is not None:
        yield paragraph(link(view, "Turn these structures with the mouse") + f" ({view}, the file beside this page).")
    else:
        yield absent(data, "view", "There is no view in three dimensions")
    caption = (
        "The worst frames. An atom's colour is the length of the error of its force, the darker the worse; the atom "
        "with the thick edge is the worst. Black arrows: reference forces, blue ones: predicted forces, as projected "
        "on the page. Of a large frame only what lies within 4 Å of the worst atom is drawn."
    )
    alt = "Structures with force errors: " + "; ".join(structure.words for structure in data.structures[:3])
    yield picture(partial(figures.structures_figure, data), alt, caption)


def _worst_of_targets(data: ReportData, most: int = 10) -> Html:
    """Return the table of the structures with the largest errors in units of the spread, over all targets."""
    found = []
    for target in data.targets:
        spread = target_row(target).spread
        if not len(target.sources) or not spread > 0:
            continue
        for index in np.flatnonzero(target.known).tolist():
            error = float(np.abs(target.predicted[index] - target.reference[index]).max())
            found.append((error / spread, target.sources[index], target.name, error, target.unit))
    if not found:
        return absent(data, "worst", "The worst frames are not known")
    worst = sorted(found, key=lambda row: -row[0])[:most]
    return table(
        "The structures with the largest error of a target, measured in standard deviations of its reference.",
        ["frame", "target", "largest error", "unit", "error / spread"],
        (
            [last_part(source), name, f"{error:.4g}", unit or NOTHING, f"{ratio:.2f}"]
            for ratio, source, name, error, unit in worst
        ),
        numbers=(2, 4),
    )


def committee_section(data: ReportData) -> Iterator[Html]:
    """Yield how well the spread of a committee foretells its errors."""
    committee = data.committee
    if committee is None:
        yield absent(data, "committee", "There is no committee of models to compare with")
        return
    result = calibrate(committee)
    if not len(result.bin_size):
        yield paragraph("No entry has both a spread and an error, so there is nothing to compare.")
        return
    if committee.is_calibrated:
        worth = (
            "Their spreads are multiplied already by the factor of the committee, which was fitted on other frames: "
            f"take them as they are. Rms error over rms spread here: {number(result.factor)} (1: honest)"
        )
    else:
        worth = f"Multiply their spread by {number(result.factor)} to have the size of the error"
    yield paragraph(
        f"{committee.num_models} models, {result.bin_size.sum()} {committee.what}. {worth}; rank correlation "
        f"{number(result.rank_correlation)} (1: the larger the spread, the larger the error; 0: the spread tells "
        "nothing)."
    )
    caption = (
        "Each point is a bin with equally many entries, pale dots are single ones; both axes are logarithmic. On the "
        "grey line the spread is the error; above it the models agree more than they are right. The dashed line is the "
        "spread times the number above."
    )
    yield picture(partial(figures.committee_figure, data), "Error against the spread of a committee", caption)
    yield table(
        f"Spread and error in bins ({committee.unit})",
        ["rms spread", "rms error", "error / spread", "entries"],
        (
            [number(one, ".3g"), number(two, ".3g"), number(two / one if one > 0 else np.nan), str(size)]
            for one, two, size in zip(result.bin_spread, result.bin_error, result.bin_size, strict=True)
        ),
        numbers=range(4),
    )
