"""Hold back whole trajectories: neighbouring frames of one are nearly equal, so a split by frame tests nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irrepnet.data.frame import Frame
from irrepnet.errors import DataError, did_you_mean

__all__ = ["select_groups", "split_by_group"]


def split_by_group(frames: Sequence[Frame], fractions: Sequence[float], seed: int) -> tuple[list[Frame], ...]:
    """Deal out whole groups at random so that each part gets about its fraction of the frames.

    Args:
        frames: Frames that all have a group.
        fractions: One per part, adding up to 1.
        seed: Of the draw.

    Returns:
        One list per part, each with at least one group, frames in their original order.

    Raises:
        DataError: If a frame has no group, there are fewer groups than parts, or the fractions do not add up to 1.

    Example:
        >>> frames = [Frame(species=[1], pos=[[0, 0, 0]], group=name) for name in "aabbccdd"]
        >>> [len(part) for part in split_by_group(frames, [0.75, 0.25], seed=0)]
        [6, 2]
    """
    if not np.isclose(sum(fractions), 1) or min(fractions) <= 0:
        raise DataError(f"split_by_group needs fractions above 0 that add up to 1; found {list(fractions)}")
    for frame in frames:
        if frame.group is None:
            raise DataError(
                f"{frame.source}: split_by_group needs the group of every frame; found None; set keys.group"
            )
    names, count = np.unique([str(frame.group) for frame in frames], return_counts=True)
    if len(names) < len(fractions):
        raise DataError(f"split_by_group needs at least {len(fractions)} groups; found {len(names)}")
    part_of: dict[str, int] = {}
    filled = np.zeros(len(fractions))
    order = np.random.default_rng(seed).permutation(len(names))
    for place, index in enumerate(order):
        # The part that is furthest behind; the last groups go to parts that have none yet.
        behind = filled / np.asarray(fractions)
        empty = [part for part in range(len(fractions)) if filled[part] == 0]
        part = empty[0] if len(order) - place <= len(empty) else int(behind.argmin())
        part_of[names[index]] = part
        filled[part] += count[index]
    return tuple([frame for frame in frames if part_of[str(frame.group)] == part] for part in range(len(fractions)))


def select_groups(frames: Sequence[Frame], groups: Sequence[str]) -> list[Frame]:
    """Return the frames of the named groups, in their order.

    Raises:
        DataError: If a group does not exist; lists those that do.

    Example:
        >>> frames = [Frame(species=[1], pos=[[0, 0, 0]], group=name) for name in "aab"]
        >>> len(select_groups(frames, ["a"]))
        2
    """
    present = sorted({frame.group for frame in frames if frame.group is not None})
    for group in groups:
        if group not in present:
            listing = ", ".join(present) or "no groups; set keys.group"
            raise DataError(f"needed group {group!r}; found {listing}.{did_you_mean(group, present)}")
    return [frame for frame in frames if frame.group in groups]
