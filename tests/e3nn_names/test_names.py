"""The share of e3nn's public names that are here, with the same signatures and values; and that the check can fail."""

import pytest
import torch
from e3nn_names.compare import (
    Line,
    compare,
    difference,
    gap_differences,
    outputs_of_both,
    signature_difference,
    table,
)
from e3nn_names.gaps import GAPS, UNTRIED


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return outputs_of_both(tmp_path_factory.mktemp("names"))


@pytest.fixture(scope="module")
def lines(both):
    return compare(*both)


def test_what_differs_is_what_has_a_reason(lines):
    assert {line.name for line in lines if line.values} == set(GAPS), table(lines)
    assert [line for line in lines if line.called] == [], table(lines)
    assert all(len(gap.reason) > 20 for gap in GAPS.values())


def test_gaps_are_no_wider_than_their_reasons(both):
    theirs, ours = both
    assert set(gap_differences(theirs, ours).values()) == {""}
    key = "io.SphericalTensor/0"
    points, heights = ours["results"][key]["find_peaks"]
    for wrong in ([points + 0.5, heights], [points, heights - 0.1]):
        moved = ours["results"] | {key: {"find_peaks": wrong}}
        assert all(gap_differences(theirs, {"results": moved}).values())


def test_every_argument_is_tried(both):
    """An argument that is always left at its default could be ignored here, and nothing would tell."""
    theirs, _ = both
    assert {name for name, tried in theirs["given"].items() if not tried} == set(UNTRIED)
    assert len(theirs["given"]) > 120


def test_the_share_of_names_that_agree(lines):
    assert len(lines) > 170
    assert sum(not line.wrong for line in lines) >= 0.98 * len(lines), table(lines)


def test_every_name_is_tried_on_several_cases(lines):
    assert min(line.cases for line in lines if not line.called) >= 5


def test_few_cases_are_refused_by_e3nn(both):
    """A case that e3nn refuses compares nothing."""
    theirs, _ = both
    refused = {
        key
        for key, parts in theirs["results"].items()
        for value in parts.values()
        if isinstance(value, dict) and "error" in value and "NotImplementedError" not in value["error"]
    }
    assert refused == set()


def test_modules_were_given_weights_of_e3nn(both):
    theirs, _ = both
    states = [state for made in theirs["states"].values() for state in made]
    assert sum(any("_w3j_" in name for name in state) for state in states) > 20
    assert sum(any(name.endswith("weight") and t.numel() for name, t in state.items()) for state in states) > 20


def test_a_name_that_is_missing_or_wrong_is_seen(both):
    theirs, ours = both
    wrong = {
        "names": {name: found for name, found in ours["names"].items() if name != "o3.Linear.forward"},
        "results": {
            **ours["results"],
            "o3.matrix_x/0": {"": ours["results"]["o3.matrix_x/0"][""] + 1e-11},
            "o3.Irrep/0": {**ours["results"]["o3.Irrep/0"], "__operators__": []},
            "o3.FullTensorProduct/0": {**ours["results"]["o3.FullTensorProduct/0"], "forward": 0},
        },
    }
    wrong["names"]["io.SphericalTensor.filter"] = {"kind": "method", "signature": []}
    found = {line.name: line.wrong for line in compare(theirs, wrong) if line.wrong and line.name not in GAPS}
    inherited = {"o3.FullTensorProduct.forward", "io.SphericalTensor.filter"}
    assert set(found) == {"o3.Linear.forward", "o3.matrix_x", "o3.Irrep.__operators__", *inherited}
    assert found["o3.Linear.forward"] == "missing" and found["o3.matrix_x"].startswith("off by 1.0e-11")


def test_differences():
    x = torch.ones(2, dtype=torch.float64)
    assert difference({"a": [x, "1x0e", 2]}, {"a": [x, "1x0e", 2], "b": 1}) == ""
    assert difference({"a": x}, {}) == "no a"
    assert difference(x, x[:1]).startswith("[2]") and "float32" in difference(x, x.float())
    assert difference(1, 1.0) and difference(1.0, 1.1) and difference([1], [1, 2])
    assert difference({"requires_grad": x}, x) and difference({"type": "tuple", "items": []}, [])
    assert difference(x > 0, x > 0) == "" and difference(x > 0, x > 1)
    assert difference(x.float(), x.float() + 1e-7) == "" and difference(x.float(), x.float() + 1e-4)
    assert difference({"error": "ValueError: no"}, x) == "e3nn raises ValueError: no"
    assert difference(x, {"error": "ValueError: no"}) == "here raises ValueError: no"
    empty = "<class 'inspect._empty'>"
    theirs = [["x", "POSITIONAL_OR_KEYWORD", empty], ["n", "KEYWORD_ONLY", "1"]]
    assert signature_difference(theirs, [*theirs, ["backend", "KEYWORD_ONLY", "'auto'"]]) == ""
    assert signature_difference(theirs, [*theirs, ["more", "POSITIONAL_OR_KEYWORD", "1"]])
    assert signature_difference(theirs, [theirs[0], ["n", "KEYWORD_ONLY", "2"]])
    assert signature_difference(theirs, theirs[:1]) and signature_difference(theirs, None)
    assert signature_difference(None, None) == ""


def test_the_table_says_how_many_agree():
    text = table([Line("o3.a", 5, "", ""), Line("o3.b", 5, "missing", "off")])
    assert text.splitlines() == ["o3.b: missing [NO REASON]", "1 of 2 names agree (50.0%), on 10 cases"]
