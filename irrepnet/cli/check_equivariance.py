"""``irrepnet check-equivariance``: does a model rotate, reflect, translate and permute as it promises?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from irrepnet.cli.data_file import add_reading_option, read_data

__all__ = ["add_parser", "run"]


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "check-equivariance",
        help="check a model's symmetries, forces and stress",
        description="Check a model under rotation, inversion, translation and permutation in float64 and float32, and "
        "its forces and stress against finite differences. Exit code 1 if a check fails.",
    )
    parser.add_argument("model", metavar="MODEL", help="model file, DIR/best.model")
    parser.add_argument(
        "--data", metavar="FILE", help="check on the first frame of FILE (default: an example structure)"
    )
    add_reading_option(parser)
    parser.add_argument("--trials", type=int, default=10, metavar="N", help="random transformations of each kind (10)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from irrepnet.cli.checks import RATTLE, check_model, example_frame, format_checks
    from irrepnet.data.validation import check_frames
    from irrepnet.deploy.committee_file import SUFFIX
    from irrepnet.errors import ConfigError
    from irrepnet.models.checkpoint import load_model
    from irrepnet.models.force_field import ForceField
    from irrepnet.models.registry import kind_of

    if arguments.data is None and arguments.overrides:
        raise ConfigError("--set says how to read --data FILE; found no --data; add it, or leave --set out")
    if Path(arguments.model).suffix == SUFFIX:
        raise ConfigError(
            f"{arguments.model}: check-equivariance needs one model file; found a committee; check its members, which "
            f"irrepnet info {arguments.model} names"
        )
    model: Any = load_model(arguments.model)
    if not isinstance(model, ForceField):
        raise ConfigError(
            f"{arguments.model}: check-equivariance needs a force field; found a {kind_of(model)} model; check it in "
            "Python with irrepnet.testing.assert_equivariant"
        )
    if arguments.data is None:
        frame = example_frame(model)
    else:
        frame = read_data(arguments.data, arguments.overrides, command="check-equivariance")[0]
        check_frames([frame], require=(), known_species=model.atomic_numbers)
    checks = check_model(model, frame, trials=arguments.trials)
    print(
        f"{arguments.model} on {frame.source}, {len(frame)} atoms, each moved by about {RATTLE} Å; "
        f"{arguments.trials} trials of each kind\n"
    )
    print(format_checks(checks))
    failed = sum(not check.passed for check in checks)
    print(f"\n{failed} of {len(checks)} checks failed" if failed else f"\nall {len(checks)} checks passed")
    return 1 if failed else 0
