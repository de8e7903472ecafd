"""Studies: which trainings they are made of, that they go on where they stopped, and what they say of failures."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml
from train import toy

from irrepnet.errors import CheckpointError, ConfigError, DataError
from irrepnet.train import load_config
from irrepnet.train.splits import load_splits
from irrepnet.train.study import StudyRow, _Processes, plan_study, read_variant, run_study, write_table

SCALARS = read_variant("scalars: model.lmax=0 model.irreps_hidden=6x0e")


@pytest.fixture
def config(tmp_path):
    tree = toy.tree(tmp_path, steps=4)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def frames_of(config, training):
    return load_splits(load_config(config, training.overrides))


def test_every_variant_size_and_seed_is_trained_once(config, tmp_path):
    plan = plan_study(config, tmp_path / "study", variants=[read_variant("a:"), SCALARS], sizes=[8, 4, 8], seeds=2)
    found = [(training.num_frames, training.variant, training.seed) for training in plan]
    assert found == [(size, name, seed) for size in (4, 8) for name in ("a", "scalars") for seed in (0, 1)]
    assert len({training.folder for training in plan}) == 8


def test_trainings_share_their_split_and_small_sets_are_parts_of_large_ones(config, tmp_path):
    plan = plan_study(config, tmp_path / "study", sizes=[4, 8], seeds=2, overrides=["data.valid_fraction=0.2"])
    splits = [frames_of(config, training) for training in plan]
    sources = [{frame.source for frame in split.train} for split in splits]
    assert [len(names) for names in sources] == [4, 4, 8, 8]
    assert sources[0] == sources[1] < sources[2] == sources[3]
    held = [{frame.source for frame in split.valid} for split in splits]
    assert held[0] == held[1] == held[2] == held[3]
    assert not held[0] & sources[3]


def test_more_frames_than_there_are_is_an_error(config):
    with pytest.raises(DataError, match=r"data.train_count needs at most the \d+ frames to learn from; found 500"):
        load_splits(load_config(config, ["data.train_count=500"]))


@pytest.mark.parametrize("text", ["no colon", ": model.lmax=1", "a: model.lmax"])
def test_variants_that_cannot_be_read(text):
    with pytest.raises(ConfigError, match=r"--variant needs 'NAME: section.key=value ...'; found"):
        read_variant(text)


def test_names_that_share_a_folder_and_empty_studies_are_refused(config, tmp_path):
    with pytest.raises(ConfigError, match="variants of different names"):
        plan_study(config, tmp_path / "s", variants=[read_variant("a b:"), read_variant("a_b:")])
    with pytest.raises(ConfigError, match="sizes and seeds above 0"):
        plan_study(config, tmp_path / "s", seeds=0)
    with pytest.raises(ConfigError, match="jobs of 1 or more; found 0"):
        run_study(config, [], jobs=0)


def test_a_study_goes_on_and_grows_but_does_not_change(config, tmp_path):
    out = tmp_path / "study"
    plan_study(config, out, sizes=[4])
    assert len(plan_study(config, out, sizes=[4, 8], seeds=3, variants=[read_variant("more: training.lr=0.1")])) == 6
    with pytest.raises(ConfigError, match=r"'as configured' had other settings: training.steps 4 then, 5 now"):
        plan_study(config, out, overrides=["training.steps=5"])
    (out / "study.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"study.json is damaged .*; choose another --out"):
        plan_study(config, out)


def test_a_folder_with_other_files_is_left_alone(config, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(ConfigError, match=r"needed a new folder or one with study\.json"):
        plan_study(config, tmp_path / "full")


def test_trainings_are_run_once_and_failures_are_told(config, tmp_path):
    out, said = tmp_path / "study", []
    variants = [SCALARS, read_variant("broken: model.backend=fused training.device=cuda:99")]
    plan = plan_study(config, out, variants=variants, sizes=[4])
    rows = run_study(config, plan, jobs=2, say=said.append)
    assert {row.label for row in rows if row.failure is None} == {"energy", "forces"}
    (broken,) = (row for row in rows if row.failure is not None)
    assert broken.variant == "broken"
    assert "cuda:99" in broken.failure
    assert any("broken, 4 frames, seed 0: FAILED with exit code 2" in line for line in said)

    metrics = json.loads((plan[0].folder / "metrics.json").read_text())
    forces = next(row for row in rows if row.label == "forces")
    assert (forces.mae, forces.unit) == (metrics["errors"]["forces"]["mae"], "meV/Å")
    before = (plan[0].folder / "metrics.json").stat().st_mtime_ns
    again = run_study(config, plan[:1], say=said.append)
    assert again == [row for row in rows if row.failure is None]
    assert (plan[0].folder / "metrics.json").stat().st_mtime_ns == before
    assert said[-1] == "1 trainings, 1 of them done before"


def test_the_table_has_a_row_per_training_and_label(tmp_path):
    write_table([StudyRow("a", None, 3, "forces", 1.5, 2.0, 8.0, "meV/Å", 60.0, None)], tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert row == {
        "variant": "a",
        "num_frames": "",
        "seed": "3",
        "label": "forces",
        "mae": "1.5",
        "rmse": "2.0",
        "spread": "8.0",
        "unit": "meV/Å",
        "seconds": "60.0",
        "failure": "",
    }


def test_a_variant_with_a_seed_of_its_own_is_tested_on_the_same_frames(config, tmp_path):
    config.write_text(config.read_text().replace("valid_groups:\n  - run 4", "valid_fraction: 0.3"))
    variants = [read_variant("a:"), read_variant("b: training.seed=5")]
    one, other = plan_study(config, tmp_path / "study", variants=variants)
    held = [{frame.source for frame in frames_of(config, training).valid} for training in (one, other)]
    assert held[0] == held[1]
    assert (one.seed, other.seed) == (0, 5)


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_signal_is_handed_to_the_trainings_and_waited_for(config, tmp_path):
    out = tmp_path / "out"
    arguments = ["study", str(config), "--out", str(out), "--set", "training.steps=1000000"]
    study = subprocess.Popen([sys.executable, "-m", "irrepnet", *arguments], stdout=subprocess.PIPE)
    try:
        wait_for(lambda: list(out.glob("*/*/last.state")))
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(study.pid)], stdout=subprocess.PIPE, check=True)
        (child,) = map(int, found.stdout.split())
        study.send_signal(signal.SIGTERM)
        assert study.wait(timeout=60) == 128 + signal.SIGTERM
    finally:
        study.kill()
    assert b"SIGTERM: the trainings have saved their state; the same command goes on" in study.stdout.read()
    study.stdout.close()
    assert not is_alive(child)
    assert "SIGTERM: the state of step" in next(out.glob("*/*/output.txt")).read_text()
    assert len(list(out.glob("*/*/output.txt"))) == 1


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_training_that_is_just_being_started_is_stopped_too(config, tmp_path):
    plan = plan_study(config, tmp_path / "study", overrides=["training.steps=1000000"])
    processes = _Processes()
    processes.stop()
    assert processes.train(config, plan[0]) != 0
