"""Signs of e3nn 0.4.4, against numbers of that version."""

import copy
import json
import os
import pickle
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest
import torch
from convert.e3nn_044 import PRODUCTS, evaluate, inputs, product
from e3nn import o3 as e3nn_o3

from irrepnet import convert, o3
from irrepnet.errors import ConfigError, IrrepsError
from irrepnet.o3.wigner import table_3j

GOLDEN = Path(__file__).parent / "golden" / "e3nn_044.json"
WHEEL = os.environ.get("IRREPNET_E3NN_044_WHEEL")
NUMBERED = list(enumerate(PRODUCTS))


@pytest.fixture(autouse=True)
def float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="module")
def golden():
    return json.loads(GOLDEN.read_text())


def test_signs_of_all_degrees(golden):
    """Every sorted triple up to degree 11: the first component that is not zero has the sign it has there."""
    flipped = 0
    for text, theirs in golden["signs"].items():
        degrees = tuple(map(int, text.split()))
        table = table_3j(*degrees).ravel()
        first = table[abs(table) > 1e-13][0]
        assert abs(convert.wigner_sign(*degrees) * first - theirs) < 1e-12
        flipped += convert.wigner_sign(*degrees) < 0
    assert (len(golden["signs"]), flipped) == (203, 44)


def test_signs_of_small_degrees_in_any_order():
    flipped = {t for t in ((a, b, c) for a in range(5) for b in range(5) for c in range(5)) if _wrong(*t)}
    assert flipped == {p for t in ((1, 2, 2), (1, 3, 3), (1, 4, 4)) for p in permutations(t)}


def _wrong(a, b, c):
    return abs(a - b) <= c <= a + b and convert.wigner_sign(a, b, c) < 0


@pytest.mark.parametrize("degrees", [(1, 1, 3), (-1, 1, 1), (5, 7, 12), (12, 12, 1)])
def test_degrees_that_it_does_not_know(degrees):
    with pytest.raises(IrrepsError, match="three degrees from 0 to 11 that form a triangle"):
        convert.wigner_sign(*degrees)


@pytest.mark.parametrize(("number", "arguments"), NUMBERED)
def test_a_product_gives_what_it_gave_there(golden, number, arguments):
    expected = torch.tensor(golden["products"][number])
    tp = product(o3, *arguments)
    weights, x, y = inputs(tp, number)
    before = evaluate(tp, weights, x, y)
    assert (before - expected).abs().max() > 0.1
    assert sum(convert.flip_wigner_signs(tp).values()) > 0
    again = (x, y) if tp.internal_weights or not len(weights) else (x, y, weights)
    torch.testing.assert_close(tp(*again), expected, rtol=0, atol=1e-12)
    for twin in (copy.deepcopy(tp), pickle.loads(pickle.dumps(tp)), tp.float().double()):
        torch.testing.assert_close(twin(*again), expected, rtol=0, atol=1e-6)
    if not tp.internal_weights:
        torch.testing.assert_close(tp(*again), expected, rtol=0, atol=1e-12)  # factors are made anew, not rounded


@pytest.mark.parametrize(("number", "arguments"), NUMBERED)
def test_a_module_of_e3nn_is_converted_with_the_signs(golden, number, arguments):
    tp = product(e3nn_o3, *arguments)
    weights, x, y = inputs(tp, number)
    if tp.internal_weights:
        tp.weight.data.copy_(weights)
    new, report = convert.from_e3nn(tp, wigner_signs="0.4.4")
    again = (x, y) if tp.internal_weights or not len(weights) else (x, y, weights)
    torch.testing.assert_close(new(*again), torch.tensor(golden["products"][number]), rtol=0, atol=1e-12)
    assert "sign of e3nn 0.4.4" in report.modules[0].note


class OwnProduct(e3nn_o3.FullyConnectedTensorProduct):
    """A user's class."""


