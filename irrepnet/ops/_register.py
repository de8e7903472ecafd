"""The one recipe by which a kernel of the op library becomes a differentiable PyTorch op.

Two ways of differentiating exist in PyTorch and neither does everything: an op registered with the dispatcher works
under torch.compile and torch.export, a ``torch.autograd.Function`` works under torch.func. So each op is given both,
made from the same derivative formulas, and the wrapper takes the one that fits. The formulas call wrappers again, so
derivatives of every order follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from irrepnet.ops._backend import library_status

__all__ = ["Derivative", "register", "rowwise"]

Rule = Callable[..., tuple[Tensor, int]]


class Derivative(NamedTuple):
    """How an op depends on one of its arguments, to first order.

    Attributes:
        vjp: ``vjp(grad, output, *args)`` returns the gradient with respect to the argument.
        jvp: ``jvp(tangent, output, *args)`` returns the tangent of the output. None says that the op is linear in the
            argument, so that the op itself with the tangent in its place is the answer.
    """

    vjp: Callable[..., Tensor]
    jvp: Callable[..., Tensor] | None = None


def register(
    name: str,
    *,
    fake: Callable[..., Tensor],
    derivatives: Mapping[int, Derivative],
    batch: Callable[[Callable[..., Tensor]], Rule],
    needs_output: bool = False,
) -> Callable[..., Tensor]:
    """Register one op of the library and return the function that calls it.

    Args:
        name: The op's name in the library's schema.
        fake: Returns an empty output of the right shape and dtype for the op's arguments.
        derivatives: Argument position -> derivative, for every argument that may carry a gradient.
        batch: Given the wrapper, returns the rule for ``vmap``; see :func:`rowwise`.
        needs_output: Keep the output for the derivative formulas; otherwise they get None for it.

    Returns:
        The wrapper, differentiable to every order. Without the op library it must not be called (``choose`` of
        ``_backend`` sees to that).
    """
    qualified = f"irrepnet::{name}"
    op: Any = None  # without the library there is nothing to register

    def call(*args: Any) -> Tensor:
        if torch.compiler.is_compiling():
            return op(*args)
        return function.apply(*_autocast(args))

    def save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        tensors = [value for value in inputs if isinstance(value, Tensor)]
        ctx.others = [None if isinstance(value, Tensor) else value for value in inputs]
        ctx.slots = [k for k, value in enumerate(inputs) if isinstance(value, Tensor)]
        ctx.save_for_backward(*tensors, *([output] if needs_output else []))

    def restore(ctx: Any) -> tuple[list[Any], Tensor | None]:
        saved = list(ctx.saved_tensors)
        output = saved.pop() if needs_output else None
        args = list(ctx.others)
        for slot, tensor in zip(ctx.slots, saved, strict=True):
            args[slot] = tensor
        return args, output

    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        args, output = restore(ctx)
        needed = ctx.needs_input_grad
        return tuple(
            derivatives[k].vjp(grad, output, *args) if k in derivatives and needed[k] else None
            for k in range(len(args))
        )

    def tangent(ctx: Any, *tangents: Tensor | None) -> Tensor | None:
        args, output = restore(ctx)
        total = None
        for k, derivative in derivatives.items():
            direction = tangents[k]
            if direction is None:
                continue
            if derivative.jvp is not None:
                term = derivative.jvp(direction, output, *args)
            else:
                term = call(*args[:k], direction, *args[k + 1 :])
            total = term if total is None else total + term
        return total

    rule = batch(call)

    def batched(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
        return rule(info.batch_size, in_dims, *args)

    def save_both(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        save(ctx, inputs, output)
        ctx.save_for_forward(*ctx.to_save)

    function = type(
        name,
        (torch.autograd.Function,),
        {
            "forward": staticmethod(lambda *args: op(*args)),
            "setup_context": staticmethod(save_both),
            "backward": staticmethod(backward),
            "jvp": staticmethod(tangent),
            "vmap": staticmethod(batched),
        },
    )
    if library_status().loaded:
        op = getattr(torch.ops.irrepnet, name).default
        torch.library.register_fake(qualified, fake)
        torch.library.register_autograd(qualified, backward, setup_context=save)
        torch.library.register_vmap(qualified, batched)
        for device in library_status().devices:
            torch.library.register_autocast(qualified, device, torch.float32)
    return call


def _autocast(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Cast half precision to float32 where autocast is on, before autograd sees the arguments."""
    device = next(value.device.type for value in args if isinstance(value, Tensor))
    if not torch.is_autocast_enabled(device):
        return args
    half = (torch.float16, torch.bfloat16)
    return tuple(value.float() if isinstance(value, Tensor) and value.dtype in half else value for value in args)


def rowwise(call: Callable[..., Tensor]) -> Rule:
    """Return the vmap rule of an op whose tensors all have the same leading axes: batching adds one more."""

    def rule(batch_size: int, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
        def lead(value: Any, dim: int | None) -> Any:
            if not isinstance(value, Tensor):
                return value
            return value.expand(batch_size, *value.shape) if dim is None else value.movedim(dim, 0)

        return call(*(lead(value, dim) for value, dim in zip(args, in_dims, strict=True))), 0

    return rule
