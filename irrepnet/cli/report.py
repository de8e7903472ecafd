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
    from irrepnet.cli.output_file import output_file
    from irrepnet.errors import ConfigError
    from irrepnet.report.html import view_obstacle, write_report
    from irrepnet.report.older_run import is_older
    from irrepnet.report.run_report import PARTS, read_run
    from irrepnet.train.run_folder import RunFolder

    run = RunFolder(arguments.folder)
    out = run.report
    if arguments.out is not None or out.is_dir():
        kept = tuple(str(file) for file in Path(arguments.folder).glob("*") if file != run.report)
        out = output_file(arguments.out or str(out), "--out", example="page.html", inputs=kept)
    data = read_run(run.path)
    if is_older(run) and arguments.out is None and out.exists():
        raise ConfigError(
            f"{run.path}: needed {PARTS}, of which the page is made; found the run of an older version with its own "
            f"{out.name}, which shows more; write for example --out page.html"
        )
    obstacle = view_obstacle(out, data)
    for part in write_report(out, data):
        print(f"written: {part}")
    for name, reason in (dict(data.missing) | ({"view in three dimensions": obstacle} if obstacle else {})).items():
        print(f"  no {name}: {reason}")
    return 0
