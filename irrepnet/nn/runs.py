"""Runs of columns, each with the function that is applied to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from irrepnet.math.normalize2mom import normalize2mom

__all__ = ["Function", "Run", "apply_runs", "function_name", "join_runs", "learned_by", "modules_in"]

Function = Callable[[Tensor], Tensor]


class Run(NamedTuple):
    """Neighbouring columns, ``width`` of them, with one and the same function; None leaves them alone.

    Example:
        >>> Run(4, None).width
        4
    """

    width: int
    act: normalize2mom | None


def join_runs(entries: Iterable[tuple[int, normalize2mom | None]]) -> tuple[Run, ...]:
    """Join neighbouring entries with the same function, so that each run is one call.

    Args:
        entries: Width and function of each.

    Example:
        >>> join_runs([(3, None), (0, None), (2, None)])
        (Run(width=5, act=None),)
    """
    runs: list[Run] = []
    for width, act in entries:
        if runs and _same(runs[-1].act, act):
            runs[-1] = runs[-1]._replace(width=runs[-1].width + width)
        elif width:
            runs.append(Run(width, act))
    return tuple(runs)


def apply_runs(features: Tensor, runs: tuple[Run, ...], dim: int = -1) -> Tensor:
    """Apply to each run its function.

    Args:
        features: Their axis ``dim`` is as long as all runs together.
        runs: As ``join_runs`` returns them.
        dim: The axis.

    Example:
        >>> apply_runs(torch.ones(2, 3), (Run(3, None),)).shape
        torch.Size([2, 3])
    """
    if len(runs) < 2:
        return _act(features, runs[0]) if runs else features
    parts = features.split([run.width for run in runs], dim)
    return torch.cat([_act(part, run) for part, run in zip(parts, runs, strict=True)], dim)


def modules_in(runs: Iterable[Run]) -> tuple[nn.Module, ...]:
    """Return the functions that are modules, and may learn.

    Example:
        >>> modules_in(join_runs([(3, normalize2mom(torch.tanh)), (2, normalize2mom(torch.nn.PReLU()))]))
        (PReLU(num_parameters=1),)
    """
    return tuple(run.act.f for run in runs if run.act is not None and isinstance(run.act.f, nn.Module))


def learned_by(*functions: Function | None) -> Tensor | None:
    """Return the first floating-point parameter of functions; None if none of them learns.

    Example:
        >>> learned_by(torch.tanh, None), learned_by(torch.tanh, torch.nn.PReLU()).shape
        (None, torch.Size([1]))
    """
    modules = (f for f in functions if isinstance(f, nn.Module))
    return next((p for f in modules for p in f.parameters() if p.is_floating_point()), None)


def function_name(act: Function | normalize2mom | None) -> str:
    """Return the name of a function, or of the class of a module.

    Example:
        >>> function_name(torch.tanh), function_name(torch.nn.PReLU()), function_name(None)
        ('tanh', 'PReLU', '-')
    """
    f = act.f if isinstance(act, normalize2mom) else act
    return "-" if f is None else getattr(f, "__name__", type(f).__name__)


def _same(a: normalize2mom | None, b: normalize2mom | None) -> bool:
    return a is b or (a is not None and b is not None and a.f is b.f and a.cst == b.cst)


def _act(features: Tensor, run: Run) -> Tensor:
    return features if run.act is None else run.act(features)
