"""Lazy package faces (PEP 562): a face lists its public names, and a name is imported when it is first asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


class _Face(ModuleType):
    """A package on which a public name stays what it is when a file of that name is imported.

    Importing ``ops/tensor_product.py`` binds the module on the package, over the function ``ops.tensor_product``.
    A room stays the room: ``irrepnet.train`` is the package, though it holds a function of that name.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and name in self.__all__ and not hasattr(value, "__path__"):
            value = getattr(value, name, value)
        super().__setattr__(name, value)


def lazy_face(package: str, homes: dict[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return the ``__getattr__``, ``__dir__`` and ``__all__`` of a package face.

    Args:
        package: The face's ``__name__``.
        homes: Public name -> module inside the package that defines it. Where the home bears the name itself and is a
            package, or defines nothing of that name, the name stands for the home (``irrepnet.o3``).

    Returns:
        The three objects to bind at module level.

    Example:
        >>> __getattr__, __dir__, __all__ = lazy_face("irrepnet", {"o3": "o3"})
        >>> __all__
        ['o3']
    """

    def __getattr__(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f"{package}.{homes[name]}")
        if homes[name].split(".")[-1] != name:
            return getattr(module, name)
        return module if hasattr(module, "__path__") else getattr(module, name, module)

    names = sorted(homes)
    sys.modules[package].__class__ = _Face
    return __getattr__, lambda: names, names
