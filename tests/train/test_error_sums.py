import pytest
import torch

from irrepnet.train.error_sums import ErrorSums, metric_unit

UNITS = {"energy": "eV/atom", "gap": "eV"}


def sums(*pairs):
    total = ErrorSums()
    for label, values in pairs:
        total.add(label, torch.tensor(values))
    return total


def test_force_fields_are_shown_in_milli_and_other_labels_in_their_unit():
    metrics = sums(("energy", [0.001, -0.003]), ("gap", [3.0, -4.0])).metrics(UNITS)
    assert metrics["energy_mae"] == pytest.approx(2.0)
    assert metrics["gap_mae"] == 3.5
    assert metrics["gap_rmse"] == pytest.approx(12.5**0.5)
    assert [metric_unit(unit)[0] for unit in ("eV/Å^3", "meV", "")] == ["meV/Å^3", "meV", ""]


def test_sums_survive_as_a_row_of_numbers_and_add_up():
    one, other = sums(("gap", [1.0])), sums(("gap", [3.0]), ("energy", [0.5]))
    labels = list(UNITS)
    added = [a + b for a, b in zip(one.numbers(labels), other.numbers(labels), strict=True)]
    one.merge(other)
    assert ErrorSums.from_numbers(labels, added) == one


def test_a_label_without_entries_has_no_metrics():
    assert sums(("gap", [])).metrics(UNITS) == {}
