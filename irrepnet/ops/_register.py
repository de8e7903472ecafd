"""The one recipe by which a kernel of the op library becomes a differentiable PyTorch op.

PyTorch differentiates in two ways and neither does everything: an op registered with the dispatcher serves eager
code, ``torch.compile`` and ``torch.export``; a ``torch.autograd.Function`` serves ``torch.func`` and forward mode. So
each op is given both, made from the same derivative formulas, and its wrapper takes the one that fits. The formulas
call wrappers again, so derivatives of every order follow.

What holds the dispatcher's op knows no forward mode, and PyTorch then takes zero for its tangents without a word. So
``choose`` of ``_backend`` gives a transform inside ``torch.compile`` the reference. A graph that was traced before -
an exported program, a result of ``make_fx``, a direct call of ``torch.ops.irrepnet`` - is out of its reach: never put
one under ``torch.func.jvp``, ``jacfwd``, ``hessian`` or ``forward_ad``; trace it with ``backend='reference'`` for that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from irrepnet.ops._autocast import autocasting
from irrepnet.ops._backend import library_status, transforming

__all__ = ["Derivative", "Joint", "Op", "leading", "register", "rowwise"]

Op = Callable[..., Any]  # returns a tensor or a tuple of tensors
BatchRule = Callable[..., tuple[Any, Any]]


class Derivative(NamedTuple):
    """How an op depends on one of its arguments, to first order.

    The formulas see the op's arguments, never its output: PyTorch detaches a saved output when ``make_fx`` traces it,
    and second derivatives of the traced graph would be silently wrong.

    Attributes:
        vjp: ``vjp(grad, *args)`` returns the gradient with respect to the argument.
        jvp: ``jvp(tangent, *args)`` returns the tangent of the output. None says that the op is linear in the
            argument, so that the op with the tangent in its place is the answer.
    """

    vjp: Op
    jvp: Op | None = None


class Joint(NamedTuple):
    """The derivatives of an op with respect to all its arguments at once, for kernels that make them in one pass.

    Attributes:
        vjp: ``vjp(needed, grads, *args)``: given which arguments need a gradient and one gradient for each output
            (None: zero), returns a gradient or None for each argument.
        jvp: ``jvp(tangents, *args)``: given a tangent or None for each argument, returns the tangent of the output, or
            a tuple with a tangent or None for each.
    """

    vjp: Callable[..., tuple[Tensor | None, ...]]
    jvp: Callable[..., Any]


def register(
    name: str, *, fake: Op, derivatives: Mapping[int, Derivative] | Joint, batch: Callable[[Op], BatchRule]
) -> Op:
    """Register one op of the library and return the function that calls it, differentiable to every order.

    Args:
        name: The op's name in the library's schema.
        fake: Returns an empty output of the right shape and dtype, given the op's arguments.
        derivatives: Argument position -> derivative, for every argument that may carry a gradient; or all in one.
        batch: Given the wrapper, returns the rule for ``vmap``; see :func:`rowwise`.

    Returns:
        The wrapper. Without the op library it cannot be called; ``choose`` of ``_backend`` sees to that.
    """
    if not library_status().loaded:
        return _unavailable
    op = getattr(torch.ops.irrepnet, name).default

    def call(*args: Any) -> Any:
        if torch.compiler.is_compiling():
            return op(*args)
        if transforming():
            return differentiable.apply(*_autocast(args))
        # The old vmap (is_grads_batched) lies above autograd and is no transform: only the dispatcher knows it.
        if any(isinstance(value, Tensor) and torch._C._functorch.is_legacy_batchedtensor(value) for value in args):
            return op(*args)
        # The dispatcher would reach the same rules through Python twice, at 10 us for each call.
        if torch.is_grad_enabled() and any(isinstance(value, Tensor) and value.requires_grad for value in args):
            return eager.apply(*_autocast(args))
        with torch._C._AutoDispatchBelowAutograd():
            return op(*args)

    rules = _Rules(derivatives if isinstance(derivatives, Joint) else _one_by_one(call, derivatives))
    rule = batch(call)

    def batched(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        return rule(info.batch_size, in_dims, *args)

    members = {"forward": op, "setup_context": rules.save, "backward": rules.vjp, "jvp": rules.jvp, "vmap": batched}
    differentiable: Any = type(
        name, (torch.autograd.Function,), {key: staticmethod(value) for key, value in members.items()}
    )

    def forward(ctx: Any, *args: Any) -> Any:
        rules.save(ctx, args, None)
        with torch._C._AutoDispatchBelowAutograd():
            return op(*args)

    eager: Any = type(
        name, (torch.autograd.Function,), {"forward": staticmethod(forward), "backward": staticmethod(rules.vjp)}
    )

    torch.library.register_fake(f"irrepnet::{name}", fake)
    torch.library.register_autograd(f"irrepnet::{name}", rules.vjp, setup_context=rules.save)
    torch.library.register_vmap(f"irrepnet::{name}", batched)
    for device in library_status().devices:
        torch.library.register_autocast(f"irrepnet::{name}", device, torch.float32)
    return call


class _Rules:
    """What autograd asks of an op, in terms of its derivative formulas."""

    def __init__(self, formulas: Joint):
        self.formulas = formulas

    def save(self, ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.set_materialize_grads(False)  # a gradient of zero is None, and costs nothing
        ctx.constants = tuple(None if isinstance(value, Tensor) else value for value in inputs)
        ctx.slots = tuple(k for k, value in enumerate(inputs) if isinstance(value, Tensor))
        tensors = [inputs[k] for k in ctx.slots]
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    def vjp(self, ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        args = _saved(ctx)
        if all(grad is None for grad in grads):
            return (None,) * len(args)
        return self.formulas.vjp(_needed(ctx), grads, *args)

    def jvp(self, ctx: Any, *tangents: Tensor | None) -> Any:
        # PyTorch runs this rule with forward mode off, so an outer jvp would miss every plain operation in it and be
        # silently wrong. It is switched on again, for arguments that have put off the tangents of this level.
        args = [forward_ad.unpack_dual(a, level=0).primal if isinstance(a, Tensor) else a for a in _saved(ctx)]
        with forward_ad._set_fwd_grad_enabled(True):
            return self.formulas.jvp(tangents, *args)


def _one_by_one(call: Op, derivatives: Mapping[int, Derivative]) -> Joint:
    """Make the joint rule of an op of one output from the derivatives for each argument."""

    def vjp(needed: tuple[bool, ...], grads: tuple[Tensor, ...], *args: Any) -> tuple[Tensor | None, ...]:
        wanted = (k in derivatives and needed[k] for k in range(len(args)))
        return tuple(derivatives[k].vjp(grads[0], *args) if given else None for k, given in enumerate(wanted))

    def jvp(tangents: tuple[Tensor | None, ...], *args: Any) -> Tensor | None:
        terms = []
        for k, derivative in derivatives.items():
            if tangents[k] is None:
                continue
            if derivative.jvp is None:
                terms.append(call(*args[:k], tangents[k], *args[k + 1 :]))
            else:
                terms.append(derivative.jvp(tangents[k], *args))
        total: Any = sum(terms[1:], terms[0]) if terms else None
        return total

    return Joint(vjp, jvp)


def _needed(ctx: Any) -> tuple[bool, ...]:
    """Return which gradients are asked for now: PyTorch's own flags say which could be.

    Forces are a gradient with respect to edges alone; by those flags every kernel on the way would compute the
    gradients of its weights too, to be thrown away.
    """
    needed = list(ctx.needs_input_grad)
    for k, (node, _) in zip(ctx.slots, ctx.next_functions, strict=False):
        if node is not None and needed[k]:
            # It raises for a leaf that a gradient is asked of, and where the engine does not tell: then it is needed.
            with contextlib.suppress(RuntimeError, TypeError, AttributeError):
                needed[k] = torch._C._will_engine_execute_node(node)
    return tuple(needed)


def _saved(ctx: Any) -> list[Any]:
    args = list(ctx.constants)
    for k, tensor in zip(ctx.slots, ctx.saved_tensors, strict=True):
        args[k] = tensor
    return args


def _unavailable(*args: Any) -> Tensor:
    raise AssertionError(library_status().reason)


def _autocast(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Cast half precision to float32 where autocast is on, as the dispatcher does for a registered op."""
    if not autocasting(next(value.device for value in args if isinstance(value, Tensor))):
        return args
    half = (torch.float16, torch.bfloat16)
    return tuple(value.float() if isinstance(value, Tensor) and value.dtype in half else value for value in args)


def leading(value: Any, dim: int | None, batch: int) -> Any:
    """Return an argument with the axis that vmap maps over in front; all that is no tensor as it is."""
    if not isinstance(value, Tensor):
        return value
    return value.expand(batch, *value.shape) if dim is None else value.movedim(dim, 0)


def rowwise(call: Op) -> BatchRule:
    """Return the vmap rule of an op whose tensors all share their leading axes: a batch is one more of these."""

    def rule(batch: int, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
        return call(*(leading(value, dim, batch) for value, dim in zip(args, in_dims, strict=True))), 0

    return rule
