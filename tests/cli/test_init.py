import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from cli import models

from irrepnet.cli import main
from irrepnet.cli.init import TEMPLATES
from irrepnet.data import write_frames, write_ids
from irrepnet.train import load_config, train
from irrepnet.train.config import RunConfig

SHARED = Path(__file__).parents[3] / "shared" / "data"
FOLDER = Path(main.__globals__["__file__"]).parent / "templates"
SMALL = ["model.irreps_hidden=4x0e+4x1o+4x2e", "model.num_layers=2", "model.num_basis=4", "training.batch_size=2"]


def init(*arguments):
    return main(["init", *map(str, arguments)])


def options(changes):
    return [part for text in changes for part in ("--set", text)]


def trained(path, changes):
    """Train two steps as the file says, of a smaller network where that is asked for."""
    return train(load_config(path, ["training.steps=2", *changes]), path.parent / "run", quiet=True)


def test_every_template_is_a_valid_configuration_and_begins_with_how_to_run_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert {file.stem for file in FOLDER.glob("*.yaml")} == TEMPLATES.keys()
    for name in TEMPLATES:
        assert init(name) == 0
        text = Path(f"{name}.yaml").read_text()
        assert text == (FOLDER / f"{name}.yaml").read_text()
        assert f"irrepnet train {name}.yaml --out runs/" in text.partition("\n\n")[0]
        load_config(f"{name}.yaml")


def test_lines_are_short_and_keys_have_words():
    for file in FOLDER.glob("*.yaml"):
        for line in file.read_text().splitlines():
            assert len(line) <= 120, (file.name, line)


def keys_of(section, prefix=""):
    for name, field in section.model_fields.items():
        inner = field.annotation
        key = f"{prefix}{field.alias or name}"
        candidates = [inner, *getattr(inner, "__args__", ())]
        sections = [one for one in candidates if hasattr(one, "model_fields")]
        if name in ("keys", "units", "loss"):
            yield from keys_of(sections[0], f"{key}.")
        else:
            yield key


def test_mydata_has_every_key_of_a_force_field_with_its_default():
    """What is commented out is put in force: nothing may change, or the comment says another default."""
    from irrepnet.train.model_section import SECTIONS

    text = (FOLDER / "mydata.yaml").read_text()
    everything = re.sub(r"^( +)# ([a-z_0-9]+: )", r"\1\2", text, flags=re.MULTILINE)
    tree = yaml.safe_load(everything)
    plain = yaml.safe_load(text)
    sections = {name: field.annotation for name, field in RunConfig.model_fields.items() if name != "model"}
    for section, kind in {**sections, "model": SECTIONS["force_field"]}.items():
        for key in keys_of(kind):
            node = tree[section]
            for part in key.split("."):
                assert part in node, f"{section}.{key} is not explained"
                node = node[part]
    # Names of keys that are set have to be in the file, so these alone differ.
    one, other = (RunConfig.model_validate(each) for each in (tree, plain))
    assert one == other


@pytest.mark.parametrize("name", ["water", "finetune"])
def test_a_force_field_for_shipped_water_trains_two_steps(tmp_path, name):
    data = ["data.train=package:water_xtb/heldout.npz", "data.valid=null"]  # fewer frames
    start = []
    if name == "finetune":
        start = [f"training.start_from={models.force_field(tmp_path / 'a.model')}"]
    assert init(name, "--out", tmp_path / "a.yaml", *options([*data, *start])) == 0
    result = trained(tmp_path / "a.yaml", [] if start else SMALL)
    assert result.progress.step == 2
    assert result.run.best.exists()


@pytest.mark.parametrize("periodic", [False, True])
def test_mydata_trains_two_steps_on_structures_of_ones_own(tmp_path, periodic):
    frames = models.open_frames(8)
    if periodic:
        frames = [replace(frame, cell=(8.0 + place) * np.eye(3), pbc=True) for place, frame in enumerate(frames)]
    write_frames(frames, tmp_path / "mydata.extxyz")
    assert init("mydata", "--out", tmp_path / "mydata.yaml") == 0
    assert trained(tmp_path / "mydata.yaml", SMALL).progress.step == 2


