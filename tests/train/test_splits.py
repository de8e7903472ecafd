import numpy as np
import pytest
from train import toy

from irrepnet.data import Frame
from irrepnet.errors import ConfigError, DataError
from irrepnet.train import RunConfig, load_splits
from irrepnet.train.config import DataConfig
from irrepnet.train.splits import split_frames


def frames(groups):
    return [Frame(species=[1], pos=[[float(i), 0, 0]], group=group, source=f"f{i}") for i, group in enumerate(groups)]


def names(part):
    return [frame.source for frame in part]


def test_a_fraction_holds_back_whole_groups():
    train, valid = split_frames(frames("aabbccddee"), DataConfig(train="-", valid_fraction=0.2), seed=1)
    assert len(valid) == 2
    assert {f.group for f in valid} & {f.group for f in train} == set()
    again = split_frames(frames("aabbccddee"), DataConfig(train="-", valid_fraction=0.2), seed=1)
    assert names(again[1]) == names(valid)


def test_a_fraction_of_frames_without_groups_is_drawn_by_seed():
    data = DataConfig(train="-", valid_fraction=0.25)
    draws = [split_frames(frames([None] * 20), data, seed=seed) for seed in range(3)]
    assert all(len(valid) == 5 and not set(names(train)) & set(names(valid)) for train, valid in draws)
    assert len({tuple(names(valid)) for _, valid in draws}) > 1


def test_named_groups():
    train, valid = split_frames(frames("abcabc"), DataConfig(train="-", valid_groups=("b",)), seed=0)
    assert (names(train), names(valid)) == (["f0", "f2", "f3", "f5"], ["f1", "f4"])
    train, valid = split_frames(frames("abcabc"), DataConfig(train="-", train_groups=("a",)), seed=0)
    assert (names(train), names(valid)) == (["f0", "f3"], ["f1", "f2", "f4", "f5"])
    data = DataConfig(train="-", train_groups=("a",), valid_groups=("c",))
    train, valid = split_frames(frames("abcabc"), data, seed=0)
    assert (names(train), names(valid)) == (["f0", "f3"], ["f2", "f5"])


def test_groups_that_do_not_exist_or_overlap_are_refused():
    with pytest.raises(DataError, match=r"needed group 'z'; found a, b"):
        split_frames(frames("ab"), DataConfig(train="-", valid_groups=("z",)), seed=0)
    with pytest.raises(ConfigError, match=r"need to be apart; found 'a' in both"):
        split_frames(frames("ab"), DataConfig(train="-", train_groups=("a",), valid_groups=("a", "b")), seed=0)


def test_an_empty_part_is_refused():
    with pytest.raises(DataError, match=r"at least one frame each; found 0 and 2 out of 2"):
        split_frames(frames("aa"), DataConfig(train="-", valid_groups=("a",)), seed=0)
    with pytest.raises(DataError, match=r"found 0 and 1 out of 1"):
        split_frames(frames("a"), DataConfig(train="-"), seed=0)


def load(tmp_path, data, **training):
    settings = {"data": data, "training": {"steps": 1, **training}}
    return load_splits(RunConfig.model_validate(settings))


def test_files_for_validation_and_test(tmp_path):
    files = [toy.write_frames(tmp_path / f"{i}.npz", num_frames=4 + i, seed=i) for i in range(3)]
    splits = load(tmp_path, {"train": files[0], "valid": files[1], "test": files[2]})
    assert [len(part) for part in (splits.train, splits.valid, splits.test)] == [4, 5, 6]


def test_without_a_test_file_the_validation_frames_are_tested(tmp_path):
    splits = load(tmp_path, {"train": toy.write_frames(tmp_path / "a.npz"), "valid_fraction": 0.25})
    assert splits.test is splits.valid


def test_a_missing_label_is_named_and_only_asked_for_where_it_has_a_weight(tmp_path):
    file = toy.write_frames(tmp_path / "a.npz", without=("forces",))
    with pytest.raises(DataError, match=r"a\.npz frame 0: needed forces; found .*energy"):
        load(tmp_path, {"train": file})
    assert load(tmp_path, {"train": file}, loss={"forces": 0.0}).train[0].forces is None
    with pytest.raises(DataError, match=r"needed stress"):
        load(tmp_path, {"train": file}, loss={"forces": 0.0, "stress": 1.0})


def test_an_element_that_was_not_learned_is_named(tmp_path):
    data = {
        "train": toy.write_frames(tmp_path / "a.npz"),
        "valid": toy.write_frames(tmp_path / "b.npz", seed=1, species=[8, 1, 1, 6]),
    }
    with pytest.raises(DataError, match=r"b\.npz frame 0: species needs .*; found 6 \(C\)"):
        load(tmp_path, data)


