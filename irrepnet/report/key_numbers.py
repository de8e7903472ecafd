"""The few numbers that a report leads with: errors per label, and how well dynamics keeps its energy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.elements import SYMBOLS
from irrepnet.report.data import Dynamics, Parity

__all__ = ["Drift", "ErrorRow", "energy_drift", "error_rows", "force_error_rows"]

MILLI = 1000.0  # eV -> meV
FS_PER_PS = 1000.0


class ErrorRow(NamedTuple):
    """Errors of one label on the test frames.

    Example:
        >>> ErrorRow("forces", "meV/Å", mae=31.0, rmse=44.0, spread=880.0, size=9).share
        0.05
    """

    label: str
    unit: str
    mae: float
    rmse: float
    spread: float  # standard deviation of the reference: the RMSE of predicting its mean
    size: int  # numbers compared

    @property
    def share(self) -> float:
        """RMSE over spread; NaN where the reference does not vary."""
        return self.rmse / self.spread if self.spread > 0 else float("nan")


class Drift(NamedTuple):
    """How the total energy of a run at constant energy moves.

    Example:
        >>> Drift(slope=0.5, fluctuation=0.2).slope
        0.5
    """

    slope: float  # of the straight line through the total energy, meV/atom/ps
    fluctuation: float  # standard deviation about that line, meV/atom


def error_rows(parity: Parity) -> list[ErrorRow]:
    """Return one row for the energy, the forces and, where there are any, the stresses.

    Example:
        >>> parity = Parity([-1.0, -3.0], [-1.0, -3.002], np.eye(3), np.eye(3), [8, 1, 1])
        >>> [(row.label, round(row.mae, 6)) for row in error_rows(parity)]
        [('energy', 1.0), ('forces', 0.0)]
    """
    rows = [
        _error_row("energy", "meV/atom", parity.energy_ref, parity.energy_pred),
        _error_row("forces", "meV/Å", parity.forces_ref, parity.forces_pred),
    ]
    if parity.stress_ref is not None and parity.stress_pred is not None:
        rows.append(_error_row("stress", "meV/Å³", parity.stress_ref, parity.stress_pred))
    return [row for row in rows if row.size]


def force_error_rows(parity: Parity) -> list[ErrorRow]:
    """Return one row for the forces on each element, by atomic number.

    Example:
        >>> parity = Parity([-1.0], [-1.0], np.eye(3), np.eye(3) + 0.001, [8, 1, 1])
        >>> [(row.label, round(row.rmse, 6)) for row in force_error_rows(parity)]
        [('H', 1.0), ('O', 1.0)]
    """
    rows = []
    for number in np.unique(parity.species):
        atoms = parity.species == number
        rows.append(_error_row(SYMBOLS[number], "meV/Å", parity.forces_ref[atoms], parity.forces_pred[atoms]))
    return [row for row in rows if row.size]


def energy_drift(dynamics: Dynamics) -> Drift | None:
    """Fit a straight line to the total energy per atom.

    Returns:
        Its slope and what remains about it; None for fewer than three finite points, through which any line fits, and
        where a thermostat changes the energy on purpose.

    Example:
        >>> time = np.arange(5) * 1000.0
        >>> dynamics = Dynamics(time, -2.0 + 0.004 * time / 1000, np.zeros(5), np.zeros(5), num_atoms=4)
        >>> round(energy_drift(dynamics).slope, 6)
        1.0
    """
    energy = MILLI * dynamics.total_energy / dynamics.num_atoms
    finite = np.isfinite(energy)
    if finite.sum() < 3 or not dynamics.keeps_energy:
        return None
    time, energy = dynamics.time[finite] / FS_PER_PS, energy[finite]
    energy = energy - energy[0]  # the fit is of small numbers
    slope, offset = np.polyfit(time, energy, 1)
    return Drift(float(slope), float((energy - slope * time - offset).std()))


def _error_row(label: str, unit: str, reference: NDArray[np.float64], predicted: NDArray[np.float64]) -> ErrorRow:
    known = np.isfinite(reference)
    reference, predicted = reference[known], predicted[known]
    if reference.size == 0:
        return ErrorRow(label, unit, np.nan, np.nan, np.nan, 0)
    error = MILLI * (predicted - reference)
    mae, rmse = np.abs(error).mean(), np.sqrt(np.square(error).mean())
    return ErrorRow(label, unit, float(mae), float(rmse), float(MILLI * reference.std()), error.size)
