"""Which frames are learned from, validated on and tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from irrepnet.data.elements import atomic_number
from irrepnet.data.formats import read_frames
from irrepnet.data.frame import Frame
from irrepnet.data.leaks import find_leaks
from irrepnet.data.split import read_ids, select_groups, split_by_group
from irrepnet.data.statistics import split_isolated_atoms
from irrepnet.data.subset import take_frames, texts_of
from irrepnet.data.validation import validate_frames
from irrepnet.errors import ConfigError, DataError, did_you_mean
from irrepnet.train.config import LABELS, DataConfig, RunConfig
from irrepnet.train.model_section import DEFAULT_KIND

__all__ = ["Splits", "load_frames", "load_splits", "split_frames"]

_MOST_COMPARED = 20_000  # ids among which the nearest is looked for


@dataclass(frozen=True, eq=False)
class Splits:
    """Frames to learn from, to validate on and to test on, and what looked odd about them.

    Args:
        train: Frames to learn from.
        valid: Frames that choose the best weights.
        test: Frames for the final evaluation; the validation frames where there are no others.
        findings: Sentences for the user: duplicates, outliers, leaks from training to validation.
        isolated: Energies of isolated atoms by atomic number, eV: as configured, or from frames of one atom, which are
            then not learned from.

    Example:
        >>> Splits(train=[], valid=[], test=[]).findings
        ()
    """

    train: Sequence[Frame]
    valid: Sequence[Frame]
    test: Sequence[Frame]
    findings: tuple[str, ...] = ()
    isolated: Mapping[int, float] = field(default_factory=dict)


def load_splits(config: RunConfig) -> Splits:
    """Read the files of a run, split them and check every frame.

    Args:
        config: Sections ``data``, ``model`` and ``training.loss`` (which labels are needed) and ``training.seed`` are
            used.

    Raises:
        DataError: If a file, key, unit, group, id or frame is not as needed; the message names it.
        ConfigError: If a group or frame is to be learned from and held back.

    Example:
        >>> config = RunConfig.model_validate({
        ...     "data": {"train": "package:water_xtb/heldout.npz", "valid_fraction": 0.2}, "training": {"steps": 1}})
        >>> splits = load_splits(config)
        >>> len(splits.train), len(splits.valid)
        (24, 6)
    """
    data = config.data
    seed = config.training.seed if data.split_seed is None else data.split_seed
    pool = _read(data.train, data)
    isolated, atoms = _isolated_atoms(pool, config)
    # Ids are those of the file, places too: the atoms leave afterwards.
    learn, hold, keep = (_without(places, atoms) for places in _places_by_ids(pool, data))
    train = take_frames(pool, learn or [])
    if hold is not None or data.valid is not None:
        train = train if data.train_groups is None else select_groups(train, data.train_groups)
        valid = take_frames(pool, hold) if hold is not None else _read_some(data.valid or "", data.valid_ids, data)
    else:
        train, valid = split_frames(train, data, seed=seed)
    train = _some_of(train, data.train_count, seed)
    test = valid if keep is None else take_frames(pool, keep)
    if data.test is not None:
        test = _read_some(data.test, data.test_ids, data)
    _refuse_empty(train, valid, len(pool))
    return Splits(train, valid, test, tuple(_look_at(train, valid, test, config)), isolated)


def load_frames(data: DataConfig) -> Sequence[Frame]:
    """Read ``data.train``, or those groups or ids of it that ``data.train_groups`` or ``data.train_ids`` name.

    Raises:
        DataError: If the file, a key, a unit, a group or an id is not as needed.

    Example:
        >>> len(load_frames(DataConfig(train="package:water_xtb/heldout.npz")))
        30
    """
    frames = _read_some(data.train, data.train_ids, data)
    return frames if data.train_groups is None else select_groups(frames, data.train_groups)


def split_frames(frames: Sequence[Frame], data: DataConfig, *, seed: int) -> tuple[Sequence[Frame], Sequence[Frame]]:
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
    train: Sequence[Frame]
    valid: Sequence[Frame]
    if learn is None and hold is None:
        train, valid = _draw(frames, data.valid_fraction, seed)
    else:
        both = sorted(set(learn or ()) & set(hold or ()))
        if both:
            raise ConfigError(f"data.train_groups and data.valid_groups need to be apart; found {both[0]!r} in both")
        select_groups(frames, [*(learn or ()), *(hold or ())])  # refuses names that are not there
        groups = texts_of(frames, "group")

        def those(names: Sequence[str] | None, others: Sequence[str] | None) -> Sequence[Frame]:
            chosen = [group in names if names is not None else group not in (others or ()) for group in groups]
            return take_frames(frames, [place for place, is_in in enumerate(chosen) if is_in])

        train, valid = those(learn, hold), those(hold, learn)
    _refuse_empty(train, valid, len(frames))
    return train, valid


def _refuse_empty(train: Sequence[Frame], valid: Sequence[Frame], count: int) -> None:
    if not train or not valid:
        raise DataError(
            f"training and validation need at least one frame each; found {len(train)} and {len(valid)} out of "
            f"{count}; give data.valid, or other groups or ids"
        )


def _draw(frames: Sequence[Frame], fraction: float, seed: int) -> tuple[Sequence[Frame], Sequence[Frame]]:
    groups = set(texts_of(frames, "group"))
    if len(groups) > 1 and None not in groups:
        train, valid = split_by_group(frames, (1 - fraction, fraction), seed)
        return train, valid
    count = max(1, round(fraction * len(frames)))
    order = torch.randperm(len(frames), generator=torch.Generator().manual_seed(seed)).tolist()
    return take_frames(frames, sorted(order[count:])), take_frames(frames, sorted(order[:count]))


def _some_of(frames: Sequence[Frame], count: int | None, seed: int) -> Sequence[Frame]:
    """Return ``count`` frames in their order; with one seed a smaller draw is a part of a larger one."""
    if count is None or count == len(frames):
        return frames
    if count > len(frames):
        raise DataError(f"data.train_count needs at most the {len(frames)} frames to learn from; found {count}")
    order = torch.randperm(len(frames), generator=torch.Generator().manual_seed(seed)).tolist()
    return take_frames(frames, sorted(order[:count]))


def _isolated_atoms(frames: Sequence[Frame], config: RunConfig) -> tuple[Mapping[int, float], frozenset[int]]:
    """Return the energies of isolated atoms where energy shifts are open, and which frames tell them.

    Such frames are the shifts, and teach nothing more.
    """
    model: Any = config.model
    nothing: frozenset[int] = frozenset()
    if model.kind != DEFAULT_KIND or model.species_shifts is not None or config.training.start_from is not None:
        return {}, nothing
    if config.data.isolated_atoms is not None:
        return {atomic_number(symbol): energy for symbol, energy in config.data.isolated_atoms.items()}, nothing
    alone = [place for place, frame in enumerate(frames) if _is_isolated_atom(frame)]
    if not alone or len(alone) == len(frames):
        return {}, nothing
    _, isolated = split_isolated_atoms([frames[place] for place in alone])
    return isolated, frozenset(alone)


def _without(places: Sequence[int] | None, atoms: frozenset[int]) -> list[int] | None:
    return None if places is None else [place for place in places if place not in atoms]


def _is_isolated_atom(frame: Frame) -> bool:
    return len(frame) == 1 and frame.energy is not None and not frame.pbc.any()


def _places_by_ids(pool: Sequence[Frame], data: DataConfig) -> tuple[list[int], list[int] | None, list[int] | None]:
    """Return which frames of ``data.train`` are learned from, validated on and tested on, as far as ids say it."""
    hold = _places(pool, data.valid_ids) if data.valid is None and data.valid_ids is not None else None
    keep = _places(pool, data.test_ids) if data.test is None and data.test_ids is not None else None
    held_back = {*(hold or ()), *(keep or ())}
    if data.train_ids is not None:
        learn = _places(pool, data.train_ids)
    else:
        learn = [place for place in range(len(pool)) if place not in held_back]
    for one, name, other, other_name in (
        (learn, "train_ids", hold, "valid_ids"),
        (learn, "train_ids", keep, "test_ids"),
        (hold, "valid_ids", keep, "test_ids"),
    ):
        both = sorted(set(one or ()) & set(other or ()))
        if both:
            raise ConfigError(
                f"data.{name} and data.{other_name} need to be apart; found {_ids(pool)[both[0]]!r} in both"
            )
    return learn, hold, keep


def _places(frames: Sequence[Frame], path: str) -> list[int]:
    """Return the places of the frames whose ids a file lists, in the order of the file of ids."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(_ids(frames)):
        places.setdefault(name, []).append(place)
    wanted = read_ids(path)
    for name in wanted:
        found = places.get(name, [])
        if len(found) != 1:
            how = f"{len(found)} frames have" if found else "no frame has"
            near = "" if found else did_you_mean(name, list(places)[:_MOST_COMPARED])
            raise DataError(f"{path}: needed ids of one frame each; found {name!r}, which {how}.{near} Check keys.id")
    return [places[name][0] for name in wanted]


