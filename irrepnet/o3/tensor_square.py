"""Tensor product of a feature with itself, each pair once."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from irrepnet.errors import ConfigError
from irrepnet.o3.full_tensor_product import kept_irreps
from irrepnet.o3.instruction import IRREP_NORMALIZATIONS, known_option
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.tensor_product import TensorProduct

__all__ = ["TensorSquare"]


class TensorSquare(TensorProduct):
    r"""Product of a feature with itself, :math:`x \otimes x`, without what is zero or repeats by its symmetry.

    With ``irreps_out`` it has weights, on every allowed path between all channels; without, it returns the whole
    product and has none.

    Args:
        irreps_in: Irreps of the input.
        irreps_out: Irreps of the output; by default all that appear, sorted.
        filter_ir_out: Irreps to keep where ``irreps_out`` is not given; all by default.
        irrep_normalization: "component" (the default), "norm" or "none"; see ``TensorProduct``. An irrep times itself
            has another variance than a product of two, which is taken into account.
        **kwargs: The other arguments of ``TensorProduct``.

    Raises:
        IrrepsError: If irreps are not valid.
        ConfigError: If a normalization is unknown, or both ``irreps_out`` and ``filter_ir_out`` are given.

    Example:
        >>> import torch
        >>> square = TensorSquare("2x0e + 1o")
        >>> square
        TensorSquare(2x0e+1x1o -> 1x0e+2x0e+1x0e+2x1o+1x2e | 7 paths | 0 weights)
        >>> square(torch.randn(7, 5)).shape
        torch.Size([7, 15])
        >>> TensorSquare("4x1o", "8x0e + 1e")
        TensorSquare(4x1o -> 8x0e+1x1e | 86 paths | 86 weights)
    """

    def __init__(
        self,
        irreps_in: Any,
        irreps_out: Any = None,
        filter_ir_out: Iterable[Any] | None = None,
        irrep_normalization: str | None = None,
        **kwargs: Any,
    ) -> None:
        if irreps_out is not None and filter_ir_out is not None:
            raise ConfigError(
                "TensorSquare takes irreps_out (weighted paths to these) or filter_ir_out (of the whole product); got "
                "both. Leave one out."
            )
        irreps_in = Irreps(irreps_in).simplify()
        normalization = known_option("irrep_normalization", irrep_normalization or "component", IRREP_NORMALIZATIONS)
        if irreps_out is None:
            irreps_out, instructions = _whole_square(irreps_in, kept_irreps(filter_ir_out), normalization)
        else:
            irreps_out = Irreps(irreps_out).simplify()
            instructions = _weighted_square(irreps_in, irreps_out, normalization)
        super().__init__(irreps_in, irreps_in, irreps_out, instructions, irrep_normalization="none", **kwargs)
        self.irreps_in = irreps_in

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Multiply a feature with itself.

        Args:
            x: Shape ``[..., irreps_in.dim]``.
            weight: As for ``TensorProduct``.

        Returns:
            Shape ``[..., irreps_out.dim]``.

        Raises:
            ShapeError: If a shape does not fit, or the product has no weights and some are given.
            DtypeError: If the operands and the module are not of one dtype and device.
            RuntimeError: If weights are needed and none are given.
        """
        return super().forward(x, x, weight)

    def __repr__(self) -> str:
        paths = sum(math.prod(ins.path_shape) for ins in self.instructions)
        return (
            f"{self._name()}({self.irreps_in} -> {self.irreps_out} | {paths} paths | {self.weight_numel} weights"
            f"{self._missing()})"
        )


def _whole_square(irreps_in: Irreps, keep: set[Irrep] | None, normalization: str) -> tuple[Irreps, list[tuple]]:
    """Return what the square holds, sorted, and the paths to it."""
    found = []
    for i, (mul1, ir1) in enumerate(irreps_in):
        for j, (mul2, ir2) in list(enumerate(irreps_in))[i:]:
            for ir in ir1 * ir2:
                if keep is not None and ir not in keep:
                    continue
                if i < j:
                    found.append((mul1 * mul2, ir, (i, j, "uvuv", _factor(ir1, ir2, ir, normalization))))
                    continue
                if mul1 > 1:
                    pairs = mul1 * (mul1 - 1) // 2
                    found.append((pairs, ir, (i, i, "uvu<v", _factor(ir1, ir1, ir, normalization))))
                if ir.l % 2 == 0:  # x_u times itself: its odd part is zero
                    found.append((mul1, ir, (i, i, "uuu", _factor_of_square(ir1, ir, normalization))))
    irreps_out, place, _ = Irreps([(mul, ir) for mul, ir, _ in found]).sort()
    paths = [(i, j, place[n], mode, False, factor) for n, (_, _, (i, j, mode, factor)) in enumerate(found)]
    return irreps_out, paths


def _weighted_square(irreps_in: Irreps, irreps_out: Irreps, normalization: str) -> list[tuple]:
    """Return every path to the irreps of the output, with weights."""
    paths: list[tuple] = []
    for i, (mul1, ir1) in enumerate(irreps_in):
        for j, (_, ir2) in list(enumerate(irreps_in))[i:]:
            allowed = set(ir1 * ir2)
            for k, (_, ir) in enumerate(irreps_out):
                if ir not in allowed:
                    continue
                if i < j:
                    paths.append((i, j, k, "uvw", True, _factor(ir1, ir2, ir, normalization)))
                    continue
                if mul1 > 1:
                    paths.append((i, i, k, "u<vw", True, _factor(ir1, ir1, ir, normalization)))
                if ir.l % 2 == 0:
                    paths.append((i, i, k, "uuw", True, _factor_of_square(ir1, ir, normalization)))
    return paths


def _factor(ir1: Irrep, ir2: Irrep, ir: Irrep, normalization: str) -> float:
    """Return what makes up for the coupling of two different features."""
    return {"component": ir.dim, "norm": ir1.dim * ir2.dim, "none": 1}[normalization]


def _factor_of_square(ir1: Irrep, ir: Irrep, normalization: str) -> float:
    """Return the same for a feature and itself, whose products are not independent.

    For components of variance 1 the scalar of d components is d times their mean square, with second moment d + 2 in
    the normalisation of the 3j symbols; every other component gets its products twice, with variance 2 / dim.
    """
    d = ir1.dim
    if ir.l == 0:
        return {"component": 1 / (d + 2), "norm": d, "none": 1}[normalization]
    return {"component": ir.dim / 2, "norm": d * (d + 2) / 2, "none": 1}[normalization]
