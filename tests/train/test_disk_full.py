"""A file system that takes no more: a message that helps, and nothing lost of what was there."""

import errno
import os
import resource
import signal

import pytest
import torch
from train import toy

from irrepnet.models import load_tensors
from irrepnet.models.checkpoint import load_model
from irrepnet.train import RunFolder, train
from irrepnet.train.state import TrainState


def in_a_child(function):
    """Run a function in a process of its own, as limits cannot be taken back; return its exit code."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            code = function()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def limit_files(num_bytes):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))


def test_a_state_that_does_not_fit_leaves_the_one_before(tmp_path):
    config, run = toy.config(tmp_path), RunFolder(tmp_path)
    state = TrainState(torch.nn.Linear(30, 20), config.training, data_fingerprint="")
    state.save(run, config)
    before = run.state.read_bytes()

    def save():
        limit_files(1000)
        try:
            state.save(run, config)
        except OSError as error:
            said = str(error)
            return 0 if "last.state cannot be written: File too large; what was there before is kept" in said else 1
        return 2

    assert in_a_child(save) == 0
    assert run.state.read_bytes() == before
    assert state.load(run, config) is None


def test_a_run_whose_disk_fills_up_can_go_on_when_there_is_room(tmp_path, monkeypatch):
    config = toy.config(tmp_path)
    train(config, tmp_path / "whole", quiet=True)
    save = TrainState.save

    def save_on_a_full_disk(self, run, config):
        if self.progress.step == 8:
            monkeypatch.setattr(os, "write", no_room)
        save(self, run, config)

    def no_room(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(TrainState, "save", save_on_a_full_disk)
    with pytest.raises(OSError, match=r"last\.state cannot be written: No space left on device; .*make room"):
        train(config, tmp_path / "parts", quiet=True)
    monkeypatch.undo()
    assert load_tensors(tmp_path / "parts" / "last.state")[1]["progress"]["step"] == 4
    load_model(tmp_path / "parts" / "best.model")
    train(config, tmp_path / "parts", resume=True, quiet=True)
    toy.assert_same_run(tmp_path / "whole", tmp_path / "parts")
