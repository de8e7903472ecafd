"""Panels of a training: learning curves, learning rate, weights of the loss, speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from irrepnet.report.learning import column, loss_weights, speeds
from irrepnet.report.panels import BLUE, GREEN, ORANGE, cycle_of_colours, dress, legend, log_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_learning_curve", "draw_loss_weights", "draw_rate", "draw_speed"]

_STEP = "optimiser step"
History = Sequence[Mapping[str, Any]]
_ERROR_LABELS = {"forces": "error of a force component", "energy": "error of the energy", "loss": "loss"}


def draw_learning_curve(ax: Axes, history: History, name: str, unit: str, title: str) -> None:
    """Draw a quantity of validation and of training against the step, on a logarithmic axis.

    Args:
        ax: Where to draw.
        history: Rows of the log.
        name: ``"forces"`` draws ``forces_rmse``, ``forces_mae`` and ``train_forces_rmse``; ``"loss"`` the losses.
        unit: Of the quantity; empty for none.
        title: Of the panel.
    """
    if name == "loss":
        lines = [("valid_loss", "validation", BLUE, "o-"), ("train_loss", "training", ORANGE, "-")]
    else:
        lines = [
            (f"{name}_rmse", "RMSE, validation", BLUE, "o-"),
            (f"{name}_mae", "MAE, validation", GREEN, "s-"),
            (f"train_{name}_rmse", "RMSE, training", ORANGE, "-"),
        ]
    steps = column(history, "step")
    for key, label, colour, style in lines:
        values = column(history, key)
        shown = np.isfinite(values) & (values > 0)
        if shown.any():
            every = max(1, int(shown.sum()) // 25)  # a marker on each of hundreds of points would be a band
            (line,) = ax.plot(
                steps[shown], values[shown], style, color=colour, label=label, linewidth=1.4, markersize=4
            )
            line.set_markevery(every)
    words = _ERROR_LABELS.get(name, f"error of {name}")
    dress(ax, title, _STEP, f"{words} ({unit})" if unit else words)
    log_scale(ax)
    _whole_steps(ax)
    legend(ax)


def draw_rate(ax: Axes, history: History) -> None:
    """Draw the learning rate against the step."""
    ax.plot(column(history, "step"), column(history, "lr"), color=BLUE, linewidth=1.5)
    dress(ax, "Learning rate", _STEP, "rate (no unit)")
    log_scale(ax)
    _whole_steps(ax)


def draw_loss_weights(ax: Axes, history: History, config: Mapping[str, Any]) -> None:
    """Draw the weight of each label in the loss against the step, as steps."""
    steps = column(history, "step")
    for colour, (label, weights) in zip(cycle_of_colours(), loss_weights(history, config).items(), strict=False):
        shown = weights > 0
        ax.plot(
            steps[shown],
            weights[shown],
            color=colour,
            drawstyle="steps-post",
            linewidth=1.6,
            marker="." if shown.sum() < 2 else "",
            label=label,
        )
    dress(ax, "Weights of the loss", _STEP, "weight (no unit)")
    log_scale(ax)
    _whole_steps(ax)
    legend(ax)


def draw_speed(ax: Axes, history: History, edges_per_step: float | None) -> None:
    """Draw steps per second between validations; a second axis has edges per second where they are known."""
    steps, rate = speeds(history)
    ax.plot(steps, rate, "o-" if len(rate) < 30 else "-", color=GREEN, linewidth=1.4, markersize=3.5)
    dress(ax, "Speed, validation included", _STEP, "steps per second")
    _whole_steps(ax)
    highest = np.nanmax(rate, initial=0.0)
    ax.set_ylim(0, 1.15 * highest if highest > 0 else 1.0)
    if edges_per_step:
        per_step = edges_per_step / 1000
        other = ax.secondary_yaxis(
            "right", functions=(lambda y: np.asarray(y) * per_step, lambda y: np.asarray(y) / per_step)
        )
        other.set_ylabel("thousand edges per second", fontsize=10, color=ax.yaxis.label.get_color())
        other.tick_params(labelsize=9)


def _whole_steps(ax: Axes) -> None:
    """Label whole steps only."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 2.5, 5, 10], integer=True))
