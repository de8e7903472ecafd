"""Which arguments the cases give to the public functions, classes and methods of a library."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import FunctionType

import torch

__all__ = ["Recorder"]

CASES = str(Path(__file__).parent)


class Recorder:
    """While it is entered, writes down each argument with a default that a case gives.

    Args:
        things: Name -> function or class.

    Attributes:
        given: "name.parameter" -> whether it was ever given a value that is not its default.
    """

    def __init__(self, things):
        self.codes = {}
        for name, thing in things.items():
            self._add(name, thing)
            for attribute, value in vars(thing).items() if inspect.isclass(thing) else ():
                if not attribute.startswith("_"):
                    self._add(f"{name}.{attribute}", getattr(value, "__func__", value))
        self.given = {f"{name}.{p.name}": False for name, parameters in self.codes.values() for p in parameters}

    def _add(self, name, thing):
        function = thing
        if inspect.isclass(thing):
            function = vars(thing).get("__new__") or vars(thing).get("__init__")
        function = inspect.unwrap(getattr(function, "__func__", function)) if callable(function) else None
        if isinstance(function, FunctionType):
            parameters = inspect.signature(function).parameters.values()
            self.codes.setdefault(function.__code__, (name, [p for p in parameters if p.default is not p.empty]))

    def __enter__(self):
        sys.setprofile(self._called)

    def __exit__(self, *_):
        sys.setprofile(None)

    def _called(self, frame, event, _):
        if event != "call" or frame.f_code not in self.codes:
            return
        name, parameters = self.codes[frame.f_code]
        caller = frame.f_back
        while "/torch/" in caller.f_code.co_filename:  # Module.__call__ and decorators
            caller = caller.f_back
        if caller.f_code.co_filename.startswith(CASES):  # else the library calls itself
            for p in parameters:
                self.given[f"{name}.{p.name}"] |= _differs(frame.f_locals[p.name], p)


def _differs(value, parameter):
    """Say whether a value is another than the default; the default dtype is not."""
    if isinstance(value, torch.dtype):
        return value is not torch.get_default_dtype()
    return isinstance(value, torch.Tensor) or repr(value) != repr(parameter.default)
