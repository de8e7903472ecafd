import pytest
from train import toy

from irrepnet.train import RunConfig, train
from irrepnet.train.config import TrainingConfig
from irrepnet.train.summary import StepTimer


def test_the_first_lines_say_what_is_learned_from(tmp_path, capsys):
    train(toy.config(tmp_path, steps=1), tmp_path / "run")
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert rows["learned"] == ["16", "64", "192"]
    assert rows["validated"] == ["4", "16", "48"]
    assert "elements: H 48, O 16 atoms" in lines
    assert "neighbours: 3.0 per atom within 3 Å" in lines
    energy = next(line.split() for line in lines if line.startswith("energy - shifts"))
    assert energy[3] == "16"
    assert float(energy[4]) == pytest.approx(0, abs=1e-10)
    assert 0.01 < float(energy[5]) < 1
    assert energy[6] == "eV/atom"
    assert rows["forces"][0] == "192"
    assert rows["forces"][-1] == "eV/Å"
    assert any(line.startswith("weights: ") and "learned, 0 frozen; float32 on cpu" in line for line in lines)


def test_frozen_weights_and_other_test_frames_are_told(tmp_path, capsys):
    tree = toy.tree(tmp_path, steps=1, freeze=["*embedding"])
    tree["data"]["test"] = toy.write_frames(tmp_path / "test.npz", num_frames=3, seed=4)
    train(RunConfig.model_validate(tree), tmp_path / "run")
    out = capsys.readouterr().out
    assert "to be tested: 3 frames" in out
    assert "learned, 8 frozen" in out


def test_the_time_of_a_step_is_told_once_after_some_steps(tmp_path, capsys):
    train(toy.config(tmp_path, steps=40, validate_every_steps=40), tmp_path / "run")
    assert capsys.readouterr().out.count("ms per step: ") == 1


def test_a_budget_of_minutes_is_told_in_steps():
    timer = StepTimer(TrainingConfig(minutes=2.0), epoch=60)
    (remark,) = filter(None, [timer.add(0.1) for _ in range(50)])
    assert remark == "100.0 ms per step: 2 minutes for 1200 steps (20 epochs), validation not counted"
