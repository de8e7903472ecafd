"""Which frames are learned from, validated on and tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from irrepnet.data.formats import read_frames
from irrepnet.data.frame import Frame
from irrepnet.data.split import select_groups, split_by_group
from irrepnet.data.validation import duplicated_frames, validate_frames
from irrepnet.errors import ConfigError, DataError
from irrepnet.train.config import DataConfig, LossConfig, RunConfig

__all__ = ["Splits", "load_frames", "load_splits", "split_frames"]


@dataclass(frozen=True, eq=False)
class Splits:
    """Frames to learn from, to validate on and to test on, and what looked odd about them.

    Args:
        train: Frames to learn from.
        valid: Frames that choose the best weights.
        test: Frames for the final evaluation; the validation frames where there is no test file.
        findings: Sentences for the user: duplicates, outliers, leaks from training to validation.

    Example:
        >>> Splits(train=[], valid=[], test=[]).findings
        ()
    """

    train: list[Frame]
    valid: list[Frame]
    test: list[Frame]
    findings: tuple[str, ...] = ()


def load_splits(config: RunConfig) -> Splits:
    """Read the files of a run, split them and check every frame.

    Args:
        config: Sections ``data``, ``training.loss`` (which labels are needed) and ``training.seed`` are used.

    Raises:
        DataError: If a file, key, unit, group or frame is not as needed; the message names it.
        ConfigError: If a group is to be learned from and validated on.

    Example:
        >>> config = RunConfig.model_validate({
        ...     "data": {"train": "package:water_xtb/heldout.npz", "valid_fraction": 0.2}, "training": {"steps": 1}})
        >>> splits = load_splits(config)
        >>> len(splits.train), len(splits.valid)
        (24, 6)
    """
    data, needed = config.data, _needed_labels(config.training.loss)
    if data.valid is None:
        train, valid = split_frames(_read(data.train, data), data, seed=config.training.seed)
    else:
        train, valid = load_frames(data), _read(data.valid, data)
    test = valid if data.test is None else _read(data.test, data)
    findings = validate_frames(train, require=needed)
    species = sorted({int(number) for frame in train for number in frame.species})
    for held_back in (valid,) if test is valid else (valid, test):
        findings += validate_frames(held_back, require=needed, known_species=species)
        findings += [
            f"{held_back[second].source} is to be held back, but is also learned from as {train[first].source}"
            for first, second in duplicated_frames(train, held_back)
        ]
    return Splits(train, valid, test, tuple(findings))


def load_frames(data: DataConfig) -> list[Frame]:
    """Read ``data.train``, or those groups of it that ``data.train_groups`` names.

    Raises:
        DataError: If the file, a key, a unit or a group is not as needed.

    Example:
        >>> len(load_frames(DataConfig(train="package:water_xtb/heldout.npz")))
        30
    """
    frames = _read(data.train, data)
    return frames if data.train_groups is None else select_groups(frames, data.train_groups)


def split_frames(frames: Sequence[Frame], data: DataConfig, *, seed: int) -> tuple[list[Frame], list[Frame]]:
    """Split frames into those to learn from and those to validate on.

    Neighbouring frames of one trajectory are nearly equal, so whole groups are held back where frames have groups.

    Args:
        frames: All frames of a file.
        data: ``train_groups``, ``valid_groups`` and, when neither is given, ``valid_fraction``.
        seed: Of the draw when only a fraction is given.

    Raises:
        ConfigError: If a named group is in both parts.
        DataError: If a named group does not exist or a part would be empty.

    Example:
        >>> frames = [Frame(species=[1], pos=[[0, 0, 0]], group=name) for name in "aabbcc"]
        >>> train, valid = split_frames(frames, DataConfig(train="-", valid_groups=("b",)), seed=0)
        >>> [frame.group for frame in train]
        ['a', 'a', 'c', 'c']
    """
    learn, hold = data.train_groups, data.valid_groups
    if learn is None and hold is None:
        train, valid = _draw(frames, data.valid_fraction, seed)
    else:
        both = sorted(set(learn or ()) & set(hold or ()))
        if both:
            raise ConfigError(f"data.train_groups and data.valid_groups need to be apart; found {both[0]!r} in both")
        named = {id(frame) for frame in select_groups(frames, [*(learn or ()), *(hold or ())])}
        rest = [frame for frame in frames if id(frame) not in named]
        train = rest if learn is None else select_groups(frames, learn)
        valid = rest if hold is None else select_groups(frames, hold)
    if not train or not valid:
        raise DataError(
            f"training and validation need at least one frame each; found {len(train)} and {len(valid)} out of "
            f"{len(frames)}; give data.valid, or other groups"
        )
    return train, valid


def _draw(frames: Sequence[Frame], fraction: float, seed: int) -> tuple[list[Frame], list[Frame]]:
    groups = {frame.group for frame in frames}
    if len(groups) > 1 and None not in groups:
        train, valid = split_by_group(frames, (1 - fraction, fraction), seed)
        return train, valid
    count = max(1, round(fraction * len(frames)))
    order = torch.randperm(len(frames), generator=torch.Generator().manual_seed(seed)).tolist()
    held = set(order[:count])
    return [f for i, f in enumerate(frames) if i not in held], [f for i, f in enumerate(frames) if i in held]


def _needed_labels(loss: LossConfig) -> tuple[str, ...]:
    return tuple(name for name in ("energy", "forces", "stress") if getattr(loss, name) > 0)


def _read(path: str, data: DataConfig) -> list[Frame]:
    return read_frames(path, format=data.format, keys=data.keys, units=data.units)
