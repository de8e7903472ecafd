"""Frames with what a model says of them in the place of their labels."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from irrepnet.data.frame import Frame
from irrepnet.data.validation import check_frames, validate_frames
from irrepnet.deploy.committee import SPREAD, Committee
from irrepnet.deploy.committee_file import load_model_or_committee
from irrepnet.deploy.predict_frames import atom_labels, predict_frames
from irrepnet.train.tasks import ForceFieldTask, task_of

__all__ = ["REFERENCE", "check_structures", "load_models", "predicted_frames", "predicted_units"]

#: Begins the names of labels that were in the data already.
REFERENCE = "reference_"
_LABELS = ("energy", "forces", "stress")
_TOGETHER = 256  # frames that are checked at a time


def load_models(paths: Sequence[str], device: Any) -> nn.Module:
    """Return the model of one file, or a committee of several.

    Raises:
        ConfigError: If several do not make a committee.
        CheckpointError: If a file is not a sound one.
        FileNotFoundError: If there is none.

    Example:
        >>> load_models(["missing.model"], "cpu")
        Traceback (most recent call last):
        FileNotFoundError: a file written by irrepnet is needed; there is no missing.model; check the path
    """
    return load_model_or_committee(paths[0], device) if len(paths) == 1 else Committee(paths, device=device)


def check_structures(frames: Iterable[Frame], model: nn.Module) -> list[str]:
    """Raise if there is a structure that the model cannot predict; labels are not looked at.

    Args:
        frames: The structures.
        model: A model of the registry, or a committee.

    Returns:
        What looks odd, such as distances of another unit, from the first frames.

    Raises:
        DataError: If an element is unknown, a position is not finite, a cell singular, or atoms coincide; names the
            frame.

    Example:
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> model = ForceField(ForceFieldConfig(species=("H",), irreps_hidden="4x0e+4x1o"))
        >>> check_structures([Frame(species=[6], pos=[[0, 0, 0]], source="c.npz frame 0")], model)
        Traceback (most recent call last):
        irrepnet.errors.DataError: c.npz frame 0: species needs atomic numbers 1 (H); found 6 (C) at atom 0
    """
    known: Any = model
    rest, findings = iter(frames), None
    while part := [_bare(frame) for frame in itertools.islice(rest, _TOGETHER)]:
        if findings is None:  # what looks odd is told once, from the first of them
            findings = validate_frames(part, require=(), known_species=known.atomic_numbers)
        else:
            check_frames(part, require=(), known_species=known.atomic_numbers)
    return findings or []


def predicted_frames(
    model: nn.Module, frames: Iterable[Frame], *, batch_size: int = 1, keep_labels: bool = False
) -> Iterator[Frame]:
    """Yield each frame with what the model predicts: energy, forces and stress, or its targets as properties.

    A stress is predicted where there is a cell with periods and a volume. Spreads of a committee are properties.

    Args:
        model: A model of the registry, or a committee, on any device.
        frames: The structures, also a lazy sequence or a generator; no more than ``batch_size`` are held.
        batch_size: Frames per call of the model.
        keep_labels: Whether to keep the labels that were there as properties ``reference_energy``, ...

    Raises:
        NonFiniteError: If a prediction is NaN or infinite; names the frame.
        DataError: If the model cannot predict a frame; names it.

    Example:
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> model = ForceField(ForceFieldConfig(species=("H",), irreps_hidden="4x0e+4x1o", species_shifts=(-13.6,)))
        >>> atom = Frame(species=[1], pos=[[0, 0, 0]], energy=-13.5)
        >>> (frame,) = predicted_frames(model, [atom], keep_labels=True)
        >>> frame.energy, frame.properties["reference_energy"]
        (-13.6, array(-13.5))
    """
    of_frame = _LABELS if _is_force_field(model) else ()
    per_atom = atom_labels(model)
    shown, seen = itertools.tee(frames)
    for frame, labels in zip(shown, predict_frames(model, seen, batch_size), strict=True):
        properties, atom_properties = _references(frame) if keep_labels else ({}, {})
        for name in labels.keys() - set(of_frame):
            (atom_properties if name in per_atom else properties)[name] = labels[name]
        yield replace(
            _bare(frame),
            **{name: labels[name] for name in of_frame if name in labels},  # type: ignore[arg-type]
            properties=dict(sorted(properties.items())),
            atom_properties=dict(sorted(atom_properties.items())),
        )


def predicted_units(model: nn.Module) -> dict[str, str]:
    """Return the unit of each label that :func:`predicted_frames` gives, by its name.

    Example:
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> predicted_units(ForceField(ForceFieldConfig(species=("H",), irreps_hidden="4x0e+4x1o")))
        {'energy': 'eV', 'forces': 'eV/Å', 'stress': 'eV/Å^3'}
    """
    task = task_of(_one(model))
    # Errors of energies are counted per atom; what is predicted is the energy of the structure.
    units = {**task.units, "energy": "eV"} if _is_force_field(model) else dict(task.units)
    return units | {name + SPREAD: unit for name, unit in units.items()} if isinstance(model, Committee) else units


def _one(model: nn.Module) -> nn.Module:
    return model.members[0] if isinstance(model, Committee) else model


def _is_force_field(model: nn.Module) -> bool:
    return isinstance(task_of(_one(model)), ForceFieldTask)


def _bare(frame: Frame) -> Frame:
    return replace(frame, energy=None, forces=None, stress=None, properties={}, atom_properties={})


def _references(frame: Frame) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """Return the labels of a frame as properties of the structure and of the atoms."""
    given: dict[str, Any] = {name: getattr(frame, name) for name in _LABELS if getattr(frame, name) is not None}
    of_atoms = {"forces": given.pop("forces")} if "forces" in given else {}
    return (
        {REFERENCE + name: value for name, value in {**given, **frame.properties}.items()},
        {REFERENCE + name: value for name, value in {**of_atoms, **frame.atom_properties}.items()},
    )
