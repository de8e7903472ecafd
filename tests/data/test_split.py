import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irrepnet.data import Frame, read_ids, select_groups, select_ids, split_by_group, write_ids
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


NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8).filter(lambda t: t[0] != "#")


@given(names=st.lists(NAMES, unique=True, min_size=1, max_size=20))
def test_ids_come_back_as_written(names, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "ids.txt"
    write_ids(path, names, comment="one\ntwo")
    assert read_ids(path) == names


def test_files_of_ids_that_are_wrong(tmp_path):
    path = tmp_path / "ids.txt"
    with pytest.raises(DataError, match=r"ids.txt: needed a text file of ids, one per line; found it unreadable"):
        read_ids(path)
    for text, match in {
        "a\nb\n\na\n": "needed each id once; found 'a' in lines 1 and 4",
        "# only this\n\n": "needed ids, one per line; found none",
    }.items():
        path.write_text(text)
        with pytest.raises(DataError, match=match):
            read_ids(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="found it unreadable"):
        read_ids(path)
    for names, match in {
        ("a", "a"): "found 'a' twice",
        ("a b", "c\nd"): r"found 'c\\nd'",
        ("a #b",): "found 'a #b'",
    }.items():
        with pytest.raises(DataError, match=match):
            write_ids(path, names)
    assert path.read_bytes() == b"\xff\xfe\x00"


def test_select_ids():
    data = [Frame(species=[1], pos=[[0, 0, 0]], id=name, source=f"f {name}") for name in ("gdb_1", "gdb_2", "gdb_3")]
    assert [frame.id for frame in select_ids(data, ["gdb_3", "gdb_1"])] == ["gdb_3", "gdb_1"]
    assert [frame.source for frame in select_ids(frames("abc"), ["2", "0"])] == ["f 2", "f 0"]
    for ids, match in {
        (
            "gdb_1",
            "gbd_2",
            "x",
        ): r"needed id 'gbd_2' and 1 more; found 'gdb_1' to 'gdb_3'\. Did you mean 'gdb_2'\? Check keys",
        ("gdb_1", "gdb_2", "gdb_1"): "needed each id once; found 'gdb_1' twice",
    }.items():
        with pytest.raises(DataError, match=match):
            select_ids(data, ids)
    with pytest.raises(DataError, match="needed one frame of id 'gdb_2'; found f gdb_2 and f gdb_2"):
        select_ids([*data, data[1]], ["gdb_2"])
    assert len(select_ids([*data, data[1]], ["gdb_1"])) == 1
    with pytest.raises(DataError, match="found no frames"):
        select_ids([], ["a"])


def test_a_mark_of_the_byte_order_is_no_id(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_bytes(b"\xef\xbb\xbf7\n8\n")
    assert read_ids(path) == ["7", "8"]


def test_many_groups_are_selected_quickly():
    names = [f"g{number}" for number in range(20_000)]
    frames = [Frame(species=[1], pos=[[0, 0, 0]], group=name) for name in names]
    start = time.perf_counter()
    assert len(select_groups(frames, names[::2])) == 10_000
    assert time.perf_counter() - start < 3  # comparing each with each takes a minute
    with pytest.raises(DataError, match=r"needed group 'h'; found g0, g1, .* and 19980 more"):
        select_groups(frames, ["h"])
