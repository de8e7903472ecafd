from dataclasses import replace

import numpy as np
import pytest
import torch
from models.target_toys import property_model, tensor_model
from models.toys import FRAMES, graph_of, toy_frame, toy_model

from irrepnet.data import Frame
from irrepnet.deploy import Committee, predict_frames
from irrepnet.errors import ConfigError, DataError, NonFiniteError

MIXED = [*FRAMES.values(), toy_frame(3, pbc=False, seed=1), toy_frame(5, seed=2), toy_frame(4, seed=3)]


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_force_field(batch_size):
    model = toy_model().train()
    found = list(predict_frames(model, iter(MIXED), batch_size))
    assert not model.training
    assert len(found) == len(MIXED)
    for frame, labels in zip(MIXED, found, strict=True):
        energy, forces, stress = model(graph_of(frame), compute_stress=frame.cell is not None)
        assert labels["energy"].shape == ()
        assert labels["energy"] == pytest.approx(energy.item(), abs=1e-9)
        assert labels["forces"] == pytest.approx(forces.numpy(), abs=1e-12)
        assert ("stress" in labels) == (stress is not None)
        if stress is not None:
            assert labels["stress"] == pytest.approx(stress[0].numpy(), abs=1e-12)
        assert all(value.dtype == np.float64 for value in labels.values())


@pytest.mark.parametrize("batch_size", [1, 3])
def test_committee(batch_size):
    committee = Committee([toy_model(seed) for seed in range(3)])
    for frame, labels in zip(MIXED, predict_frames(committee, MIXED, batch_size), strict=True):
        expected = committee(graph_of(frame), compute_stress=frame.cell is not None)
        assert labels["energy_spread"] == pytest.approx(expected.energy_spread.item(), abs=1e-9)
        assert labels["forces_spread"] == pytest.approx(expected.forces_spread.numpy(), abs=1e-12)
        assert ("stress_spread" in labels) == (frame.cell is not None)


def test_targets_of_structures_and_atoms():
    frames = [toy_frame(n, pbc=False, seed=n) for n in (2, 3)]
    for labels in predict_frames(property_model(), frames, 2):
        assert {name: value.shape for name, value in labels.items()} == {
            "U0": (),
            "homo": (),
            "mu": (3,),
            "length": (),
            "r2": (),
        }
    for models in (tensor_model(), Committee([tensor_model(seed=seed) for seed in range(2)])):
        for frame, labels in zip(frames, predict_frames(models, frames, 2), strict=True):
            assert labels["alpha"].shape == (3, 3)
            assert labels["shielding"].shape == (len(frame), 3, 3)
    assert labels["shielding_spread"].shape == (3,)
    assert labels["alpha_spread"].shape == ()


def test_no_more_frames_are_read_than_needed():
    read = []

    def stream():
        for seed in range(100):
            read.append(seed)
            yield toy_frame(2, pbc=False, seed=seed)

    next(predict_frames(toy_model(), stream(), batch_size=4))
    assert len(read) <= 5


class TestErrors:
    def test_the_frame_is_named_in_a_batch(self):
        frames = [replace(toy_frame(seed=seed), source=f"a.npz frame {seed}") for seed in range(4)]
        frames[2] = replace(frames[2], species=np.array([1, 1, 6, 1, 1, 1]))
        with pytest.raises(DataError, match=r"^a\.npz frame 2: the model knows the elements H, O; found C at atom 2"):
            list(predict_frames(toy_model(), frames, batch_size=4))
        together = toy_frame(2, pbc=False).pos * 0
        frames[1] = Frame(species=[1, 1], pos=together, source="a.npz frame 1")
        with pytest.raises(DataError, match=r"^a\.npz frame 1: .*one place"):
            list(predict_frames(toy_model(), frames, batch_size=4))

    def test_not_finite(self):
        model = toy_model()
        with torch.no_grad():
            model.trunk.embedding[1] = torch.nan
        frames = [Frame(species=[1], pos=[[0, 0, 0]]), Frame(species=[8, 1], pos=[[0, 0, 0], [1, 0, 0]], source="b 1")]
        with pytest.raises(NonFiniteError, match=r"^b 1: predictions need to be finite; found energy that is not"):
            list(predict_frames(model, frames, batch_size=2))

    def test_batch_size(self):
        with pytest.raises(ConfigError, match="batch_size of 1 or more; found 0"):
            next(predict_frames(toy_model(), [toy_frame()], batch_size=0))
