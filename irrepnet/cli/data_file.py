"""How the commands that take a data file read it: the option ``--set data.b=c`` and the frames."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from irrepnet.data.frame import Frame

__all__ = ["add_reading_option", "read_data"]


def add_reading_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--set`` to a command that reads a data file."""
    parser.add_argument(
        "--set",
        metavar="data.b=c",
        action="append",
        default=[],
        dest="overrides",
        help="how to read the data, as in the data section of a configuration: data.format, data.keys.forces, "
        "data.units.energy, data.train_groups or data.train_ids (the frames to take), ...",
    )


def read_data(path: str, overrides: Sequence[str], *, command: str) -> Sequence[Frame]:
    """Read the frames of a file, a folder or a data set.

    Args:
        path: Of the file or folder, or ``set:...`` or ``package:...``.
        overrides: What ``--set`` was given.
        command: Its name, for the messages.

    Raises:
        ConfigError: If an override is not of the data section or not valid.
        DataError: If the file cannot be read, or has no frames.

    Example:
        >>> len(read_data("package:water_xtb/heldout.npz", [], command="eval"))
        30
    """
    from irrepnet.errors import ConfigError, DataError
    from irrepnet.train.config import DataConfig
    from irrepnet.train.config_file import apply_overrides, parse_overrides, validate_section
    from irrepnet.train.splits import load_frames

    tree: dict[str, Any] = {"data": {"train": path}}
    changes = parse_overrides(overrides)
    for keys in changes:
        if keys[0] != "data":
            raise ConfigError(
                f"--set {'.'.join(keys)}: {command} knows the data section only; write for example data.keys.forces=F"
            )
    apply_overrides(tree, changes)
    frames = load_frames(validate_section(DataConfig, tree["data"], source="--set data"))
    if not frames:
        raise DataError(f"{path}: needed at least one frame; found none; check the file")
    return frames
