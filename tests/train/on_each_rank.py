"""What tests of several ranks run in each process: ``python on_each_rank.py FUNCTION [ARGUMENT ...]``."""

import json
import os
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from irrepnet.errors import ConfigError
from irrepnet.train.distributed import Ranks


def appointments():
    """Every method of Ranks; then the last rank is killed."""
    with Ranks.join("cpu", timeout_s=30) as ranks:
        everyone = range(ranks.size)
        assert (ranks.rank, ranks.size) == (int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
        assert ranks.is_main == (ranks.rank == 0)
        tenth = 0.1 * (ranks.rank + 1)
        assert ranks.sum([tenth, 1.0]) == [sum(0.1 * (rank + 1) for rank in everyone), ranks.size]
        assert ranks.max([ranks.rank, -ranks.rank]) == [ranks.size - 1, 0]
        assert ranks.from_main([tenth]) == [0.1]
        assert ranks.any(ranks.rank == 1) and not ranks.any(False)
        assert torch.tensor(ranks.sum([float("nan") if ranks.rank == 1 else 1.0])).isnan()
        assert ranks.gather({"å": [ranks.rank] * ranks.rank}) == [{"å": [rank] * rank} for rank in everyone]
        rows = torch.full((2 * ranks.rank, 3), float(ranks.rank))  # none on rank 0
        for rank, part in enumerate(ranks.gather_tensor(rows)):
            assert torch.equal(part, torch.full((2 * rank, 3), float(rank)))
        ranks.barrier()
        ranks.agree("the frames", "same")
        with pytest.raises(ConfigError, match=r"the frames: .* found of 0 on rank 0 and of 1 on rank 1; give all"):
            ranks.agree("the frames", f"of {ranks.rank}")
        _gradients_are_summed(ranks)
        _lose_the_last(ranks, signal.SIGKILL)


def _gradients_are_summed(ranks):
    shapes = {"float": (3, 2), "double": (4,), "frozen": (2,), "unused": (5,), "scalar": ()}
    parameters = {name: nn.Parameter(torch.zeros(shape)) for name, shape in shapes.items()}
    parameters["double"].data = parameters["double"].data.double()
    parameters["frozen"].requires_grad = False
    if ranks.rank > 0:  # rank 0 has an empty share
        parameters["float"].grad = torch.full((3, 2), float(ranks.rank))
        parameters["double"].grad = torch.full((4,), 0.1 * ranks.rank, dtype=torch.float64)
        parameters["scalar"].grad = torch.tensor(2.0)
    ranks.sum_gradients(parameters.values())
    total = sum(range(ranks.size))
    assert torch.equal(parameters["float"].grad, torch.full((3, 2), float(total)))
    assert parameters["double"].grad.dtype == torch.float64
    torch.testing.assert_close(parameters["double"].grad, torch.full((4,), 0.1 * total).double(), rtol=1e-7, atol=0)
    bits = ranks.gather(parameters["double"].grad.tolist())
    assert all(other == bits[0] for other in bits)
    assert parameters["scalar"].grad == 2.0 * (ranks.size - 1)
    assert parameters["unused"].grad is None and parameters["frozen"].grad is None


def a_rank_that_hangs(folder):
    (Path(folder) / os.environ["RANK"]).touch()
    while len(list(Path(folder).iterdir())) < int(os.environ["WORLD_SIZE"]):
        time.sleep(0.01)  # importing torch may take longer than the ranks wait for each other
    with Ranks.join("cpu", timeout_s=2) as ranks:
        _lose_the_last(ranks, signal.SIGSTOP)


def _lose_the_last(ranks, number):
    """Send the last rank a signal; what is left of a gradient on the others is printed, and how long they waited."""
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    ranks.sum_gradients([weight])
    if ranks.rank == ranks.size - 1:
        os.kill(os.getpid(), number)
    started = time.monotonic()
    try:
        ranks.sum_gradients([weight])
    finally:
        print(*weight.grad.tolist(), time.monotonic() - started)


def runs(folder):
    """Train as ``runs.json`` of the folder says, one run after the other, and note how they ended."""
    from irrepnet.train.config_file import load_config
    from irrepnet.train.loop import train

    folder, endings = Path(folder), []
    for run in json.loads((folder / "runs.json").read_text()):
        stop = run.get("signal")
        at = run["at"] if stop is not None and os.environ["RANK"] == "1" else None
        with signal_in_step(at, stop):
            result = train(
                load_config(folder / "unequal.yaml", run["set"]), folder / run["out"], resume="resume" in run
            )
        endings.append([result.progress.step, result.signal])
        (folder / f"endings.{os.environ['RANK']}.json").write_text(json.dumps(endings))


@contextmanager
def signal_in_step(step, number):
    """Raise a signal in this process in the middle of a step, counted from the start of this sitting."""
    sum_gradients, count = Ranks.sum_gradients, 0

    def sum_and_raise(self, parameters):
        nonlocal count
        count += 1
        if count == step:
            signal.raise_signal(number)
        sum_gradients(self, parameters)

    Ranks.sum_gradients = sum_and_raise
    try:
        yield
    finally:
        Ranks.sum_gradients = sum_gradients


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
