import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irrepnet.data.extxyz_text import comment_entries, one_text, scan_frames
from irrepnet.errors import DataError


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("a=1 b = 2  c= 3", {"a": "1", "b": "2", "c": "3"}),
        ("relaxed a='x y' b={1 2} c=[3, 4]", {"relaxed": "T", "a": "x y", "b": "1 2", "c": "3, 4"}),
        (r'a="say \"no\"" b=x=y', {"a": 'say "no"', "b": "x=y"}),
        ('"two words"=1', {"two words": "1"}),
        ("", {}),
        ("a='{' b={'} c=[\"]", {"a": "{", "b": "'", "c": '"'}),
    ],
)
def test_entries_of_a_comment_line(line, wanted):
    assert comment_entries(line, "a.xyz frame 0") == wanted


@given(st.text(alphabet="ab1 \"=\\'{}[]", max_size=14))
def test_entries_are_those_that_ase_sees(line):
    parse = pytest.importorskip("ase.io.extxyz").key_val_str_to_dict
    try:
        entries = comment_entries(line, "a.xyz frame 0")
    except DataError:
        return
    seen = parse(line) if line.strip() else {}
    seen.pop("", None)
    assert entries.keys() == seen.keys()
    for name, value in seen.items():
        if isinstance(value, str):
            assert entries[name] == value


def test_texts_in_json():
    assert one_text('_JSON ["a b"]', "id") == "a b"
    assert one_text("_JSON 7", "id") == "7"
    for text in ('_JSON ["a", "b"]', "_JSON {}", "_JSON [true]"):
        with pytest.raises(DataError, match="id needs one text; found '_JSON"):
            one_text(text, "id")
    with pytest.raises(DataError, match=r"id needs a text; found '_JSON .a', which is not JSON"):
        one_text("_JSON [a", "id")


def test_sizes_and_periods_of_frames():
    first, second = scan_frames("1\npbc=F\nH 0 0 0\n2\n\nH 0 0 0\nH 0 0 1\n\n", "a.xyz")
    assert (first.num_atoms, second.num_atoms) == (1, 2)
    assert np.array_equal(first.pbc, [False] * 3)
    assert second.pbc is None
    assert scan_frames(" \n", "a.xyz") == []
    with pytest.raises(DataError, match="line 1 needs the number of atoms; found '1_0'"):
        scan_frames("1_0\n\nH 0 0 0", "a.xyz")
