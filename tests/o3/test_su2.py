import e3nn.o3
import numpy as np
import pytest
import torch

from irrepnet import o3
from irrepnet.errors import DtypeError, IrrepsError

SPINS = [0, 0.5, 1, 1.5, 2, 5.5, 12]


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def assert_close(a, b, atol=1e-12):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


@pytest.mark.parametrize("j", SPINS)
def test_generators_equal_e3nn(j):
    assert_close(o3.su2_generators(j), e3nn.o3.su2_generators(j))


@pytest.mark.parametrize("j", SPINS)
def test_generators_commute_as_rotations_do(j):
    X = o3.su2_generators(j)
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        assert_close(X[a] @ X[b] - X[b] @ X[a], X[c])
    assert_close((X @ X).sum(0), -j * (j + 1) * torch.eye(int(2 * j) + 1, dtype=X.dtype), 1e-12 * (1 + j) ** 2)
    assert_close(X.mH, -X, 0)


def test_a_full_turn_is_minus_one_for_half_integers():
    for j, sign in [(0.5, -1), (1, 1), (1.5, -1), (2, 1)]:
        turn = torch.matrix_exp(2 * torch.pi * o3.su2_generators(j))
        assert_close(turn, sign * torch.eye(int(2 * j) + 1, dtype=turn.dtype).expand_as(turn))


@pytest.mark.parametrize("l", [0, 1, 2, 5, 12])
def test_change_of_basis(l):
    Q = o3.change_basis_real_to_complex(l)
    assert_close(Q, e3nn.o3.change_basis_real_to_complex(l), 1e-15)
    assert_close(Q @ Q.mH, torch.eye(2 * l + 1, dtype=Q.dtype), 1e-15)
    real = Q.mH @ o3.su2_generators(l) @ Q
    assert_close(real, o3.so3_generators(l).to(real))


def test_dtypes_and_devices():
    assert o3.su2_generators(1, dtype=torch.float32).dtype == torch.complex64
    assert o3.change_basis_real_to_complex(1, torch.complex64).dtype == torch.complex64
    assert o3.change_basis_real_to_complex(1, torch.float64, "meta").device.type == "meta"
    torch.set_default_dtype(torch.float32)
    assert o3.su2_generators(1).dtype == o3.change_basis_real_to_complex(1).dtype == torch.complex64


def test_numbers_of_numpy_are_spins_and_degrees():
    assert torch.equal(o3.su2_generators(np.int64(1)), o3.su2_generators(1))
    assert torch.equal(o3.su2_generators(np.float32(1.5)), o3.su2_generators(1.5))
    assert torch.equal(o3.change_basis_real_to_complex(np.int64(2)), o3.change_basis_real_to_complex(2))


def test_bad_arguments_are_named():
    for j in (-1, 0.25, "1", True, float("nan"), float("inf")):
        with pytest.raises(IrrepsError, match=r"a spin is one of 0, 1/2, 1, 3/2"):
            o3.su2_generators(j)
    with pytest.raises(IrrepsError, match=r"a degree is an integer l >= 0; got 0.5"):
        o3.change_basis_real_to_complex(0.5)
    with pytest.raises(DtypeError, match=r"float32, float64, complex64 or complex128; got torch.int64"):
        o3.su2_generators(1, dtype=torch.int64)
