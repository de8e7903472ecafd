import dataclasses
import json
import math
import signal

import numpy as np
import pytest
import torch
from train import toy

from irrepnet.errors import CheckpointError, ConfigError, NonFiniteError
from irrepnet.models import Prediction, load_model, load_tensors
from irrepnet.train import RunConfig, evaluate, label_graphs, loop, train
from irrepnet.train.console import TrainingConsole
from irrepnet.train.loop import _take_step
from irrepnet.train.model_from_data import model_from_data
from irrepnet.train.samples import LabelledGraphs
from irrepnet.train.splits import load_splits
from irrepnet.train.state import TrainState

STATE = ("last.state", "best.model")


def rows(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def without_times(run):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows(run)]


def assert_same_run(one, other):
    for name in STATE:
        tensors, metadata = load_tensors(one / name)
        others, other_metadata = load_tensors(other / name)
        assert tensors.keys() == others.keys()
        for key, tensor in tensors.items():
            assert torch.equal(tensor, others[key]), f"{name}: {key}"
        for progress in (metadata.get("progress", {}), other_metadata.get("progress", {})):
            progress.pop("seconds", None)
        assert metadata == other_metadata
    assert without_times(one) == without_times(other)


@pytest.fixture
def interrupt(monkeypatch):
    """Return a function that makes the next training raise a signal in the middle of a step."""

    def at(step, number=signal.SIGTERM):
        advance = TrainingConsole.advance

        def advance_and_raise(self, share, done, *rest):
            advance(self, share, done, *rest)
            if done == step:
                monkeypatch.setattr(TrainingConsole, "advance", advance)
                signal.raise_signal(number)

        monkeypatch.setattr(TrainingConsole, "advance", advance_and_raise)

    return at


def test_the_loss_of_a_twenty_frame_set_decreases(tmp_path):
    result = train(toy.config(tmp_path, steps=60, validate_every_steps=20), tmp_path / "run", quiet=True)
    log = rows(tmp_path / "run")
    assert [row["step"] for row in log] == [0, 20, 40, 60]
    assert log[-1]["valid_loss"] < 0.3 * log[0]["valid_loss"]
    assert log[-1]["train_loss"] < log[1]["train_loss"]
    assert log[-1]["forces_rmse"] < 0.7 * log[0]["forces_rmse"]
    assert result.progress.step == 60
    assert result.signal is None


def test_the_best_model_is_the_one_with_the_lowest_validation_loss(tmp_path):
    config = toy.config(tmp_path, steps=30)
    result = train(config, tmp_path / "run", quiet=True)
    model = load_model(result.run.best)
    best = min(rows(tmp_path / "run"), key=lambda row: row["valid_loss"])
    assert model.metadata["step"] == best["step"] == result.progress.best_step
    items = label_graphs(result.splits.valid, model.cutoff)
    evaluation = evaluate(model, items, batch_size=3, loss=config.training.loss)
    assert evaluation.loss == best["valid_loss"] == result.progress.best_loss
    assert {name: best[name] for name in evaluation.metrics} == evaluation.metrics


def test_the_same_configuration_gives_the_same_bits(tmp_path):
    for name in ("one", "two"):
        train(toy.config(tmp_path), tmp_path / name, quiet=True)
    assert_same_run(tmp_path / "one", tmp_path / "two")


