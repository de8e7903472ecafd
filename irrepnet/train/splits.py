"""Which frames are learned from, validated on and tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from irrepnet.data.formats import read_frames
from irrepnet.data.frame import Frame
from irrepnet.data.validation import validate_frames
from irrepnet.errors import ConfigError, DataError, did_you_mean
from irrepnet.train.config import DataConfig, LossConfig, RunConfig

__all__ = ["Splits", "load_splits", "split_frames"]


@dataclass(frozen=True, eq=False)
class Splits:
    """Frames to learn from, to validate on and to test on; the test frames may be the validation frames."""

    train: list[Frame]
    valid: list[Frame]
    test: list[Frame]


def load_splits(config: RunConfig) -> Splits:
    """Read the files of a run, split them and check every frame.

    Args:
        config: Sections ``data``, ``training.loss`` (which labels are needed) and ``training.seed`` are used.

    Raises:
        DataError: If a file, key, unit or frame is not as needed; the message names it.
        ConfigError: If the groups that are asked for are not there.
    """
    data, needed = config.data, _needed_labels(config.training.loss)
    frames = _read(data.train, data)
    if data.valid is None:
        train, valid = split_frames(frames, data, seed=config.training.seed)
    else:
        train = _select(frames, data.train_groups, "data.train_groups")
        valid = _read(data.valid, data)
    test = valid if data.test is None else _read(data.test, data)
    validate_frames(train, require=needed)
    species = sorted({int(number) for frame in train for number in frame.species})
    for held_back in (valid, test) if test is not valid else (valid,):
        validate_frames(held_back, require=needed, known_species=species)
    return Splits(train, valid, test)


def split_frames(frames: Sequence[Frame], data: DataConfig, *, seed: int) -> tuple[list[Frame], list[Frame]]:
    """Split frames into those to learn from and those to validate on.

    Neighbouring frames of one trajectory are nearly equal, so whole groups are held back where frames have groups.

    Args:
        frames: All frames of a file.
        data: ``train_groups``, ``valid_groups`` and ``valid_fraction``.
        seed: Of the draw when only a fraction is given.

    Raises:
        ConfigError: If a named group does not exist or is in both parts.
        DataError: If one part would be empty.
    """
    if data.valid_groups is None and data.train_groups is None:
        drawn = _draw(frames, data.valid_fraction, seed)
        train = [frame for index, frame in enumerate(frames) if index not in drawn]
        valid = [frame for index, frame in enumerate(frames) if index in drawn]
    else:
        train = _select(frames, data.train_groups, "data.train_groups", but_not=data.valid_groups)
        valid = _select(frames, data.valid_groups, "data.valid_groups", but_not=data.train_groups)
    if not train or not valid:
        raise DataError(
            f"training and validation need at least one frame each; found {len(train)} and {len(valid)} out of "
            f"{len(frames)}; give data.valid, or other groups"
        )
    return train, valid


def _draw(frames: Sequence[Frame], fraction: float, seed: int) -> set[int]:
    """Draw whole groups (or, without groups, frames) until the fraction is reached; leave at least one."""
    blocks: dict[str | int, list[int]] = {}
    for index, frame in enumerate(frames):
        blocks.setdefault(index if frame.group is None else frame.group, []).append(index)
    if len(blocks) == 1:  # a single trajectory: its last part is the furthest from the rest
        return set(range(len(frames) - max(1, round(fraction * len(frames))), len(frames)))
    order = torch.randperm(len(blocks), generator=torch.Generator().manual_seed(seed)).tolist()
    names, drawn = list(blocks), set[int]()
    for place in order[:-1]:
        if len(drawn) >= max(1, round(fraction * len(frames))):
            break
        drawn.update(blocks[names[place]])
    return drawn


def _select(
    frames: Sequence[Frame], groups: tuple[str, ...] | None, key: str, *, but_not: tuple[str, ...] | None = None
) -> list[Frame]:
    """Return the frames of some groups; without any, all frames but those of ``but_not``."""
    if groups is None:
        return [frame for frame in frames if frame.group not in (but_not or ())]
    present = sorted({frame.group for frame in frames if frame.group is not None})
    for group in groups:
        if group in (but_not or ()):
            raise ConfigError(f"data.train_groups and data.valid_groups need to be apart; found {group!r} in both")
        if group not in present:
            found = ", ".join(present[:12]) or "none (is data.keys.group set?)"
            raise ConfigError(f"{key} needs groups of the file; found {group!r}; there are: {found}.{did_you_mean(group, present)}")
    return [frame for frame in frames if frame.group in groups]


def _needed_labels(loss: LossConfig) -> tuple[str, ...]:
    return tuple(name for name in ("energy", "forces", "stress") if getattr(loss, name) > 0)


def _read(path: str, data: DataConfig) -> list[Frame]:
    return read_frames(path, format=data.format, keys=data.keys, units=data.units)