def test_a_leak_from_training_to_validation_is_a_finding(tmp_path):
    file = toy.write_frames(tmp_path / "a.npz", num_frames=4)
    splits = load(tmp_path, {"train": file, "valid": file})
    assert any("4 of 4 held-back frames are also in training" in finding for finding in splits.findings)


def ids(tmp_path, name, *places):
    (tmp_path / name).write_text("# chosen\n" + "\n".join(map(str, places)) + "\n")
    return str(tmp_path / name)


def places(part):
    return [int(frame.source.split()[-1]) for frame in part]


def test_ids_choose_the_parts_of_one_file(tmp_path):
    data = {
        "train": toy.write_frames(tmp_path / "a.npz", num_frames=10),
        "train_ids": ids(tmp_path, "train.txt", 7, 1, 3),
        "valid_ids": ids(tmp_path, "valid.txt", 2),
        "test_ids": ids(tmp_path, "test.txt", 9, 0),
    }
    splits = load(tmp_path, data)
    assert [places(part) for part in (splits.train, splits.valid, splits.test)] == [[7, 1, 3], [2], [9, 0]]
    del data["train_ids"]
    assert places(load(tmp_path, data).train) == [1, 3, 4, 5, 6, 7, 8]
    del data["valid_ids"]
    splits = load(tmp_path, {**data, "valid_fraction": 0.25})
    assert sorted(places(splits.train) + places(splits.valid)) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert places(splits.test) == [9, 0]


def test_ids_choose_within_the_file_of_their_part(tmp_path):
    files = [toy.write_frames(tmp_path / f"{i}.npz", num_frames=6, seed=i) for i in range(3)]
    splits = load(
        tmp_path,
        {
            "train": files[0], "train_ids": ids(tmp_path, "t", 5, 0), "valid": files[1],
            "valid_ids": ids(tmp_path, "v", 4), "test": files[2], "test_ids": ids(tmp_path, "s", 3, 2),
        },
    )  # fmt: skip
    assert [places(part) for part in (splits.train, splits.valid, splits.test)] == [[5, 0], [4], [3, 2]]


def test_named_ids_are_found_by_name(tmp_path):
    file = toy.write_frames(tmp_path / "a.npz", num_frames=4, id=np.array(["ax", "bx", "cx", "dx"]))
    splits = load(tmp_path, {"train": file, "valid_ids": ids(tmp_path, "v", "cx", "ax")})
    assert (places(splits.valid), places(splits.train)) == ([2, 0], [1, 3])


def test_ids_that_overlap_or_do_not_exist_are_refused(tmp_path):
    file = toy.write_frames(tmp_path / "a.npz", num_frames=6)
    data = {"train": file, "train_ids": ids(tmp_path, "t", 0, 4), "test_ids": ids(tmp_path, "s", 4, 5)}
    with pytest.raises(ConfigError, match=r"data.train_ids and data.test_ids need to be apart; found '4' in both"):
        load(tmp_path, data)
    with pytest.raises(DataError, match=r"t: needed ids of one frame each; found '77', which no frame has"):
        load(tmp_path, {"train": file, "train_ids": ids(tmp_path, "t", 0, 77)})
    twice = toy.write_frames(tmp_path / "b.npz", num_frames=3, id=np.array(["a", "b", "a"]))
    with pytest.raises(DataError, match=r"found 'a', which 2 frames have"):
        load(tmp_path, {"train": twice, "train_ids": ids(tmp_path, "t", "a")})


def test_every_stage_of_the_loss_says_what_is_needed(tmp_path):
    file = toy.write_frames(tmp_path / "a.npz", without=("forces",))
    stages = [{"from": 0.5, "forces": 1.0}]
    with pytest.raises(DataError, match=r"needed forces"):
        load(tmp_path, {"train": file}, loss={"forces": 0.0}, loss_schedule=stages)


def write_with_atoms(path):
    """Twelve frames of four atoms, a free oxygen and a free hydrogen, in one file."""
    columns = toy.arrays(12)
    np.savez(
        path,
        ptr=np.array([0, *range(4, 49, 4), 49, 50]),
        pos=np.concatenate([columns["pos"].reshape(-1, 3), np.zeros((2, 3))]),
        species=np.concatenate([np.tile(toy.SPECIES, 12), [8, 1]]),
        energy=np.concatenate([columns["energy"], [-90.0, -95.0]]),
        forces=np.concatenate([columns["forces"].reshape(-1, 3), np.zeros((2, 3))]),
        energy_unit="eV",
        length_unit="angstrom",
    )
    return str(path)


