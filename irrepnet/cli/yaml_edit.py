"""Change keys of a commented YAML file and keep its comments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

__all__ = ["with_changes"]

_INDENT = 2


def with_changes(text: str, changes: Mapping[tuple[str, ...], Any]) -> tuple[str, dict[str, Any]]:
    """Return a YAML text with some keys changed, and what it says.

    A key that is there gets another value and keeps its comment; one that is commented out (``# key: value``) is put
    into force; any other is added at the end of its section.

    Args:
        text: Sections of block style, indented by two spaces.
        changes: Paths of keys -> values.

    Raises:
        ConfigError: If a path runs through something that is not a section, or a text has line breaks or other
            characters that cannot be printed.

    Example:
        >>> text = "a:\\n  b: 1   # one\\n  # c: 2\\n"
        >>> print(with_changes(text, {("a", "b"): 10, ("a", "c"): 3, ("a", "d"): 4})[0])
        a:
          b: 10  # one
          c: 3
          d: 4
        <BLANKLINE>
    """
    from irrepnet.errors import ConfigError
    from irrepnet.train.config_file import apply_overrides

    tree = yaml.safe_load(text)
    lines = text.removesuffix("\n").split("\n")
    for keys, value in changes.items():
        if value is None and not _is_there(tree, keys):
            continue  # nothing to put out of force
        if not _flow(value).isprintable():
            raise ConfigError(
                f"--set {'.'.join(keys)} needs text that can be printed, in one line; found {value!r:.60}"
            )
        apply_overrides(tree, {keys: value})
        _set(lines, keys, tree)
    edited = "\n".join(lines) + "\n"
    assert yaml.safe_load(edited) == tree, "the text must say what the tree says"
    return edited, tree


def _is_there(tree: Any, keys: Sequence[str]) -> bool:
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return True


def _set(lines: list[str], keys: Sequence[str], tree: Any) -> None:
    """Write the value that the tree has for a path into the lines."""
    start, end = 0, len(lines)
    for depth, key in enumerate(keys):
        value, is_last = tree[key], depth + 1 == len(keys)
        indent = " " * (_INDENT * depth)
        place = _find(lines, start, end, re.compile(f"{indent}{re.escape(key)}:"))
        if place is None:
            _put(lines, start, end, indent, key, value)
            return
        block = _end_of_block(lines, place, end, len(indent))
        is_block = re.fullmatch(rf"{indent}[^:]+:\s*(#.*)?", lines[place]) and block > place + 1
        if is_last or not is_block:
            lines[place:block] = [_changed(lines[place], f"{indent}{key}", value)]
            return
        start, end, tree = place + 1, block, value


def _put(lines: list[str], start: int, end: int, indent: str, key: str, value: Any) -> None:
    """Add a key to a section: in the place where it is commented out, or at the end."""
    place = _find(lines, start, end, re.compile(f"{indent}# {re.escape(key)}:"))
    if place is not None:
        lines[place] = _changed(lines[place], f"{indent}{key}", value)
        return
    while end > start and not lines[end - 1].strip():
        end -= 1
    lines.insert(end, f"{indent}{key}: {_flow(value)}")


def _find(lines: Sequence[str], start: int, end: int, wanted: re.Pattern[str]) -> int | None:
    return next((place for place in range(start, end) if wanted.match(lines[place])), None)


def _end_of_block(lines: Sequence[str], place: int, end: int, indent: int) -> int:
    """Return where what belongs to a key ends; blank lines below it do not belong to it."""
    last = place
    for below in range(place + 1, end):
        line = lines[below]
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        if line.strip():
            last = below
    return last + 1


def _changed(line: str, key: str, value: Any) -> str:
    """Return a line with another value and its comment, in the same column where there is room."""
    comment = re.search(r"\s(#[^#]*)$", line)
    plain = f"{key}: {_flow(value)}"
    if comment is None or (line.lstrip().startswith("#") and comment.start(1) == len(line) - len(line.lstrip())):
        return plain
    return f"{plain:<{comment.start(1) - 1}} {comment[1]}"


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10_000)
    return text.removesuffix("...\n").removesuffix("\n")
