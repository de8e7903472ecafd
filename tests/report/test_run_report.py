import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from irrepnet.errors import ConfigError, DataError
from irrepnet.report import read_run, render_report
from irrepnet.report.run_report import PARTS, parity_of, save_parts, targets_of
from irrepnet.train.evaluation_file import save_evaluation
from irrepnet.train.metrics import Evaluation


@pytest.fixture
def run(tmp_path, full_report):
    """A folder as a training leaves it, with the parts of the full report."""
    (tmp_path / "config.yaml").write_text("report: {title: From the configuration}\n")
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in full_report.history))
    dynamics, parity = full_report.dynamics, full_report.parity
    names = ("time", "potential_energy", "kinetic_energy", "temperature")
    energies = {name: getattr(dynamics, name) for name in names}
    np.savez(tmp_path / "md.npz", **energies, species=np.ones(192, int), ensemble="nve", stopped="")
    reference = {"energy": parity.energy_ref, "forces": parity.forces_ref}
    predicted = {"energy": parity.energy_pred, "forces": parity.forces_pred}
    facts = {"atom_counts": parity.atom_counts, "sources": tuple(parity.sources), "groups": tuple(parity.groups)}
    evaluation = Evaluation(10, None, {}, reference, predicted, parity.species, **facts)
    save_evaluation(evaluation, tmp_path / "evaluation.npz")
    save_parts(tmp_path, full_report)
    return tmp_path


def test_the_page_made_again_is_the_page(run, full_report, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)  # the words are compared
    assert render_report(read_run(run)) == render_report(replace(full_report, targets=[]))


def test_every_number_comes_back(run, full_report):
    found = read_run(run)
    for name in ("time", "temperature"):
        assert getattr(found.dynamics, name) == pytest.approx(getattr(full_report.dynamics, name), abs=0)
    assert found.parity.forces_pred == pytest.approx(full_report.parity.forces_pred, abs=0)
    (one,), (two,) = found.structures, full_report.structures
    assert (one.source, one.cell, one.pbc, one.energy_error) == (two.source, two.cell, two.pbc, two.energy_error)
    assert one.forces_pred == pytest.approx(two.forces_pred, abs=0)
    assert [scan.name for scan in found.torsions] == [scan.name for scan in full_report.torsions]
    assert found.committee.spread == pytest.approx(full_report.committee.spread, abs=0)
    assert list(found.checks) == list(full_report.checks) and found.config == full_report.config


def test_what_is_not_finite_comes_back_as_not_known(tmp_path, full_report):
    (tmp_path / "config.yaml").touch()
    (structure,) = full_report.structures
    save_parts(tmp_path, replace(full_report, structures=[replace(structure, forces_ref=np.full((3, 3), np.nan))]))
    assert "NaN" not in (tmp_path / PARTS).read_text()
    assert np.isnan(read_run(tmp_path).structures[0].forces_ref).all()


def test_a_run_in_training_is_reported_as_far_as_it_is(run):
    for name in (PARTS, "evaluation.npz", "md.npz"):
        (run / name).unlink()
    found = read_run(run)
    assert found.title == "From the configuration" and len(found.history) == 21
    assert found.parity is None and found.dynamics is None
    assert "the run has not come to its end" in found.missing["dynamics"]


def test_dynamics_that_was_stopped_is_told(run):
    with np.load(run / "md.npz") as file:
        arrays = dict(file)
    np.savez(run / "md.npz", **arrays | {"stopped": "512 eV/Å on atom 7"})
    assert read_run(run).dynamics.stopped == "512 eV/Å on atom 7"


def test_dynamics_of_an_earlier_end_is_not_shown_where_it_was_switched_off(run, full_report):
    save_parts(run, replace(full_report, missing={"dynamics": "md.enabled is false"}))
    assert read_run(run).dynamics is None


