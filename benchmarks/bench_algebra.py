"""Time what users of e3nn reach for, forward and backward, in one process with e3nn.

    python benchmarks/bench_algebra.py --out runs/bench

Weights are copied, and results compared, before anything is timed. e3nn runs in its default mode (eager).
Products are in ``bench_linear.py`` as well, with more shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import harness
import torch
from calls import CALLS, Call
from torch import Tensor


def kits() -> dict[str, dict[str, Any]]:
    """Return the names that the expressions of ``calls.py`` may use, for either library."""
    import e3nn.io
    import e3nn.math
    import e3nn.nn
    import e3nn.o3

    import irrepnet

    e3nn = {name: getattr(e3nn, name) for name in ("o3", "nn", "io", "math")}
    ours = {name: getattr(irrepnet, name) for name in e3nn}
    return {"irrepnet": {**ours, "torch": torch}, "e3nn": {**e3nn, "torch": torch}}


def tensors(result: Any) -> Iterator[Tensor]:
    """Yield the tensors of a result."""
    if isinstance(result, Tensor):
        yield result
    else:
        for item in result:
            yield from tensors(item)


def run(scope: SimpleNamespace, call: Call, which: str) -> Sequence[Tensor]:
    names = {"f": scope.f, "x": scope.x}
    torch.manual_seed(0)  # dropout
    if which == "forward":
        with torch.no_grad():
            return list(tensors(eval(call.call, names)))
    outputs = list(tensors(eval(call.call, names)))
    cotangents = [torch.randn(y.shape, dtype=y.dtype) for y in outputs]  # the same, whatever the layout
    leaves = [x for x in scope.x if x.requires_grad]
    return torch.autograd.grad(outputs, leaves, cotangents, allow_unused=True, materialize_grads=True)


def scopes(call: Call, dtype: torch.dtype) -> dict[str, SimpleNamespace]:
    """Make the thing with either library, with the same weights and inputs."""
    found = {}
    for kit, names in kits().items():
        torch.manual_seed(0)
        x = tuple(t.to(dtype).requires_grad_(call.differentiable) for t in eval(call.inputs, {**names, "N": call.rows}))
        found[kit] = SimpleNamespace(f=eval(call.make, dict(names)), x=x)
    if isinstance(found["e3nn"].f, torch.nn.Module):
        found["irrepnet"].f.load_state_dict(found["e3nn"].f.state_dict(), strict=False)
    return found


def main() -> None:
    parser = harness.arguments(__doc__, budget=3.0, rounds=15)
    parser.add_argument("--only", help="regular expression of the names to time")
    args = harness.parse(parser)
    if args.quick:
        args.budget = 0.3
    torch.set_num_threads(1)
    table = harness.Table("algebra", args.out)
    for name, call in CALLS.items():
        if args.only and not re.search(args.only, name):
            continue
        made = scopes(call, torch.float32)
        for which in ("forward", "forward_backward") if call.differentiable else ("forward",):
            runs = {kit: partial(run, scope, call, which) for kit, scope in made.items()}
            row = {"case": name, "pass": which, "dtype": "float32", "size": call.rows, "threads": 1}
            try:
                times = harness.interleave(runs, dtype=torch.float32, rounds=args.rounds, budget=args.budget)
            except harness.WrongResultError as error:
                print(f"{name} {which}: {error}")
                continue
            table.add_timings(times, **row)


if __name__ == "__main__":
    main()
