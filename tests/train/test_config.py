import textwrap

import pytest
import yaml

from irrepnet.errors import ConfigError
from irrepnet.train import RunConfig, describe_config, load_config
from irrepnet.train.config import MDConfig
from irrepnet.train.config_file import parse_overrides, validate_section
from irrepnet.train.model_section import SECTIONS

MINIMAL = """
data: {train: a.npz}
training: {steps: 10}
"""


def load(folder, text, *overrides):
    path = folder / "config.yaml"
    path.write_text(textwrap.dedent(text))
    return load_config(path, overrides)


def error_lines(folder, text, *overrides):
    with pytest.raises(ConfigError) as caught:
        load(folder, text, *overrides)
    return str(caught.value).splitlines()


def test_a_minimal_file_is_enough(tmp_path):
    config = load(tmp_path, MINIMAL)
    assert config.training.steps == 10
    assert config.model.species is None
    assert config.model.kind == "force_field"


def test_an_unknown_key_is_one_line_with_the_nearest_key(tmp_path):
    lines = error_lines(tmp_path, "data: {train: a.npz}\ntraining: {steps: 10, lerning_rate: 0.1}")
    assert lines == ["config.yaml: training.lerning_rate is not a known key. Did you mean 'lr'?"]


@pytest.mark.parametrize(
    ("section", "key", "nearest"),
    [
        ("model", "r_max", "cutoff"),
        ("training", "batchsize", "batch_size"),
        ("model", "l_max", "lmax"),
        ("md", "step", "steps"),
    ],
)
def test_names_of_other_programs_and_slips_are_understood(tmp_path, section, key, nearest):
    text = yaml.safe_dump({"data": {"train": "a"}, "training": {"steps": 1}})
    (line,) = error_lines(tmp_path, text, f"{section}.{key}=3")
    assert line == f"--set: {section}.{key} is not a known key. Did you mean {nearest!r}?"


def test_an_unknown_section_is_named(tmp_path):
    lines = error_lines(tmp_path, MINIMAL + "trainning: {lr: 1}")
    assert lines == ["config.yaml: trainning is not a known key. Did you mean 'training'?"]


def test_three_mistakes_are_three_lines(tmp_path):
    lines = error_lines(tmp_path, "data: {}\ntraining: {steps: 10, lr: -1, batch_size: 0}")
    assert lines == [
        "config.yaml: data.train is needed; found nothing; add it",
        "config.yaml: training.batch_size: input should be greater than 0; found 0",
        "config.yaml: training.lr: input should be greater than 0; found -1",
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.cutoff", "0"),
        ("model.cutoff", "-1.0"),
        ("model.cutoff", ".nan"),
        ("model.lmax", "-1"),
        ("model.irreps_hidden", "8x0q"),
        ("model.irreps_hidden", "''"),
        ("model.num_layers", "two"),
        ("training.lr", "-0.1"),
        ("training.lr", ".inf"),
        ("training.batch_size", "0"),
        ("training.steps", "0"),
        ("training.ema_decay", "1.0"),
        ("training.optimiser", "sgd"),
        ("data.valid_fraction", "1.5"),
        ("data.units", "{energy: cal}"),
        ("md.timestep", "0"),
    ],
)
def test_values_out_of_range_are_refused_naming_the_key(tmp_path, key, value):
    lines = error_lines(tmp_path, MINIMAL, f"{key}={value}")
    assert len(lines) == 1
    assert lines[0].startswith(f"--set: {key}")


def test_exactly_one_budget(tmp_path):
    (line,) = error_lines(tmp_path, "data: {train: a}\ntraining: {}")
    assert "needs exactly one of steps and minutes; found neither" in line
    (line,) = error_lines(tmp_path, "data: {train: a}\ntraining: {steps: 10, minutes: 3}")
    assert "found steps = 10 and minutes = 3" in line
    (line,) = error_lines(tmp_path, MINIMAL, "training.minutes=3", "training.steps=5")
    assert "found steps = 5 and minutes = 3" in line


@pytest.mark.parametrize(
    ("override", "other"),
    [
        ("training.minutes=3", ("training", "steps")),
        ("training.validate_every_steps=7", ("training", "validate_every_epochs")),
        ("data.valid_groups=[a]", ("data", "valid")),
    ],
)
def test_an_override_of_one_alternative_puts_the_other_out_of_force(tmp_path, override, other):
    text = "data: {train: a.npz, valid: b.npz}\ntraining: {steps: 10, validate_every_epochs: 2}"
    config = load(tmp_path, text, override).model_dump()
    assert config[other[0]][other[1]] is None
    (section, key), _ = parse_overrides([override]).popitem()
    assert config[section][key] is not None


