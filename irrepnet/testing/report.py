"""What an equivariance check found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from irrepnet.testing.calling import LEAST_RMS

__all__ = ["EntryErrors", "EquivarianceReport", "Finding"]


class Finding(NamedTuple):
    """The worst error under one kind of transformation, and the output and irreps in which it stands."""

    error: float
    place: str


class EntryErrors(NamedTuple):
    """The worst errors in one entry of the irreps of an output.

    Args:
        output: Position of the output.
        entry: The entry, such as ``"3x0e"``.
        irreps: All irreps of the output, as they were declared.
        rms: Root mean square of the entry, the smallest of all trials. Near zero its errors prove nothing.
        errors: Worst error by kind of transformation, in units of the rms of the entry, or of a hundredth of that of
            the whole output where this is more.

    Example:
        >>> EntryErrors(0, "3x0e", "3x0e+1x1o", 0.9, {"rotation": 1e-16}).place
        'output 0 (3x0e of 3x0e+1x1o)'
    """

    output: int
    entry: str
    irreps: str
    rms: float
    errors: dict[str, float]

    @property
    def place(self) -> str:
        """Where the entry stands, in words."""
        irreps = f"{self.entry} of {self.irreps}" if "+" in self.irreps else self.irreps
        return f"output {self.output} ({irreps})"


@dataclass(frozen=True)
class EquivarianceReport:
    """Errors of a function under each kind of transformation.

    It prints as one line per kind, and a table of all entries of the irreps of all outputs where there are several.

    Args:
        entries: Worst errors of each entry of the irreps of each output that was compared.
        rms: Root mean square of the outputs, of the one that is smallest. Below 1e-6 the errors prove nothing.
        dtype: The coarsest dtype among the compared tensors, which decides the default tolerance.
        trials: How often each kind was drawn.

    Example:
        >>> from irrepnet.testing import equivariance_error
        >>> report = equivariance_error(lambda x: x * x.norm(dim=-1, keepdim=True), "1o", "1o")
        >>> sorted(report.errors)
        ['inversion', 'rotation']
        >>> report.worst < 1e-12
        True
        >>> print(equivariance_error(lambda x: 0 * x, "1o", "1o", trials=1))
        rotation     0.0e+00  output 0 (1x1o)
        inversion    0.0e+00  output 0 (1x1o)
        smallest rms of an output 0.0e+00; 1 trial in float64

        A function that forgets the parity of odd scalars, its second entry:

        >>> x = torch.tensor([[1.0, 2.0, 3.0, -4.0]])
        >>> print(equivariance_error(torch.abs, "2x0e + 2x0o", "2x0e + 2x0o", inputs=[x]))
        rotation     0.0e+00  output 0 (2x0e of 2x0e+2x0o)
        inversion    2.3e+00  output 0 (2x0o of 2x0e+2x0o)
        smallest rms of an output 2.7e+00; 10 trials in float32
        output  entry      rms  rotation  inversion
             0  2x0e   1.6e+00   0.0e+00    0.0e+00
             0  2x0o   3.5e+00   0.0e+00    2.3e+00
    """

    entries: tuple[EntryErrors, ...] = field(repr=False)
    rms: float
    dtype: torch.dtype
    trials: int

    @property
    def findings(self) -> dict[str, Finding]:
        """Worst error of each kind ("rotation", "inversion", "translation", "permutation"), and its place."""
        worst = {kind: max(self.entries, key=lambda entry: entry.errors[kind]) for kind in self.entries[0].errors}
        return {kind: Finding(entry.errors[kind], entry.place) for kind, entry in worst.items()}

    @property
    def errors(self) -> dict[str, float]:
        """Worst error of each kind, over all outputs and trials; infinity where something was not finite."""
        return {kind: finding.error for kind, finding in self.findings.items()}

    @property
    def worst(self) -> float:
        """Worst error of all kinds."""
        return max(self.errors.values())

    def __str__(self) -> str:
        lines = [f"{kind:12} {finding.error:.1e}  {finding.place}" for kind, finding in self.findings.items()]
        trials = f"{self.trials} trial{'s' if self.trials > 1 else ''}"
        lines.append(f"smallest rms of an output {self.rms:.1e}; {trials} in {str(self.dtype).removeprefix('torch.')}")
        return "\n".join(lines + (self._table() if len(self.entries) > 1 else []))

    def _table(self) -> list[str]:
        """Return a line per entry, under a line of headings."""
        kinds = list(self.entries[0].errors)
        width = max(len("entry"), *(len(entry.entry) for entry in self.entries))
        lines = [f"output  {'entry':<{width}}  {'rms':>7}  " + "  ".join(f"{kind:>8}" for kind in kinds)]
        for entry in self.entries:
            errors = "  ".join(f"{entry.errors[kind]:>{max(8, len(kind))}.1e}" for kind in kinds)
            size = "zero" if entry.rms < LEAST_RMS else f"{entry.rms:.1e}"
            lines.append(f"{entry.output:>6}  {entry.entry:<{width}}  {size:>7}  {errors}")
        if any(entry.rms < LEAST_RMS for entry in self.entries):
            lines.append("An entry that is zero keeps every law and proves nothing.")
        return lines
