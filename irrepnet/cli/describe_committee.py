"""What the file of a committee holds: its members, and what their spread is worth."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from irrepnet.cli.describe_model import describe_model, format_facts
from irrepnet.data.elements import SYMBOLS
from irrepnet.deploy.committee import Committee
from irrepnet.deploy.committee_file import load_committee

__all__ = ["describe_committee"]


def describe_committee(path: str | os.PathLike[str]) -> str:
    """Return a page of text on a committee, and on its first member.

    Args:
        path: A file by :func:`~irrepnet.deploy.save_committee`.

    Raises:
        FileNotFoundError: If there is no such file, or one of a member is missing.
        CheckpointError: If it is damaged, or a member's file is another one.

    Example:
        >>> describe_committee("missing.committee")
        Traceback (most recent call last):
        FileNotFoundError: a file of a committee is needed; there is no missing.committee; check the path
    """
    committee = load_committee(path)
    first = committee.files[0]
    assert first is not None  # it was read from a file
    return f"{format_facts(list(_facts(Path(path), committee)))}\n\nfirst member\n{describe_model(first.path)}"


def _facts(path: Path, committee: Committee) -> Iterator[tuple[str, str]]:
    yield "committee", f"{path}: {len(committee.members)} models of kind {committee.kind}"
    yield "elements", ", ".join(SYMBOLS[number] for number in committee.atomic_numbers)
    yield "cutoff", f"{committee.cutoff:g} Å"
    for place, file in enumerate(file for file in committee.files if file is not None):
        yield "members" if place == 0 else "", f"{os.path.relpath(file.path, path.absolute().parent)}  {file.sha256}"
    if not committee.calibration:
        yield "spreads", "not calibrated: standard deviations between the models"
    for place, (label, (factor, entries)) in enumerate(committee.calibration.items()):
        yield "spreads" if place == 0 else "", f"{label}: multiplied by {factor:.3g}, from {entries} known entries"
