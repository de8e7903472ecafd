import builtins
import json
import re
import sys

import numpy as np
import pytest
import yaml
from train import toy

from irrepnet import deploy, testing
from irrepnet.cli import main
from irrepnet.models import load_model


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_text(
        yaml.safe_dump(toy.tree(tmp_path) | {"md": {"steps": 20, "timestep": 0.2}, "report": {"enabled": False}})
    )
    return path


REPORT = ["--set", "report.enabled=true"]  # drawing it takes longer than all the rest


def train(config_file, *arguments):
    return main(["train", str(config_file), "--out", str(config_file.parent / "run"), *arguments])


def test_a_run_leaves_model_log_metrics_md_and_report(config_file, capsys):
    assert train(config_file, *REPORT) == 0
    run = config_file.parent / "run"
    out = capsys.readouterr().out
    for name in ("best.model", "report.html", "metrics.json", "log.jsonl", "md.npz", "last.state", "config.yaml"):
        assert (run / name).stat().st_size > 0
        assert f"  {name:<14}" in out
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["num_frames"] == 4
    assert metrics["units"]["forces"] == "meV/Å"
    assert {"energy", "forces", "forces on H", "forces on O"} <= metrics["errors"].keys()
    names = {(check["name"], check["dtype"]) for check in metrics["checks"]}
    kinds = ("rotation", "inversion", "translation", "permutation")
    assert {(kind, dtype) for kind in kinds for dtype in ("float64", "float32")} <= names
    assert ("forces = -dE/dpos", "float64") in names
    with np.load(run / "md.npz") as md:
        assert md["time"].shape == (21,)
        assert md["time"][-1] == pytest.approx(4.0)
        assert md["positions"].shape[1:] == (4, 3)
    assert "rotation" in (run / "report.html").read_text()


def test_changes_from_the_command_line_are_in_the_run(config_file):
    changes = ["--set", "training.steps=1", "--set", "md.enabled=false"]
    assert train(config_file, *changes, "--device", "cpu") == 0
    run = config_file.parent / "run"
    written = yaml.safe_load((run / "config.yaml").read_text())
    assert written["training"]["steps"] == 1
    assert not (run / "report.html").exists()
    assert not (run / "md.npz").exists()


def test_a_finished_run_can_be_resumed_from_its_folder_to_make_the_rest_again(config_file):
    assert train(config_file, "--set", "md.enabled=false") == 0
    run = config_file.parent / "run"
    model = (run / "best.model").read_bytes()
    assert main(["train", "--resume", "--out", str(run), "--set", "md.enabled=true"]) == 0
    assert (run / "md.npz").exists()
    assert (run / "best.model").read_bytes() == model


def test_the_best_model_is_what_everything_else_takes(config_file):
    assert train(config_file) == 0
    path = config_file.parent / "run" / "best.model"
    model = load_model(path)
    assert model.metadata["units"]["energy"] == "eV"
    prediction = deploy.Predictor(path)(toy.SPECIES, toy.arrays(1)["pos"][0])
    assert prediction.forces.shape == (4, 3)
    assert main(["check-equivariance", str(path), "--trials", "1"]) == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--set", "training.lerning_rate=1"], "--set: training.lerning_rate is not a known key. Did you mean 'lr'?"),
        (["--set", "training.lr=-1"], "--set: training.lr: input should be greater than 0; found -1"),
        (["--set", "model.cutoff=-1"], "--set: model.cutoff: input should be greater than 0; found -1"),
        (["--set", "lr"], "--set needs section.key=value; found 'lr'; write for example --set training.lr=0.005"),
    ],
)
def test_a_bad_configuration_is_one_line_and_exit_code_2(config_file, capsys, arguments, line):
    assert train(config_file, *arguments) == 2
    assert capsys.readouterr().err == line + "\n"
    assert not (config_file.parent / "run").exists()


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"without": ("forces",)}, ["frames.npz", "needed forces", "energy"]),
        ({"without": ("energy",)}, ["frames.npz", "needed energy", "forces"]),
        ({"without": ("energy_unit",)}, ["frames.npz", "units of energy"]),
        ({"energy_unit": "eVV"}, ["frames.npz", "eVV"]),
        ({"forces": np.full((20, 4, 3), np.nan)}, ["frames.npz frame 0", "finite", "forces"]),
    ],
)
def test_bad_data_are_named_with_exit_code_2(config_file, capsys, columns, words):
    toy.write_frames(config_file.parent / "frames.npz", **columns)
    assert train(config_file) == 2
    (line,) = capsys.readouterr().err.splitlines()
    for word in words:
        assert word in line
    assert not (config_file.parent / "run").exists()


def test_a_wrong_key_name_lists_what_the_file_has(config_file, capsys):
    assert train(config_file, "--set", "data.keys.forces=frces") == 2
    err = capsys.readouterr().err
    assert "frames.npz" in err
    assert "'frces'" in err
    assert "Did you mean 'forces'?" in err


def test_units_that_contradict_the_file_are_refused(config_file, capsys):
    assert train(config_file, "--set", "data.units.energy=kcal/mol") == 2
    assert "energy unit was declared 'kcal/mol'; found 'eV'" in capsys.readouterr().err


