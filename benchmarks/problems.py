"""Named convolutions of published models: sizes, instructions, random inputs, and what each pass must move and compute.

Their names are those of published kernel benchmarks. Tests import this file too, so it needs nothing but irrepnet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from irrepnet import o3
from irrepnet.ops import EdgeOrder, edge_order

PASSES = ("forward", "forward_backward", "second")


class Inputs(NamedTuple):
    """Operands of a convolution; the leaves require a gradient."""

    node_feats: Tensor  # [N, d1]
    edge_sh: Tensor  # [E, d2]
    weights: Tensor  # [E, W]
    cotangent: Tensor  # [N, d3]: gradient with respect to the output
    order: EdgeOrder

    @property
    def leaves(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.node_feats, self.edge_sh, self.weights


class Cost(NamedTuple):
    """What a pass cannot do without: each operand read once, each result written once, and the arithmetic."""

    bytes: float
    flops: float

    def floor_ms(self, bytes_per_s: float, flops_per_s: float) -> float:
        return 1e3 * max(self.bytes / bytes_per_s, self.flops / flops_per_s)


@dataclass(frozen=True)
class Problem:
    """A product of node features with what lies on the edges, summed over neighbours; one weight for each edge."""

    name: str
    irreps_in: str
    lmax: int
    keep: str
    mode: str = "uvu"
    irreps_edge: str = ""  # given where they are not the spherical harmonics up to lmax

    @cached_property
    def arguments(self) -> tuple[str, str, str, list[tuple]]:
        """Arguments of a ``TensorProduct``, ours or e3nn's: irreps as text and instructions."""
        irreps_in = o3.Irreps(self.irreps_in)
        edge = o3.Irreps(self.irreps_edge) if self.irreps_edge else o3.Irreps.spherical_harmonics(self.lmax)
        keep = o3.Irreps(self.keep)
        wanted = [ir for _, ir in keep]
        found = [
            (ir, i, j)
            for i, (_, ir1) in enumerate(irreps_in)
            for j, (_, ir2) in enumerate(edge)
            for ir in ir1 * ir2
            if ir in wanted
        ]
        if self.mode == "uvw":  # every path to an irrep adds to its one block
            instructions = [(i, j, wanted.index(ir), "uvw", True) for ir, i, j in found]
            return str(irreps_in), str(edge), str(keep), instructions
        # Each path has a block of its own; blocks are sorted by irrep (stable), instructions by block.
        found.sort(key=lambda path: path[0])
        blocks = o3.Irreps([(irreps_in[i].mul, ir) for ir, i, _ in found])
        return str(irreps_in), str(edge), str(blocks), [(i, j, k, "uvu", True) for k, (_, i, j) in enumerate(found)]

    def product(self, dtype: torch.dtype = torch.float32, kit: Any = o3) -> torch.nn.Module:
        """Return the ``TensorProduct`` of ``kit``, our ``o3`` or e3nn's, with weights from outside."""
        default = torch.get_default_dtype()
        torch.set_default_dtype(dtype)  # both make their tables in the default dtype, from float64
        try:
            return kit.TensorProduct(*self.arguments, internal_weights=False, shared_weights=False)
        finally:
            torch.set_default_dtype(default)

    @cached_property
    def plan(self) -> Any:
        return self.product().plan

    def inputs(
        self, nodes: int, edges: int, dtype: torch.dtype = torch.float32, seed: int = 0, device: str = "cpu"
    ) -> Inputs:
        """Return random operands; edges sorted by destination, sources random, as in a liquid."""
        generator = torch.Generator().manual_seed(seed)
        dst = torch.randint(nodes, (edges,), generator=generator).sort().values
        src = torch.randint(nodes, (edges,), generator=generator)
        plan = self.plan
        shapes = ((nodes, plan.dim1), (edges, plan.dim2), (edges, plan.weight_numel), (nodes, plan.dim_out))
        tensors = [torch.randn(shape, generator=generator, dtype=dtype).to(device).requires_grad_() for shape in shapes]
        return Inputs(*tensors, edge_order(torch.stack([src, dst]).to(device), nodes))

    def cost(self, which: str, nodes: int, edges: int, dtype: torch.dtype = torch.float32) -> Cost:
        """Return what a pass, as ``run_pass`` runs it, must move and compute.

        A pass holds the ones before it. Forward reads x, Y, w and writes out. Backward reads those and the cotangent
        and writes three gradients. The second reads those and three more cotangents and writes four gradients.
        """
        plan, size = self.plan, torch.finfo(dtype).bits // 8
        operands = nodes * plan.dim1 + edges * (plan.dim2 + plan.weight_numel)
        out = nodes * plan.dim_out
        moved = [operands + out, 2 * operands + out, 3 * operands + 2 * out]
        # The arithmetic is that of products with the matrices M = C Y. Forward: M x. Backward: M^T g, which serves x
        # and w, and the outer product of x and g for Y. Second: M^T g and dM^T g, M and dM times features for the
        # cotangent, and one outer product.
        products = [1, 2, 5]
        last = PASSES.index(which) + 1
        return Cost(size * sum(moved[:last]), edges * self.flops_per_edge * sum(products[:last]))

    @cached_property
    def flops_per_edge(self) -> int:
        """Flops of one edge, forward: M = C Y from the entries of C that are not zero, M x, and the weights."""
        total = 0
        for path in self.plan.paths:
            values = self.plan.couplings[path.coupling].values
            total += 2 * sum(value != 0 for value in values)
            total += 2 * path.in1.mul * path.in1.dim * path.out.dim
            total += 2 * math.prod(path.weight_shape) * path.out.dim if path.mode == "uvw" else 0
        return total


def _both(mul: int, lmax: int) -> str:
    """Return ``mul`` channels of both parities of every degree up to ``lmax``, odd first."""
    return "+".join(f"{mul}x{degree}{p}" for degree in range(lmax + 1) for p in "oe")


_DIFFDOCK = "10x1o+10x1e+48x0e+48x0o"

PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem("nequip-water", "32x0o+32x0e+32x1o+32x1e", 1, _both(1, 1)),
        Problem("nequip-lips", _both(32, 2), 2, _both(1, 2)),
        Problem("nequip-toluene", _both(64, 2), 2, _both(1, 2)),
        Problem("nequip-benzene", _both(64, 3), 3, _both(1, 3)),
        Problem("mace-medium", "128x0e+128x1o", 3, "0e+1o+2e"),
        Problem("mace-large", "128x0e+128x1o+128x2e", 3, "0e+1o+2e+3o"),
        Problem("sevennet-main", "128x0e+64x1e+32x2e+32x3e", 3, "0e+1e+2e+3e", irreps_edge="0e+1e+2e+3e"),
        Problem("nequip-oam-main", "128x0e+64x1o+32x2e+32x3o", 3, "0e+1o+2e+3o"),
        Problem("diffdock-l1", _DIFFDOCK, 1, _DIFFDOCK, "uvw"),
        Problem("diffdock-l2", _DIFFDOCK, 2, _DIFFDOCK, "uvw"),
    )
}
