"""What training wants to know of a set of frames, from one pass over it, however large it is."""

from __future__ import annotations

import hashlib
import json
import math
import os
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from warnings import warn

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.atomic_file import atomic_file
from irrepnet.data.cache import open_entry
from irrepnet.data.checked_file import CheckedFile, seal
from irrepnet.data.elements import SYMBOLS, atomic_number
from irrepnet.data.frame import Frame
from irrepnet.errors import DataError

__all__ = ["FrameSummary", "summarize_frames"]

_VERSION = b"summary 1"
_LABELS = ("energy", "forces", "stress")


@dataclass(frozen=True)
class FrameSummary:
    """Numbers of a set of frames; of any size, as it keeps one line per composition.

    Args:
        num_frames: Number of frames.
        num_atoms: Number of atoms of all frames.
        species: Atomic numbers that occur, ascending.
        num_known: In how many frames each label and property is.
        force_rms: Root mean square of all force components, eV/Å; None without forces.
        compositions: For each composition with energies the number of atoms of each species, the number of frames and
            the mean energy, eV.

    Example:
        >>> hydrogen = Frame(species=[1, 1], pos=[[0, 0, 0], [0.74, 0, 0]], energy=-31.7)
        >>> summarize_frames([hydrogen, hydrogen]).compositions
        (((2,), 2, -31.7),)
    """

    num_frames: int
    num_atoms: int
    species: tuple[int, ...]
    num_known: dict[str, int]
    force_rms: float | None
    compositions: tuple[tuple[tuple[int, ...], int, float], ...]

    def all_have(self, label: str) -> bool:
        """Tell whether every frame has a label or property.

        Example:
            >>> summarize_frames([Frame(species=[1], pos=[[0, 0, 0]], energy=-13.6)]).all_have("forces")
            False
        """
        return self.num_known.get(label, 0) == self.num_frames > 0

    def species_shifts(
        self, species: Sequence[int | str], fixed: Mapping[int, float] | None = None
    ) -> NDArray[np.float64]:
        """Return the energy per atom of each species that explains the total energies best.

        The least squares of :func:`~irrepnet.data.fit_species_shifts`, where a composition counts as often as it has
        frames: what the frames of one composition differ in, no shift can explain.

        Args:
            species: Atomic numbers or symbols; the order of the answer.
            fixed: Atomic number -> energy, eV, of species that are not fitted.

        Returns:
            Shape ``[S]``, eV, float64.

        Raises:
            DataError: If no frame has an energy, or one has an atom that is not in ``species``.

        Example:
            >>> frames = [Frame(species=[1] * n, pos=np.eye(n, 3), energy=-13.6 * n) for n in (1, 2)]
            >>> summarize_frames(frames).species_shifts(["H"])
            array([-13.6])
        """
        numbers, fixed = [atomic_number(element) for element in species], dict(fixed or {})
        unknown = sorted(set(self.species) - set(numbers))
        if unknown or not self.compositions:
            raise DataError(
                f"needed energies of {', '.join(SYMBOLS[number] for number in numbers)}; found "
                f"{f'{SYMBOLS[unknown[0]]} too' if unknown else 'no frame with an energy'}"
            )
        counts = np.zeros((len(self.compositions), len(numbers)))
        counts[:, [numbers.index(number) for number in self.species]] = [atoms for atoms, _, _ in self.compositions]
        given = np.array([fixed.get(number, 0.0) for number in numbers])
        free = [place for place, number in enumerate(numbers) if number not in fixed]
        weights = np.sqrt([frames for _, frames, _ in self.compositions])
        rest = np.array([energy for _, _, energy in self.compositions]) - counts @ given
        given[free] = np.linalg.lstsq(weights[:, None] * counts[:, free], weights * rest, rcond=None)[0]
        return np.asarray(given, dtype=np.float64)


def summarize_frames(
    frames: Iterable[Frame], *, cache: str | os.PathLike[str] | None = None, say: Callable[[str], None] = warn
) -> FrameSummary:
    """Go through frames once and return their numbers.

    Args:
        frames: The frames.
        cache: Folder in which the summary of a lazy set that knows a digest of its content is kept; None: none is.
        say: Is told when a kept summary is damaged; it is then made anew.

    Raises:
        OSError: If the cache cannot be written.

    Example:
        >>> hydrogen = Frame(species=[1, 1], pos=[[0, 0, 0], [0.74, 0, 0]], forces=[[3, 0, 0], [-3, 0, 0]])
        >>> summary = summarize_frames(frame for frame in [hydrogen, hydrogen])
        >>> summary.num_atoms, summary.species, summary.force_rms
        (4, (1,), 1.732...)
    """
    digest = getattr(frames, "content_digest", None)
    if cache is None or digest is None:
        return _summarize(frames)
    key = hashlib.sha256(_VERSION + digest.encode()).hexdigest()
    path = Path(cache, f"summary-{key}.bin")
    summary: FrameSummary | None = open_entry(path, lambda: _read(path), say)
    if summary is None:
        summary = _summarize(frames)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as beside:
            beside.write_text(json.dumps(asdict(summary)))
            seal(beside)
    return summary


def _read(path: Path) -> FrameSummary:
    file = CheckedFile(path, str(path))
    try:
        tree: dict[str, Any] = json.loads(file.bytes_at(0, file.content_size))
        tree["species"] = tuple(tree["species"])
        tree["compositions"] = tuple((tuple(counts), frames, energy) for counts, frames, energy in tree["compositions"])
        return FrameSummary(**tree)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f"{path}: needed a summary of frames; found something else ({error})") from error


def _summarize(frames: Iterable[Frame]) -> FrameSummary:
    num_frames, num_atoms, num_components = 0, 0, 0
    known: Counter[str] = Counter()
    squares = array("d")
    energies: defaultdict[tuple[tuple[int, int], ...], array[float]] = defaultdict(lambda: array("d"))
    species: set[int] = set()
    for frame in frames:
        num_frames, num_atoms = num_frames + 1, num_atoms + len(frame)
        composition = tuple(sorted(Counter(frame.species.tolist()).items()))
        species.update(number for number, _ in composition)
        known.update(name for name in _LABELS if getattr(frame, name) is not None)
        known.update([*frame.properties, *frame.atom_properties])
        if frame.forces is not None:
            num_components += frame.forces.size
            squares.append(float((frame.forces**2).sum()))
        if frame.energy is not None:
            energies[composition].append(frame.energy)
    numbers = tuple(sorted(species))
    rows = [
        (tuple(dict(composition).get(number, 0) for number in numbers), len(values), math.fsum(values) / len(values))
        for composition, values in energies.items()
    ]
    rms = math.sqrt(math.fsum(squares) / num_components) if num_components else None
    return FrameSummary(num_frames, num_atoms, numbers, dict(sorted(known.items())), rms, tuple(sorted(rows)))
