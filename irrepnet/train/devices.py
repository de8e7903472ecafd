"""Devices by name, refused with a reason before anything is computed."""

from __future__ import annotations

import torch

from irrepnet.errors import ConfigError

__all__ = ["usable_device"]


def usable_device(name: str) -> torch.device:
    """Return a device after putting something on it.

    Args:
        name: As in ``torch.device``: cpu, cuda, cuda:1.

    Raises:
        ConfigError: If there is no such device here.

    Example:
        >>> usable_device("cpu")
        device(type='cpu')
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # read back: the device "meta" takes numbers, but keeps none
    except (RuntimeError, AssertionError) as error:  # torch asserts where it was built without CUDA
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(
            f"training.device (--device) needs a device of this machine; found {name!r} ({reason}); use cpu"
        ) from None
    return device