@pytest.fixture
def older(run):
    """A run of a version that kept neither the evaluation nor the parts of the report."""
    for name in (PARTS, "evaluation.npz"):
        (run / name).unlink()
    check = {"name": "rotation", "dtype": "float64", "error": 1e-12, "tolerance": 1e-10, "unit": "of the rms"}
    metrics = {
        "step": 2800,
        "num_frames": 30,
        "units": {"energy": "meV/atom", "forces": "meV/Å"},
        "errors": {label: {"mae": 38.1, "rmse": 50.0} for label in ("energy", "forces on H")},
        "checks": [{**check, "passed": True}],
    }
    (run / "metrics.json").write_text(json.dumps(metrics))
    return run


def test_a_run_of_an_older_version_shows_what_it_kept(older):
    found = read_run(older)
    assert "An older version of irrepnet made this run" in found.summary
    assert "step 2800 on 30 held-back frames: energy MAE 38.1, RMSE 50 meV/atom; forces on H MAE 38.1" in found.summary
    assert found.dynamics is not None and "dynamics" not in found.missing
    assert [check.name for check in found.checks] == ["rotation, float64"]
    assert "an older version made this run" in found.missing["rdfs"]
    assert "not come to its end" not in str(found.missing)


def test_damaged_metrics_of_an_older_version_are_named(older):
    (older / "metrics.json").write_text("[]")
    with pytest.raises(DataError, match=r"metrics\.json: needed the numbers of a run"):
        read_run(older)


@pytest.mark.parametrize("text", ["a: [1", "- 1", "report: 3"])
def test_a_damaged_configuration_is_named(run, text):
    (run / PARTS).unlink()
    (run / "config.yaml").write_text(text)
    with pytest.raises(DataError, match=r"config\.yaml: needed the (configuration|sections)"):
        read_run(run)


def test_which_frames_were_tested_comes_back(run, full_report):
    save_parts(run, replace(full_report, tested_on="validation"))
    assert read_run(run).tested_on == "validation"
    record = json.loads((run / PARTS).read_text())
    del record["tested_on"]
    (run / PARTS).write_text(json.dumps(record))
    assert read_run(run).tested_on == "test"


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"needed the folder of a run; found no config.yaml in it"):
        read_run(tmp_path)


@pytest.mark.parametrize("name", [PARTS, "evaluation.npz", "md.npz"])
@pytest.mark.parametrize("damage", ["cut", "other", "pickle"])
def test_damaged_files_are_named(run, name, damage):
    path = run / name
    if damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "other":
        path.write_text("[1, 2]")
    else:
        np.save(path.with_suffix(".tmp"), np.array([{}], dtype=object), allow_pickle=True)
        shutil.move(f"{path.with_suffix('.tmp')}.npy", path)
    with pytest.raises(DataError, match=f"{name}: needed .* found a damaged or other file"):
        read_run(run)


def test_newer_parts_are_refused(run):
    (run / PARTS).write_text(json.dumps({"format": 99}))
    with pytest.raises(DataError, match=f"{PARTS}: needed parts of a report of format 1; found 99; update irrepnet"):
        read_run(run)


def test_a_force_field_may_lack_a_label():
    forces = {"forces": np.zeros((3, 3))}
    parity = parity_of(Evaluation(1, None, {}, forces, forces, np.array([8, 1, 1]), atom_counts=np.array([3])))
    assert np.isnan(parity.energy_ref).all() and parity.stress_ref is None


def test_targets_keep_their_formula_and_level():
    values = {"mu": np.zeros((2, 3)), "charge": np.zeros(5)}
    evaluation = Evaluation(
        2,
        None,
        {},
        values,
        values,
        np.ones(5, int),
        units={"mu": "D", "charge": "e"},
        per_atom=frozenset({"charge"}),
        formulas={"mu": "i"},
        atom_counts=np.array([2, 3]),
        sources=("a", "b"),
    )
    mu, charge = targets_of(evaluation)
    assert (mu.formula, mu.level, list(mu.sources)) == ("i", "structure", ["a", "b"])
    assert (charge.formula, charge.level, list(charge.sources)) == (None, "atom", [])
    assert parity_of(evaluation) is None
