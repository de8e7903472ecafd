"""Does a model keep what every force field of this package promises? The same checks for a file and for a report."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from irrepnet.data.formats import read_frames
from irrepnet.data.frame import Frame
from irrepnet.deploy.predictor import Predictor
from irrepnet.models.force_field import ForceField
from irrepnet.testing.equivariance import LEAST_RMS, equivariance_error
from irrepnet.testing.signature import Permutation

__all__ = ["RATTLE", "Check", "check_model", "example_frame", "format_checks", "rattled"]

RATTLE = 0.05  # Å, width of the moves of atoms before they are checked

TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-4}
_FORCE_TOLERANCE = 1e-6  # eV/Å, of a float64 model against finite differences
_STRESS_TOLERANCE = 1e-8  # eV/Å^3
_STEP = 1e-4  # Å or strain, of the five-point formula: splines of radial tables have jumps in their third derivative


class Check(NamedTuple):
    """One promise and how well it was kept.

    Example:
        >>> Check("energy and forces: rotation", "float64", 3e-15, 1e-10, "of the rms").passed
        True
    """

    name: str
    dtype: str
    error: float
    tolerance: float
    unit: str
    is_least: bool = False

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance, or above it where that is the least to have; a NaN is neither."""
        return bool(self.error >= self.tolerance if self.is_least else self.error <= self.tolerance)


def check_model(model: ForceField, frame: Frame, *, trials: int = 3) -> list[Check]:
    """Check equivariance in float64 and float32, and forces and stress against finite differences in float64.

    They are made on a copy of which every atom has been moved a little, always in the same way: the forces of a perfect
    crystal are zero by symmetry, and zeros prove nothing.

    Args:
        model: A force field; it is left as it was.
        frame: A structure whose elements it knows.
        trials: Random transformations of each kind.

    Returns:
        One row per promise.
    """
    checks: list[Check] = []
    frame = rattled(frame)
    for dtype in TOLERANCES:
        predict = Predictor(copy.deepcopy(model).to(dtype).cpu())
        # The rounding of a constant of -30,000 eV would be the measure of all errors.
        predict.model.shifts.zero_()
        checks += _equivariance(predict, frame, dtype, trials)
        if dtype == torch.float64:
            checks += _derivatives(predict, frame)
    return checks


def rattled(frame: Frame) -> Frame:
    """Return a copy with its atoms moved by about 0.05 Å along each axis, always in the same way.

    Example:
        >>> pair = Frame(species=[6, 6], pos=[[0, 0, 0], [0, 0, 1.54]])
        >>> bool(0 < abs(rattled(pair).pos - pair.pos).max() < 0.25)
        True
    """
    return replace(frame, pos=frame.pos + np.random.default_rng(0).normal(scale=RATTLE, size=frame.pos.shape))


