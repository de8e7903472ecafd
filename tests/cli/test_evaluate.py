import json

import numpy as np
import pytest
import torch
from train import toy

from irrepnet.cli import main
from irrepnet.data import read_frames
from irrepnet.deploy import Committee, predict_frames, save_committee
from irrepnet.models import load_model, save_model
from irrepnet.train import train
from irrepnet.train.model_from_data import model_from_data, training_set
from irrepnet.train.splits import load_splits


@pytest.fixture
def model_file(tmp_path):
    config = toy.config(tmp_path)
    model = model_from_data(config, training_set(load_splits(config).train, toy.CUTOFF))
    save_model(model, tmp_path / "toy.model")
    return tmp_path / "toy.model"


def evaluate(model_file, data, *arguments):
    return main(["eval", str(model_file), str(data), *arguments])


def test_the_table_has_units_and_the_json_the_same_numbers(model_file, tmp_path, capsys):
    assert evaluate(model_file, tmp_path / "frames.npz", "--json", str(tmp_path / "out.json"), "--batch-size", "7") == 0
    out = capsys.readouterr().out
    result = json.loads((tmp_path / "out.json").read_text())
    assert "20 frames" in out
    assert "compared: 20 values of energy, 240 values of forces" in out
    for label, unit in (("energy", "meV/atom"), ("forces", "meV/Å"), ("forces on H", "meV/Å")):
        (line,) = [line for line in out.splitlines() if line[:12].strip() == label]
        assert line.endswith(unit)
        assert f"{result['errors'][label]['rmse']:.2f}" in line


def test_it_gives_the_numbers_of_the_training_itself(tmp_path):
    valid = toy.write_frames(tmp_path / "valid.npz", num_frames=6, seed=5)
    config = toy.config(tmp_path)
    config = config.model_copy(update={"data": config.data.model_copy(update={"valid": valid, "valid_groups": None})})
    run = train(config, tmp_path / "run", quiet=True).run
    best = min(run.read_log(), key=lambda row: row["valid_loss"])
    assert evaluate(run.best, valid, "--json", str(tmp_path / "out.json"), "--batch-size", "3") == 0
    metrics = json.loads((tmp_path / "out.json").read_text())["metrics"]
    assert metrics == {name: best[name] for name in metrics}
    assert len(metrics) == 4


def test_keys_units_and_groups_of_the_data_can_be_said(model_file, tmp_path, capsys):
    columns = toy.arrays(8)
    columns["F"] = columns.pop("forces") * 1000
    columns["energy"] = columns["energy"] * 1000
    data = toy.write_frames(tmp_path / "other.npz", 8, without=("forces", "energy_unit", "length_unit"), **columns)
    reading = ["--set", "data.keys.forces=F", "--set", "data.units.energy=meV"]
    assert evaluate(model_file, data, *reading, "--json", str(tmp_path / "a.json")) == 0
    toy.write_frames(tmp_path / "same.npz", 8)
    assert evaluate(model_file, tmp_path / "same.npz", "--json", str(tmp_path / "b.json")) == 0
    one, other = (json.loads((tmp_path / name).read_text())["metrics"] for name in ("a.json", "b.json"))
    assert one == pytest.approx(other)
    assert evaluate(model_file, tmp_path / "same.npz", "--set", "data.train_groups=[run 1]") == 0
    assert "same.npz: 4 frames" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "data.kyes.forces=F"], "data: kyes is not a known key. Did you mean 'keys'?"),
        (["--set", "training.lr=3"], "eval knows the data section only"),
        (["--set", "data.keys.forces=frc"], "needed key 'frc'"),
        (["--batch-size", "0"], "--batch-size needs a number above 0; found 0"),
        (["--device", "cuda:99"], "needs a device of this machine; found 'cuda:99'"),
        (["--labels", "energy,stress"], "needed stress"),
        (["--json", "."], "--json needs a file to write; found a folder"),
        (["--json", "nowhere/a.json"], "--json needs a file to write; found no folder nowhere"),
        (["--labels", "force"], "Did you mean 'forces'?"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(model_file, tmp_path, capsys, arguments, words):
    assert evaluate(model_file, tmp_path / "frames.npz", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_missing_labels_are_refused_unless_they_are_not_asked_for(model_file, tmp_path, capsys):
    data = toy.write_frames(tmp_path / "bare.npz", 4, without=("energy",))
    assert evaluate(model_file, data) == 2
    assert "needed energy" in capsys.readouterr().err
    assert evaluate(model_file, data, "--labels", "forces") == 0
    assert "meV/atom" not in capsys.readouterr().out


def test_an_unknown_element_is_named(model_file, tmp_path, capsys):
    data = toy.write_frames(tmp_path / "other.npz", 4, species=[8, 1, 1, 6])
    assert evaluate(model_file, data) == 2
    assert "found 6 (C)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda raw: raw[:-7], "is damaged: it needs"),
        (lambda raw: raw[:-7] + bytes([raw[-7] ^ 1]) + raw[-6:], "its SHA-256 is not"),
        (lambda raw: b"", "is empty"),
        (lambda raw: b"\x80\x04cos\nsystem\n(S'true'\ntR.", "never unpickles"),
    ],
)
def test_a_damaged_or_malicious_model_file_is_refused(model_file, tmp_path, capsys, damage, words):
    model_file.write_bytes(damage(model_file.read_bytes()))
    assert evaluate(model_file, tmp_path / "frames.npz") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_files_that_are_not_there_are_named(model_file, tmp_path, capsys):
    assert evaluate(tmp_path / "no.model", tmp_path / "frames.npz") == 2
    assert "no.model" in capsys.readouterr().err
    assert evaluate(model_file, tmp_path / "no.npz") == 2
    assert "no.npz: needed a file; found nothing there" in capsys.readouterr().err


def test_predictions_that_are_not_finite_exit_3_and_write_nothing(model_file, tmp_path, capsys):
    model = load_model(model_file)
    torch.nn.init.constant_(model.trunk.embedding, torch.nan)
    save_model(model, model_file)
    assert evaluate(model_file, tmp_path / "frames.npz", "--json", str(tmp_path / "out.json")) == 3
    assert "frames.npz frame 0" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_a_committee_is_judged_by_its_mean(model_file, tmp_path, capsys):
    torch.manual_seed(1)
    other = load_model(model_file)
    for weight in other.parameters():
        weight.data += 0.01 * torch.randn_like(weight)
    save_model(other, tmp_path / "other.model")
    committee = Committee([model_file, tmp_path / "other.model"])
    save_committee(committee, tmp_path / "both.committee")
    data = tmp_path / "frames.npz"
    assert evaluate(tmp_path / "both.committee", data, "--json", str(tmp_path / "out.json")) == 0
    found = json.loads((tmp_path / "out.json").read_text())["metrics"]["forces_rmse"]
    frames = read_frames(data)
    said = [labels["forces"] for labels in predict_frames(committee, frames)]
    errors = [forces - frame.forces for frame, forces in zip(frames, said, strict=True)]
    assert found == pytest.approx(1000 * np.sqrt(np.mean(np.square(errors))), rel=1e-6)


@pytest.mark.parametrize("name", ["toy.model", "frames.npz"])
def test_the_numbers_do_not_replace_what_is_read(model_file, tmp_path, capsys, name):
    before = (tmp_path / name).read_bytes()
    assert evaluate(model_file, tmp_path / "frames.npz", "--json", str(tmp_path / name)) == 2
    assert "--json needs a file to write; found the file that is read" in capsys.readouterr().err
    assert (tmp_path / name).read_bytes() == before
