"""One step: its pieces add up to the whole, and a NaN changes nothing."""

import itertools
import math

import pytest
import torch
from train import toy

from irrepnet.errors import NonFiniteError
from irrepnet.models import Prediction
from irrepnet.train.batch_stream import BatchStream
from irrepnet.train.config import LossConfig
from irrepnet.train.distributed import Ranks
from irrepnet.train.model_from_data import model_from_data, training_set
from irrepnet.train.samples import LabelledGraphs, batch_indices
from irrepnet.train.splits import load_splits
from irrepnet.train.state import TrainState
from irrepnet.train.step import pieces_of_steps, take_step
from irrepnet.train.tasks import ForceFieldTask


def state_and_data(tmp_path, **changes):
    config = toy.config(tmp_path, **changes)
    data = training_set(load_splits(config).train, toy.CUTOFF)
    return TrainState(model_from_data(config, data), config.training, data_fingerprint=""), data


def step(state, pieces, **changes):
    options = {"weights": LossConfig(), "rate": 0.01, "clip_norm": 10.0, "ranks": Ranks(), **changes}
    return take_step(state, pieces, task=ForceFieldTask(), **options)


def gradients(state):
    return [weight.grad for weight in state.learned]


@pytest.mark.parametrize("kind", ["mse", "huber", "mae"])
def test_pieces_of_unequal_size_have_the_loss_and_the_gradient_of_the_whole(tmp_path, kind):
    weights = LossConfig(kind=kind)
    (whole, data), (parts, _) = state_and_data(tmp_path), state_and_data(tmp_path)
    for state in (whole, parts):
        state.model.double()
    loss = step(whole, [LabelledGraphs.collate(data.items[:6])], weights=weights, clip_norm=None)
    pieces = [LabelledGraphs.collate(data.items[start:end]) for start, end in ((0, 1), (1, 4), (4, 6))]
    assert step(parts, pieces, weights=weights, clip_norm=None) == pytest.approx(loss, rel=1e-12)
    for one, other in zip(gradients(whole), gradients(parts), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    assert parts.progress.errors.metrics(ForceFieldTask.units) == pytest.approx(
        whole.progress.errors.metrics(ForceFieldTask.units)
    )


def test_the_pieces_of_a_step_are_its_batch_each_frame_once(tmp_path):
    state, data = state_and_data(tmp_path, batch_size=5, accumulate=3)
    settings = toy.config(tmp_path, batch_size=5, accumulate=3).training
    stream = BatchStream(data.items)
    steps = list(itertools.islice(pieces_of_steps(data, stream, settings, Ranks(), first_step=2), 9))
    assert len(state.learned) > 0
    for number, pieces in enumerate(steps, start=2):
        whole = LabelledGraphs.collate(
            [data.items[i] for i in batch_indices(len(data.items), 5, number, settings.seed)]
        )
        assert sorted(source for piece in pieces for source in piece.sources) == sorted(whole.sources)
        assert len(pieces) == min(3, len(whole.sources))


def test_more_pieces_than_frames_are_as_many_as_frames(tmp_path):
    _, data = state_and_data(tmp_path)
    settings = toy.config(tmp_path, batch_size=2, accumulate=7).training
    pieces = next(pieces_of_steps(data, BatchStream(data.items), settings, Ranks(), first_step=0))
    assert [piece.graph.num_graphs for piece in pieces] == [1, 1]


def test_only_the_frames_without_a_finite_prediction_are_named(tmp_path):
    state, data = state_and_data(tmp_path)
    broken = torch.tensor([1.0, math.nan, 1.0])
    state.model.register_forward_hook(lambda model, graph, out: Prediction(out.energy * broken, out.forces, None))
    before = [p.clone() for p in state.model.parameters()]
    with pytest.raises(NonFiniteError, match=r"the loss is nan for \S+ frame 1; best\.model"):
        step(state, [LabelledGraphs.collate(data.items[:3])])
    assert all(map(torch.equal, before, state.model.parameters()))


def test_a_gradient_that_is_not_finite_names_the_whole_batch(tmp_path):
    state, data = state_and_data(tmp_path)
    next(state.model.parameters()).register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(NonFiniteError, match=r"the gradient's norm is \w+ for \S+ frame 0, \S+ frame 1; best"):
        step(state, [data.items[0], data.items[1]])
    assert state.progress.step == 0


def test_clipping_limits_the_gradient_of_the_sum_of_the_pieces(tmp_path):
    state, data = state_and_data(tmp_path)
    step(state, [data.items[0], data.items[1]], clip_norm=1e-3)
    norm = torch.stack([gradient.norm() for gradient in gradients(state)]).norm().item()
    assert norm == pytest.approx(1e-3, rel=1e-3)
