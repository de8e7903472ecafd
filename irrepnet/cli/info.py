"""``irrepnet info``: what a model file or the folder of a run holds."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_parser", "run"]

_DATA = (".npz", ".xyz", ".extxyz", ".db", ".json", ".h5", ".hdf5")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "info",
        help="what a model file, a committee or a run folder holds",
        description="Say what a model is made of, what it knows and how good it is; of a run, how far it came. "
        "Of data: irrepnet check-data.",
    )
    parser.add_argument(
        "path", metavar="MODEL|RUN", help="model file, .committee, or the folder that irrepnet train --out made"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from irrepnet.cli.describe_committee import describe_committee
    from irrepnet.cli.describe_model import describe_model
    from irrepnet.cli.describe_run import describe_run, is_run
    from irrepnet.deploy.committee_file import SUFFIX
    from irrepnet.errors import ConfigError

    if is_run(arguments.path):
        print(describe_run(arguments.path))
        return 0
    if _is_data(arguments.path):
        raise ConfigError(
            f"{arguments.path}: info needs a model file or the folder of a run; found data; use irrepnet check-data "
            f"{arguments.path}"
        )
    folder = Path(arguments.path)
    if (folder / f"models{SUFFIX}").is_file():
        print(describe_committee(folder / f"models{SUFFIX}"))
        return 0
    runs = sorted(str(config.parent) for config in folder.glob("*/*/config.yaml"))
    if runs:
        raise ConfigError(
            f"{folder}: info needs one model or run; found the folder of a study with {len(runs)} runs, such as "
            f"{runs[0]}; its table is {folder / 'study.csv'}"
        )
    describe = describe_committee if Path(arguments.path).suffix == SUFFIX else describe_model
    print(describe(arguments.path))
    return 0


def _is_data(path: str) -> bool:
    return path.startswith(("set:", "package:")) or Path(path).suffix in _DATA or any(Path(path).glob("*/coord.npy"))
