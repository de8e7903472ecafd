import hashlib
import json
import shutil
from pathlib import Path

import pytest
from cli import models
from train import toy

from irrepnet.cli import main
from irrepnet.deploy import Committee, Factor, save_committee
from irrepnet.models.migrations import FORMAT_VERSION
from irrepnet.train import train

GOLDEN = Path(__file__).parents[1] / "golden" / "force_field_format1.model"


def info(path, capsys):
    code = main(["info", str(path)])
    done = capsys.readouterr()
    return code, done.out, done.err


def test_a_force_field_is_described_with_units(tmp_path, capsys):
    path = models.force_field(
        tmp_path / "a.model",
        step=120,
        valid_loss=0.25,
        metrics={"forces_mae": 31.25, "forces_rmse": 44.5},
        metric_units={"forces": "meV/Å"},
        data="liquid water",
    )
    code, out, _ = info(path, capsys)
    assert code == 0
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    for line in (
        f"SHA-256          {digest}",
        "kind             force_field",
        "cutoff           3 Å; an atom feels what is up to 6 Å away, after 2 layers",
        "layers           1: 4x0e+4x1o+4x2e",
        "                 2: 4x0e",
        "elements         H, O",
        "energies         H   shift -13.600000 eV, scale 1 eV",
        "trained          to step 120, validation loss 0.25",
        "validation       forces MAE 31.25, RMSE 44.5 meV/Å",
        "data             liquid water",
    ):
        assert line in out.splitlines()
    assert f"file format      {FORMAT_VERSION}\n" in out
    assert f"{Path(path).stat().st_size / 1e3:.1f} kB" in out


def test_the_number_of_weights_is_counted(tmp_path, capsys):
    from irrepnet.models import load_model

    path = models.property_model(tmp_path / "a.model")
    weights = sum(weight.numel() for weight in load_model(path).parameters())
    assert f"weights          {weights:,} in float32" in info(path, capsys)[1]


def test_targets_have_their_units_and_shifts(tmp_path, capsys):
    out = info(models.property_model(tmp_path / "a.model"), capsys)[1]
    assert "predicts         gap (eV): intensive" in out
    assert "shift: 7 eV" in out
    assert "shift of each element: H -13.6, O -2040 eV" in out
    out = info(models.tensor_model(tmp_path / "b.model"), capsys)[1]
    assert "shielding (ppm): tensor ij=ji of each atom" in out


def test_an_older_file_says_its_format(capsys):
    out = info(GOLDEN, capsys)[1]
    assert f"file format      1, brought to format {FORMAT_VERSION} when it is read" in out
    assert "trained          not said in the file" in out


def test_a_run_says_how_far_it_came_and_what_its_model_is(tmp_path, capsys):
    run = train(toy.config(tmp_path), tmp_path / "run", quiet=True).run
    code, out, _ = info(run.path, capsys)
    assert code == 0
    best = min(run.read_log(), key=lambda row: row["valid_loss"])
    assert f"best             step {best['step']}, validation loss {best['valid_loss']:.4g}" in out
    assert "of 12 steps; not at its end; go on with irrepnet train --resume" in out
    assert "best.model (" in out
    assert "kind             force_field" in out
    run.metrics.write_text(
        json.dumps({
            "num_frames": 4,
            "units": {"forces": "meV/Å"},
            "metrics": {"forces_mae": 3.0, "forces_rmse": 4.0},
            "checks": [{"name": "rotation", "dtype": "float32", "passed": False}],
        })
    )  # fmt: skip
    out = info(run.path, capsys)[1]
    assert "4 test frames    forces MAE 3, RMSE 4 meV/Å" in out
    assert "checks           failed: rotation, float32" in out
    assert "ended and tested" in out


def test_a_run_that_has_just_begun(tmp_path, capsys):
    run = train(toy.config(tmp_path), tmp_path / "run", quiet=True).run
    begun = tmp_path / "begun"
    begun.mkdir()
    shutil.copy(run.config, begun)
    assert "nothing was validated yet, of 12 steps" in info(begun, capsys)[1]


def test_a_committee_names_its_members_and_factors(tmp_path, capsys):
    files = [models.force_field(tmp_path / f"{seed}.model", seed=seed) for seed in range(2)]
    save_committee(Committee(files, calibration={"forces": Factor(2.5, 100)}), tmp_path / "a.committee")
    code, out, _ = info(tmp_path / "a.committee", capsys)
    assert code == 0
    for file in files:
        assert f"{Path(file).name}  {hashlib.sha256(Path(file).read_bytes()).hexdigest()}" in out
    assert "forces: multiplied by 2.5, from 100 known entries" in out
    assert "kind             force_field" in out
    (tmp_path / "a.committee").rename(tmp_path / "models.committee")  # as the folder of irrepnet committee has it
    assert info(tmp_path, capsys)[:2] == (0, out.replace("a.committee", "models.committee"))
    (tmp_path / "models.committee").rename(tmp_path / "a.committee")
    (tmp_path / "1.model").unlink()
    assert info(tmp_path / "a.committee", capsys)[0] == 2


@pytest.mark.parametrize("text", ["{", "[1]", "\x00"])
def test_a_damaged_run_is_named(tmp_path, capsys, text):
    (tmp_path / "config.yaml").write_text(text)
    code, _, err = info(tmp_path, capsys)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "config.yaml: needed" in err


@pytest.mark.parametrize("path", ["package:water_xtb/train.npz", "set:qm9", "a.npz", "b.extxyz", "c.h5"])
def test_data_belong_to_another_command(capsys, path):
    code, _, err = info(path, capsys)
    assert code == 2
    assert err == (
        f"{path}: info needs a model file or the folder of a run; found data; use irrepnet check-data {path}\n"
    )


@pytest.mark.parametrize("damage", [lambda raw: raw[:-7], lambda raw: b"", lambda raw: b"\x80\x04N."])
def test_damaged_files_are_one_line_and_exit_code_2(tmp_path, capsys, damage):
    path = tmp_path / "a.model"
    path.write_bytes(damage(GOLDEN.read_bytes()))
    code, _, err = info(path, capsys)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert info(tmp_path / "no.model", capsys)[0] == 2
    assert info(tmp_path, capsys)[0] == 2


def test_a_run_without_a_finite_validation_loss(tmp_path, capsys):
    run = train(toy.config(tmp_path), tmp_path / "run", quiet=True).run
    rows = [json.loads(line) | {"valid_loss": None} for line in run.log.read_text().splitlines()]
    run.log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "best             no validation loss was finite" in info(run.path, capsys)[1]


def test_the_folder_of_a_study_is_called_one(tmp_path, capsys):
    for seed in range(2):
        (tmp_path / "base" / f"seed-{seed}").mkdir(parents=True)
        (tmp_path / "base" / f"seed-{seed}" / "config.yaml").touch()
    code, _, err = info(tmp_path, capsys)
    assert code == 2
    assert "found the folder of a study with 2 runs, such as" in err and "study.csv" in err
