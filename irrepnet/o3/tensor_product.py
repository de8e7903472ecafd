"""The tensor product of two features as a module: paths, weights and normalisation as in e3nn."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from irrepnet.errors import DtypeError, IrrepsError, ShapeError
from irrepnet.o3.instruction import Instruction, normalize_paths, product_plan, read_instructions
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.partial_product import partial_product
from irrepnet.o3.weights import WeightedMap, only_default
from irrepnet.ops.tensor_product import tensor_product

__all__ = ["TensorProduct", "output_mask"]


class TensorProduct(WeightedMap):
    r"""Equivariant product of two features, a sum of paths.

    Each path couples one entry of either input to one of the output,
    :math:`(x_u \otimes y_v)_k = c \sum_{ij} C_{ijk} x_{ui} y_{vj}`, with C the ``wigner_3j``; its mode says what
    becomes of the multiplicities u and v (see ``ops.ProductPath``).

    Weights are one flat vector: those of each path in turn, row by row.

    Args:
        irreps_in1: Irreps of the first input.
        irreps_in2: Irreps of the second input.
        irreps_out: Irreps of the output. What no path reaches is zero.
        instructions: Tuples ``(i_in1, i_in2, i_out, mode, has_weight[, path_weight])``; ``path_weight`` is 1 by default
            and comes into the result with its square root.
        in1_var: Variance of each entry of the first input, for the normalisation; 1 by default.
        in2_var: The same of the second input.
        out_var: Variance wanted of each entry of the output.
        irrep_normalization: "component" (the default: components of variance 1), "norm" (irreps of length 1) or "none".
        path_normalization: "element" (the default: each product counts the same), "path" (each path does) or "none".
        internal_weights: Whether the module owns its weights; by default where they are shared.
        shared_weights: Whether all rows have the same weights; True by default.
        compile_left_right: Either value does: ``forward`` is always there, and nothing is compiled.
        compile_right: Either value does: so is ``right``.
        normalization: Old name of ``irrep_normalization``, deprecated as in e3nn.
        _specialized_code: Means nothing here; leave it at None.
        _optimize_einsums: Means nothing here; leave it at None.
        backend: "auto", "reference" or "fused"; see ``ops.tensor_product``.

    Raises:
        IrrepsError: If irreps or a path are not valid: the message names the path and what is allowed.
        IndexError: If an instruction points past the end of its irreps.
        ConfigError: If a normalization is unknown, ``internal_weights`` and ``shared_weights`` contradict each other,
            or an argument that means nothing here is not at its default.

    Example:
        >>> cross = TensorProduct("16x1o", "16x1o", "16x1e", [(0, 0, 0, "uuu", False)])
        >>> cross
        TensorProduct(16x1o x 16x1o -> 16x1e | 16 paths | 0 weights)
        >>> cross(torch.randn(5, 48), torch.randn(5, 48)).shape
        torch.Size([5, 48])
    """

    tables: Tensor
    output_mask: Tensor

    def __init__(  # noqa: PLR0913, PLR0917 - e3nn's signature
        self,
        irreps_in1: Any,
        irreps_in2: Any,
        irreps_out: Any,
        instructions: Sequence[tuple],
        in1_var: Sequence[float] | Tensor | None = None,
        in2_var: Sequence[float] | Tensor | None = None,
        out_var: Sequence[float] | Tensor | None = None,
        irrep_normalization: str | None = None,
        path_normalization: str | None = None,
        internal_weights: bool | None = None,
        shared_weights: bool | None = None,
        compile_left_right: bool = True,
        compile_right: bool = False,
        normalization: str | None = None,
        _specialized_code: bool | None = None,
        _optimize_einsums: bool | None = None,
        *,
        backend: str = "auto",
    ) -> None:
        only_default(
            _specialized_code=(_specialized_code, None),
            _optimize_einsums=(_optimize_einsums, None),
        )
        if normalization is not None:
            message = "TensorProduct(normalization=...) is deprecated. Use irrep_normalization=..."
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            irrep_normalization = normalization
        irreps = Irreps(irreps_in1), Irreps(irreps_in2), Irreps(irreps_out)
        variances = (
            _variances("in1_var", in1_var, irreps[0]),
            _variances("in2_var", in2_var, irreps[1]),
            _variances("out_var", out_var, irreps[2]),
        )
        paths = normalize_paths(
            irreps,
            read_instructions(*irreps, instructions),
            variances,
            irrep_normalization or "component",
            path_normalization or "element",
        )
        super().__init__(
            paths,
            [ins.has_weight for ins in paths],
            internal_weights=internal_weights,
            shared_weights=shared_weights,
        )
        self.instructions: list[Instruction]
        self.irreps_in1, self.irreps_in2, self.irreps_out = irreps
        self.backend = backend
        self.plan = product_plan(*irreps, paths)
        self.register_buffer("tables", self.plan.tables(torch.get_default_dtype()), persistent=False)
        mask = output_mask(self.irreps_out, paths, like=torch.empty(0))
        self.register_buffer("output_mask", mask, persistent=False)

    def forward(self, x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """Multiply two features.

        Args:
            x: First input, shape ``[..., irreps_in1.dim]``; leading axes broadcast.
            y: Second input, shape ``[..., irreps_in2.dim]``.
            weight: Where the module has none of its own: ``[weight_numel]`` if they are shared, else
                ``[..., weight_numel]``; or a list of one tensor ``[..., *path_shape]`` for each path with weights,
                whose leading axes broadcast.

        Returns:
            Shape ``[..., irreps_out.dim]``.

        Raises:
            ShapeError: If a shape does not fit, or the product has no weights and some are given.
            DtypeError: If the operands and the module are not of one dtype and device.
            RuntimeError: If weights are needed and none are given.
        """
        self._check("x", x)
        self._check("y", y)
        weights = self._used_weights(weight)
        return tensor_product(x, y, weights, self.plan, tables=self.tables, backend=self.backend)

    def right(self, y: Tensor, weight: Tensor | None = None) -> Tensor:
        r"""Fill in the second input: return the matrices B for which the product is :math:`\sum_i x_i B_{ik}`.

        Args:
            y: Second input, shape ``[..., irreps_in2.dim]``.
            weight: As for ``forward``.

        Returns:
            Shape ``[..., irreps_in1.dim, irreps_out.dim]``.

        Raises:
            ShapeError: If a shape does not fit, or the product has no weights and some are given.
            DtypeError: If the operands and the module are not of one dtype and device.
            RuntimeError: If weights are needed and none are given.

        Example:
            >>> product = TensorProduct("8x1o", "1o", "8x1e", [(0, 0, 0, "uvu", True)])
            >>> x, y = torch.randn(5, 24), torch.randn(5, 3)
            >>> B = product.right(y)
            >>> B.shape, torch.allclose(torch.einsum("zi,zik->zk", x, B), product(x, y), atol=1e-5)
            (torch.Size([5, 24, 24]), True)
        """
        self._check("y", y)
        weights = self._used_weights(weight)
        for name, operand in (("y", y), ("weight", weights)):
            if operand is not None and (operand.dtype, operand.device) != (self.tables.dtype, self.tables.device):
                raise DtypeError(
                    f"{self._name()} needs {name} as {str(self.tables.dtype)[6:]} on {self.tables.device}, as the "
                    f"module; got {str(operand.dtype)[6:]} on {operand.device}. Move it with .to(...)."
                )
        return partial_product(y, weights, self.plan)

    def visualize(
        self, weight: Tensor | None = None, plot_weight: bool = True, aspect_ratio: float | str = 1, ax: Any = None
    ) -> tuple[Any, Any]:
        """Draw which entries of the inputs meet in which of the output; see ``draw_product``.

        Args:
            weight: As for ``forward``.
            plot_weight: Whether to colour each path by the mean square of its weights.
            aspect_ratio: Width over height of the picture, or ``"auto"``: by the numbers of entries.
            ax: Axes of matplotlib to draw on; the current ones by default.

        Returns:
            Figure and axes.

        Raises:
            ImportError: If matplotlib is not installed.
            ConfigError: If ``aspect_ratio`` is neither a positive number nor ``"auto"``.

        Example:
            >>> import matplotlib
            >>> matplotlib.use("agg")
            >>> fig, ax = TensorProduct("2x1o", "1o", "2x1e", [(0, 0, 0, "uvu", True)]).visualize()
        """
        from irrepnet.o3.product_figure import draw_product

        strengths = None
        if plot_weight and (weight is not None or self.weight is not None):
            views = self.weight_views(weight, yield_instruction=True)
            strengths = {number: view.detach().pow(2).mean().item() for number, _, view in views if view.numel()}
        irreps = (self.irreps_in1, self.irreps_in2, self.irreps_out)
        return draw_product(irreps, self.instructions, strengths, aspect_ratio, ax)

    def _check(self, name: str, operand: Any) -> None:
        """Raise unless an operand, x or y, is a tensor of the width of its irreps."""
        side, irreps, dim = 1, self.irreps_in1, self.plan.dim1  # the plan's: irreps count theirs anew each time
        if name == "y":
            side, irreps, dim = 2, self.irreps_in2, self.plan.dim2
        if not isinstance(operand, Tensor) or not operand.is_floating_point():
            found = operand.dtype if isinstance(operand, Tensor) else type(operand).__name__
            raise DtypeError(f"{self._name()} needs {name} as a floating-point tensor [..., {dim}]; got {found}.")
        if operand.shape[-1:] != (dim,):
            raise ShapeError(
                f"{self._name()} needs {name} [..., {dim}] for irreps_in{side} = {irreps}; "
                f"got {name} {list(operand.shape)}."
            )

    def _entries(self, instruction: Any) -> str:
        """See ``WeightedMap``."""
        ins = instruction
        return f"{self.irreps_in1[ins.i_in1]} x {self.irreps_in2[ins.i_in2]} -> {self.irreps_out[ins.i_out]}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> TensorProduct:
        """Move parameters, and make constants anew: casts would round the tables, ``to_empty`` leaves no values."""
        super()._apply(fn, recurse)
        self.tables = self.plan.tables(self.tables.dtype, self.tables.device)
        self.output_mask = output_mask(self.irreps_out, self.instructions, like=self.output_mask)
        return self

    def _missing(self) -> str:
        """Say which entries of the output no path reaches."""
        entries = zip(self.irreps_out, self.irreps_out.slices(), strict=True)
        zeros = [str(entry) for entry, s in entries if s.stop > s.start and not self.output_mask[s].any()]
        return f" | no path to {'+'.join(zeros)}" if zeros else ""

    def __repr__(self) -> str:
        paths = sum(math.prod(ins.path_shape) for ins in self.instructions)
        return (
            f"{self._name()}({self.irreps_in1} x {self.irreps_in2} -> {self.irreps_out} | {paths} paths | "
            f"{self.weight_numel} weights{self._missing()})"
        )


def output_mask(irreps_out: Irreps, instructions: Sequence[Any], like: Tensor) -> Tensor:
    """Return 1 for the components that a path reaches and 0 for the others, shape ``[irreps_out.dim]``.

    Args:
        irreps_out: Irreps of the output.
        instructions: Paths; one without channels, or of weight 0, reaches nothing.
        like: Gives dtype and device.

    Example:
        >>> output_mask(Irreps("0e + 1o"), [Instruction(0, 0, 1, "uvw", True, 1.0, (1, 1, 1))], like=torch.empty(0))
        tensor([0., 1., 1., 1.])
    """
    reached = {ins.i_out for ins in instructions if 0 not in ins.path_shape and ins.path_weight != 0}
    mask = torch.zeros(irreps_out.dim, dtype=like.dtype, device="cpu")  # also where the default device has no values
    for i, s in enumerate(irreps_out.slices()):
        if i in reached:
            mask[s] = 1.0
    return mask.to(like.device)


def _variances(name: str, given: Sequence[float] | Tensor | None, irreps: Irreps) -> list[float]:
    """Return one variance for each entry of the irreps."""
    values = [1.0] * len(irreps) if given is None else [float(value) for value in given]
    if len(values) != len(irreps):
        raise IrrepsError(f"{name} needs {len(irreps)} values, one for each entry of '{irreps}'; got {len(values)}.")
    return values
