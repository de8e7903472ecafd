"""What every benchmark shares: honest timing of several contenders in one process, probes of the machine, memory, CSV.

A contender is a callable without arguments that returns tensors. It is not timed before its result was compared.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import ctypes
import datetime
import gc
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}
Run = Callable[[], Sequence[Tensor]]
RECYCLED: list[bool] = []  # not empty where this process keeps the memory that it frees


class WrongResultError(AssertionError):
    """A contender whose result differs from the reference; it is not timed."""


class Timing(NamedTuple):
    """Wall time of a contender in ms."""

    median: float
    least: float
    rounds: int


class Machine(NamedTuple):
    """What this process can reach at this moment with its threads."""

    bytes_per_s: float
    flops_per_s: float

    def __str__(self) -> str:
        return f"reads {self.bytes_per_s / 1e9:.1f} GB/s, multiplies {self.flops_per_s / 1e9:.0f} GFLOP/s"


class Probe:
    """Measures read bandwidth and matrix rate; kept by a benchmark and asked between timings, for the best of all."""

    def __init__(self, dtype: torch.dtype = torch.float32, device: str = "cpu") -> None:
        mebibytes, size = (256, 768) if device == "cpu" else (4096, 8192)
        self.array = torch.ones(mebibytes * 2**20 // 4, device=device)  # far larger than any cache
        self.matrix = torch.randn(size, size, dtype=dtype, device=device)
        self.best = Machine(0.0, 0.0)

    def __call__(self, repeats: int = 3) -> Machine:
        size, flops = 4 * self.array.numel(), 2 * self.matrix.shape[0] ** 3
        # Which of these reads fastest depends on the machine and the number of threads.
        reads = (self.array.sum, self.array.max, lambda: torch.dot(self.array, self.array))
        for _ in range(repeats):
            rate = max(size / _seconds(read) for read in reads)
            product = flops / _seconds(lambda: self.matrix @ self.matrix)
            self.best = Machine(max(self.best.bytes_per_s, rate), max(self.best.flops_per_s, product))
        return self.best


def _seconds(run: Callable[[], Any]) -> float:
    _wait()
    start = time.perf_counter()
    run()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def compare(name: str, found: Sequence[Tensor], wanted: Sequence[Tensor], dtype: torch.dtype) -> float:
    """Return the largest difference over the scale of each tensor.

    Raises:
        WrongResultError: If it is above what the dtype allows, or the results do not have the same shapes.
    """
    if [tuple(t.shape) for t in found] != [tuple(t.shape) for t in wanted]:
        raise WrongResultError(f"{name} returns other shapes than the reference")
    worst = 0.0
    for number, (a, b) in enumerate(zip(found, wanted, strict=True)):
        if b.numel() == 0:
            continue
        scale = float(b.detach().abs().max()) or 1.0
        error = float((a.detach().to(b.dtype) - b.detach()).abs().max()) / scale
        if not error <= TOLERANCE[dtype]:  # a NaN is wrong too
            raise WrongResultError(f"{name}: result {number} is off by {error:.1e} of its scale; not timed")
        worst = max(worst, error)
    return worst


def interleave(
    runs: dict[str, Run],
    *,
    dtype: torch.dtype | None,
    rounds: int = 7,
    budget: float = 20.0,
    between: Callable[[], Any] = lambda: None,
) -> dict[str, Timing]:
    """Time contenders one after another, round by round, so that a busy machine disturbs all alike.

    The first call of each warms up, and its result is compared with that of the first contender. One that has had its
    budget sits out; where the first call has taken all of it, that call is what counts.

    Args:
        runs: Contenders by name.
        dtype: Decides the tolerance; None where the caller has compared the results.
        rounds: Timed calls of each, at most.
        budget: Seconds for each contender; every one is timed once at least.
        between: Called between rounds, for instance a probe.

    Raises:
        WrongResultError: If a result differs.
    """
    reference: list[Tensor] = []
    times: dict[str, list[float]] = {name: [] for name in runs}
    for name, run in runs.items():
        start = time.perf_counter()
        found = run()
        _wait()
        first = time.perf_counter() - start
        if first > budget:
            times[name].append(first)
        for _ in range(
            3 if RECYCLED and first < budget else 0
        ):  # until the freed blocks have merged into ones that fit
            run()
        if dtype is not None:
            reference = reference or [t.detach() for t in found]
            compare(name, found, reference, dtype)
        del found
    del reference
    for _ in range(rounds):
        waiting = [name for name in runs if not times[name] or sum(times[name]) + times[name][-1] < budget]
        for name in waiting:
            gc.collect()
            times[name].append(_seconds(runs[name]))
        between()
    return {name: timing(t) for name, t in times.items()}


def recycle_memory() -> None:
    """Have malloc keep what is freed (Linux): a fresh page costs more than all that a kernel does with it.

    By default every tensor above 32 MiB comes from the system anew, page by page, whoever asks for it.
    """
    libc = ctypes.CDLL(None)
    kept = libc.mallopt(-4, 0) and libc.mallopt(-1, 2**31 - 1)  # M_MMAP_MAX, M_TRIM_THRESHOLD
    if not kept:
        raise SystemExit("--recycle needs glibc, whose malloc can be told to keep memory")
    RECYCLED.append(True)


def timing(seconds: Sequence[float]) -> Timing:
    return Timing(1e3 * statistics.median(seconds), 1e3 * min(seconds), len(seconds))


def extra_peak(case: Callable[..., Run], *args: Any, timeout: float = 300.0) -> float | str:
    """Return the peak memory of a call above that of its inputs, MiB, measured in a fresh process; or why it failed.

    Args:
        case: Function of a module, with small picklable ``args``, that makes the inputs and returns the call.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_peak_in_child, args=(sender, case, args))
    process.start()
    sender.close()
    try:
        return float(receiver.recv()) if receiver.poll(timeout) else f"no answer in {timeout:.0f} s"
    except EOFError:
        return "the process died, likely for lack of memory"
    finally:
        process.kill()
        process.join()


