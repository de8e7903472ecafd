import dataclasses
import math
import re

import numpy as np
import pytest
import torch
from train import toy

from irrepnet.errors import ConfigError, NonFiniteError
from irrepnet.models import load_model, load_tensors
from irrepnet.report.html import render_report
from irrepnet.report.run_report import read_run
from irrepnet.train import RunConfig, evaluate, label_graphs, loop, train
from irrepnet.train.config import LossConfig, TrainingConfig
from irrepnet.train.losses import weighted_loss
from irrepnet.train.model_from_data import model_from_data, training_set
from irrepnet.train.splits import load_splits
from irrepnet.train.state import Progress, TrainState


def test_the_loss_of_a_twenty_frame_set_decreases(tmp_path):
    result = train(toy.config(tmp_path, steps=60, lr=0.05, validate_every_steps=20), tmp_path / "run", quiet=True)
    log = toy.rows(tmp_path / "run")
    assert [row["step"] for row in log] == [0, 20, 40, 60]
    assert log[-1]["valid_loss"] < 0.55 * log[0]["valid_loss"]
    assert log[-1]["train_loss"] < log[1]["train_loss"]
    assert log[-1]["forces_rmse"] < 0.7 * log[0]["forces_rmse"]
    assert result.progress.step == 60
    assert result.signal is None


def test_the_best_model_is_the_one_with_the_lowest_validation_loss(tmp_path):
    config = toy.config(tmp_path, steps=30)
    result = train(config, tmp_path / "run", quiet=True)
    model = load_model(result.run.best)
    best = min(toy.rows(tmp_path / "run"), key=lambda row: row["valid_loss"])
    assert model.metadata["step"] == best["step"] == result.progress.best_step
    items = label_graphs(result.splits.valid, model.cutoff)
    evaluation = evaluate(model, items, batch_size=3, loss=config.training.loss)
    assert evaluation.loss == best["valid_loss"] == result.progress.best_loss
    assert {name: best[name] for name in evaluation.metrics} == evaluation.metrics


def test_a_folder_with_a_run_is_refused_without_resume(tmp_path):
    train(toy.config(tmp_path, steps=1), tmp_path / "run", quiet=True)
    with pytest.raises(ConfigError, match=r"needed a new folder; found a run in it; add --resume"):
        train(toy.config(tmp_path, steps=1), tmp_path / "run", quiet=True)
    with pytest.raises(ConfigError, match=r"needed a folder for the run; found a file"):
        train(toy.config(tmp_path, steps=1), tmp_path / "frames.npz", quiet=True)


