"""A bar that shows how far a command is, where somebody can see it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["with_progress"]

Item = TypeVar("Item")


def with_progress(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """Yield the items and, on a terminal, move a bar; it is gone at the end.

    Args:
        items: What is worked through.
        what: Shown before the bar.
        total: How many there are.

    Example:
        >>> list(with_progress("ab", "letters", 2))
        ['a', 'b']
    """
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)  # what is printed stays clean
    yield from track(items, what, total=total, console=console, transient=True, disable=not console.is_terminal)
