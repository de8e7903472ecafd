"""Running sums of errors, from which mean and root mean square follow at any time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

__all__ = ["ErrorSums", "metric_unit"]

# People compare force fields in meV; every other quantity stays in its own unit.
_SHOWN = {"eV/atom": "meV/atom", "eV/Å": "meV/Å", "eV/Å^3": "meV/Å^3"}
_MILLI = 1000.0  # eV -> meV


def metric_unit(unit: str) -> tuple[str, float]:
    """Return the unit in which errors of a quantity are shown, and the factor that brings them there.

    Example:
        >>> metric_unit("eV/Å"), metric_unit("Debye")
        (('meV/Å', 1000.0), ('Debye', 1.0))
    """
    return (_SHOWN[unit], _MILLI) if unit in _SHOWN else (unit, 1.0)


@dataclass
class ErrorSums:
    """Sums of absolute and squared errors per label, in the label's own unit.

    Example:
        >>> import torch
        >>> sums = ErrorSums()
        >>> sums.add("forces", torch.tensor([3e-3, -4e-3]))
        >>> {name: round(value, 6) for name, value in sums.metrics({"forces": "eV/Å"}).items()}
        {'forces_mae': 3.5, 'forces_rmse': 3.535534}
    """

    count: dict[str, int] = field(default_factory=dict)
    absolute: dict[str, float] = field(default_factory=dict)
    squared: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, difference: Tensor) -> None:
        """Add the entries of a tensor of errors, all of which have a reference."""
        difference = difference.detach().double()
        self.add_sums(name, difference.numel(), difference.abs().sum().item(), difference.square().sum().item())

    def add_sums(self, name: str, count: float, absolute: float, squared: float) -> None:
        """Add what was summed elsewhere: number of entries, sum of their absolute values and of their squares."""
        self.count[name] = self.count.get(name, 0) + int(count)
        self.absolute[name] = self.absolute.get(name, 0.0) + absolute
        self.squared[name] = self.squared.get(name, 0.0) + squared

    def add_all(self, errors: Mapping[str, Tensor]) -> None:
        """Add the errors of every label that has any."""
        for name, difference in errors.items():
            self.add(name, difference)

    def numbers(self, labels: Sequence[str]) -> list[float]:
        """Return count and both sums of each label in a row, zeros where there is none: what ranks can add up."""
        columns = (self.count, self.absolute, self.squared)
        return [float(column.get(label, 0)) for label in labels for column in columns]

    @classmethod
    def from_numbers(cls, labels: Sequence[str], numbers: Sequence[float]) -> ErrorSums:
        """Return the sums that :meth:`numbers` wrote down.

        Example:
            >>> ErrorSums.from_numbers(["energy", "forces"], [0, 0, 0, 2, 0.3, 0.05]).count
            {'forces': 2}
        """
        sums = cls()
        for place, label in enumerate(labels):
            count, absolute, squared = numbers[3 * place : 3 * place + 3]
            if count:
                sums.add_sums(label, count, absolute, squared)
        return sums

    def merge(self, other: ErrorSums) -> None:
        """Add all that another one has."""
        for name, count in other.count.items():
            self.add_sums(name, count, other.absolute[name], other.squared[name])

    def metrics(self, units: Mapping[str, str]) -> dict[str, float]:
        """Return ``{name}_mae`` and ``{name}_rmse`` in the unit of :func:`metric_unit`."""
        values = {}
        for name, count in self.count.items():
            if count:
                _, factor = metric_unit(units[name])
                values[f"{name}_mae"] = factor * self.absolute[name] / count
                values[f"{name}_rmse"] = factor * math.sqrt(self.squared[name] / count)
        return values
