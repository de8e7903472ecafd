import numpy as np
import pytest

from irrepnet.o3.irreps import Irreps
from irrepnet.o3.symmetric_basis import _coupling, _echelon, symmetric_basis
from irrepnet.o3.wigner import table_3j


def test_couplings_from_sorted_tables_are_those_of_their_degrees():
    irreps = [ir for _, ir in Irreps("0e+1e+2e+3e")]
    for left in irreps:
        for right in irreps:
            for out in left * right:
                expected = table_3j(left.l, right.l, out.l) * out.dim**0.5
                np.testing.assert_allclose(_coupling(left, right, out), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("rank", [0, 1, 3, 6])
def test_echelon_form(rank):
    rng = np.random.default_rng(rank)
    spanning = rng.normal(size=(6, rank))
    spanning[1] = 2 * spanning[0]  # the second row of the projector depends on the first
    Q = np.linalg.qr(spanning)[0][:, : np.linalg.matrix_rank(spanning) if rank else 0]
    pivots, X = _echelon(Q @ Q.T, 1e-9)
    np.testing.assert_allclose(X.T @ X, Q @ Q.T, rtol=0, atol=1e-12)
    np.testing.assert_allclose(X @ X.T, np.eye(Q.shape[1]), rtol=0, atol=1e-12)
    assert len(pivots) == Q.shape[1] and (rank in (0, 6) or 1 not in pivots)
    for pivot, row in zip(pivots, X, strict=True):
        assert not row[:pivot].any() and row[pivot] > 0


def test_without_symmetry_it_is_a_complete_coupled_basis():
    irreps, basis = symmetric_basis([Irreps("1o+0e"), Irreps("2e"), Irreps("1o")], [(1, (0, 1, 2))])
    assert irreps.dim == 4 * 5 * 3
    np.testing.assert_allclose(basis.reshape(60, 60) @ basis.reshape(60, 60).T, np.eye(60), rtol=0, atol=1e-13)
