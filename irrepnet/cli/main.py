"""The ``irrepnet`` command: parses arguments, runs one command, and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import irrepnet
from irrepnet import errors
from irrepnet.cli import (
    check_data,
    check_equivariance,
    committee,
    convert_data,
    doctor,
    download,
    evaluate,
    info,
    init,
    predict,
    report,
    study,
    train,
)

__all__ = ["build_parser", "main"]

_BAD_INPUT, _NOT_FINITE, _RANK_LOST, _INTERRUPTED = 2, 3, 4, 130

# Errors whose message is written for the person at the keyboard; any other is a fault of ours and shows its traceback.
_EXPECTED = (
    errors.BackendError,
    errors.CheckpointError,
    errors.ConfigError,
    errors.DataError,
    errors.DtypeError,
    errors.IrrepsError,
    errors.ShapeError,
    OSError,
)

# What there is to do -> the commands for it, as `irrepnet --help` lists them.
_COMMANDS: dict[str, tuple[ModuleType, ...]] = {
    "begin": (init, download, check_data, convert_data),
    "train": (train, report, study, committee),
    "use a model": (info, evaluate, predict, check_equivariance),
    "this machine": (doctor,),
}

_EPILOG = """
exit codes: 0 done; 1 a check failed; 2 bad input or configuration; 3 a NaN or an absurd force; 4 another rank was lost;
            130 interrupted (SIGINT), 143 (SIGTERM), 138 (SIGUSR1): the state is saved, go on with --resume

example:    irrepnet init water
            irrepnet train water.yaml --out runs/water --set training.minutes=10
            irrepnet eval runs/water/best.model package:water_xtb/heldout.npz
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; importing torch is left to the commands.

    Example:
        >>> build_parser().parse_args(["eval", "best.model", "test.npz"]).data
        'test.npz'
    """
    parser = argparse.ArgumentParser(
        prog="irrepnet",
        description=irrepnet.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"irrepnet {irrepnet.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, help="one of those below")
    listing = []
    for heading, members in _COMMANDS.items():
        group = _Group(commands)
        for command in members:
            command.add_parser(group)
        listing.append(f"{heading}:\n{group.listing}")
    parser.epilog = "\n".join([*listing, _EPILOG])
    return parser


class _Group:
    """Stands before argparse's commands and keeps the line of help of each: argparse would list them without groups."""

    def __init__(self, commands: Any) -> None:
        self._commands = commands
        self.listing = ""

    def add_parser(self, name: str, *, help: str, **settings: Any) -> Any:
        self.listing += f"  {name:<19}{help}\n"
        return self._commands.add_parser(name, **settings)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        argv: The arguments without the program's name; None: those of the process.

    Returns:
        The exit code, as the help says.
    """
    arguments = build_parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except errors.NonFiniteError as error:
        return _fail(error, _NOT_FINITE)
    except BrokenPipeError:  # the reader of our output left (`| head`): nobody is there to be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except errors.RankError as error:
        return _fail(error, _RANK_LOST)
    except _EXPECTED as error:
        return _fail(error, _BAD_INPUT)
    except KeyboardInterrupt:
        return _fail("interrupted", _INTERRUPTED)


def _fail(error: BaseException | str, code: int) -> int:
    sys.stdout.flush()
    print(error, file=sys.stderr)
    return code