def _ids(frames: Sequence[Frame]) -> list[str]:
    return [str(place) if name is None else name for place, name in enumerate(texts_of(frames, "id"))]


def _look_at(train: Sequence[Frame], valid: Sequence[Frame], test: Sequence[Frame], config: RunConfig) -> list[str]:
    """Check every frame; return what is odd about them and what leaks from one part to another."""
    needed = _needed_labels(config)
    findings, leaks = validate_frames(train, require=needed), []
    species = sorted({int(number) for frame in train for number in frame.species})
    for held_back in (valid,) if test is valid else (valid, test):
        findings += validate_frames(held_back, require=needed, known_species=species)
        leaks += find_leaks(train, held_back)
    _refuse_unknown_targets(train, valid, test, config)
    findings += _odd_share(train, valid, config.data)
    return [*leaks, *findings]  # leaks first: with them the errors that will be shown are not what they seem


def _refuse_unknown_targets(
    train: Sequence[Frame], valid: Sequence[Frame], test: Sequence[Frame], config: RunConfig
) -> None:
    """Refuse parts in which a target of the loss is known of no frame: they cannot teach, choose or test a model."""
    model: Any = config.model
    if model.kind == DEFAULT_KIND:
        return
    data, loss = config.data, config.training.final_loss
    targets = [target for target in model.targets if loss.targets.get(target.name, target.weight) > 0]
    # What is learned from is looked at when targets are completed, but for a model that needs no completing.
    learned = [(train, "train", data.train)] if config.training.start_from is not None else []
    for part, key, file in [*learned, (valid, "valid", data.valid or data.train)]:
        for target in targets:
            if not any(_knows(frame, target) for frame in part):
                kind = "atom_properties" if _is_per_atom(target) else "properties"
                near = did_you_mean(target.name, getattr(part[0], kind))
                raise DataError(
                    f"{file}: target {target.name!r} is not known of any of the {len(part)} frames of data.{key}; "
                    f"check data.keys.{kind}.{target.name}, or set its weight to 0.{near}"
                )
    if test is not valid and not any(_knows(frame, target) for target in targets for frame in test):
        names = ", ".join(target.name for target in targets)
        raise DataError(
            f"{data.test or data.train}: the {len(test)} frames of data.test need one known value of {names}; found "
            "none; check data.keys, or leave data.test out"
        )


