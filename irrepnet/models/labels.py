"""Labels of training frames, checked, as the statistics of targets want them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.elements import SYMBOLS
from irrepnet.data.frame import Frame
from irrepnet.errors import DataError, did_you_mean

__all__ = ["Array", "completed", "composition", "elements_of", "known_labels", "say_unseen", "spread"]

Array = NDArray[np.float64]
_ROUNDING = 1e-10  # of the values; what a least-squares fit leaves of a label that it explains exactly is below


def known_labels(
    frames: Sequence[Frame], name: str, shape: tuple[int, ...], *, per_atom: bool = False
) -> Iterator[tuple[Frame, Array]]:
    """Yield every frame of which a label is known, with its value.

    Args:
        frames: Also a lazy sequence: each frame is looked at once.
        name: Of the label, among ``properties`` or ``atom_properties``.
        shape: Of the label of one structure, or of one atom.
        per_atom: Whether it is a label of atoms.

    Yields:
        A frame and its label, of the shape given, or ``[N, *shape]`` with rows of NaN for atoms whose label is not
        known.

    Raises:
        DataError: If a label has another shape or is infinite, or none is known; the message names the frame.

    Example:
        >>> frames = [Frame(species=[1], pos=[[0, 0, 0]], properties={"gap": gap}) for gap in (1.5, np.nan)]
        >>> [float(gap) for _, gap in known_labels(frames, "gap", ())]
        [1.5]
    """
    first, found = None, False
    for frame in frames:
        first = first or frame
        value = (frame.atom_properties if per_atom else frame.properties).get(name)
        if value is None:
            continue
        wanted = (len(frame), *shape) if per_atom else shape
        if value.shape != wanted:
            raise DataError(
                f"{frame.source}: target {name!r} needs shape {list(wanted)}; found {list(value.shape)}; "
                "check the readout or formula of the target, or the file"
            )
        if np.isinf(value).any():
            raise DataError(f"{frame.source}: target {name!r} needs finite numbers, NaN where not known; found inf")
        known = ~np.isnan(value.reshape(len(frame) if per_atom else 1, -1)).any(axis=1)
        if known.any():
            found = True
            yield frame, value
    if not found:
        raise DataError(_missing(first, name, per_atom))


def _missing(first: Frame | None, name: str, per_atom: bool) -> str:
    what = f"target {name!r}"
    if first is None:
        return f"{what} needs at least one training frame; found none"
    places: list[tuple[str, Mapping[str, Array]]] = [
        ("properties", first.properties),
        ("atom_properties", first.atom_properties),
    ]
    (here, values), (there, others) = places[::-1] if per_atom else places
    hint = did_you_mean(name, values)
    if name in others:
        hint = f" It is among its {there}: set level: {'structure' if per_atom else 'atom'}."
    return (
        f"{first.source}: {what} is not known of this training frame nor of any other; the frame's {here} are "
        f"{', '.join(values) or 'none'}; correct the name, or data.keys.{here}.{hint}"
    )


def composition(frame: Frame, numbers: Sequence[int]) -> Array:
    """Return the number of atoms of each element, shape ``[S]``.

    Raises:
        DataError: If there is an atom of another element.

    Example:
        >>> composition(Frame(species=[8, 1, 1], pos=np.eye(3)), [1, 8])
        array([2., 1.])
    """
    counts = np.array([(frame.species == number).sum() for number in numbers], dtype=np.float64)
    if counts.sum() != len(frame):
        other = next(int(number) for number in frame.species if number not in numbers)
        name = SYMBOLS[other] if 0 < other < len(SYMBOLS) else f"atomic number {other}"
        known = ", ".join(SYMBOLS[number] for number in numbers)
        raise DataError(f"{frame.source}: needed elements {known}; found {name}; add it to model.species")
    return counts


def elements_of(frames: Iterable[Frame]) -> list[str]:
    """Return the symbols of all elements in the frames, by atomic number.

    Example:
        >>> elements_of([Frame(species=[8, 1, 1], pos=np.eye(3))])
        ['H', 'O']
    """
    return [SYMBOLS[number] for number in sorted({int(number) for frame in frames for number in frame.species})]


def completed(target: Any, found: Mapping[str, Any], say: Callable[[str], None]) -> dict[str, Any]:
    """Return a target as plain values, with what was found for those that are None.

    Args:
        target: A validated target.
        found: What the frames tell; a ``scale`` of None where they do not vary, which becomes 1.
        say: What is called with a note then.

    Example:
        >>> from irrepnet.models.targets import IntensiveTarget
        >>> gap = completed(IntensiveTarget(name="gap", readout="intensive"), {"shift": 7.0, "scale": None}, print)
        note: target 'gap' does not vary in the training frames; its scale is 1
        >>> gap["shift"], gap["scale"]
        (7.0, 1.0)
    """
    values: dict[str, Any] = target.model_dump(mode="json")
    found = dict(found)
    if target.scale is None and found["scale"] is None:
        unit = f"1 {target.unit}".rstrip()
        say(f"note: target {target.name!r} does not vary in the training frames; its scale is {unit}")
        found["scale"] = 1.0
    return values | {key: value for key, value in found.items() if values[key] is None}


def say_unseen(name: str, key: str, seen: Iterable[bool], symbols: Sequence[str], say: Callable[[str], None]) -> None:
    """Say of which elements the frames tell nothing, so that their values are 0.

    Args:
        name: Of the target.
        key: Of its values per element.
        seen: Whether a label depends on the element, ``[S]``.
        symbols: Of the elements of the model.
        say: What is called with a note, if there is something to say.

    Example:
        >>> say_unseen("U0", "shift", [True, False], ["H", "C"], print)
        note: target 'U0' is not known of any C in the training frames; its shift for C is 0
    """
    unseen = ", ".join(symbol for symbol, known in zip(symbols, seen, strict=True) if not known)
    if unseen:
        say(f"note: target {name!r} is not known of any {unseen} in the training frames; its {key} for {unseen} is 0")


def spread(residuals: Array, values: Array) -> float | None:
    """Return the root mean square of residuals; None if they are nothing but rounding of the values.

    Example:
        >>> spread(np.array([3.0, -3.0]), np.array([7.0, 1.0])), spread(np.zeros(2), np.ones(2))
        (3.0, None)
    """
    rms = float(np.sqrt(np.mean(residuals**2)))
    return rms if rms > _ROUNDING * float(np.abs(values).max()) else None
