"""Time a whole force field on a frame of 192 atoms of water against the same network on e3nn's modules.

    python benchmarks/bench_model.py --nets full shipped --out runs/bench

Four layers, 32 channels of 0e, 0o, 1e, 1o (last layer 0e), edges l <= 1, 8 Bessel functions, radial network 64-64,
cutoff 6 Å, batch 1. Net "shipped" is what ``ForceField`` makes of that: irreps that cannot reach the energy any more
are left out. Net "full" keeps them, as other codes do. Passes: energy, energy and forces, and a training step without
the optimizer (gradients of a loss on energy and forces to all weights). Both sides have the same weights, and energies,
forces and gradients are compared before timing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import harness
import torch
from torch import Tensor

from irrepnet import o3
from irrepnet.data import Graph, build_graph, read_frames
from irrepnet.models import ForceField, ForceFieldConfig, trunk

PASSES = ("energy", "forces", "training")
FRAMES = "package:water_xtb/heldout.npz"


def config(**settings: Any) -> ForceFieldConfig:
    return ForceFieldConfig(
        species=("H", "O"),
        cutoff=6.0,
        lmax=1,
        irreps_hidden="32x0e+32x0o+32x1e+32x1o",
        num_layers=4,
        num_basis=8,
        radial_hidden=(64, 64),
        avg_num_neighbors=87.0,
        **settings,
    )


def reachable(settings: ForceFieldConfig, wanted: o3.Irreps) -> list[o3.Irreps]:
    """Return the irreps after each layer when nothing is left out but what cannot be made yet."""
    hidden, edge = o3.Irreps(settings.irreps_hidden), o3.Irreps.spherical_harmonics(settings.lmax)
    layers = [{o3.Irrep("0e")}]
    for _ in range(settings.num_layers - 1):
        layers.append({ir for a in layers[-1] for _, sh in edge for ir in a * sh})
    kept = [o3.Irreps([entry for entry in hidden if entry.ir in irs]) for irs in layers[1:]]
    return [*kept, o3.Irreps([entry for entry in hidden if entry.ir in wanted])]


def make(net: str, **settings: Any) -> ForceField:
    """Return our model; "full" takes the choice of irreps out of ForceField's hands."""
    torch.manual_seed(0)
    chosen = trunk._useful_irreps
    try:
        if net == "full":
            trunk._useful_irreps = reachable
        return ForceField(config(**settings))
    finally:
        trunk._useful_irreps = chosen


def loss(energy: Tensor, forces: Tensor) -> Tensor:
    return (energy / len(forces)).square().sum() + forces.square().mean()


def run_ours(which: str, model: ForceField, graph: Graph) -> Sequence[Tensor]:
    if which == "energy":
        with torch.no_grad():
            return (model._energy(graph, model.trunk.edge_vectors(graph)).sum(),)
    model.train(which == "training")
    predicted = model(graph)
    if which == "forces":
        return predicted.energy.sum(), predicted.forces
    parameters = list(model.parameters())
    return torch.autograd.grad(loss(predicted.energy, predicted.forces), parameters)


def run_e3nn(which: str, net: Any, graph: Graph) -> Sequence[Tensor]:
    from water_net import energy_and_forces

    if which == "energy":
        with torch.no_grad():
            return (net(graph, trunk.edge_vectors(graph)),)
    energy, forces = energy_and_forces(net, graph, create_graph=which == "training")
    if which == "forces":
        return energy, forces
    return torch.autograd.grad(loss(energy, forces), [p for p in net.parameters() if p.numel()])


def check(which: str, ours: harness.Run, theirs: harness.Run) -> None:
    """Compare what both return; of a training step the norm of all gradients, for weights are laid out differently."""
    found, wanted = list(ours()), list(theirs())
    if which == "training":
        found, wanted = ([torch.cat([t.flatten() for t in one]).norm()] for one in (found, wanted))
    harness.compare(f"e3nn {which}", wanted, found, torch.float32)


def bench(net: str, args: argparse.Namespace, table: harness.Table) -> None:
    graph = build_graph(read_frames(FRAMES)[0], 6.0)
    model = make(net)
    runs: dict[str, tuple[Any, Any]] = {"irrepnet": (run_ours, model)}
    if "radial" in ForceFieldConfig.model_fields:
        runs["irrepnet table"] = (run_ours, make(net, radial="table"))
    else:
        print("radial tables are left out: ForceFieldConfig has no key radial")
    if not args.no_reference:
        runs["reference"] = (run_ours, make(net, backend="reference"))
    try:
        from water_net import WaterNet
    except ImportError as error:
        print(f"e3nn is left out: {error}")
    else:
        runs["e3nn"] = (run_e3nn, WaterNet(model))
    counts = ", ".join(f"{name} {sum(p.numel() for p in one.parameters())}" for name, (_, one) in runs.items())
    print(f"net {net}: {graph.num_nodes} atoms, {graph.num_edges} edges, layers {model.irreps_layers}")
    print(f"parameters: {counts}")
    for threads in args.threads:
        torch.set_num_threads(threads)
        for which in args.passes:
            calls = {name: partial(run, which, one, graph) for name, (run, one) in runs.items()}
            for name in ("reference", "e3nn"):
                if name in calls:
                    check(which, calls["irrepnet"], calls[name])
            times = harness.interleave(calls, dtype=None, rounds=args.rounds, budget=args.budget)
            row = {"case": f"water {net}", "pass": which, "dtype": "float32", "size": graph.num_edges}
            table.add_timings(times, threads=threads, parameters=counts, **row)


def main() -> None:
    parser = harness.arguments(__doc__, budget=30.0)
    parser.add_argument("--nets", nargs="+", default=["full", "shipped"], choices=["full", "shipped"])
    parser.add_argument("--passes", nargs="+", default=list(PASSES), choices=PASSES)
    parser.add_argument("--no-reference", action="store_true", help="leave out our PyTorch reference")
    args = harness.parse(parser)
    if args.quick:
        args.nets, args.rounds, args.budget, args.no_reference = ["full"], 3, 10.0, True
    table = harness.Table("model", args.out)
    for net in args.nets:
        bench(net, args, table)


if __name__ == "__main__":
    main()
