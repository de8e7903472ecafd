import numpy as np
import pytest
import torch
from cli import models
from train import toy

from irrepnet.cli import main
from irrepnet.data import Keys, build_graph, read_frames
from irrepnet.deploy import Committee, Predictor, save_committee
from irrepnet.models import load_model, save_model


def predict(*arguments):
    return main(["predict", *map(str, arguments)])


@pytest.mark.parametrize("suffix", [".extxyz", ".npz", ".h5"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_force_field_gives_the_numbers_of_the_predictor(tmp_path, capsys, suffix, batch_size):
    model = models.force_field(tmp_path / "a.model")
    data = models.written(models.open_frames(), tmp_path / "in.extxyz")
    out = tmp_path / f"out{suffix}"
    assert predict(model, data, "--out", out, "--batch-size", batch_size) == 0
    found, predictor = read_frames(out), Predictor(model)
    assert len(found) == 5
    for one, frame in zip(found, read_frames(data), strict=True):
        wanted = predictor(frame.species, frame.pos)
        assert one.energy == pytest.approx(wanted.energy.item(), abs=2e-3 / 1000)
        np.testing.assert_allclose(one.forces, wanted.forces.numpy(), atol=1e-5)
        assert one.stress is None
    text = capsys.readouterr().out
    assert "5 frames, 20 atoms" in text
    assert "energy         eV         per structure" in text
    assert "forces         eV/Å       per atom" in text
    assert "stress" not in text


def test_open_and_periodic_structures_keep_their_order_and_get_stress_where_there_is_one(tmp_path, capsys):
    model = models.force_field(tmp_path / "a.model")
    frames = models.mixed_frames()
    data = models.written(frames, tmp_path / "in.h5")
    assert predict(model, data, "--out", tmp_path / "out.h5", "--batch-size", "3") == 0
    found, predictor = read_frames(tmp_path / "out.h5"), Predictor(model)
    assert [one.id for one in found] == [frame.id for frame in frames]
    for one, frame in zip(found, frames, strict=True):
        wanted = predictor(frame.species, frame.pos, frame.cell, frame.pbc)
        assert one.energy == pytest.approx(wanted.energy.item(), abs=1e-6 * len(frame))
        assert (one.stress is None) == (frame.cell is None)
        if one.stress is not None:
            np.testing.assert_allclose(one.stress, wanted.stress[0].numpy(), atol=1e-7)
    assert "stress         eV/Å^3     per structure" in capsys.readouterr().out


def test_ase_finds_the_predictions_where_it_looks_for_results(tmp_path):
    ase_io = pytest.importorskip("ase.io")
    model = models.force_field(tmp_path / "a.model")
    data = models.written(models.mixed_frames(), tmp_path / "in.extxyz")
    assert predict(model, data, "--out", tmp_path / "out.extxyz") == 0
    atoms = ase_io.read(tmp_path / "out.extxyz", index=0)
    wanted = Predictor(model)(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    assert atoms.get_potential_energy() == pytest.approx(wanted.energy.item(), abs=1e-5)
    np.testing.assert_allclose(atoms.get_forces(), wanted.forces.numpy(), atol=1e-5)
    np.testing.assert_allclose(atoms.get_stress(voigt=False), wanted.stress[0].numpy(), atol=1e-6)


def test_labels_that_were_there_are_dropped_or_kept_under_other_names(tmp_path):
    model = models.force_field(tmp_path / "a.model")
    frames = models.open_frames()
    data = models.written(frames, tmp_path / "in.npz")
    assert predict(model, data, "--out", tmp_path / "out.h5") == 0
    assert not read_frames(tmp_path / "out.h5")[0].properties
    assert predict(model, data, "--out", tmp_path / "kept.h5", "--keep-labels") == 0
    one = read_frames(tmp_path / "kept.h5")[3]
    assert one.properties["reference_energy"] == frames[3].energy
    np.testing.assert_array_equal(one.atom_properties["reference_forces"], frames[3].forces)
    assert one.energy != frames[3].energy


@pytest.mark.parametrize("suffix", [".extxyz", ".npz", ".h5"])
def test_properties_have_their_names_and_the_way_to_read_them_is_said(tmp_path, capsys, suffix):
    model = models.property_model(tmp_path / "a.model")
    data = models.written(models.open_frames(), tmp_path / "in.npz")
    assert predict(model, data, "--out", tmp_path / f"out{suffix}", "--batch-size", "2") == 0
    keys = Keys(properties={"gap": "gap", "mu": "mu", "u0": "u0"})
    found = read_frames(tmp_path / f"out{suffix}", keys=keys)
    loaded = load_model(model)
    for one in found:
        wanted = loaded(build_graph(one, loaded.cutoff, dtype=torch.float64))
        for name in ("gap", "mu", "u0"):
            np.testing.assert_allclose(one.properties[name], wanted[name][0].detach().numpy(), atol=1e-5)
        assert one.energy is None
    text = capsys.readouterr().out
    assert "mu             D          per structure" in text
    assert ("data.keys.properties={gap: gap, mu: mu, u0: u0}" in text) == (suffix != ".h5")


def test_tensors_of_structures_and_of_atoms(tmp_path):
    model = models.tensor_model(tmp_path / "a.model")
    data = models.written(models.open_frames(3), tmp_path / "in.npz")
    assert predict(model, data, "--out", tmp_path / "out.h5", "--batch-size", "2") == 0
    loaded = load_model(model)
    for one in read_frames(tmp_path / "out.h5"):
        wanted = loaded(build_graph(one, loaded.cutoff, dtype=torch.float64))
        np.testing.assert_allclose(one.properties["alpha"], wanted["alpha"][0].detach().numpy(), atol=1e-6)
        np.testing.assert_allclose(one.atom_properties["shielding"], wanted["shielding"].detach().numpy(), atol=1e-6)


def test_several_models_give_their_mean_and_their_spread(tmp_path, capsys):
    files = [models.force_field(tmp_path / f"{seed}.model", seed=seed) for seed in range(3)]
    data = models.written(models.mixed_frames(), tmp_path / "in.h5")
    assert predict(*files, data, "--out", tmp_path / "out.h5", "--batch-size", "2") == 0
    assert "forces_spread  eV/Å       per atom" in capsys.readouterr().out
    members = [Predictor(file) for file in files]
    for one in read_frames(tmp_path / "out.h5"):
        said = [member(one.species, one.pos, one.cell, one.pbc) for member in members]
        energies = torch.cat([prediction.energy for prediction in said])
        forces = torch.stack([prediction.forces for prediction in said])
        assert one.energy == pytest.approx(energies.mean().item(), abs=1e-6 * len(one))
        assert one.properties["energy_spread"] == pytest.approx(energies.std().item(), abs=1e-6 * len(one))
        np.testing.assert_allclose(one.atom_properties["forces_spread"], forces.std(dim=0).norm(dim=1), atol=1e-6)
        assert one.properties.keys() == {"energy_spread"} | ({"stress_spread"} if one.cell is not None else set())


def test_a_file_of_a_committee_is_the_same_as_its_models(tmp_path):
    files = [models.force_field(tmp_path / f"{seed}.model", seed=seed) for seed in range(2)]
    save_committee(Committee(files), tmp_path / "both.committee")
    data = models.written(models.open_frames(2), tmp_path / "in.npz")
    assert predict(*files, data, "--out", tmp_path / "a.npz") == 0
    assert predict(tmp_path / "both.committee", data, "--out", tmp_path / "b.npz") == 0
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_models_that_make_no_committee_are_refused(tmp_path, capsys):
    one = models.force_field(tmp_path / "a.model")
    other = models.property_model(tmp_path / "b.model")
    data = models.written(models.open_frames(2), tmp_path / "in.npz")
    for pair, words in (((one, one), "to be the same"), ((one, other), "needs models of one kind")):
        assert predict(*pair, data, "--out", tmp_path / "out.npz") == 2
        assert words in capsys.readouterr().err


def test_structures_without_labels_keys_and_units_are_enough(tmp_path):
    model = models.force_field(tmp_path / "a.model")
    pos = toy.arrays(2)["pos"]
    np.savez(tmp_path / "bare.npz", R=pos / 0.529177210544, species=toy.SPECIES)
    reading = ["data.keys.pos=R", "data.units.length=bohr"]
    options = [part for text in reading for part in ("--set", text)]
    assert predict(model, tmp_path / "bare.npz", "--out", tmp_path / "out.npz", *options) == 0
    np.testing.assert_allclose(read_frames(tmp_path / "out.npz")[1].pos, pos[1], atol=1e-9)


def test_distances_of_another_unit_are_noted(tmp_path, capsys):
    model = models.force_field(tmp_path / "a.model")
    columns = toy.arrays(4)
    data = toy.write_frames(tmp_path / "in.npz", 4, pos=2.3 * columns["pos"])
    assert predict(model, data, "--out", tmp_path / "out.npz") == 0
    assert "note:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "out.npy"], "needed a name that ends in .npz, .extxyz"),
        (["--out", "."], "--out needs a file to write; found a folder"),
        (["--out", "nowhere/a.npz"], "--out needs a file to write; found no folder nowhere"),
        (["--out", "in.npz"], "found the file that is read, which it would replace"),
        (["--out", "a.model"], "found the file that is read, which it would replace"),
        (["--out", "a.npz", "--batch-size", "0"], "--batch-size needs a number above 0; found 0"),
        (["--out", "a.npz", "--device", "cuda:99"], "needs a device of this machine; found 'cuda:99'"),
        (["--out", "a.npz", "--set", "data.kyes.pos=R"], "kyes is not a known key. Did you mean 'keys'?"),
        (["--out", "a.npz", "--set", "training.lr=1"], "predict knows the data section only"),
        (["--out", "a.npz", "--set", "data.keys.pos=xyz"], "needed key 'xyz'"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    models.force_field("a.model")
    models.written(models.open_frames(2), "in.npz")
    before = sorted(tmp_path.iterdir())
    assert predict("a.model", "in.npz", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"species": [8, 1, 1, 6]}, "in.npz frame 0: species needs atomic numbers 1 (H), 8 (O); found 6 (C) at atom 3"),
        ({"pos": np.full((2, 4, 3), np.nan)}, "in.npz frame 0: pos needs finite numbers"),
        ({"pos": np.zeros((2, 4, 3))}, "in.npz frame 0: atoms need to be 0.35 Å apart"),
    ],
)
def test_structures_that_cannot_be_predicted_are_named_and_nothing_is_written(tmp_path, capsys, changes, words):
    model = models.force_field(tmp_path / "a.model")
    data = toy.write_frames(tmp_path / "in.npz", 2, **changes)
    assert predict(model, data, "--out", tmp_path / "out.npz") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (tmp_path / "out.npz").exists()


def test_a_dipole_of_a_periodic_structure_is_refused_by_name(tmp_path, capsys):
    model = models.property_model(tmp_path / "a.model")
    data = models.written(models.mixed_frames(), tmp_path / "in.h5")
    assert predict(model, data, "--out", tmp_path / "out.h5") == 2
    err = capsys.readouterr().err
    assert "in.h5 frame 0" in err
    assert "needs open structures" in err
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize("suffix", [".extxyz", ".npz", ".h5"])
def test_predictions_that_are_not_finite_exit_3_and_leave_what_was_there(tmp_path, capsys, suffix):
    path = models.force_field(tmp_path / "a.model")
    model = load_model(path)
    torch.nn.init.constant_(model.trunk.embedding, torch.nan)
    save_model(model, path)
    data = models.written(models.open_frames(2), tmp_path / "in.npz")
    out = tmp_path / f"out{suffix}"
    out.write_bytes(b"old")
    assert predict(path, data, "--out", out) == 3
    assert "in.npz frame 0: predictions need to be finite; found energy that is not" in capsys.readouterr().err
    assert out.read_bytes() == b"old"


def test_a_lazy_set_is_predicted_without_being_held(tmp_path):
    model = models.force_field(tmp_path / "a.model")
    data = models.written(models.open_frames(20), tmp_path / "in.h5")
    assert predict(model, data, "--out", tmp_path / "out.h5", "--batch-size", "8") == 0
    assert len(read_frames(tmp_path / "out.h5")) == 20
