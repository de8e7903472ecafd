"""Every readout learns a few real molecules by heart, where real data are at hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from models.target_toys import DATA, fitted

from irrepnet.data import Frame
from irrepnet.models import (
    PropertyConfig,
    PropertyModel,
    TensorConfig,
    TensorModel,
    property_statistics,
    tensor_statistics,
)

QM9 = DATA / "qm9" / "qm9_full15_dev.npz"
MONOMER = DATA / "water_tensors_tensoap" / "monomer_dev.npz"
SILICATES = DATA / "si_nmr_tensor" / "si_nmr_dev.npz"
HARTREE = 27.211386


def needs(file):
    return pytest.mark.skipif(not file.exists(), reason=f"{file} is not on this machine")


def ragged(data, places):
    """Frames of a file whose structures lie one after the other."""
    for i in places:
        atoms = slice(data["ptr"][i], data["ptr"][i + 1])
        cell = data["cell"][i] if "cell" in data else None
        yield atoms, Frame(species=data["z"][atoms], pos=data["pos"][atoms], cell=cell, pbc=cell is not None)


@needs(QM9)
def test_properties_of_molecules():
    data = dict(np.load(QM9))
    column = {name: i for i, name in enumerate(data["prop_names"])}
    units = {"mu": 1.0, "u0": HARTREE, "homo": HARTREE, "r2": 1.0}
    places = np.random.default_rng(0).permutation(len(data["ptr"]) - 1)[:20]
    frames = []
    for i, (_, frame) in zip(places, ragged(data, places), strict=True):
        frames.append(replace(frame, properties={k: data["props"][i, column[k]] * unit for k, unit in units.items()}))
    targets = [
        {"name": "mu", "readout": "dipole", "norm": True, "unit": "D"},
        {"name": "u0", "readout": "extensive", "unit": "eV"},
        {"name": "homo", "readout": "intensive", "unit": "eV"},
        {"name": "r2", "readout": "second_moment", "unit": "a0^2"},
    ]
    targets = property_statistics(targets, frames)
    torch.manual_seed(0)
    settings = {"irreps_hidden": "16x0e+8x1o", "num_layers": 2, "cutoff": 3.5, "targets": targets}
    model = PropertyModel(PropertyConfig(species=("H", "C", "N", "O"), avg_num_neighbors=9.0, **settings))
    errors = fitted(model, frames, list(units), steps=250, lr=0.02)
    assert {name: error for name, error in errors.items() if error > 0.4} == {}


@needs(MONOMER)
def test_tensors_of_water():
    data = np.load(MONOMER)
    names = {"mu": "i", "alpha": "ij=ji", "beta": "ijk=jik=ikj"}
    frames = [
        Frame(species=data["z"], pos=data["pos"][i], properties={name: data[name][i] for name in names})
        for i in range(20)
    ]
    targets = [{"name": name, "formula": formula, "unit": "a.u."} for name, formula in names.items()]
    targets = tensor_statistics(targets, frames)
    torch.manual_seed(0)
    settings = {"lmax": 3, "irreps_hidden": "16x0e+8x1o+8x2e+4x3o", "num_layers": 2, "avg_num_neighbors": 2.0}
    model = TensorModel(TensorConfig(species=("H", "O"), targets=targets, **settings))
    errors = fitted(model, frames, list(names), steps=150)
    assert {name: error for name, error in errors.items() if error > 0.1} == {}


@needs(SILICATES)
def test_shieldings_of_silicon():
    data = dict(np.load(SILICATES))
    frames, first = [], 0
    for atoms, frame in ragged(data, range(20)):
        chosen = data["selected"][atoms]
        shielding = np.full((len(frame), 3, 3), np.nan)
        shielding[chosen] = data["nmr_tensor"][first : first + chosen.sum()]
        first += chosen.sum()
        frames.append(replace(frame, atom_properties={"shielding": shielding}))
    target = {"name": "shielding", "formula": "ij", "level": "atom", "unit": "ppm"}
    (target,) = tensor_statistics([target], frames)
    species = tuple(target["mean"])
    assert target["mean"]["Si"][0] / 3**0.5 == pytest.approx(404, abs=30)
    torch.manual_seed(0)
    settings = {"lmax": 2, "irreps_hidden": "8x0e+8x1o+4x1e+8x2e", "num_layers": 2, "cutoff": 3.5}
    model = TensorModel(TensorConfig(species=species, avg_num_neighbors=10.0, targets=[target], **settings))
    errors = fitted(model, frames, ["shielding"], steps=50, lr=0.02, per_atom=True)
    assert errors["shielding"] < 0.5
