"""``irrepnet check-data``: look at data before anything learns from them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from irrepnet.cli.data_file import add_reading_option, read_data

if TYPE_CHECKING:
    from irrepnet.data.frame import Frame

__all__ = ["add_parser", "run"]

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
    from irrepnet.report.data_report import describe_frames, write_data_report

    page = None if arguments.html is None else output_file(arguments.html, "--html", example="data.html")
    frames = read_data(arguments.data, arguments.overrides, command="check-data")
    others = arguments.against and read_data(arguments.against, arguments.overrides, command="check-data")
    _refuse_unusable(frames)
    findings = find_oddities(frames)
    if others:
        _refuse_unusable(others)
        findings += [Oddity("leak", arguments.data, 0.0, "", sentence) for sentence in find_leaks(others, frames)]
    step = -(-len(frames) // _MOST_FRAMES)
    shown = take_frames(frames, range(0, len(frames), step))
    report = describe_frames(frames, title=arguments.data, findings=[finding.sentence for finding in findings])
    for line in (*summary_lines(shown, report, _units(arguments.data)), "", *finding_lines(findings)):
        print(line)
    if page is not None:
        write_data_report(page, report)
        print(f"\nwritten: {page}")
    return 1 if findings and arguments.strict else 0


def _refuse_unusable(frames: Sequence[Frame]) -> None:
    """Raise with the first frame that cannot be used, and how many more there are."""
    from irrepnet.data.validation import validate_frames
    from irrepnet.errors import DataError

    try:
        validate_frames(frames, require=())
    except DataError as first:
        more = -1
        for frame in frames:
            try:
                validate_frames([frame], require=())
            except DataError:
                more += 1
        if more < 1:
            raise
        raise DataError(f"{first} (and {more} more of {len(frames)} frames cannot be used)") from first


def _units(path: str) -> Mapping[str, str]:
    """Return the units of the properties of a registered data set; those of a file are not said."""
    from irrepnet.data.sets.registry import find_set

    return find_set(path)[0].units if path.startswith("set:") else {}
