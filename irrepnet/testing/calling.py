"""Draw the arguments of a function and call it without leaving a trace: what every check does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from irrepnet.errors import ConfigError, ShapeError
from irrepnet.testing.signature import Kind

__all__ = [
    "LEAST_RMS",
    "call",
    "check_inputs",
    "check_tensor",
    "cuda_devices",
    "draw_inputs",
    "module_of",
    "name_of",
    "rms",
]

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


def check_inputs(inputs: Sequence[Any], laws: Sequence[Kind], dtype: torch.dtype | None) -> list[Any]:
    """Return given arguments without gradients, after a look at their shapes; they bring their dtype."""
    if dtype is not None:
        raise ConfigError(f"dtype={dtype} is for random arguments; got inputs too. Cast the inputs, or leave one out.")
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
    with torch.random.fork_rng(devices=cuda_devices(inputs)), _buffers_put_back(module_of(f)):
        output = f(*(x.clone() if isinstance(x, Tensor) else x for x in inputs))
    outputs = output if isinstance(output, (tuple, list)) else [output]
    return [y.detach() if isinstance(y, Tensor) else y for y in outputs]


def cuda_devices(inputs: Sequence[Any]) -> list[int]:
    """Return the numbers of the GPUs on which arguments lie: those whose random state matters."""
    return sorted({x.device.index or 0 for x in inputs if isinstance(x, Tensor) and x.is_cuda})


@contextmanager
def _buffers_put_back(module: nn.Module | None) -> Iterator[None]:
    """Give a module its buffers back in the end, the same tensors with the same values, also after an error."""
    before = [] if module is None else [(part, dict(part._buffers.items())) for part in module.modules()]
    values = {buffer: buffer.clone() for _, buffers in before for buffer in buffers.values() if buffer is not None}
    try:
        yield
    finally:
        for part, buffers in before:
            for name in part._buffers.keys() - buffers.keys():
                del part._buffers[name]
            part._buffers.update({k: b for k, b in buffers.items() if part._buffers.get(k) is not b})
        with torch.no_grad():
            for buffer, value in values.items():
                buffer.copy_(value)


def module_of(f: Callable[..., Any]) -> nn.Module | None:
    """Return ``f`` if it is a module, or the module whose method it is."""
    owner = getattr(f, "__self__", f)
    return owner if isinstance(owner, nn.Module) else None


def name_of(f: Callable[..., Any]) -> str:
    """Return what a message calls ``f``."""
    return getattr(f, "__name__", type(f).__name__)


def rms(y: Tensor) -> float:
    """Return the root mean square, 0 for a tensor without elements; squares that overflow do no harm."""
    largest = y.abs().max().item() if y.numel() else 0.0
    if largest == 0 or not math.isfinite(largest):
        return largest
    return largest * (y.double() / largest).square().mean().sqrt().item()