def test_bad_data_leaves_no_folder_behind(tmp_path):
    tree = toy.tree(tmp_path)
    toy.write_frames(tmp_path / "frames.npz", without=("forces",))
    with pytest.raises(ValueError, match="needed forces"):
        train(RunConfig.model_validate(tree), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_the_run_naming_the_frames(tmp_path):
    config = toy.config(tmp_path, steps=50, lr=1e30, warmup=0.0, clip_norm=None)
    with pytest.raises(
        NonFiniteError, match=r"stopped at step \d+: .* for .*frames\.npz frame \d+.*best\.model"
    ) as caught:
        train(config, tmp_path / "run", quiet=True)
    assert "frame" in str(caught.value)
    assert all(p.isfinite().all() for p in load_model(tmp_path / "run" / "best.model").parameters())
    tensors, metadata = load_tensors(tmp_path / "run" / "last.state")
    assert metadata["progress"]["step"] == 0
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_a_wall_clock_budget_ends_in_time_with_the_lowest_rate(tmp_path):
    config = toy.config(tmp_path, steps=None, minutes=0.01, validate_every_steps=50)
    result = train(config, tmp_path / "run", quiet=True)
    assert 0.6 <= result.progress.seconds < 5
    assert toy.rows(tmp_path / "run")[-1]["lr"] == pytest.approx(0.01 * 0.02)
    assert toy.rows(tmp_path / "run")[-1]["step"] == result.progress.step


def test_the_time_of_earlier_sittings_counts(tmp_path, interrupt):
    config = toy.config(tmp_path, steps=None, minutes=0.02, validate_every_steps=1000)
    interrupt(5)
    first = train(config, tmp_path / "run", quiet=True)
    second = train(config, tmp_path / "run", resume=True, quiet=True)
    assert second.progress.seconds >= 1.2 > first.progress.seconds
    assert second.progress.seconds < 5


def test_states_are_saved_between_validations(tmp_path, interrupt, monkeypatch):
    saved = []
    save = TrainState.save
    monkeypatch.setattr(TrainState, "save", lambda self, *args: (saved.append(self.progress.step), save(self, *args)))
    train(toy.config(tmp_path, validate_every_steps=12, save_every_minutes=1e-9), tmp_path / "run", quiet=True)
    assert set(range(1, 13)) <= set(saved)


def test_the_average_is_kept_not_the_last_weights(tmp_path):
    result = train(toy.config(tmp_path, steps=8, lr=1e-3), tmp_path / "run", quiet=True)
    assert result.progress.best_step == 8  # the best weights are those of the last state
    tensors, _ = load_tensors(tmp_path / "run" / "last.state")
    names = [name.removeprefix("model.") for name in tensors if name.startswith("model.")]
    assert any(not torch.equal(tensors[f"model.{n}"], tensors[f"averaged.module.{n}"]) for n in names)
    best = load_model(tmp_path / "run" / "best.model").state_dict()
    assert all(torch.equal(best[n], tensors[f"averaged.module.{n}"]) for n in names)


def test_without_averaging_the_average_is_the_model(tmp_path):
    train(toy.config(tmp_path, steps=20, ema_decay=0.0), tmp_path / "run", quiet=True)
    tensors, _ = load_tensors(tmp_path / "run" / "last.state")
    for name in [name.removeprefix("model.") for name in tensors if name.startswith("model.")]:
        assert torch.equal(tensors[f"model.{name}"], tensors[f"averaged.module.{name}"])


def test_the_data_determine_what_the_configuration_leaves_open(tmp_path):
    config = toy.config(tmp_path)
    splits = load_splits(config)
    data = training_set(splits.train, toy.CUTOFF)
    model = model_from_data(config, data)
    forces = np.concatenate([frame.forces for frame in splits.train])
    assert model.config.species == ("H", "O")
    assert model.config.energy_scale == pytest.approx(np.sqrt((forces**2).mean()))
    assert model.config.avg_num_neighbors == pytest.approx(data.sizes.num_edges.sum() / (4 * len(data.items)))
    shifts = np.array(model.config.species_shifts) @ [3, 1]
    assert shifts == pytest.approx(np.mean([frame.energy for frame in splits.train]))


def test_what_the_configuration_says_is_not_overruled(tmp_path):
    tree = toy.tree(tmp_path)
    tree["model"] = {**toy.MODEL, "species": ["C", "H", "O"], "energy_scale": 2.0, "species_shifts": [0.0, -1.0, -2.0]}
    config = RunConfig.model_validate(tree)
    model = model_from_data(config, training_set(load_splits(config).train, toy.CUTOFF))
    assert model.config.species == ("C", "H", "O")
    assert model.config.energy_scale == 2.0
    assert model.config.species_shifts == (0.0, -1.0, -2.0)


def test_an_absent_device_is_refused(tmp_path):
    with pytest.raises(
        ConfigError, match=r"training.device \(--device\) needs a device of this machine; found 'cuda:77'"
    ):
        train(toy.config(tmp_path, device="cuda:77"), tmp_path / "run", quiet=True)


def test_the_console_prints_one_line_per_validation_with_units(tmp_path, capsys):
    train(toy.config(tmp_path), tmp_path / "run")
    text = capsys.readouterr().out
    assert "energy MAE / RMSE, meV/atom" in text
    assert "forces MAE / RMSE, meV/Å" in text
    assert [line.split()[0] for line in text.splitlines()[-4:]] == ["0", "4", "8", "12"]


def test_a_validation_that_is_not_finite_stops_the_run_naming_the_frames(tmp_path, monkeypatch):
    def broken(*arguments, **options):
        evaluation = evaluate(*arguments, **options)
        return dataclasses.replace(evaluation, loss=math.nan, not_finite=("frames.npz frame 17",))

    monkeypatch.setattr(loop, "evaluate", broken)
    with pytest.raises(NonFiniteError, match=r"at step 0: the validation loss is nan for \S+ frame 17; best\.model"):
        train(toy.config(tmp_path), tmp_path / "run", quiet=True)
    assert toy.rows(tmp_path / "run") == []
    assert not (tmp_path / "run" / "best.model").exists()


def test_training_that_diverged_is_told(tmp_path, capsys, monkeypatch):
    train(toy.config(tmp_path), tmp_path / "well")
    assert "diverged" not in capsys.readouterr().out
    monkeypatch.setitem(loop._DIVERGED, "huber", 0.5)  # a toy has not learned enough to lose more
    train(toy.config(tmp_path), tmp_path / "ill")
    out = " ".join(capsys.readouterr().out.split())
    assert re.search(r"validation loss is 1 times that of step \d+: training has diverged; best.model is kept", out)
    assert out.count("diverged") == 1


@pytest.mark.parametrize("kind", ["mae", "huber", "mse"])
def test_forces_that_have_become_zero_are_divergence_and_noise_is_not(kind):
    """A model with errors of a tenth of the spread, which is 1 eV/Å: twice the error is noise."""
    settings = TrainingConfig(steps=1, loss=LossConfig(kind=kind))

    def loss(error):
        size = torch.full((5, 3), error)
        return float(weighted_loss({"forces": size}, {"forces": 1.0}, settings.loss))

    progress = Progress(step=9, best_step=5, best_loss=loss(0.1))
    assert loop._remark_on_divergence(loss(0.2), progress, settings) is None
    remark = loop._remark_on_divergence(loss(1.0), progress, settings)
    assert "times that of step 5" in remark and "amsgrad" not in remark
    without = settings.model_copy(update={"amsgrad": False})
    assert "training.amsgrad" in loop._remark_on_divergence(loss(1.0), progress, without)


def test_a_loss_of_zero_is_the_best_there_is():
    assert loop._remark_on_divergence(1.0, Progress(best_loss=0.0), TrainingConfig(steps=1)) is None


def test_the_model_says_what_it_was_trained_on(tmp_path):
    metadata = load_model(train(toy.config(tmp_path, steps=1), tmp_path / "run", quiet=True).run.best).metadata
    assert (metadata["data"], metadata["num_frames"]) == ("frames.npz", 16)
    assert metadata["title"] == "irrepnet training run"


def test_what_looked_odd_is_kept_and_leaks_are_told_first(tmp_path, capsys):
    tree = toy.tree(tmp_path, steps=1)
    tree["data"] = {"train": tree["data"]["train"], "valid": tree["data"]["train"]}
    result = train(RunConfig.model_validate(tree), tmp_path / "run")
    assert result.run.read_findings() == list(result.splits.findings)
    first = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("note:"))
    assert "20 of 20 held-back frames are also in training" in first
    assert "20 of 20 held-back frames are also in training" in render_report(read_run(tmp_path / "run"))
