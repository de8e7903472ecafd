"""What a conversion left behind: modules of e3nn where it does not reach, and attributes that have no place in a twin.

Nothing here imports e3nn: its classes are known by the names of their modules.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import nn

from irrepnet.convert.e3nn_modules import e3nn_base

__all__ = ["leftovers", "lost_attributes"]

_OWN_STORES = {"_modules", "_parameters", "_buffers"}
_LEAVES = (str, bytes, int, float, complex, torch.Tensor, type, ModuleType, type(None))


def leftovers(result: nn.Module, kept: Iterable[str] = ()) -> Iterator[tuple[str, nn.Module]]:
    """Find the modules of e3nn in a module: among its parts, and in what their attributes hold.

    Attributes are searched through lists, dicts, sets, objects, methods, partial functions and closures. What is inside
    a module of e3nn, or of a class derived from one, is not looked at.

    Args:
        result: Any module.
        kept: Paths of parts not to look at.

    Returns:
        An iterator of pairs: where the module is, and the module.

    Example:
        >>> list(leftovers(nn.Linear(1, 1)))
        []
    """
    seen = {id(part) for part in result.modules()}
    closed = tuple(_prefix(path) for path in kept)
    for path, part in result.named_modules():
        if _prefix(path).startswith(closed):
            continue
        if e3nn_base(type(part)) is not None:
            yield path, part
            closed = (*closed, _prefix(path))
            continue
        for name, value in vars(part).items():
            if name not in _OWN_STORES:
                yield from ((_prefix(path) + name, found) for found in _held(value, seen))


def _prefix(path: str) -> str:
    return f"{path}." if path else ""


def lost_attributes(old: nn.Module) -> list[str]:
    """Return the names of the attributes of a module of e3nn that its class does not speak of: they are its user's.

    Args:
        old: A module of e3nn.

    Example:
        >>> lost_attributes(nn.Identity())
        []
    """
    known = set(vars(nn.Module())).union(
        *(_words(cls) for cls in type(old).__mro__ if cls.__module__.startswith("e3nn."))
    )
    return [name for name in vars(old) if name not in known]


@functools.cache
def _words(cls: type) -> frozenset[str]:
    """Return the names and texts in the methods of a class; what it sets on its objects is among them."""
    functions = (getattr(thing, "__func__", thing) for thing in vars(cls).values())
    codes = [function.__code__ for function in functions if isinstance(function, FunctionType)]
    return frozenset(word for code in codes for word in _words_of_code(code))


def _words_of_code(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from _words_of_code(constant)


def _held(value: Any, seen: set[int]) -> Iterator[nn.Module]:
    """Find the modules of e3nn that a value holds, directly or not; ``seen`` are the objects not to look at again."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, _LEAVES) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, nn.Module) and e3nn_base(type(value)) is not None:
            yield value
        else:
            waiting.extend(_contents(value))


def _contents(value: Any) -> Iterator[Any]:
    """Return what is directly in a value."""
    yield from getattr(value, "__dict__", {}).values()
    if isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from value
    elif isinstance(value, functools.partial):
        yield from (value.func, value.args, value.keywords)
    elif isinstance(value, MethodType):
        yield from (value.__self__, value.__func__)
    elif isinstance(value, FunctionType):
        yield from (value.__defaults__, value.__kwdefaults__)
        for cell in value.__closure__ or ():
            with contextlib.suppress(ValueError):  # of a cell that is still empty
                yield cell.cell_contents
