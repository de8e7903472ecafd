"""The hypothesis strategy for irreps."""

import sys

import pytest
from hypothesis import find, given

from irrepnet.o3 import Irrep, Irreps
from irrepnet.testing import strategies


@given(irreps=strategies.irreps(lmax=3, max_mul=4))
def test_keeps_its_bounds(irreps):
    assert isinstance(irreps, Irreps)
    assert 1 <= len(irreps) <= 3
    assert all(1 <= mul <= 4 and ir.l <= 3 for mul, ir in irreps)


def test_reaches_every_irrep_and_shrinks_to_the_simplest():
    for ir in Irrep.iterator(6):
        assert find(strategies.irreps(lmax=6, max_mul=2), lambda irreps, ir=ir: ir in irreps) == Irreps([ir])
    unsorted = find(strategies.irreps(lmax=2, max_mul=3), lambda irreps: irreps.sort().irreps != irreps)
    assert len(unsorted) == 2


def test_names_the_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ImportError, match=r"needs the package hypothesis; .* pip install hypothesis"):
        strategies.irreps(lmax=1, max_mul=1)
