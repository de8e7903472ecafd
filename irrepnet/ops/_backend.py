"""Which implementation serves an op: plain PyTorch ('reference') or the compiled op library ('fused')."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from irrepnet.errors import BackendError, did_you_mean

__all__ = ["LibraryStatus", "choose", "library_status", "load", "transforming"]

BACKENDS = ("auto", "reference", "fused")
REBUILD = "run `pip install --no-build-isolation .` in the source tree, with PyTorch and a C++ compiler at hand"


class Kernels(NamedTuple):
    """What the fused kernels of one op accept, and the library's op behind them."""

    library_op: str
    devices: tuple[str, ...]
    dtypes: tuple[torch.dtype, ...]


# One line per op that has fused kernels; an op that is not named here is served by the reference only.
KERNELS = {
    "spherical_harmonics": Kernels("spherical_harmonics", ("cpu", "cuda"), (torch.float32, torch.float64)),
    "tensor_product": Kernels("convolve", ("cpu", "cuda"), (torch.float32, torch.float64)),
    "pair_product": Kernels("pair_product", ("cpu",), (torch.float32, torch.float64)),
    "convolve": Kernels("convolve", ("cpu", "cuda"), (torch.float32, torch.float64)),
    "radial_table": Kernels("radial_table", ("cpu",), (torch.float32, torch.float64)),
    "linear": Kernels("linear", ("cpu",), (torch.float32, torch.float64)),
}


class LibraryStatus(NamedTuple):
    """Whether the compiled op library is active.

    Attributes:
        loaded: True when its ops can be called.
        path: The library file, if there is one.
        reason: One sentence: why it is active, or why it is not and what to do.
        devices: Device types that it has kernels for.
    """

    loaded: bool
    path: str | None
    reason: str
    devices: tuple[str, ...]


def load(package: Path) -> LibraryStatus:
    """Load the op library that lies in a folder, and its CUDA kernels where PyTorch has CUDA, and say how that went.

    Nothing is raised.

    Args:
        package: The folder of the irrepnet package, where the build puts ``_ops.*so`` and ``_ops_cuda.*so`` or says in
            ``_build_info.json`` why one is missing.
    """
    files = sorted(package.glob("_ops.*so"))
    if not files:
        return LibraryStatus(False, None, f"irrepnet has no op library: {_why_missing(package, 'reason')}", ())
    path = str(files[0])
    ops = {kernels.library_op for kernels in KERNELS.values()}
    if not any(hasattr(torch.ops.irrepnet, op) for op in ops):  # a second copy would crash the process
        try:
            torch.ops.load_library(path)
        except (OSError, RuntimeError) as error:
            reason = f"the op library {path} does not load into PyTorch {torch.__version__}: {_text(error)}; {REBUILD}"
            return LibraryStatus(False, path, reason, ())
    missing = [op for op in sorted(ops) if not hasattr(torch.ops.irrepnet, op)]
    if missing:
        reason = f"the op library {path} is from another version of irrepnet, it lacks {', '.join(missing)}; {REBUILD}"
        return LibraryStatus(False, path, reason, ())
    devices: tuple[str, ...] = ("cpu",)
    which = "CPU kernels"
    if torch.version.cuda:
        obstacle = _load_cuda(package, sorted({k.library_op for k in KERNELS.values() if "cuda" in k.devices}))
        devices = ("cpu",) if obstacle else ("cpu", "cuda")
        which = f"CPU kernels, none for CUDA: {obstacle}" if obstacle else "CPU and CUDA kernels"
    return LibraryStatus(True, path, f"the op library {path} is active ({which})", devices)


