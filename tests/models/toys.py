"""Small models and structures for the tests of models and deployment."""

import numpy as np
import torch

from irrepnet.data import Frame, Graph, build_graph
from irrepnet.models import ForceField, ForceFieldConfig

SKEWED = [[4.4, 0.0, 0.0], [1.2, 4.2, 0.0], [-0.8, 0.9, 4.6]]
SMALL = [[2.4, 0.0, 0.0], [0.4, 2.6, 0.0], [0.0, -0.3, 2.5]]  # shorter than the cutoff: atoms see their own images


def toy_model(seed=0, **changes):
    """A force field of the elements H and O in float64 with random weights."""
    torch.manual_seed(seed)
    settings = {
        "species": ("H", "O"),
        "cutoff": 3.0,
        "irreps_hidden": "6x0e+4x1o",
        "num_layers": 2,
        "num_basis": 4,
        "radial_hidden": (8,),
        "readout_hidden": (8,),
        "avg_num_neighbors": 8.0,
        "species_shifts": (-13.6, -2000.0),
        "dtype": "float64",
    }
    return ForceField(ForceFieldConfig(**(settings | changes))).eval()


def toy_frame(num_atoms=6, cell=SKEWED, pbc=True, seed=0):
    """Atoms at random places of the cell, none nearer than 0.9 Å to another or to an image."""
    random = np.random.default_rng(seed)
    cell = np.array(cell)
    images = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), axis=-1).reshape(-1, 3) @ cell
    pos = np.zeros((0, 3))
    while len(pos) < num_atoms:
        new = random.random(3) @ cell
        if len(pos) == 0 or np.linalg.norm(pos[:, None] + images - new, axis=-1).min() > 0.9:
            pos = np.vstack([pos, new])
    species = np.where(np.arange(num_atoms) % 3 == 0, 8, 1)
    return Frame(species=species, pos=pos, cell=cell if np.any(pbc) else None, pbc=pbc)


FRAMES = {
    "open": toy_frame(pbc=False),
    "periodic": toy_frame(),
    "small cell": toy_frame(2, SMALL),
    "slab": toy_frame(pbc=[True, True, False]),
}


def graph_of(frame, cutoff=3.0, dtype=torch.float64):
    return build_graph(frame, cutoff, dtype=dtype)


def moved(frame, pos=None, cell=None):
    """The same atoms at other places, in another cell."""
    return Frame(
        species=frame.species,
        pos=frame.pos if pos is None else pos,
        cell=frame.cell if cell is None else cell,
        pbc=frame.pbc,
    )


def energies(model, frames):
    """Energies of many structures by one call."""
    return model(Graph.collate([graph_of(frame, model.cutoff) for frame in frames])).energy.numpy()


def slope(model, variants, step):
    """Derivative by central differences of fourth order; ``variants`` are frames at -2, -1, 1 and 2 steps."""
    e = energies(model, variants)
    return (e[0] - 8 * e[1] + 8 * e[2] - e[3]) / (12 * step)
