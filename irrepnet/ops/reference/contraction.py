"""The sum that every tensor product is made of, one message per path: shared by the reference of both product ops."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import opt_einsum
import torch
from torch import Tensor

from irrepnet.ops._constant import constant_when_compiled
from irrepnet.ops.blocks import Block
from irrepnet.ops.product_plan import ChannelwiseGroup, Coupling, ProductPath, ProductPlan

__all__ = ["contract", "contraction_steps"]

# x_{z,i,u}, y_{z,v,j}, C_{i,j,k} and the weights of one path; the pair modes are uuu and uuw over the pairs u < v.
_OUTPUT = {"uvw": "zkw", "uvu": "zku", "uvv": "zkv", "uuw": "zkw", "uuu": "zku", "uvuv": "zkuv"}
_WEIGHTS = {"uvw": "uvw", "uvu": "uv", "uvv": "uv", "uuw": "uw", "uuu": "u", "uvuv": "uv"}
_PAIRS = {"uvu<v": "uuu", "u<vw": "uuw"}
_MOST_PAIRS = 1024  # of channels u and v that are laid out for one product with their weights
_NOMINAL_ROWS = 1000  # stands for the number of rows while a contraction is planned: large, whatever it will be


def contract(
    plan: ProductPlan,
    features: Callable[[tuple[Block, ...]], Tensor],
    y: Tensor,
    weights: Tensor | None,
    tables: Tensor,
) -> list[tuple[tuple[int, ...], Tensor]]:
    r"""Return the messages of all paths, :math:`\sum_{ij} C_{ijk}\, W\, x_i\, y_j` with the sums of each one's mode.

    Args:
        plan: The product; its paths define what is computed.
        features: Given blocks of the first input, returns them as ``[rows, their components, channel]``.
        y: Second input, ``[rows, dim2]``.
        weights: ``[rows, weight_numel]``, or ``[weight_numel]`` for the same in all rows.
        tables: ``plan.tables(...)``.

    Returns:
        Path numbers and their messages, ``[rows, their components, channel]``; each path once.
    """
    groups = plan.channelwise_groups()
    sizes = [group.rows * group.columns for group in groups]
    path_weights = _split_weights(plan, weights, tables)
    messages: list[tuple[tuple[int, ...], Tensor]] = []
    matrices = (y @ tables[: plan.panel_offset].view(plan.dim2, sum(sizes))).split(sizes, dim=1)
    for group, flat in zip(groups, matrices, strict=True):
        M, x = flat.unflatten(1, (group.rows, group.columns)), features(group.blocks)  # y is summed into M already
        message = M * x if group.columns == 1 else torch.bmm(M, x)  # [rows, k, u]
        if group.mixes:
            for number, part in zip(group.paths, message.split(group.dims, dim=1), strict=True):
                W = path_weights[number]
                assert W is not None  # the plan has seen to it
                messages.append(((number,), part @ W.squeeze(-2)))  # [rows, k, w]
        else:
            messages.append((group.paths, _scaled(message, group, path_weights)))
    for number, path in enumerate(plan.paths):
        if not path.channelwise:
            (i, j, k), start = plan.couplings[path.coupling].dims, plan.panel_starts[number]
            C = tables[start : start + i * j * k].view(j, k, i).permute(2, 0, 1)
            like_identity = _is_like_identity(plan.couplings[path.coupling])
            messages.append(
                ((number,), _message(path, features((path.in1,)), y, C, path_weights[number], like_identity))
            )
    return messages


def _split_weights(plan: ProductPlan, weights: Tensor | None, tables: Tensor) -> list[Tensor | None]:
    """Cut the flat weights into those of each path, ``[(rows,) *weight_shape]``."""
    if weights is None:  # paths that have weights all the same have none of them, and sum nothing
        weights = tables.new_zeros(0)
    pieces = iter(weights.split([math.prod(p.weight_shape) for p in plan.paths if p.weight_offset is not None], dim=-1))
    return [
        None if path.weight_offset is None else next(pieces).unflatten(-1, path.weight_shape) for path in plan.paths
    ]


def _scaled(message: Tensor, group: ChannelwiseGroup, path_weights: list[Tensor | None]) -> Tensor:
    """Multiply the components of each path of a group by its weights, ``[(rows,) channel, 1]``."""
    mine = [path_weights[number] for number in group.paths]
    given = [w for w in mine if w is not None]
    if not given:
        return message
    factors = [torch.ones_like(given[0]) if w is None else w for w in mine]
    expanded = [w.mT.expand(*w.shape[:-2], dim, w.shape[-2]) for w, dim in zip(factors, group.dims, strict=True)]
    return message * torch.cat(expanded, dim=-2)  # one product for the group: its derivatives are few, too


def _connected(x: Tensor, y: Tensor, C: Tensor, weights: Tensor, like_identity: bool) -> Tensor:
    """Return the message of a ``uvw`` path, ``[rows, k, w]``: all pairs of channels, then one product with the weights.

    It is not the order of fewest operations, but that of few and large products.
    """
    if like_identity:
        y = y * C[:1, :1, :1].flatten()
        if C.shape[2] == 1 and C.shape[0] > 1:
            pairs = (x.mT @ y.mT).flatten(1).unsqueeze(1)
        else:
            pairs = (x.contiguous().unsqueeze(3) * y.mT.contiguous().unsqueeze(2)).flatten(2)
    else:
        i, _, k = C.shape
        matrices = (y @ C.transpose(0, 1).flatten(1)).unflatten(2, (i, k)).permute(0, 2, 3, 1)  # [rows, i, k, v]
        pairs = (x.mT @ matrices.flatten(2)).unflatten(2, (k, -1)).transpose(1, 2).flatten(2)  # [rows, k, u * v]
    W = weights.flatten(-3, -2)
    # Two axes: PyTorch would make a small product of each row.
    return pairs @ W if W.ndim == 3 else (pairs.contiguous().flatten(0, 1) @ W).unflatten(0, pairs.shape[:2])


@constant_when_compiled
def _is_like_identity(coupling: Coupling) -> bool:
    """Return whether one factor or the product is a scalar, and C a multiple of the identity of the other two."""
    n = max(coupling.dims)
    if sorted(coupling.dims) != sorted((1, n, n)):
        return False
    return coupling.values == tuple(coupling.values[0] if a == b else 0.0 for a in range(n) for b in range(n))


def _message(path: ProductPath, x: Tensor, y: Tensor, C: Tensor, weights: Tensor | None, like_identity: bool) -> Tensor:
    """Return the message of one path of any mode, ``[rows, component, channel]``."""
    y = y[:, path.in2.offset : path.in2.end].unflatten(1, (path.in2.mul, path.in2.dim))  # [rows, v, j]
    mode = path.mode
    if mode == "uvw" and weights is not None and path.in1.mul * path.in2.mul <= _MOST_PAIRS:
        return _connected(x, y, C, weights, like_identity)
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


@constant_when_compiled
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