def _load_cuda(package: Path, ops: list[str]) -> str | None:
    """Load the CUDA kernels; return why they cannot serve, or None."""
    files = sorted(package.glob("_ops_cuda.*so"))
    if not files:
        return _why_missing(package, "cuda_reason")
    registered = torch._C._dispatch_has_kernel_for_dispatch_key
    if not any(registered(f"irrepnet::{op}", "CUDA") for op in ops):
        try:
            torch.ops.load_library(str(files[0]))
        except (OSError, RuntimeError) as error:
            return f"{files[0]} does not load into PyTorch {torch.__version__}: {_text(error)}; {REBUILD}"
    missing = [op for op in ops if not registered(f"irrepnet::{op}", "CUDA")]
    return f"{files[0]} lacks {', '.join(missing)}; {REBUILD}" if missing else None


def _text(error: Exception) -> str:
    return " ".join(str(error.__cause__ or error).split())


def _why_missing(package: Path, key: str) -> str:
    try:
        reason = json.loads((package / "_build_info.json").read_text(encoding="utf-8"))[key]
    except (OSError, ValueError, KeyError, TypeError):
        return f"none was built in {package}, and no build left a note why; {REBUILD}"
    return f"{reason}; {REBUILD}"


# Loaded with the first op module, not at first call: torch.compile, export and packaged models need the schemas
# before any op runs. `import irrepnet` imports no op module.
_STATUS = load(Path(__file__).resolve().parent.parent)


def library_status() -> LibraryStatus:
    """Return whether the op library is active, and why.

    Example:
        >>> library_status().reason.endswith(".")
        False
    """
    return _STATUS


def choose(backend: str, op: str, *tensors: Tensor | None, obstacle: str | None = None) -> str:
    """Return the backend that serves a call: 'reference' or 'fused'.

    Args:
        backend: 'auto' takes 'fused' where it can serve and 'reference' otherwise; a backend that is named serves
            or raises.
        op: Name of the op, as users call it.
        tensors: The floating-point tensors of the call; None is skipped.
        obstacle: Why the op's kernels cannot serve this call, where the op itself knows a reason.

    Raises:
        BackendError: If the name is unknown, or 'fused' was named and cannot serve these tensors.

    Example:
        >>> choose("reference", "spherical_harmonics", torch.zeros(2, 3))
        'reference'
    """
    if backend not in BACKENDS:
        hint = did_you_mean(str(backend), BACKENDS)
        raise BackendError(f"{op} needs backend 'auto', 'reference' or 'fused'; got {backend!r}.{hint}")
    if backend == "reference":
        return "reference"
    obstacle = obstacle or _obstacle(op, tensors)
    if obstacle is None:
        return "fused"
    if backend == "fused":
        raise BackendError(f"{op}(backend='fused') cannot run: {obstacle}. Use backend='auto' or 'reference'.")
    return "reference"


def transforming() -> bool:
    """Return whether torch.func or forward mode is at work; PyTorch's own autograd asks the same.

    Example:
        >>> transforming(), torch.func.vmap(lambda x: x * transforming())(torch.ones(1))
        (False, tensor([1.]))
    """
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def _obstacle(op: str, tensors: tuple[Tensor | None, ...]) -> str | None:
    """Return why the fused kernels cannot serve these tensors, or None."""
    kernels = KERNELS.get(op)
    if kernels is None:
        return "this op has no fused kernel"
    if not _STATUS.loaded:
        return _STATUS.reason
    if torch.compiler.is_compiling() and transforming():  # the compiler would take zero for its tangents
        return "torch.compile cannot trace torch.func or forward mode through its kernels"
    for tensor in tensors:
        if tensor is None:
            continue
        devices = [device for device in kernels.devices if device in _STATUS.devices]
        if tensor.device.type not in devices:
            why = f" ({_STATUS.reason})" if tensor.device.type in kernels.devices else ""
            return f"it has kernels for {', '.join(devices)}; got a tensor on {tensor.device}{why}"
        if tensor.dtype not in kernels.dtypes:
            served = ", ".join(str(dtype).removeprefix("torch.") for dtype in kernels.dtypes)
            return f"its kernels take {served}; got {str(tensor.dtype).removeprefix('torch.')}"
    return None
