"""The ``irrepnet`` command: parses arguments, runs one command, and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import irrepnet
from irrepnet import errors
from irrepnet.cli import check_equivariance, doctor, evaluate, train

__all__ = ["build_parser", "main"]

_BAD_INPUT, _NOT_FINITE, _INTERRUPTED = 2, 3, 130

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

_EPILOG = """\
exit codes: 0 done; 1 a check failed; 2 bad input or configuration; 3 a NaN or an absurd force;
            130 interrupted (SIGINT), 143 (SIGTERM), 138 (SIGUSR1): the state is saved, go on with --resume

example:    irrepnet train water.yaml --out runs/water --set training.minutes=10
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
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"irrepnet {irrepnet.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (train, evaluate, check_equivariance, doctor):
        command.add_parser(commands)
    return parser


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
    except _EXPECTED as error:
        return _fail(error, _BAD_INPUT)
    except KeyboardInterrupt:
        return _fail("interrupted", _INTERRUPTED)


def _fail(error: BaseException | str, code: int) -> int:
    sys.stdout.flush()
    print(error, file=sys.stderr)
    return code
