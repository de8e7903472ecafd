import os
import signal

import pytest
import torch
from torch import nn
from train import toy

from irrepnet.train import RunFolder
from irrepnet.train.state import TrainState

CALLS = ("write", "fsync", "replace")


class FatalCall:
    """Die by SIGKILL before, in the middle of or after a chosen system call of this process."""

    def __init__(self, fatal, moment):
        self.count, self.fatal, self.moment = 0, fatal, moment
        for name in CALLS:
            setattr(os, name, self.wrapped(name, getattr(os, name)))

    def wrapped(self, name, real):
        def call(*args, **kwargs):
            now, self.count = self.count == self.fatal, self.count + 1
            if now and self.moment == "middle" and name == "write":
                real(args[0], bytes(args[1])[: len(args[1]) // 2])
            result = None if now and self.moment != "after" else real(*args, **kwargs)
            if now:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call


def state_of_step(config, step):
    state = TrainState(nn.Linear(3, 2), config.training, data_fingerprint="frames")
    nn.init.constant_(state.model.weight, step)
    state.progress.step = step
    return state


def killed_save(state, run, config, fatal, moment):
    """Save in a child that dies at a call; return its status."""
    child = os.fork()
    if child == 0:
        FatalCall(fatal, moment)
        try:
            state.save(run, config)
        finally:
            os._exit(0)  # a child that lives on would go on with the tests
    return os.waitpid(child, 0)[1]


@pytest.mark.parametrize("moment", ["before", "middle", "after"])
@pytest.mark.parametrize("fatal", range(5))
def test_a_kill_at_any_call_of_a_save_leaves_a_state_that_loads(tmp_path, fatal, moment):
    """The calls: rename last to previous, write, fsync, rename to last, fsync of the folder."""
    config, run = toy.config(tmp_path), RunFolder(tmp_path)
    for step in (1, 2):
        state_of_step(config, step).save(run, config)
    status = killed_save(state_of_step(config, 3), run, config, fatal, moment)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL

    found = state_of_step(config, 0)
    found.load(run, config)
    replaced = fatal > 3 or (fatal == 3 and moment == "after")
    assert found.progress.step == (3 if replaced else 2)
    assert torch.equal(found.model.weight, torch.full((2, 3), float(found.progress.step)))

    state_of_step(config, 4).save(run, config)
    assert found.load(run, config) is None
    assert found.progress.step == 4


def test_a_save_has_no_other_calls(tmp_path):
    config, run = toy.config(tmp_path), RunFolder(tmp_path)
    state_of_step(config, 1).save(run, config)
    status = killed_save(state_of_step(config, 2), run, config, 5, "before")
    assert os.WIFEXITED(status)
