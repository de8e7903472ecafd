"""Time imports, and the construction and first call of all that users reach for, each in a fresh process.

    python benchmarks/bench_construction.py --rounds 5 --out runs/bench

Both libraries are imported before the clock starts; nothing is cached on disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import harness
from calls import CALLS
from problems import PROBLEMS

QUICK = ("FullyConnectedTensorProduct", "Norm", "ReducedTensorProducts-4", "ToS2Grid")
KITS = {"irrepnet": "irrepnet.o3", "e3nn": "e3nn.o3"}
IMPORT = "import json, time, torch; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
CASE = """
import json, sys, time, torch
from {kit} import Linear, TensorProduct
kind, (*irreps, paths), sizes = json.loads(sys.argv[1])
torch.set_num_threads(1)
operands = [torch.randn(4, size) for size in sizes]
start = time.perf_counter()
if kind == "Linear":
    Linear(*irreps)(*operands)
else:
    paths = [tuple(path) for path in paths]
    module = TensorProduct(*irreps, paths, internal_weights=False, shared_weights=False)
    module(*operands, torch.randn(4, module.weight_numel))
print(time.perf_counter() - start)
"""

CALL = """
import sys, time, torch
from {kit} import o3, nn, io, math
make, inputs, call = sys.argv[1:]
eval(make.split("(")[0])  # the module that defines it is imported before the clock starts
torch.set_num_threads(1)
N = 4
x = eval(inputs)
start = time.perf_counter()
f = eval(make)
eval(call)
print(time.perf_counter() - start)
"""


def seconds(code: str, *arguments: str) -> float:
    """Return what a fresh interpreter prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    root = Path(__file__).parents[1]
    result = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"the process failed:\n{result.stderr[-500:]}")
    return float(result.stdout.split()[-1])


def cases(quick: bool) -> dict[str, tuple]:
    linear = "128x0e+128x1o+128x2e"
    found: dict[str, tuple] = {"Linear": ("Linear", (linear, linear, []), (128 * 9,))}
    for name in ["nequip-lips"] if quick else ["nequip-water", "nequip-lips", "mace-large", "nequip-benzene"]:
        problem = PROBLEMS[name]
        found[name] = ("TensorProduct", problem.arguments, (problem.plan.dim1, problem.plan.dim2))
    return found


def main() -> None:
    parser = harness.arguments(__doc__, rounds=5)
    args = harness.parse(parser)
    rounds = min(args.rounds, 3) if args.quick else args.rounds
    table = harness.Table("construction", args.out)
    programs: dict[str, dict[str, tuple[str, ...]]] = {
        "import": {
            "irrepnet": (IMPORT.format(statement="import irrepnet.o3; irrepnet.o3.TensorProduct, irrepnet.o3.Linear"),),
            "e3nn": (IMPORT.format(statement="import e3nn.o3"),),
        }
    }
    for name, case in cases(args.quick).items():
        programs[name] = {kit: (CASE.format(kit=module), json.dumps(case)) for kit, module in KITS.items()}
    for name, call in CALLS.items():
        if args.quick and name not in QUICK:
            continue
        programs[name] = {kit: (CALL.format(kit=kit), call.make, call.inputs, call.call) for kit in KITS}
    for name, contenders in programs.items():
        times: dict[str, list[float]] = {kit: [] for kit in contenders}
        for _ in range(rounds):
            for kit, program in contenders.items():
                times[kit].append(seconds(*program))
        row = {"case": name, "pass": "after torch" if name == "import" else "make and call", "dtype": "float32"}
        table.add_timings({kit: harness.timing(t) for kit, t in times.items()}, size=4, threads=1, **row)


if __name__ == "__main__":
    main()
