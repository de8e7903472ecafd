"""What is known of a public data set: names, units, licence, files, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from irrepnet.data.download import RemoteFile
from irrepnet.data.frame import Frame
from irrepnet.data.npz import load_npz
from irrepnet.errors import DataError

__all__ = ["DataSet", "check_count", "git_file", "load_arrays", "with_ids"]


@dataclass(frozen=True)
class DataSet:
    """A public data set.

    Args:
        name: As in ``set:<name>``.
        description: One line.
        structures: How many of what.
        units: Label -> its unit in the frames that are read.
        licence: Of the data.
        citation: Whom to cite.
        members: Part of the set -> the public files that it needs; ``""`` is the whole set.
        read: Reads one part: takes the data folder and the part's name.
        notes: What to know before using it.

    Example:
        >>> from irrepnet.data.sets.registry import SETS
        >>> SETS["qm9"].units["homo"], SETS["qm9"].size
        ('eV', 86630979)
    """

    name: str
    description: str
    structures: str
    units: Mapping[str, str]
    licence: str
    citation: str
    members: Mapping[str, tuple[RemoteFile, ...]]
    read: Callable[[Path, str], Sequence[Frame]]
    notes: str = ""

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        """All public files, each once."""
        return tuple(dict.fromkeys(file for files in self.members.values() for file in files))

    @property
    def size(self) -> int | None:
        """Bytes to download for all members; None if it is not published for every file."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def has_checksums(self) -> bool:
        """Whether a checksum is published for every file."""
        return all(file.checksum is not None for file in self.files)


def git_file(folder: str, repository: str, commits: Sequence[str], path: str, name: str | None = None) -> RemoteFile:
    """Return a file of a GitHub repository as it was at a commit.

    Args:
        folder: Where it goes, below the data folder.
        repository: ``owner/name``.
        commits: Full ids; each has the same file, and they are tried in this order.
        path: The file's path in the repository.
        name: Its path below ``folder``; None for its own name.

    Example:
        >>> git_file("acac", "davkovacs/BOTNet-datasets", ["29e6d467"], "dataset_acac/train_300K.xyz").addresses
        ('https://raw.githubusercontent.com/davkovacs/BOTNet-datasets/29e6d467/dataset_acac/train_300K.xyz',)
    """
    addresses = tuple(f"https://raw.githubusercontent.com/{repository}/{commit}/{path}" for commit in commits)
    return RemoteFile(f"{folder}/{name or Path(path).name}", addresses)


def load_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an npz file by name.

    Raises:
        DataError: If it is damaged, or holds Python objects or two arrays of one name.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> path = Path(tempfile.mkdtemp(), "a.npz")
        >>> np.savez(path, z=np.array([1, 8, 1]))
        >>> load_arrays(path)["z"].tolist()
        [1, 8, 1]
    """
    return load_npz(file, str(file))


def with_ids(frames: Sequence[Frame], names: Sequence[str], **changes: Any) -> list[Frame]:
    """Return frames with these ids and, for all of them, some other fields changed.

    Example:
        >>> with_ids([Frame(species=[1], pos=[[0, 0, 0]])], ["a"], group="run 1")[0].id
        'a'
    """
    return [replace(frame, id=name, **changes) for frame, name in zip(frames, names, strict=True)]


def check_count(frames: Sequence[Frame], count: int, label: str) -> Sequence[Frame]:
    """Return the frames if there are as many as were published.

    Raises:
        DataError: If there are others: where no checksum is published this is what tells.

    Example:
        >>> check_count([], 500, "set:acac/train_300K")
        Traceback (most recent call last):
        irrepnet.errors.DataError: set:acac/train_300K: needed the 500 structures that were published; found 0
    """
    if len(frames) != count:
        raise DataError(f"{label}: needed the {count} structures that were published; found {len(frames)}")
    return frames
