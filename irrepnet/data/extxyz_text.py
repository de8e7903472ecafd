"""The text of extended XYZ, read without ASE: what a frame says word for word, before anything becomes a number."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from irrepnet.errors import DataError

__all__ = ["FrameText", "comment_entries", "one_text", "scan_frames"]

_JSON = "_JSON "
_CLOSING = {'"': '"', "'": "'", "{": "}", "[": "]"}
_SPACE, _EQUALS, _EMPTY = "\ue000", "\ue001", "\ue002"  # outside quotes, and quotes around nothing
_PERIODS = {"T": True, "TRUE": True, "1": True, "F": False, "FALSE": False, "0": False}
_BOOLS = ("T", "F", "True", "False")  # that ASE knows in columns; it takes all else for false
_DEFAULT_COLUMNS = "species:S:1:pos:R:3"


class FrameText(NamedTuple):
    """What one frame says.

    Args:
        num_atoms: N.
        entries: Of its comment line: name -> text.
        pbc: Periodic directions, shape ``[3]``; None if the frame does not say.
    """

    num_atoms: int
    entries: dict[str, str]
    pbc: NDArray[np.bool_] | None


def scan_frames(text: str, label: str) -> list[FrameText]:
    """Return what each frame says; every line has to have its columns.

    Args:
        text: Of the whole file.
        label: The file, for messages.

    Raises:
        DataError: If a count, a column or an entry of a comment line is not as the format has it, names frame and line.

    Example:
        >>> scan_frames("1\\nid=007 pbc='T T F'\\nH 0 0 0\\n", "h.xyz")[0].entries["id"]
        '007'
    """
    lines = text.rstrip().split("\n") if text.strip() else []
    frames: list[FrameText] = []
    place = 0
    while place < len(lines):
        source = f"{label} frame {len(frames)}"
        if not re.fullmatch(r"\s*[0-9]+\s*", lines[place]):
            raise DataError(f"{source}: line {place + 1} needs the number of atoms; found {lines[place]!r:.60}")
        size = int(lines[place])
        if place + 2 + size > len(lines):
            raise DataError(f"{source}: needed {size} atoms; found the end of the file after {len(lines) - place - 2}")
        entries = comment_entries(lines[place + 1], source)
        pbc = _periods(entries["pbc"], source) if "pbc" in entries else None
        _check_columns(lines[place + 2 : place + 2 + size], place + 3, entries, source)
        frames.append(FrameText(size, entries, pbc))
        place += 2 + size
    return frames


def comment_entries(line: str, source: str) -> dict[str, str]:
    r"""Return the entries of a comment line, name -> text; a name alone has the text ``T``.

    Quotes (``"..."``, ``'...'``, ``{...}``, ``[...]``) hold a text together, a backslash takes away the meaning of what
    follows it.

    Args:
        line: The comment line.
        source: The frame, for messages.

    Raises:
        DataError: If a name is there twice, or has an empty text, after which ASE loses the next entry.

    Example:
        >>> comment_entries(r'energy=-1 name="a \"b\" = c" relaxed', "h.xyz frame 0")
        {'energy': '-1', 'name': 'a "b" = c', 'relaxed': 'T'}
    """
    marked = re.sub(f"{_SPACE}*{_EQUALS}{_SPACE}*", _EQUALS, "".join(_marked(line.strip())))
    entries: dict[str, str] = {}
    for word in filter(None, marked.split(_SPACE)):
        name, equals, text = word.partition(_EQUALS)
        text = text.replace(_EQUALS, "=")
        if _EMPTY in word or (equals and not (name and text.strip())):
            shown = (name + equals + text).replace(_EQUALS, "=").replace(_EMPTY, '""')
            raise DataError(f"{source}: needed entries such as name=value; found {shown!r:.60}; remove what is empty")
        if name in entries:
            raise DataError(f"{source}: needed {name!r} once; found {entries[name]!r:.60} and {text!r:.60}")
        entries[name] = text if equals else "T"
    return entries


def one_text(text: str, what: str) -> str:
    """Return a text of a comment line as it was meant: programs write ``007`` as a list of one, ``_JSON ["007"]``.

    Args:
        text: Of the comment line.
        what: Frame and name, for messages.

    Raises:
        DataError: If it is JSON of anything but one text or number.

    Example:
        >>> one_text("1_23", "h.xyz frame 0: id"), one_text('_JSON ["007"]', "h.xyz frame 0: id")
        ('1_23', '007')
    """
    if not text.startswith(_JSON):
        return text
    try:
        value = json.loads(text.removeprefix(_JSON))
    except ValueError as error:
        raise DataError(f"{what} needs a text; found {text!r:.60}, which is not JSON ({error})") from error
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DataError(f"{what} needs one text; found {text!r:.60}")
    return str(value)


def _marked(line: str) -> Iterator[str]:
    """Yield the letters of a line without quotes and escapes; spaces and equals signs that separate are marked."""
    closing, escaped, empty = "", False, False
    for char in line:
        if escaped or (closing and char not in (closing, "\\")):
            escaped = empty = False
            yield char
        elif char == "\\":
            escaped = True
        elif closing:
            closing = ""
            yield from _EMPTY if empty else ""
        elif char in _CLOSING:
            closing, empty = _CLOSING[char], True
        else:
            yield _SPACE if char.isspace() else _EQUALS if char == "=" else char


def _periods(text: str, source: str) -> NDArray[np.bool_]:
    words = [word.upper() for word in re.findall(r"[^\s,]+", text)]
    if len(words) not in (1, 3) or not set(words) <= _PERIODS.keys():
        raise DataError(f"{source}: pbc needs one or three of T, F, True, False, 1, 0; found {text!r:.60}")
    return np.broadcast_to([_PERIODS[word] for word in words], 3).astype(bool)


def _check_columns(lines: Sequence[str], first: int, entries: dict[str, str], source: str) -> None:
    """Raise a DataError for rows that have other columns than announced, or words that would turn into other values."""
    described = entries.get("Properties", _DEFAULT_COLUMNS)
    fields = described.split(":")
    kinds = "".join(kind[:1] * int(count) for kind, count in zip(fields[1::3], fields[2::3], strict=True))
    for number, line in enumerate(lines, start=first):
        words = line.split()
        if len(words) != len(kinds):
            raise DataError(f"{source}: line {number} needs {len(kinds)} columns ({described}); found {len(words)}")
        if "_" in line:  # in Python 1_0 is ten
            for word, kind in zip(words, kinds, strict=True):
                if kind in "RI" and "_" in word:
                    raise DataError(f"{source}: line {number} needs numbers; found {word!r}")
        if "L" in kinds:
            for word, kind in zip(words, kinds, strict=True):
                if kind == "L" and word not in _BOOLS:
                    raise DataError(f"{source}: line {number} needs {', '.join(_BOOLS)}; found {word!r}")
