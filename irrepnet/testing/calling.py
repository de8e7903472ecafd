"""Draw the arguments of a function and call it without leaving a trace: what every check does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from irrepnet.errors import ConfigError, ShapeError
from irrepnet.testing.signature import Kind

__all__ = ["LEAST_RMS", "call", "check_inputs", "check_tensor", "draw_inputs", "module_of", "name_of", "rms"]

LEAST_RMS = 1e-6
NUM_ROWS = 5


def draw_inputs(
    laws: Sequence[Kind],
    f: Callable[..., Any],
    dtype: torch.dtype | None,
    random: torch.Generator,
    *,
    num_rows: int = NUM_ROWS,
) -> list[Tensor]:
    """Draw normal arguments of a few rows, of the dtype and on the device of the module."""
    module = module_of(f)
    state = [] if module is None else [*module.parameters(), *module.buffers()]
    like = next((t for t in state if t.is_floating_point()), torch.empty(0, dtype=torch.float64, device="cpu"))
    out = []
    for i, law in enumerate(laws):
        if law.irreps is None:
            raise ConfigError(f"argument {i} is declared None, so it cannot be drawn at random: give inputs=[...].")
        x = torch.randn(num_rows, law.irreps.dim, generator=random, dtype=torch.float64, device="cpu")
        out.append(x.to(like.device, dtype or like.dtype))
    return out


def check_inputs(inputs: Sequence[Any], laws: Sequence[Kind]) -> list[Any]:
    """Return given arguments without gradients, after a look at their shapes."""
    if len(inputs) != len(laws):
        raise ShapeError(f"irreps_in declares {len(laws)} arguments; inputs holds {len(inputs)}.")
    for i, (x, law) in enumerate(zip(inputs, laws, strict=True)):
        if law.irreps is not None:
            check_tensor(f"inputs[{i}]", x, law)
    return [x.detach() if isinstance(x, Tensor) else x for x in inputs]


def check_tensor(name: str, x: Any, law: Kind) -> None:
    """Raise unless ``x`` is a floating-point tensor that ends with the dimension of its irreps."""
    assert law.irreps is not None
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim == 0 or x.shape[-1] != law.irreps.dim:
        found = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ShapeError(f"{name} needs a floating-point tensor [..., {law.irreps.dim}] for {law}; got {found}.")


def call(f: Callable[..., Any], inputs: Sequence[Any]) -> list[Any]:
    """Call ``f`` on copies, put buffers and random state back, and return its outputs, detached, as a list.

    Gradients stay enabled: a function may differentiate inside.
    """
    module = module_of(f)
    buffers = [] if module is None else list(module.buffers())
    before = [buffer.clone() for buffer in buffers]
    devices = {t.device.index or 0 for t in inputs if isinstance(t, Tensor) and t.is_cuda}
    with torch.random.fork_rng(devices=sorted(devices)):
        output = f(*(x.clone() if isinstance(x, Tensor) else x for x in inputs))
    with torch.no_grad():
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
    outputs = output if isinstance(output, (tuple, list)) else [output]
    return [y.detach() if isinstance(y, Tensor) else y for y in outputs]


def module_of(f: Callable[..., Any]) -> nn.Module | None:
    """Return ``f`` if it is a module, or the module whose method it is."""
    owner = getattr(f, "__self__", f)
    return owner if isinstance(owner, nn.Module) else None


def name_of(f: Callable[..., Any]) -> str:
    """Return what a message calls ``f``."""
    return getattr(f, "__name__", type(f).__name__)


def rms(y: Tensor) -> float:
    """Return the root mean square, 0 for a tensor without elements."""
    return y.double().square().mean().sqrt().item() if y.numel() else 0.0
