"""What the log of a training tells: which quantities were validated, the weights of the loss, the speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["column", "loss_weights", "speeds", "validated"]

Array = NDArray[np.float64]
History = Sequence[Mapping[str, Any]]
_UNITS = {"energy": "meV/atom", "forces": "meV/Å", "stress": "meV/Å³"}
_LABELS = ("energy", "forces", "stress")


def column(history: History, key: str) -> Array:
    """Return a column of the log, NaN where a row has no such value.

    Example:
        >>> column([{"lr": 0.1}, {}], "lr")
        array([0.1, nan])
    """
    values = [row.get(key) for row in history]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def validated(history: History, units: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the quantities whose validation errors the log holds, with the units of the errors.

    Args:
        history: Rows of the log.
        units: Of targets other than energy, forces and stress.

    Example:
        >>> validated([{"step": 1, "gap_mae": 0.1, "gap_rmse": 0.2, "train_gap_rmse": 0.3}], {"gap": "eV"})
        {'gap': 'eV'}
    """
    ends = ("_rmse", "_mae")
    keys = dict.fromkeys(key for row in history for key in row)
    names = dict.fromkeys(key.rsplit("_", 1)[0] for key in keys if key.endswith(ends) and not key.startswith("train_"))
    known = {**_UNITS, **(units or {})}
    order = ["forces", "energy", *names]  # forces first: they are what most weights learn from
    return {name: known.get(name, "") for name in dict.fromkeys(order) if name in names}


def loss_weights(history: History, config: Mapping[str, Any]) -> dict[str, Array]:
    """Return the weight of each label in the loss at each row of the log; none if the configuration does not tell.

    Args:
        history: Rows of the log: ``step`` and ``seconds`` say how much of the budget was spent.
        config: Of the run: ``training.loss``, ``training.loss_schedule`` and the budget, ``training.steps`` or
            ``training.minutes``; ``model.targets`` of a model of properties or tensors.

    Returns:
        Label -> weights, shape ``[rows]``; labels whose weight is always 0 are left out.

    Example:
        >>> training = {"steps": 100, "loss": {"energy": 1.0, "forces": 10.0}}
        >>> training["loss_schedule"] = [{"from": 0.5, "energy": 9.0}]
        >>> loss_weights([{"step": 0}, {"step": 50}], {"training": training})
        {'energy': array([1., 9.]), 'forces': array([10., 10.])}
    """
    training = config.get("training") or {}
    loss = training.get("loss")
    if not loss:
        return {}
    model = config.get("model") or {}
    targets = {target["name"]: target.get("weight", 1.0) for target in model.get("targets") or ()}
    labels = () if targets else _LABELS  # a model of targets learns no energies and forces
    first = {"from": 0.0, **loss, "targets": targets | dict(loss.get("targets") or {})}
    stages = [first, *(training.get("loss_schedule") or ())]
    spent = _share_spent(history, training)
    weights: dict[str, Array] = {}
    for stage in stages:
        named = {label: stage.get(label) for label in labels} | dict(stage.get("targets") or {})
        for label, weight in named.items():
            if weight is not None:
                weights.setdefault(label, np.zeros(len(history)))[spent >= stage["from"]] = weight
    return {label: values for label, values in weights.items() if values.any()}


def speeds(history: History) -> tuple[Array, Array]:
    """Return the steps at which each interval between two rows ends, and the steps per second in it (with validation).

    Example:
        >>> speeds([{"step": 0, "seconds": 1.0}, {"step": 50, "seconds": 6.0}])
        (array([50.]), array([10.]))
    """
    steps, seconds = column(history, "step"), column(history, "seconds")
    passed = np.diff(seconds)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(passed > 0, np.diff(steps) / passed, np.nan)
    return steps[1:], rate


def _share_spent(history: History, training: Mapping[str, Any]) -> Array:
    """Return how much of the budget was spent at each row, 0 where the budget is not known."""
    if training.get("steps"):
        share = column(history, "step") / training["steps"]
    elif training.get("minutes"):
        share = column(history, "seconds") / (60 * training["minutes"])
    else:
        share = np.zeros(len(history))
    return np.nan_to_num(share)
