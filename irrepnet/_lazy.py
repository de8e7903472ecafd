"""Lazy package faces (PEP 562): a face lists its public names, and a name is imported when it is first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def lazy_face(package: str, homes: dict[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return the ``__getattr__``, ``__dir__`` and ``__all__`` of a package face.

    Args:
        package: The face's ``__name__``.
        homes: Public name -> module inside the package that defines it. A name whose home bears the same
            name as itself and defines no such attribute is the module (``irrepnet.o3``).

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
        return getattr(module, name, module) if homes[name].split(".")[-1] == name else getattr(module, name)

    names = sorted(homes)
    return __getattr__, lambda: names, names