def _peak_in_child(sender: Any, case: Callable[..., Run], args: tuple) -> None:
    torch.set_num_threads(1)
    run = case(*args)
    gc.collect()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _memory("VmRSS")
    kept = run()
    peak = max(_memory("VmHWM"), 0.0)
    del kept
    sender.send(max(0.0, peak - before))


def _memory(key: str) -> float:
    """Return a line of /proc/self/status in MiB; elsewhere than on Linux the peak so far."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def available_mib(device: str = "cpu") -> float:
    if device != "cpu":
        return torch.cuda.mem_get_info()[0] / 2**20
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 4096.0
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("MemAvailable"))


def processor(device: str = "cpu") -> str:
    if device != "cpu":
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"


def commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    here = Path(__file__).parent
    result = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"


class Table:
    """Rows of a benchmark, printed as they come and kept in a CSV file, each with what it was measured on."""

    def __init__(self, benchmark: str, out: str | None, device: str = "cpu") -> None:
        self.path = Path(out) / f"{benchmark}.csv" if out else None
        self.rows: list[dict[str, Any]] = []
        self.common = {
            "benchmark": benchmark,
            "memory": "recycled" if RECYCLED else "fresh",
            "machine": processor(device),
            "torch": torch.__version__,
            "commit": commit(),
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        }
        print(f"# {benchmark}: {self.common['machine']}, torch {torch.__version__}, commit {self.common['commit']}")

    def add(self, **row: Any) -> None:
        self.rows.append({**row, **self.common})
        if self.path:  # written anew each time: what was measured survives an interruption
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fields = list(dict.fromkeys(key for row in self.rows for key in row))
            with self.path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, fields, restval="")
                writer.writeheader()
                writer.writerows(self.rows)

    def add_timings(
        self, times: dict[str, Timing], extra: dict[str, dict] | None = None, note: str = "", **row: Any
    ) -> None:
        """Add one row for each contender and print them in one line: how many times the first does each take?

        Args:
            times: Contenders, ours first.
            extra: Further columns of a contender.
            note: Printed at the end.
            **row: Columns that all share; ``case``, ``pass``, ``dtype``, ``size`` and ``threads`` are printed.
        """
        first = next(iter(times))
        cells = []
        for name, timing in times.items():
            ratio = timing.median / times[first].median
            measured = {"median_ms": f"{timing.median:.4g}", "min_ms": f"{timing.least:.4g}", "rounds": timing.rounds}
            against = {"first": first, "times_first": f"{ratio:.3g}"}
            self.add(**row, contender=name, **measured, **against, **(extra or {}).get(name, {}))
            cells.append(f"{name} {timing.median:8.2f} ms" + (f" ({ratio:5.1f}x)" if name != first else ""))
        label = f"{row['case']:16s} {row['pass']:16s} {row['dtype']} {row['size']:>6} {row['threads']}t"
        print(f"{label}  {'  '.join(cells)}  {note}", flush=True)


def arguments(doc: str, **defaults: Any) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--out", help="folder for the CSV file")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller cases")
    parser.add_argument("--threads", type=int, nargs="+", default=defaults.get("threads", [1]))
    parser.add_argument("--rounds", type=int, default=defaults.get("rounds", 7), help="timed calls of each, at most")
    parser.add_argument("--budget", type=float, default=defaults.get("budget", 20.0), help="seconds for each contender")
    parser.add_argument("--recycle", action="store_true", help="keep freed memory: time kernels without page faults")
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    args = parser.parse_args()
    if args.recycle:
        recycle_memory()
    return args


def dtypes(names: Iterable[str]) -> list[torch.dtype]:
    return [{"float32": torch.float32, "float64": torch.float64}[name] for name in names]
