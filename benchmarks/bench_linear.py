"""Time linear maps and tensor products with shared weights against e3nn.

    python benchmarks/bench_linear.py --rows 1000 20000 --out runs/bench

Cases: ``Linear``; ``SpeciesLinear`` (e3nn: the fully connected product with a one-hot species, as in its models); fully
connected products; the other connection modes; ``FullTensorProduct``. Passes: forward, and forward_backward to inputs
and weights.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import harness
import torch
from torch import Tensor, nn

from irrepnet import o3
from irrepnet.nn import SpeciesLinear

NUM_SPECIES = 4
LINEAR = {
    "water": "32x0e+32x0o+32x1e+32x1o",
    "mace": "128x0e+128x1o+128x2e",
    "lips": "32x0o+32x0e+32x1o+32x1e+32x2o+32x2e",
}
# mode: irreps_in1, irreps_in2, irreps_out; paths are all that are allowed
MODES = {
    "uvv": ("32x0e+32x1o", "32x0e+32x1o", "32x0e+32x1o"),
    "uuw": ("32x0e+32x1o", "32x0e+32x1o", "16x0e+16x1o"),
    "uuu": ("64x0e+64x1o", "64x0e+64x1o", "64x0e+64x1o"),
    "uvuv": ("8x0e+8x1o", "8x0e+8x1o", "64x0e+64x1o"),
}


class Case(NamedTuple):
    """The same map made by us and by e3nn: modules with the same weights, and their inputs."""

    name: str
    ours: nn.Module
    e3nn: nn.Module
    inputs: Callable[[int], tuple[Sequence[Tensor], Sequence[Tensor]]]  # rows -> inputs of ours, inputs of e3nn


def cases(quick: bool) -> list[Case]:
    import e3nn as package
    from e3nn import o3 as e3nn

    package.set_optimization_defaults(jit_mode="eager")
    found = []
    for name, irreps in list(LINEAR.items())[: 1 if quick else None]:
        ours, theirs = o3.Linear(irreps, irreps), e3nn.Linear(irreps, irreps)
        theirs.load_state_dict(ours.state_dict(), strict=False)
        found.append(Case(f"Linear {name}", ours, theirs, same(irreps)))
        found.append(_species_linear(name, irreps, e3nn))
    products: dict[str, tuple[str, tuple]] = {
        "FullyConnected": ("FullyConnectedTensorProduct", ("16x0e+16x1o", "16x0e+16x1o", "16x0e+16x1o")),
        "FullyConnected Y": ("FullyConnectedTensorProduct", ("32x0e+32x1o", "0e+1o", "32x0e+32x1o")),
        "Full": ("FullTensorProduct", ("8x0e+8x1o", "8x0e+8x1o")),
    }
    products |= {name: ("TensorProduct", _every_path(*irreps, name)) for name, irreps in MODES.items()}
    for name, (kind, arguments) in products.items():
        ours, theirs = getattr(o3, kind)(*arguments), getattr(e3nn, kind)(*arguments)
        theirs.load_state_dict(ours.state_dict(), strict=False)  # theirs holds constants too
        found.append(Case(name, ours, theirs, same(*arguments[:2])))
    return found


def same(*irreps: str) -> Callable[[int], tuple[list[Tensor], list[Tensor]]]:
    """Return a function that makes random features which both take."""

    def inputs(rows: int) -> tuple[list[Tensor], list[Tensor]]:
        tensors = [torch.randn(rows, o3.Irreps(one).dim).requires_grad_() for one in irreps]
        return tensors, tensors

    return inputs


def _every_path(in1: str, in2: str, out: str, mode: str) -> tuple[str, str, str, list[tuple]]:
    irreps = [o3.Irreps(one) for one in (in1, in2, out)]
    paths = [
        (i, j, k, mode, True)
        for i, (_, ir1) in enumerate(irreps[0])
        for j, (_, ir2) in enumerate(irreps[1])
        for k, (_, ir3) in enumerate(irreps[2])
        if ir3 in ir1 * ir2
    ]
    return in1, in2, out, paths


def _species_linear(name: str, irreps: str, e3nn: object) -> Case:
    """Return a linear map for each species; e3nn's is a product with a one-hot vector, most of it zeros."""
    ours = SpeciesLinear(irreps, irreps, NUM_SPECIES)
    theirs = e3nn.FullyConnectedTensorProduct(irreps, f"{NUM_SPECIES}x0e", irreps)
    with torch.no_grad():  # [species, path, in, out] there is [path, in, species, out]
        parts, start = [], 0
        for mul, _ in o3.Irreps(irreps):
            block = ours.weight[:, start : start + mul * mul].reshape(NUM_SPECIES, mul, mul)
            parts.append(block.transpose(0, 1).flatten())
            start += mul * mul
        theirs.weight.copy_(torch.cat(parts))

    def inputs(rows: int) -> tuple[list[Tensor], list[Tensor]]:
        x = torch.randn(rows, o3.Irreps(irreps).dim).requires_grad_()
        species = torch.randint(NUM_SPECIES, (rows,))
        one_hot = NUM_SPECIES**0.5 * torch.nn.functional.one_hot(species, NUM_SPECIES).to(x.dtype)
        return [x, species], [x, one_hot]

    return Case(f"SpeciesLinear {name}", ours, theirs, inputs)


def run_pass(which: str, module: nn.Module, inputs: Sequence[Tensor], cotangent: Tensor) -> Sequence[Tensor]:
    if which == "forward":
        with torch.no_grad():
            return (module(*inputs),)
    leaves = [t for t in (*inputs, *module.parameters()) if t.requires_grad and t.numel()]
    return torch.autograd.grad(module(*inputs), leaves, cotangent)


def bench(case: Case, rows: int, args: argparse.Namespace, table: harness.Table) -> None:
    ours, theirs = case.inputs(rows)
    with torch.no_grad():
        cotangent = torch.randn_like(case.ours(*ours))
    for threads, which in itertools.product(args.threads, ("forward", "forward_backward")):
        torch.set_num_threads(threads)
        runs = {
            "irrepnet": partial(run_pass, which, case.ours, ours, cotangent),
            "e3nn": partial(run_pass, which, case.e3nn, theirs, cotangent),
        }
        # e3nn's weights of a product with one-hot species lie in another order: there the first gradient is compared.
        compared = slice(1 if isinstance(case.ours, SpeciesLinear) else None)
        name = f"{case.name} {which}"
        harness.compare(name, runs["irrepnet"]()[compared], runs["e3nn"]()[compared], torch.float32)
        times = harness.interleave(runs, dtype=None, rounds=args.rounds, budget=args.budget)
        row = {"case": case.name, "pass": which, "dtype": "float32", "size": rows, "threads": threads}
        table.add_timings(times, **row)


def main() -> None:
    parser = harness.arguments(__doc__, budget=5.0, rounds=15)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 20000])
    args = harness.parse(parser)
    if args.quick:
        args.budget, args.rows = 0.3, [1000]
    table = harness.Table("linear", args.out)
    for case in cases(args.quick):
        for rows in args.rows:
            bench(case, rows, args, table)


if __name__ == "__main__":
    main()
