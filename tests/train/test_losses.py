import numpy as np
import pytest
import torch

from irrepnet import o3
from irrepnet.data import Frame
from irrepnet.models import Prediction
from irrepnet.train import LabelledGraphs, force_field_loss, label_graphs
from irrepnet.train.config import LossConfig


def batch():
    """Two frames of two and one atoms in cells of 8 and 27 Å^3."""
    frames = [
        Frame(species=[8, 1], pos=np.eye(2, 3), cell=2 * np.eye(3), pbc=True, energy=1.0, forces=np.zeros((2, 3)),
              stress=np.zeros((3, 3))),
        Frame(species=[8], pos=[[0, 0, 0]], cell=3 * np.eye(3), pbc=True, energy=2.0, forces=np.zeros((1, 3)),
              stress=np.zeros((3, 3))),
    ]  # fmt: skip
    return LabelledGraphs.collate(label_graphs(frames, 0.5))


def prediction(energy=(1.4, 2.1), forces=0.0, stress=0.0):
    return Prediction(
        torch.tensor(energy, dtype=torch.float64),
        torch.full((3, 3), forces, dtype=torch.float64),
        torch.full((2, 3, 3), stress, dtype=torch.float64),
    )


def test_energy_is_per_atom_and_frames_weigh_the_same():
    loss = force_field_loss(prediction(), batch(), LossConfig(energy=3.0, forces=0.0, kind="mse"))
    assert loss.item() == pytest.approx(3.0 * (0.2**2 + 0.1**2) / 2)


def test_forces_are_averaged_over_components():
    loss = force_field_loss(prediction(forces=0.5), batch(), LossConfig(energy=0.0, forces=2.0, kind="mse"))
    assert loss.item() == pytest.approx(2.0 * 0.25)


def test_stress_is_compared_as_virial_per_atom():
    loss = force_field_loss(
        prediction(stress=0.01), batch(), LossConfig(energy=0.0, forces=0.0, stress=1.0, kind="mse")
    )
    assert loss.item() == pytest.approx(((0.01 * 8 / 2) ** 2 + (0.01 * 27) ** 2) / 2)


def test_huber_is_a_square_for_small_errors_and_linear_for_large_ones():
    weights = LossConfig(energy=0.0, forces=1.0, kind="huber", huber_delta=0.1)
    assert force_field_loss(prediction(forces=0.05), batch(), weights).item() == pytest.approx(0.05**2)
    assert force_field_loss(prediction(forces=2.0), batch(), weights).item() == pytest.approx(2 * 0.1 * (2.0 - 0.05))


def test_mean_absolute_errors():
    weights = LossConfig(energy=3.0, forces=2.0, kind="mae")
    assert force_field_loss(prediction(forces=0.5), batch(), weights).item() == pytest.approx(3.0 * 0.15 + 2.0 * 0.5)


@pytest.mark.parametrize("kind", ["mse", "huber", "mae"])
def test_a_rotated_frame_has_the_same_loss(kind):
    rotation = o3.rand_matrix(dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    forces = 0.3 * torch.randn(3, 3, dtype=torch.float64, generator=generator)
    stress = 0.01 * torch.randn(2, 3, 3, dtype=torch.float64, generator=generator)
    weights = LossConfig(energy=0.0, forces=1.0, stress=1.0, kind=kind)
    losses = [
        force_field_loss(Prediction(torch.zeros(2).double(), force, tensor), batch(), weights).item()
        for force, tensor in ((forces, stress), (forces @ rotation.T, rotation @ stress @ rotation.T))
    ]
    assert losses[0] > 0
    assert losses[1] == pytest.approx(losses[0], rel=1e-12)


@pytest.mark.parametrize("kind", ["mse", "huber", "mae"])
def test_a_perfect_prediction_has_no_loss_and_no_gradient(kind):
    perfect = Prediction(*(value.double().requires_grad_() for value in (batch().energy, batch().forces)), None)
    loss = force_field_loss(perfect, batch(), LossConfig(kind=kind))
    gradients = torch.autograd.grad(loss, [perfect.energy, perfect.forces])
    assert loss.item() == 0.0
    assert all(bool((gradient == 0).all()) for gradient in gradients)


def test_a_piece_has_its_share_of_the_whole():
    totals = {"energy": 8, "forces": 36}
    whole = LossConfig(energy=3.0, forces=2.0, kind="mse")
    assert force_field_loss(prediction(forces=0.5), batch(), whole, totals).item() == pytest.approx(
        3.0 * 0.025 * 2 / 8 + 2.0 * 0.25 * 9 / 36
    )


def test_the_parts_add_up():
    both = force_field_loss(prediction(forces=0.5), batch(), LossConfig(energy=3.0, forces=2.0, kind="mse"))
    assert both.item() == pytest.approx(3.0 * 0.025 + 2.0 * 0.25)
    assert both.dtype == torch.float64
