"""Whole trainings on several ranks: the numbers of one rank, one set of files, and no loss when a rank is lost."""

import json
import os
import signal
import time

import numpy as np
import pytest
import torch
import yaml
from train import on_each_rank, toy
from train import ranks as processes

from irrepnet.models.checkpoint import load_tensors
from irrepnet.train.config_file import load_config
from irrepnet.train.loop import train

SIZES = (2, 9, 3, 5, 8, 2, 4, 7, 3, 6, 2, 9)
FILES = {"best.model", "config.yaml", "last.state", "log.jsonl", "previous.state"}
TOLERANCE = 1e-12

# One step without clipping: its gradient is in the state, as a tenth is what Adam keeps of it.
STEP = ["training.steps=1", "training.clip_norm=null", "training.validate_every_steps=1"]
GRADIENTS = {
    "unequal": [*STEP, "training.batch_size=5"],
    "pieces": [*STEP, "training.batch_size=5", "training.accumulate=2"],
    "idle": [*STEP, "training.batch_size=1"],  # all ranks but one have an empty share
}


def write_frames(path):
    """Structures of 2 to 9 atoms with forces, as one ragged file."""
    rng = np.random.default_rng(0)
    corners = 1.3 * np.array([[x, y, z] for x in (0, 1, 2) for y in (0, 1) for z in (0, 1)])
    pos = [corners[:size] + rng.normal(scale=0.1, size=(size, 3)) for size in SIZES]
    labels = [toy.morse(frame) for frame in pos]
    np.savez(
        path,
        ptr=np.cumsum([0, *SIZES]),
        pos=np.concatenate(pos),
        species=np.concatenate([np.resize([8, 1, 1], size) for size in SIZES]),
        energy=np.array([energy for energy, _ in labels]),
        forces=np.concatenate([forces for _, forces in labels]),
        energy_unit="eV",
        length_unit="angstrom",
    )


def prepare(folder, **training):
    write_frames(folder / "unequal.npz")
    settings = {"steps": 10, "batch_size": 4, "lr": 0.02, "validate_every_steps": 5, "ema_decay": 0.9}
    tree = {
        "model": {**toy.MODEL, "dtype": "float64"},
        "data": {"train": str(folder / "unequal.npz"), "valid_fraction": 0.3},
        "training": {**settings, "ranks_timeout_s": 60.0, **training},
    }
    (folder / "unequal.yaml").write_text(yaml.safe_dump(tree))


def train_alone(folder, out, overrides=(), **options):
    return train(load_config(folder / "unequal.yaml", overrides), folder / out, **options)


