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
    assert len(splits.findings) == 4
    assert "is to be held back, but is also learned from" in splits.findings[0]
