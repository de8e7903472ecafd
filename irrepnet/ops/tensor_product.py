"""The tensor product of features row by row, as a plan says."""

from __future__ import annotations

import torch
from torch import Tensor

from irrepnet.errors import DtypeError, ShapeError
from irrepnet.ops._autocast import autocasting, without_autocast
from irrepnet.ops._backend import choose
from irrepnet.ops._convolution import fused_convolve
from irrepnet.ops.linear import fused_linear
from irrepnet.ops.pair_product import pair_product
from irrepnet.ops.product_plan import ProductPlan
from irrepnet.ops.product_stages import ProductStage
from irrepnet.ops.reference import tensor_product as reference
from irrepnet.ops.reference.tensor_product import broadcast_rows, flat_rows

__all__ = ["check_operands", "fused_obstacle", "fused_product", "tensor_product"]


def tensor_product(
    x: Tensor,
    y: Tensor,
    weights: Tensor | None,
    plan: ProductPlan,
    *,
    tables: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Multiply features row by row, as a plan says.

    Args:
        x: First input, shape ``[..., dim1]``. Leading axes of the operands broadcast.
        y: Second input, shape ``[..., dim2]``.
        weights: Shape ``[..., weight_numel]``, or ``[weight_numel]`` for the same in all rows; None where the plan
            has none.
        plan: The product.
        tables: ``plan.tables(dtype, device)``, if the caller keeps them; else they are made on each call.
        backend: "auto", "reference" or "fused".

    Returns:
        Shape ``[..., dim_out]``.

    Raises:
        ShapeError: If the last axes or the tables do not fit the plan, or leading axes do not broadcast.
        DtypeError: If the operands do not share one floating-point dtype.
        BackendError: If the backend is unknown or cannot serve.

    Example:
        >>> from irrepnet.ops import Block, Coupling, ProductPath
        >>> dot = Coupling((3, 3, 1), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
        >>> block = Block(0, 1, 3)
        >>> plan = ProductPlan(3, 3, 1, 0, (ProductPath(block, block, Block(0, 1, 1), "uuu", 0, None, 1.0),), (dot,))
        >>> tensor_product(torch.ones(2, 3), torch.ones(2, 3), None, plan)
        tensor([[3.],
                [3.]])
    """
    named = {"x": (x, plan.dim1), "y": (y, plan.dim2), "weights": (weights, plan.weight_numel)}
    x, y, weights, tables = check_operands("tensor_product", named, plan, tables)
    if choose(backend, "tensor_product", x, y, weights, obstacle=fused_obstacle(plan, x.device)) == "fused":
        batch = broadcast_rows(x, y, weights)
        x, y = flat_rows(x, batch), flat_rows(y, batch)
        if weights is not None and weights.ndim > 1:
            weights = flat_rows(weights, batch)
        return fused_product(x, y, weights, plan, tables).reshape(*batch, plan.dim_out)
    with without_autocast(x.device):
        return reference.tensor_product(x, y, weights, plan, tables)


def fused_obstacle(plan: ProductPlan, device: torch.device) -> str | None:
    """Return why the fused kernels for a device cannot serve a plan, or None."""
    if device.type != "cuda":
        return None
    if plan.panel_paths is None:
        return (
            "its CUDA kernels serve paths that are channelwise only (modes uvu and uvuv with one channel in the second "
            "factor)"
        )
    if plan.mixes:
        return "its CUDA kernels have no weights that mix channels (mode uvw)"
    return None


def fused_product(x: Tensor, y: Tensor, weights: Tensor | None, plan: ProductPlan, tables: Tensor) -> Tensor:
    """Multiply rows with the compiled kernels.

    Args:
        x: Shape ``[Z, dim1]``.
        y: Shape ``[Z, dim2]``.
        weights: Shape ``[weight_numel]`` or ``[Z, weight_numel]``; None for a plan without.
        plan: The product, one that ``fused_obstacle`` finds nothing against.
        tables: ``plan.tables(...)``.

    Returns:
        Shape ``[Z, dim_out]``.
    """
    # Kernels of the convolution read weights of each row where they lie, those of pairs make the most of shared ones.
    shared = weights is not None and weights.ndim == 1
    if plan.panel_paths is not None and not (plan.mixes and shared and x.device.type == "cpu"):
        return _as_edges(x, y, weights, plan, tables)
    sets = weights.unsqueeze(0) if weights is not None and shared else weights
    terms = [_multiply(x, y, sets, stage, tables) for stage in plan.stages]
    return sum(terms[1:], terms[0]) if terms else x.new_zeros(x.shape[0], plan.dim_out)


def _as_edges(x: Tensor, y: Tensor, weights: Tensor | None, plan: ProductPlan, tables: Tensor) -> Tensor:
    """Multiply with the kernels of the convolution: each row is a point with one edge, from itself to itself."""
    assert plan.panel_paths is not None
    rows = torch.arange(x.shape[0] + 1, device=x.device)
    panels = tables[plan.panel_offset :]
    return fused_convolve(x, y, weights, rows[:-1], rows[:-1], rows, panels, plan.panel_paths, plan.dim_out)


def _multiply(x: Tensor, y: Tensor, weights: Tensor | None, stage: ProductStage, tables: Tensor) -> Tensor:
    """Multiply along the paths of one stage; weights ``[1, numel]`` or ``[rows, numel]``."""
    if stage.ones:
        weights = x.new_ones(1, stage.ones)
    if stage.linear is not None:
        assert weights is not None
        if stage.mixed == "x":
            x = fused_linear(x, weights, stage.linear)
        else:
            y = fused_linear(y, weights, stage.linear, transposed=True)
    return pair_product(x, y, weights if stage.pairs.weight_numel else None, tables, stage.pairs)


def check_operands(
    op: str, named: dict[str, tuple[Tensor | None, int]], plan: ProductPlan, tables: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Check the operands of a product op and return them with the tables; under autocast, half becomes float32.

    Args:
        op: Name of the op, for messages.
        named: Name of each of the three operands -> the operand and the needed size of its last axis.
        plan: The product.
        tables: The caller's tables or None.

    Raises:
        ShapeError: If a last axis or the tables do not fit.
        DtypeError: If the operands do not share one floating-point dtype.
    """
    operands: list[Tensor | None] = []
    for name, (operand, size) in named.items():
        if name == "weights" and size == 0:
            operands.append(None)
            continue
        if not isinstance(operand, Tensor) or not operand.is_floating_point():
            kind = operand.dtype if isinstance(operand, Tensor) else type(operand).__name__
            raise DtypeError(f"{op} needs {name} as a floating-point tensor [..., {size}]; got {kind}.")
        if operand.ndim == 0 or operand.shape[-1] != size:
            raise ShapeError(f"{op} needs {name} [..., {size}]; got {name} {list(operand.shape)}.")
        half = operand.dtype in (torch.float16, torch.bfloat16)
        operands.append(operand.float() if half and autocasting(operand.device) else operand)
    x, y, weights = operands
    assert x is not None and y is not None
    if tables is None:
        tables = plan.tables(x.dtype, x.device)
    elif tables.shape != (plan.table_numel,):
        raise ShapeError(
            f"{op} needs tables [{plan.table_numel}] = plan.tables(dtype, device); got {list(tables.shape)}. "
            "Make them from the same plan."
        )
    given = {**dict(zip(named, operands, strict=True)), "tables": tables}
    found = {name: operand for name, operand in given.items() if operand is not None}
    if len({(operand.dtype, operand.device) for operand in found.values()}) > 1:
        kinds = ", ".join(f"{name} {str(operand.dtype)[6:]} on {operand.device}" for name, operand in found.items())
        raise DtypeError(f"{op} needs operands of one dtype on one device; got {kinds}. Move them with .to(...).")
    return x, y, weights, tables
