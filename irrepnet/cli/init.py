"""``irrepnet init``: write a configuration to begin with, every key of it explained."""

from __future__ import annotations

import argparse
import importlib.resources
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["TEMPLATES", "add_parser", "run", "template_text"]

#: Name -> what it is for, as the help lists them.
TEMPLATES = {
    "water": "a force field for liquid water, from frames that ship with irrepnet",
    "md17": "a force field for one molecule: ethanol of rMD17",
    "qm9": "properties of small molecules: QM9",
    "tensor": "dipoles and polarizabilities of water dimers",
    "finetune": "go on from a trained force field with other data",
    "mydata": "a force field from your own data, with every key explained",
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    listing = "\n".join(f"  {name:<10}{what}" for name, what in TEMPLATES.items())
    parser = commands.add_parser(
        "init",
        help="write a configuration to begin with",
        description=f"Write a commented configuration that runs as it is. A file that is there is kept.\n\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="one of the above; none: list them")
    parser.add_argument("--out", metavar="FILE", help="file to write (NAME.yaml)")
    parser.add_argument(
        "--set",
        metavar="a.b=c",
        action="append",
        default=[],
        dest="overrides",
        help="change a key, as in irrepnet train; repeatable",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from irrepnet.cli.output_file import new_file
    from irrepnet.errors import ConfigError, did_you_mean

    name = arguments.name
    if name is None:
        for each, what in TEMPLATES.items():
            print(f"{each:<10}{what}")
        return 0
    if name not in TEMPLATES:
        raise ConfigError(f"init needs one of {', '.join(TEMPLATES)}; found {name!r}.{did_you_mean(name, TEMPLATES)}")
    out = Path(f"{name}.yaml" if arguments.out is None else arguments.out).expanduser()
    new_file(out, template_text(name, out, arguments.overrides))
    print(f"written: {out}\nto train: irrepnet train {out} --out runs/{out.stem}")
    return 0


def template_text(name: str, out: Path, overrides: list[str]) -> str:
    """Return a configuration with some keys changed, for a file.

    Args:
        name: Of the template.
        out: Where it will be: relative paths among the changes are made relative to it.
        overrides: Texts ``"training.lr=0.01"``.

    Raises:
        ConfigError: If a change is not one of a configuration.

    Example:
        >>> text = template_text("water", Path("w.yaml"), ["training.minutes=60"])
        >>> next(line for line in text.splitlines() if "minutes:" in line)
        '  minutes: 60                         # or steps: 3000'
    """
    from irrepnet.cli.yaml_edit import with_changes
    from irrepnet.train.config import RunConfig
    from irrepnet.train.config_file import parse_overrides, validate_section

    plain = importlib.resources.files("irrepnet.cli").joinpath(f"templates/{name}.yaml").read_text(encoding="utf-8")
    changes = _complete(parse_overrides(overrides), out)
    text, tree = with_changes(plain.replace(f" {name}.yaml", f" {out}"), changes)
    validate_section(RunConfig, tree, source=out.name, overridden=changes)
    return text


def _complete(changes: Mapping[tuple[str, ...], Any], out: Path) -> dict[tuple[str, ...], Any]:
    """Put alternatives out of force, and make paths relative to the file."""
    from irrepnet.train.config import ALTERNATIVES, PATHS

    complete = dict(changes)
    for keys, value in changes.items():
        is_relative = isinstance(value, str) and not value.startswith(("package:", "set:", "/", "~"))
        if keys in PATHS and is_relative:
            complete[keys] = os.path.relpath(value, out.absolute().parent)
    for pair in ALTERNATIVES:
        for chosen, other in (pair, pair[::-1]):
            if changes.get(chosen) is not None:
                complete.setdefault(other, None)
    return complete
