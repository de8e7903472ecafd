"""Tensor product of irreps one by one: the first with the first, the second with the second, and so on."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate, pairwise
from typing import Any

from irrepnet.errors import IrrepsError
from irrepnet.o3.full_tensor_product import kept_irreps
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.tensor_product import TensorProduct

__all__ = ["ElementwiseTensorProduct", "pair_up"]


class ElementwiseTensorProduct(TensorProduct):
    r"""Every irrep coupled to the one in the same place of the other input, without weights: :math:`x_u \otimes y_u`.

    Args:
        irreps_in1: Irreps of the first input.
        irreps_in2: Irreps of the second input, as many; the multiplicities of entries may differ.
        filter_ir_out: Irreps to keep; all by default.
        irrep_normalization: See ``TensorProduct``.
        **kwargs: The other arguments of ``TensorProduct``.

    Attributes:
        irreps_in1: Irreps of the first input, cut so that entries go with those of the second.
        irreps_in2: Likewise.
        irreps_out: What comes out, in the order of the inputs.

    Raises:
        IrrepsError: If irreps are not valid, or the inputs do not hold the same number of irreps.
        ConfigError: As for ``TensorProduct``.

    Example:
        >>> import torch
        >>> product = ElementwiseTensorProduct("5x1o + 5x1e", "10x1e", ["0e", "0o"])
        >>> product
        ElementwiseTensorProduct(5x1o+5x1e x 5x1e+5x1e -> 5x0o+5x0e | 10 paths | 0 weights)
        >>> product(torch.randn(7, 30), torch.randn(7, 30)).shape
        torch.Size([7, 10])
    """

    def __init__(
        self,
        irreps_in1: Any,
        irreps_in2: Any,
        filter_ir_out: Iterable[Any] | None = None,
        irrep_normalization: str | None = None,
        **kwargs: Any,
    ) -> None:
        pairs = pair_up(Irreps(irreps_in1).simplify(), Irreps(irreps_in2).simplify())
        keep = kept_irreps(filter_ir_out)
        found = [
            (i, mul, ir) for i, (mul, ir1, ir2) in enumerate(pairs) for ir in ir1 * ir2 if keep is None or ir in keep
        ]
        super().__init__(
            [(mul, ir1) for mul, ir1, _ in pairs],
            [(mul, ir2) for mul, _, ir2 in pairs],
            [(mul, ir) for _, mul, ir in found],
            [(i, i, place, "uuu", False) for place, (i, _, _) in enumerate(found)],
            irrep_normalization=irrep_normalization,
            **kwargs,
        )


def pair_up(irreps1: Irreps, irreps2: Irreps) -> list[tuple[int, Irrep, Irrep]]:
    """Cut the entries of two rows of irreps so that they go together: triples of multiplicity, irrep and irrep.

    Args:
        irreps1: First row.
        irreps2: Second row, with as many irreps.

    Raises:
        IrrepsError: If the numbers of irreps differ.

    Example:
        >>> pair_up(Irreps("2x0e + 3x1o"), Irreps("4x1o + 2e"))
        [(2, 0e, 1o), (2, 1o, 1o), (1, 1o, 2e)]
    """
    if irreps1.num_irreps != irreps2.num_irreps:
        raise IrrepsError(
            "an elementwise product needs as many irreps in irreps_in1 as in irreps_in2; "
            f"got {irreps1.num_irreps} in '{irreps1}' and {irreps2.num_irreps} in '{irreps2}'."
        )
    ends = {0, *accumulate(mul for mul, _ in irreps1), *accumulate(mul for mul, _ in irreps2)}
    return [
        (stop - start, irreps1.slice_by_mul[start:stop][0].ir, irreps2.slice_by_mul[start:stop][0].ir)
        for start, stop in pairwise(sorted(ends))
    ]
