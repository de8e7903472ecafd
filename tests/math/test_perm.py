import math
import random

import e3nn.math.perm
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy.combinatorics import Permutation

from irrepnet.errors import ConfigError
from irrepnet.math import perm


@pytest.fixture(autouse=True)
def double():
    """Compare in a default dtype of float64: e3nn's standard_representation refuses others than the default."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


permutations = st.integers(1, 6).flatmap(lambda n: st.permutations(range(n))).map(tuple)


@settings(max_examples=60)
@given(permutations)
def test_equals_e3nn(p):
    theirs = e3nn.math.perm
    for f in ("is_perm", "inverse", "to_int", "to_cycles", "sign"):
        assert getattr(perm, f)(p) == getattr(theirs, f)(p)
    for f in ("natural_representation", "standard_representation"):
        ours = getattr(perm, f)(p, dtype=torch.float64)
        torch.testing.assert_close(ours, getattr(theirs, f)(p, dtype=torch.float64), rtol=0, atol=1e-12)
    assert perm.from_int(perm.to_int(p), len(p)) == p == theirs.from_int(perm.to_int(p), len(p))


@settings(max_examples=30)
@given(permutations)
def test_against_sympy(p):
    assert perm.sign(p) == Permutation(p).signature()
    assert perm.inverse(p) == tuple((~Permutation(p)).array_form)
    assert perm.to_cycles(p) == {tuple(cycle) for cycle in Permutation(p).cyclic_form}


def test_every_number_is_a_permutation():
    for n in range(6):
        assert {perm.from_int(i, n) for i in range(math.factorial(n))} == perm.group(n) == e3nn.math.perm.group(n)


@given(st.integers(2, 5).flatmap(lambda n: st.tuples(*[st.permutations(range(n)).map(tuple)] * 2)))
@settings(max_examples=30)
def test_representations_keep_products(pair):
    p, q = pair
    assert perm.compose(p, q) == e3nn.math.perm.compose(p, q)
    for f in (perm.natural_representation, perm.standard_representation):
        together = f(perm.compose(p, q), dtype=torch.float64)
        torch.testing.assert_close(together, f(p, dtype=torch.float64) @ f(q, dtype=torch.float64), atol=1e-14, rtol=0)


def test_rand_draws_what_e3nn_draws():
    random.seed(3)
    ours = [perm.rand(7) for _ in range(5)]
    random.seed(3)
    assert ours == [e3nn.math.perm.rand(7) for _ in range(5)]


@pytest.mark.parametrize("seeds", [set(), {(1, 2, 0)}, {(1, 0, 2, 3), (1, 2, 3, 0)}, {(1, 0, 3, 2)}, {(0,)}])
def test_germinate(seeds):
    found = perm.germinate(seeds)
    assert found == e3nn.math.perm.germinate(seeds)
    assert perm.is_group(found) == bool(seeds) == e3nn.math.perm.is_group(found)


def test_what_is_no_group():
    for some in (set(), {(1, 0)}, {(0, 1, 2), (1, 2, 0)}):
        assert not perm.is_group(some) and not e3nn.math.perm.is_group(some)


def test_permutations_of_nothing():
    assert perm.identity(0) == () and perm.sign(()) == 1 and perm.group(0) == {()}
    assert perm.natural_representation(()).shape == perm.standard_representation(()).shape == (0, 0)
    assert perm.standard_representation((0,)).shape == (0, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: perm.inverse((0, 0)), r"holds each of 0 ... 1 once; got \(0, 0\)"),
        (lambda: perm.sign((1, 2)), r"holds each of 0 ... 1 once; got \(1, 2\)"),
        (lambda: perm.compose((0, 1), (0, 1, 2)), r"need one length; got \(0, 1\) and \(0, 1, 2\)"),
        # In e3nn numbers beyond the last one start again from the first.
        (lambda: perm.from_int(7, 3), "of length 3 have numbers 0 to 5; got 7"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
