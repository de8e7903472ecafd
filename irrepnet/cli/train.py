"""``irrepnet train``: train a model, then test it, run molecular dynamics and write the report."""

from __future__ import annotations

import argparse

from irrepnet.errors import ConfigError

__all__ = ["add_parser", "run"]


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "train",
        help="train a model and write a report",
        description="Train a model as CONFIG says. DIR/best.model is the file that everything else takes.",
    )
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="YAML file; may be left out with --resume")
    parser.add_argument("--out", metavar="DIR", help="folder of the run")
    parser.add_argument(
        "--set",
        metavar="a.b=c",
        action="append",
        default=[],
        dest="overrides",
        help="change a key of CONFIG; repeatable",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in DIR, or start it")
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1, ...; short for --set training.device=D")
    parser.add_argument(
        "--help-config", action="store_true", help="print every key with its default and unit, and exit"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from irrepnet.train.config_file import describe_config, load_config
    from irrepnet.train.loop import train
    from irrepnet.train.run_folder import RunFolder

    if arguments.help_config:
        print(describe_config())
        return 0
    if arguments.out is None:
        raise ConfigError("train needs --out DIR, the folder of the run; found none; add for example --out runs/first")
    path, is_of_run = arguments.config, arguments.config is None
    if is_of_run:
        if not arguments.resume:
            raise ConfigError("train needs a CONFIG file; found none; see irrepnet train --help-config")
        path = RunFolder(arguments.out).config
    overrides = list(arguments.overrides)
    if arguments.device is not None:
        overrides.append(f"training.device={arguments.device}")
    config = load_config(path, overrides, is_of_run=is_of_run)
    result = train(config, arguments.out, resume=arguments.resume)
    if result.signal is not None:
        return 128 + result.signal
    if not result.is_main:  # of several ranks one does what follows
        return 0

    from irrepnet.cli.after_training import finish

    return finish(result.config or config, result)
