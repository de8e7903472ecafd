"""The two products that e3nn keeps apart as its second version: the same numbers as the first, with sorted outputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from irrepnet.o3.elementwise_tensor_product import pair_up
from irrepnet.o3.full_tensor_product import full_paths, kept_irreps
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.saved_constants import without_constants
from irrepnet.o3.tensor_product import TensorProduct

__all__ = ["ElementwiseTensorProductv2", "FullTensorProductv2"]


class _WithoutWeights(TensorProduct):
    """A product of two inputs and nothing else."""

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:  # type: ignore[override]
        """Multiply two features.

        Args:
            input1: Shape ``[..., irreps_in1.dim]``; leading axes broadcast.
            input2: Shape ``[..., irreps_in2.dim]``.

        Returns:
            Shape ``[..., irreps_out.dim]``.

        Raises:
            ShapeError: If a shape does not fit.
            DtypeError: If the operands and the module are not of one dtype and device.
        """
        return super().forward(input1, input2)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Leave out the couplings that e3nn saves."""
        super()._load_from_state_dict(without_constants(state_dict, prefix, ("cg_",)), prefix, *args)


class FullTensorProductv2(_WithoutWeights):
    r"""Every pair of irreps coupled to everything it holds: ``FullTensorProduct``, with entries merged before or not.

    Args:
        irreps_in1: Irreps of the first input.
        irreps_in2: Irreps of the second input.
        filter_ir_out: Irreps to keep; all by default.
        irrep_normalization: "component", "norm" or "none"; see ``TensorProduct``.
        regroup_output: Whether the **inputs** are regrouped (sorted, equal irreps merged), so that few, large entries
            come out; features are then to be laid out as ``irreps_in1`` and ``irreps_in2`` of the module say. Without,
            each entry of one input meets each of the other, repeated irreps included.

    Attributes:
        irreps_in1: Irreps of the first input as the module wants it.
        irreps_in2: The same of the second.
        irreps_out: What comes out, sorted by irrep.

    Raises:
        IrrepsError: If irreps are not valid.
        ConfigError: If ``irrep_normalization`` is unknown.

    Example:
        >>> import torch
        >>> FullTensorProductv2("1o + 0e + 1o", "1o")
        FullTensorProductv2(1x0e+2x1o x 1x1o -> 2x0e+1x1o+2x1e+2x2e | 7 paths | 0 weights)
        >>> product = FullTensorProductv2("1o + 0e + 1o", "1o", regroup_output=False)
        >>> product.irreps_in1, product(torch.randn(5, 7), torch.randn(5, 3)).shape
        (1x1o+1x0e+1x1o, torch.Size([5, 21]))
    """

    def __init__(
        self,
        irreps_in1: Any,
        irreps_in2: Any,
        *,
        filter_ir_out: Iterable[Any] | None = None,
        irrep_normalization: str = "component",
        regroup_output: bool = True,
    ) -> None:
        irreps_in1, irreps_in2 = Irreps(irreps_in1), Irreps(irreps_in2)
        if regroup_output:
            irreps_in1, irreps_in2 = irreps_in1.regroup(), irreps_in2.regroup()
        irreps_out, instructions = full_paths(irreps_in1, irreps_in2, kept_irreps(filter_ir_out))
        super().__init__(irreps_in1, irreps_in2, irreps_out, instructions, irrep_normalization=irrep_normalization)


class ElementwiseTensorProductv2(_WithoutWeights):
    r"""Every irrep coupled to the one in the same place: ``ElementwiseTensorProduct`` with a sorted output.

    Args:
        irreps_in1: Irreps of the first input.
        irreps_in2: Irreps of the second input, as many.
        filter_ir_out: Irreps to keep; all by default.
        irrep_normalization: "component", "norm" or "none"; see ``TensorProduct``.

    Attributes:
        irreps_in1: Irreps of the first input, cut so that entries go with those of the second.
        irreps_in2: Likewise.
        irreps_out: What comes out, sorted by irrep.

    Raises:
        IrrepsError: If irreps are not valid, or the inputs do not hold the same number of irreps.
        ConfigError: If ``irrep_normalization`` is unknown.

    Example:
        >>> ElementwiseTensorProductv2("2x1o + 0e", "3x1o", filter_ir_out=["0e", "1o"]).irreps_out
        2x0e+1x1o
    """

    def __init__(
        self,
        irreps_in1: Any,
        irreps_in2: Any,
        *,
        filter_ir_out: Iterable[Any] | None = None,
        irrep_normalization: str = "component",
    ) -> None:
        pairs, keep = pair_up(Irreps(irreps_in1), Irreps(irreps_in2)), kept_irreps(filter_ir_out)
        found = [
            (i, mul, ir) for i, (mul, ir1, ir2) in enumerate(pairs) for ir in ir1 * ir2 if keep is None or ir in keep
        ]
        irreps_out, place, _ = Irreps([(mul, ir) for _, mul, ir in found]).sort()
        super().__init__(
            [(mul, ir1) for mul, ir1, _ in pairs],
            [(mul, ir2) for mul, _, ir2 in pairs],
            irreps_out,
            [(i, i, place[n], "uuu", False) for n, (i, _, _) in enumerate(found)],
            irrep_normalization=irrep_normalization,
        )
