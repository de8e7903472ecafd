"""Tensor products whose paths follow from their irreps: all of them with weights, or all of them without."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.tensor_product import TensorProduct

__all__ = ["FullTensorProduct", "FullyConnectedTensorProduct", "full_paths", "kept_irreps"]


class FullyConnectedTensorProduct(TensorProduct):
    r"""Every allowed path, every multiplicity with every other: :math:`z_w = \sum_{uv} W_{uvw}\, x_u \otimes y_v`.

    Args:
        irreps_in1: Irreps of the first input.
        irreps_in2: Irreps of the second input.
        irreps_out: Irreps of the output. What no path reaches is zero, and marked in ``output_mask`` and ``repr``.
        irrep_normalization: See ``TensorProduct``.
        path_normalization: See ``TensorProduct``.
        **kwargs: The other arguments of ``TensorProduct``.

    Raises:
        IrrepsError: If irreps are not valid.
        ConfigError: As for ``TensorProduct``.

    Example:
        >>> import torch
        >>> product = FullyConnectedTensorProduct("8x0e + 8x1o", "1o", "16x0e + 2o")
        >>> product
        FullyConnectedTensorProduct(8x0e+8x1o x 1x1o -> 16x0e+1x2o | 128 paths | 128 weights | no path to 1x2o)
        >>> product(torch.randn(5, 32), torch.randn(5, 3)).shape
        torch.Size([5, 21])
    """

    def __init__(
        self,
        irreps_in1: Any,
        irreps_in2: Any,
        irreps_out: Any,
        irrep_normalization: str | None = None,
        path_normalization: str | None = None,
        **kwargs: Any,
    ) -> None:
        irreps_in1, irreps_in2, irreps_out = Irreps(irreps_in1), Irreps(irreps_in2), Irreps(irreps_out)
        instructions = [
            (i1, i2, i3, "uvw", True, 1.0)
            for i1, (_, ir1) in enumerate(irreps_in1)
            for i2, (_, ir2) in enumerate(irreps_in2)
            for i3, (_, ir3) in enumerate(irreps_out)
            if ir3 in ir1 * ir2
        ]
        super().__init__(
            irreps_in1,
            irreps_in2,
            irreps_out,
            instructions,
            irrep_normalization=irrep_normalization,
            path_normalization=path_normalization,
            **kwargs,
        )


class FullTensorProduct(TensorProduct):
    r"""Every pair of irreps coupled to everything it holds, without weights: :math:`z_{uv} = x_u \otimes y_v`.

    Args:
        irreps_in1: Irreps of the first input; neighbours of one kind are merged.
        irreps_in2: The same of the second input.
        filter_ir_out: Irreps to keep; all by default.
        irrep_normalization: See ``TensorProduct``.
        **kwargs: The other arguments of ``TensorProduct``.

    Attributes:
        irreps_out: What comes out, sorted by irrep; entries from different inputs are not merged.

    Raises:
        IrrepsError: If irreps are not valid.
        ConfigError: As for ``TensorProduct``.

    Example:
        >>> import torch
        >>> product = FullTensorProduct("2x0e + 1o", "1o")
        >>> product.irreps_out
        1x0e+2x1o+1x1e+1x2e
        >>> product(torch.randn(5, 5), torch.randn(5, 3)).shape
        torch.Size([5, 15])
    """

    def __init__(
        self,
        irreps_in1: Any,
        irreps_in2: Any,
        filter_ir_out: Iterable[Any] | None = None,
        irrep_normalization: str | None = None,
        **kwargs: Any,
    ) -> None:
        irreps_in1, irreps_in2 = Irreps(irreps_in1).simplify(), Irreps(irreps_in2).simplify()
        irreps_out, instructions = full_paths(irreps_in1, irreps_in2, kept_irreps(filter_ir_out))
        super().__init__(
            irreps_in1, irreps_in2, irreps_out, instructions, irrep_normalization=irrep_normalization, **kwargs
        )


def full_paths(irreps_in1: Irreps, irreps_in2: Irreps, keep: set[Irrep] | None) -> tuple[Irreps, list[tuple]]:
    """Return what two rows of irreps hold together, sorted by irrep, and the path to each entry.

    Args:
        irreps_in1: First row.
        irreps_in2: Second row.
        keep: Irreps to keep; all if None.

    Example:
        >>> full_paths(Irreps("2x1o"), Irreps("3x1o"), {Irrep("0e"), Irrep("2e")})
        (6x0e+6x2e, [(0, 0, 0, 'uvuv', False), (0, 0, 1, 'uvuv', False)])
    """
    found = [
        (i1, i2, mul1 * mul2, ir)
        for i1, (mul1, ir1) in enumerate(irreps_in1)
        for i2, (mul2, ir2) in enumerate(irreps_in2)
        for ir in ir1 * ir2
        if keep is None or ir in keep
    ]
    irreps_out, place, _ = Irreps([(mul, ir) for _, _, mul, ir in found]).sort()
    return irreps_out, [(i1, i2, place[i], "uvuv", False) for i, (i1, i2, _, _) in enumerate(found)]


def kept_irreps(filter_ir_out: Iterable[Any] | None) -> set[Irrep] | None:
    """Read what ``filter_ir_out`` accepts: irreps, their text or an ``Irreps``; None keeps everything.

    Args:
        filter_ir_out: The irreps, or text of several (``"0e + 1o"``).

    Raises:
        IrrepsError: If one cannot be read.

    Example:
        >>> sorted(kept_irreps(["1o", Irrep("0e")])), sorted(kept_irreps("2e + 1o")), kept_irreps(None)
        ([0e, 1o], [1o, 2e], None)
    """
    if filter_ir_out is None:
        return None
    irreps = Irreps(filter_ir_out) if isinstance(filter_ir_out, str) else filter_ir_out
    return {Irrep(ir) for ir in irreps}
