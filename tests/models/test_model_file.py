"""Model files: a whole model in one file, from any state it may be in, and refused when it is not what it says."""

import copy

import pytest
import torch
from models.toys import FRAMES, graph_of, toy_model

from irrepnet.data.elements import SYMBOLS
from irrepnet.errors import CheckpointError, ConfigError
from irrepnet.models import (
    MODELS,
    build_model,
    checkpoint,
    kind_of,
    load_model,
    load_tensors,
    registry,
    save_model,
    save_tensors,
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "best.model"
    save_model(toy_model(), path, extra={"data": "toy", "units": {"energy": "eV"}})
    return path


def rewrite(file, change):
    """Change a model file and give it a right checksum again, as a malicious or careless author would."""
    tensors, metadata = load_tensors(file)
    change(tensors, metadata)
    save_tensors(file, tensors, metadata)


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_predictions_are_the_same_bits(self, tmp_path, dtype):
        model = toy_model(dtype=dtype, energy_scale=(0.5, 0.7), species_shifts=(-13.605693, -2041.839131))
        save_model(model, tmp_path / "a.model")
        torch.manual_seed(99)
        loaded = load_model(tmp_path / "a.model")
        graph = graph_of(FRAMES["periodic"])
        for a, b in zip(model(graph, compute_stress=True), loaded(graph, compute_stress=True), strict=True):
            assert torch.equal(a, b)
        assert loaded.config == model.config
        assert not loaded.training

    def test_facts_travel_with_it(self, file):
        metadata = load_model(file).metadata
        assert metadata == {"data": "toy", "units": {"energy": "eV"}, "torch": torch.__version__}

    def test_a_model_that_was_cast_is_saved_as_it_is(self, tmp_path):
        save_model(toy_model(dtype="float32").double(), tmp_path / "a.model")
        assert load_model(tmp_path / "a.model").dtype == torch.float64

    def test_a_model_in_training_and_its_average(self, tmp_path):
        model = toy_model().train()
        model(graph_of(FRAMES["open"])).energy.sum().backward()
        averaged = torch.optim.swa_utils.AveragedModel(model)
        save_model(averaged.module, tmp_path / "a.model")
        assert torch.equal(load_model(tmp_path / "a.model").trunk.embedding, model.trunk.embedding)
        assert model.training

    def test_loading_keeps_the_random_state(self, file):
        before = torch.get_rng_state()
        load_model(file)
        assert torch.equal(torch.get_rng_state(), before)


class TestRefusal:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda t, m: m["config"].update(cutoff=1e300), "(?s)cannot build: .*cutoff.*less than or equal to 1000"),
            (lambda t, m: m["config"].update(radial_hidden=[8] * 33), "(?s)cannot build: .*at most 32 items"),
            (lambda t, m: m["config"].update(readout_hidden=[8] * 33), "(?s)cannot build: .*at most 32 items"),
            (lambda t, m: m.pop("config"), r"is not a model file \(it holds \['extra', 'kind'\]\); give the run's"),
            (
                lambda t, m: m.update(kind="voxels"),
                "cannot build: a model's kind is one of force_field.*; found 'voxels'",
            ),
            (lambda t, m: m.update(kind=["force_field"]), "cannot build"),
            (lambda t, m: m.update(config=[]), "cannot build"),
            (lambda t, m: m.update(extra=7), "needs names and values as extra; found 7; copy it again"),
            (lambda t, m: m["config"].update(irreps_hidden="90000000000x0e"), "dimension of at most 10000; found 9000"),
            (lambda t, m: m["config"].update(num_layers=10**9), "less than or equal to 100"),
            (lambda t, m: m["config"].update(num_basis=10**12), "less than or equal to 10000"),
            (lambda t, m: m["config"].update(radial_hidden=[10**12]), "less than or equal to 10000"),
            (lambda t, m: m["config"].update(colour="red"), "cannot build: .*(?s:.)*colour"),
            (lambda t, m: m["config"].update(irreps_hidden="4x0f"), "cannot build: .*(?s:.)*irreps_hidden"),
            (lambda t, m: m["config"].update(species=["H", "Q"]), "cannot build: .*(?s:.)*species"),
            (lambda t, m: m["config"].update(cutoff=-1), "cannot build: .*(?s:.)*cutoff"),
            (
                lambda t, m: m["config"].update(species=["H", "O", "C"], species_shifts=[]),
                r"does not fit .*: weight 'trunk\.embedding' needs \[3, 6\] torch.float64; found \[2, 6\]",
            ),
            (
                lambda t, m: m["config"].update(dtype="float32"),
                r"weight 'readout.network.0.weight' needs \[48\] torch.float32; found \[48\] torch.float64",
            ),
            (lambda t, m: m["config"].update(readout_hidden=[]), r"weight 'readout\.network\.0\.weight' needs \[6\]"),
            (lambda t, m: t.pop("trunk.embedding"), "weight 'trunk.embedding' is missing"),
            (lambda t, m: t.update(more=torch.ones(1)), "weight 'more' is unknown"),
        ],
    )
    def test_a_file_that_does_not_fit_itself(self, file, change, message):
        rewrite(file, change)
        with pytest.raises(CheckpointError, match=message):
            load_model(file)

    @pytest.mark.parametrize("metadata", [[1, 2], "x", None, 7])
    def test_metadata_without_names(self, file, metadata):
        save_tensors(file, {}, metadata)
        with pytest.raises(CheckpointError, match=r"is not a model file \(it holds .*\); give the run's"):
            load_model(file)

    def test_too_little_memory(self, file, monkeypatch):
        def allocate(kind, config):
            raise RuntimeError("not enough memory: you tried to allocate 360000000000 bytes")

        monkeypatch.setattr(registry, "build_model", allocate)
        with pytest.raises(CheckpointError, match=r"cannot build: not enough memory"):
            load_model(file)

    def test_no_memory_is_taken_before_the_shapes_are_known(self, file):
        """Two terabytes of weights: the kernel would kill a process that made them."""
        symbols = SYMBOLS[1:51]
        huge = {"irreps_hidden": "10000x0e", "num_layers": 100, "species": symbols, "species_shifts": []}
        rewrite(file, lambda t, m: m["config"].update(huge))
        with pytest.raises(
            CheckpointError, match=r"does not fit .*: weight 'readout.network.0.weight' needs \[80000\]"
        ):
            load_model(file)

    def test_tables_are_bounded(self, tmp_path, monkeypatch):
        model = toy_model(radial="table", radial_knots=64)
        save_model(model, tmp_path / "a.model")
        size = sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
        monkeypatch.setattr(checkpoint, "_MOST_CONSTANTS", size)
        load_model(tmp_path / "a.model")
        monkeypatch.setattr(checkpoint, "_MOST_CONSTANTS", size - 1)
        with pytest.raises(
            CheckpointError, match=r"model with tables of .* GiB; at most .* lower lmax or radial_knots"
        ):
            load_model(tmp_path / "a.model")

    def test_damage(self, file):
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(
            CheckpointError, match=r"best\.model is damaged: it needs \d+ bytes; found \d+; copy it again"
        ):
            load_model(file)
        file.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
        with pytest.raises(CheckpointError, match="SHA-256 is not the one it was written with"):
            load_model(file)
        file.write_bytes(whole)
        assert load_model(file).dtype == torch.float64

    def test_a_module_of_another_class_is_not_saved(self, tmp_path):
        with pytest.raises(
            ConfigError, match=r"a registered class is needed \(force_field.*\); found Linear; add the class"
        ):
            save_model(torch.nn.Linear(1, 1), tmp_path / "a.model")
        assert not list(tmp_path.iterdir())


class TestRegistry:
    def test_kinds(self):
        targets = {
            "force_field": {},
            "property": {"targets": [{"name": "mu", "readout": "dipole"}]},
            "tensor": {"targets": [{"name": "mu", "formula": "i"}]},
        }
        for kind, (config_class, model_class) in MODELS.items():
            model = build_model(kind, {"species": ["H"], "irreps_hidden": "2x0e+2x1o"} | targets[kind])
            assert type(model) is model_class
            assert type(model.config) is config_class
            assert kind_of(copy.deepcopy(model)) == kind

    def test_unknown_kind(self):
        with pytest.raises(ConfigError, match=r"found 'force_feild'\. Did you mean 'force_field'\?"):
            build_model("force_feild", {})


def test_numbers_too_large_for_what_is_built_are_refused(file, monkeypatch):
    def overflow(kind, config):
        return 1e300**3

    monkeypatch.setattr(registry, "build_model", overflow)
    with pytest.raises(CheckpointError, match=r"cannot build: .*result out of range"):
        load_model(file)