def train_on_ranks(folder, size, runs):
    """Return how the runs ended on each rank, exit codes, outputs and errors."""
    (folder / "runs.json").write_text(json.dumps(runs))
    codes, outputs, errors = processes.finish(processes.start(size, on_each_rank.__file__, "runs", folder))
    endings = [json.loads((folder / f"endings.{rank}.json").read_text()) for rank in range(size)]
    return endings, codes, outputs, errors


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The runs of one process that the others are compared with."""
    folder = tmp_path_factory.mktemp("alone")
    prepare(folder)
    for name, overrides in GRADIENTS.items():
        train_alone(folder, name, overrides, quiet=True)
    train_alone(folder, "whole", quiet=True)
    return folder


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """Runs of two ranks, one after the other in the same processes; in the last one rank 1 is killed."""
    folder = tmp_path_factory.mktemp("two")
    prepare(folder)
    runs = [
        *({"out": name, "set": overrides} for name, overrides in GRADIENTS.items()),
        {"out": "whole", "set": []},
        {"out": "parts", "set": [], "at": 4, "signal": signal.SIGTERM},
        {"out": "killed", "set": [], "at": 8, "signal": signal.SIGKILL},
    ]
    return folder, *train_on_ranks(folder, 2, runs)


def tensors(run):
    return load_tensors(run / "last.state")[0]


def assert_close(run, other):
    """Every number of two states is the same but for rounding."""
    ones, others = tensors(run), tensors(other)
    assert ones.keys() == others.keys()
    for name, one in ones.items():
        torch.testing.assert_close(
            one, others[name], rtol=TOLERANCE, atol=TOLERANCE, msg=lambda text, n=name: f"{n}: {text}"
        )


def gradients(run):
    return {name: 10 * value for name, value in tensors(run).items() if name.endswith(".exp_avg")}


def assert_same_gradients(run, other):
    ones, others = gradients(run), gradients(other)
    largest = max(gradient.abs().max() for gradient in others.values())
    assert largest > 0.1
    for name, gradient in others.items():
        torch.testing.assert_close(ones[name], gradient, rtol=0, atol=float(TOLERANCE * largest))


def test_pieces_of_a_step_add_up_to_it(alone):
    assert_same_gradients(alone / "pieces", alone / "unequal")


@pytest.mark.parametrize("name", GRADIENTS)
def test_two_ranks_have_the_gradients_of_one(alone, two_ranks, name):
    assert_same_gradients(two_ranks[0] / name, alone / name)


def test_three_ranks_have_the_gradients_of_one(alone, tmp_path):
    prepare(tmp_path)
    endings, codes, _, errors = train_on_ranks(
        tmp_path, 3, [{"out": name, "set": overrides} for name, overrides in GRADIENTS.items()]
    )
    assert codes == [0, 0, 0], "\n".join(errors)
    assert endings == [[[1, None]] * 3] * 3
    for name in GRADIENTS:
        assert_same_gradients(tmp_path / name, alone / name)


def test_a_run_on_two_ranks_is_the_run_of_one(alone, two_ranks):
    folder, *_ = two_ranks
    assert_close(folder / "whole", alone / "whole")
    assert {path.name for path in (folder / "whole").iterdir()} == FILES
    rows, others = toy.rows(folder / "whole"), toy.rows(alone / "whole")
    assert [row["step"] for row in rows] == [row["step"] for row in others] == [0, 5, 10]
    for row, other in zip(rows, others, strict=True):
        assert row.keys() == other.keys()
        numbers = {key: value for key, value in row.items() if key != "seconds" and value is not None}
        assert numbers == pytest.approx({key: other[key] for key in numbers}, rel=1e-9, abs=1e-9)


def test_only_rank_0_prints(two_ranks):
    _, _, _, outputs, _ = two_ranks
    assert outputs[0].count("SIGTERM: the state of step 4 is saved") == 1
    assert outputs[1] == ""


def test_a_signal_to_one_rank_stops_all_at_the_same_step(two_ranks):
    folder, endings, *_ = two_ranks
    assert endings[0] == endings[1]
    assert endings[0][-1] == [4, signal.SIGTERM]
    assert load_tensors(folder / "parts" / "last.state")[1]["progress"]["step"] == 4


def test_a_killed_rank_ends_the_other_and_leaves_the_last_state(two_ranks):
    folder, endings, codes, _, errors = two_ranks
    assert len(endings[0]) == 5
    assert codes[1] == -signal.SIGKILL
    assert codes[0] not in (0, -signal.SIGKILL)
    assert "RankError: rank 0 of 2 needed an answer of the other ranks" in errors[0]
    saved = load_tensors(folder / "killed" / "last.state")[1]["progress"]["step"]
    assert saved in (5, 7)  # of the last validation, or of the last whole step


def test_a_run_goes_on_with_another_number_of_ranks(alone, two_ranks):
    """4 steps on two ranks, 3 on one, 3 on two."""
    folder, *_ = two_ranks
    with on_each_rank.signal_in_step(3, signal.SIGTERM):
        assert train_alone(folder, "parts", resume=True).progress.step == 7
    endings, codes, _, errors = train_on_ranks(folder, 2, [{"out": "parts", "set": [], "resume": True}])
    assert codes == [0, 0], "\n".join(errors)
    assert endings == [[[10, None]]] * 2
    assert_close(folder / "parts", alone / "whole")


def wait_for(condition, process, seconds=200):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError(f"waited for {seconds} s")


def test_torchrun_restarts_a_run_that_lost_a_rank_and_stops_it_on_sigterm(tmp_path):
    prepare(tmp_path, steps=100_000, validate_every_steps=20)
    run = tmp_path / "run"
    command = ["-m", "irrepnet", "train", tmp_path / "unequal.yaml", "--out", run, "--resume"]
    with processes.torchrun(2, "--max-restarts", 1, *command) as torchrun:
        wait_for(lambda: (run / "log.jsonl").exists() and len(toy.rows(run)) > 2, torchrun)
        first = processes.children(torchrun.pid)
        os.kill(first[1], signal.SIGKILL)
        wait_for(lambda: set(processes.children(torchrun.pid).values()).isdisjoint(first.values()), torchrun)
        step = toy.rows(run)[-1]["step"]
        wait_for(lambda: toy.rows(run)[-1]["step"] >= step + 40, torchrun)
        torchrun.send_signal(signal.SIGTERM)
        output, errors = torchrun.communicate(timeout=100)
    assert f"failed (exitcode: -9) local_rank: 1 (pid: {first[1]})" in errors
    assert torchrun.returncode == 1
    assert output.count("resuming") == 1
    saved = load_tensors(run / "last.state")[1]["progress"]["step"]
    assert output.count("SIGTERM: the state of step") == output.count(f"the state of step {saved} is saved") == 1
