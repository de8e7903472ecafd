"""What a set of frames holds, as tables of text: compositions, labels with units, distances, cells, findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.frame import Frame
from irrepnet.data.oddity import Oddity
from irrepnet.report.data_report import DataReport

__all__ = ["finding_lines", "summary_lines"]

Array = NDArray[np.float64]
_MOST_ROWS = 12  # of compositions, groups and pairs
_MOST_FINDINGS = 5  # of one kind
_AMU_PER_A3 = 1.66053907  # g/cm^3, CODATA 2022

# What to do about each kind of finding, beyond what its sentences say.
_ADVICE = {
    "duplicate": "copies: leave them out; one that is learned from and tested on makes a test worthless",
    "energy_outlier": "energies far from the rest: often calculations that did not converge; leave them out",
    "force_outlier": "forces far from the rest: atoms too near, or calculations that did not converge; leave them out",
    "net_force": "forces that do not add up to zero: a model's forces always do",
    "unknown_property": "labels that are not everywhere: targets are learned from where they are known",
    "length_unit": "lengths: say their unit with --set data.units.length=UNIT",
    "energy_unit": "energies: say their unit with --set data.units.energy=UNIT",
    "force_unit": "forces: say their unit with --set data.units.forces=ENERGY/LENGTH",
    "force_sign": "forces: the sign is that of gradients; turn it over in the file",
    "energy_force_ratio": "energies and forces do not belong together: say both units, --set data.units.forces=...",
    "stress_unit": "stresses: say their unit with --set data.units.stress=UNIT",
    "stress_sign": "stresses: the sign is turned; say so with a minus, --set data.units.stress=-UNIT",
    "zero_forces": "forces of zero: often labels that were never computed; leave these frames out",
    "unlabelled": "labels that a training of a force field needs; say where they are, or learn from other frames",
    "leak": "seen in training: leave these frames out of one of the two, or split by trajectory",
}


def summary_lines(frames: Sequence[Frame], report: DataReport, units: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of a page on some frames.

    Args:
        frames: Those that were looked at.
        report: What :func:`~irrepnet.report.describe_frames` measured.
        units: Unit of each property, as far as it is known.

    Example:
        >>> from irrepnet.report.data_report import describe_frames
        >>> water = Frame(species=[8, 1, 1], pos=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], energy=-3.0)
        >>> lines = list(summary_lines([water], describe_frames([water], title="water.npz"), {}))
        >>> lines[0]
        'water.npz: 1 frame of 3 atoms'
    """
    yield _headline(report)
    if report.num_looked_at < report.num_frames:
        yield f"what follows is of {report.num_looked_at} of them, evenly over all"
    yield from ("", "compositions", *_counts(report.compositions))
    if report.groups:
        yield from ("", "groups (trajectories)", *_counts(report.groups))
    yield from ("", *_labels(report, frames, units))
    if report.nearest:
        pairs = list(report.nearest.items())
        rows = {pair: values for pair, values in pairs[:_MOST_ROWS]}
        yield from ("", *_table("nearest distances up to 3 Å", rows, dict.fromkeys(rows, "Å")))
        if len(pairs) > _MOST_ROWS:
            yield f"  and {len(pairs) - _MOST_ROWS} more pairs"
    yield from ("", *_cells(frames))


def finding_lines(findings: Iterable[Oddity]) -> Iterator[str]:
    """Yield what looks odd, by kind, each with what to do.

    Example:
        >>> same = Oddity("duplicate", "b", 0.0, "Å", "a and b are the same structure")
        >>> for line in finding_lines([same]):
        ...     print(line)
        1 finding
          copies: leave them out; one that is learned from and tested on makes a test worthless
          - a and b are the same structure
    """
    kinds: dict[str, list[str]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding.sentence)
    number = sum(map(len, kinds.values()))
    if not number:
        yield "nothing odd was found"
        return
    yield f"{number} finding{'s' if number > 1 else ''}"
    for kind, sentences in kinds.items():
        yield f"  {_ADVICE.get(kind, kind.replace('_', ' '))}"
        yield from (f"  - {sentence}" for sentence in sentences[:_MOST_FINDINGS])
        if len(sentences) > _MOST_FINDINGS:
            yield f"  - and {len(sentences) - _MOST_FINDINGS} more like these"


