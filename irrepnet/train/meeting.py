"""How the processes of a training find each other: what a launcher has said, GPUs, and the first connection."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping
from datetime import timedelta
from functools import cache

import torch
import torch.distributed

from irrepnet.errors import ConfigError, RankError

__all__ = ["launched_as", "meet", "reason", "take_gpu"]

_FROM_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")

# Launchers that start many processes but no training over them; each tells a process its number.
_OTHER_LAUNCHERS = {"SLURM_PROCID": "srun", "OMPI_COMM_WORLD_RANK": "mpirun", "PMI_RANK": "mpiexec"}

_MEETING = "meeting"  # the key under which rank 0 announces the name of a meeting that is still incomplete


def launched_as(environment: Mapping[str, str]) -> tuple[int, int]:
    """Return the number of this process and of all processes, as torchrun has said; alone where it was not used.

    Args:
        environment: The variables of the process.

    Raises:
        ConfigError: If some of torchrun's variables are missing, or another launcher started several processes.

    Example:
        >>> launched_as({})
        (0, 1)
    """
    found = [name for name in _FROM_TORCHRUN if name in environment]
    if "RANK" not in found and "WORLD_SIZE" not in found:
        _refuse_other_launchers(environment)
        return 0, 1
    missing = [name for name in _FROM_TORCHRUN if name not in found]
    if missing:
        raise ConfigError(
            f"training on several ranks needs the environment of torchrun; found {', '.join(found)} without "
            f"{', '.join(missing)}; start it as torchrun --nproc-per-node N -m irrepnet train ..., or unset them"
        )
    return int(environment["RANK"]), int(environment["WORLD_SIZE"])


def _refuse_other_launchers(environment: Mapping[str, str]) -> None:
    """Stop processes that would all write the same run; the first one may be an interactive shell, and goes on."""
    for name, launcher in _OTHER_LAUNCHERS.items():
        if environment.get(name, "0") != "0":
            raise ConfigError(
                f"training on several ranks needs torchrun; found a process started by {launcher} ({name}="
                f"{environment[name]}); start one torchrun per node, or unset {name} if every process has its own run"
            )


def take_gpu(device: str, environment: Mapping[str, str]) -> None:
    """Make the GPU of this rank's place on its machine the one that ``cuda`` means.

    Args:
        device: ``training.device`` of the configuration, a GPU.
        environment: With ``LOCAL_RANK``.

    Raises:
        ConfigError: If one GPU was named for all ranks, or there are more ranks than GPUs.
    """
    local, num_gpus = int(environment["LOCAL_RANK"]), torch.cuda.device_count()
    if torch.device(device).index is not None:
        raise ConfigError(
            "training.device needs to be cuda where there are several ranks, each with a GPU of its own; found "
            f"{device}; choose GPUs with CUDA_VISIBLE_DEVICES"
        )
    if local >= num_gpus:
        raise ConfigError(
            f"training.device cuda needs a GPU per rank; found {num_gpus} on this machine for its rank {local} "
            "(from 0); lower --nproc-per-node"
        )
    torch.cuda.set_device(local)


def meet(device: str, rank: int, size: int, timeout_s: float) -> None:
    """Open the connections between all ranks: gloo for numbers on the CPU, NCCL for gradients on GPUs.

    Args:
        device: ``cpu`` or ``cuda``.
        rank: Number of this process.
        size: Number of all.
        timeout_s: Longest wait, here and for every later message, s.

    Raises:
        RankError: If not all ranks come in time.
    """
    timeout = timedelta(seconds=timeout_s)
    backend = "cpu:gloo,cuda:nccl" if torch.device(device).type == "cuda" else "gloo"
    try:
        store = _address_book(timeout)
        name = _announce(store, size, timeout_s) if rank == 0 else _join_announced(store, rank, timeout_s)
        store = torch.distributed.PrefixStore(name, store)
        torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
    except RuntimeError as error:
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise RankError(
            f"rank {rank} of {size} needed to meet the others at {address} within {timeout_s:g} s; found: "
            f"{reason(error)}; see that every node runs torchrun with the same --nnodes and --rdzv-endpoint, that the "
            "address can be reached, and that GLOO_SOCKET_IFNAME names the right network if there are several"
        ) from error


@cache
def _address_book(timeout: timedelta) -> torch.distributed.Store:
    """Return the store in which ranks leave their addresses; rank 0 or torchrun serves it."""
    store, _, _ = next(torch.distributed.rendezvous("env://", timeout=timeout))
    return store


# The store outlives a meeting: torchrun starts ranks again, and a process may train several models in turn. Each
# meeting has a name of its own, or a rank would find the addresses of ranks that are gone.


def _announce(store: torch.distributed.Store, size: int, timeout_s: float) -> str:
    """Name a meeting, wait until everyone has come, close it, and return the name."""
    name = uuid.uuid4().hex
    store.set(_MEETING, name)
    absent, deadline = list(range(1, size)), time.monotonic() + timeout_s
    while absent := [rank for rank in absent if not store.check([f"{name} {rank}"])]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"no rank {', '.join(map(str, absent))}")
        time.sleep(0.01)
    store.set(_MEETING, "")
    store.set(f"{name} complete", "")
    return name


def _join_announced(store: torch.distributed.Store, rank: int, timeout_s: float) -> str:
    """Come to the meeting that is announced, or to a later one: this one may be of a rank 0 that is gone."""
    name, deadline = "", time.monotonic() + timeout_s
    while not name or not store.check([f"{name} complete"]):
        if time.monotonic() > deadline:
            raise RuntimeError("not all of them, or no rank 0")
        if store.check([_MEETING]) and (announced := store.get(_MEETING).decode()):
            name = announced
            store.set(f"{name} {rank}", "")
        time.sleep(0.01)
    return name


def reason(error: BaseException) -> str:
    """Return the first sentence of an error of ``torch.distributed``, without its place in the source.

    Example:
        >>> reason(RuntimeError("[/src/pair.cc:553] Connection closed by peer [127.0.0.1]:611. This is often ..."))
        'Connection closed by peer [127.0.0.1]:611'
    """
    text = str(error).splitlines()[0]
    return text.split("] ", 1)[-1].split(". ", 1)[0].rstrip(".")