def test_a_loss_without_weights_is_refused(tmp_path):
    (line,) = error_lines(tmp_path, MINIMAL, "training.loss={energy: 0, forces: 0}")
    assert "training.loss: needs a positive weight" in line


def test_overrides_are_yaml_values_and_make_missing_sections(tmp_path):
    config = load(tmp_path, MINIMAL, "training.lr=1e-3", "md.enabled=false", "model.radial_hidden=[8, 8]", "md.steps=7")
    assert config.training.lr == 1e-3
    assert config.md.enabled is False
    assert config.md.steps == 7
    assert tuple(config.model.radial_hidden) == (8, 8)


@pytest.mark.parametrize(
    "text", ["training.lr", "=3", "training..lr=3", "training.lr=[1", "a=!!python/object:x {}", "a=2001-99-99"]
)
def test_bad_overrides_are_refused(text):
    with pytest.raises(ConfigError, match="--set"):
        parse_overrides([text])


def test_an_empty_section_takes_overrides(tmp_path):
    assert load(tmp_path, "data: {train: a.npz}\ntraining:\n", "training.steps=5").training.steps == 5


def test_an_override_through_a_value_is_refused(tmp_path):
    (line,) = error_lines(tmp_path, "training: {lr: 0.1}", "training.lr.peak=3")
    assert line == "--set training.lr.peak: training.lr is a value, not a section"


def test_relative_paths_are_relative_to_the_file_and_overrides_to_the_current_folder(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    config = load(
        tmp_path,
        "data: {train: a.npz, valid: 'package:water_xtb/heldout.npz'}\ntraining: {steps: 1}",
        "data.test=b.npz",
    )
    assert config.data.train == str(tmp_path / "a.npz")
    assert config.data.valid == "package:water_xtb/heldout.npz"
    assert config.data.test == str(elsewhere / "b.npz")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("!!python/object/apply:os.system ['true']", "python/object"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "aliases"),
        ("training: {steps: 1}\ntraining: {steps: 2}", "given twice"),
        ("training: {steps: 1, steps: 2}", "given twice"),
        ("training: [", "line 1"),
        ("- a\n- b", "found list"),
        ("", "found NoneType"),
        ("[" * 5000, "plain YAML"),
        ("? [a]\n: 1", "a key needs to be one word"),
        ("training: {steps: 2001-99-99}", "month must be in"),
        ("training: {steps: " + "9" * 5000 + "}", "digits"),
    ],
)
def test_files_that_are_not_plain_yaml_are_refused_in_one_line(tmp_path, text, what):
    (line,) = error_lines(tmp_path, text)
    assert line.startswith("config.yaml: needed")
    assert what in line


def test_a_missing_or_huge_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="needed a configuration file; found none"):
        load_config(tmp_path / "no.yaml")
    (tmp_path / "huge.yaml").write_text("#" * 1_100_000)
    with pytest.raises(ConfigError, match="is it a data file"):
        load_config(tmp_path / "huge.yaml")


def test_stages_of_the_loss_change_what_they_name(tmp_path):
    stages = "[{from: 0.5, energy: 100}, {from: 0.75, forces: 0.1, stress: 2}]"
    config = load(tmp_path, MINIMAL, f"training.loss_schedule={stages}").training
    found = [(loss.energy, loss.forces, loss.stress) for loss in map(config.loss_at, (0.0, 0.49, 0.5, 0.8, 1.2))]
    assert found == [(10, 1, 0), (10, 1, 0), (100, 1, 0), (100, 0.1, 2), (100, 0.1, 2)]
    assert config.final_loss == config.loss_at(1.0)


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("training.loss_schedule=[{from: 0.5}, {from: 0.2}]", "needs stages that begin one after the other"),
        (
            "training.loss_schedule=[{form: 0.5}]",
            "training.loss_schedule.0.form is not a known key. Did you mean 'from'",
        ),
        ("training.loss_schedule=[{from: 0.5, energy: 0, forces: 0}]", "training.loss: needs a positive weight"),
        ("training.loss_schedule=[{from: 1.5}]", "should be less than 1"),
        ("training.loss.targets={gap: 1}", "the model has no targets, as its kind is force_field; found 'gap'"),
        ("data.isolated_atoms={Xx: 1.0}", "Xx"),
        ("data.workers=-1", "greater than or equal to 0"),
        ("training.accumulate=0", "greater than 0"),
        ("model.kind=force", "kind needs to be one of force_field"),
        ("md.ensemble=npt", "'nve' or 'nvt'"),
    ],
)
def test_new_keys_are_checked(tmp_path, override, what):
    *_, last = error_lines(tmp_path, MINIMAL, override)
    assert what in last


