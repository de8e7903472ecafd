"""Training that goes on from a model file, and weights that stay as they are."""

import dataclasses

import numpy as np
import pytest
import torch
from train import test_target_training as target_runs
from train import toy

from irrepnet.data import Frame
from irrepnet.errors import ConfigError, DataError
from irrepnet.models import ForceField, ForceFieldConfig, load_model, load_tensors, save_model
from irrepnet.train import RunConfig, label_graphs, load_config, train
from irrepnet.train.fine_tuning import freeze, refitted_shifts, with_model_of

FROZEN = ["embedding", "layers.0.*"]


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A model that was trained for a few steps."""
    folder = tmp_path_factory.mktemp("start")
    return train(toy.config(folder, steps=8), folder / "run", quiet=True).run.best


def config(folder, start, model=None, **training):
    tree = toy.tree(folder, start_from=str(start), **training)
    tree["model"] = model or {}
    return RunConfig.model_validate(tree)


def weights(path, prefix):
    tensors, _ = load_tensors(path)
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def patterns(start):
    """Names of the embedding and of all weights of the first layer, whatever they are called here."""
    return [name for name in load_model(start).state_dict() if "embedding" in name or "layers.0." in name]


def test_the_architecture_and_what_data_determine_come_from_the_model(tmp_path, start):
    result = train(config(tmp_path, start, steps=1), tmp_path / "run", quiet=True)
    before, after = load_model(start).config, load_model(result.run.best).config
    assert after.model_copy(update={"species_shifts": ()}) == before.model_copy(update={"species_shifts": ()})
    assert load_config(result.run.config).model.irreps_hidden == toy.MODEL["irreps_hidden"]
    assert result.run.start.read_bytes() == start.read_bytes()


def test_the_first_validation_is_that_of_the_model(tmp_path, start):
    result = train(config(tmp_path, start, steps=1, refit_shifts=False), tmp_path / "run", quiet=True)
    assert toy.rows(result.run.path)[0]["forces_rmse"] == pytest.approx(
        load_model(start).metadata["metrics"]["forces_rmse"], rel=1e-5
    )


def test_shifts_are_fitted_to_energies_of_another_reference(tmp_path, start, capsys):
    columns = toy.arrays(20)
    toy.write_frames(tmp_path / "frames.npz", energy=columns["energy"] + 3 * 5.0 - 7.0)
    result = train(config(tmp_path, start, steps=1), tmp_path / "run")
    assert "note: the energy shifts of the model were fitted to the new frames" in capsys.readouterr().out
    assert toy.rows(result.run.path)[0]["energy_rmse"] < 1.5 * load_model(start).metadata["metrics"]["energy_rmse"]
    kept = train(config(tmp_path, start, steps=1, refit_shifts=False), tmp_path / "kept", quiet=True)
    assert toy.rows(kept.run.path)[0]["energy_rmse"] > 1000
    given = config(tmp_path, start, {"species_shifts": [-1.0, -2.0]}, steps=1)
    assert load_model(train(given, tmp_path / "given", quiet=True).run.best).config.species_shifts == (-1.0, -2.0)


def test_refitted_shifts_undo_any_shift_of_the_reference_exactly(start):
    model = load_model(start).double()
    rng = np.random.default_rng(0)
    frames = [
        Frame(species=numbers, pos=rng.normal(scale=2.0, size=(len(numbers), 3)), energy=0.0)
        for numbers in ([1, 1, 8], [8, 8, 1], [1], [1, 8])
    ]
    items = label_graphs(frames, model.cutoff)
    by_species = {1: 0.25, 8: -3.0}
    shifted = [
        dataclasses.replace(
            item, energy=model(item.graph).energy + sum(by_species[n] for n in item.graph.species.tolist())
        )
        for item in items
    ]
    expected = [old + by_species[n] for old, n in zip(model.config.shifts, model.atomic_numbers, strict=True)]
    assert refitted_shifts(model, shifted, batch_size=3) == pytest.approx(expected, abs=1e-9)


def test_a_section_that_contradicts_the_file_is_refused_line_by_line(tmp_path, start):
    with pytest.raises(ConfigError, match=r"found changes:\n  model.cutoff: 3.0 in the file; 4.0 in the configuration"):
        with_model_of(config(tmp_path, start, {"cutoff": 4.0}), start)
    with pytest.raises(ConfigError, match=r"model.species: \('H', 'O'\) in the file"):
        with_model_of(config(tmp_path, start, {"species": ["H", "O", "C"]}), start)
    free, _ = with_model_of(config(tmp_path, start, {"dtype": "float64", "num_layers": 2}), start)
    assert (free.model.dtype, free.model.cutoff) == ("float64", 3.0)


def test_new_elements_are_refused(tmp_path, start):
    toy.write_frames(tmp_path / "frames.npz", species=[6, 1, 1, 1])
    with pytest.raises(DataError, match=r"knows H, O; found C in \S+ frame 0; the elements of a model are fixed"):
        train(config(tmp_path, start), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_frozen_weights_stay_bit_identical_and_have_no_optimiser_state(tmp_path, start):
    frozen = patterns(start)
    result = train(config(tmp_path, start, freeze=frozen), tmp_path / "run", quiet=True)
    before = weights(start, "")
    for prefix in ("model.", "averaged.module."):
        after = weights(result.run.state, prefix)
        assert all(torch.equal(before[name], after[name]) == (name in frozen) for name in before)
    count = len(weights(result.run.state, "optimiser.")) / 4  # Adam with AMSGrad: a step and three moments
    assert count == len(before) - len(frozen)


def test_parts_that_are_frozen_as_a_whole_are_in_evaluation_mode(tmp_path):
    from irrepnet.train.state import TrainState

    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.5), torch.nn.Linear(2, 2))
    freeze(model, ["0.*", "2.bias"], say=lambda text: None)
    TrainState(model, toy.config(tmp_path).training, data_fingerprint="").train_mode()
    assert [part.training for part in model] == [False, True, True]


def test_patterns_that_fit_nothing_or_everything_are_refused():
    model = ForceField(ForceFieldConfig(species=("H",), irreps_hidden="4x0e+4x1o"))
    with pytest.raises(ConfigError, match=r"training.freeze: no weight is called 'embeding'\. "):
        freeze(model, ["embeding"])
    with pytest.raises(ConfigError, match="needs to leave something to learn"):
        freeze(model, ["*"])


def test_a_resumed_fine_tuning_needs_no_file_outside_its_folder_and_has_the_same_bits(tmp_path, start, interrupt):
    copy = tmp_path / "copy.model"
    copy.write_bytes(start.read_bytes())
    settings = config(tmp_path, copy, freeze=patterns(start))
    train(settings, tmp_path / "whole", quiet=True)
    interrupt(5)
    train(settings, tmp_path / "parts", quiet=True)
    copy.unlink()
    train(load_config(tmp_path / "parts" / "config.yaml"), tmp_path / "parts", resume=True, quiet=True)
    toy.assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_state_file_is_no_start(tmp_path, start):
    with pytest.raises(Exception, match="is not a model file"):
        train(config(tmp_path, start.parent / "last.state"), tmp_path / "run", quiet=True)


def test_a_model_of_another_dtype_is_cast(tmp_path, start):
    model = load_model(start).double()
    save_model(model, tmp_path / "double.model")
    result = train(
        config(tmp_path, tmp_path / "double.model", {"dtype": "float32"}, steps=1), tmp_path / "run", quiet=True
    )
    assert load_model(result.run.best).dtype == torch.float32


def test_open_keys_that_differ_are_refused_but_for_energy_shifts(tmp_path, start):
    scale = load_model(start).config.energy_scale
    with pytest.raises(ConfigError, match=r"model.energy_scale: [\d.]+ in the file; 77.0 in the configuration"):
        with_model_of(config(tmp_path, start, {"energy_scale": 77.0}), start)
    with pytest.raises(ConfigError, match=r"model.avg_num_neighbors: 3.0 in the file; 9.0 in"):
        with_model_of(config(tmp_path, start, {"avg_num_neighbors": 9.0}), start)
    said = {"energy_scale": scale, "species_shifts": [-1.0, -2.0]}
    free, _ = with_model_of(config(tmp_path, start, said), start)
    assert (free.model.energy_scale, free.model.species_shifts) == (scale, (-1.0, -2.0))


def test_energies_of_isolated_atoms_are_refused_beside_a_start(tmp_path, start):
    tree = toy.tree(tmp_path, start_from=str(start))
    tree["model"], tree["data"]["isolated_atoms"] = {}, {"H": -13.6}
    with pytest.raises(
        ConfigError, match=r"energies of isolated atoms are those of the model; found data.isolated_atoms"
    ):
        with_model_of(RunConfig.model_validate(tree), start)


@pytest.fixture(scope="module")
def of_targets(tmp_path_factory):
    """A model of properties that was trained for a step."""
    folder = tmp_path_factory.mktemp("targets")
    return train(target_runs.config(folder, "property", steps=1), folder / "run", quiet=True).run.best


def on_targets(folder, start, model=None, **training):
    tree = target_runs.tree(folder, "property", steps=2, start_from=str(start), **training)
    tree["model"] = model or {}
    return RunConfig.model_validate(tree)


@pytest.mark.parametrize(("place", "key", "value"), [(0, "unit", "kcal/mol"), (1, "scale", 9.0), (2, "norm", True)])
def test_targets_keep_their_units_and_scales(tmp_path, of_targets, place, key, value):
    targets = [dict(target) for target in target_runs.TARGETS["property"]]
    targets[place][key] = value
    name = targets[place]["name"]
    with pytest.raises(
        ConfigError, match=rf"model.targets: {key} of '{name}': .* in the file; {value!r} in the config"
    ):
        with_model_of(on_targets(tmp_path, of_targets, {"kind": "property", "targets": targets}), of_targets)


def test_weights_of_targets_need_no_model_section_and_the_written_configuration_loads(tmp_path, of_targets):
    settings = on_targets(tmp_path, of_targets, loss={"targets": {"mu": 2.0}})
    result = train(settings, tmp_path / "run", quiet=True)
    assert load_config(result.run.config).training.loss.targets == {"mu": 2.0}


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ({"targets": {"gab": 1.0}}, r"the model has U, gap, mu; found 'gab'. Did you mean 'gap'"),
        ({"forces": 5.0}, "for force"),
    ],
)
def test_weights_of_what_the_model_has_not_are_refused_before_there_is_a_folder(tmp_path, of_targets, loss, message):
    with pytest.raises(ConfigError, match=message):
        train(on_targets(tmp_path, of_targets, loss=loss), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_start_that_a_dead_process_left_is_not_taken(tmp_path, start):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "start.model").write_bytes(b"of another run")
    result = train(config(tmp_path, start, steps=1), tmp_path / "run", resume=True, quiet=True)
    assert result.run.start.read_bytes() == start.read_bytes()


def test_a_start_may_move_but_not_change_on_resume(tmp_path, start, interrupt):
    interrupt(5)
    train(config(tmp_path, start), tmp_path / "run", quiet=True)
    moved, other = tmp_path / "moved.model", tmp_path / "other.model"
    moved.write_bytes(start.read_bytes())
    save_model(load_model(start), other, extra={"title": "another"})
    with pytest.raises(ConfigError, match=r"start.model; found another one in training.start_from, \S+other.model"):
        train(config(tmp_path, other), tmp_path / "run", resume=True, quiet=True)
    with pytest.raises(ConfigError, match=r"training.start_from: '\S+best.model' in the run; None now"):
        train(toy.config(tmp_path, refit_shifts=True), tmp_path / "run", resume=True, quiet=True)
    assert train(config(tmp_path, moved), tmp_path / "run", resume=True, quiet=True).progress.step == 12
