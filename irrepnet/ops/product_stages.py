"""How a tensor product is made of products of pairs of channels, and of linear maps of channels before them.

Where weights sum over the channels of one input alone, these are mixed first (``uvu``, ``uvv``): they are fewer than
the pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from irrepnet.ops.blocks import Block
from irrepnet.ops.linear import LinearPath, LinearPlan
from irrepnet.ops.pair_product import PairPath, PairPlan
from irrepnet.ops.product_modes import PRODUCT_MODES

if TYPE_CHECKING:
    from irrepnet.ops.product_plan import ProductPath

__all__ = ["ProductStage", "product_stages"]


class ProductStage(NamedTuple):
    """Paths that are made in one way.

    Attributes:
        mixed: Which input is mixed first, "x", "y" or "" for none.
        linear: The mixing; for "y" it is transposed, for its weights are laid out ``[channel of x, channel of y]``.
        pairs: The product of pairs.
        ones: How many ones stand in for the weights of paths that have none and sum over channels; 0 elsewhere.
    """

    mixed: str
    linear: LinearPlan | None
    pairs: PairPlan
    ones: int


def product_stages(
    paths: Sequence[ProductPath], columns: tuple[int, int, int], weight_numel: int, constants: Sequence[int]
) -> tuple[ProductStage, ...]:
    """Sort the paths of a product into stages, whose sum it is.

    Args:
        paths: The paths; those without channels are left out.
        columns: Of the first input, the second and the output.
        weight_numel: Number of weights.
        constants: For each path, where among the tables its coupling begins, ``[j, k, i]``.

    Example:
        >>> from irrepnet import o3
        >>> product = o3.TensorProduct("2x1o", "3x1o", "2x0e + 6x0e", [(0, 0, 0, "uvu", True), (0, 0, 1, "uvuv", True)])
        >>> [stage.mixed for stage in product.plan.stages]
        ['y', '']
    """
    kinds: dict[tuple[str, bool, bool], list[tuple[ProductPath, int]]] = {}
    for path, begin in zip(paths, constants, strict=True):
        mode, weighted = PRODUCT_MODES[path.mode], path.weight_offset is not None
        if _pairs(path) and path.out.mul:
            kinds.setdefault((mode.mixed, weighted, mode.mixes_pairs and not weighted), []).append((path, begin))
    return tuple(
        _stage(mixed, members, columns, weight_numel if weighted else None)
        for (mixed, weighted, _), members in kinds.items()
    )


def _pairs(path: ProductPath) -> int:
    """Return how many pairs of channels meet, before any mixing."""
    u, v = path.in1.mul, path.in2.mul
    mode = PRODUCT_MODES[path.mode]
    if mode.meeting == "ascending":
        return u * (u - 1) // 2
    return min(u, v) if mode.meeting == "same" and not mode.mixed else u * v


def _stage(
    mixed: str, members: Iterable[tuple[ProductPath, int]], columns: tuple[int, int, int], weight_numel: int | None
) -> ProductStage:
    """Lay out a stage. What is mixed first gets a block for each path, with as many channels as the other input."""
    linear: list[LinearPath] = []
    pairs: list[PairPath] = []
    end = ones = 0
    for path, begin in members:
        mode, x, y, weights = PRODUCT_MODES[path.mode], path.in1, path.in2, path.weight_offset
        if weight_numel is None and (mixed or mode.mixes_pairs):
            weights, ones = ones, ones + _pairs(path)  # one number each: uuw without weights has a single channel out
        if mixed == "x":
            x = Block(end, y.mul, x.dim)
            linear.append(LinearPath(path.in1, x, weights or 0, 1.0))
        elif mixed == "y":
            y = Block(end, x.mul, y.dim)
            linear.append(LinearPath(y, path.in2, weights or 0, 1.0))
        end = {"x": x, "y": y, "": path.out}[mixed].end
        mul_out = path.out.mul if mode.mixes_pairs else 0
        out = Block(path.out.offset, mul_out, path.out.dim)
        pairs.append(PairPath(x, y, out, None if mixed else weights, begin, mode.meeting))
    dim_x, dim_y, dim_out = columns
    numel = ones if weight_numel is None else weight_numel
    plan = None
    if mixed == "x":
        plan, dim_x = LinearPlan(dim_x, end, numel, tuple(linear)), end
    elif mixed == "y":
        plan, dim_y = LinearPlan(end, dim_y, numel, tuple(linear)), end
    return ProductStage(mixed, plan, PairPlan(dim_x, dim_y, 0 if mixed else numel, dim_out, tuple(pairs)), ones)
