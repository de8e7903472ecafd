import pytest

from irrepnet.data import Frame, select_groups, split_by_group
from irrepnet.errors import DataError


def frames(groups):
    return [Frame(species=[1], pos=[[i, 0, 0]], group=group, source=f"f {i}") for i, group in enumerate(groups)]


def test_no_group_is_in_two_parts_and_no_frame_is_lost():
    data = frames("aaabbbbccdddddeefffffffg" * 3)
    for seed in range(5):
        parts = split_by_group(data, [0.6, 0.2, 0.2], seed)
        groups = [{frame.group for frame in part} for part in parts]
        assert not (groups[0] & groups[1] or groups[1] & groups[2] or groups[0] & groups[2])
        assert all(groups)
        assert sorted(frame.source for part in parts for frame in part) == sorted(frame.source for frame in data)


def test_fractions_are_met_where_groups_are_small():
    data = frames([str(i // 5) for i in range(500)])
    assert [len(part) for part in split_by_group(data, [0.8, 0.2], seed=1)] == [400, 100]


def test_a_seed_is_a_split():
    data = frames([str(i // 3) for i in range(60)])
    names = [{f.source for f in split_by_group(data, [0.5, 0.5], seed)[0]} for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]


def test_every_part_gets_a_group_however_uneven():
    assert [len(part) for part in split_by_group(frames("aaaaaaaaab"), [0.9, 0.1], seed=0)] in ([9, 1], [1, 9])
    assert all(split_by_group(frames("abc"), [0.98, 0.01, 0.01], seed=0))


@pytest.mark.parametrize(
    ("groups", "fractions", "match"),
    [
        ([None, "a"], [0.5, 0.5], "f 0: split_by_group needs the group of every frame; found None; set keys.group"),
        (["a", "a"], [0.5, 0.5], "at least 2 groups; found 1"),
        (["a", "b"], [0.5, 0.6], r"add up to 1; found \[0.5, 0.6\]"),
        (["a", "b"], [1.5, -0.5], "fractions above 0"),
        ([], [0.5, 0.5], "at least 2 groups; found 0"),
    ],
)
def test_bad_splits_are_named(groups, fractions, match):
    with pytest.raises(DataError, match=match):
        split_by_group(frames(groups), fractions, seed=0)


def test_select_groups():
    data = frames("abcab")
    assert [frame.source for frame in select_groups(data, ["a", "c"])] == ["f 0", "f 2", "f 3"]
    with pytest.raises(DataError, match=r"needed group 'data_9'; found data_0, data_1\. Did you mean 'data_"):
        select_groups(frames(["data_0", "data_1"]), ["data_9"])
    with pytest.raises(DataError, match="needed group 'a'; found no groups; set keys"):
        select_groups(frames([None]), ["a"])
