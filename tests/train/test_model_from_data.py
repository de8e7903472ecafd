import numpy as np
import pytest
from train import toy

from irrepnet.data import Frame
from irrepnet.errors import DataError
from irrepnet.train.model_from_data import fingerprint, model_from_data

ENERGY_ONLY, FORCES_ONLY = {"forces": 0.0}, {"energy": 0.0}
PAIR = [[0, 0, 0], [1, 0, 0]]


def completed(folder, frame, loss):
    """The model configuration that a frame leads to, and the notes."""
    notes = []
    model, _ = model_from_data(toy.config(folder, loss=loss), [frame], say=notes.append)
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
