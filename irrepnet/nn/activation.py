"""Functions applied to scalars, normalised, with the parity they deserve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from irrepnet.errors import IrrepsError, ShapeError
from irrepnet.nn.second_moment import second_moment_factor
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps

__all__ = ["Activation"]

Function = Callable[[Tensor], Tensor]


class _Run(NamedTuple):
    """Neighbouring entries with one and the same function, ``width`` columns."""

    width: int
    act: Function | None
    factor: float


class Activation(nn.Module):
    r"""Apply a function to each scalar entry, scaled so that its second moment is 1.

    .. math:: x \mapsto c f(x), \qquad c = \left(\mathbb{E}_{z \sim N(0, 1)} f(z)^2\right)^{-1/2}

    Even scalars stay even. An odd scalar needs a function that is odd (it stays odd) or even (it becomes even).
    There is nothing to learn here.

    Args:
        irreps_in: Irreps of the features.
        acts: One elementwise function for each entry of ``irreps_in``, None for entries to leave alone; those of l > 0
            have to be left alone.
        second_moment: ``"e3nn"``: e3nn's Monte-Carlo constants, with which its weights were trained; ``"exact"``.

    Raises:
        IrrepsError: If the number of functions is wrong, an entry is no scalar, or a parity is violated.
        ConfigError: If ``second_moment`` is unknown.

    Example:
        >>> act = Activation("8x0e + 4x0o + 2x1o", [torch.nn.functional.silu, torch.abs, None])
        >>> act
        Activation(8x0e+4x0o+2x1o -> 8x0e+4x0e+2x1o | silu, abs, -)
        >>> act(torch.randn(5, 18)).shape
        torch.Size([5, 18])
    """

    def __init__(self, irreps_in: Any, acts: Sequence[Function | None], *, second_moment: str = "e3nn") -> None:
        super().__init__()
        self.irreps_in = Irreps(irreps_in)
        if len(acts) != len(self.irreps_in):
            raise IrrepsError(
                f"Activation needs one function (or None) for each of the {len(self.irreps_in)} entries of "
                f"'{self.irreps_in}'; got {len(acts)}."
            )
        pairs = list(zip(self.irreps_in, acts, strict=True))
        self.irreps_out = Irreps([(mul, ir if act is None else _acted_on(ir, act)) for (mul, ir), act in pairs])
        self.acts = tuple(acts)
        self._modules_among_acts = nn.ModuleList(act for act in acts if isinstance(act, nn.Module))
        self._runs = _runs([(entry.dim, act) for entry, act in pairs], second_moment)

    @property
    def paths(self) -> list[tuple[int, Irrep, Function | None]]:
        """Multiplicity, irrep and function (as given, without its factor) of each entry of ``irreps_in``."""
        return [(mul, ir, act) for (mul, ir), act in zip(self.irreps_in, self.acts, strict=True)]

    def forward(self, features: Tensor, dim: int = -1) -> Tensor:
        """Apply the functions.

        Args:
            features: Shape ``[..., irreps_in.dim, ...]``.
            dim: The axis along which the irreps lie.

        Returns:
            Features of ``irreps_out``, of the same shape.

        Raises:
            ShapeError: If that axis does not have the size of the irreps.
        """
        if features.ndim == 0 or features.shape[dim] != self.irreps_in.dim:
            raise ShapeError(
                f"Activation needs features [..., {self.irreps_in.dim}] for irreps_in = {self.irreps_in}; "
                f"got {list(features.shape)}."
            )
        if len(self._runs) < 2:
            return _act(features, self._runs[0]) if self._runs else features
        parts = features.split([run.width for run in self._runs], dim)
        return torch.cat([_act(part, run) for part, run in zip(parts, self._runs, strict=True)], dim)

    def __repr__(self) -> str:
        names = ", ".join(_name(act) for act in self.acts)
        return f"Activation({self.irreps_in} -> {self.irreps_out} | {names})"


def _act(features: Tensor, run: _Run) -> Tensor:
    if run.act is None:
        return features
    return run.act(features) if run.factor == 1.0 else run.act(features) * run.factor


def _runs(entries: Sequence[tuple[int, Function | None]], second_moment: str) -> tuple[_Run, ...]:
    """Join neighbouring entries with the same function, so that each run is one call."""
    runs: list[_Run] = []
    for width, act in entries:
        factor = 1.0 if act is None else second_moment_factor(act, second_moment)
        if runs and runs[-1].act is act:
            runs[-1] = runs[-1]._replace(width=runs[-1].width + width)
        elif width:
            runs.append(_Run(width, act, factor))
    return tuple(runs)


def _acted_on(ir: Irrep, act: Function) -> Irrep:
    """Return what a scalar becomes under a function; raise if that is not an irrep."""
    if ir.l > 0:
        raise IrrepsError(
            f"Activation applies functions to scalars (l = 0) only; got {_name(act)} for {ir}: functions of single "
            "components break rotations. Give None for that entry, or use a Gate."
        )
    if ir.p == 1:
        return ir
    parity = _parity(act)
    if parity == 0:
        raise IrrepsError(
            f"Activation of odd scalars (0o) needs a function that is odd or even; got {_name(act)}, which is neither. "
            "Use tanh (0o stays 0o) or abs (it becomes 0e)."
        )
    return Irrep(0, parity)


def _parity(act: Function) -> int:
    """Return 1 for an even function, -1 for an odd one, 0 for neither, by trying."""
    z = torch.linspace(0, 10, 256, dtype=torch.float64, device="cpu")
    with torch.no_grad():
        right, left = act(z), act(-z)
    if torch.allclose(right, left, rtol=0, atol=1e-5):
        return 1
    return -1 if torch.allclose(right, -left, rtol=0, atol=1e-5) else 0


def _name(act: Function | None) -> str:
    return "-" if act is None else getattr(act, "__name__", type(act).__name__)
