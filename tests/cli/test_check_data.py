import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli import models
from train import toy

from irrepnet.cli import data_summary, main
from irrepnet.data import oddity

SHIPPED = "package:water_xtb/heldout.npz"


def check(*arguments):
    return main(["check-data", *map(str, arguments)])


def test_shipped_water_is_clean_and_described_with_units(capsys, tmp_path):
    assert check(SHIPPED, "--strict", "--html", tmp_path / "data.html") == 0
    out = capsys.readouterr().out
    for words in (
        "30 frames of 192 atoms",
        "H128O64                              30 frames",
        "labels: energy in 30, forces in 30 of 30 frames",
        "not there: stress",
        "names in the file:",
        "30 frames with 3 periods",
        "volume  1915.9 Å^3",
        "0.99931 g/cm^3",
        "nothing odd was found",
    ):
        assert words in out
    (energy,) = [line for line in out.splitlines() if line.startswith("  energy  ")]
    assert energy.endswith("eV/atom")
    assert "-52.4184" in energy
    (pair,) = [line for line in out.splitlines() if line.startswith("  O-H  ")]
    assert pair.endswith("Å")
    assert "nothing odd was found" in (tmp_path / "data.html").read_text()


def test_open_structures_of_several_sizes(tmp_path, capsys):
    assert check(models.written(models.mixed_frames(), tmp_path / "a.h5")) == 0
    out = capsys.readouterr().out
    assert "6 frames of 3 to 5 atoms" in out
    assert "3 frames with 3 periods" in out
    assert "3 open frames" in out
    assert "labels: none of 6 frames" in out


def test_copies_are_found_and_strict_makes_them_an_error(tmp_path, capsys):
    columns = toy.arrays(6)
    for name in ("pos", "energy", "forces"):
        columns[name][5] = columns[name][2]
    data = toy.write_frames(tmp_path / "a.npz", 6, **columns)
    assert check(data) == 0
    assert check(data, "--strict") == 1
    out = capsys.readouterr().out
    assert f"{data} frame 2 and {data} frame 5 are the same structure" in out
    assert "copies: leave them out" in out


def test_forces_of_another_unit_or_sign_are_found(tmp_path, capsys):
    columns = toy.arrays(40)
    data = toy.write_frames(tmp_path / "a.npz", 40, forces=-columns["forces"])
    assert check(data, "--strict") == 1
    assert "the sign is that of gradients" in capsys.readouterr().out


def test_frames_that_training_has_seen_are_found(tmp_path, capsys):
    columns = toy.arrays(6)
    train = toy.write_frames(tmp_path / "train.npz", 6, without=("group",))
    turned = columns["pos"][:2] @ np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]) + 3.0
    test = toy.write_frames(tmp_path / "test.npz", 2, without=("group", "forces"), pos=turned)
    assert check(test, "--against", train, "--strict") == 1
    out = capsys.readouterr().out
    assert "2 of 2 held-back frames are also in training" in out
    assert "seen in training" in out
    fresh = toy.write_frames(tmp_path / "fresh.npz", 3, seed=9, without=("group",))
    assert check(fresh, "--against", train, "--strict") == 0


def test_many_findings_of_a_kind_are_counted(tmp_path, capsys):
    columns = toy.arrays(10)
    columns["pos"][:] = columns["pos"][0]
    data = toy.write_frames(tmp_path / "a.npz", 10, **columns)
    assert check(data, "--strict") == 1
    assert "and 4 more like these" in capsys.readouterr().out


