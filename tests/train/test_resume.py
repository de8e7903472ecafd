"""A run that is interrupted and resumed ends with the same bits as one that is not."""

import json
import signal

import numpy as np
import pytest
import torch
import yaml
from train import toy

from irrepnet import cli
from irrepnet.errors import CheckpointError, ConfigError
from irrepnet.models import load_tensors, save_tensors
from irrepnet.train import RunConfig, train
from irrepnet.train.run_folder import RunFolder
from irrepnet.train.run_lock import RunLock


def test_the_same_configuration_gives_the_same_bits(tmp_path):
    for name in ("one", "two"):
        train(toy.config(tmp_path), tmp_path / name, quiet=True)
    toy.assert_same_run(tmp_path / "one", tmp_path / "two")


def test_another_seed_gives_other_bits(tmp_path):
    for seed in (0, 1):
        train(toy.config(tmp_path, seed=seed, steps=4), tmp_path / str(seed), quiet=True)
    with pytest.raises(AssertionError):
        toy.assert_same_run(tmp_path / "0", tmp_path / "1")


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
    toy.assert_same_run(tmp_path / "whole", tmp_path / "parts")


VARIANTS = {
    "accumulate": {"accumulate": 2},
    "stages": {"loss_schedule": [{"from": 0.3, "energy": 100.0}, {"from": 0.7, "forces": 0.5}]},
    "frozen": {"freeze": ["*embedding"]},
    "exponential": {"schedule": "exponential", "optimiser": "adamw", "weight_decay": 0.01},
    "huber": {"loss": {"kind": "huber"}, "ema_decay": 0.0},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_resumed_run_has_the_same_bits_however_it_is_trained(tmp_path, interrupt, name):
    config = toy.config(tmp_path, **VARIANTS[name])
    train(config, tmp_path / "whole", quiet=True)
    interrupt(5)
    train(config, tmp_path / "parts", quiet=True)
    train(config, tmp_path / "parts", resume=True, quiet=True)
    toy.assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_workers_change_no_bit_and_may_change_between_sittings(tmp_path, interrupt):
    config = toy.config(tmp_path)
    train(config, tmp_path / "alone", quiet=True)
    interrupt(5)
    with_workers = config.model_copy(update={"data": config.data.model_copy(update={"workers": 2})})
    train(with_workers, tmp_path / "parts", quiet=True)
    train(config, tmp_path / "parts", resume=True, quiet=True)
    assert [row["valid_loss"] for row in toy.rows(tmp_path / "parts")] == [
        row["valid_loss"] for row in toy.rows(tmp_path / "alone")
    ]


def test_keys_that_are_younger_than_a_run_are_no_change(tmp_path, interrupt):
    interrupt(5)
    config = toy.config(tmp_path)
    train(config, tmp_path / "run", quiet=True)
    tensors, metadata = load_tensors(tmp_path / "run" / "last.state")
    for section, key in (("training", "accumulate"), ("training", "loss_schedule"), ("data", "workers")):
        del metadata["config"][section][key]
    save_tensors(tmp_path / "run" / "last.state", tensors, metadata)
    assert train(config, tmp_path / "run", resume=True, quiet=True).progress.step == 12


def test_a_run_of_format_2_goes_on_from_its_folder(tmp_path, interrupt, monkeypatch):
    """Its Bessel functions were all of one size, and neither its state nor its configuration says so."""
    config = toy.config(tmp_path)
    changes = {"model": {"radial_decay": 0.0}, "md": {"enabled": False}, "report": {"enabled": False}}
    config = config.model_copy(
        update={section: getattr(config, section).model_copy(update=change) for section, change in changes.items()}
    )
    train(config, tmp_path / "whole", quiet=True)
    interrupt(5)
    run = RunFolder(tmp_path / "parts")
    train(config, run.path, quiet=True)
    tensors, metadata = load_tensors(run.state)
    del metadata["config"]["model"]["radial_decay"], metadata["model"]["radial_decay"]
    with monkeypatch.context() as patch:
        patch.setattr("irrepnet.models.checkpoint.FORMAT_VERSION", 2)
        save_tensors(run.state, tensors, metadata)
    tree = yaml.safe_load(run.config.read_text())
    del tree["model"]["radial_decay"]
    run.config.write_text(yaml.safe_dump(tree))

    assert cli.main(["train", "--resume", "--out", str(run.path)]) == 0
    toy.assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_rows_that_a_dead_process_logged_after_its_last_state_are_written_once(tmp_path, interrupt):
    config = toy.config(tmp_path)
    train(config, tmp_path / "whole", quiet=True)
    interrupt(5)
    train(config, tmp_path / "parts", quiet=True)
    with (tmp_path / "parts" / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": 8, "valid_loss": 1.0}) + '\n{"step": 12, "val')
    train(config, tmp_path / "parts", resume=True, quiet=True)
    toy.assert_same_run(tmp_path / "whole", tmp_path / "parts")


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
    toy.assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    config = toy.config(tmp_path)
    train(config, tmp_path / "run", quiet=True)
    before = {name: (tmp_path / "run" / name).read_bytes() for name in toy.STATE}
    assert train(config, tmp_path / "run", resume=True, quiet=True).progress.step == 12
    assert {name: (tmp_path / "run" / name).read_bytes() for name in toy.STATE} == before


def test_resume_starts_a_run_where_there_is_none(tmp_path):
    assert train(toy.config(tmp_path, steps=2), tmp_path / "run", resume=True, quiet=True).progress.step == 2


def test_resume_with_another_configuration_is_refused_with_the_difference(tmp_path, interrupt):
    interrupt(5)
    train(toy.config(tmp_path), tmp_path / "run", quiet=True)
    with pytest.raises(
        ConfigError, match=r"found changes:\n  training.lr: 0.02 in the run; 0.01 now\n  training.seed: 0"
    ):
        train(toy.config(tmp_path, lr=0.01, seed=3), tmp_path / "run", resume=True, quiet=True)
    assert toy.rows(tmp_path / "run")[-1]["step"] == 4


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


def test_a_model_without_a_state_is_not_overwritten(tmp_path):
    train(toy.config(tmp_path, steps=1), tmp_path / "run", quiet=True)
    for name in ("last.state", "previous.state"):
        (tmp_path / "run" / name).unlink()
    with pytest.raises(CheckpointError, match=r"--resume needs last.state; found best.model without it"):
        train(toy.config(tmp_path, steps=1), tmp_path / "run", resume=True, quiet=True)


def test_the_same_frames_in_other_parts_are_refused(tmp_path, interrupt):
    files = [toy.write_frames(tmp_path / f"{i}.npz", num_frames=n, seed=i) for i, n in enumerate((6, 2))]
    tree = toy.tree(tmp_path)
    tree["data"] = {"train": files[0], "valid": files[1]}
    interrupt(1)
    train(RunConfig.model_validate(tree), tmp_path / "run", quiet=True)
    whole = {
        key: np.concatenate([np.load(file)[key] for file in files]) for key in ("pos", "energy", "forces", "group")
    }
    frames = {
        "a": {key: column[:4] for key, column in whole.items()},
        "b": {key: column[4:] for key, column in whole.items()},
    }
    tree["data"] = {
        "train": toy.write_frames(tmp_path / "a.npz", 4, **frames["a"]),
        "valid": toy.write_frames(tmp_path / "b.npz", 4, **frames["b"]),
    }
    with pytest.raises(ConfigError, match="needs the frames that the run was started with, in the same parts"):
        train(RunConfig.model_validate(tree), tmp_path / "run", resume=True, quiet=True)


def test_a_model_that_the_frames_would_not_lead_to_is_refused(tmp_path, interrupt):
    interrupt(5)
    config = toy.config(tmp_path)
    train(config, tmp_path / "run", quiet=True)
    tensors, metadata = load_tensors(tmp_path / "run" / "last.state")
    shifts = metadata["model"]["species_shifts"]
    metadata["model"]["species_shifts"] = [shift + 1e-12 for shift in shifts]  # of another processor
    save_tensors(tmp_path / "run" / "last.state", tensors, metadata)
    interrupt(6)
    train(config, tmp_path / "run", resume=True, quiet=True)
    tensors, metadata = load_tensors(tmp_path / "run" / "last.state")
    metadata["model"]["species_shifts"] = [shifts[0] + 0.5, shifts[1]]
    save_tensors(tmp_path / "run" / "last.state", tensors, metadata)
    with pytest.raises(ConfigError, match=r"found changes:\n  model.species_shifts: \["):
        train(config, tmp_path / "run", resume=True, quiet=True)


def test_a_state_of_before_models_were_kept_is_taken_up_with_a_note(tmp_path, interrupt, capsys):
    interrupt(5)
    config = toy.config(tmp_path)
    train(config, tmp_path / "run", quiet=True)
    tensors, metadata = load_tensors(tmp_path / "run" / "last.state")
    del metadata["model"]
    save_tensors(tmp_path / "run" / "last.state", tensors, metadata | {"data_fingerprint": "as it was made then"})
    assert train(config, tmp_path / "run", resume=True).progress.step == 12
    assert "the state is of an older version; that the frames are the same was not checked" in capsys.readouterr().out


def test_a_folder_in_which_another_process_trains_is_refused(tmp_path):
    with RunLock(tmp_path / "run") as other:
        other.acquire()
        with pytest.raises(
            ConfigError, match=r"run: needed a run of its own; another process is training in this folder"
        ):
            train(toy.config(tmp_path, steps=1), tmp_path / "run", quiet=True)
    assert train(toy.config(tmp_path, steps=1), tmp_path / "run", quiet=True).progress.step == 1
    assert not (tmp_path / "run" / ".lock").exists()
