"""Time linear maps and tensor products with shared weights against e3nn.

    python benchmarks/bench_linear.py --rows 1000 20000 --out runs/bench

Cases: ``Linear``; ``SpeciesLinear`` (e3nn: the fully connected product with a one-hot species, as in its models); fully
connected products, one with scalars as second input; the other modes; ``FullTensorProduct``. Passes: forward, and
forward_backward to inputs and weights. e3nn runs twice, eagerly and as torch.jit.script makes it.
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
    "uvu": ("32x0e+32x1o", "4x0e+4x1o", "32x0e+32x1o"),
    "uvv": ("32x0e+32x1o", "32x0e+32x1o", "32x0e+32x1o"),
    "uuw": ("32x0e+32x1o", "32x0e+32x1o", "16x0e+16x1o"),
    "uuu": ("64x0e+64x1o", "64x0e+64x1o", "64x0e+64x1o"),
    "uvuv": ("8x0e+8x1o", "8x0e+8x1o", "64x0e+64x1o"),
    "uvu<v": ("16x0e+16x1o", "16x0e+16x1o", "120x0e+120x1o+120x1e+120x2e"),
    "u<vw": ("16x0e+16x1o", "16x0e+16x1o", "16x0e+16x1o"),
}


class Case(NamedTuple):
    """The same map made by us and by e3nn: modules with the same weights, and their inputs."""

    name: str
    ours: nn.Module
    e3nn: dict[str, nn.Module]  # by what the contender is called
    inputs: Callable[[int], tuple[Sequence[Tensor], Sequence[Tensor]]]  # rows -> inputs of ours, inputs of e3nn


def cases(quick: bool) -> list[Case]:
    found = []
    for name, irreps in list(LINEAR.items())[: 1 if quick else None]:
        ours = o3.Linear(irreps, irreps)
        found.append(Case(f"Linear {name}", ours, _theirs("Linear", (irreps, irreps), ours.state_dict()), same(irreps)))
        found.append(_species_linear(name, irreps))
    products: dict[str, tuple[str, tuple]] = {
        "FullyConnected": ("FullyConnectedTensorProduct", ("16x0e+16x1o", "16x0e+16x1o", "16x0e+16x1o")),
        "FullyConnected Y": ("FullyConnectedTensorProduct", ("32x0e+32x1o", "0e+1o", "32x0e+32x1o")),
        "FullyConnected scalars": ("FullyConnectedTensorProduct", ("32x0e+32x1o+32x2e", "4x0e", "32x0e+32x1o+32x2e")),
        "Elementwise": ("TensorProduct", _elementwise("16x0e+16x1o+16x2e")),
        "Elementwise scalars": ("TensorProduct", ("128x0e", "128x1o", "128x1o", [(0, 0, 0, "uuu", False)])),
        "Full": ("FullTensorProduct", ("8x0e+8x1o", "8x0e+8x1o")),
    }
    products |= {name: ("TensorProduct", _every_path(*irreps, name)) for name, irreps in MODES.items()}
    for name, (kind, arguments) in products.items():
        ours = getattr(o3, kind)(*arguments)
        found.append(Case(name, ours, _theirs(kind, arguments, ours.state_dict()), same(*arguments[:2])))
    return found


def _theirs(kind: str, arguments: tuple, state: dict[str, Tensor]) -> dict[str, nn.Module]:
    """Return e3nn's module with the given weights, twice: eager, and scripted."""
    import e3nn.o3
    from e3nn.util.jit import script

    found = {}
    for name, mode, finish in (("e3nn", "eager", lambda module: module), ("e3nn-script", "script", script)):
        e3nn.set_optimization_defaults(jit_mode=mode)
        module = getattr(e3nn.o3, kind)(*arguments)
        module.load_state_dict(state, strict=False)  # it holds constants too
        found[name] = finish(module)
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


def _elementwise(irreps: str) -> tuple[str, str, str, list[tuple]]:
    """Return the product of features with features of the same irreps, channel by channel, to all that comes out."""
    found = [(i, mul, ir) for i, (mul, ir1) in enumerate(o3.Irreps(irreps)) for ir in ir1 * ir1]
    out = o3.Irreps([(mul, ir) for _, mul, ir in found])
    return irreps, irreps, str(out), [(i, i, k, "uuu", False) for k, (i, _, _) in enumerate(found)]


def _species_linear(name: str, irreps: str) -> Case:
    """Return a linear map for each species; e3nn's is a product with a one-hot vector, most of it zeros."""
    ours = SpeciesLinear(irreps, irreps, NUM_SPECIES)
    parts, start = [], 0
    for mul, _ in o3.Irreps(irreps):  # [species, path, in, out] there is [path, in, species, out]
        block = ours.weight.detach()[:, start : start + mul * mul].reshape(NUM_SPECIES, mul, mul)
        parts.append(block.transpose(0, 1).flatten())
        start += mul * mul
    arguments = irreps, f"{NUM_SPECIES}x0e", irreps
    theirs = _theirs("FullyConnectedTensorProduct", arguments, {"weight": torch.cat(parts)})

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
        }
        runs |= {kind: partial(run_pass, which, module, theirs, cotangent) for kind, module in case.e3nn.items()}
        # e3nn's weights of a product with one-hot species lie in another order: there the first gradient is compared.
        compared = slice(1 if isinstance(case.ours, SpeciesLinear) else None)
        name = f"{case.name} {which}"
        for kind in case.e3nn:
            harness.compare(name, runs["irrepnet"]()[compared], runs[kind]()[compared], torch.float32)
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
