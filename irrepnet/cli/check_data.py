"""``irrepnet check-data``: look at data before anything learns from them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from irrepnet.cli.data_file import add_reading_option, read_data

if TYPE_CHECKING:
    from irrepnet.data.frame import Frame
    from irrepnet.data.oddity import Oddity

__all__ = ["add_parser", "run"]

_MOST_NAMED = 10  # frames in a sentence
_MOST_FRAMES = 2000  # of which the tables are; all are checked


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "check-data",
        help="look at data: labels, units, outliers, copies, leaks",
        description="Read DATA as a training would, say what it holds and what looks odd, and what to do about it. "
        "Exit code 2 if a training would refuse it.",
    )
    parser.add_argument("data", metavar="DATA", help="data file or folder, set:NAME, or package:water_xtb/train.npz")
    parser.add_argument(
        "--against",
        metavar="TRAIN",
        help="data that are learned from, read in the same way: frames of DATA that are among them, too, are found",
    )
    parser.add_argument("--html", metavar="FILE", help="also write a page with histograms to FILE")
    parser.add_argument("--strict", action="store_true", help="exit code 1 if something looks odd")
    add_reading_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from irrepnet.cli.data_summary import finding_lines, summary_lines
    from irrepnet.cli.output_file import output_file
    from irrepnet.data.leaks import find_leaks
    from irrepnet.data.oddity import Oddity
    from irrepnet.data.subset import take_frames
    from irrepnet.data.validation import find_oddities
    from irrepnet.errors import DataError
    from irrepnet.report.data_report import describe_frames, write_data_report

    page = None
    if arguments.html is not None:
        inputs = tuple(path for path in (arguments.data, arguments.against) if path)
        page = output_file(arguments.html, "--html", example="data.html", inputs=inputs)
    frames = read_data(arguments.data, arguments.overrides, command="check-data")
    others = arguments.against and read_data(arguments.against, arguments.overrides, command="check-data")
    _refuse_unusable(frames)
    findings = find_oddities(frames)
    if others:
        _refuse_unusable(others)
        findings += [Oddity("leak", arguments.data, 0.0, "", sentence) for sentence in find_leaks(others, frames)]
    incomplete = _incomplete_labels(frames)
    findings += [*incomplete, *_no_labels(frames)]
    step = -(-len(frames) // _MOST_FRAMES)
    shown = take_frames(frames, range(0, len(frames), step))
    report = describe_frames(frames, title=arguments.data, findings=[finding.sentence for finding in findings])
    for line in (*summary_lines(shown, report, _units(arguments.data)), "", *finding_lines(findings)):
        print(line)
    if page is not None:
        write_data_report(page, report)
        print(f"\nwritten: {page}")
    if incomplete:
        raise DataError(f"{arguments.data}: {'; '.join(finding.sentence for finding in incomplete)}")
    return 1 if findings and arguments.strict else 0


def _incomplete_labels(frames: Sequence[Frame]) -> list[Oddity]:
    """Return energies and forces that some frames have and some have not: a training refuses these."""
    from irrepnet.data.oddity import Oddity

    # Of isolated atoms a training takes the energies alone, and there are no forces to know.
    molecules = [frame for frame in frames if len(frame) > 1 or frame.pbc.any() or frame.energy is None]
    found = []
    for label in ("energy", "forces"):
        without = [frame.source for frame in molecules if getattr(frame, label) is None]
        if without and len(without) < len(molecules):
            named = ", ".join(without[:_MOST_NAMED]) + (", ..." if len(without) > _MOST_NAMED else "")
            sentence = (
                f"{len(without)} of {len(frames)} frames lack {label} ({named}): leave them out, or train with "
                f"training.loss.{label}: 0"
            )
            found.append(Oddity("unlabelled", without[0], len(without), "", sentence))
    return found


def _no_labels(frames: Sequence[Frame]) -> list[Oddity]:
    """Return a finding where no frame has anything to learn from."""
    from irrepnet.data.oddity import Oddity

    if any(
        frame.energy is not None or frame.forces is not None or frame.properties or frame.atom_properties
        for frame in frames
    ):
        return []
    sentence = f"none of {len(frames)} frames has an energy, forces or a property: there is nothing to learn from"
    return [Oddity("unlabelled", frames[0].source, 0.0, "", sentence)]


def _refuse_unusable(frames: Sequence[Frame]) -> None:
    """Raise with the first frame that cannot be used, and how many more there are."""
    from irrepnet.data.validation import check_frames
    from irrepnet.errors import DataError

    try:
        check_frames(frames, require=())
    except DataError as first:
        more = -1
        for frame in frames:
            try:
                check_frames([frame], require=())
            except DataError:
                more += 1
        if more < 1:
            raise
        raise DataError(f"{first} (and {more} more of {len(frames)} frames cannot be used)") from first


def _units(path: str) -> Mapping[str, str]:
    """Return the units of the properties of a registered data set; those of a file are not said."""
    from irrepnet.data.sets.registry import find_set

    return find_set(path)[0].units if path.startswith("set:") else {}
