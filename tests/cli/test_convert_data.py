import numpy as np
import pytest
from cli import models
from train import toy

from irrepnet.cli import main
from irrepnet.data import Keys, Units, read_frames, select_ids
from irrepnet.data.split import read_ids


def convert(*arguments):
    return main(["convert-data", *map(str, arguments)])


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".extxyz"])
def test_numbers_names_and_units_arrive(tmp_path, capsys, suffix):
    columns, kcal = toy.arrays(6), Units(energy="kcal/mol").to_ev
    data = toy.write_frames(
        tmp_path / "in.npz",
        6,
        without=("energy_unit", "length_unit"),
        energy=columns["energy"] / kcal,
        forces=columns["forces"] / kcal,
        name=np.array([f"m{i}" for i in range(6)]),
        dip=np.arange(18.0).reshape(6, 3),
    )
    reading = ["data.units.energy=kcal/mol", "data.keys.id=name", "data.keys.properties={mu: dip}"]
    options = [part for text in reading for part in ("--set", text)]
    assert convert(data, tmp_path / f"out{suffix}", *options) == 0
    found = read_frames(tmp_path / f"out{suffix}", keys=Keys(properties={"mu": "mu"}))
    for place, frame in enumerate(found):
        assert frame.energy == pytest.approx(columns["energy"][place], rel=1e-12)
        np.testing.assert_allclose(frame.forces, columns["forces"][place], atol=1e-8)
        assert (frame.id, frame.group) == (f"m{place}", f"run {place // 4}")
        assert frame.properties["mu"].tolist() == [3.0 * place, 3.0 * place + 1, 3.0 * place + 2]
    out = capsys.readouterr().out
    assert "labels: energy, forces, mu" in out
    assert ("data.keys.properties={mu: mu}" in out) == (suffix != ".h5")


def test_whole_groups_are_split_and_the_lists_select_their_frames(tmp_path, capsys):
    data = toy.write_frames(tmp_path / "in.npz", 20)
    assert convert(data, tmp_path / "out.h5", "--split", "0.6,0.2,0.2", "--seed", "3") == 0
    frames = read_frames(tmp_path / "out.h5")
    parts = [select_ids(frames, read_ids(tmp_path / f"out_{part}.ids")) for part in ("train", "valid", "test")]
    groups = [{frame.group for frame in part} for part in parts]
    assert [len(part) for part in parts] == [12, 4, 4]
    assert sum(map(len, groups)) == 5
    out = capsys.readouterr().out
    assert "split by groups, seed 3" in out
    assert f"data.valid_ids: {tmp_path / 'out_valid.ids'}" in out


def test_a_training_takes_the_lists(tmp_path):
    from irrepnet.train import RunConfig
    from irrepnet.train.splits import load_splits

    data = toy.write_frames(tmp_path / "in.npz", 20)
    assert convert(data, tmp_path / "out.h5", "--split", "0.6,0.2,0.2") == 0
    tree = toy.tree(tmp_path)
    ids = {f"{part}_ids": str(tmp_path / f"out_{part}.ids") for part in ("train", "valid", "test")}
    splits = load_splits(RunConfig.model_validate(tree | {"data": {"train": str(tmp_path / "out.h5"), **ids}}))
    assert (len(splits.train), len(splits.valid), len(splits.test)) == (12, 4, 4)


def test_frames_without_groups_are_split_one_by_one(tmp_path, capsys):
    data = models.written(models.open_frames(10), tmp_path / "in.npz")
    for seed in (0, 0, 1):
        assert convert(data, tmp_path / f"out{seed}.npz", "--split", "0.8,0.2", "--seed", seed) == 0
    first, other = (read_ids(tmp_path / f"out{seed}_valid.ids") for seed in (0, 1))
    assert len(first) == len(other) == 2
    assert first != other
    assert not (tmp_path / "out0_test.ids").exists()
    assert "split by frames" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["out.npy"], "needed a name that ends in .npz"),
        (["in.npz"], "found the file that is read, which it would replace"),
        (["nowhere/a.npz"], "OUT needs a file to write; found no folder nowhere"),
        (["a.npz", "--split", "0.5"], "--split needs two or three shares above 0 that add up to 1; found '0.5'"),
        (["a.npz", "--split", "0.5,0.6"], "found '0.5,0.6'"),
        (["a.npz", "--split", "1.2,-0.2"], "found '1.2,-0.2'"),
        (["a.npz", "--split", "a,b"], "found 'a,b'"),
        (["a.npz", "--split", "nan,0.5"], "found 'nan,0.5'"),
        (["a.npz", "--split", "0.5,0.3,0.2"], "--split needs at least 3 frames; found 2"),
        (["a.npz", "--set", "training.lr=1"], "convert-data knows the data section only"),
        (["a.npz", "--set", "data.keys.id=x"], "needed key 'x'"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    models.written(models.open_frames(2), "in.npz")
    assert convert("in.npz", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert [path.name for path in tmp_path.iterdir()] == ["in.npz"]


def test_ids_that_are_there_twice_cannot_be_split(tmp_path, capsys):
    data = toy.write_frames(tmp_path / "in.npz", 4, id=np.array(["a", "b", "a", "c"]))
    assert convert(data, tmp_path / "out.h5", "--split", "0.5,0.5") == 2
    assert "found 'a' twice" in capsys.readouterr().err
    assert not (tmp_path / "out.h5").exists()
