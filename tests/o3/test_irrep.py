import copy
import pickle

import e3nn.o3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irrepnet.errors import IrrepsError
from irrepnet.o3 import Irrep, Irreps, irrep
from irrepnet.o3.irrep import nearest_irreps

irreps_of_o3 = st.tuples(st.integers(0, 12), st.sampled_from([1, -1])).map(Irrep)


def test_is_the_tuple_of_degree_and_parity():
    ir = Irrep("2o")
    assert ir == (2, -1) and hash(ir) == hash((2, -1)) and tuple(ir) == (2, -1)
    assert (ir.l, ir.p, ir.dim, str(ir), repr(ir)) == (2, -1, 5, "2o", "2o")
    assert Irrep(ir) is ir
    assert ir == Irrep(2, -1) == Irrep((2, -1)) == Irrep(" 2 o ") == Irrep(e3nn.o3.Irrep("2o"))


def test_an_entry_of_irreps_gives_its_irrep():
    """e3nn returns the degree, an int."""
    entry = Irreps("2x3o")[0]
    assert Irrep(entry) == Irrep("3o") and type(Irrep(entry)) is Irrep
    assert Irrep(e3nn.o3.Irreps("2x3o")[0].ir) == Irrep("3o")
    assert e3nn.o3.Irrep(e3nn.o3.Irreps("2x3o")[0]) == 3


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1", "'1e' or '1o'"),
        ("1O", "'1o'"),
        ("o1", "'1o'"),
        ("l1o", "'1o'"),
        ("1-", "'1o'"),
        ("2+", "'2e'"),
        ("1u", "'1o'"),
        ("2 G", "'2e'"),
        ("2x1o", "'2x1o'"),
        ("16 * 1o", "'16x1o'"),
        ("2X1", "'2x1e' or '2x1o'"),
        ("12", "'12e' or '12o'"),
        ("1oo", None),
        ("vector", None),
        ("-1e", None),
        ("1.5e", None),
        ("", None),
    ],
)
def test_hints(text, hint):
    assert nearest_irreps(text) == (f" Did you mean {hint}?" if hint else "")


def test_text_with_the_parity_of_the_harmonics():
    assert [Irrep(f"{l}y") for l in range(4)] == [Irrep("0e"), Irrep("1o"), Irrep("2e"), Irrep("3o")]


def test_order_and_iterator():
    assert sorted(Irrep.iterator(1)) == [Irrep(s) for s in ("0o", "0e", "1o", "1e")]
    endless = Irrep.iterator()
    assert [next(endless) for _ in range(8)] == list(map(tuple_of, e3nn.o3.Irrep.iterator(3)))


def tuple_of(ir):
    return (ir.l, ir.p)


@given(irreps_of_o3, irreps_of_o3)
def test_products_are_those_of_e3nn(a, b):
    expected = [tuple_of(ir) for ir in e3nn.o3.Irrep(a.l, a.p) * e3nn.o3.Irrep(b.l, b.p)]
    assert list(a * b) == expected
    assert sum(ir.dim for ir in a * b) == a.dim * b.dim


def test_arithmetic_makes_irreps():
    assert 3 * Irrep("1o") == Irreps("3x1o")
    assert Irrep("1o") + Irrep("0e") == Irrep("1o") + "0e" == Irreps("1o+0e")
    assert Irrep("2e") in Irrep("1o") * "1o"


def test_scalars():
    assert [ir for ir in Irrep.iterator(2) if ir.is_scalar()] == [Irrep("0e")]


def test_constants():
    assert irrep.l1o == Irrep("1o") and irrep.l12e == Irrep("12e")
    with pytest.raises(AttributeError, match="has no attribute 'l1x'; its constants are l0e"):
        _ = irrep.l1x


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_and_copy(protocol):
    ir = Irrep("3o")
    for other in (pickle.loads(pickle.dumps(ir, protocol)), copy.deepcopy(ir)):
        assert other == ir and type(other) is Irrep


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("1",), r"cannot read '1' as an irrep.*Did you mean '1e' or '1o'\?"),
        (("1x",), "cannot read '1x' as an irrep: write degree and parity"),
        (("-1e",), "cannot read '-1e'"),
        ((1,), r"needs a parity.*Write Irrep\(1, 1\)"),
        ((1, 2), "needs a parity p = 1 .* got p = 2 for l = 1"),
        ((1, True), "got p = True"),
        ((-1, 1), "needs a degree l = 0, 1, 2, ...; got l = -1"),
        ((1.0, 1), "got l = 1.0"),
        (((1,),), r"cannot read \(1,\) as one irrep"),
        ((Irreps("2x1o"),), r"cannot read 2x1o as one irrep"),
        ((None,), "cannot read None as one irrep"),
    ],
)
def test_bad_irreps_are_named(args, message):
    with pytest.raises(IrrepsError, match=message):
        Irrep(*args)
    with pytest.raises(ValueError, match=message):
        Irrep(*args)


@pytest.mark.parametrize(("text", "bare"), [("1x0e", "0e"), ("2 x 1o", "1o"), ("16*1-", "1o")])
def test_irreps_are_not_one_irrep(text, bare):
    with pytest.raises(IrrepsError) as error:
        Irrep(text)
    assert str(error.value).endswith(f"With a multiplicity it is irreps: Irreps({text!r}). Did you mean {bare!r}?")
