"""Small models of every kind for the tests of commands that take a model file."""

import numpy as np
import torch
from train import toy

from irrepnet.data import Frame, write_frames
from irrepnet.models import (
    ForceField,
    ForceFieldConfig,
    PropertyConfig,
    PropertyModel,
    TensorConfig,
    TensorModel,
    save_model,
)

NETWORK = {"species": ("H", "O"), "cutoff": 3.0, "irreps_hidden": "4x0e+4x1o+4x2e", "lmax": 2, "num_layers": 2}
PROPERTIES = [
    {"name": "gap", "readout": "intensive", "unit": "eV", "shift": 7.0},
    {"name": "mu", "readout": "dipole", "unit": "D"},
    {"name": "u0", "readout": "extensive", "unit": "eV", "shift": {"H": -13.6, "O": -2040.0}},
]
TENSORS = [
    {"name": "alpha", "formula": "ij=ji", "unit": "a0^3"},
    {"name": "shielding", "formula": "ij=ji", "level": "atom", "unit": "ppm"},
]


def force_field(path, seed=0, **extra):
    torch.manual_seed(seed)
    save_model(ForceField(ForceFieldConfig(**NETWORK, species_shifts=(-13.6, -2040.0))), path, extra=extra)
    return str(path)


def property_model(path):
    torch.manual_seed(0)
    save_model(PropertyModel(PropertyConfig(**NETWORK, targets=PROPERTIES)), path)
    return str(path)


def tensor_model(path):
    torch.manual_seed(0)
    save_model(TensorModel(TensorConfig(**NETWORK, targets=TENSORS)), path)
    return str(path)


def open_frames(number=5):
    arrays = toy.arrays(number)
    return [
        Frame(species=toy.SPECIES, pos=arrays["pos"][i], energy=arrays["energy"][i], forces=arrays["forces"][i])
        for i in range(number)
    ]


def mixed_frames():
    """Open and periodic structures of several sizes in turn."""
    rng = np.random.default_rng(1)
    frames = []
    for place in range(6):
        size = 3 + place % 3
        cell = None if place % 2 else 6 * np.eye(3) + rng.normal(scale=0.2, size=(3, 3))
        pos = 1.3 * np.stack(np.meshgrid(*[np.arange(2.0)] * 3), axis=-1).reshape(-1, 3)[:size]
        frames.append(
            Frame(
                species=rng.choice([1, 8], size),
                pos=pos + rng.normal(scale=0.05, size=(size, 3)),
                cell=cell,
                pbc=cell is not None,
                id=f"frame {place}",
            )
        )
    return frames


def written(frames, path):
    write_frames(frames, path)
    return str(path)
