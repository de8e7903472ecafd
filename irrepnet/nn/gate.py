"""The gate: scalars pass through functions, and further scalars say how much of each vector and tensor passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from irrepnet.errors import IrrepsError, ShapeError
from irrepnet.nn.activation import Activation
from irrepnet.o3.irreps import Irreps

__all__ = ["Gate"]


class _Gated(NamedTuple):
    """Columns of ``mul`` irreps and of the gates that multiply them."""

    start: int
    mul: int
    dim: int
    gate_start: int


class Gate(nn.Module):
    r"""Gated nonlinearity: scalars s become :math:`\phi(s)`; an irrep x with the gate g becomes :math:`\psi(g)\, x`.

    It expects its input sorted: ``irreps_in`` is the sorted and simplified union of scalars, gates and gated irreps
    (equal irreps keep that order), which is what a linear map gives most cheaply.
    Functions are normalised as in ``Activation``. There is nothing to learn here.

    Args:
        irreps_scalars: Scalars (l = 0) that are passed on.
        act_scalars: A function, or None, for each entry of ``irreps_scalars``.
        irreps_gates: Scalars that gate, one for each irrep of ``irreps_gated``.
        act_gates: A function, or None, for each entry of ``irreps_gates``.
        irreps_gated: The irreps that are multiplied.
        second_moment: "e3nn" or "exact"; see ``Activation``.

    Attributes:
        irreps_in: What goes in.
        irreps_out: ``irreps_scalars`` and then ``irreps_gated``, with the parities that functions and gates give.

    Raises:
        IrrepsError: If scalars or gates are not scalars, the numbers of gates and gated irreps differ, or the functions
            do not fit (as ``Activation``).
        ConfigError: If ``second_moment`` is unknown.

    Reference: Weiler et al. 2018, 3D Steerable CNNs, arXiv:1807.02547, section 4.3.

    Example:
        >>> from torch.nn.functional import silu
        >>> gate = Gate("16x0e", [silu], "8x0e", [torch.sigmoid], "8x1o")
        >>> gate
        Gate(24x0e+8x1o -> 16x0e+8x1o)
        >>> gate(torch.randn(5, gate.irreps_in.dim)).shape
        torch.Size([5, 40])
    """

    def __init__(  # noqa: PLR0913 - e3nn's signature
        self,
        irreps_scalars: Any,
        act_scalars: Sequence[Callable[[Tensor], Tensor] | None],
        irreps_gates: Any,
        act_gates: Sequence[Callable[[Tensor], Tensor] | None],
        irreps_gated: Any,
        *,
        second_moment: str = "e3nn",
    ) -> None:
        super().__init__()
        self.irreps_scalars, self.irreps_gates = Irreps(irreps_scalars), Irreps(irreps_gates)
        self.irreps_gated = Irreps(irreps_gated)
        self._check(len(act_scalars), len(act_gates))
        parts = self.irreps_scalars + self.irreps_gates + self.irreps_gated
        union, place, source = parts.sort()
        self.irreps_in = union.simplify()
        self._num_scalar_columns = (self.irreps_scalars + self.irreps_gates).dim

        # All scalars stand in front, whatever their parity: one Activation serves scalars and gates together.
        num_scalars, num_acted = len(self.irreps_scalars), len(self.irreps_scalars) + len(self.irreps_gates)
        acts = [*act_scalars, *act_gates]
        acted = [i for i in source if i < num_acted]
        self.activation = Activation(
            [parts[i] for i in acted], [acts[i] for i in acted], second_moment=second_moment
        )
        in_order = [self.activation.irreps_out[acted.index(i)] for i in range(num_acted)]
        start = [union.slices()[place[i]].start for i in range(len(parts))]  # of each part, along irreps_in

        gates = [(mul, ir, start[num_scalars + i]) for i, (mul, ir) in enumerate(in_order[num_scalars:])]
        gated = [(mul, ir, start[num_acted + i]) for i, (mul, ir) in enumerate(self.irreps_gated)]
        self._scalars = [(start[i], mul) for i, (mul, _) in enumerate(in_order[:num_scalars])]
        self._gated, irreps_out = _matched(gated, gates)
        self.irreps_out = Irreps(in_order[:num_scalars]) + irreps_out

    def _check(self, num_act_scalars: int, num_act_gates: int) -> None:
        for name, irreps, num_acts in (
            ("scalars", self.irreps_scalars, num_act_scalars),
            ("gates", self.irreps_gates, num_act_gates),
        ):
            wrong = [entry for entry in irreps if entry.ir.l > 0]
            if wrong:
                raise IrrepsError(f"Gate needs scalars (l = 0) in irreps_{name}; got {wrong[0]} in '{irreps}'.")
            if num_acts != len(irreps):
                raise IrrepsError(
                    f"Gate needs one function (or None) in act_{name} for each of the {len(irreps)} entries of "
                    f"irreps_{name} = '{irreps}'; got {num_acts}."
                )
        needed, found = self.irreps_gated.num_irreps, self.irreps_gates.num_irreps
        if needed != found:
            raise IrrepsError(
                f"Gate needs one gate for each irrep in irreps_gated = '{self.irreps_gated}', {needed} together; "
                f"irreps_gates = '{self.irreps_gates}' holds {found}."
            )

    def forward(self, features: Tensor) -> Tensor:
        """Apply the gate.

        Args:
            features: Shape ``[..., irreps_in.dim]``.

        Returns:
            Shape ``[..., irreps_out.dim]``.

        Raises:
            ShapeError: If the last axis does not have the size of ``irreps_in``.
        """
        if features.ndim == 0 or features.shape[-1] != self.irreps_in.dim:
            raise ShapeError(
                f"Gate needs features [..., {self.irreps_in.dim}] for irreps_in = {self.irreps_in}; "
                f"got {list(features.shape)}."
            )
        acted = self.activation(features[..., : self._num_scalar_columns])
        parts = [acted[..., start : start + mul] for start, mul in self._scalars]
        for part in self._gated:
            x = features[..., part.start : part.start + part.mul * part.dim].unflatten(-1, (part.mul, part.dim))
            gates = acted[..., part.gate_start : part.gate_start + part.mul]
            parts.append((x * gates.unsqueeze(-1)).flatten(-2))  # [..., mul * dim]
        return torch.cat(parts, dim=-1) if len(parts) != 1 else parts[0]

    def __repr__(self) -> str:
        return f"Gate({self.irreps_in} -> {self.irreps_out})"
