"""Functions whose results torch.compile takes as they are, instead of tracing how they are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["constant_when_compiled"]

P = ParamSpec("P")
T = TypeVar("T")


def constant_when_compiled(function: Callable[P, T]) -> Callable[P, T]:
    """Mark a function of Python values, to Python values, as one that torch.compile calls and does not trace.

    It sets what ``torch.compiler.assume_constant_result`` sets; calling that would import the whole compiler, which
    doubles the time that ``import irrepnet.o3`` takes. A test compiles through every use, so a PyTorch that reads
    another mark is noticed.

    Example:
        >>> @constant_when_compiled
        ... def answer() -> int:
        ...     return 42
        >>> answer()
        42
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