@pytest.mark.skipif(not SHARED.exists(), reason=f"the data sets are not in {SHARED}")
@pytest.mark.parametrize(
    ("name", "copy", "column", "changes"),
    [
        ("md17", "rmd17/rmd17_ethanol_train_01.npz", "old_index", ["data.test=null"]),
        ("tensor", "water_tensors_tensoap/dimer_dev.npz", "frame", []),
        ("qm9", "qm9/qm9_full15_dev.npz", "gdb_id", ["data.train=set:qm9", "data.valid=null", "data.test=null"]),
    ],
)
def test_registered_sets_train_two_steps(tmp_path, name, copy, column, changes):
    with np.load(SHARED / copy) as arrays:
        write_ids(tmp_path / "some.ids", map(str, arrays[column][100:160]))  # of the re-packed copy
    where = [f"data.data_dir={SHARED}", f"data.train_ids={tmp_path / 'some.ids'}", *changes]
    assert init(name, "--out", tmp_path / "a.yaml", *options(where)) == 0
    result = trained(tmp_path / "a.yaml", SMALL)
    assert result.progress.step == 2
    assert len(result.splits.train) + len(result.splits.valid) == 60


def test_changes_are_in_the_file_and_comments_stay(tmp_path):
    out = tmp_path / "a.yaml"
    assert init("water", "--out", out, *options(["training.steps=7", "model.cutoff=3.5", "md.enabled=false"])) == 0
    config = load_config(out)
    assert (config.training.steps, config.training.minutes) == (7, None)
    assert (config.model.cutoff, config.md.enabled) == (3.5, False)
    assert "  cutoff: 3.5                         # Å" in out.read_text()


def test_paths_are_relative_to_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("configs")
    changes = ["data.train=frames/a.xyz", "data.valid=/data/b.xyz", "data.test=set:water_dft/valid"]
    assert init("mydata", "--out", "configs/a.yaml", *options(changes)) == 0
    text = Path("configs/a.yaml").read_text()
    for line in ("train: ../frames/a.xyz", "valid: /data/b.xyz", "test: set:water_dft/valid"):
        assert line in text
    assert load_config("configs/a.yaml").data.train == str(tmp_path / "configs/../frames/a.xyz")


def test_a_file_that_is_there_is_kept(tmp_path, capsys):
    out = tmp_path / "water.yaml"
    out.write_text("mine")
    assert init("water", "--out", out) == 2
    assert f"{out}: needed a new file; found one there" in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_without_a_name_the_templates_are_listed(capsys):
    assert init() == 0
    assert len(capsys.readouterr().out.splitlines()) == len(TEMPLATES)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["watr"], "found 'watr'. Did you mean 'water'?"),
        (["water", "--out", "nowhere/a.yaml"], "needed a folder to write into; found no nowhere; create it"),
        (["water", "--out", "."], "needed a new file"),
        (
            ["water", "--set", "training.lerning_rate=1"],
            "--set: training.lerning_rate is not a known key. Did you mean",
        ),
        (["water", "--set", "model.cutoff=-1"], "--set: model.cutoff: input should be greater than 0; found -1"),
        (["water", "--set", "training.lr=-1"], "--set: training.lr: input should be greater than 0; found -1"),
        (["water", "--set", "training.batch_size=0"], "training.batch_size: input should be greater than 0; found 0"),
        (["water", "--set", "model.lmax=-1"], "model.lmax: input should be greater than or equal to 0; found -1"),
        (["water", "--set", "model.irreps_hidden=16x"], "model.irreps_hidden"),
        (["water", "--set", "training.lr.x=1"], "training.lr is a value, not a section"),
        (["water", "--set", "lr"], "--set needs section.key=value; found 'lr'"),
        (["water", "--set", "data.train=!!python/name:os.system"], "--set data.train needs a YAML value"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert init(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert list(tmp_path.iterdir()) == []