def test_every_kind_of_finding_has_advice():
    """Kinds are written where findings are made: each needs a line on what to do."""
    text = "".join(file.read_text() for file in Path(oddity.__file__).parent.glob("*.py"))
    kinds = {*re.findall(r'Oddity\(\s*"(\w+)"', text), "energy_force_ratio", "stress_sign", "stress_unit"}
    assert {"duplicate", "energy_outlier", "length_unit"} <= kinds
    assert kinds - data_summary._ADVICE.keys() == set()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"energy": np.array([1.0, np.nan, np.nan, 2.0])}, "frame 1: energy needs finite numbers"),
        ({"energy": np.array([1.0, np.nan, np.nan, 2.0])}, "(and 1 more of 4 frames cannot be used)"),
        ({"forces": np.full((4, 4, 3), np.inf)}, "(and 3 more of 4 frames cannot be used)"),
        ({"species": [8, 1, 1, 200]}, "found 200 (no element) at atom 3"),
        ({"pos": np.zeros((4, 4, 3))}, "atoms need to be 0.35 Å apart"),
        ({"forces": np.zeros((4, 3, 3))}, "needs 4 atoms in each frame"),
        ({"energy_unit": "kcal"}, "energy unit: needed one of eV, meV"),
        ({"without": ("energy_unit",)}, "needed the units of energy; found none in the file"),
        ({"without": ("pos",)}, "needed key 'pos'"),
        ({"without": ("forces",), "force": np.zeros((4, 4, 3))}, "If 'force' is meant, set keys.forces"),
    ],
)
def test_data_that_cannot_be_used_are_one_line_and_exit_code_2(tmp_path, capsys, changes, words):
    data = toy.write_frames(tmp_path / "a.npz", 4, **changes)
    assert check(data, "--html", tmp_path / "a.html") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "a.npz" in line
    assert words in line
    assert not (tmp_path / "a.html").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.npz"], "nowhere.npz: needed a file; found nothing there"),
        (["set:qm8"], "found 'qm8'. Did you mean 'qm9'?"),
        (["package:water_xtb/trian.npz"], "Did you mean 'package:water_xtb/train.npz'?"),
        ([SHIPPED, "--html", "."], "--html needs a file to write; found a folder"),
        ([SHIPPED, "--html", "nowhere/a.html"], "--html needs a file to write; found no folder nowhere"),
        ([SHIPPED, "--set", "training.lr=1"], "check-data knows the data section only"),
        ([SHIPPED, "--set", "data.units.enrgy=eV"], "enrgy is not a known key. Did you mean 'energy'?"),
        ([SHIPPED, "--set", "data.train_groups=[x]"], "needed group 'x'"),
        ([SHIPPED, "--against", "nowhere.npz"], "nowhere.npz: needed a file"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(capsys, arguments, words):
    assert check(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_labels_that_some_frames_lack_are_listed_and_refused(tmp_path, capsys):
    frames = models.open_frames(6)
    for place, label in ((1, "forces"), (4, "forces"), (5, "energy")):
        frames[place] = replace(frames[place], **{label: None})
    frames.append(type(frames[0])(species=[1], pos=[[0, 0, 0]], energy=-13.6))  # an isolated atom needs no forces
    assert check(models.written(frames, tmp_path / "a.h5")) == 2
    out, err = capsys.readouterr()
    assert "2 of 7 frames lack forces (" in err and "frame 4): leave them out, or train with" in err
    assert "1 of 7 frames lack energy (" in err and "training.loss.energy: 0" in err
    assert "2 of 7 frames lack forces (" in out  # with the other findings
    assert check(models.written([replace(frame, forces=None) for frame in frames[:4]], tmp_path / "b.h5")) == 0


def test_frames_without_labels_are_a_finding(tmp_path, capsys):
    frames = [replace(frame, energy=None, forces=None) for frame in models.open_frames(3)]
    assert check(models.written(frames, tmp_path / "a.h5"), "--strict") == 1
    assert "none of 3 frames has an energy, forces or a property" in capsys.readouterr().out


def test_the_page_does_not_replace_the_data(tmp_path, capsys):
    data = toy.write_frames(tmp_path / "a.npz", 4)
    other = toy.write_frames(tmp_path / "b.npz", 4)
    before = Path(data).read_bytes()
    for page in (data, other):
        assert check(data, "--against", other, "--html", page) == 2
        assert "--html needs a file to write; found the file that is read" in capsys.readouterr().err
    assert Path(data).read_bytes() == before


def test_an_empty_file_is_refused(tmp_path, capsys):
    (tmp_path / "a.extxyz").touch()
    assert check(tmp_path / "a.extxyz") == 2
    assert "needed at least one frame; found none" in capsys.readouterr().err


def test_properties_of_a_registered_set_have_their_units(tmp_path, capsys, monkeypatch):
    from irrepnet.data.sets import registry

    frames = [
        type(frame)(species=frame.species, pos=frame.pos, properties={"mu": [0.0, 1.0, float(place)]})
        for place, frame in enumerate(models.open_frames(3))
    ]
    monkeypatch.setattr(registry, "read_set", lambda name, data_dir: frames)
    assert check("set:water_tensors/monomer") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  mu ")]
    assert line.endswith("e a0")
    data = models.written(frames, tmp_path / "a.h5")
    assert check(data) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  mu ")]
    assert line.endswith("of the file")
