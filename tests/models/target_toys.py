"""Small models of named targets, and frames with labels, for the tests of property and tensor models."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from models.toys import graph_of, toy_frame

from irrepnet.data import Frame, Graph
from irrepnet.models import PropertyConfig, PropertyModel, TensorConfig, TensorModel

DATA = Path(__file__).parents[3] / "shared" / "data"

PROPERTIES = (
    {"name": "U0", "readout": "extensive", "unit": "eV", "shift": {"H": -13.6, "O": -2000.0}, "scale": 0.5},
    {"name": "homo", "readout": "intensive", "unit": "eV", "shift": -6.0, "scale": 0.6},
    {"name": "mu", "readout": "dipole", "unit": "D", "scale": 1.5},
    {"name": "length", "readout": "dipole", "unit": "D", "norm": True, "scale": 1.5},
    {
        "name": "r2",
        "readout": "second_moment",
        "unit": "a0^2",
        "charges": {"H": 3.3, "O": 29.0},
        "shift": {"H": 3.6, "O": 10.0},
        "scale": 3.6,
    },
)
TENSORS = (
    {"name": "mu", "formula": "i", "unit": "a.u.", "irrep_scales": [0.3]},
    {"name": "alpha", "formula": "ij=ji", "mean": {"H": [3.0], "O": [9.0]}, "irrep_scales": [2.0, 0.7]},
    {"name": "beta", "formula": "ijk=jik=ikj"},
    {"name": "shielding", "formula": "ij", "level": "atom", "mean": {"H": [30.0], "O": [300.0]}},
    {"name": "elasticity", "formula": "ijkl=jikl=ijlk=klij", "extensive": False, "unit": "GPa"},
)
_SMALL = {"species": ("H", "O"), "cutoff": 3.0, "num_basis": 4, "radial_hidden": (8,), "avg_num_neighbors": 8.0}


def property_model(targets=PROPERTIES, seed=0, **changes):
    """A property model of H and O in float64, with weights as large as those of a trained one."""
    settings = {"irreps_hidden": "6x0e+4x1o", "num_layers": 2, "readout_hidden": (8,), "dtype": "float64"}
    torch.manual_seed(seed)
    return awake(PropertyModel(PropertyConfig(targets=targets, **(_SMALL | settings | changes))))


def tensor_model(targets=TENSORS, seed=0, **changes):
    """A tensor model of H and O in float64, with weights as large as those of a trained one."""
    hidden = "6x0e+4x1o+2x1e+4x2e+2x3o+2x4e"
    settings = {"irreps_hidden": hidden, "lmax": 4, "num_layers": 2, "dtype": "float64"}
    torch.manual_seed(seed)
    return awake(TensorModel(TensorConfig(targets=targets, **(_SMALL | settings | changes))))


def awake(model):
    """Undo the small start of readouts, whose first predictions are nearly the shifts."""
    with torch.no_grad():
        for weight in model.readouts.parameters():
            weight.copy_(torch.randn_like(weight))
    return model.eval()


def predict(model, frames, dtype=torch.float64):
    return model(Graph.collate([graph_of(frame, model.cutoff, dtype) for frame in frames]))


def labelled(frames, **labels):
    """Frames with one label each of every name."""
    return [
        replace(frame, properties={name: values[i] for name, values in labels.items()})
        for i, frame in enumerate(frames)
    ]


def molecules(num, seed=0, num_atoms=(3, 4, 6)):
    """Open structures of H and O."""
    return [toy_frame(num_atoms[i % len(num_atoms)], pbc=False, seed=seed + i) for i in range(num)]


def atom(symbol="O"):
    return Frame(species=[{"H": 1, "O": 8}[symbol]], pos=[[0.3, -0.2, 0.1]])


def turned(frame, matrix):
    return replace(frame, pos=frame.pos @ np.asarray(matrix).T)


def fitted(model, frames, names, *, steps, lr=0.01, per_atom=False):
    """Train on all frames at once by plain Adam; return the largest rms error as a share of a label's spread."""
    graph = Graph.collate([graph_of(frame, model.cutoff) for frame in frames])
    labels = [frame.atom_properties if per_atom else frame.properties for frame in frames]
    join = np.concatenate if per_atom else np.stack
    references = {name: torch.tensor(join([label[name] for label in labels])) for name in names}
    known = {name: ~reference.isnan() for name, reference in references.items()}
    scales = {target.name: target.scale for target in model.config.targets}
    optimiser = torch.optim.Adam(model.train().parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        predicted = model(graph)
        errors = {name: (predicted[name] - references[name])[known[name]] / scales[name] for name in names}
        optimiser.zero_grad()
        sum(error.square().mean() for error in errors.values()).backward()
        optimiser.step()
        schedule.step()
    return {name: error.detach().square().mean().sqrt().item() for name, error in errors.items()}
