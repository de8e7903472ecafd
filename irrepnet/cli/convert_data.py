"""``irrepnet convert-data``: any data that can be read, as one file in eV and Å."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from irrepnet.cli.data_file import add_reading_option, read_data

if TYPE_CHECKING:
    from irrepnet.data.frame import Frame

__all__ = ["add_parser", "run"]

_PARTS = ("train", "valid", "test")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "convert-data",
        help="write data to npz, extxyz or HDF5, with lists of ids to split them",
        description="Read DATA and write it to one file in eV and Å. HDF5 is for sets that are larger than memory. "
        "With --split, lists of ids are written beside it, for data.train_ids, data.valid_ids and data.test_ids; whole "
        "groups (trajectories) stay together where there are any.",
    )
    parser.add_argument("data", metavar="DATA", help="data file or folder, set:NAME, or package:water_xtb/train.npz")
    parser.add_argument("out", metavar="OUT", help="file to write: .h5, .npz, .extxyz or .xyz; by the end of its name")
    parser.add_argument(
        "--split", metavar="A,B[,C]", help="shares of training, validation and test frames, such as 0.8,0.1,0.1"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draw of --split (0)")
    add_reading_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from irrepnet.cli.frame_notes import FrameNotes
    from irrepnet.cli.output_file import output_file
    from irrepnet.cli.progress import with_progress
    from irrepnet.data.split import write_ids
    from irrepnet.data.write_frames import frames_format, write_frames

    out = output_file(arguments.out, "OUT", example="data.h5", inputs=(arguments.data,))
    frames_format(out)
    shares = None if arguments.split is None else _shares(arguments.split)
    frames = read_data(arguments.data, arguments.overrides, command="convert-data")
    print(f"{arguments.data}: {len(frames)} frames")
    parts = {} if shares is None else _split(frames, shares, arguments.seed)

    found = FrameNotes()
    write_frames(with_progress(found.watch(frames), "writing", len(frames)), out)
    print(f"{found.num_atoms} atoms; labels: {', '.join(found.labels) or 'none'}")
    print(f"\nwritten: {out}{found.reading_hint(out.suffix)}")
    for part, ids in parts.items():
        file = out.with_name(f"{out.stem}_{part}.ids")
        write_ids(file, ids, comment=f"{part} frames of {out.name}: {arguments.split}, seed {arguments.seed}")
        print(f"written: {file}, {len(ids)} frames; in a configuration: data.{part}_ids: {file}")
    return 0


def _shares(text: str) -> tuple[float, ...]:
    """Read shares of two or three parts."""
    from irrepnet.errors import ConfigError

    try:
        shares = tuple(float(share) for share in text.split(","))
    except ValueError:
        shares = ()
    if len(shares) not in (2, 3) or not all(share > 0 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(
            f"--split needs two or three shares above 0 that add up to 1; found {text!r}; write for example 0.8,0.1,0.1"
        )
    return shares


def _split(frames: Sequence[Frame], shares: Sequence[float], seed: int) -> dict[str, list[str]]:
    """Return the ids of each part: by groups where every frame has one and there are enough, else by frames."""
    from irrepnet.data.frame import Frame
    from irrepnet.data.split import split_by_group
    from irrepnet.data.subset import texts_of
    from irrepnet.errors import DataError

    ids = [str(place) if name is None else name for place, name in enumerate(texts_of(frames, "id"))]
    if len(ids) < len(shares):
        raise DataError(f"--split needs at least {len(shares)} frames; found {len(ids)}")
    if twice := [name for name, count in Counter(ids).items() if count > 1]:
        raise DataError(f"--split needs an id of its own for each frame; found {twice[0]!r} twice; set data.keys.id")
    groups = texts_of(frames, "group")
    by_group = None not in groups and len(set(groups)) >= len(shares)
    print(f"split by {'groups' if by_group else 'frames'}, seed {seed}")
    # An atom in the place of each frame: a set that is larger than memory is not read for this.
    marks = [
        Frame(species=[1], pos=[[0, 0, 0]], id=name, group=group)  # type: ignore[arg-type]
        for name, group in zip(ids, groups if by_group else ids, strict=True)
    ]
    parts = split_by_group(marks, shares, seed)
    return {name: [str(mark.id) for mark in part] for name, part in zip(_PARTS, parts, strict=False)}
