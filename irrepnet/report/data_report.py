"""A page on a file of frames: what it holds, how its labels and distances are spread, what looks odd."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.elements import SYMBOLS
from irrepnet.data.frame import Frame
from irrepnet.data.neighborhood import neighbor_list
from irrepnet.models.checkpoint import write_atomic
from irrepnet.report.breakdown import formula
from irrepnet.report.figures import panels_figure
from irrepnet.report.page import Html, badge, document, heading, navigation, paragraph, section, table
from irrepnet.report.panels import BLUE, cycle_of_colours, dress, legend, log_scale, minus
from irrepnet.report.pieces import NOTHING, number, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["DataReport", "describe_frames", "render_data_report", "write_data_report"]

Array = NDArray[np.float64]
_MOST_FRAMES = 2000  # that are looked at, evenly over the file
_REACH = 3.0  # Å up to which nearest neighbours are looked for
_MOST_COMPOSITIONS, _MOST_PAIRS, _MOST_FINDINGS = 30, 6, 200


@dataclass(frozen=True, eq=False)
class DataReport:
    """What the page of a data set shows.

    Args:
        title: Heading: the file.
        num_frames: Frames in it.
        num_looked_at: Frames that the numbers below are of.
        compositions: Formula -> frames.
        groups: Group -> frames; empty if there are none.
        labels: Label -> frames that have it: ``energy``, ``forces``, ``stress`` and the properties.
        num_atoms: Atoms of each frame, shape ``[F]``.
        energies: Energy per atom of the frames that have one, eV/atom.
        forces: Symbol -> length of the force on each atom of that element, eV/Å.
        nearest: Pair of elements, ``"O-H"`` -> distance from each atom of the first to its nearest of the second, Å, up
            to 3 Å.
        properties: Property -> its values, all components, in the unit of the file's reader.
        findings: What looks odd, in words.

    Example:
        >>> DataReport("water.npz", 1, 1, {"H2O": 1}).findings
        ()
    """

    title: str
    num_frames: int
    num_looked_at: int
    compositions: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    num_atoms: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    energies: Array = field(default_factory=lambda: np.zeros(0))
    forces: Mapping[str, Array] = field(default_factory=dict)
    nearest: Mapping[str, Array] = field(default_factory=dict)
    properties: Mapping[str, Array] = field(default_factory=dict)
    findings: Sequence[str] = ()


def describe_frames(frames: Sequence[Frame], *, title: str, findings: Sequence[str] = ()) -> DataReport:
    """Measure what the page shows; of more than 2000 frames, 2000 evenly over the file.

    Args:
        frames: At least one.
        title: Of the page: the file.
        findings: What a check found odd.

    Example:
        >>> water = Frame(species=[8, 1, 1], pos=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], energy=-3.0)
        >>> report = describe_frames([water], title="water.npz")
        >>> report.compositions, report.energies, sorted(report.nearest)
        ({'H2O': 1}, array([-1.]), ['H-H', 'O-H'])
    """
    count = min(len(frames), _MOST_FRAMES)
    places = np.unique(np.linspace(0, len(frames) - 1, count).round().astype(int)).tolist() if len(frames) else []
    shown = [frames[place] for place in places]
    groups = Counter(frame.group for frame in shown if frame.group is not None)
    return DataReport(
        title=title,
        num_frames=len(frames),
        num_looked_at=len(shown),
        compositions=dict(Counter(formula(frame.species) for frame in shown).most_common()),
        groups=dict(groups.most_common()),
        labels=_labels(shown),
        num_atoms=np.array([len(frame) for frame in shown], dtype=np.int64),
        energies=np.array([frame.energy / len(frame) for frame in shown if frame.energy is not None and len(frame)]),
        forces=_forces(shown),
        nearest=_nearest(shown),
        properties=_properties(shown),
        findings=tuple(findings),
    )


def write_data_report(path: str | os.PathLike[str], data: DataReport) -> None:
    """Write the page of a data set, atomically.

    Args:
        path: The file; its folder must exist.
        data: What to show, from :func:`describe_frames`.

    Raises:
        FileNotFoundError: If the folder does not exist.
        OSError: If the file cannot be written.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_data_report(f"{folder}/data.html", DataReport("water.npz", 0, 0))
        ...     "<h1>water.npz</h1>" in pathlib.Path(folder, "data.html").read_text(encoding="utf-8")
        True
    """
    write_atomic(path, render_data_report(data).encode())


def render_data_report(data: DataReport) -> str:
    """Return the page of a data set as one HTML text that refers to nothing outside itself.

    Example:
        >>> "nothing odd was found" in render_data_report(DataReport("water.npz", 1, 1))
        True
    """
    sections = {"findings": "Findings", "contents": "Contents", "labels": "Labels", "distances": "Distances"}
    contents = {
        "findings": _findings(data),
        "contents": _contents(data),
        "labels": _label_figures(data),
        "distances": _distances(data),
    }
    sample = "" if data.num_looked_at == data.num_frames else f"; the numbers are of {data.num_looked_at} of them"
    return document(
        data.title,
        heading(data.title),
        paragraph(f"{data.num_frames} frames{sample}."),
        navigation(sections),
        *(section(anchor, title, *contents[anchor]) for anchor, title in sections.items()),
    )


def labels_figure(data: DataReport) -> Figure | None:
    """Return histograms of energies, forces, sizes and properties; None if there is nothing to draw.

    Example:
        >>> labels_figure(DataReport("a", 2, 2, energies=np.array([-1.0, -1.1]))).axes[0].get_xlabel()
        'energy − mean (eV/atom)'
    """
    draws = []
    if len(data.energies):
        centre = float(data.energies.mean())
        title = f"Energy per atom, mean {minus(centre, '.4f')} eV"
        changes = {"": data.energies - centre}
        draws.append(partial(_draw_histogram, values=changes, title=title, label="energy − mean (eV/atom)"))
    if data.forces:
        draws.append(
            partial(_draw_histogram, values=data.forces, title="Forces on atoms", label="length of a force (eV/Å)")
        )
    if len(np.unique(data.num_atoms)) > 1:
        draws.append(partial(_draw_histogram, values={"": data.num_atoms}, title="Sizes", label="atoms in a frame"))
    for name, values in data.properties.items():
        draws.append(partial(_draw_histogram, values={"": values}, title=name, label=f"{name} (unit of the reader)"))
    return panels_figure(draws, columns=min(3, max(2, len(draws)))) if draws else None


def distances_figure(data: DataReport) -> Figure:
    """Return histograms of nearest distances of the pairs that come nearest; the data need at least one pair.

    Example:
        >>> distances_figure(DataReport("a", 1, 1, nearest={"H-H": np.array([0.74])})).axes[0].get_xlabel()
        'distance to the nearest (Å)'
    """
    pairs = list(data.nearest)[:_MOST_PAIRS]
    draws = [
        partial(
            _draw_histogram,
            values={"": data.nearest[pair]},
            title=pair.replace("-", "–"),
            label="distance to the nearest (Å)",
        )
        for pair in pairs
    ]
    return panels_figure(draws, columns=min(3, len(draws)))


def _draw_histogram(ax: Axes, values: Mapping[str, NDArray[np.generic]], title: str, label: str) -> None:
    """Draw counts on a logarithmic axis, so that single outliers are seen; one line for each of several names."""
    everything = np.concatenate([np.asarray(part, dtype=np.float64) for part in values.values()])
    everything = everything[np.isfinite(everything)]
    low, high = float(everything.min()), float(everything.max())
    edges = np.linspace(low, high if high > low else low + 1.0, int(np.clip(np.sqrt(len(everything)) * 2, 6, 60)))
    for colour, (name, part) in zip(cycle_of_colours(), values.items(), strict=False):
        counts, _ = np.histogram(np.asarray(part, dtype=np.float64), edges)
        only = len(values) == 1
        ax.stairs(counts, edges, color=BLUE if only else colour, linewidth=1.5, fill=only, label=name or None)
    dress(ax, title, label, "count")
    log_scale(ax)
    ax.set_ylim(bottom=0.7)
    legend(ax)


def _findings(data: DataReport) -> Iterator[Html]:
    if not data.findings:
        yield paragraph(badge(True, "PASS") + " nothing odd was found")
        return
    yield table(
        f"{len(data.findings)} in all; look at each before training",
        ["what looks odd"],
        ([words] for words in data.findings[:_MOST_FINDINGS]),
    )
    if len(data.findings) > _MOST_FINDINGS:
        yield paragraph(f"and {len(data.findings) - _MOST_FINDINGS} more", soft=True)


def _contents(data: DataReport) -> Iterator[Html]:
    yield _counts(data, "formula", data.compositions)
    if data.groups:
        yield _counts(data, "group", data.groups)
    yield table(
        "Labels",
        ["label", "frames that have it", "share"],
        (
            [name, str(count), f"{100 * count / max(data.num_looked_at, 1):.1f} %"]
            for name, count in data.labels.items()
        ),
        numbers=(1, 2),
    )


def _counts(data: DataReport, what: str, counts: Mapping[str, int]) -> Html:
    rows = list(counts.items())
    caption = (
        f"Frames by {what}"
        if len(rows) <= _MOST_COMPOSITIONS
        else f"Frames by {what}: the most frequent of {len(rows)}"
    )
    return table(caption, [what, "frames"], ([name, str(n)] for name, n in rows[:_MOST_COMPOSITIONS]), numbers=(1,))


def _label_figures(data: DataReport) -> Iterator[Html]:
    if not (len(data.energies) or data.forces or data.properties):
        yield paragraph("No frame has a label.", soft=True)
        return
    rows = {"energy (eV/atom)": data.energies} if len(data.energies) else {}
    rows |= {f"force on {symbol} (eV/Å)": values for symbol, values in data.forces.items()}
    rows |= dict(data.properties)
    yield _summary("Spread of the labels", "label", rows, ".6g")
    caption = (
        "How often which value occurs, on a logarithmic axis: bars that stand alone, far from the rest, are frames "
        "to look at. A mean energy per atom that is not that of the method named by the authors is a wrong unit."
    )

    def drawn() -> Figure:
        figure = labels_figure(data)
        assert figure is not None  # there is a label
        return figure

    yield picture(drawn, "Histograms of energies, forces, sizes and properties", caption)


def _distances(data: DataReport) -> Iterator[Html]:
    if not data.nearest:
        yield paragraph(f"No two atoms are nearer than {_REACH:g} Å.", soft=True)
        return
    rows = {pair.replace("-", "–"): values for pair, values in data.nearest.items()}
    yield _summary("Distance from each atom of the first element to its nearest of the second (Å)", "pair", rows, ".3f")
    caption = (
        f"Nearest distances up to {_REACH:g} Å, of the pairs that come nearest. Distances of half an Å that are not of "
        "hydrogen are a wrong unit (bohr taken for Å) or atoms on top of each other."
    )
    alt = f"Histograms of the nearest distances of {', '.join(list(data.nearest)[:_MOST_PAIRS])}"
    yield picture(partial(distances_figure, data), alt, caption)


def _summary(caption: str, what: str, rows: Mapping[str, Array], form: str) -> Html:
    return table(
        caption,
        [what, "numbers", "mean", "standard deviation", "lowest", "highest"],
        (
            [
                name,
                str(len(values)),
                *(
                    number(float(measure(values)), form) if len(values) else NOTHING
                    for measure in (np.nanmean, np.nanstd, np.nanmin, np.nanmax)
                ),
            ]
            for name, values in rows.items()
        ),
        numbers=range(1, 6),
    )


def _labels(frames: Sequence[Frame]) -> dict[str, int]:
    names = ("energy", "forces", "stress")
    counts = {name: sum(getattr(frame, name) is not None for frame in frames) for name in names}
    extra = Counter(name for frame in frames for name in (*frame.properties, *frame.atom_properties))
    return counts | dict(extra)


def _forces(frames: Sequence[Frame]) -> dict[str, Array]:
    labelled = [frame for frame in frames if frame.forces is not None]
    if not labelled:
        return {}
    species = np.concatenate([frame.species for frame in labelled])
    lengths = np.linalg.norm(np.concatenate([frame.forces for frame in labelled if frame.forces is not None]), axis=1)
    return {SYMBOLS[number]: lengths[species == number] for number in np.unique(species)}


def _nearest(frames: Sequence[Frame]) -> dict[str, Array]:
    """Return nearest distances by pair, the pairs that come nearest first."""
    found: dict[str, list[Array]] = {}
    for frame in frames:
        if len(frame) == 0:
            continue
        edge_index, edge_shift = neighbor_list(frame.pos, frame.cell, frame.pbc, _REACH)
        src, dst = edge_index.numpy()
        vectors = frame.pos[dst] - frame.pos[src]
        if frame.cell is not None:
            vectors = vectors + edge_shift.numpy() @ frame.cell
        lengths = np.linalg.norm(vectors, axis=1)
        first, second = frame.species[dst], frame.species[src]
        for one in np.unique(frame.species):
            for two in np.unique(frame.species[frame.species <= one]):
                chosen = (first == one) & (second == two)
                nearest = np.full(len(frame), np.inf)
                np.minimum.at(nearest, dst[chosen], lengths[chosen])
                found.setdefault(f"{SYMBOLS[one]}-{SYMBOLS[two]}", []).append(nearest[np.isfinite(nearest)])
    joined = {pair: np.concatenate(parts) for pair, parts in found.items()}
    kept = {pair: values for pair, values in joined.items() if len(values)}
    return dict(sorted(kept.items(), key=lambda item: float(item[1].min())))


def _properties(frames: Sequence[Frame]) -> dict[str, Array]:
    values: dict[str, list[Array]] = {}
    for frame in frames:
        for name, value in (*frame.properties.items(), *frame.atom_properties.items()):
            values.setdefault(name, []).append(np.asarray(value, dtype=np.float64).ravel())
    joined = {name: np.concatenate(parts) for name, parts in values.items()}
    finite = {name: parts[np.isfinite(parts)] for name, parts in joined.items()}
    return {name: parts for name, parts in finite.items() if len(parts)}
