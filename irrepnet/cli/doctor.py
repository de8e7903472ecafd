"""``irrepnet doctor``: what is installed, which backend is active and why."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys

__all__ = ["add_parser", "run", "versions"]

# Optional packages: the extra that brings them, and what is gained.
_OPTIONAL = {
    "torch-scatter": ("graph", "a second way to sum over edges, compared in the tests"),
    "torch-cluster": ("graph", "fast neighbour lists of open systems"),
    "vesin": ("md", "fast neighbour lists of periodic systems"),
    "ase": ("md", "molecular dynamics and the ASE calculator"),
    "matplotlib": ("report", "pictures of report.html"),
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "doctor",
        help="versions, optional packages, backend, devices",
        description="Say what is installed, which backend is active and why, and which devices there are.",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    import torch

    from irrepnet.ops._backend import library_status

    for name, version in versions().items():
        _line(name, version)
    print("\noptional packages")
    for name, (extra, use) in _OPTIONAL.items():
        found = _version(name)
        missing = "" if found else f'; pip install "irrepnet[{extra}]"'
        _line(f"  {name}", f"{found or 'not installed':<15}{use}{missing}")
    status = library_status()
    print()
    _line("backend", f"{'fused' if status.loaded else 'reference'}: {status.reason}")
    _line("threads", f"{torch.get_num_threads()} of {os.cpu_count()} cores (set OMP_NUM_THREADS to change)")
    _line("devices", "cpu")
    for index in range(torch.cuda.device_count()):
        _line("", f"cuda:{index} {torch.cuda.get_device_name(index)}")
    return 0


def versions() -> dict[str, str]:
    """Return the versions that results depend on.

    Example:
        >>> sorted(versions())
        ['irrepnet', 'numpy', 'platform', 'python', 'torch']
    """
    import irrepnet

    return {
        "irrepnet": irrepnet.__version__,
        "torch": _version("torch") or "unknown",
        "numpy": _version("numpy") or "unknown",
        "python": sys.version.split()[0],
        "platform": platform.platform(),
    }


def _line(name: str, text: str) -> None:
    print(f"{name:<17}{text}")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