def test_frames_of_one_atom_are_the_shifts_and_not_learned_from(tmp_path):
    file = write_with_atoms(tmp_path / "a.npz")
    splits = load(tmp_path, {"train": file})
    assert splits.isolated == {8: -90.0, 1: -95.0}
    assert {len(frame) for part in (splits.train, splits.valid) for frame in part} == {4}
    said = load(tmp_path, {"train": file, "isolated_atoms": {"O": -80.0}})
    assert said.isolated == {8: -80.0}
    assert len(said.train) + len(said.valid) == 14


def test_a_set_of_free_atoms_alone_stays_whole(tmp_path):
    atoms = {"pos": np.zeros((3, 1, 3)), "species": [8], "forces": np.zeros((3, 1, 3)), "energy": np.full(3, -1.0)}
    file = toy.write_frames(tmp_path / "a.npz", num_frames=3, **atoms)
    splits = load(tmp_path, {"train": file})
    assert (len(splits.train), splits.isolated) == (2, {})


def test_ids_are_those_of_the_file_where_it_holds_free_atoms_too(tmp_path):
    columns = toy.arrays(4)
    np.savez(
        tmp_path / "a.npz",
        ptr=np.array([0, 1, 2, 6, 10, 14, 18]),
        pos=np.concatenate([np.zeros((2, 3)), columns["pos"].reshape(-1, 3)]),
        species=np.concatenate([[8, 1], np.tile(toy.SPECIES, 4)]),
        energy=np.concatenate([[-90.0, -95.0], columns["energy"]]),
        forces=np.concatenate([np.zeros((2, 3)), columns["forces"].reshape(-1, 3)]),
        energy_unit="eV",
        length_unit="angstrom",
    )
    data = {
        "train": str(tmp_path / "a.npz"), "train_ids": ids(tmp_path, "t", 0, 3, 2), "valid_ids": ids(tmp_path, "v", 4),
        "test_ids": ids(tmp_path, "s", 5),
    }  # fmt: skip
    splits = load(tmp_path, data)
    assert [places(part) for part in (splits.train, splits.valid, splits.test)] == [[3, 2], [4], [5]]
    assert splits.isolated == {8: -90.0, 1: -95.0}
    with pytest.raises(DataError, match=r"at least one frame each; found 3 and 0 out of 6"):
        load(tmp_path, {**data, "train_ids": ids(tmp_path, "t", 2, 3, 4), "valid_ids": ids(tmp_path, "v", 1)})


def test_groups_to_learn_from_hold_beside_ids_to_validate_on(tmp_path):
    data = {"train": toy.write_frames(tmp_path / "a.npz", num_frames=12), "valid_ids": ids(tmp_path, "v", 1, 9)}
    assert places(load(tmp_path, {**data, "train_groups": ["run 0"]}).train) == [0, 2, 3]
    with pytest.raises(DataError, match=r"needed group 'run 7'; found run 0, run 1, run 2"):
        load(tmp_path, {**data, "train_groups": ["run 7"]})


def test_leaks_come_before_all_other_findings(tmp_path):
    file = toy.write_frames(tmp_path / "a.npz", num_frames=4)
    double = {name: np.concatenate([column] * 2) for name, column in toy.arrays(4).items() if np.ndim(column) > 1}
    twice = toy.write_frames(
        tmp_path / "b.npz",
        num_frames=8,
        **double,
        energy=np.tile(toy.arrays(4)["energy"], 2),
        group=np.array(["x"] * 8),
    )
    first, *others = load(tmp_path, {"train": twice, "valid": file}).findings
    assert "held-back frames are also in training" in first
    assert others


def test_groups_that_hold_back_far_more_than_was_asked_are_told(tmp_path):
    groups = np.array(["long"] * 8 + ["short"] * 12)
    tree = toy.tree(tmp_path, steps=1)
    config = RunConfig.model_validate({**tree, "data": {"train": tree["data"]["train"]}})
    toy.write_frames(tmp_path / "frames.npz", 20, group=groups)
    (words,) = [words for words in load_splits(config).findings if "valid_fraction" in words]
    assert "of 20 frames are held back, where valid_fraction 0.1 asks for 2: groups stay together" in words
    toy.write_frames(tmp_path / "frames.npz", 20, group=np.array([f"run {i}" for i in range(20)]))
    assert not [words for words in load_splits(config).findings if "valid_fraction" in words]
