"""What an equivariance check found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch

__all__ = ["EquivarianceReport", "Finding"]


class Finding(NamedTuple):
    """The worst error under one kind of transformation, and the output and irreps in which it stands."""

    error: float
    place: str


@dataclass(frozen=True)
class EquivarianceReport:
    """Errors of a function under each kind of transformation; prints as one line per kind.

    Args:
        findings: Worst error and its place, by kind ("rotation", "inversion", "translation", "permutation").
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
    """

    findings: dict[str, Finding] = field(repr=False)
    rms: float
    dtype: torch.dtype
    trials: int

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
        return "\n".join(lines)
