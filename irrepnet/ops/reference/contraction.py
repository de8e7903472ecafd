"""The sum that every tensor product is made of, one message per path: shared by the reference of both product ops."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import opt_einsum
import torch
from torch import Tensor

from irrepnet.ops.blocks import Block

if TYPE_CHECKING:
    from irrepnet.ops.tensor_product import ProductPath, ProductPlan

__all__ = ["contract", "contraction_steps"]

# x_{z,i,u}, y_{z,v,j}, C_{i,j,k} and the weights of one path; the pair modes are uuu and uuw over the pairs u < v.
_OUTPUT = {"uvw": "zkw", "uvu": "zku", "uvv": "zkv", "uuw": "zkw", "uuu": "zku", "uvuv": "zkuv"}
_WEIGHTS = {"uvw": "uvw", "uvu": "uv", "uvv": "uv", "uuw": "uw", "uuu": "u", "uvuv": "uv"}
_PAIRS = {"uvu<v": "uuu", "u<vw": "uuw"}
_NOMINAL_ROWS = 1000  # stands for the number of rows while a contraction is planned: large, whatever it will be


def contract(
    plan: ProductPlan, blocks: Mapping[Block, Tensor], y: Tensor, weights: Tensor | None, tables: Tensor
) -> list[Tensor]:
    r"""Return the message of every path, :math:`s \sum_{ij} C_{ijk}\, W\, x_i\, y_j` with the sums of its mode.

    Args:
        plan: The product; its paths define what is computed.
        blocks: The blocks of the first input, each ``[rows, component, channel]``.
        y: Second input, ``[rows, dim2]``.
        weights: ``[rows, weight_numel]``, or ``[weight_numel]`` for the same in all rows.
        tables: ``plan.tables(...)``.

    Returns:
        One tensor ``[rows, component, channel]`` for each path, in their order.
    """
    rows = y.shape[0]
    groups = plan.channelwise_groups()
    path_weights = _split_weights(plan, weights)
    sizes = [sum(plan.paths[n].out.dim for n in numbers) * block.dim for block, numbers in groups]
    matrix = tables[: plan.dim2 * sum(sizes)].view(plan.dim2, -1) if groups else tables[:0]
    messages: dict[int, Tensor] = {}
    edge_matrices = (y @ matrix).split(sizes, dim=1) if groups else ()
    for (block, numbers), flat in zip(groups, edge_matrices, strict=True):
        outs = [plan.paths[n].out.dim for n in numbers]
        M = flat.view(rows, sum(outs), block.dim)  # [rows, k of all paths, i], the coupling with y summed over j
        x = blocks[block]
        if block.dim == 1:  # weights first, where the message is smallest
            for n, M_n in zip(numbers, M.split(outs, dim=1), strict=True):
                messages[n] = M_n * _weighted(x, path_weights[n])
        else:
            for n, product in zip(numbers, torch.bmm(M, x).split(outs, dim=1), strict=True):
                messages[n] = _weighted(product, path_weights[n])
    offset = plan.dim2 * sum(sizes)
    for n, path in enumerate(plan.paths):
        if not path.channelwise:
            dims = (path.in1.dim, path.in2.dim, path.out.dim)
            C = tables[offset : offset + math.prod(dims)].view(dims)
            messages[n] = _einsum(path, blocks[path.in1], y, C, path_weights[n])
            offset += C.numel()
    return [messages[n] for n in range(len(plan.paths))]


def _split_weights(plan: ProductPlan, weights: Tensor | None) -> list[Tensor | None]:
    """Cut the flat weights into those of each path: ``[rows, 1, channel]`` or ``[channel]`` for a channelwise one."""
    if weights is None:
        return [None] * len(plan.paths)
    sizes = [math.prod(path.weight_shape) for path in plan.paths if path.weight_offset is not None]
    pieces = iter(weights.split(sizes, dim=-1))
    out: list[Tensor | None] = []
    for path in plan.paths:
        if path.weight_offset is None:
            out.append(None)
        elif path.channelwise:
            out.append(next(pieces).unsqueeze(-2))
        else:
            out.append(next(pieces).unflatten(-1, path.weight_shape))
    return out


def _weighted(features: Tensor, weights: Tensor | None) -> Tensor:
    return features if weights is None else features * weights


def _einsum(path: ProductPath, x: Tensor, y: Tensor, C: Tensor, weights: Tensor | None) -> Tensor:
    """Return the message of one path of any mode, ``[rows, component, channel]``."""
    y = y[:, path.in2.offset : path.in2.end].unflatten(1, (path.in2.mul, path.in2.dim))  # [rows, v, j]
    mode = path.mode
    if mode in _PAIRS:
        u, v = torch.triu_indices(path.in1.mul, path.in2.mul, 1, device=x.device)
        x, y, mode = x.index_select(2, u), y.index_select(1, v), _PAIRS[mode]
    v_letter = "u" if mode in ("uuw", "uuu") else "v"
    terms = ["ziu", f"z{v_letter}j", "ijk"]
    operands = [x, y, C]
    if weights is not None:
        shared = weights.ndim == len(path.weight_shape)
        terms.append(_WEIGHTS[mode] if shared else "z" + _WEIGHTS[mode])
        operands.append(weights)
    output = _OUTPUT[mode] if weights is not None or mode != "uuw" else "zk"
    sizes = {"z": _NOMINAL_ROWS}
    for term, operand in zip(terms, operands, strict=True):
        sizes.update((letter, size) for letter, size in zip(term, operand.shape, strict=True) if letter != "z")
    for positions, subscripts in contraction_steps(",".join(terms) + "->" + output, tuple(sizes.items())):
        operands.append(torch.einsum(subscripts, *(operands.pop(position) for position in positions)))
    out = operands[0]
    return out.unsqueeze(-1) if output == "zk" else out.flatten(2)  # 'uvuv' has two channel axes


@torch.compiler.assume_constant_result
def contraction_steps(subscripts: str, sizes: tuple[tuple[str, int], ...]) -> tuple[tuple[tuple[int, ...], str], ...]:
    """Plan an einsum of several operands as steps of two: which operands to take out, and their einsum.

    Args:
        subscripts: The whole einsum.
        sizes: Size of each letter; numbers only, so that planning never meets the symbolic sizes of a traced graph.

    Example:
        >>> contraction_steps("za,ab,zb->z", (("z", 1000), ("a", 3), ("b", 2)))
        (((1, 0), 'ab,za->bz'), ((1, 0), 'bz,zb->z'))
    """
    return _contraction_steps(subscripts, sizes)


@cache
def _contraction_steps(subscripts: str, sizes: tuple[tuple[str, int], ...]) -> tuple[tuple[tuple[int, ...], str], ...]:
    size = dict(sizes)
    terms, _, _ = subscripts.partition("->")
    shapes = [tuple(size[letter] for letter in term) for term in terms.split(",")]
    _, info = opt_einsum.contract_path(subscripts, *shapes, shapes=True, optimize="optimal")
    return tuple((tuple(step[0]), step[2]) for step in info.contraction_list)