def _knows(frame: Frame, target: Any) -> bool:
    value = (frame.atom_properties if _is_per_atom(target) else frame.properties).get(target.name)
    if value is None:
        return False
    rows = np.asarray(value).reshape(len(frame) if _is_per_atom(target) else 1, -1)
    return bool(np.isfinite(rows).all(axis=1).any())


def _is_per_atom(target: Any) -> bool:
    return getattr(target, "level", "structure") == "atom"


def _odd_share(train: Sequence[Frame], valid: Sequence[Frame], data: DataConfig) -> list[str]:
    """Say where whole groups make the validation set far larger or smaller than was asked for."""
    named = (data.valid, data.valid_ids, data.valid_groups, data.train_ids, data.train_groups, data.train_count)
    asked = data.valid_fraction * (len(train) + len(valid))
    if any(value is not None for value in named) or abs(len(valid) - asked) <= max(1.0, 0.5 * asked):
        return []
    return [
        f"{len(valid)} of {len(train) + len(valid)} frames are held back, where valid_fraction {data.valid_fraction:g} "
        f"asks for {asked:.0f}: groups stay together; name data.valid_groups, or give data.valid"
    ]


def _needed_labels(config: RunConfig) -> tuple[str, ...]:
    """Return the labels that every frame needs; targets may be known of any part of the frames."""
    model: Any = config.model
    if model.kind != DEFAULT_KIND:
        return ()
    losses = [loss for _, loss in config.training.losses]
    return tuple(name for name in LABELS if any(getattr(loss, name) > 0 for loss in losses))


def _read(path: str, data: DataConfig) -> Sequence[Frame]:
    return read_frames(path, format=data.format, keys=data.keys, units=data.units, data_dir=data.data_dir)


def _read_some(path: str, ids: str | None, data: DataConfig) -> Sequence[Frame]:
    frames = _read(path, data)
    return frames if ids is None else take_frames(frames, _places(frames, ids))