def test_groups_or_ids_choose_a_part(tmp_path):
    (line,) = error_lines(tmp_path, "data: {train: a, train_ids: i, train_groups: [b]}\ntraining: {steps: 1}")
    assert "data: needs train_ids or train_groups, not both" in line


def test_an_exponential_needs_a_floor(tmp_path):
    (line,) = error_lines(tmp_path, MINIMAL, "training.schedule=exponential", "training.lr_floor=0")
    assert "schedule exponential needs lr_floor above 0" in line


def test_paths_of_ids_caches_and_models_are_relative_to_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    config = load(
        tmp_path,
        "data: {train: 'set:qm9', train_ids: i.txt, cache: c, data_dir: d}\ntraining: {steps: 1, start_from: m.model}",
    )
    assert config.data.train == "set:qm9"
    assert config.data.train_ids == str(tmp_path / "i.txt")
    assert config.data.cache == str(tmp_path / "c")
    assert config.data.data_dir == str(tmp_path / "d")
    assert config.training.start_from == str(tmp_path / "m.model")


TARGETS = "[{name: gap, readout: intensive, unit: eV}, {name: mu, readout: dipole, unit: D, weight: 0.5}]"


def test_the_kind_of_the_model_says_its_keys(tmp_path):
    model = f"model: {{kind: property, targets: {TARGETS}}}\n"
    config = load(tmp_path, model + MINIMAL, "training.loss.targets={mu: 2}")
    assert [target.name for target in config.model.targets] == ["gap", "mu"]
    assert config.training.loss.targets == {"mu": 2}
    for override, what in (
        ("training.loss.targets={muu: 2}", "the model has gap, mu; found 'muu'. Did you mean 'mu'?"),
        ("training.loss.forces=3", "training.loss.forces is for force fields; this model has gap, mu"),
        ("model.species_shifts=[1]", "model.species_shifts is not a known key"),
        ("model.cutof=3", "model.cutof is not a known key. Did you mean 'cutoff'?"),
    ):
        (line,) = error_lines(tmp_path, model + MINIMAL, override)
        assert what in line


def test_a_configuration_survives_the_trip_through_its_own_dump(tmp_path):
    config = load(tmp_path, MINIMAL, "training.loss_schedule=[{from: 0.5, energy: 100}]")
    assert RunConfig.model_validate(config.model_dump(mode="json")) == config


def test_help_names_every_key_of_every_section():
    text = describe_config()
    for section, field in RunConfig.model_fields.items():
        for one in SECTIONS.values() if section == "model" else (field.annotation,):
            for key, inner in one.model_fields.items():
                assert f"  {section}.{key}" in text
                assert inner.description, f"{section}.{key} has no help"
    assert "training.loss_schedule[].from = (needed)" in text
    assert "training.loss.forces = 1.0" in text
    assert "data.units.energy = eV" in text
    assert "data.keys.forces = forces" in text


def test_a_friction_that_langevin_cannot_integrate_is_refused_before_the_training():
    section = {"ensemble": "nvt", "friction": 500.0, "timestep": 0.5}
    with pytest.raises(ConfigError, match=r"friction times timestep needs to be at most 200 .* found 250; lower one"):
        validate_section(MDConfig, section, source="a.yaml")
    assert validate_section(MDConfig, {**section, "ensemble": "nve"}, source="a.yaml").friction == 500.0


def test_help_says_every_key_of_every_readout_once():
    listing = [line for line in describe_config().splitlines() if "model.targets[]." in line]
    property_model = listing[: next(i for i, line in enumerate(listing) if ".formula" in line) - 4]
    keys = [line.split("[].")[1].split(" ")[0] for line in property_model]
    assert keys == ["name", "unit", "weight", "scale", "readout", "shift", "shift", "norm", "total_charge", "charges"]
    text = "\n".join(property_model)
    assert "[extensive|intensive|dipole|second_moment]" in text
    assert "not the vector (dipole) [bool]" in text
    assert "the mean of the frames (intensive)" in text
