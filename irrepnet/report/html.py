"""One page, ``report.html``, that says how a model learned, how well it predicts and whether it keeps its promises."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from irrepnet.models.checkpoint import write_atomic
from irrepnet.report import figures
from irrepnet.report.data import Dynamics, RadialDistribution, ReportData
from irrepnet.report.error_sections import committee_section, errors_section, worst_section
from irrepnet.report.key_numbers import FS_PER_PS, energy_drift, error_rows
from irrepnet.report.learning import speeds
from irrepnet.report.page import (
    Html,
    badge,
    document,
    heading,
    navigation,
    paragraph,
    preformatted,
    section,
    table,
    tiles,
)
from irrepnet.report.panels import three_digits
from irrepnet.report.pieces import NOTHING, absent, number, picture, verdict
from irrepnet.report.structure_errors import last_part
from irrepnet.report.structure_view import is_structure_view, render_structure_view
from irrepnet.report.targets import target_row

__all__ = ["render_report", "view_obstacle", "write_report"]

_SECTIONS = {
    "glance": "At a glance",
    "errors": "Errors on the {tested_on} frames",
    "worst": "Worst frames",
    "learning": "Learning curves",
    "rdfs": "Radial distribution functions",
    "dynamics": "Molecular dynamics",
    "torsions": "Torsion scans",
    "committee": "Spread of a committee",
    "checks": "Checks",
    "configuration": "Configuration",
    "software": "Software",
}

_MOST_FINDINGS = 10


def write_report(path: str | os.PathLike[str], data: ReportData) -> list[Path]:
    """Write the page, atomically: a reader sees the old page or the new one.

    Where there are structures, a second file stands beside it, ``NAME_3d.html`` for ``NAME.html``: the view in three
    dimensions, whose script alone has 4.8 MB.

    Args:
        path: The file, ``report.html`` by custom; its folder must exist.
        data: What to show; what is missing is said to be missing.

    Returns:
        The files that were written.

    Raises:
        FileNotFoundError: If the folder does not exist.
        OSError: If a file cannot be written.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_report(f"{folder}/report.html", ReportData("Water"))
        ...     "<h1>Water</h1>" in pathlib.Path(folder, "report.html").read_text(encoding="utf-8")
        True
    """
    page = Path(path)
    beside = page.with_name(f"{page.stem}_3d.html")
    obstacle = view_obstacle(page, data)
    if data.structures and obstacle is None:
        write_atomic(beside, render_structure_view(f"{data.title}: worst frames", data.structures).encode())
        write_atomic(page, render_report(data, view=beside.name).encode())
        return [page, beside]
    missing = dict(data.missing) | ({"view": obstacle} if obstacle else {})
    write_atomic(page, render_report(replace(data, missing=missing)).encode())
    if not data.structures and is_structure_view(beside):
        beside.unlink()  # of an earlier report: it shows other structures
    return [page]


def view_obstacle(path: str | os.PathLike[str], data: ReportData) -> str | None:
    """Return why the view in three dimensions cannot be written beside a page; None where it can, or none is asked for.

    Args:
        path: The page.
        data: What it is to show.

    Example:
        >>> view_obstacle("report.html", ReportData("Water")) is None
        True
    """
    if not data.structures:
        return None
    beside = Path(path).with_name(f"{Path(path).stem}_3d.html")
    if beside.exists() and not is_structure_view(beside):
        return f"{beside.name} is another file, and stays as it is; write the page under another name"
    try:
        render_structure_view("", data.structures)
    except ImportError as error:
        return str(error)
    return None


def render_report(data: ReportData, *, view: str | None = None) -> str:
    """Return the page as one HTML text that refers to nothing outside itself but the view beside it.

    Args:
        data: What to show.
        view: Name of the file with the view in three dimensions; None if there is none.

    Example:
        >>> page = render_report(ReportData("O & H"))
        >>> "<title>O &amp; H</title>" in page, "http://" in page
        (True, False)
    """
    titles = {anchor: title.format(tested_on=data.tested_on) for anchor, title in _SECTIONS.items()}
    contents = {
        "glance": _glance(data),
        "errors": errors_section(data),
        "worst": worst_section(data, view),
        "learning": _learning(data),
        "rdfs": _rdfs(data),
        "dynamics": _dynamics(data),
        "torsions": _torsions(data),
        "committee": committee_section(data),
        "checks": _checks(data),
        "configuration": _configuration(data),
        "software": _software(data),
    }
    return document(
        data.title,
        heading(data.title),
        paragraph(data.summary),
        navigation(titles),
        *(section(anchor, title, *contents[anchor]) for anchor, title in titles.items()),
    )


def _glance(data: ReportData) -> Iterator[Html]:
    """Verdicts in words first, then the numbers."""
    if data.checks:
        failed = [check.name for check in data.checks if not check.passed]
        words = f"{len(failed)} of {len(data.checks)} FAILED: {', '.join(failed)}"
        yield verdict("Checks", not failed, words if failed else f"all {len(data.checks)} passed")
    else:
        yield absent(data, "checks", "No checks were made")
    dynamics = data.dynamics
    if dynamics is None:
        yield absent(data, "dynamics", "No dynamics was run")
    elif dynamics.stopped is not None:
        yield verdict("Dynamics", False, f"STOPPED by the guard {_reached(dynamics)}: {dynamics.stopped}")
    else:
        yield verdict("Dynamics", True, f"completed, {_reached(dynamics)}")
    for finding in data.findings[:_MOST_FINDINGS]:
        yield paragraph(f"Frames: {finding}")
    if len(data.findings) > _MOST_FINDINGS:
        yield paragraph(f"Frames: and {len(data.findings) - _MOST_FINDINGS} more findings, in findings.json", soft=True)
    yield tiles(_key_numbers(data))


def _key_numbers(data: ReportData) -> Iterator[tuple[str, str, str, str]]:
    for row in [] if data.parity is None else error_rows(data.parity):
        share = "" if np.isnan(row.share) else f"{100 * row.share:.1f} % of the spread of the reference; "
        yield f"{row.label.capitalize()}, RMSE", f"{row.rmse:.3g}", row.unit, f"{share}MAE {row.mae:.3g} {row.unit}"
    for target in map(target_row, data.targets):
        share = "" if np.isnan(target.share) else f"{100 * target.share:.1f} % of the spread of the reference; "
        note = f"{share}MAE {target.mae:.3g} {target.unit}"
        yield f"{target.name}, RMSE", f"{target.rmse:.3g}", target.unit, note
    if data.history:
        last = data.history[-1]
        best = min(data.history, key=lambda row: np.inf if row.get("valid_loss") is None else row["valid_loss"])
        steps, seconds = last.get("step"), last.get("seconds")
        minutes = NOTHING if seconds is None else f"{seconds / 60:.1f}"
        yield "Training", minutes, "min", f"{steps} steps; lowest validation loss at step {best.get('step')}"
        yield from _speed(data)
    drift = None if data.dynamics is None else energy_drift(data.dynamics)
    if data.dynamics is not None and drift is not None:
        yield (
            "Energy drift",
            f"{drift.slope:+.2g}".replace("-", "−"),
            "meV/atom/ps",
            f"total energy; about that line ± {drift.fluctuation:.2g} meV/atom",
        )
    if data.dynamics is not None and len(data.dynamics.time):
        mean, deviation = np.nanmean(data.dynamics.temperature), np.nanstd(data.dynamics.temperature)
        yield "Mean temperature", f"{mean:.0f}", "K", f"± {deviation:.0f} K in time"


def _speed(data: ReportData) -> Iterator[tuple[str, str, str, str]]:
    _, rate = speeds(data.history)
    if not np.isfinite(rate).any():
        return
    typical = float(np.nanmedian(rate))
    edges = data.edges_per_step
    note = f"{three_digits(edges * typical)} edges/s; " if edges else ""
    yield "Speed of training", f"{typical:.3g}", "steps/s", f"{note}median, validation included"


def _learning(data: ReportData) -> Iterator[Html]:
    if not data.history:
        yield absent(data, "history", "There is no training history")
        return
    caption = (
        "Errors and loss on validation frames with averaged weights, and on training frames with the weights of the "
        "moment; learning rate; weights of the loss; speed. Logarithmic axes but for the speed. A validation error "
        "that rises while the training error falls is overfitting; one that still falls at the end asks for more steps."
    )
    yield picture(partial(figures.learning_figure, data), "Learning curves", caption)


def _rdfs(data: ReportData) -> Iterator[Html]:
    if not data.rdfs:
        yield absent(data, "rdfs", "There are no radial distribution functions")
        return
    yield picture(
        partial(figures.rdf_figure, data),
        f"Radial distribution functions {', '.join(rdf.pair for rdf in data.rdfs)}",
        f"Model dynamics ({_ensemble(data.dynamics)}) against the reference frames. g(r) is the density of one element "
        "around another over its mean. "
        "Few frames leave noise in both, and reference frames drawn at other temperatures have other peaks.",
    )
    yield table(
        "Highest peak of each function",
        ["pair", "reference, r (Å)", "model, r (Å)", "reference, g", "model, g", "mean |Δg|"],
        (_peak_row(rdf) for rdf in data.rdfs),
        numbers=range(1, 6),
    )


def _peak_row(rdf: RadialDistribution) -> list[str]:
    ref, model = int(np.argmax(rdf.g_ref)), int(np.argmax(rdf.g_md))
    positions = [f"{rdf.r[ref]:.2f}", f"{rdf.r[model]:.2f}"]
    return [
        rdf.pair.replace("-", "–"),
        *positions,
        f"{rdf.g_ref[ref]:.2f}",
        f"{rdf.g_md[model]:.2f}",
        f"{_mean_difference(rdf):.3f}",
    ]


def _mean_difference(rdf: RadialDistribution) -> float:
    return float(np.abs(rdf.g_md - rdf.g_ref).mean())


def _dynamics(data: ReportData) -> Iterator[Html]:
    dynamics = data.dynamics
    if dynamics is None:
        yield absent(data, "dynamics", "No dynamics was run")
        return
    if dynamics.stopped is not None:
        yield verdict("Guard", False, f"STOPPED {_reached(dynamics)}: {dynamics.stopped}")
    if not len(dynamics.time):
        yield paragraph("It was stopped before the first step, so there is nothing to draw.")
        return
    yield paragraph(f"{dynamics.num_atoms} atoms, {_ensemble(dynamics)}, {_reached(dynamics)}.")
    if dynamics.keeps_energy:
        caption = (
            "No thermostat: exact dynamics would keep the total energy: "
            "what moves it is the time step, rounding, or forces that are not the gradient of the energy."
        )
    else:
        caption = (
            f"The thermostat is set to {number(dynamics.target_temperature, 'g')} K, which "
            "takes up and gives energy: the total energy is not meant to stay. Energies that go on falling or rising "
            "after the first picosecond are a structure that leaves what the model has learned."
        )
    yield picture(partial(figures.dynamics_figure, data), "Energies and temperature against time", caption)


def _ensemble(dynamics: Dynamics | None) -> str:
    if dynamics is None:
        return "run not shown"
    if dynamics.keeps_energy:
        return "constant energy"
    return f"thermostat at {number(dynamics.target_temperature, 'g')} K"


def _torsions(data: ReportData) -> Iterator[Html]:
    if not data.torsions:
        yield absent(data, "torsions", "No bonds were turned")
        return
    yield picture(
        partial(figures.torsion_figure, data),
        f"Energy against torsion angle of {', '.join(scan.name for scan in data.torsions)}",
        f"{last_part(data.torsions[0].source)}: one side of a bond is turned rigidly, without relaxing, from 0 to 360 "
        "degrees. The curve should be smooth and end where it began. Where crosses stand, atoms came too near for the "
        "energy to mean much. Double bonds are turned too: their barriers are high.",
    )
    yield table(
        "Highest and lowest points of each scan, against the structure as it was",
        ["bond", "highest (meV)", "at (degrees)", "lowest (meV)", "at (degrees)", "angles with a clash"],
        (
            [
                scan.name,
                number(scan.profile.max(), ".0f"),
                number(scan.angles[scan.profile.argmax()], "g"),
                number(scan.profile.min(), ".0f"),
                number(scan.angles[scan.profile.argmin()], "g"),
                f"{np.count_nonzero(scan.clash)} of {len(scan.angles)}",
            ]
            for scan in data.torsions
        ),
        numbers=range(1, 6),
    )


def _checks(data: ReportData) -> Iterator[Html]:
    if not data.checks:
        yield absent(data, "checks", "No checks were made")
        return
    yield table(
        "A check passes when what was found is at most what is allowed; where the unit says so, at least.",
        ["check", "found", "allowed", "unit", "result"],
        (
            [row.name, _measured(row.value), _measured(row.tolerance), row.unit, _result(row.passed)]
            for row in sorted(data.checks, key=lambda row: row.passed)  # what failed comes first
        ),
        numbers=(1, 2),
    )


def _measured(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2g}"


def _configuration(data: ReportData) -> Iterator[Html]:
    if data.config:
        yield preformatted(yaml.safe_dump(_plain(data.config), sort_keys=False, allow_unicode=True))
    else:
        yield absent(data, "configuration", "The configuration was not given")


def _software(data: ReportData) -> Iterator[Html]:
    yield paragraph(f"Backend: {data.backend or 'not given'}")
    if data.radial:
        yield paragraph(data.radial[0].upper() + data.radial[1:])
    if data.versions:
        yield table("Versions", ["package", "version"], ([name, str(each)] for name, each in data.versions.items()))


def _result(passed: bool) -> Html:
    return badge(passed, "passed" if passed else "FAILED")


def _reached(dynamics: Dynamics) -> str:
    end = dynamics.time[-1] / FS_PER_PS if len(dynamics.time) else 0.0
    return f"after {end:.3g} ps" if dynamics.stopped is not None else f"{end:.3g} ps"


def _plain(value: Any) -> Any:
    """Turn what a configuration may hold into what YAML writes plainly."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
