"""Time the fused convolution against e3nn on the named problems, and both against the floor of this process.

    python benchmarks/bench_convolution.py --problems mace-large --edges 2000 20000 --threads 1 2 --out runs/bench
    python benchmarks/bench_convolution.py --device cuda --edges 160000

Passes: forward; forward_backward (gradients to node_feats, edge_sh and weights); second (both, and then the gradients
of those gradients, as training on forces takes them). Each holds the ones before it. The floor is the larger of bytes
over read bandwidth and flops over matrix rate, see problems.Cost; "of floor" says how close a contender came.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import harness
import torch
from problems import PASSES, PROBLEMS, Inputs, Problem
from torch import Tensor

from irrepnet.errors import BackendError
from irrepnet.ops import convolve

Convolution = Callable[[Tensor, Tensor, Tensor, Any], Tensor]
# Peak memory of path-by-path implementations in units of their messages [E, out.dim], measured with e3nn.
MESSAGES_HELD = {"forward": 2.5, "forward_backward": 5.0, "second": 11.0}


def run_pass(which: str, convolution: Convolution, inputs: Inputs) -> Sequence[Tensor]:
    """Run a pass and return its result: the output, three gradients, or four gradients of gradients."""
    leaves = inputs.leaves
    if which == "forward":
        with torch.no_grad():
            return (convolution(*leaves, inputs.order),)
    out = convolution(*leaves, inputs.order)
    if which == "forward_backward":
        return torch.autograd.grad(out, leaves, inputs.cotangent)
    slopes = torch.autograd.grad(out, leaves, inputs.cotangent, create_graph=True)
    # The operands themselves serve as cotangents of the three gradients: nothing else has to be made or read.
    directions = [leaf.detach() for leaf in leaves]
    return torch.autograd.grad(slopes, (*leaves, inputs.cotangent), directions)


def ours(problem: Problem, backend: str, dtype: torch.dtype, device: str = "cpu") -> Convolution:
    product = problem.product(dtype).to(device)
    return partial(_ours, product.plan, product.tables, backend)


def _ours(plan: Any, tables: Tensor, backend: str, x: Tensor, y: Tensor, w: Tensor, order: Any) -> Tensor:
    return convolve(x, y, w, order, plan, tables=tables, backend=backend)


def e3nn(problem: Problem, dtype: torch.dtype, device: str = "cpu") -> Convolution:
    import e3nn as package
    from e3nn import o3

    package.set_optimization_defaults(jit_mode="eager")
    product = problem.product(dtype, kit=o3).to(device)

    def convolution(x: Tensor, y: Tensor, w: Tensor, order: Any) -> Tensor:
        messages = product(x[order.src], y, w)
        return messages.new_zeros(order.num_dst, messages.shape[1]).index_add(0, order.dst, messages)

    return convolution


def cuequivariance(problem: Problem, dtype: torch.dtype, device: str = "cpu") -> Convolution:
    import cuequivariance as cue
    import cuequivariance_torch as cuet

    if problem.mode != "uvu":
        raise ValueError("its channelwise product has no uvw")
    irreps = [cue.Irreps("O3", text) for text in problem.arguments[:2]]
    keep = cue.Irreps("O3", problem.keep)
    product = cuet.ChannelWiseTensorProduct(
        *irreps,
        [ir for _, ir in keep],
        shared_weights=False,
        internal_weights=False,
        layout=cue.mul_ir,
        dtype=dtype,
        math_dtype=dtype,
        device=device,
    )
    if str(product.irreps_out) != problem.arguments[2]:
        raise ValueError(f"its output blocks lie in another order, {product.irreps_out}: no comparison")

    def convolution(x: Tensor, y: Tensor, w: Tensor, order: Any) -> Tensor:
        messages = product(x[order.src], y, w)
        return messages.new_zeros(order.num_dst, messages.shape[1]).index_add(0, order.dst, messages)

    return convolution


MAKERS: dict[str, Callable[[Problem, torch.dtype, str], Convolution]] = {
    "fused": lambda problem, dtype, device: ours(problem, "fused", dtype, device),
    "reference": lambda problem, dtype, device: ours(problem, "reference", dtype, device),
    "e3nn": e3nn,
    "cuequivariance": cuequivariance,
}


def checked(problem: Problem, names: Sequence[str], dtype: torch.dtype, device: str) -> dict[str, Convolution]:
    """Return the contenders that serve here and agree with the float64 reference on a small graph; name the others."""
    small = problem.inputs(20, 100, torch.float64, seed=1, device=device)
    cast = [t.detach().to(dtype).requires_grad_() for t in small[:4]]
    reference = ours(problem, "reference", torch.float64, device)
    truth = {which: run_pass(which, reference, small) for which in PASSES}
    found = {}
    for name in names:
        try:
            convolution = MAKERS[name](problem, dtype, device)
            for which in PASSES:
                result = run_pass(which, convolution, Inputs(*cast, small.order))
                harness.compare(f"{name} {problem.name} {which}", result, truth[which], dtype)
        except (BackendError, ImportError, ValueError, harness.WrongResultError) as error:
            print(f"{problem.name}: {name} is left out: {error}")
        else:
            found[name] = convolution
    return found


def memory_case(name: str, problem: str, which: str, nodes: int, edges: int, dtype: torch.dtype) -> harness.Run:
    convolution = MAKERS[name](PROBLEMS[problem], dtype, "cpu")
    run_pass(which, convolution, PROBLEMS[problem].inputs(2, 4, dtype))  # libraries and thread pools are there now
    return partial(run_pass, which, convolution, PROBLEMS[problem].inputs(nodes, edges, dtype))


def fits(name: str, problem: Problem, which: str, edges: int, dtype: torch.dtype, device: str) -> bool:
    """Whether a contender that holds messages has the memory for it: the machine must not swap or kill."""
    messages = edges * (problem.plan.dim_out + problem.plan.weight_numel) * torch.finfo(dtype).bits / 8 / 2**20
    return name == "fused" or MESSAGES_HELD[which] * messages < 0.7 * harness.available_mib(device)


def bench(problem: Problem, edges: int, dtype: torch.dtype, args: Any, table: harness.Table) -> None:
    contenders = checked(problem, args.contenders, dtype, args.device)
    nodes = max(1, edges // args.neighbors)
    inputs = problem.inputs(nodes, edges, dtype, device=args.device)
    for threads in args.threads:
        torch.set_num_threads(threads)
        probe = harness.Probe(dtype, args.device)
        for which in args.passes:
            runs = {}
            for name, convolution in contenders.items():
                if fits(name, problem, which, edges, dtype, args.device):
                    runs[name] = partial(run_pass, which, convolution, inputs)
                else:
                    print(f"{problem.name} {which}: {name} is left out: too little memory")
            if not runs:
                continue
            probe()
            times = harness.interleave(runs, dtype=dtype, rounds=args.rounds, budget=args.budget, between=probe)
            cost, machine = problem.cost(which, nodes, edges, dtype), probe.best
            floor = cost.floor_ms(*machine)
            extra = {name: {"of_floor": f"{floor / timing.median:.3g}"} for name, timing in times.items()}
            note = f"floor {floor:.3g} ms"
            if args.memory and threads == args.threads[0]:
                for name in times:
                    held = harness.extra_peak(memory_case, name, problem.name, which, nodes, edges, dtype)
                    extra[name]["extra_mib"] = f"{held:.0f}" if isinstance(held, float) else held
                    note += f", {name} +{extra[name]['extra_mib']} MiB"
            table.add_timings(
                times,
                extra,
                note,
                **{"case": problem.name, "pass": which, "dtype": str(dtype)[6:], "size": edges, "threads": threads},
                nodes=nodes,
                floor_ms=f"{floor:.4g}",
                mbytes=f"{cost.bytes / 1e6:.4g}",
                mflop=f"{cost.flops / 1e6:.4g}",
                gbytes_per_s=f"{machine.bytes_per_s / 1e9:.4g}",
                gflops_per_s=f"{machine.flops_per_s / 1e9:.4g}",
            )


def main() -> None:
    parser = harness.arguments(__doc__, budget=20.0)
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS), metavar="NAME")
    parser.add_argument("--edges", type=int, nargs="+", default=[2000, 20000])
    parser.add_argument("--neighbors", type=int, default=20, help="edges for each node")
    parser.add_argument("--dtype", nargs="+", default=["float32"], choices=["float32", "float64"])
    parser.add_argument("--passes", nargs="+", default=list(PASSES), choices=PASSES)
    parser.add_argument("--contenders", nargs="+", default=list(MAKERS), choices=list(MAKERS))
    parser.add_argument("--memory", action="store_true", help="peak memory too, each case in a process of its own")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = harness.parse(parser)
    if args.quick:
        args.edges, args.rounds, args.budget = [2000], 3, 2.0
    table = harness.Table("convolution", args.out, args.device)
    for edges in args.edges:
        for name in args.problems:
            for dtype in harness.dtypes(args.dtype):
                bench(PROBLEMS[name], edges, dtype, args, table)


if __name__ == "__main__":
    main()
