"""The convolution's compiled ops and how they are differentiated: three ops, closed under derivatives of every order.

With T(x, y, w, g) the sum over edges and paths of g at the destination times weights times the product of x at the
source and y on the edge, linear in each argument: ``_convolve`` is the gradient of T with respect to g, ``_backward``
those with respect to x, y and w, and ``_second`` the directional derivatives of all four along (dx, dy, dw).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from irrepnet.ops._register import BatchRule, Joint, Op, leading, register

__all__ = ["fused_convolve"]

Maybe = Tensor | None
_X, _Y, _W, _OUT = 1, 2, 4, 8  # bits of `needs`: which gradients an op shall make


def fused_convolve(  # noqa: PLR0913, PLR0917 - a plan and an order, taken apart
    x: Tensor,
    y: Tensor,
    weights: Maybe,
    src: Tensor,
    by_dst: Tensor,
    dst_ptr: Tensor,
    panels: Tensor,
    paths: tuple[int, ...],
    dim_out: int,
) -> Tensor:
    """Convolve with the compiled kernels.

    Args:
        x: Shape ``[num_src, dim1]``.
        y: Shape ``[E, dim2]``.
        weights: Shape ``[E, W]`` or ``[W]``; any row stride. None for a plan without.
        src: Source of each edge.
        by_dst: Edges sorted by destination.
        dst_ptr: Shape ``[num_dst + 1]``.
        panels: ``plan.tables(...)[plan.panel_offset:]``.
        paths: ``plan.panel_paths``.
        dim_out: Columns of the output.

    Returns:
        Shape ``[num_dst, dim_out]``.
    """
    return _convolve(x, y, weights, src, by_dst, dst_ptr, panels, list(paths), dim_out)


def _mask(*needed: bool) -> int:
    return sum(1 << bit for bit, wanted in enumerate(needed) if wanted)


def _sum(*terms: Maybe) -> Maybe:
    given = [term for term in terms if term is not None]
    return sum(given[1:], given[0]) if given else None


def _sums(*rows: tuple[Maybe, ...]) -> tuple[Maybe, ...]:
    return tuple(_sum(*column) for column in zip(*rows, strict=True))


def _kept(outputs: tuple[Tensor, ...], needs: int) -> tuple[Maybe, ...]:
    return tuple(out if needs >> bit & 1 else None for bit, out in enumerate(outputs))


def _weighted(rest: tuple) -> tuple:
    """Return what follows the features with the paths without weights left out: T is not linear in weights there."""
    *order, panels, paths, dim_out = rest
    return *order, panels, [-2 if n % 9 == 7 and number == -1 else number for n, number in enumerate(paths)], dim_out


def _along(direction: tuple[Maybe, ...], g: Tensor, point: tuple[Maybe, ...], rest: tuple, needs: int) -> tuple:
    """Return the derivatives of (gx, gy, gw, out) along a direction (dx, dy, dw), None for those not needed."""
    if needs == 0 or all(d is None for d in direction):
        return (None,) * 4
    return _kept(_second(*direction, g, *point, *rest, needs), needs)


def _at(g: Maybe, point: tuple[Maybe, ...], rest: tuple, needs: int) -> tuple:
    """Return (gx, gy, gw) for another g, and None for what does not depend on it."""
    needs &= ~_OUT
    if needs == 0 or g is None:
        return (None,) * 4
    return *_kept(_backward(g, *point, *rest, needs), needs), None


def _twice(a: tuple, b: tuple, bg: Maybe, g: Tensor, point: tuple, rest: tuple, needs: int) -> tuple:
    """Return the derivatives of (gx, gy, gw, out) along a = (ax, ay, aw) and then along b, where b may move g too.

    All are linear in each of x, y, w and g, so one argument gives way to its direction in a, and another to that in b.
    """
    rows = [(None,) * 4]
    for slot in range(3):
        if a[slot] is None:
            continue
        moved = (*point[:slot], a[slot], *point[slot + 1 :])
        wanted = needs & ~(1 << slot)  # the gradient for an argument does not depend on it
        others = tuple(None if k == slot else direction for k, direction in enumerate(b))
        kept = _weighted(rest) if slot == 2 else rest
        rows += [_along(others, g, moved, kept, wanted), _at(bg, moved, kept, wanted)]
    return _sums(*rows)


def _tangents(found: tuple[Maybe, ...], like: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return zeros in place of None, which forward mode inside vmap does not take."""
    return tuple(torch.zeros_like(b) if a is None else a for a, b in zip(found, like, strict=True))


# ---- out


def _convolve_vjp(needed: tuple[bool, ...], grads: tuple[Tensor, ...], *args: Any) -> tuple[Maybe, ...]:
    needs = _mask(*needed[:3])
    return *_at(grads[0], args[:3], args[3:], needs)[:3], *[None] * 6


def _convolve_jvp(tangents: tuple[Maybe, ...], *args: Any) -> Maybe:
    point, rest = args[:3], args[3:]
    slots = [k for k in range(3) if tangents[k] is not None]
    return _sum(
        *(_convolve(*point[:k], tangents[k], *point[k + 1 :], *(_weighted(rest) if k == 2 else rest)) for k in slots)
    )


def _convolve_fake(x: Tensor, y: Tensor, w: Maybe, src: Tensor, by_dst: Tensor, dst_ptr: Tensor, *args: Any) -> Tensor:
    return x.new_empty(dst_ptr.shape[0] - 1, args[-1])


# ---- (gx, gy, gw)


