"""When dynamics has to stop: at forces, or at a disagreement of a committee, that no result should be built on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.atomic_file import atomic_file
from irrepnet.data.elements import SYMBOLS
from irrepnet.data.frame import Frame
from irrepnet.data.write_extxyz import write_extxyz
from irrepnet.deploy.committee import Committee, CommitteePrediction
from irrepnet.deploy.predictor import Predictor
from irrepnet.errors import ConfigError, NonFiniteError

__all__ = ["DEFAULT_GUARD", "Guard", "check_guard", "guarded_forces"]

Array = NDArray[np.float64]


class Guard(NamedTuple):
    """When to stop, and where to write the frame at which a run was stopped.

    Example:
        >>> Guard(max_force=50.0).file
        'md_stopped.extxyz'
    """

    max_force: float = 100.0  # eV/Å on one atom; thermal forces in liquids are of the order of 1
    file: str | os.PathLike[str] = "md_stopped.extxyz"
    max_spread: float = np.inf  # eV/Å on one atom, of the forces of a committee's members


DEFAULT_GUARD = Guard()


def check_guard(guard: Guard, predict: Predictor) -> None:
    """Raise unless the guard can do its work with a model.

    Raises:
        ConfigError: If a limit is not above 0, or the spread of a single model is to be limited.

    Example:
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> model = ForceField(ForceFieldConfig(species=("H",), irreps_hidden="4x0e+4x1o"))
        >>> check_guard(Guard(max_spread=0.2), Predictor(model))
        Traceback (most recent call last):
        irrepnet.errors.ConfigError: a guard with max_spread needs a Committee; found one ForceField; ...
    """
    if not (guard.max_force > 0 and guard.max_spread > 0):
        raise ConfigError(
            f"a guard needs max_force > 0 eV/Å and max_spread > 0 eV/Å; found {guard.max_force} and {guard.max_spread}"
        )
    if np.isfinite(guard.max_spread) and not isinstance(predict.model, Committee):
        name = type(predict.model).__name__
        raise ConfigError(
            f"a guard with max_spread needs a Committee; found one {name}; give several models, or leave it out"
        )


def guarded_forces(predict: Predictor, frame: Frame, pos: Array, guard: Guard, when: str) -> tuple[float, Array]:
    """Return energy (eV) and forces (``[N, 3]``, eV/Å), or write the frame and raise.

    Args:
        predict: The model.
        frame: Elements, cell and periods.
        pos: Where the atoms are, shape ``[N, 3]``, Å.
        guard: The limits.
        when: Said in the message: ``"step 3"``.

    Raises:
        NonFiniteError: If the energy or a force is not finite, or a limit is exceeded; the frame has been written.
        DataError: If the structure cannot be used, or the model does not know an element.
        ImportError: If ase, which writes the frame, is not installed.
    """
    prediction = predict(frame.species, pos, frame.cell, frame.pbc, compute_stress=False)
    energy, forces = float(prediction.energy), prediction.forces.double().numpy(force=True)
    size = np.linalg.norm(forces, axis=1)
    if not (np.isfinite(energy) and (size <= guard.max_force).all()):
        atom = int(np.where(np.isnan(size), np.inf, size).argmax())
        what = (
            f"finite energies and forces up to {guard.max_force:g} eV/Å; found {size[atom]:.4g} eV/Å on "
            f"{_atom(frame, atom)} and the energy {energy:.6g} eV at {when}"
        )
        advice = "start from a relaxed structure, take a shorter time step or train on structures like this one"
    elif isinstance(prediction, CommitteePrediction) and bool((prediction.forces_spread > guard.max_spread).any()):
        spread = prediction.forces_spread
        atom = int(spread.argmax())
        what = (
            f"members whose forces differ by up to {guard.max_spread:g} eV/Å; found {spread[atom]:.4g} eV/Å on "
            f"{_atom(frame, atom)} at {when}"
        )
        advice = "train on structures like this one"
    else:
        return energy, forces
    _write(Path(guard.file), Frame(frame.species, pos, frame.cell, frame.pbc, energy, forces))
    raise NonFiniteError(f"dynamics needs {what}; the frame is in {guard.file}; {advice}")


def _atom(frame: Frame, atom: int) -> str:
    return f"atom {atom} ({SYMBOLS[frame.species[atom]]})"


def _write(file: Path, frame: Frame) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)  # not to lose the error to another one
    with atomic_file(file) as beside:
        write_extxyz([frame], beside)