# Six steps are an epoch. 5: in the middle of one; 4: a validation is due; 8: the last one was just written.
@pytest.mark.parametrize("steps", [(5,), (4,), (3, 8), (6, 7, 11)])
def test_a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(tmp_path, interrupt, steps):
    config = toy.config(tmp_path, amsgrad=True)
    train(config, tmp_path / "whole", quiet=True)
    for count, step in enumerate(steps):
        interrupt(step)
        result = train(config, tmp_path / "parts", resume=count > 0, quiet=True)
        assert result.signal == signal.SIGTERM
        assert result.progress.step == step
        torch.rand(7)  # whatever else happens in the process
    assert train(config, tmp_path / "parts", resume=True, quiet=True).signal is None
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_rows_that_a_dead_process_logged_after_its_last_state_are_written_once(tmp_path, interrupt):
    config = toy.config(tmp_path)
    train(config, tmp_path / "whole", quiet=True)
    interrupt(5)
    train(config, tmp_path / "parts", quiet=True)
    with (tmp_path / "parts" / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": 8, "valid_loss": 1.0}) + '\n{"step": 12, "val')
    train(config, tmp_path / "parts", resume=True, quiet=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_lost_last_state_is_replaced_by_the_previous_one(tmp_path, interrupt, damage, capsys):
    config = toy.config(tmp_path)
    train(config, tmp_path / "whole", quiet=True)
    interrupt(9)
    train(config, tmp_path / "parts", quiet=True)
    state = tmp_path / "parts" / "last.state"
    if damage == "missing":
        state.unlink()
    else:
        state.write_bytes(state.read_bytes()[:-10])
    train(config, tmp_path / "parts", resume=True)
    assert "going on from previous.state" in capsys.readouterr().out
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    config = toy.config(tmp_path)
    train(config, tmp_path / "run", quiet=True)
    before = {name: (tmp_path / "run" / name).read_bytes() for name in STATE}
    assert train(config, tmp_path / "run", resume=True, quiet=True).progress.step == 12
    assert {name: (tmp_path / "run" / name).read_bytes() for name in STATE} == before


def test_resume_starts_a_run_where_there_is_none(tmp_path):
    assert train(toy.config(tmp_path, steps=2), tmp_path / "run", resume=True, quiet=True).progress.step == 2


def test_resume_with_another_configuration_is_refused_with_the_difference(tmp_path, interrupt):
    interrupt(5)
    train(toy.config(tmp_path), tmp_path / "run", quiet=True)
    with pytest.raises(
        ConfigError, match=r"found changes:\n  training.lr: 0.02 in the run; 0.01 now\n  training.seed: 0"
    ):
        train(toy.config(tmp_path, lr=0.01, seed=3), tmp_path / "run", resume=True, quiet=True)
    assert rows(tmp_path / "run")[-1]["step"] == 4


def test_what_does_not_touch_the_weights_may_change_and_files_may_move(tmp_path, interrupt):
    interrupt(5)
    train(toy.config(tmp_path), tmp_path / "run", quiet=True)
    tree = toy.tree(tmp_path, save_every_minutes=1.0)
    moved = tmp_path / "moved.npz"
    (tmp_path / "frames.npz").rename(moved)
    tree["data"]["train"] = str(moved)
    tree["md"] = {"steps": 3}
    result = train(RunConfig.model_validate(tree), tmp_path / "run", resume=True, quiet=True)
    assert result.progress.step == 12


def test_resume_with_other_frames_is_refused(tmp_path, interrupt):
    interrupt(5)
    train(toy.config(tmp_path), tmp_path / "run", quiet=True)
    toy.write_frames(tmp_path / "frames.npz", seed=9)
    with pytest.raises(ConfigError, match="needs the frames that the run was started with"):
        train(toy.config(tmp_path), tmp_path / "run", resume=True, quiet=True)


def test_a_folder_with_a_run_is_refused_without_resume(tmp_path):
    train(toy.config(tmp_path, steps=1), tmp_path / "run", quiet=True)
    with pytest.raises(ConfigError, match=r"needed a new folder; found a run in it; add --resume"):
        train(toy.config(tmp_path, steps=1), tmp_path / "run", quiet=True)
    with pytest.raises(ConfigError, match=r"needed a folder for the run; found a file"):
        train(toy.config(tmp_path, steps=1), tmp_path / "frames.npz", quiet=True)


def test_a_model_without_a_state_is_not_overwritten(tmp_path):
    train(toy.config(tmp_path, steps=1), tmp_path / "run", quiet=True)
    for name in ("last.state", "previous.state"):
        (tmp_path / "run" / name).unlink()
    with pytest.raises(CheckpointError, match=r"--resume needs last.state; found best.model without it"):
        train(toy.config(tmp_path, steps=1), tmp_path / "run", resume=True, quiet=True)


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


def state_and_batch(tmp_path):
    config = toy.config(tmp_path)
    model, items = model_from_data(config, load_splits(config).train)
    return TrainState(model, config.training, data_fingerprint=""), items, config.training


def test_only_the_frames_without_a_finite_prediction_are_named(tmp_path):
    state, items, settings = state_and_batch(tmp_path)
    broken = torch.tensor([1.0, math.nan, 1.0])
    state.model.register_forward_hook(lambda model, graph, out: Prediction(out.energy * broken, out.forces, None))
    before = [p.clone() for p in state.model.parameters()]
    with pytest.raises(NonFiniteError, match=r"the loss is nan for \S+ frame 1; best\.model"):
        _take_step(state, LabelledGraphs.collate(items[:3]), settings, rate=0.01)
    assert all(map(torch.equal, before, state.model.parameters()))


def test_a_gradient_that_is_not_finite_names_the_whole_batch(tmp_path):
    state, items, settings = state_and_batch(tmp_path)
    next(state.model.parameters()).register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(NonFiniteError, match=r"the gradient's norm is \w+ for \S+ frame 0, \S+ frame 1; best"):
        _take_step(state, LabelledGraphs.collate(items[:2]), settings, rate=0.01)
    assert state.progress.step == 0


def test_a_wall_clock_budget_ends_in_time_with_the_lowest_rate(tmp_path):
    config = toy.config(tmp_path, steps=None, minutes=0.01, validate_every_steps=50)
    result = train(config, tmp_path / "run", quiet=True)
    assert 0.6 <= result.progress.seconds < 5
    assert rows(tmp_path / "run")[-1]["lr"] == pytest.approx(0.01 * 0.02)
    assert rows(tmp_path / "run")[-1]["step"] == result.progress.step


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
    train(toy.config(tmp_path, steps=8), tmp_path / "run", quiet=True)
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
    model, items = model_from_data(config, splits.train)
    forces = np.concatenate([frame.forces for frame in splits.train])
    assert model.config.species == ("H", "O")
    assert model.config.energy_scale == pytest.approx(np.sqrt((forces**2).mean()))
    assert model.config.avg_num_neighbors == pytest.approx(sum(i.graph.num_edges for i in items) / (4 * len(items)))
    shifts = np.array(model.config.species_shifts) @ [3, 1]
    assert shifts == pytest.approx(np.mean([frame.energy for frame in splits.train]))


def test_what_the_configuration_says_is_not_overruled(tmp_path):
    tree = toy.tree(tmp_path)
    tree["model"] = {**toy.MODEL, "species": ["C", "H", "O"], "energy_scale": 2.0, "species_shifts": [0.0, -1.0, -2.0]}
    config = RunConfig.model_validate(tree)
    model, _ = model_from_data(config, load_splits(config).train)
    assert model.config.species == ("C", "H", "O")
    assert model.config.energy_scale == 2.0
    assert model.config.species_shifts == (0.0, -1.0, -2.0)


def test_an_absent_device_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"training.device needs a device of this machine; found 'cuda:77'"):
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
        predicted = {"energy": np.array([0.0, np.nan, 0.0, 0.0])}
        return dataclasses.replace(evaluation, loss=math.nan, predicted=predicted)

    monkeypatch.setattr(loop, "evaluate", broken)
    with pytest.raises(NonFiniteError, match=r"at step 0: the validation loss is nan for \S+ frame 17; best\.model"):
        train(toy.config(tmp_path), tmp_path / "run", quiet=True)
    assert rows(tmp_path / "run") == []
    assert not (tmp_path / "run" / "best.model").exists()
