"""Parts of sets of frames that may be too large for memory: a list stays a list, a lazy set stays lazy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from irrepnet.data.frame import Frame
from irrepnet.errors import DataError

__all__ = ["FrameSubset", "take_frames", "texts_of"]


class FrameSubset(Sequence[Frame]):
    """Some frames of a lazy set, in any order; a frame is read when it is asked for.

    Args:
        frames: The set.
        indices: Places in it, shape ``[F]``.

    Raises:
        DataError: If an index is not a place in the set.

    Example:
        >>> atoms = [Frame(species=[1], pos=[[0, 0, 0]], source=name) for name in "abc"]
        >>> part = FrameSubset(atoms, [2, 0])
        >>> len(part), part[-1].source, [frame.source for frame in part[:1]]
        (2, 'a', ['c'])
    """

    def __init__(self, frames: Sequence[Frame], indices: ArrayLike) -> None:
        places = np.asarray(indices)
        places = places.astype(np.int64) if places.size == 0 else places
        if places.ndim != 1 or places.dtype.kind not in "iu":
            raise DataError(f"indices need integers [F]; found {places.dtype} {list(places.shape)}")
        outside = places[(places < 0) | (places >= len(frames))]
        if len(outside):
            raise DataError(f"indices need to be from 0 to {len(frames) - 1}; found {outside[0]}")
        self.base: Sequence[Frame] = frames
        self.indices: NDArray[np.int64] = places.astype(np.int64)
        if isinstance(frames, FrameSubset):  # one step to the set, however often it was cut
            self.base, self.indices = frames.base, frames.indices[places]

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.indices)

    @overload
    def __getitem__(self, index: int) -> Frame: ...

    @overload
    def __getitem__(self, index: slice) -> FrameSubset: ...

    def __getitem__(self, index: int | slice) -> Frame | FrameSubset:
        if isinstance(index, slice):
            return FrameSubset(self.base, self.indices[index])
        return self.base[int(self.indices[index])]

    def __iter__(self) -> Iterator[Frame]:
        base: Any = self.base
        if hasattr(base, "iterate"):
            yield from base.iterate(self.indices)
        else:
            yield from (self.base[index] for index in self.indices.tolist())

    @property
    def content_digest(self) -> str:
        """SHA-256 that stands for the frames, hexadecimal; without reading them where the set knows its own."""
        base: Any = self.base
        return hashlib.sha256(base.content_digest.encode() + self.indices.tobytes()).hexdigest()

    def texts(self, name: Literal["id", "group"]) -> list[str | None]:
        """Return the id or group of every frame; see :func:`texts_of`."""
        every = texts_of(self.base, name)
        return [every[index] for index in self.indices.tolist()]


def take_frames(frames: Sequence[Frame], indices: ArrayLike) -> Sequence[Frame]:
    """Return some frames of a set: a list from a list, a lazy set from a lazy one.

    Raises:
        DataError: If an index is not a place in the set.

    Example:
        >>> atoms = [Frame(species=[1], pos=[[0, 0, 0]], source=name) for name in "abc"]
        >>> [frame.source for frame in take_frames(atoms, [2, 0])]
        ['c', 'a']
    """
    part = FrameSubset(frames, indices)
    return list(part) if isinstance(frames, list | tuple) else part


def texts_of(frames: Sequence[Frame], name: Literal["id", "group"]) -> list[str | None]:
    """Return the id or group of every frame; a lazy set is asked for these alone, not for whole frames.

    Example:
        >>> texts_of([Frame(species=[1], pos=[[0, 0, 0]], group=name) for name in "ab"], "group")
        ['a', 'b']
    """
    lazy: Any = frames
    if hasattr(frames, "texts"):
        texts: list[str | None] = lazy.texts(name)
        return texts
    return [getattr(frame, name) for frame in frames]
