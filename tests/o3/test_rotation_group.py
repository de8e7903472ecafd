import e3nn.o3
import pytest
import torch

from irrepnet import o3

DRAW = {"rand_matrix": (3, 3), "rand_quaternion": (4,)}


@pytest.mark.parametrize("name", DRAW)
def test_draws_have_shape_dtype_and_gradient(name):
    R = getattr(o3, name)(2, 5, dtype=torch.float64, requires_grad=True)
    assert R.shape == (2, 5, *DRAW[name]) and R.dtype == torch.float64 and R.requires_grad and R.is_leaf


def test_angles_and_axes_drawn():
    for value in (*o3.rand_angles(5, requires_grad=True), *o3.rand_axis_angle(5, requires_grad=True)):
        assert value.shape[0] == 5 and value.requires_grad and value.is_leaf
    axis, _ = o3.rand_axis_angle(5)
    torch.testing.assert_close(axis.norm(dim=-1), torch.ones(5))


@pytest.mark.parametrize("name", ["rand_angles", "rand_matrix", "rand_quaternion", "rand_axis_angle"])
def test_draws_inside_vmap(name):
    draw = lambda _: getattr(o3, name)()
    drawn = torch.vmap(draw, randomness="different")(torch.zeros(4))
    first = drawn if isinstance(drawn, torch.Tensor) else drawn[-1]
    assert len(first) == 4 and not torch.equal(first[0], first[1])


def test_rotations_are_drawn_uniformly():
    R = o3.rand_matrix(20000, dtype=torch.float64)
    torch.testing.assert_close(R @ R.mT, torch.eye(3, dtype=torch.float64).expand_as(R))
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(20000, dtype=torch.float64))
    # Under the Haar measure the entries have mean 0, variance 1/3 and no correlation.
    flat = R.flatten(1)
    assert flat.mean(0).abs().max() < 0.02
    assert (flat.T @ flat / 20000 - torch.eye(9, dtype=torch.float64) / 3).abs().max() < 0.02


def test_identity_and_inverse():
    q, angles = o3.rand_quaternion(7, dtype=torch.float64), o3.rand_angles(7, dtype=torch.float64)
    one = o3.identity_quaternion(7, dtype=torch.float64)
    torch.testing.assert_close(o3.compose_quaternion(q, o3.inverse_quaternion(q)), one, rtol=0, atol=1e-14)
    eye = o3.angles_to_matrix(*o3.identity_angles(7, dtype=torch.float64))
    torch.testing.assert_close(eye, torch.eye(3, dtype=torch.float64).expand(7, 3, 3))
    product = o3.angles_to_matrix(*angles) @ o3.angles_to_matrix(*o3.inverse_angles(*angles))
    torch.testing.assert_close(product, eye, rtol=0, atol=1e-14)
    assert o3.identity_quaternion(2, requires_grad=True).requires_grad
    assert all(a.requires_grad for a in o3.identity_angles(2, requires_grad=True))


def test_composition_equals_e3nn():
    a, b = (o3.rand_angles(50, dtype=torch.float64) for _ in range(2))
    cases = {
        "compose_angles": (*a, *b),
        "compose_quaternion": (o3.angles_to_quaternion(*a), o3.angles_to_quaternion(*b)),
        "compose_axis_angle": (*o3.angles_to_axis_angle(*a), *o3.angles_to_axis_angle(*b)),
        "inverse_angles": a,
        "inverse_quaternion": (o3.angles_to_quaternion(*a),),
    }
    for name, inputs in cases.items():
        ours, theirs = getattr(o3, name)(*inputs), getattr(e3nn.o3, name)(*inputs)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)
    torch.testing.assert_close(
        o3.angles_to_matrix(*o3.compose_angles(*a, *b)), o3.angles_to_matrix(*a) @ o3.angles_to_matrix(*b)
    )
