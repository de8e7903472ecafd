import numpy as np
import pytest
from train import toy

from irrepnet.data import Frame
from irrepnet.errors import DataError
from irrepnet.train import RunConfig
from irrepnet.train.model_from_data import fingerprint, model_from_data, training_set

ENERGY_ONLY, FORCES_ONLY = {"forces": 0.0}, {"energy": 0.0}
PAIR = [[0, 0, 0], [1, 0, 0]]


def completed(folder, frame, loss):
    """The model configuration that a frame leads to, and the notes."""
    notes = []
    model = model_from_data(toy.config(folder, loss=loss), training_set([frame], toy.CUTOFF), say=notes.append)
    return model.config, notes


def test_energies_alone_leave_the_scale_at_1(tmp_path):
    config, notes = completed(tmp_path, Frame(species=[1, 1], pos=PAIR, energy=-32.0), ENERGY_ONLY)
    assert (config.energy_scale, config.species_shifts) == (1.0, (-16.0,))
    assert notes == ["note: the frames have no forces other than 0; model.energy_scale is 1.0"]


def test_forces_alone_leave_the_shifts_at_0(tmp_path):
    frame = Frame(species=[1, 8], pos=PAIR, forces=[[3, 0, 0], [-3, 0, 0]])
    config, notes = completed(tmp_path, frame, FORCES_ONLY)
    assert (config.energy_scale, config.species_shifts) == (pytest.approx(3**0.5), (0.0, 0.0))
    assert notes == ["note: not all frames have energies; model.species_shifts is (0.0, 0.0)"]


def test_isolated_atoms_leave_scale_and_neighbours_at_1(tmp_path):
    frame = Frame(species=[1], pos=[[0, 0, 0]], energy=-13.6, forces=np.zeros((1, 3)))
    config, notes = completed(tmp_path, frame, {})
    assert (config.energy_scale, config.avg_num_neighbors) == (1.0, 1.0)
    assert [note.split("; ")[1] for note in notes] == ["model.avg_num_neighbors is 1.0", "model.energy_scale is 1.0"]


def test_a_label_of_the_loss_is_needed(tmp_path):
    with pytest.raises(DataError, match="needed forces; found none"):
        completed(tmp_path, Frame(species=[1, 1], pos=PAIR, energy=-32.0), {})


def test_the_fingerprint_knows_the_periodic_directions():
    one, other = (Frame(species=[1], pos=[[0, 0, 0]], cell=5 * np.eye(3), pbc=[True, True, z]) for z in (True, False))
    assert fingerprint([one]) != fingerprint([other])


def test_isolated_atoms_are_the_shifts_and_the_rest_is_fitted(tmp_path):
    frames = [
        Frame(species=[8, 1], pos=PAIR, energy=-110.0, forces=np.eye(2, 3)),
        Frame(species=[8, 8], pos=PAIR, energy=-205.0, forces=np.eye(2, 3)),
    ]
    notes = []
    data = training_set(frames, toy.CUTOFF, isolated={8: -100.0, 6: -1.0})
    model = model_from_data(toy.config(tmp_path), data, say=notes.append)
    assert model.config.species_shifts == pytest.approx((-10.0, -100.0))
    assert notes == ["energies of isolated atoms: O -100 eV; H by least squares"]


def test_where_a_repulsion_ends_is_found_in_the_frames(tmp_path):
    tree = toy.tree(tmp_path)
    tree["model"] = {**toy.MODEL, "repulsion": "zbl"}
    frame = Frame(species=[8, 1], pos=PAIR, energy=-110.0, forces=np.eye(2, 3))
    model = model_from_data(RunConfig.model_validate(tree), training_set([frame], toy.CUTOFF))
    assert model.config.repulsion_ends == (toy.CUTOFF, 1.0, toy.CUTOFF)


def test_the_fingerprint_knows_properties():
    one, other = (Frame(species=[1], pos=[[0, 0, 0]], properties={"gap": gap}) for gap in (1.0, 2.0))
    assert fingerprint([one]) != fingerprint([other])


def test_the_fingerprint_knows_the_parts_their_shapes_and_the_free_atoms():
    one, other = Frame(species=[1], pos=[[0, 0, 0]]), Frame(species=[8], pos=[[0, 0, 0]])
    assert fingerprint([one], [other]) != fingerprint([one, other], [])
    flat, deep = (Frame(species=[1], pos=[[0, 0, 0]], properties={"a": np.zeros(shape)}) for shape in (4, (2, 2)))
    assert fingerprint([flat]) != fingerprint([deep])
    marks = {fingerprint([one], isolated=atoms) for atoms in ({}, {1: -13.6}, {1: -13.7}, {8: -13.6})}
    assert len(marks) == 4
