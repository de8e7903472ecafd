"""What a conversion did, module by module, as a table to print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["ConversionReport", "ConvertedModule"]


class ConvertedModule(NamedTuple):
    """One line of a ``ConversionReport``.

    Attributes:
        path: Where the module is, as ``named_modules`` says it.
        found: Its class.
        replaced_by: What stands there now, or None where the module was kept.
        num_weights: Number of its parameters' entries; for modules with converted children, of its own.
        note: Why it was kept, or what else to know.
        is_left: Whether it is a module of e3nn, or one that may hold some, that was kept.

    Example:
        >>> ConvertedModule("mix", "e3nn.o3.Linear", "Linear(1x0e -> 1x0e | 1 weights)", 1, "").path
        'mix'
    """

    path: str
    found: str
    replaced_by: str | None
    num_weights: int
    note: str
    is_left: bool = False


@dataclass(frozen=True)
class ConversionReport:
    """What ``from_e3nn`` replaced, what it kept, and why; prints as a table.

    Attributes:
        modules: All modules that were looked at, from the root down.

    Example:
        >>> line = ConvertedModule("mix", "e3nn.o3.Linear", "Linear(1x0e -> 1x0e | 1 weights)", 1, "")
        >>> print(ConversionReport((line,)))
        1 of 1 e3nn modules replaced
        path | class          | weights | now
        mix  | e3nn.o3.Linear |       1 | Linear(1x0e -> 1x0e | 1 weights)
    """

    modules: tuple[ConvertedModule, ...]

    @property
    def replaced(self) -> tuple[ConvertedModule, ...]:
        """Modules of e3nn that were replaced."""
        return tuple(line for line in self.modules if line.replaced_by is not None)

    @property
    def not_replaced(self) -> tuple[ConvertedModule, ...]:
        """Modules of e3nn, or that may hold some, that were kept; ``note`` says why."""
        return tuple(line for line in self.modules if line.is_left)

    def __str__(self) -> str:
        done, left = len(self.replaced), len(self.not_replaced)
        rows = [("path", "class", "weights", "now")]
        for line in self.modules:
            now = line.replaced_by or ("NOT REPLACED" if line.is_left else "kept")
            text = f"{now}: {line.note}" if line.note else now
            rows.append((line.path or "(root)", line.found, str(line.num_weights), text))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        table = [f"{a:{widths[0]}} | {b:{widths[1]}} | {c:>{widths[2]}} | {d}" for a, b, c, d in rows]
        return "\n".join([f"{done} of {done + left} e3nn modules replaced", *table])
