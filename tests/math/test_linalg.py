import e3nn.math
import pytest
import torch
from scipy.linalg import block_diag

from irrepnet.errors import DtypeError, ShapeError
from irrepnet.math import complete_basis, direct_sum, orthonormalize


def vectors(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def dependent():
    """Six vectors of rank 4, with a column of zeros."""
    v = vectors(4, 6)
    v[:, 0] = 0
    return torch.cat([v[:2], 2 * v[:1] - v[1:2], v[2:3], torch.zeros_like(v[:1]), v[3:]])


def test_direct_sum_is_a_block_diagonal():
    matrices = [vectors(2, 3), vectors(1, 1), vectors(0, 2), vectors(3, 1)]
    expected = torch.from_numpy(block_diag(*matrices))
    assert torch.equal(direct_sum(*matrices), expected)
    batch = [torch.stack([m, 2 * m]) for m in matrices]
    assert torch.equal(direct_sum(*batch), torch.stack([expected, 2 * expected]))
    assert direct_sum().shape == (0, 0)  # e3nn: an IndexError


def test_direct_sum_errors():
    with pytest.raises(ShapeError, match=r"needs matrices \[2, m, n\]; got \[3, 1, 1\]"):
        direct_sum(torch.ones(2, 1, 1), torch.ones(3, 1, 1))
    with pytest.raises(DtypeError, match=r"one dtype; got torch\.float32 and torch\.float64"):
        direct_sum(torch.ones(1, 1).float(), torch.ones(1, 1).double())


def test_orthonormalize_equals_e3nn():
    ours, theirs = orthonormalize(dependent()), e3nn.math.orthonormalize(dependent())
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    y, A = ours
    assert y.shape == (4, 6)
    torch.testing.assert_close(y @ y.T, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-14)
    torch.testing.assert_close(A @ dependent(), y, rtol=0, atol=1e-12)


def test_orthonormalize_of_nothing():
    y, A = orthonormalize(torch.zeros(2, 3))
    assert y.shape == (0, 3) and A.shape == (0, 2)


def test_orthonormalize_in_float32_has_the_rank_of_float64():
    # eps is below what float32 resolves: e3nn takes rounding of dependent vectors for new directions.
    v = dependent().float()
    assert len(e3nn.math.orthonormalize(v)[0]) > 4
    y, _ = orthonormalize(v)
    torch.testing.assert_close(y, orthonormalize(dependent())[0].float(), rtol=0, atol=1e-5)


def test_orthonormalize_stays_orthogonal_for_nearly_dependent_vectors():
    v = torch.tensor([[1, 1e-6, 0], [1, 0, 1e-6], [1, 0, 0]], dtype=torch.float64)
    y, _ = orthonormalize(v)
    torch.testing.assert_close(y @ y.T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-14)


def test_orthonormalize_has_gradients():
    v = vectors(3, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: orthonormalize(v)[0], v)


def test_complete_basis_equals_e3nn_for_orthogonal_vectors():
    v = orthonormalize(vectors(3, 6))[0] * torch.tensor([[1.0], [-2.0], [3.0]])
    torch.testing.assert_close(complete_basis(v), e3nn.math.complete_basis(v), rtol=0, atol=1e-12)
    torch.testing.assert_close(complete_basis(torch.zeros(0, 3)), torch.eye(3))


def test_complete_basis_is_orthogonal_to_vectors_that_are_not_orthogonal_to_each_other():
    v = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    assert len(e3nn.math.complete_basis(v)) == 2  # in e3nn, one too many
    assert torch.equal(complete_basis(v), torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64))


@pytest.mark.parametrize("f", [orthonormalize, complete_basis])
def test_needs_a_list_of_vectors(f):
    with pytest.raises(ShapeError, match=r"needs vectors \[n, dim\]; got \[3\]"):
        f(torch.ones(3))


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e10])
def test_size_of_the_vectors_does_not_matter(scale):
    """A has the size of 1 / scale: what is zero in it is so beside its other entries. e3nn loses A at 1e10."""
    x = scale * vectors(3, 4)
    y, A = orthonormalize(x)
    torch.testing.assert_close(A @ x, y, rtol=0, atol=1e-12)
    assert len(y) == 3
    assert (e3nn.math.orthonormalize(1e10 * torch.eye(2, dtype=torch.float64))[1] == 0).all()
