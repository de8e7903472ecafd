import pytest
import torch
from torch import nn
from train import toy

from irrepnet.errors import CheckpointError
from irrepnet.train import RunFolder
from irrepnet.train.config import TrainingConfig
from irrepnet.train.state import TrainState


def stepped(settings, steps):
    """A state after some steps of a linear regression, and the weights after each."""
    torch.manual_seed(1)
    state = TrainState(nn.Linear(3, 2), settings, data_fingerprint="frames")
    history = []
    for _ in range(steps):
        step(state)
        history.append(state.model.weight.detach().clone())
    return state, history


def step(state):
    state.optimiser.zero_grad()
    (state.model(torch.rand(5, 3)) - 1).square().mean().backward()
    state.optimiser.step()
    state.averaged.update_parameters(state.model)
    state.progress.step += 1
    state.progress.errors.add("forces", torch.tensor([0.1 / state.progress.step]))


@pytest.mark.parametrize(
    "optimiser", [{"optimiser": "adam"}, {"optimiser": "adamw", "amsgrad": False, "weight_decay": 0.1}]
)
def test_a_state_goes_on_with_the_same_bits_after_a_trip_to_disk(tmp_path, optimiser):
    config = toy.config(tmp_path, **optimiser)
    run = RunFolder(tmp_path)
    state, _ = stepped(config.training, 3)
    state.save(run, config)
    step(state)

    other = TrainState(nn.Linear(3, 2), config.training, data_fingerprint="frames")
    assert other.load(run, config) is None
    step(other)
    assert torch.equal(other.model.weight, state.model.weight)
    assert torch.equal(other.averaged.module.weight, state.averaged.module.weight)
    assert other.progress == state.progress


def test_the_average_is_exponential_with_a_shorter_memory_at_first():
    state, history = stepped(TrainingConfig(steps=1, ema_decay=0.8), 60)
    mean = history[0].clone()
    for count, weight in enumerate(history[1:], start=1):
        decay = min(0.8, (1 + count) / (10 + count))
        mean = decay * mean + (1 - decay) * weight
    torch.testing.assert_close(state.averaged.module.weight.detach(), mean)


def test_the_state_before_the_last_is_kept(tmp_path):
    config = toy.config(tmp_path)
    run = RunFolder(tmp_path)
    state, _ = stepped(config.training, 1)
    state.save(run, config)
    first = run.state.read_bytes()
    step(state)
    state.save(run, config)
    assert run.previous_state.read_bytes() == first
    assert run.state.read_bytes() != first


def test_two_damaged_states_are_an_error(tmp_path):
    config = toy.config(tmp_path)
    run = RunFolder(tmp_path)
    run.state.write_bytes(b"torn")
    run.previous_state.write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=r"previous\.state is not a file written by irrepnet"):
        TrainState(nn.Linear(3, 2), config.training, data_fingerprint="frames").load(run, config)