def example_frame(model: ForceField) -> Frame:
    """Return a structure to check a model on: shipped water where the model knows it, else atoms on a shaken lattice.

    Example:
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> len(example_frame(ForceField(ForceFieldConfig(species=("Si", "C")))))
        27
    """
    if {1, 8} <= set(model.atomic_numbers):
        return read_frames("package:water_xtb/heldout.npz")[0]
    rng = np.random.default_rng(0)
    spacing = 0.45 * model.cutoff  # about as far as bonded atoms are in a model with this cutoff
    lattice = spacing * np.stack(np.meshgrid(*[np.arange(3.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    pos = lattice + rng.uniform(-0.1, 0.1, lattice.shape) * spacing
    species = rng.choice(model.atomic_numbers, len(pos))
    return Frame(species=species, pos=pos, cell=3 * spacing * np.eye(3), pbc=np.ones(3, bool), source="shaken lattice")


def format_checks(checks: list[Check]) -> str:
    """Return the checks as a table.

    Example:
        >>> print(format_checks([Check("rotation", "float64", 3.1e-15, 1e-10, "of the rms")]))
        check       dtype      error   allowed  unit
        rotation    float64  3.1e-15   1.0e-10  of the rms     passed
    """
    width = max(len(check.name) for check in checks) + 2
    lines = [f"{'check':<{width}}  {'dtype':<8}{'error':>8}{'allowed':>10}  unit"]
    lines += [
        f"{check.name:<{width}}  {check.dtype:<8}{check.error:>8.1e}{check.tolerance:>10.1e}  {check.unit:<13}  "
        f"{'passed' if check.passed else 'FAILED'}"
        for check in checks
    ]
    return "\n".join(lines)


def _equivariance(predict: Predictor, frame: Frame, dtype: torch.dtype, trials: int) -> Iterator[Check]:
    """Transform positions (and cell), find neighbours anew, and compare energy and forces."""

    def energy_and_forces(pos: Tensor, species: Tensor, cell: Tensor | None = None) -> tuple[Tensor, Tensor]:
        prediction = predict(species.numpy(), pos.numpy(), None if cell is None else cell.numpy(), frame.pbc)
        return prediction.energy[:, None], prediction.forces

    cell = [] if frame.cell is None else [torch.tensor(frame.cell)]  # rows are vectors
    report = equivariance_error(
        energy_and_forces,
        ["cartesian_points", None, *["1o" for _ in cell]],
        ["0e", "1o"],
        permutation=Permutation(inputs=[0, 1], outputs=[1]) if len(frame) > 1 else None,
        inputs=[torch.tensor(frame.pos), torch.tensor(frame.species), *cell],
        trials=trials,
    )
    for kind, error in report.errors.items():
        yield Check(kind, str(dtype).removeprefix("torch."), error, TOLERANCES[dtype], "of the rms")
    # Zeros keep every symmetry, which proves nothing.
    yield Check("smallest rms", str(dtype).removeprefix("torch."), report.rms, LEAST_RMS, "at least", is_least=True)


def _derivatives(predict: Predictor, frame: Frame) -> Iterator[Check]:
    """Compare forces and stress with five-point finite differences of the energy, and add the forces up."""

    def energy(pos: NDArray[np.float64], cell: NDArray[np.float64] | None) -> float:
        return float(predict(frame.species, pos, cell, frame.pbc).energy)

    def slope(along: NDArray[np.float64]) -> float:
        """Derivative of the energy along a displacement of atoms ``[N, 3]`` or a strain ``[1, 3, 3]``."""
        values = []
        for step in (-2, -1, 1, 2):
            if along.ndim == 2:
                values.append(energy(frame.pos + step * _STEP * along, frame.cell))
            else:
                strain = np.eye(3) + step * _STEP * along[0]
                values.append(energy(frame.pos @ strain, frame.cell @ strain))
        return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * _STEP)

    prediction = predict(frame.species, frame.pos, frame.cell, frame.pbc)
    forces = prediction.forces.double().numpy(force=True)
    rng = np.random.default_rng(0)
    errors = []
    for atom, axis in zip(rng.integers(len(frame), size=6), (0, 1, 2, 0, 1, 2), strict=True):
        along = np.zeros_like(forces)
        along[atom, axis] = 1.0
        errors.append(abs(slope(along) + forces[atom, axis]))
    yield Check("forces = -dE/dpos", "float64", max(errors), _FORCE_TOLERANCE, "eV/Å")
    yield Check("sum of forces = 0", "float64", float(abs(forces.sum(axis=0)).max()), TOLERANCES[torch.float64], "eV/Å")
    if prediction.stress is not None and frame.cell is not None:
        stress = prediction.stress[0].double().numpy(force=True)
        volume = abs(np.linalg.det(frame.cell))
        errors = []
        for row, column in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
            strain = np.zeros((1, 3, 3))
            strain[0, row, column] += 0.5
            strain[0, column, row] += 0.5
            errors.append(abs(slope(strain) / volume - stress[row, column]))
        yield Check("stress = dE/dstrain / V", "float64", max(errors), _STRESS_TOLERANCE, "eV/Å^3")
