"""Training of models of named targets: numbers, vectors and tensors, of structures and of atoms, some of them known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from train import toy

from irrepnet.cli.after_training import finish
from irrepnet.data import Frame
from irrepnet.errors import DataError
from irrepnet.models import load_model
from irrepnet.train import RunConfig, error_rows, evaluate, format_errors, label_graphs, load_splits, train

TARGETS = {
    "property": [
        {"name": "U", "readout": "extensive", "unit": "eV"},
        {"name": "gap", "readout": "intensive", "unit": "eV", "weight": 0.5},
        {"name": "mu", "readout": "dipole", "unit": "D"},
    ],
    "tensor": [
        {"name": "alpha", "formula": "ij=ji", "unit": "Å^3"},
        {"name": "shielding", "formula": "ij=ji", "unit": "ppm", "level": "atom"},
    ],
}
KEYS = {
    "properties": {"U": "U", "gap": "gap", "mu": "mu", "alpha": "alpha"},
    "atom_properties": {"shielding": "shielding"},
}


def columns(num_frames=20):
    """Labels that follow from the geometry; every third gap and the shieldings of the hydrogens are not known."""
    arrays = toy.arrays(num_frames)
    vec = arrays["pos"][:, 1:] - arrays["pos"][:, :1]  # [F, 3, 3] bonds of atom 0
    length = np.linalg.norm(vec, axis=2)
    gap = 5.0 + length.mean(axis=1)
    gap[::3] = np.nan
    shielding = np.full((num_frames, 4, 3, 3), np.nan)
    shielding[:, 0] = 20 * np.einsum("fbi,fbj->fij", vec, vec)
    return {
        **arrays,
        "U": arrays["energy"],
        "gap": gap,
        "mu": vec.sum(axis=1),
        "alpha": np.einsum("fbi,fbj->fij", vec, vec) + 4 * np.eye(3),
        "shielding": shielding,
    }


def tree(folder, kind, **training):
    np.savez(folder / "frames.npz", **columns())
    settings = {"steps": 40, "batch_size": 4, "lr": 0.02, "validate_every_steps": 20, "ema_decay": 0.5, **training}
    model = {**toy.MODEL, "kind": kind, "irreps_hidden": "8x0e+4x1o+4x2e", "lmax": 2, "targets": TARGETS[kind]}
    if kind == "tensor":
        del model["readout_hidden"]
    data = {"train": str(folder / "frames.npz"), "keys": KEYS, "valid_groups": ["run 4"]}
    return {"model": model, "data": data, "training": settings, "md": {"enabled": False}}


def config(folder, kind, **training):
    return RunConfig.model_validate(tree(folder, kind, **training))


@pytest.mark.parametrize("kind", TARGETS)
def test_the_errors_of_every_target_decrease(tmp_path, kind):
    result = train(config(tmp_path, kind, steps=80), tmp_path / "run", quiet=True)
    first, *_, last = toy.rows(tmp_path / "run")
    assert last["valid_loss"] < 0.5 * first["valid_loss"]
    for target in TARGETS[kind]:
        assert last[f"{target['name']}_rmse"] < first[f"{target['name']}_rmse"]
        assert f"train_{target['name']}_mae" in last
    metadata = load_model(result.run.best).metadata
    assert metadata["metric_units"] == {target["name"]: target["unit"] for target in TARGETS[kind]}


def test_an_evaluation_can_be_cut_by_frame_and_has_the_units_of_the_targets(tmp_path):
    settings = config(tmp_path, "tensor", steps=2)
    result = train(settings, tmp_path / "run", quiet=True)
    model, frames = load_model(result.run.best), load_splits(settings).train
    evaluation = evaluate(model, label_graphs(frames, model.cutoff), batch_size=3, groups=[f.group for f in frames])
    assert evaluation.units == {"alpha": "Å^3", "shielding": "ppm"}
    assert evaluation.per_atom == {"shielding"}
    assert evaluation.formulas == {"alpha": "ij=ji", "shielding": "ij=ji"}
    assert evaluation.atom_counts.tolist() == [4] * 16
    assert len(evaluation.sources) == len(evaluation.groups) == 16
    assert evaluation.reference["shielding"].shape == (64, 3, 3)
    assert evaluation.known("shielding").tolist() == [True, False, False, False] * 16
    assert np.isfinite(evaluation.predicted["shielding"]).all()
    assert evaluation.num_values == {"alpha": 144, "shielding": 144}
    np.testing.assert_array_equal(evaluation.reference["alpha"][3], frames[3].properties["alpha"])
    assert evaluation.atom_frames.tolist() == [frame for frame in range(16) for _ in range(4)]


def test_tensors_have_a_row_per_irrep_whose_squares_add_up(tmp_path):
    settings = config(tmp_path, "tensor", steps=2)
    model = load_model(train(settings, tmp_path / "run", quiet=True).run.best)
    rows = error_rows(evaluate(model, label_graphs(load_splits(settings).train, model.cutoff)))
    by_label = {row.label: row for row in rows}
    assert list(by_label) == ["alpha", "alpha 0e", "alpha 2e", "shielding", "shielding 0e", "shielding 2e"]
    whole, scalar, rest = (by_label[name].rmse for name in ("alpha", "alpha 0e", "alpha 2e"))
    assert 9 * whole**2 == pytest.approx(scalar**2 + 5 * rest**2)
    assert by_label["alpha 2e"].unit == "Å^3"
    assert "shielding 2e" in format_errors(rows)


@pytest.mark.parametrize("kind", TARGETS)
def test_a_resumed_run_has_the_same_bits(tmp_path, interrupt, kind):
    settings = config(tmp_path, kind, steps=12, validate_every_steps=4, accumulate=2)
    train(settings, tmp_path / "whole", quiet=True)
    interrupt(5)
    train(settings, tmp_path / "parts", quiet=True)
    train(settings, tmp_path / "parts", resume=True, quiet=True)
    toy.assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_pieces_with_unequal_knowledge_train_as_the_whole(tmp_path):
    for pieces in (1, 4):
        settings = tree(tmp_path, "property", steps=10, accumulate=pieces)
        settings["model"]["dtype"] = "float64"
        train(RunConfig.model_validate(settings), tmp_path / str(pieces), quiet=True)
    one, four = (toy.rows(tmp_path / name)[-1] for name in "14")
    assert {k: v for k, v in one.items() if k != "seconds"} == pytest.approx(
        {k: v for k, v in four.items() if k != "seconds"}, rel=1e-6
    )


def test_weights_of_targets_can_change_on_the_way(tmp_path):
    settings = config(tmp_path, "property", loss_schedule=[{"from": 0.5, "targets": {"gap": 0.0}}])
    assert train(settings, tmp_path / "run", quiet=True).progress.step == 40


def test_a_target_that_no_frame_has_is_refused_naming_it(tmp_path):
    settings = tree(tmp_path, "property")
    settings["model"]["targets"] = [{"name": "alpa", "readout": "intensive", "unit": "eV"}]
    with pytest.raises(DataError, match=r"target 'alpa' is not known .* Did you mean 'alpha'\?"):
        train(RunConfig.model_validate(settings), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_the_summary_tells_how_many_labels_are_known(tmp_path, capsys):
    train(config(tmp_path, "property", steps=1), tmp_path / "run")
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line}
    known = np.isfinite(columns()["gap"][:16]).sum()
    assert rows["gap"][1] == str(known)
    assert rows["mu"][1] == "48"
    assert rows["mu"][-1] == "D"


def test_going_on_from_a_model_of_targets(tmp_path):
    first = train(config(tmp_path, "property", steps=10), tmp_path / "first", quiet=True)
    settings = tree(tmp_path, "property", steps=4, start_from=str(first.run.best))
    for model in ({}, {"kind": "property", "targets": TARGETS["property"]}):
        settings["model"] = model
        name = "bare" if not model else "said"
        result = train(RunConfig.model_validate(settings), tmp_path / name, quiet=True)
        assert load_model(result.run.best).config == load_model(first.run.best).config


def unlabelled(folder, name, *missing):
    """Write frames without some labels; return the file."""
    arrays = columns(8)
    for label in missing:
        arrays[label] = np.full_like(arrays[label], np.nan)
    np.savez(folder / name, **{**arrays, "pos": arrays["pos"] + 0.01})
    return str(folder / name)


@pytest.mark.parametrize(
    ("kind", "label", "keys"), [("property", "gap", "properties"), ("tensor", "shielding", "atom_")]
)
def test_validation_frames_without_a_target_are_refused(tmp_path, kind, label, keys):
    settings = tree(tmp_path, kind)
    settings["data"] = {**settings["data"], "valid": unlabelled(tmp_path, "v.npz", label), "valid_groups": None}
    match = rf"v\.npz: target '{label}' is not known of any of the 8 frames of data.valid; check data.keys.{keys}"
    with pytest.raises(DataError, match=match):
        train(RunConfig.model_validate(settings), tmp_path / "run", quiet=True)
    settings["training"]["loss"] = {"targets": {label: 0.0}}
    load_splits(RunConfig.model_validate(settings))


def test_test_frames_without_any_target_are_refused_and_some_are_enough(tmp_path):
    settings = tree(tmp_path, "property")
    settings["data"]["test"] = unlabelled(tmp_path, "t.npz", "U", "gap", "mu")
    with pytest.raises(DataError, match=r"t\.npz: the 8 frames of data.test need one known value of U, gap, mu; found"):
        load_splits(RunConfig.model_validate(settings))
    settings["data"]["test"] = unlabelled(tmp_path, "t.npz", "U", "gap")
    assert len(load_splits(RunConfig.model_validate(settings)).test) == 8


@pytest.mark.parametrize("stages", [[], [{"from": 0.5, "targets": {"U": 0.0, "gap": 0.0, "mu": 0.0}}]])
def test_weights_that_are_all_zero_are_refused_in_every_stage(tmp_path, stages):
    loss = {} if stages else {"targets": {"U": 0.0, "gap": 0.0, "mu": 0.0}}
    with pytest.raises(
        ValueError, match=r"training.loss: needs a positive weight of some target; found 0 for U, gap, mu"
    ):
        config(tmp_path, "property", loss=loss, loss_schedule=stages)


def test_a_target_without_labels_among_the_test_frames_is_said_to_be_missing(tmp_path, capsys):
    settings = tree(tmp_path, "property", steps=1)
    settings["data"]["test"] = unlabelled(tmp_path, "t.npz", "gap")
    settings["report"] = {"enabled": False}
    parsed = RunConfig.model_validate(settings)
    result = train(parsed, tmp_path / "run", quiet=True)
    assert finish(parsed, result) == 0
    assert "no errors of gap: no test frame has this label" in capsys.readouterr().out
    assert set(json.loads(result.run.metrics.read_text())["errors"]) >= {"U", "mu"}
    result.run.metrics.unlink()
    with pytest.raises(
        DataError, match=r"the test frames need labels that the model predicts \(U, gap, mu\); found none"
    ):
        finish(parsed, replace(result, splits=replace(result.splits, test=[Frame(species=[8], pos=[[0, 0, 0]])])))
    assert not result.run.metrics.exists()
