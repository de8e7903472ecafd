"""Calibration of a fresh force field: forces of the usual size, and never rounding scaled up."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from models.toys import FRAMES, graph_of, toy_frame, toy_model

from irrepnet.data import Frame, Graph
from irrepnet.errors import DataError
from irrepnet.train import RunConfig
from irrepnet.train.model_from_data import model_from_data, training_set


@pytest.mark.parametrize(
    "changes", [{}, {"readout_hidden": ()}, {"energy_scale": (0.3, 0.3)}, {"num_layers": 5}, {"dtype": "float32"}]
)
@pytest.mark.parametrize("frame", ["open", "periodic"])
def test_forces_begin_near_the_size_of_the_scale(changes, frame):
    model, graph = toy_model(**({"energy_scale": 0.3} | changes)), graph_of(FRAMES[frame])
    model.calibrate(graph)
    assert 0.1 < model(graph).forces.square().mean().sqrt().item() < 0.9
    assert model.calibrate(graph) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("num_atoms", [1, 2])
def test_perfect_crystals_have_slopes_though_no_forces(dtype, num_atoms):
    cells = [a / 2 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) for a in np.linspace(5.1, 5.8, 12)]
    pos = [np.array([[0, 0, 0], cell.sum(axis=0) / 4])[:num_atoms] for cell in cells]  # diamond, or fcc
    crystals = [Frame(species=[14] * num_atoms, pos=p, cell=c, pbc=True) for p, c in zip(pos, cells, strict=True)]
    graph = Graph.collate([graph_of(crystal, cutoff=4.5) for crystal in crystals])
    model = toy_model(species=("Si",), cutoff=4.5, species_shifts=(), dtype=dtype)
    assert model(graph).forces.abs().max() < 1e-4
    assert 0.01 < model.calibrate(graph) < 100
    found = model(graph, compute_stress=True)
    assert found.energy.std() < 5
    assert found.forces.abs().max() < 1e-4
    assert 1e-3 < found.stress.abs().max() < 2


def test_it_changes_no_mode_and_of_weights_only_those_of_sizes():
    model, graph = toy_model().train(), graph_of(FRAMES["open"])
    before = copy.deepcopy(model.state_dict())
    model.calibrate(graph)
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    layers = {f"trunk.layers.{k}.convolution.linear.weight" for k in range(2)}
    assert changed == {"readout.network.2.weight"} | layers
    assert model.training and model.readout.network[2].weight.requires_grad


def test_repulsion_is_left_out():
    plain, repelled = (
        toy_model(repulsion=kind, repulsion_ends=(2.0, 2.0, 2.0), species_shifts=()) for kind in ("none", "zbl")
    )
    graph = graph_of(FRAMES["open"])
    assert plain.calibrate(graph) == repelled.calibrate(graph)
    assert repelled(graph).energy > plain(graph).energy


def test_without_edges_nothing_changes():
    model = toy_model()
    before = copy.deepcopy(model.state_dict())
    for frame in (toy_frame(0), Frame(species=[8], pos=[[0, 0, 0]])):
        assert model.calibrate(graph_of(frame)) == 1.0
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_factors_have_bounds():
    model, graph = toy_model(), graph_of(FRAMES["open"])
    with torch.no_grad():
        model.readout.network[-1].weight.mul_(1e-9)
        assert model.calibrate(graph) == 1e3
        model.readout.network[-1].weight.fill_(torch.nan)
    with pytest.raises(DataError, match="its numbers are finite; found nan; look for atoms that nearly coincide"):
        model.calibrate(graph)


VECTOR, NUMBER = {"name": "mu", "formula": "i"}, {"name": "gap", "readout": "intensive"}


@pytest.mark.parametrize(
    "model",
    [{"kind": "tensor", "targets": [VECTOR]}, {"kind": "property", "targets": [NUMBER]}, {"kind": "force_field"}],
    ids=["tensor", "property", "force_field"],
)
def test_a_run_begins_with_a_calibrated_trunk_whatever_it_trains(model):
    labels = {"mu": np.arange(3.0), "gap": 1.0}
    frame = replace(FRAMES["open"], energy=-1.0, forces=np.ones((6, 3)), properties=labels)
    config = RunConfig.model_validate({"data": {"train": "-"}, "model": model, "training": {"steps": 1}})
    data = training_set([frame], cutoff=4.5)
    trunk = model_from_data(config, data, say=lambda note: None).trunk
    assert trunk.calibrate(data.items[0].graph) == pytest.approx([1.0] * 3, rel=1e-4)