def test_products_that_are_kept_say_that_their_signs_are_too():
    parts = {
        "own": OwnProduct("1o", "2e", "2o"),
        "reduced": e3nn_o3.ReducedTensorProducts("ij", i="1o", j="2e"),
        "here": o3.FullTensorProduct("1o", "2e"),
        "mapped": e3nn_o3.Linear("1o", "1o"),
        "plain": torch.nn.Linear(1, 1),
    }
    _, report = convert.from_e3nn(torch.nn.ModuleDict(parts), wigner_signs="0.4.4")
    assert {line.path for line in report.modules if line.note.endswith("signs of 0.6 kept")} == {
        "own",
        "reduced",
        "here",
    }
    assert {line.path for line in report.not_replaced} == {"own", "reduced"}
    _, report = convert.from_e3nn(torch.nn.ModuleDict(parts))
    assert not any("signs" in line.note for line in report.modules)


def test_own_weights_carry_the_signs_and_the_product_stays_plain():
    """Its state dict gives the same numbers in a new product."""
    tp = o3.FullyConnectedTensorProduct("2x1o", "2e", "3x2o")
    x, y = torch.randn(5, 6), torch.randn(5, 5)
    expected = -tp(x, y)
    factors = [path.path_weight for path in tp.instructions]
    convert.flip_wigner_signs(tp)
    assert [path.path_weight for path in tp.instructions] == factors
    fresh = o3.FullyConnectedTensorProduct("2x1o", "2e", "3x2o")
    fresh.load_state_dict(tp.state_dict())
    torch.testing.assert_close(fresh(x, y), expected, rtol=0, atol=1e-14)


def test_weights_of_two_products_are_not_flipped_twice():
    pair = torch.nn.ModuleList([o3.FullyConnectedTensorProduct("1o", "2e", "2o") for _ in range(2)])
    pair[1].weight = pair[0].weight
    x, y = torch.randn(3), torch.randn(5)
    expected = -pair[0](x, y)
    assert convert.flip_wigner_signs(pair) == {"0": 1, "1": 1}
    for tp in pair:
        torch.testing.assert_close(tp(x, y), expected, rtol=0, atol=1e-14)


def test_the_partial_product_has_the_signs():
    tp = o3.FullyConnectedTensorProduct("1o+2e", "1o+2e", "2o+1e+2e", compile_right=True)
    convert.flip_wigner_signs(tp)
    x, y = torch.randn(8), torch.randn(8)
    torch.testing.assert_close(x @ tp.right(y), tp(x, y), rtol=0, atol=1e-13)


def test_products_above_the_tables_are_refused_before_anything_is_changed():
    both = torch.nn.ModuleList([o3.FullTensorProduct("1o", "2e"), o3.FullTensorProduct("1o", "12e")])
    with pytest.raises(IrrepsError, match="knows degrees up to 11"):
        convert.flip_wigner_signs(both)
    assert min(path.path_weight for path in both[0].instructions) > 0


def test_an_unknown_version_is_refused():
    with pytest.raises(ConfigError, match=r"wigner_signs must be one of 0.6, 0.4.4; got '0.44'. Did you mean '0.4.4'"):
        convert.from_e3nn(torch.nn.Linear(1, 1), wigner_signs="0.44")


needs_wheel = pytest.mark.skipif(
    WHEEL is None, reason="set IRREPNET_E3NN_044_WHEEL to the path of e3nn-0.4.4-py3-none-any.whl to run it"
)


@needs_wheel
def test_a_network_of_e3nn_044_is_converted():
    script = Path(__file__).with_name("network_044.py")
    subprocess.run([sys.executable, str(script), WHEEL], check=True)


@needs_wheel
def test_the_golden_numbers_are_those_of_the_wheel(tmp_path):
    script = Path(__file__).with_name("e3nn_044.py")
    subprocess.run([sys.executable, str(script), WHEEL, str(tmp_path / "new.json")], check=True)
    new, old = json.loads((tmp_path / "new.json").read_text()), json.loads(GOLDEN.read_text())
    assert new["signs"].keys() == old["signs"].keys()
    for a, b in zip(
        [*new["signs"].values(), *new["products"]], [*old["signs"].values(), *old["products"]], strict=True
    ):
        torch.testing.assert_close(torch.tensor(a), torch.tensor(b), rtol=0, atol=1e-13)
