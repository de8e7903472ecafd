"""Time spherical harmonics: the fused op, its plain PyTorch reference and e3nn, in one process and interleaved.

Prints one line per lmax with medians in milliseconds and the ratios, and refuses to time what does not agree.

    python benchmarks/bench_spherical_harmonics.py --points 100000 --threads 1
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from irrepnet import o3
from irrepnet.ops import library_status, spherical_harmonics


def forward(run: Callable[[Tensor], Tensor], points: Tensor) -> None:
    with torch.no_grad():
        run(points)


def forward_backward(run: Callable[[Tensor], Tensor], points: Tensor) -> None:
    points = points.detach().requires_grad_()
    run(points).sum().backward()


def second_derivative(run: Callable[[Tensor], Tensor], points: Tensor) -> None:
    points = points.detach().requires_grad_()
    (slope,) = torch.autograd.grad(run(points).square().sum(), points, create_graph=True)
    slope.square().sum().backward()


def medians(runs: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Return the median of each in ms; one of each per round, so that a busy machine disturbs all alike."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for k in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if k:  # the first round warms up
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def contestants(lmax: int, points: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    runs: dict[str, Callable[[Tensor], Tensor]] = {
        "reference": lambda x: spherical_harmonics(x, lmax, backend="reference")
    }
    if library_status().loaded:
        runs["fused"] = lambda x: spherical_harmonics(x, lmax, backend="fused")
    try:
        from e3nn import o3 as e3nn_o3
    except ImportError:
        print("e3nn is not installed: left out")
    else:
        irreps = e3nn_o3.Irreps.spherical_harmonics(lmax)
        runs["e3nn"] = e3nn_o3.SphericalHarmonics(irreps, normalize=False, normalization="component")
    truth = o3.spherical_harmonics(list(range(lmax + 1)), points.double(), False, "component")
    for name, run in runs.items():
        error = float((run(points) - truth).abs().max() / truth.abs().max())
        if error > 1e-5:
            raise SystemExit(f"{name} is off by {error:.1e} of the largest value at lmax {lmax}: not timed")
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{args.points} points, float32, {args.threads} thread(s), torch {torch.__version__}")
    print(library_status().reason)
    print("median ms, and in brackets how many times the first of the line")
    points = torch.nn.functional.normalize(torch.randn(args.points, 3), dim=1)
    for lmax in (1, 2, 3, 4, 6, 8):
        runs = contestants(lmax, points)
        first = "fused" if "fused" in runs else "reference"
        for what in (forward, forward_backward, second_derivative):
            found = medians({name: partial(what, run, points) for name, run in runs.items()}, args.rounds)
            cells = [f"{name} {ms:8.2f} ({ms / found[first]:4.1f})" for name, ms in sorted(found.items())]
            print(f"lmax {lmax}  {what.__name__:18s}  " + "   ".join(cells))


if __name__ == "__main__":
    main()
