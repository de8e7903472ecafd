"""Time spherical harmonics: the fused op, its plain PyTorch reference, e3nn and sphericart, interleaved.

    python benchmarks/bench_spherical_harmonics.py --points 100000 --threads 1

Passes: forward; forward_backward; second (the gradient of a function of the gradient). All evaluate the polynomials
r^l Y(r) at the same points with the normalisation "component"; sphericart, whose polar axis is z, gets its points in
its own order of the axes beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import pi, sqrt

import harness
import torch
from problems import PASSES
from torch import Tensor

from irrepnet import o3
from irrepnet.ops import library_status, spherical_harmonics

Harmonics = Callable[[Tensor], Tensor]


def run_pass(which: str, run: Harmonics, points: Tensor, cotangent: Tensor) -> Sequence[Tensor]:
    if which == "forward":
        with torch.no_grad():
            return (run(points),)
    out = run(points)
    if which == "forward_backward":
        return torch.autograd.grad(out, points, cotangent)
    (slope,) = torch.autograd.grad(out, points, cotangent, create_graph=True)
    # At lmax 1 the gradient does not depend on the points: some contenders say zero, some that it is unused.
    leaves = (points, cotangent)
    return torch.autograd.grad(slope, leaves, points.detach(), allow_unused=True, materialize_grads=True)


def contenders(lmax: int, points: Tensor) -> dict[str, tuple[Harmonics, float, list[int]]]:
    """Return each contender's function, the factor to our normalisation and its order of the axes."""
    axes = [0, 1, 2]
    runs: dict[str, tuple[Harmonics, float, list[int]]] = {}
    if library_status().loaded:
        runs["fused"] = (lambda x: spherical_harmonics(x, lmax, backend="fused"), 1.0, axes)
    runs["reference"] = (lambda x: spherical_harmonics(x, lmax, backend="reference"), 1.0, axes)
    try:
        from e3nn import o3 as e3nn
    except ImportError as error:
        print(f"e3nn is left out: {error}")
    else:
        module = e3nn.SphericalHarmonics(e3nn.Irreps.spherical_harmonics(lmax), False, "component")
        runs["e3nn"] = (module, 1.0, axes)
    try:
        from sphericart.torch import SolidHarmonics
    except (ImportError, OSError) as error:
        print(f"sphericart is left out: {error}")
    else:
        runs["sphericart"] = (SolidHarmonics(lmax), sqrt(4 * pi), [2, 0, 1])
    truth = o3.spherical_harmonics(list(range(lmax + 1)), points.double(), False, "component")
    for name, (run, factor, order) in runs.items():
        harness.compare(name, (factor * run(points[:, order].contiguous()),), (truth,), points.dtype)
    return runs


def main() -> None:
    parser = harness.arguments(__doc__, budget=10.0)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--lmax", type=int, nargs="+", default=[1, 2, 3, 4, 6, 8])
    parser.add_argument("--dtype", nargs="+", default=["float32"], choices=["float32", "float64"])
    args = harness.parse(parser)
    if args.quick:
        args.lmax, args.rounds, args.budget = [1, 3, 8], 5, 1.0
    table = harness.Table("spherical_harmonics", args.out)
    print(library_status().reason)
    for dtype in harness.dtypes(args.dtype):
        points = torch.nn.functional.normalize(torch.randn(args.points, 3, dtype=dtype), dim=1)
        for lmax in args.lmax:
            found = contenders(lmax, points)
            cotangent = torch.randn(args.points, (lmax + 1) ** 2, dtype=dtype).requires_grad_()
            for threads in args.threads:
                torch.set_num_threads(threads)
                for which in PASSES:
                    runs, back = {}, {}
                    for name, (run, factor, order) in found.items():
                        leaf = points[:, order].contiguous().requires_grad_()
                        runs[name] = partial(run_pass, which, run, leaf, cotangent)
                        back[name] = partial(in_our_axes, runs[name], factor, order)
                    check(back, dtype)
                    times = harness.interleave(runs, dtype=None, rounds=args.rounds, budget=args.budget)
                    row = {"case": f"lmax {lmax}", "pass": which, "dtype": str(dtype)[6:], "size": args.points}
                    table.add_timings(times, threads=threads, **row)


def in_our_axes(run: harness.Run, factor: float, order: list[int]) -> list[Tensor]:
    """Return a result as ours would be: what has one column per axis goes back to our order."""
    back = [order.index(axis) for axis in range(3)]
    return [factor * (t[:, back] if t.shape[1] == 3 and order != [0, 1, 2] else t) for t in run()]


def check(runs: dict[str, harness.Run], dtype: torch.dtype) -> None:
    (_, first), *others = runs.items()
    truth = first()
    for name, run in others:
        harness.compare(name, run(), truth, dtype)


if __name__ == "__main__":
    main()
