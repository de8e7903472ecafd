"""One page, ``report.html``, that says how a model learned, how well it predicts and whether it keeps its promises."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from irrepnet.models.checkpoint import write_atomic
from irrepnet.report import figures
from irrepnet.report.data import Dynamics, RadialDistribution, ReportData
from irrepnet.report.key_numbers import FS_PER_PS, energy_drift, error_rows, force_error_rows
from irrepnet.report.page import (
    Html,
    badge,
    document,
    figure,
    heading,
    navigation,
    paragraph,
    preformatted,
    section,
    table,
    tiles,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["render_report", "write_report"]

_SECTIONS = {
    "glance": "At a glance",
    "errors": "Errors on the test frames",
    "learning": "Learning curves",
    "rdfs": "Radial distribution functions",
    "dynamics": "Dynamics at constant energy",
    "checks": "Checks",
    "configuration": "Configuration",
    "software": "Software",
}
_NOTHING = "–"


def write_report(path: str | os.PathLike[str], data: ReportData) -> None:
    """Write the page, atomically: a reader sees the old page or the new one.

    Args:
        path: The file, ``report.html`` by custom; its folder must exist.
        data: What to show; what is missing is said to be missing.

    Raises:
        FileNotFoundError: If the folder does not exist.
        OSError: If the file cannot be written.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_report(f"{folder}/report.html", ReportData("Water"))
        ...     "<h1>Water</h1>" in pathlib.Path(folder, "report.html").read_text(encoding="utf-8")
        True
    """
    write_atomic(path, render_report(data).encode())


def render_report(data: ReportData) -> str:
    """Return the page as one HTML text that refers to nothing outside itself.

    Example:
        >>> page = render_report(ReportData("O & H"))
        >>> "<title>O &amp; H</title>" in page, "http://" in page
        (True, False)
    """
    return document(
        data.title,
        heading(data.title),
        paragraph(data.summary),
        navigation(_SECTIONS),
        section("glance", _SECTIONS["glance"], *_glance(data)),
        section("errors", _SECTIONS["errors"], *_errors(data)),
        section("learning", _SECTIONS["learning"], *_learning(data)),
        section("rdfs", _SECTIONS["rdfs"], *_rdfs(data)),
        section("dynamics", _SECTIONS["dynamics"], *_dynamics(data)),
        section("checks", _SECTIONS["checks"], *_checks(data)),
        section("configuration", _SECTIONS["configuration"], *_configuration(data)),
        section("software", _SECTIONS["software"], *_software(data)),
    )


def _glance(data: ReportData) -> Iterator[Html]:
    """Verdicts in words first, then the numbers."""
    if data.checks:
        failed = [check.name for check in data.checks if not check.passed]
        words = f"{len(failed)} of {len(data.checks)} FAILED: {', '.join(failed)}"
        yield _verdict("Checks", not failed, words if failed else f"all {len(data.checks)} passed")
    else:
        yield _absent(data, "checks", "No checks were made")
    dynamics = data.dynamics
    if dynamics is None:
        yield _absent(data, "dynamics", "No dynamics was run")
    elif dynamics.stopped is not None:
        yield _verdict("Dynamics", False, f"STOPPED by the guard {_reached(dynamics)}: {dynamics.stopped}")
    else:
        yield _verdict("Dynamics", True, f"completed, {_reached(dynamics)}")
    yield tiles(_key_numbers(data))


def _key_numbers(data: ReportData) -> Iterator[tuple[str, str, str, str]]:
    for row in [] if data.parity is None else error_rows(data.parity):
        share = "" if np.isnan(row.share) else f"{100 * row.share:.1f} % of the spread of the reference; "
        yield f"{row.label.capitalize()}, RMSE", f"{row.rmse:.3g}", row.unit, f"{share}MAE {row.mae:.3g} {row.unit}"
    if data.history:
        last = data.history[-1]
        best = min(data.history, key=lambda row: np.inf if row.get("valid_loss") is None else row["valid_loss"])
        steps, seconds = last.get("step"), last.get("seconds")
        minutes = _NOTHING if seconds is None else f"{seconds / 60:.1f}"
        yield "Training", minutes, "min", f"{steps} steps; lowest validation loss at step {best.get('step')}"
    drift = None if data.dynamics is None else energy_drift(data.dynamics)
    if data.dynamics is not None and drift is not None:
        yield (
            "Energy drift",
            f"{drift.slope:+.2g}".replace("-", "−"),
            "meV/atom/ps",
            f"total energy; about that line ± {drift.fluctuation:.2g} meV/atom",
        )
        mean, deviation = np.nanmean(data.dynamics.temperature), np.nanstd(data.dynamics.temperature)
        yield "Mean temperature", f"{mean:.0f}", "K", f"± {deviation:.0f} K in time"


def _errors(data: ReportData) -> Iterator[Html]:
    parity = data.parity
    if parity is None:
        yield _absent(data, "parity", "No frames were tested")
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
                f"{row.mae:.2f}",
                f"{row.rmse:.2f}",
                f"{row.spread:.2f}",
                _NOTHING if np.isnan(row.share) else f"{100 * row.share:.1f} %",
                str(row.size),
            ]
            for row in [*rows, *(by_element if len(by_element) > 1 else [])]
        ),
        numbers=range(2, 7),
    )
    if parity.stress_ref is None:
        yield paragraph("Stress: the test frames have no stress labels, so it was not compared.", soft=True)
    if rows:
        caption = "Predictions against reference; on the grey line they would be perfect. Energies are per atom."
        yield _picture(figures.parity_figure, data, "Parity plots of energy and forces", caption)
    if len(parity.species):
        caption = "Left: errors of one force component by element. Right: their distribution, on a logarithmic axis."
        yield _picture(figures.force_error_figure, data, "Force errors by element", caption)


def _learning(data: ReportData) -> Iterator[Html]:
    if not data.history:
        yield _absent(data, "history", "There is no training history")
        return
    caption = (
        "Errors and loss on validation frames with averaged weights, and on training frames with the weights of the "
        "moment; learning rate; wall time of training including validation. Logarithmic axes but for the time."
    )
    yield _picture(figures.learning_figure, data, "Learning curves", caption)


def _rdfs(data: ReportData) -> Iterator[Html]:
    if not data.rdfs:
        yield _absent(data, "rdfs", "There are no radial distribution functions")
        return
    yield _picture(
        figures.rdf_figure,
        data,
        f"Radial distribution functions {', '.join(rdf.pair for rdf in data.rdfs)}",
        "Model dynamics against the reference frames. g(r) is the density of one element around another over its mean. "
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
        yield _absent(data, "dynamics", "No dynamics was run")
        return
    if dynamics.stopped is not None:
        yield _verdict("Guard", False, f"STOPPED {_reached(dynamics)}: {dynamics.stopped}")
    if not len(dynamics.time):
        yield paragraph("It was stopped before the first step, so there is nothing to draw.")
        return
    caption = (
        f"{dynamics.num_atoms} atoms, no thermostat. Exact dynamics would keep the total energy: "
        "what moves it is the time step, rounding, or forces that are not the gradient of the energy."
    )
    yield _picture(figures.dynamics_figure, data, "Energies and temperature against time", caption)


def _checks(data: ReportData) -> Iterator[Html]:
    if not data.checks:
        yield _absent(data, "checks", "No checks were made")
        return
    yield table(
        "A check passes when what was found is at most what is allowed; where the unit says so, at least.",
        ["check", "found", "allowed", "unit", "result"],
        (
            [row.name, f"{row.value:.2g}", f"{row.tolerance:.2g}", row.unit, _result(row.passed)]
            for row in sorted(data.checks, key=lambda row: row.passed)  # what failed comes first
        ),
        numbers=(1, 2),
    )


def _configuration(data: ReportData) -> Iterator[Html]:
    if data.config:
        yield preformatted(yaml.safe_dump(_plain(data.config), sort_keys=False, allow_unicode=True))
    else:
        yield _absent(data, "configuration", "The configuration was not given")


def _software(data: ReportData) -> Iterator[Html]:
    yield paragraph(f"Backend: {data.backend or 'not given'}")
    if data.radial:
        yield paragraph(data.radial[0].upper() + data.radial[1:])
    if data.versions:
        yield table("Versions", ["package", "version"], ([name, str(each)] for name, each in data.versions.items()))


def _picture(make: Callable[[ReportData], Figure], data: ReportData, alt: str, caption: str) -> Html:
    try:
        return figure(figures.png_bytes(make(data)), alt, caption)
    except ImportError as error:  # the page is worth having without pictures, and it says what is missing
        return paragraph(f"{alt}: {error}")


def _absent(data: ReportData, part: str, what: str) -> Html:
    reason = data.missing.get(part)
    return paragraph(f"{what}: {reason}." if reason else f"{what}.", soft=True)


def _verdict(what: str, is_good: bool, words: str) -> Html:
    return paragraph(badge(is_good, "PASS" if is_good else "FAIL") + f" {what}: {words}")


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
