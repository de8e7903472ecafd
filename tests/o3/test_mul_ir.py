import copy
import pickle

import pytest

from irrepnet.errors import IrrepsError
from irrepnet.o3 import Irrep, Irreps
from irrepnet.o3.mul_ir import MulIr, read_entries


def test_is_the_tuple_of_multiplicity_and_irrep():
    entry = Irreps("4x1o")[0]
    mul, ir = entry
    assert entry == (4, (1, -1)) and (mul, ir) == (entry.mul, entry.ir)
    assert (entry.dim, repr(entry)) == (12, "4x1o")
    for other in (pickle.loads(pickle.dumps(entry)), copy.deepcopy(entry)):
        assert other == entry and type(other) is MulIr and type(other.ir) is Irrep


def test_every_way_of_writing_entries():
    expected = [MulIr(2, Irrep("1o")), MulIr(1, Irrep("0e"))]
    assert read_entries("2x1o+0e") == read_entries(" 2 x 1o + 1x0e ") == expected
    assert read_entries([(2, "1o"), "0e"]) == read_entries([(2, (1, -1)), Irrep("0e")]) == expected
    assert read_entries((expected[0], [1, [0, 1]])) == read_entries(iter(expected)) == expected
    assert read_entries(None) == read_entries("") == read_entries("  ") == read_entries([]) == []
    assert read_entries(expected[0]) == expected[:1] and read_entries(Irrep("0e")) == expected[1:]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2x1o+", "cannot read term '' of irreps '2x1o\\+'.*A '\\+' stands without a term"),
        ("0e + 2x", "cannot read term '2x' of irreps '0e \\+ 2x'"),
        ("16x0e + 8x1", r"term '8x1'.*Did you mean '8x1e' or '8x1o'\?"),
        ("2X1o", r"term '2X1o'.*Did you mean '2x1o'\?"),
        ("-1x1o", "term '-1x1o'"),
        ("2.5x0e", "term '2.5x0e'"),
        ("1o 0e", "term '1o 0e'"),
        ("1o, 0e", "term '1o, 0e'"),
        (5, "cannot read 5 as irreps"),
        ([5], "cannot read 5 as an entry of irreps"),
        ([(2, 1, 1)], r"cannot read \(2, 1, 1\) as an entry"),
        ([(2.0, "1e")], r"cannot read \(2.0, '1e'\) as an entry"),
        ([(-2, "1e")], r"cannot read \(-2, '1e'\) as an entry"),
        ([("1o", 2)], r"cannot read \('1o', 2\) as an entry"),
        ([(1, -1)], r"an irrep alone is written Irrep\(1, -1\)"),
    ],
)
def test_the_bad_term_is_named(text, message):
    with pytest.raises(IrrepsError, match=message):
        read_entries(text)
