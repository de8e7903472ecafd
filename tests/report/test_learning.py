import numpy as np
import pytest
from matplotlib.figure import Figure

from irrepnet.report.learning import loss_weights, speeds, validated
from irrepnet.report.learning_panels import draw_loss_weights, draw_rate, draw_speed

HISTORY = [
    {"step": 0, "seconds": 2.0, "lr": 1e-5, "forces_rmse": 9.0, "energy_rmse": 5.0},
    {"step": 50, "seconds": 12.0, "lr": 1e-2, "forces_rmse": 3.0, "train_forces_rmse": 3.0},
    {"step": 100, "seconds": 32.0, "lr": 1e-3, "forces_rmse": 2.0, "stress_mae": 1.0},
]


def config(**training):
    return {"training": {"loss": {"energy": 1.0, "forces": 10.0, "stress": 0.0, "kind": "mse"}, **training}}


def test_quantities_of_the_log_have_their_units():
    assert validated(HISTORY) == {"forces": "meV/Å", "energy": "meV/atom", "stress": "meV/Å³"}
    assert validated([{"mu_rmse": 1.0, "train_mu_rmse": 1.0, "valid_loss": 2.0}], {"mu": "D"}) == {"mu": "D"}


def test_weights_change_at_the_stages_of_the_budget():
    stages = [{"from": 0.5, "energy": 5.0, "forces": None}, {"from": 1.0, "forces": 1.0}]
    weights = loss_weights(HISTORY, config(steps=100, loss_schedule=stages))
    assert weights["energy"].tolist() == [1.0, 5.0, 5.0]
    assert weights["forces"].tolist() == [10.0, 10.0, 1.0]
    assert "stress" not in weights


def test_a_budget_of_minutes_is_counted_in_seconds():
    weights = loss_weights(HISTORY, config(minutes=0.5, loss_schedule=[{"from": 0.4, "energy": 2.0}]))
    assert weights["energy"].tolist() == [1.0, 2.0, 2.0]


def test_weights_of_named_targets():
    loss = {"energy": 9.0, "targets": {"gap": 2.0}}
    model = {"targets": [{"name": "gap", "weight": 1.0}, {"name": "mu", "weight": 3.0}]}
    weights = loss_weights(HISTORY, {"training": {"loss": loss}, "model": model})
    assert {label: values.tolist() for label, values in weights.items()} == {"gap": [2.0] * 3, "mu": [3.0] * 3}
    assert loss_weights(HISTORY, {}) == {}


def test_speed_is_steps_over_seconds_and_edges_are_on_the_other_axis():
    steps, rate = speeds(HISTORY)
    assert steps.tolist() == [50.0, 100.0] and rate.tolist() == [5.0, 2.5]
    ax = Figure().add_subplot()
    draw_speed(ax, HISTORY, edges_per_step=4000.0)
    (other,) = ax.child_axes
    assert other.get_ylabel() == "thousand edges per second"
    ax.figure.draw_without_rendering()
    assert other.get_ylim() == pytest.approx(np.array(ax.get_ylim()) * 4)


def test_a_run_that_has_only_begun_has_no_speed():
    ax = Figure().add_subplot()
    draw_speed(ax, HISTORY[:1], None)
    assert ax.get_ylim() == (0.0, 1.0) and ax.child_axes == []


def test_rate_and_weights_are_drawn_against_the_step():
    rate, weights = Figure().add_subplot(), Figure().add_subplot()
    draw_rate(rate, HISTORY)
    assert rate.get_lines()[0].get_xydata().tolist() == [[0.0, 1e-5], [50.0, 1e-2], [100.0, 1e-3]]
    draw_loss_weights(weights, HISTORY, config(steps=100))
    assert [line.get_label() for line in weights.get_lines()] == ["energy", "forces"]
