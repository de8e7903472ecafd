import pytest

from irrepnet.data import SYMBOLS, atomic_number
from irrepnet.errors import DataError


def test_agrees_with_ase():
    symbols = pytest.importorskip("ase.data").chemical_symbols
    assert list(SYMBOLS[1:]) == symbols[1:]


def test_numbers_and_symbols():
    assert [atomic_number(symbol) for symbol in SYMBOLS[1:]] == list(range(1, 119))
    assert atomic_number(8) == 8


@pytest.mark.parametrize("element", ["X", "o", "", 0, 119, -1])
def test_no_such_element(element):
    with pytest.raises(DataError, match="element: needed "):
        atomic_number(element)
