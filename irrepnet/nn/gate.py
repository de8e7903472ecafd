"""The gate: scalars pass through functions, and further scalars say how much of each vector and tensor passes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from irrepnet.errors import IrrepsError
from irrepnet.nn.activation import Activation
from irrepnet.nn.channels import checked_features
from irrepnet.nn.runs import apply_runs, join_runs, learned_by, modules_in
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.saved_constants import without_constants

__all__ = ["Gate"]


class Gate(nn.Module):
    r"""Gated nonlinearity: scalars s become :math:`\phi(s)`; an irrep x with the gate g becomes :math:`\psi(g)\, x`.

    It takes its input sorted: ``irreps_in`` is the sorted and simplified union of scalars, gates and gated irreps, in
    which equal irreps keep that order. Functions are normalised as in ``Activation``. There is nothing to learn here,
    unless a function is a module with parameters. One pass serves scalars and gates, so ``act_scalars`` and
    ``act_gates`` are not called: hooks on them stay silent, and other functions need a new gate.

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
        act_scalars: The ``Activation`` of the scalars.
        act_gates: The ``Activation`` of the gates.

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

    def __init__(
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
        scalars, gates, gated = Irreps(irreps_scalars), Irreps(irreps_gates), Irreps(irreps_gated)
        _check("scalars", scalars, len(act_scalars))
        _check("gates", gates, len(act_gates))
        if gates.num_irreps != gated.num_irreps:
            raise IrrepsError(
                f"Gate needs one gate for each irrep of irreps_gated = '{gated}', {gated.num_irreps} in all; "
                f"got irreps_gates = '{gates}' with {gates.num_irreps}."
            )
        self.irreps_scalars, self.irreps_gates, self.irreps_gated = (x.simplify() for x in (scalars, gates, gated))
        self.act_scalars = Activation(scalars, act_scalars, second_moment=second_moment)
        self.act_gates = Activation(gates, act_gates, second_moment=second_moment)
        xs, gs = self.irreps_gated, self.act_gates.irreps_out.simplify()
        products = [(p.mul, next(xs[p.a].ir * gs[p.b].ir)) for p in _common_pieces(xs, gs)]
        self.irreps_out = self.act_scalars.irreps_out + Irreps(products)

        parts = scalars + gates + gated
        union, place, source = parts.sort()
        self.irreps_in = union.simplify()
        # All that is scalar lies in front: one pass serves scalars and gates, and skips scalars that are gated.
        acts = [*self.act_scalars.acts, *self.act_gates.acts, *[None] * len(gated)]
        self._front = join_runs((parts[i].dim, acts[i]) for i in source if parts[i].ir.l == 0)
        self._learning = modules_in(self._front)
        slices = union.slices()
        self._cut([slices[i].start for i in place], scalars, gates, gated)

    def _cut(self, start: list[int], scalars: Irreps, gates: Irreps, gated: Irreps) -> None:
        """Cut ``irreps_in`` into pieces, each a scalar entry, gates, or what they multiply, and note what is what.

        Args:
            start: First column of each entry of scalars, gates and gated irreps.
            scalars: As given.
            gates: As given.
            gated: As given.
        """
        first_gate, first_gated = len(scalars), len(scalars) + len(gates)
        kept = [(start[i], entry.mul) for i, entry in enumerate(scalars) if entry.mul]
        products = []
        for p in _common_pieces(gated, gates):
            dim = gated[p.a].ir.dim
            x = start[first_gated + p.a] + p.a_offset * dim
            products.append((x, start[first_gate + p.b] + p.b_offset, p.mul, dim))
        widths = dict(kept) | {x: mul * dim for x, _, mul, dim in products} | {g: mul for _, g, mul, _ in products}
        number = {begin: i for i, begin in enumerate(sorted(widths))}
        front = sum(run.width for run in self._front)
        self._front_sizes = [widths[begin] for begin in number if begin < front]
        self._sizes = [front, *[widths[begin] for begin in number if begin >= front]]
        self._kept = [number[begin] for begin, _ in kept]
        self._products = [(number[x], number[g], mul, dim) for x, g, mul, dim in products]

    def forward(self, features: Tensor) -> Tensor:
        """Apply the gate.

        Args:
            features: Shape ``[..., irreps_in.dim]``.

        Returns:
            Shape ``[..., irreps_out.dim]``.

        Raises:
            ShapeError: If the last axis does not have the size of ``irreps_in``.
            DtypeError: If features are not floating-point, or differ from a function that learns in dtype or device.
        """
        own = learned_by(*self._learning)
        features = checked_features("Gate", features, self.irreps_in, own)
        # Splits, not slices: the derivative of one split is one copy, that of each slice fills a tensor of full size.
        front, *rest = features.split(self._sizes, dim=-1)
        pieces = [*apply_runs(front, self._front).split(self._front_sizes, dim=-1), *rest]
        out = [pieces[i] for i in self._kept]
        for x, gate, mul, dim in self._products:
            product = pieces[x].unflatten(-1, (mul, dim)) * pieces[gate].unsqueeze(-1)  # [..., mul, dim]
            out.append(product.flatten(-2))
        return torch.cat(out, dim=-1) if out else features

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Load functions that learn; e3nn also saves the constants of its product, which are left out."""
        super()._load_from_state_dict(without_constants(state_dict, prefix, ("mul.",)), prefix, *args)

    def __repr__(self) -> str:
        return f"Gate({self.irreps_in} -> {self.irreps_out})"


class _Pieces(NamedTuple):
    """``mul`` irreps in entry ``a`` of one row, from ``a_offset`` on, that meet as many in entry ``b`` of another."""

    a: int
    a_offset: int
    b: int
    b_offset: int
    mul: int


def _common_pieces(irreps_a: Irreps, irreps_b: Irreps) -> list[_Pieces]:
    """Lay two rows of as many irreps side by side, and cut them where an entry ends in either."""
    a_starts, b_starts = _starts(irreps_a), _starts(irreps_b)
    cuts = sorted({0, irreps_a.num_irreps, *a_starts, *b_starts})
    pieces = []
    for begin, end in pairwise(cuts):
        a, b = bisect_right(a_starts, begin) - 1, bisect_right(b_starts, begin) - 1
        pieces.append(_Pieces(a, begin - a_starts[a], b, begin - b_starts[b], end - begin))
    return pieces


def _starts(irreps: Irreps) -> list[int]:
    """Return the number of irreps before each entry."""
    return list(accumulate((entry.mul for entry in irreps[:-1]), initial=0)) if len(irreps) else []


def _check(name: str, irreps: Irreps, num_acts: int) -> None:
    wrong = [entry for entry in irreps if entry.ir.l > 0]
    if wrong:
        raise IrrepsError(f"Gate needs scalars (l = 0) in irreps_{name}; got {wrong[0]} in '{irreps}'.")
    if num_acts != len(irreps):
        raise IrrepsError(
            f"Gate needs one function (or None) in act_{name} for each of the {len(irreps)} entries of "
            f"irreps_{name} = '{irreps}'; got {num_acts}."
        )
