"""Autocast on any device: PyTorch's own questions raise where a device, as 'meta', knows no autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

__all__ = ["autocasting", "without_autocast"]


def autocasting(device: torch.device) -> bool:
    """Return whether autocast is on for tensors of a device; never where the device knows none.

    Example:
        >>> autocasting(torch.device("meta"))
        False
    """
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which plain PyTorch computes in the dtype of its inputs.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16), without_autocast(torch.device("cpu")):
        ...     (torch.ones(1, 1) @ torch.ones(1, 1)).dtype
        torch.float32
    """
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    # To switch off what is off costs more than a small op. A traced graph may be run under autocast later.
    if not torch.is_autocast_enabled(device.type) and not torch.compiler.is_compiling():
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
