"""Files of older formats: they load, and predict what the code that wrote them predicted."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from models.toys import toy_model

from irrepnet.data import Frame, build_graph
from irrepnet.errors import CheckpointError
from irrepnet.models import load_model, load_tensors, migrations, save_model
from irrepnet.models.migrations import FORMAT_VERSION, MIGRATIONS, migrate

GOLDEN = Path(__file__).parents[1] / "golden"
MODELS = sorted(GOLDEN.glob("force_field_format*.model"))


def version_of(path):
    return int(path.stem.removeprefix("force_field_format"))


def test_every_older_format_has_a_migration_and_a_golden_file():
    assert sorted(MIGRATIONS) == list(range(1, FORMAT_VERSION)) == [version_of(path) for path in MODELS]


@pytest.mark.parametrize("path", MODELS, ids=version_of)
def test_predictions_are_those_of_the_code_that_wrote_the_file(path, tmp_path):
    expected = json.loads(path.with_suffix(".json").read_text())
    frame = Frame(species=expected["species"], pos=expected["pos"], cell=expected["cell"], pbc=True)
    model = load_model(path)
    assert model.config.radial_decay == 0
    if version_of(path) == 1:
        assert model.config.radial_species == "shared" and model.config.repulsion == "none"
    found = model(build_graph(frame, model.cutoff, dtype=torch.float64), compute_stress=True)
    np.testing.assert_allclose(found.energy, expected["energy"], rtol=1e-12, atol=0)
    np.testing.assert_allclose(found.forces, expected["forces"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.stress, expected["stress"], rtol=0, atol=1e-12)

    save_model(model, tmp_path / "now.model", extra=model.metadata)
    again = load_model(tmp_path / "now.model")
    assert again.config == model.config
    for a, b in zip(again.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_file_is_the_first_thing_that_a_process_builds():
    """It is built without memory first: constants that are computed then and kept must be sound all the same."""
    script = f"""
import torch
from irrepnet.models import ForceField, load_model
model = load_model({str(MODELS[0])!r})
fresh = ForceField(model.config).eval()
fresh.load_state_dict(model.state_dict())
for a, b in zip([*model.buffers(), *model.parameters()], [*fresh.buffers(), *fresh.parameters()], strict=True):
    assert a.device.type == b.device.type == "cpu" and torch.equal(a, b)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


class TestFormat1:
    def test_names_of_a_state(self):
        names = ["embedding", "layers.0.linear.weight", "readout.network.0.weight"]
        old = {f"{part}{name}": torch.zeros(1) for part in ("model.", "averaged.module.") for name in names}
        old |= {
            "averaged.n_averaged": torch.zeros(()),
            "optimiser.0.step": torch.zeros(()),
            "random.cpu": torch.ones(2),
        }
        metadata = {"config": {"model": {"cutoff": 3.0}, "data": {}}, "progress": {"step": 3}}
        tensors, metadata = migrate(old, metadata, version=1)
        new = ["trunk.embedding", "trunk.layers.0.linear.weight", "readout.network.0.weight"]
        kept = {"averaged.n_averaged", "optimiser.0.step", "random.cpu"}
        assert tensors.keys() == {f"{part}{name}" for part in ("model.", "averaged.module.") for name in new} | kept
        section = {"cutoff": 3.0, "radial_species": "shared", "repulsion": "none", "radial_decay": 0.0}
        assert metadata == {"config": {"model": section, "data": {}}, "progress": {"step": 3}}

    def test_the_optimiser_knows_weights_by_their_number(self):
        """Its slots in a state file are numbered in the order of the weights, so that has to stay what it was."""
        names = [name for name, _ in toy_model().named_parameters()]
        old = list(dict.fromkeys(name.removeprefix("trunk.").split(".")[0] for name in names))
        assert old == ["embedding", "layers", "readout"]
        layer = [name.split(".", 3)[3] for name in names if name.startswith("trunk.layers.0.")]
        assert layer == [
            "linear.weight",
            "convolution.radial.weights.0",
            "convolution.radial.weights.1",
            "convolution.linear.weight",
            "self_connection.weight",
        ]

    def test_what_is_no_model_and_no_state_stays(self):
        for metadata in (None, 7, [1], {"step": 3}, {"kind": "other", "config": {}}):
            tensors = {"embedding": torch.ones(1), "layers.0": torch.ones(2)}
            assert migrate(tensors, metadata, version=1) == (tensors, metadata)

    def test_settings_that_the_file_has_are_kept(self):
        metadata = {"kind": "force_field", "config": {"repulsion": "zbl"}, "extra": {}}
        config = {"repulsion": "zbl", "radial_species": "shared", "radial_decay": 0.0}
        assert migrate({}, metadata, version=1)[1]["config"] == config


class TestFormat2:
    @pytest.mark.parametrize("kind", ["force_field", "property", "tensor"])
    def test_models_of_every_kind_keep_their_bessel_functions(self, kind):
        metadata = {"kind": kind, "config": {"cutoff": 3.0}, "extra": {}}
        assert migrate({}, metadata, version=2)[1]["config"] == {"cutoff": 3.0, "radial_decay": 0.0}

    def test_the_state_of_a_run(self):
        metadata = {"config": {"model": {"cutoff": 3.0}}, "model": {"cutoff": 3.0, "species": ["H"]}, "progress": {}}
        expected = {
            "config": {"model": {"cutoff": 3.0, "radial_decay": 0.0}},
            "model": {"cutoff": 3.0, "species": ["H"], "radial_decay": 0.0},
            "progress": {},
        }
        assert migrate({}, metadata, version=2)[1] == expected
        assert "radial_decay" not in metadata["model"]


class TestRefusal:
    def test_two_weights_of_one_name(self):
        tensors = {"embedding": torch.ones(1), "trunk.embedding": torch.ones(1)}
        with pytest.raises(CheckpointError, match="format 1 has no two tensors of one name in format 2; copy it again"):
            migrate(tensors, {"kind": "force_field", "config": {}}, version=1)

    @pytest.mark.parametrize("version", [0, -3])
    def test_a_format_that_never_was(self, tmp_path, monkeypatch, version):
        monkeypatch.setattr("irrepnet.models.checkpoint.FORMAT_VERSION", version)
        from irrepnet.models.checkpoint import save_tensors

        save_tensors(tmp_path / "a.state", {}, {})
        monkeypatch.undo()
        message = rf"a\.state is not a file written by irrepnet: formats are numbered from 1 to \d+; found {version}"
        with pytest.raises(CheckpointError, match=message):
            load_tensors(tmp_path / "a.state")


def test_migrations_follow_one_another(monkeypatch):
    calls = []

    def step(number):
        def migration(tensors, metadata):
            calls.append(number)
            return tensors, metadata | {"seen": number}

        return migration

    monkeypatch.setattr(migrations, "MIGRATIONS", {number: step(number) for number in (1, 2, 3)})
    monkeypatch.setattr(migrations, "FORMAT_VERSION", 4)
    assert migrate({}, {}, version=2) == ({}, {"seen": 3})
    assert calls == [2, 3]
    assert migrate({}, {"x": 1}, version=4) == ({}, {"x": 1})
