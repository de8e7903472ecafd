"""A force field as a calculator of the Atomic Simulation Environment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from irrepnet.deploy.committee import CommitteePrediction
from irrepnet.deploy.predictor import Predictor

try:
    from ase.calculators.calculator import Calculator, all_changes
    from ase.stress import full_3x3_to_voigt_6_stress
except ImportError as error:
    raise ImportError("IrrepNetCalculator needs ase; found it not installed; pip install 'irrepnet[md]'") from error

__all__ = ["IrrepNetCalculator"]


class IrrepNetCalculator(Calculator):
    """Give ASE the energy, forces and stress of a force field.

    ``energy`` and ``free_energy`` (they are the same here) in eV, ``forces`` in eV/Å, and for periodic atoms ``stress``
    in eV/Å^3, in Voigt's order xx, yy, zz, yz, xz, xy and with ASE's sign: dE/dstrain / V. Of a committee these are
    means, and the attribute ``spread`` has ``energy`` (eV), ``forces`` (one per atom, eV/Å) and ``stress`` (eV/Å^3) of
    the last structure: ASE writes and copies all ``results``, and knows none of these names.

    Args:
        model: A force field, a :class:`~irrepnet.deploy.Committee` of some, or the path of a ``*.model`` or
            ``*.committee`` file.
        device: Where it runs.
        skin: Å; more than 0 keeps the neighbour list between calls, see :class:`~irrepnet.deploy.Predictor`.

    Raises:
        ConfigError: If the skin is negative, or the model predicts no energy and forces.
        CheckpointError: If the file is not a sound model file.

    Example:
        >>> from ase.build import molecule
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> atoms = molecule("H2O")
        >>> atoms.calc = IrrepNetCalculator(ForceField(ForceFieldConfig(species=("H", "O"), irreps_hidden="4x0e+4x1o")))
        >>> atoms.get_forces().shape
        (3, 3)
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 (ASE's interface)

    def __init__(
        self, model: nn.Module | str | os.PathLike[str], device: str | torch.device = "cpu", skin: float = 0.0
    ):
        super().__init__()
        self.predict = Predictor(model, device=device, skin=skin)
        self.spread: dict[str, Any] = {}

    def calculate(
        self, atoms: Any = None, properties: Sequence[str] = ("energy",), system_changes: Sequence[str] = all_changes
    ) -> None:
        """Compute everything at once: the stress is nearly free once there are forces."""
        super().calculate(atoms, properties, system_changes)
        now: Any = self.atoms  # a copy that ASE has made
        prediction = self.predict(now.numbers, now.positions, now.cell.array if now.cell.any() else None, now.pbc)
        energy, self.spread = float(prediction.energy), {}
        self.results = {"energy": energy, "free_energy": energy, "forces": prediction.forces.double().numpy(force=True)}
        if prediction.stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(prediction.stress[0].double().numpy(force=True))
        if isinstance(prediction, CommitteePrediction):
            self.spread = {
                "energy": float(prediction.energy_spread),
                "forces": prediction.forces_spread.numpy(force=True),
            }
            if prediction.stress_spread is not None:
                self.spread["stress"] = float(prediction.stress_spread)
