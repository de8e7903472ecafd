"""Several processes: what they tell each other, and what happens when one of them is lost."""

import re
import signal

import pytest
import torch
from torch import nn
from train import ranks as processes

from irrepnet.train.distributed import Ranks

SCRIPT = processes.TESTS / "train" / "on_each_rank.py"


def test_alone_every_appointment_is_kept_at_once():
    alone, weight = Ranks(), nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([1.0, 2.0])
    alone.sum_gradients([weight])
    assert weight.grad.tolist() == [1.0, 2.0]
    assert alone.share([5, 1, 9], [1, 2, 3]) == (5, 1, 9)
    assert alone.sum([1, 0.5]) == alone.max([1, 0.5]) == alone.from_main([1, 0.5]) == [1.0, 0.5]
    assert alone.any(True) and not alone.any(False)
    assert alone.gather({"a": (1, None)}) == [{"a": [1, None]}]
    assert torch.equal(alone.gather_tensor(weight)[0], weight)
    alone.barrier()
    alone.agree("the frames", "x")


def test_a_share_needs_a_cost_for_each_index():
    with pytest.raises(ValueError, match="share needs a cost per index; got 2 indices and 1 costs"):
        Ranks(0, 2).share([4, 5], [1.0])


def test_three_ranks_keep_every_appointment_until_one_is_killed():
    codes, outputs, errors = processes.finish(processes.start(3, SCRIPT, "appointments"))
    assert codes == [1, 1, -signal.SIGKILL], "\n".join(errors)
    for rank in (0, 1):
        found = r"Connection closed by peer|Read error .*: Connection reset by peer"
        assert re.search(
            rf"RankError: rank {rank} of 3 needed an answer .* to add up gradients; found: ({found})", errors[rank]
        )
        *gradient, seconds = map(float, outputs[rank].split())
        assert gradient == [3.0, 3.0]  # as before the call that failed
        assert seconds < 10  # and not the 30 s that a silent rank would have


def test_a_rank_that_hangs_is_an_error_on_the_others(tmp_path):
    ranks = processes.start(2, SCRIPT, "a_rank_that_hangs", tmp_path)
    try:
        codes, outputs, errors = processes.finish(ranks[:1])
    finally:
        ranks[1].kill()
        ranks[1].communicate()
    assert codes == [1]
    assert (
        "RankError: rank 0 of 2 needed an answer of the other ranks to add up gradients; found: Timed out" in errors[0]
    )
    *gradient, seconds = map(float, outputs[0].split())
    assert gradient == [2.0, 2.0]
    assert 1.5 < seconds < 12
