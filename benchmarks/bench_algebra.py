"""Time what users of e3nn reach for, forward and backward, in one process with e3nn.

    python benchmarks/bench_algebra.py --out runs/bench

Weights are copied, and results compared, before anything is timed. e3nn runs in its default mode (eager).
Products are in ``bench_linear.py`` as well, with more shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from types import CodeType
from typing import Any, NamedTuple

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


class Scope(NamedTuple):
    """Something made with one of the libraries, what it is called with, and a gradient for each of its outputs."""

    f: Any
    x: tuple[Tensor, ...]
    call: CodeType
    cotangents: list[Tensor]

    def outputs(self) -> list[Tensor]:
        return list(tensors(eval(self.call, {"f": self.f, "x": self.x})))


def run(scope: Scope, which: str, times: int) -> Sequence[Tensor]:
    """Call several times, so that one call is not lost in what the timing costs; return the last result."""
    torch.manual_seed(1)  # dropout
    if which == "forward":
        with torch.no_grad():
            return [scope.outputs() for _ in range(times)][-1]
    leaves = [x for x in scope.x if x.requires_grad]
    options = {"allow_unused": True, "materialize_grads": True}
    return [torch.autograd.grad(scope.outputs(), leaves, scope.cotangents, **options) for _ in range(times)][-1]


def scopes(call: Call, dtype: torch.dtype) -> dict[str, Scope]:
    """Make the thing with either library, with the same weights and inputs."""
    found = {}
    for kit, names in kits().items():
        torch.manual_seed(0)
        x = tuple(t.to(dtype).requires_grad_(call.differentiable) for t in eval(call.inputs, {**names, "N": call.rows}))
        made = Scope(eval(call.make, dict(names)), x, compile(call.call, "call", "eval"), [])
        torch.manual_seed(2)
        made.cotangents.extend(torch.randn(y.shape, dtype=y.dtype) for y in made.outputs())
        found[kit] = made
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
            times = 1 if call.rows > 1000 else 10
            dtype = torch.float32 if call.same else None
            runs = {kit: partial(run, scope, which, times) for kit, scope in made.items()}
            row = {"case": name, "pass": which, "dtype": "float32", "size": call.rows, "threads": 1}
            try:
                found = harness.interleave(runs, dtype=dtype, rounds=args.rounds, budget=args.budget)
            except harness.WrongResultError as error:
                print(f"{name} {which}: {error}")
                continue
            one = {kit: harness.Timing(t.median / times, t.least / times, t.rounds) for kit, t in found.items()}
            table.add_timings(one, **row)


if __name__ == "__main__":
    main()
