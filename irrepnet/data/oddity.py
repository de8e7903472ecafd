"""What looks odd in data: one finding, with the number that it rests on."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Oddity"]


class Oddity(NamedTuple):
    """One finding about data; its text is a sentence for the user.

    Args:
        kind: ``duplicate``, ``energy_outlier``, ``force_outlier``, ``net_force``, ``zero_forces``, ``length_unit``,
            ``energy_unit``, ``force_unit``, ``force_sign``, ``stress_unit``, ``stress_sign``, ``unknown_property``,
            ``leak``, ...
        source: The frame, or the set of frames, that it is about.
        value: The number that was found.
        unit: Of that number; empty for a ratio.
        sentence: What was seen, what it looks like, and what to change.

    Example:
        >>> print(Oddity("force_sign", "4 frames", -1.0, "", "forces point uphill; change their sign"))
        forces point uphill; change their sign
    """

    kind: str
    source: str
    value: float
    unit: str
    sentence: str

    def __str__(self) -> str:
        return self.sentence