def test_missing_arguments_are_named(capsys, tmp_path):
    assert main(["train", "x.yaml"]) == 2
    assert "train needs --out DIR" in capsys.readouterr().err
    assert main(["train", "--out", str(tmp_path / "run")]) == 2
    assert "train needs a CONFIG file" in capsys.readouterr().err
    assert main(["train", str(tmp_path / "no.yaml"), "--out", str(tmp_path / "run")]) == 2
    assert "no.yaml: needed a configuration file; found none there" in capsys.readouterr().err


def test_a_folder_with_a_run_is_refused(config_file, capsys):
    (config_file.parent / "run").mkdir()
    (config_file.parent / "run" / "best.model").touch()
    assert train(config_file) == 2
    assert "found a run in it" in capsys.readouterr().err


def test_nan_stops_with_exit_code_3(config_file, capsys):
    assert train(config_file, "--set", "training.lr=1e30", "--set", "training.warmup=0") == 3
    assert "training stopped at step" in capsys.readouterr().err
    assert load_model(config_file.parent / "run" / "best.model").metadata["step"] == 0


def test_dynamics_that_is_stopped_keeps_the_report_and_exits_3(config_file, capsys):
    assert train(config_file, *REPORT, "--set", "md.max_force=1e-6") == 3
    run = config_file.parent / "run"
    assert "stopped: dynamics needs finite energies and forces" in capsys.readouterr().out
    assert (run / "md_stopped.extxyz").exists()
    assert "md_stopped.extxyz" in (run / "report.html").read_text()


@pytest.fixture
def without(monkeypatch):
    """Return a function that makes a package impossible to import."""
    real_import = builtins.__import__

    def hide(package):
        def import_or_fail(name, *rest):
            if name.split(".")[0] == package:
                raise ImportError(f"No module named {name!r}")
            return real_import(name, *rest)

        for name in [name for name in sys.modules if name.split(".")[0] == package]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(builtins, "__import__", import_or_fail)

    return hide


def test_without_ase_the_rest_is_made_and_the_extra_is_named(config_file, capsys, without):
    without("ase")
    assert train(config_file, *REPORT) == 0
    run = config_file.parent / "run"
    assert "irrepnet[md]" in capsys.readouterr().out
    assert not (run / "md.npz").exists()
    assert "irrepnet[md]" in (run / "report.html").read_text().replace("&#x27;", "'")


def test_without_matplotlib_the_report_has_no_pictures_and_the_extra_is_named(config_file, capsys, without):
    without("matplotlib")
    assert train(config_file, *REPORT) == 0
    run = config_file.parent / "run"
    assert "no pictures in the report: they need matplotlib; pip install 'irrepnet[report]'" in capsys.readouterr().out
    assert (run / "md.npz").exists()
    assert "data:image/png" not in (run / "report.html").read_text()


@pytest.mark.parametrize(("weight", "absent"), [("forces", "forces"), ("energy", "energy")])
def test_one_kind_of_label_is_enough(config_file, capsys, weight, absent):
    toy.write_frames(config_file.parent / "frames.npz", without=(absent,))
    assert train(config_file, *REPORT, "--set", f"training.loss.{weight}=0", "--set", "md.enabled=false") == 0
    assert "note: " in capsys.readouterr().out


def test_stress_of_some_test_frames_is_compared_where_it_is_known(config_file):
    lines = []
    for index, pos in enumerate(toy.arrays(6)["pos"]):
        energy, forces = toy.morse(pos)
        stress = ' stress="1 0 0 0 1 0 0 0 1"' if index % 2 else ""
        head = 'Lattice="9 0 0 0 9 0 0 0 9" pbc="T T T" Properties=species:S:1:pos:R:3:forces:R:3'
        lines += ["4", f"{head} energy={energy}{stress}"]
        lines += [" ".join(map(str, row)) for row in zip("OHHH", *pos.T, *forces.T, strict=True)]
    test = config_file.parent / "test.xyz"
    test.write_text("\n".join(lines) + "\n")
    units = ["--set", "data.units.energy=eV", "--set", "data.units.length=angstrom"]
    assert train(config_file, *REPORT, *units, "--set", f"data.test={test}", "--set", "md.enabled=false") == 0
    page = (config_file.parent / "run" / "report.html").read_text()
    assert re.search(r"<tr><td>stress</td><td>meV/Å³</td>.*<td class=\"number\">27</td></tr>", page)


def test_a_backend_that_cannot_serve_is_told_before_a_folder_is_made(config_file, capsys, monkeypatch):
    from irrepnet.ops import _backend

    missing = _backend.library_status()._replace(loaded=False, reason="there is no op library")
    monkeypatch.setattr(_backend, "_STATUS", missing)
    assert train(config_file, "--set", "model.backend=fused") == 2
    assert "(backend='fused') cannot run" in capsys.readouterr().err
    assert not (config_file.parent / "run").exists()


def test_a_broken_promise_is_exit_code_1(config_file, capsys, monkeypatch):
    from irrepnet.cli import checks

    report = testing.equivariance_error(lambda x: x[:, [1, 0, 2]], "1o", "1o")
    monkeypatch.setattr(checks, "equivariance_error", lambda *args, **kwargs: report)
    assert train(config_file, "--set", "md.enabled=false") == 1
    assert "FAILED" in capsys.readouterr().out


def test_help_config_prints_every_key(capsys):
    assert main(["train", "--help-config"]) == 0
    out = capsys.readouterr().out
    assert "training.lr = 0.02" in out
    assert "md.timestep = 0.5                          time step, fs [float]" in out
