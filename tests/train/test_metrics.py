import numpy as np
import pytest
import torch
from torch import nn
from train import toy

from irrepnet.data import read_frames
from irrepnet.errors import DataError, NonFiniteError
from irrepnet.models import Prediction
from irrepnet.train import error_rows, evaluate, force_field_loss, format_errors, label_graphs
from irrepnet.train.config import LossConfig
from irrepnet.train.metrics import refuse_not_finite
from irrepnet.train.samples import LabelledGraphs


class Offset(nn.Module):
    """Knows every answer and is off by 2 meV/atom and 30 meV/Å (in x)."""

    def __init__(self, items):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.answers = {tuple(item.graph.pos[0].tolist()): item for item in items}
        self.modes = []

    def forward(self, graph, *, compute_stress=False):
        self.modes.append(self.training)
        first = [int((graph.batch == b).nonzero()[0]) for b in range(graph.num_graphs)]
        items = [self.answers[tuple(graph.pos[i].tolist())] for i in first]
        energy = torch.cat([item.energy + 0.002 * len(item.graph.pos) for item in items])
        return Prediction(energy, torch.cat([item.forces + torch.tensor([0.03, 0, 0]) for item in items]), None)


@pytest.fixture
def items(tmp_path):
    return label_graphs(read_frames(toy.write_frames(tmp_path / "a.npz", num_frames=5)), toy.CUTOFF)


def test_errors_have_the_units_they_say(items):
    model = Offset(items)
    evaluation = evaluate(model, items)
    assert evaluation.num_frames == 5
    assert evaluation.metrics["energy_mae"] == pytest.approx(2.0)
    assert evaluation.metrics["energy_rmse"] == pytest.approx(2.0)
    assert evaluation.metrics["forces_mae"] == pytest.approx(10.0)
    assert evaluation.metrics["forces_rmse"] == pytest.approx(30 / np.sqrt(3))
    assert not any(model.modes)


def test_batches_of_any_size_give_the_same_numbers(items):
    weights = LossConfig(energy=2.0, kind="mse")
    one, four = (evaluate(Offset(items), items, batch_size=size, loss=weights) for size in (1, 4))
    assert one.metrics == pytest.approx(four.metrics)
    assert one.loss == pytest.approx(four.loss)
    assert one.loss == pytest.approx(2.0 * 0.002**2 + 0.03**2 / 3)
    for label in ("energy", "forces"):
        np.testing.assert_array_equal(one.reference[label], four.reference[label])


def test_the_loss_of_a_whole_set_is_that_of_one_batch(items):
    whole = LabelledGraphs.collate(items)
    expected = force_field_loss(Offset(items)(whole.graph), whole, LossConfig())
    assert evaluate(Offset(items), items, batch_size=2, loss=LossConfig()).loss == pytest.approx(expected.item())


def test_arrays_are_per_atom_energies_and_forces_in_ev(items):
    evaluation = evaluate(Offset(items), items, batch_size=2)
    np.testing.assert_allclose(evaluation.predicted["energy"] - evaluation.reference["energy"], 0.002)
    np.testing.assert_allclose(evaluation.reference["energy"], [item.energy.item() / 4 for item in items])
    assert evaluation.reference["forces"].shape == (20, 3)
    assert evaluation.species.tolist() == [8, 1, 1, 1] * 5


def test_the_table_has_a_row_per_label_and_element(items):
    rows = error_rows(evaluate(Offset(items), items))
    assert [row.label for row in rows] == ["energy", "forces", "forces on H", "forces on O"]
    assert rows[1].spread == pytest.approx(1000 * torch.cat([item.forces for item in items]).numpy().std())
    assert rows[2].rmse == pytest.approx(30 / np.sqrt(3))
    table = format_errors(rows)
    assert "meV/atom" in table
    assert "meV/Å" in table
    assert "17.32" in table


def test_missing_labels_are_left_out(items):
    bare = [LabelledGraphs(item.graph, None, item.forces, None, item.sources) for item in items]
    assert set(evaluate(Offset(items), bare).metrics) == {"forces_mae", "forces_rmse"}


def test_labels_of_some_frames_count_whatever_the_batch_size(items):
    mixed = list(items)
    mixed[2] = LabelledGraphs(items[2].graph, None, items[2].forces, None, items[2].sources)
    model = Offset(items)
    found = [evaluate(model, mixed, batch_size=size) for size in (1, 2, 5)]
    for evaluation in found:
        assert evaluation.num_values == {"energy": 4, "forces": 60}
        assert evaluation.metrics == pytest.approx(found[0].metrics)


def test_predictions_that_are_not_finite_are_named(items):
    model = Offset(items)
    sick = model.answers[tuple(items[3].graph.pos[0].tolist())]
    broken = LabelledGraphs(sick.graph, sick.energy, sick.forces * torch.nan, None, sick.sources)
    model.answers[tuple(items[3].graph.pos[0].tolist())] = broken
    with pytest.raises(NonFiniteError, match=r"found NaN or infinity for .*frame 3; look at"):
        refuse_not_finite(evaluate(model, items, batch_size=2))


def test_an_interrupted_evaluation_is_none(items):
    calls = iter([False, False, True])
    assert evaluate(Offset(items), items, interrupted=lambda: next(calls)) is None


def test_no_frames_are_refused(items):
    with pytest.raises(DataError, match=r"evaluate needs at least one frame; found none"):
        evaluate(Offset(items), [])