def _backward_vjp(needed: tuple[bool, ...], grads: tuple[Maybe, ...], *args: Any) -> tuple[Maybe, ...]:
    g, point, rest = args[0], args[1:4], args[4:10]
    gx, gy, gw, out = _along(grads, g, point, rest, _mask(*needed[1:4], needed[0]))
    return out, gx, gy, gw, *[None] * 7


def _backward_jvp(tangents: tuple[Maybe, ...], *args: Any) -> tuple[Maybe, ...]:
    g, point, rest, needs = args[0], args[1:4], args[4:10], args[10]
    found = _sums(_along(tangents[1:4], g, point, rest, needs), _at(tangents[0], point, rest, needs))
    return _tangents(found[:3], _backward_fake(*args))


def _backward_fake(g: Tensor, x: Tensor, y: Tensor, w: Maybe, *args: Any) -> tuple[Tensor, ...]:
    needs = args[-1]
    return tuple(
        like.new_empty(like.shape) if like is not None and needs >> bit & 1 else x.new_empty(0)
        for bit, like in enumerate((x, y, w))
    )


# ---- (gx, gy, gw, out) along (dx, dy, dw)


def _second_vjp(needed: tuple[bool, ...], grads: tuple[Maybe, ...], *args: Any) -> tuple[Maybe, ...]:
    # The scalar <grads, outputs> is T derived along the direction and along (grads): symmetric in the two.
    direction, g, point, rest = args[:3], args[3], args[4:7], args[7:13]
    *along, out_grad = grads
    first = _mask(*needed[:3])
    d = _sums(_along(tuple(along), g, point, rest, first), _at(out_grad, point, rest, first))
    gx, gy, gw, out = _twice(direction, tuple(along), out_grad, g, point, rest, _mask(*needed[4:7], needed[3]))
    return *d[:3], out, gx, gy, gw, *[None] * 7


def _second_jvp(tangents: tuple[Maybe, ...], *args: Any) -> tuple[Maybe, ...]:
    direction, g, point, rest, needs = args[:3], args[3], args[4:7], args[7:13], args[13]
    rows = [
        _along(tangents[:3], g, point, rest, needs),
        _twice(direction, tangents[4:7], None, g, point, rest, needs),
    ]
    if tangents[3] is not None:
        rows.append(_along(direction, tangents[3], point, rest, needs & ~_OUT))
    return _tangents(_sums(*rows), _second_fake(*args))


def _second_fake(dx: Maybe, dy: Maybe, dw: Maybe, g: Tensor, *args: Any) -> tuple[Tensor, ...]:
    out = g.new_empty(g.shape) if args[-1] & _OUT else g.new_empty(0)
    return *_backward_fake(g, *args), out


# ---- a batch of graphs is one larger graph


def _graphwise(count: int, rows: str) -> Any:
    """Return the batch rule of an op whose first arguments are features; `rows` says of what: x, y, w or g.

    Args:
        count: Number of feature arguments; src, by_dst, dst_ptr and constants follow.
        rows: What each output has rows of, one letter for each.
    """

    def make(call: Op) -> BatchRule:
        def rule(batch: int, in_dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
            features, (src, by_dst, dst_ptr), constants = args[:count], args[count : count + 3], args[count + 3 :]
            if any(isinstance(dim, int) for dim in in_dims[count:]):
                raise RuntimeError("convolve can be mapped over features and weights, not over edges or tables")
            edges, x = src.shape[0], leading(features[count - 3], in_dims[count - 3], batch)
            size = {"x": x.shape[1], "y": edges, "w": edges, "g": dst_ptr.shape[0] - 1}
            moved: list[Any] = [
                _flattened(f, dim, batch, edges) for f, dim in zip(features, in_dims[:count], strict=True)
            ]
            step = torch.arange(batch, device=src.device).unsqueeze(1)
            order = (
                (src + step * size["x"]).flatten(),
                (by_dst + step * edges).flatten(),
                torch.cat([(dst_ptr[:-1] + step * edges).flatten(), dst_ptr[-1:] * batch]),
            )
            outputs = call(*moved, *order, *constants)
            several = isinstance(outputs, tuple)
            shared = features[count - 1] is not None and _ndim(features[count - 1], in_dims[count - 1]) == 1
            found = tuple(
                _unflattened(out, batch, size[letter], shared and letter == "w")
                for out, letter in zip(outputs if several else (outputs,), rows, strict=True)
            )
            return (found, (0,) * len(found)) if several else (found[0], 0)

        return rule

    return make


def _ndim(value: Tensor, dim: int | None) -> int:
    return value.ndim - (dim is not None)


def _flattened(value: Maybe, dim: int | None, batch: int, edges: int) -> Maybe:
    """Return features with the rows of all graphs, one graph after another; weights of all edges become one a row."""
    if value is None:
        return None
    value = leading(value, dim, batch)
    if value.ndim == 2:
        value = value.unsqueeze(1).expand(batch, edges, value.shape[-1])
    return value.flatten(0, 1)


def _unflattened(out: Tensor, batch: int, size: int, sum_edges: bool) -> Tensor:
    if out.ndim == 1:  # not needed
        return out.expand(batch, 0)
    out = out.unflatten(0, (batch, size))
    return out.sum(1) if sum_edges else out


_second: Op = register(
    "convolve_second",
    fake=_second_fake,
    derivatives=Joint(_second_vjp, _second_jvp),
    batch=_graphwise(7, "xywg"),
)
_backward: Op = register(
    "convolve_backward",
    fake=_backward_fake,
    derivatives=Joint(_backward_vjp, _backward_jvp),
    batch=_graphwise(4, "xyw"),
)
_convolve: Op = register(
    "convolve",
    fake=_convolve_fake,
    derivatives=Joint(_convolve_vjp, _convolve_jvp),
    batch=_graphwise(3, "g"),
)