def _headline(report: DataReport) -> str:
    sizes = report.num_atoms
    low, high = int(sizes.min()), int(sizes.max())
    atoms = f"{low} atom{'s' if high > 1 else ''}" if low == high else f"{low} to {high} atoms"
    return f"{report.title}: {report.num_frames} frame{'s' if report.num_frames > 1 else ''} of {atoms}"


def _counts(counts: Mapping[str, int]) -> Iterator[str]:
    for name, count in list(counts.items())[:_MOST_ROWS]:
        yield f"  {name:<30} {count:>8} frames"
    if len(counts) > _MOST_ROWS:
        yield f"  and {len(counts) - _MOST_ROWS} more"


def _labels(report: DataReport, frames: Sequence[Frame], units: Mapping[str, str]) -> Iterator[str]:
    rows: dict[str, Array] = {}
    row_units: dict[str, str] = {}
    if len(report.energies):
        rows["energy"], row_units["energy"] = report.energies, "eV/atom"
    for symbol, lengths in report.forces.items():
        rows[f"force on {symbol}"], row_units[f"force on {symbol}"] = lengths, "eV/Å"
    stresses = [np.trace(frame.stress) / 3 for frame in frames if frame.stress is not None]
    if stresses:
        rows["stress, mean xx yy zz"], row_units["stress, mean xx yy zz"] = np.array(stresses), "eV/Å^3"
    for name, values in report.properties.items():
        rows[name], row_units[name] = values, units.get(name, "of the file")
    known = [f"{name} in {count}" for name, count in report.labels.items() if count]
    missing = [name for name in ("energy", "forces", "stress") if not report.labels.get(name)]
    yield f"labels: {', '.join(known) or 'none'} of {report.num_looked_at} frames"
    if missing:
        yield f"  not there: {', '.join(missing)}; if the file has them: --set data.keys.{missing[0]}=NAME"
        names = frames[0].available
        yield f"  names in the file: {', '.join(names)}" if names else "  the file says no other names"
    if rows:
        yield from _table("values", rows, row_units)


def _table(title: str, rows: Mapping[str, Array], units: Mapping[str, str]) -> Iterator[str]:
    yield f"{title:<30} {'numbers':>8} {'lowest':>13} {'mean':>13} {'std':>11} {'highest':>13}  unit"
    for name, values in rows.items():
        columns = f"{values.min():>13.6g} {values.mean():>13.6g} {values.std():>11.4g} {values.max():>13.6g}"
        yield f"  {name:<28} {len(values):>8} {columns}  {units[name]}"


def _cells(frames: Sequence[Frame]) -> Iterator[str]:
    for periods in (3, 2, 1):
        cells = [frame for frame in frames if int(frame.pbc.sum()) == periods]
        if not cells:
            continue
        yield f"{len(cells)} frames with {periods} period{'s' if periods > 1 else ''}"
        if periods == 3:
            volumes = np.array([abs(np.linalg.det(np.asarray(frame.cell))) for frame in cells])
            yield f"  volume  {_span(volumes, 'Å^3')}"
            numbers = np.array([len(frame) for frame in cells]) / volumes
            yield f"  density {_span(numbers, 'atoms/Å^3')}{_mass_density(cells, volumes)}"
    is_open = sum(not frame.pbc.any() for frame in frames)
    if is_open:
        yield f"{is_open} open frames, without periods"


def _mass_density(frames: Sequence[Frame], volumes: Array) -> str:
    try:
        from ase.data import atomic_masses
    except ImportError:
        return ""  # the number of atoms tells as much
    masses = np.array([atomic_masses[frame.species].sum() for frame in frames])
    return f", {_span(masses / volumes * _AMU_PER_A3, 'g/cm^3')}"


def _span(values: Array, unit: str) -> str:
    low, high = f"{values.min():.5g}", f"{values.max():.5g}"
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"
