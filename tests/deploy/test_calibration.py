from dataclasses import replace

import numpy as np
import pytest
from models.target_toys import property_model, tensor_model
from models.toys import SKEWED, graph_of, toy_frame, toy_model

from irrepnet.data import Frame
from irrepnet.deploy import Committee, calibrate, calibration, predict_frames
from irrepnet.errors import ConfigError, DataError

MEMBERS = [toy_model(seed, energy_scale=0.1) for seed in range(6)]


def frames_with_errors(committee, factor, num=25):
    """Frames whose labels are the predictions plus Gaussian noise that is some times as wide as the spread."""
    random = np.random.default_rng(0)
    frames = [toy_frame(5, SKEWED, seed=seed) for seed in range(num)]
    for frame, said in zip(frames, predict_frames(committee, frames, batch_size=5), strict=True):
        noise = said["forces_spread"][:, None] / np.sqrt(3) * random.standard_normal((len(frame), 3))
        yield replace(
            frame,
            energy=float(said["energy"] + factor * said["energy_spread"] * random.standard_normal()),
            forces=said["forces"] + factor * noise,
        )


def test_factors_are_those_of_the_errors():
    committee = Committee(MEMBERS)
    found = calibrate(committee, frames_with_errors(committee, factor=3.0), batch_size=4)
    assert found["energy"].factor == pytest.approx(3.0, rel=0.4)  # of 25 draws
    assert found["forces"].factor == pytest.approx(3.0, rel=0.2)
    assert found["energy"].entries == 25
    assert found["forces"].entries == 125
    assert committee.calibration == found


def test_it_is_the_formula():
    committee = Committee(MEMBERS)
    frames = list(frames_with_errors(committee, factor=2.0, num=4))
    errors, spreads = [], []
    for frame in frames:
        said = committee(graph_of(frame))
        errors.append(said.energy.item() - frame.energy)
        spreads.append(said.energy_spread.item())
    found = calibrate(committee, frames, labels=["energy"])
    assert found.keys() == {"energy"}
    assert found["energy"].factor == pytest.approx(np.linalg.norm(errors) / np.linalg.norm(spreads), rel=1e-9)
    calibrated = committee(graph_of(frames[0]))
    assert calibrated.energy_spread.item() == pytest.approx(found["energy"].factor * said_spread(frames[0]), rel=1e-9)


def said_spread(frame):
    return Committee(MEMBERS)(graph_of(frame)).energy_spread.item()


def test_a_second_time_changes_nothing():
    committee = Committee(MEMBERS)
    frames = list(frames_with_errors(committee, factor=2.0, num=4))
    once = calibrate(committee, frames)
    assert calibrate(committee, frames, labels=["forces"]) == {"forces": once["forces"]}
    assert committee.calibration == once


def test_properties_and_unknown_labels():
    committee = Committee([property_model(seed=seed) for seed in range(3)])
    frames = [toy_frame(4, pbc=False, seed=seed) for seed in range(6)]
    graph = graph_of(frames[0])
    said = committee(graph)
    frames[0] = replace(frames[0], properties={"mu": (said["mu"][0] + 1.0).detach().numpy(), "homo": 3.0})
    frames[1] = replace(frames[1], properties={"homo": np.nan})
    found = calibrate(committee, frames)
    assert found["mu"].factor == pytest.approx(np.sqrt(3.0) / said["mu_spread"].item(), rel=1e-9)
    assert {name: factor.entries for name, factor in found.items()} == {"homo": 1, "mu": 1}


def test_labels_of_atoms():
    target = {"name": "shielding", "formula": "ij", "level": "atom"}
    committee = Committee([tensor_model((target,), seed=seed, lmax=2) for seed in range(3)])
    frame = toy_frame()
    said = committee(graph_of(frame))
    label = said["shielding"].detach().numpy().copy()
    label[0] += 2.0
    label[1:] = np.nan
    found = calibrate(committee, [replace(frame, atom_properties={"shielding": label})])["shielding"]
    assert found.entries == 1
    assert found.factor == pytest.approx(6.0 / said["shielding_spread"][0].item(), rel=1e-9)


class TestErrors:
    def test_no_labels(self):
        with pytest.raises(DataError, match=r"a label among energy, forces, stress; found none; check data\.keys"):
            calibrate(Committee(MEMBERS), [toy_frame()])
        with pytest.raises(DataError, match="a factor for stress needs frames in which it is known; found none"):
            calibrate(Committee(MEMBERS), [replace(toy_frame(), energy=0.0)], labels=["energy", "stress"])

    def test_unknown_label(self):
        message = r"predicts energy, forces, stress; found 'force' to calibrate\. Did you mean 'forces'\?"
        with pytest.raises(ConfigError, match=message):
            calibrate(Committee(MEMBERS), [toy_frame()], labels=["force"])

    def test_single_atoms_on_which_members_agree(self):
        committee = Committee(MEMBERS)
        frame = Frame(species=[1], pos=[[0, 0, 0]], energy=-13.5)
        message = r"a factor for energy needs members that differ; found that in all 1 known .* errors up to 0\.1;"
        with pytest.raises(DataError, match=message):
            calibrate(committee, [frame])
        assert committee.calibration == {}

    def test_shape(self):
        committee = Committee([property_model(seed=seed) for seed in range(2)])
        frame = replace(toy_frame(3, pbc=False), properties={"mu": 1.0}, source="a.npz frame 0")
        with pytest.raises(DataError, match=r"a\.npz frame 0: mu needs shape \[3\]; found \[\]"):
            calibrate(committee, [frame])


def test_agreement_by_chance_does_not_rule_the_factor():
    """Two draws differ by a Gaussian: the mean of e^2 / s^2 has no bound, the ratio of the means has."""
    random = np.random.default_rng(0)
    draws, errors = random.standard_normal((2, 4000)), 3.0 * random.standard_normal(4000)
    spreads = draws.std(axis=0, ddof=1)
    assert calibration._factor("energy", np.abs(errors), spreads).factor == pytest.approx(3.0, rel=0.06)


def test_entries_on_which_all_agree_count_with_the_others():
    """A force that symmetry forbids is zero for all members and in the data."""
    committee = Committee(MEMBERS)
    frame = Frame(species=[1], pos=[[0, 0, 0]], forces=np.zeros((1, 3)))
    pair = Frame(species=[1, 8], pos=[[0, 0, 0], [1, 0, 0]], forces=np.ones((2, 3)))
    assert calibrate(committee, [frame, pair])["forces"].entries == 3
