"""``irrepnet study`` and ``irrepnet committee`` on a toy system, in a few steps."""

import csv
import signal

import pytest
import yaml
from train import toy

from irrepnet.cli.main import main
from irrepnet.data import read_frames
from irrepnet.deploy.committee_file import load_committee
from irrepnet.deploy.predictor import Predictor
from irrepnet.train.study import StudyStoppedError


@pytest.fixture
def config(tmp_path):
    tree = toy.tree(tmp_path, steps=4)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tree))
    return str(path)


def test_study_draws_curves_and_keeps_the_numbers(config, tmp_path, capsys):
    out = tmp_path / "study"
    arguments = ["study", config, "--out", str(out), "--sizes", "4,8", "--published", "forces:A, 8 frames=12.5"]
    assert main([*arguments, "--jobs", "2"]) == 0
    with (out / "study.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["num_frames"], row["label"]) for row in rows} == {
        (size, label) for size in ("4", "8") for label in ("energy", "forces")
    }
    page = (out / "study.html").read_text(encoding="utf-8")
    assert "A, 8 frames" in page
    assert "forces, MAE" in page
    assert "[2/2]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sizes", "ten"], "--sizes needs numbers of frames, 50,200,950; found 'ten'"),
        (["--published", "2.8"], "--published needs LABEL:NAME=MAE, such as forces:NequIP=2.8; found '2.8'"),
        (["--variant", "x"], "--variant needs 'NAME: section.key=value ...'; found 'x'"),
    ],
)
def test_bad_arguments_end_with_one_line(config, tmp_path, capsys, arguments, words):
    assert main(["study", config, "--out", str(tmp_path / "study"), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_committee_is_calibrated_on_validation_frames_and_serves_as_a_model(config, tmp_path, capsys):
    out = tmp_path / "committee"
    assert main(["committee", config, "--out", str(out), "--members", "2", "--jobs", "2"]) == 0
    committee = load_committee(out / "models.committee")
    assert len(committee.members) == 2
    assert committee.calibration["forces"].factor > 0
    frame = read_frames(tmp_path / "frames.npz")[0]
    assert (Predictor(committee)(frame.species, frame.pos).forces_spread > 0).all()
    said = capsys.readouterr().out
    assert "models.committee" in said
    page = (out / "committee.html").read_text(encoding="utf-8")
    assert "Error against the spread" in page
    # There are no test frames here: on those of the calibration the factor would be right by construction.
    assert next(line for line in said.splitlines() if line.startswith("forces ")).endswith("   -")
    assert "there are no test frames, so the factors were judged by none" in said
    assert "2 models, 4 validation frames" in page
    assert "There are no test frames, so the factors were judged by none" in page


def test_committee_is_judged_on_test_frames_where_there_are_some(tmp_path, capsys):
    tree = toy.tree(tmp_path, steps=4)
    tree["data"]["test"] = toy.write_frames(tmp_path / "test.npz", num_frames=6, seed=3)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
    out = tmp_path / "committee"
    assert main(["committee", str(tmp_path / "config.yaml"), "--out", str(out), "--members", "2", "--jobs", "2"]) == 0
    said = capsys.readouterr().out
    assert float(next(line for line in said.splitlines() if line.startswith("forces ")).split()[-1]) > 0
    assert "judged by none" not in said
    assert "2 models, 6 test frames" in (out / "committee.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["study", "committee"])
def test_the_exit_code_names_the_signal_that_ended_it(config, tmp_path, capsys, monkeypatch, command):
    def stopped(*_, **__):
        raise StudyStoppedError(signal.SIGTERM)

    monkeypatch.setattr("irrepnet.train.study.run_study", stopped)
    assert main([command, config, "--out", str(tmp_path / "out")]) == 128 + signal.SIGTERM
    assert "SIGTERM: the trainings have saved their state" in capsys.readouterr().out


def test_the_help_of_committee_says_how_many_members_energies_need(capsys):
    with pytest.raises(SystemExit):
        main(["committee", "--help"])
    assert "energies that can be trusted train five members or more" in " ".join(capsys.readouterr().out.split())


def test_one_model_is_no_committee(config, tmp_path, capsys):
    assert main(["committee", config, "--out", str(tmp_path / "c"), "--members", "1"]) == 2
    assert "--members needs 2 or more; found 1; one model has no spread" in capsys.readouterr().err
