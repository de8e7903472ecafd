"""What frames have that go by on their way to a file, and how to read it back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from irrepnet.data.frame import Frame

__all__ = ["FrameNotes"]

_LABELS = ("energy", "forces", "stress")


class FrameNotes:
    """Counts frames and notes their labels.

    Example:
        >>> from irrepnet.data.frame import Frame
        >>> notes = FrameNotes()
        >>> _ = list(notes.watch([Frame(species=[1], pos=[[0, 0, 0]], energy=-13.6)]))
        >>> notes.num_atoms, list(notes.labels)
        (1, ['energy'])
    """

    def __init__(self) -> None:
        self.num_frames, self.num_atoms = 0, 0
        self.properties: dict[str, None] = {}  # in the order in which they came
        self.atom_properties: dict[str, None] = {}
        self._plain: dict[str, None] = {}

    @property
    def labels(self) -> dict[str, None]:
        """Names of everything that some frame had."""
        return self._plain | self.properties | self.atom_properties

    def watch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield the frames."""
        for frame in frames:
            self.num_frames, self.num_atoms = self.num_frames + 1, self.num_atoms + len(frame)
            self._plain |= dict.fromkeys(name for name in _LABELS if getattr(frame, name) is not None)
            self.properties |= dict.fromkeys(frame.properties)
            self.atom_properties |= dict.fromkeys(frame.atom_properties)
            yield frame

    def reading_hint(self, suffix: str) -> str:
        """Return how to read properties back, as text to follow the file's name; empty where nothing need be said.

        Args:
            suffix: Of the file; HDF5 files know their properties.
        """
        if suffix in (".h5", ".hdf5"):
            return ""
        texts = [
            f"--set 'data.keys.{kind}={{{', '.join(f'{name}: {name}' for name in names)}}}'"
            for kind, names in (("properties", self.properties), ("atom_properties", self.atom_properties))
            if names
        ]
        return f"\nto read its properties: {' '.join(texts)}" if texts else ""
