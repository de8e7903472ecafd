"""A page on how errors fall with the number of training frames: variants, seeds, slopes, published numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from irrepnet.models.checkpoint import write_atomic
from irrepnet.report.arrays import check_shapes, freeze_arrays
from irrepnet.report.figures import panels_figure
from irrepnet.report.page import Html, document, heading, navigation, paragraph, preformatted, section, table
from irrepnet.report.panels import FAINT, INK, cycle_of_colours, dress, legend, minus, plain_log_axis
from irrepnet.report.pieces import NOTHING, number, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "LearningSeries",
    "PublishedError",
    "Slope",
    "StudyData",
    "StudyPanel",
    "fit_slope",
    "render_study_report",
    "write_study_report",
]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LearningSeries:
    """Errors of one variant of a model, a row for each training: equal sizes are different seeds.

    Args:
        name: Of the variant, ``"lmax 2"``.
        num_frames: Training frames, shape ``[n]``, above 0.
        errors: Shape ``[n]``, above 0, in the unit of the panel; NaN: the training failed.

    Raises:
        ShapeError: If the two differ in shape.

    Example:
        >>> LearningSeries("lmax 2", [100, 100, 200], [40.0, 44.0, 30.0]).medians()
        (array([100., 200.]), array([42., 30.]))
    """

    name: str
    num_frames: Array
    errors: Array

    def __post_init__(self) -> None:
        freeze_arrays(self, ("num_frames", "errors"))
        check_shapes(self, ("num_frames", "errors"), (self.num_frames.size,))

    @property
    def known(self) -> tuple[Array, Array]:
        """The sizes and errors of the trainings that can be drawn on logarithmic axes."""
        kept = np.isfinite(self.errors) & (self.errors > 0) & (self.num_frames > 0)
        return self.num_frames[kept], self.errors[kept]

    def medians(self) -> tuple[Array, Array]:
        """Return the different sizes, rising, and the median error over the seeds at each."""
        sizes, errors = self.known
        different = np.unique(sizes)
        return different, np.array([np.median(errors[sizes == size]) for size in different])


class PublishedError(NamedTuple):
    """A number from the literature, drawn as a horizontal line.

    Example:
        >>> PublishedError("NequIP, 950 frames", 2.8, "Batzner et al. 2022").error
        2.8
    """

    name: str
    error: float  # in the unit of the panel
    source: str = ""


@dataclass(frozen=True, eq=False)
class StudyPanel:
    """One error of all variants.

    Args:
        metric: In words, ``"forces, MAE"``.
        unit: Of the errors, ``"meV/Å"``.
        series: The variants.
        published: Numbers to compare with.

    Example:
        >>> StudyPanel("forces, MAE", "meV/Å", [LearningSeries("a", [100], [40.0])]).published
        ()
    """

    metric: str
    unit: str
    series: Sequence[LearningSeries]
    published: Sequence[PublishedError] = ()


@dataclass(frozen=True, eq=False)
class StudyData:
    """What the page of a study shows.

    Args:
        title: Heading.
        panels: One for each error that was measured.
        summary: One or two sentences: which data, which models, which budget.
        config: What was common to all trainings.
        missing: Trainings that failed -> why.

    Example:
        >>> StudyData("Ethanol", []).summary
        ''
    """

    title: str
    panels: Sequence[StudyPanel]
    summary: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


class Slope(NamedTuple):
    """A straight line through errors on logarithmic axes.

    Example:
        >>> Slope(-0.5, 0.02, 400.0).exponent
        -0.5
    """

    exponent: float  # error ~ frames ** exponent
    uncertainty: float  # standard error of the exponent; NaN for two points, through which any line goes
    at_one: float  # where the line is at one frame, in the unit of the errors


def fit_slope(series: LearningSeries) -> Slope | None:
    r"""Fit a power law to the errors of all seeds, by least squares on logarithmic axes.

    .. math:: \log e = a + b \log N

    Returns:
        The fit; None if there are fewer than two sizes.

    Example:
        >>> slope = fit_slope(LearningSeries("a", [100, 400, 1600], [40.0, 20.0, 10.0]))
        >>> round(slope.exponent, 6), round(slope.at_one, 3)
        (-0.5, 400.0)
    """
    sizes, errors = series.known
    if len(np.unique(sizes)) < 2:
        return None
    x, y = np.log(sizes), np.log(errors)
    exponent, offset = np.polyfit(x, y, 1)
    rest, freedom = y - exponent * x - offset, len(x) - 2
    variance = np.square(rest).sum() / freedom / np.square(x - x.mean()).sum() if freedom > 0 else np.nan
    return Slope(float(exponent), float(np.sqrt(variance)), float(np.exp(offset)))


def write_study_report(path: str | os.PathLike[str], data: StudyData) -> None:
    """Write the page of a study, atomically.

    Args:
        path: The file; its folder must exist.
        data: What to show.

    Raises:
        FileNotFoundError: If the folder does not exist.
        OSError: If the file cannot be written.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_study_report(f"{folder}/study.html", StudyData("Ethanol", []))
        ...     "<h1>Ethanol</h1>" in pathlib.Path(folder, "study.html").read_text(encoding="utf-8")
        True
    """
    write_atomic(path, render_study_report(data).encode())


def render_study_report(data: StudyData) -> str:
    """Return the page of a study as one HTML text that refers to nothing outside itself.

    Example:
        >>> "No errors were measured" in render_study_report(StudyData("Ethanol", []))
        True
    """
    sections = {"curves": "Learning curves", "numbers": "Numbers", "failed": "Trainings that failed", "set": "Settings"}
    contents = {"curves": _curves(data), "numbers": _numbers(data), "failed": _failed(data), "set": _settings(data)}
    return document(
        data.title,
        heading(data.title),
        paragraph(data.summary),
        navigation(sections),
        *(section(anchor, title, *contents[anchor]) for anchor, title in sections.items()),
    )


def study_figure(data: StudyData) -> Figure:
    """Return a panel for each error; the data need at least one.

    Example:
        >>> panel = StudyPanel("forces, MAE", "meV/Å", [LearningSeries("a", [100, 200], [40.0, 30.0])])
        >>> study_figure(StudyData("Ethanol", [panel])).axes[0].get_ylabel()
        'forces, MAE (meV/Å)'
    """
    draws = [partial(draw_learning_series, panel=panel) for panel in data.panels]
    return panels_figure(draws, columns=2, size=4.2)


def draw_learning_series(ax: Axes, panel: StudyPanel) -> None:
    """Draw every training as a point, the medians as a line, the fit as a dashed one, and what was published."""
    for colour, series in zip(cycle_of_colours(), panel.series, strict=False):
        sizes, errors = series.known
        if not len(sizes):
            continue
        slope = fit_slope(series)
        label = series.name if slope is None else f"{series.name}, slope {minus(slope.exponent, '.2f')}"
        ax.plot(sizes, errors, "o", color=colour, alpha=0.45, markersize=5, markeredgewidth=0)
        ax.plot(*series.medians(), "-", color=colour, linewidth=1.6, label=label)
        if slope is not None:
            ends = np.array([sizes.min(), sizes.max()])
            ax.plot(ends, slope.at_one * ends**slope.exponent, "--", color=colour, linewidth=0.9)
    for entry in panel.published:
        ax.axhline(entry.error, color=FAINT, linewidth=1.1, linestyle=":")
        ax.annotate(
            entry.name,
            (0.01, entry.error),
            (0, 2),
            xycoords=ax.get_yaxis_transform(),
            textcoords="offset points",
            fontsize=8,
            color=INK,
        )
    plain_log_axis(ax.xaxis)
    plain_log_axis(ax.yaxis)
    dress(ax, panel.metric, "training frames", f"{panel.metric} ({panel.unit})")
    legend(ax, loc="upper right")


def _curves(data: StudyData) -> Iterator[Html]:
    if not data.panels:
        yield paragraph("No errors were measured.", soft=True)
        return
    caption = (
        "Error on the test frames against the number of training frames, both axes logarithmic. Each point is one "
        "training, the line goes through the median over the seeds, the dashed line is a power law fitted to all "
        "points; the steeper, the more each new frame teaches. Dotted: published numbers, whose data and budgets may "
        "differ."
    )
    yield picture(partial(study_figure, data), "Learning curves of all variants", caption)
    yield table(
        "Fitted slopes: error is proportional to the number of frames to this power",
        ["error", "variant", "slope", "standard error", "trainings"],
        (
            [panel.metric, series.name, *_slope_cells(fit_slope(series)), str(len(series.known[0]))]
            for panel in data.panels
            for series in panel.series
        ),
        numbers=(2, 3, 4),
    )


def _slope_cells(slope: Slope | None) -> list[str]:
    return [NOTHING, NOTHING] if slope is None else [number(slope.exponent, ".3f"), number(slope.uncertainty, ".3f")]


def _numbers(data: StudyData) -> Iterator[Html]:
    for panel in data.panels:
        yield table(
            f"{panel.metric} ({panel.unit})",
            ["variant", "training frames", "median", "lowest", "highest", "seeds"],
            (row for series in panel.series for row in _size_rows(series)),
            numbers=range(1, 6),
        )
        if panel.published:
            yield table(
                f"Published: {panel.metric} ({panel.unit})",
                ["what", "error", "source"],
                ([entry.name, number(entry.error, "g"), entry.source or NOTHING] for entry in panel.published),
                numbers=(1,),
            )
    if not data.panels:
        yield paragraph("There are none.", soft=True)


def _size_rows(series: LearningSeries) -> Iterator[list[str]]:
    sizes, errors = series.known
    for size, median in zip(*series.medians(), strict=True):
        found = errors[sizes == size]
        lowest, highest = number(found.min(), ".4g"), number(found.max(), ".4g")
        yield [series.name, f"{size:g}", number(median, ".4g"), lowest, highest, str(len(found))]


def _failed(data: StudyData) -> Iterator[Html]:
    if data.missing:
        yield table(
            "They are left out above", ["training", "reason"], ([name, why] for name, why in data.missing.items())
        )
    else:
        yield paragraph("None.", soft=True)


def _settings(data: StudyData) -> Iterator[Html]:
    if data.config:
        yield preformatted(yaml.safe_dump(dict(data.config), sort_keys=False, allow_unicode=True))
    else:
        yield paragraph("They were not given.", soft=True)
