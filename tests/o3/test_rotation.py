import inspect
import math

import e3nn.o3
import pytest
import torch

from irrepnet import o3
from irrepnet.errors import DtypeError, ShapeError

ANGLES = o3.rand_angles(200, dtype=torch.float64)
MATRIX = e3nn.o3.angles_to_matrix(*ANGLES)
QUATERNION = e3nn.o3.angles_to_quaternion(*ANGLES)
AXIS_ANGLE = e3nn.o3.angles_to_axis_angle(*ANGLES)
CONVERSIONS = {
    "matrix_x": ANGLES[:1],
    "matrix_y": ANGLES[:1],
    "matrix_z": ANGLES[:1],
    "angles_to_matrix": ANGLES,
    "angles_to_quaternion": ANGLES,
    "angles_to_axis_angle": ANGLES,
    "angles_to_xyz": ANGLES[:2],
    "xyz_to_angles": (MATRIX[:, 0],),
    "matrix_to_angles": (MATRIX,),
    "matrix_to_quaternion": (MATRIX,),
    "matrix_to_axis_angle": (MATRIX,),
    "quaternion_to_matrix": (QUATERNION,),
    "quaternion_to_angles": (QUATERNION,),
    "quaternion_to_axis_angle": (QUATERNION,),
    "axis_angle_to_matrix": AXIS_ANGLE,
    "axis_angle_to_quaternion": AXIS_ANGLE,
    "axis_angle_to_angles": AXIS_ANGLE,
}


def as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


@pytest.mark.parametrize("name", CONVERSIONS)
def test_conversions_equal_e3nn(name):
    ours, theirs = (as_tuple(getattr(room, name)(*CONVERSIONS[name])) for room in (o3, e3nn.o3))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)  # e3nn's acos loses digits next to 0 and pi


@pytest.mark.parametrize("name", CONVERSIONS)
def test_arguments_have_the_names_of_e3nn(name):
    ours, theirs = (list(inspect.signature(getattr(room, name)).parameters) for room in (o3, e3nn.o3))
    assert ours == theirs


@pytest.mark.parametrize("name", CONVERSIONS)
def test_dtype_comes_from_the_input_and_gradients_flow(name):
    for dtype in (torch.float32, torch.float64):
        inputs = [x[:3].to(dtype).requires_grad_() for x in CONVERSIONS[name]]
        outputs = as_tuple(getattr(o3, name)(*inputs))
        assert {out.dtype for out in outputs} == {dtype}
        grads = torch.autograd.grad(sum(out.sum() for out in outputs), inputs, allow_unused=True)
        assert all(grad is None or grad.isfinite().all() for grad in grads) and any(g is not None for g in grads)


def rotations_at_the_edges():
    """Next to the poles, the identity and half turns, where acos would lose half of the digits."""
    near = torch.tensor([0.0, 1e-15, 1e-12, 1e-8, 1e-4, 1e-2], dtype=torch.float64)
    steps = torch.cat([near, math.pi - near, -near])
    a, b, c = torch.cartesian_prod(torch.tensor([0.3, -2.0], dtype=torch.float64), steps, steps).T
    return torch.cat([o3.angles_to_matrix(a, b, c), o3.angles_to_matrix(b, a, c), o3.angles_to_matrix(b, c, b)])


@pytest.mark.parametrize(("there", "back"), [
    ("matrix_to_angles", "angles_to_matrix"),
    ("matrix_to_quaternion", "quaternion_to_matrix"),
    ("matrix_to_axis_angle", "axis_angle_to_matrix"),
])  # fmt: skip
def test_round_trips_keep_every_digit_at_the_edges(there, back):
    R = rotations_at_the_edges()
    way = as_tuple(getattr(o3, there)(R))
    torch.testing.assert_close(getattr(o3, back)(*way), R, rtol=0, atol=4e-15)


def test_ranges():
    R = torch.cat([rotations_at_the_edges(), MATRIX])
    alpha, beta, gamma = o3.matrix_to_angles(R)
    assert alpha.abs().max() <= math.pi and gamma.abs().max() <= math.pi and beta.min() >= 0 and beta.max() <= math.pi
    axis, angle = o3.matrix_to_axis_angle(R)
    torch.testing.assert_close(axis.norm(dim=-1), torch.ones_like(angle))
    assert angle.min() >= 0 and angle.max() <= math.pi + 1e-15
    assert o3.matrix_to_quaternion(R)[:, 0].min() >= 0


def test_small_angles_keep_their_relative_precision():
    tiny = torch.tensor(1e-9, dtype=torch.float64)
    axis = torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)
    found_axis, found = o3.matrix_to_axis_angle(o3.axis_angle_to_matrix(axis, tiny))
    torch.testing.assert_close(found, tiny, rtol=1e-12, atol=0)
    torch.testing.assert_close(found_axis, axis, rtol=0, atol=1e-12)


def test_length_of_axes_and_quaternions_does_not_matter():
    torch.testing.assert_close(o3.quaternion_to_matrix(7 * QUATERNION), MATRIX, rtol=0, atol=1e-13)
    axis, angle = AXIS_ANGLE
    torch.testing.assert_close(o3.axis_angle_to_matrix(7 * axis, angle), MATRIX, rtol=0, atol=1e-13)


def test_derivatives_are_finite_where_an_angle_is_arbitrary():
    eye = torch.eye(3, dtype=torch.float64, requires_grad=True)
    for conversion in (o3.matrix_to_angles, o3.matrix_to_axis_angle, o3.matrix_to_quaternion):
        (grad,) = torch.autograd.grad(sum(out.sum() for out in as_tuple(conversion(eye))), eye)
        assert grad.isfinite().all(), conversion.__name__


def test_conversions_run_under_vmap():
    R = MATRIX[:5]
    torch.testing.assert_close(torch.vmap(o3.matrix_to_quaternion)(R), o3.matrix_to_quaternion(R))
    torch.testing.assert_close(torch.vmap(o3.angles_to_matrix)(*(a[:5] for a in ANGLES)), R)


def test_bad_inputs_are_named():
    with pytest.raises(ShapeError, match=r"matrix_to_angles needs shape \[..., 3, 3\]; got \[3\]"):
        o3.matrix_to_angles(torch.zeros(3))
    with pytest.raises(ShapeError, match=r"quaternion_to_matrix needs shape \[..., 4\]; got \[2, 3\]"):
        o3.quaternion_to_matrix(torch.zeros(2, 3))
    with pytest.raises(DtypeError, match=r"matrix_x needs a floating-point tensor; got torch.int64"):
        o3.matrix_x(torch.tensor(1))
    with pytest.raises(DtypeError, match="xyz_to_angles needs a floating-point tensor; got list"):
        o3.xyz_to_angles([0.0, 1.0, 0.0])
