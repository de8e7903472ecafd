"""Parts of a data set: whole trajectories, named groups, or files of ids.

Neighbouring frames of one trajectory are nearly equal, so a split by frame tests nothing.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from irrepnet.data.atomic_file import atomic_file
from irrepnet.data.frame import Frame
from irrepnet.data.subset import take_frames, texts_of
from irrepnet.errors import DataError, did_you_mean

__all__ = ["read_ids", "select_groups", "select_ids", "split_by_group", "write_ids"]

# Among more ids, looking for the nearest takes seconds.
_MAX_LISTED = 20_000
_MAX_SHOWN = 20


def split_by_group(frames: Sequence[Frame], fractions: Sequence[float], seed: int) -> tuple[Sequence[Frame], ...]:
    """Deal out whole groups at random so that each part gets about its fraction of the frames.

    Args:
        frames: Frames that all have a group.
        fractions: One per part, adding up to 1.
        seed: Of the draw.

    Returns:
        One sequence per part, each with at least one group, frames in their original order.

    Raises:
        DataError: If a frame has no group, there are fewer groups than parts, or the fractions do not add up to 1.

    Example:
        >>> frames = [Frame(species=[1], pos=[[0, 0, 0]], group=name) for name in "aabbccdd"]
        >>> [len(part) for part in split_by_group(frames, [0.75, 0.25], seed=0)]
        [6, 2]
    """
    if not np.isclose(sum(fractions), 1) or min(fractions) <= 0:
        raise DataError(f"split_by_group needs fractions above 0 that add up to 1; found {list(fractions)}")
    groups = texts_of(frames, "group")
    if None in groups:
        source = frames[groups.index(None)].source
        raise DataError(f"{source}: split_by_group needs the group of every frame; found None; set keys.group")
    names, count = np.unique([str(group) for group in groups], return_counts=True)
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
    parts = [part_of[str(group)] for group in groups]
    return tuple(
        take_frames(frames, [place for place, mine in enumerate(parts) if mine == part])
        for part in range(len(fractions))
    )


def select_groups(frames: Sequence[Frame], groups: Sequence[str]) -> Sequence[Frame]:
    """Return the frames of the named groups, in their order.

    Raises:
        DataError: If a group does not exist; lists those that do.

    Example:
        >>> frames = [Frame(species=[1], pos=[[0, 0, 0]], group=name) for name in "aab"]
        >>> len(select_groups(frames, ["a"]))
        2
    """
    of_frames = texts_of(frames, "group")
    present = {group for group in of_frames if group is not None}
    for group in groups:
        if group not in present:
            listing = ", ".join(sorted(present)[:_MAX_SHOWN]) or "no groups; set keys.group"
            more = f" and {len(present) - _MAX_SHOWN} more" if len(present) > _MAX_SHOWN else ""
            raise DataError(f"needed group {group!r}; found {listing}{more}.{did_you_mean(group, sorted(present))}")
    wanted = set(groups)
    return take_frames(frames, [place for place, group in enumerate(of_frames) if group in wanted])


def read_ids(path: str | Path) -> list[str]:
    """Return the ids that a text file lists, one per line; a ``#`` at its start or after a space begins a comment.

    Args:
        path: The file, UTF-8.

    Raises:
        DataError: If the file is missing, not text, empty, or lists an id twice.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "train.txt")
        >>> _ = path.write_text("# drawn by hand\\n7\\ngdb_12  # methane\\n")
        >>> read_ids(path)
        ['7', 'gdb_12']
    """
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: needed a text file of ids, one per line; found it unreadable ({error})") from error
    lines = [" " + line for line in lines]
    ids = {number: line.partition(" #")[0].strip() for number, line in enumerate(lines, start=1)}
    first: dict[str, int] = {}
    for number, name in ids.items():
        if name and first.setdefault(name, number) != number:
            raise DataError(f"{path}: needed each id once; found {name!r} in lines {first[name]} and {number}")
    if not first:
        raise DataError(f"{path}: needed ids, one per line; found none")
    return list(first)


def write_ids(path: str | Path, ids: Iterable[str], *, comment: str = "") -> None:
    """Write ids to a text file that :func:`read_ids` reads, whole or not at all.

    Args:
        path: The file.
        ids: One per line.
        comment: First lines, each behind a ``#``.

    Raises:
        DataError: If an id is empty, has a line break, outer spaces or `` #``, or is there twice; if there is no such
            folder.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "valid.txt")
        >>> write_ids(path, ["3", "1"], comment="seed 0")
        >>> path.read_text()
        '# seed 0\\n3\\n1\\n'
    """
    names = list(ids)
    seen: set[str] = set()
    for name in names:
        if not name or name != name.strip() or len(name.splitlines()) != 1 or " #" in f" {name}":
            raise DataError(f"{path}: ids need to be texts of one line without ' #' and outer spaces; found {name!r}")
        if name in seen:
            raise DataError(f"{path}: needed each id once; found {name!r} twice")
        seen.add(name)
    text = "".join([*(f"# {line}\n" for line in comment.splitlines()), *(f"{name}\n" for name in names)])
    with atomic_file(Path(path).expanduser()) as beside:
        beside.write_text(text, encoding="utf-8")


def select_ids(frames: Sequence[Frame], ids: Sequence[str]) -> list[Frame]:
    """Return the frames of some ids, in the order of the ids; a frame without an id is called by its place (``"0"``).

    Raises:
        DataError: If an id does not exist, belongs to several frames or is asked for twice.

    Example:
        >>> frames = [Frame(species=[1], pos=[[0, 0, 0]], id=name, source=name) for name in ("a", "b")]
        >>> [frame.source for frame in select_ids([*frames, Frame(species=[1], pos=[[0, 0, 0]])], ["2", "a"])]
        ['frame', 'a']
    """
    places: dict[str, list[int]] = {}
    for place, frame in enumerate(frames):
        places.setdefault(str(place) if frame.id is None else frame.id, []).append(place)
    unknown = [name for name in ids if name not in places]
    if unknown:
        near = difflib.get_close_matches(unknown[0], list(places)[:_MAX_LISTED], n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        listing = f"{next(iter(places))!r} to {list(places)[-1]!r}" if places else "no frames"
        raise DataError(
            f"needed id {unknown[0]!r}{f' and {len(unknown) - 1} more' if unknown[1:] else ''}; found {listing}.{hint} "
            "Check keys.id"
        )
    for name in ids:
        if len(places[name]) > 1:
            one, other = (frames[place].source for place in places[name][:2])
            raise DataError(f"needed one frame of id {name!r}; found {one} and {other}")
    if len(ids) > len(set(ids)):
        twice = Counter(ids).most_common(1)[0][0]
        raise DataError(f"needed each id once; found {twice!r} twice")
    return [frames[places[name][0]] for name in ids]
