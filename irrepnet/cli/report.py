"""``irrepnet report``: make the page of a run again from what its folder holds."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_parser", "run"]


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "report",
        help="make the report of a run again",
        description="Make the HTML page of a run from what its folder holds, also while it is being trained. Neither "
        "the model nor the data are needed.",
    )
    parser.add_argument("folder", metavar="RUN", help="folder of the run, as irrepnet train --out made it")
    parser.add_argument("--out", metavar="FILE", help="the page to write (RUN/report.html)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from irrepnet.errors import ConfigError
    from irrepnet.report.html import write_report
    from irrepnet.report.run_report import read_run
    from irrepnet.train.run_folder import RunFolder

    out = RunFolder(arguments.folder).report if arguments.out is None else Path(arguments.out)
    if out.is_dir() or (arguments.out is not None and not out.parent.is_dir()):
        found = "a folder" if out.is_dir() else f"no folder {out.parent}"
        raise ConfigError(f"--out needs a file to write; found {found}; write for example --out report.html")
    data = read_run(arguments.folder)
    for part in write_report(out, data):
        print(f"written: {part}")
    for name, reason in data.missing.items():
        print(f"  no {name}: {reason}")
    return 0
