"""Radial tables in training: used where they pay, said in the log, and kept by resume."""

import numpy as np
import pytest
from train import toy

from irrepnet.data import Frame
from irrepnet.errors import ConfigError
from irrepnet.models import ForceField, ForceFieldConfig, load_model, load_tensors, save_tensors
from irrepnet.train import RunConfig, label_graphs, train
from irrepnet.train.radial import describe_radial


def config(folder, knots, **training):
    tree = toy.tree(folder, **training)
    return RunConfig.model_validate({**tree, "model": {**toy.MODEL, "radial": "table", "radial_knots": knots}})


def test_a_run_with_tables_learns_and_says_how_exact_they_are(tmp_path, capsys):
    train(config(tmp_path, 10, steps=40, validate_every_steps=40), tmp_path / "run")
    log = toy.rows(tmp_path / "run")
    assert log[-1]["valid_loss"] < 0.7 * log[0]["valid_loss"]
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("radial:")]
    assert len(said) == 2  # before and after
    assert all("tables of 10 knots; off the exact networks by at most" in line for line in said)
    model = load_model(tmp_path / "run" / "best.model")
    assert (model.config.radial, model.config.radial_knots) == ("table", 10)


def test_a_table_that_does_not_pay_is_left_to_the_exact_network(tmp_path, capsys):
    result = train(config(tmp_path, 512, steps=1), tmp_path / "run")
    said = capsys.readouterr().out
    assert "note: a table of 512 knots does not pay for " in said
    assert "edges a step; model.radial is exact" in said
    assert "radial: exact networks, evaluated at every edge" in said
    assert load_model(result.run.best).config.radial == "exact"


def test_resume_ends_with_the_same_bits(tmp_path):
    train(config(tmp_path, 10), tmp_path / "whole", quiet=True)
    first = train(config(tmp_path, 10), tmp_path / "cut", quiet=True)
    assert first.progress.step == 12
    train(config(tmp_path, 10), tmp_path / "cut", resume=True, quiet=True)
    toy.assert_same_run(tmp_path / "whole", tmp_path / "cut")
    with pytest.raises(ConfigError, match=r"model\.radial_knots: 10 in the run; 11 now"):
        train(config(tmp_path, 11), tmp_path / "cut", resume=True, quiet=True)


def test_a_run_from_before_the_key_goes_on(tmp_path):
    tree = toy.tree(tmp_path)
    run = train(RunConfig.model_validate(tree), tmp_path / "run", quiet=True).run
    tensors, metadata = load_tensors(run.state)
    for key in ("radial", "radial_knots"):
        del metadata["config"]["model"][key]
    save_tensors(run.state, tensors, metadata)
    train(RunConfig.model_validate(tree), tmp_path / "run", resume=True, quiet=True)


def test_the_error_is_that_of_the_frame_with_most_edges():
    model = ForceField(ForceFieldConfig(species=("H",), cutoff=3.0, radial="table", radial_knots=8))
    lone, far = Frame(species=[1, 1], pos=[[0, 0, 0], [0, 0, 1]]), Frame(species=[1, 1], pos=[[0, 0, 0], [0, 0, 9]])
    crowd = Frame(species=[1] * 8, pos=np.random.default_rng(0).uniform(0, 2, (8, 3)))
    items = label_graphs([lone, crowd, far], 3.0)
    assert describe_radial(model, items) == describe_radial(model, items[1:2])
    assert describe_radial(model, items[2:]) == "radial: tables of 8 knots; no edges to measure their error at"
    exact = ForceField(ForceFieldConfig(species=("H",), cutoff=3.0))
    assert describe_radial(exact, items) == "radial: exact networks, evaluated at every edge"
