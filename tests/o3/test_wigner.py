import itertools
import math
import time

import e3nn.o3
import numpy as np
import pytest
import sympy
import torch
from sympy.physics.wigner import wigner_3j as sympy_3j

from irrepnet import o3
from irrepnet.errors import DtypeError, IrrepsError
from irrepnet.o3.wigner import _half_turn, _su2_3j, turns_about_x

TRIPLES = [ls for ls in itertools.combinations_with_replacement(range(9), 3) if ls[2] <= ls[0] + ls[1]]


@pytest.fixture(autouse=True)
def float64():
    """e3nn makes the generators behind its matrices in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def assert_close(a, b, atol=1e-12):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


def test_3j_equal_e3nn():
    orders = itertools.cycle(itertools.permutations(range(3)))
    for triple in TRIPLES:  # one order of each; the others follow from the symmetries tested below
        ls = [triple[i] for i in next(orders)]
        assert_close(o3.wigner_3j(*ls), e3nn.o3.wigner_3j(*ls))


def test_3j_of_su2_equal_sympy_exactly():
    for l1, l2, l3 in [(2, 3, 4), (7, 5, 12), (12, 12, 12), (9, 10, 11)]:
        for m1, m2 in [(0, 0), (1, -2), (-l1, 1), (2, l2)]:
            if abs(m1 + m2) <= l3:
                exact = sympy_3j(l1, l2, l3, m1, m2, -m1 - m2)
                assert _su2_3j(l1, m1, l2, m2, l3) == pytest.approx(float(sympy.N(exact, 30)), rel=1e-15, abs=0)


def test_3j_signs_and_symmetries():
    eps = torch.zeros(3, 3, 3)
    for i, j, k in itertools.permutations(range(3)):
        eps[i, j, k] = (j - i) * (k - j) * (k - i) / 2
    assert_close(o3.wigner_3j(1, 1, 1), eps / math.sqrt(6), 1e-15)
    assert_close(o3.wigner_3j(1, 1, 0)[..., 0], torch.eye(3) / math.sqrt(3), 1e-15)
    for l1, l2, l3 in [(1, 2, 2), (3, 2, 4), (5, 5, 5), (6, 3, 8)]:
        C = o3.wigner_3j(l1, l2, l3)
        assert_close(o3.wigner_3j(l2, l3, l1), C.permute(1, 2, 0), 1e-15)
        assert_close(o3.wigner_3j(l2, l1, l3), (-1) ** (l1 + l2 + l3) * C.transpose(0, 1), 1e-15)


@pytest.mark.parametrize("ls", [(1, 1, 1), (2, 3, 4), (6, 6, 6), (12, 11, 12)])
def test_3j_are_normalised_and_invariant(ls):
    C = o3.wigner_3j(*ls)
    assert_close((C * C).sum(), torch.tensor(1.0), 1e-14)
    angles = o3.rand_angles()
    a, b, c = (o3.wigner_D(l, *angles) for l in ls)
    assert_close(torch.einsum("ijk,li,mj,nk->lmn", C, a, b, c), C)


def test_high_degrees_stay_exact():
    C = o3.wigner_3j(20, 17, 25)
    assert_close(torch.einsum("ijk,ijl->kl", C, C), torch.eye(51) / 51, 1e-15)


def test_3j_are_new_tensors_of_the_asked_kind():
    first = o3.wigner_3j(2, 2, 2)
    first.zero_()
    assert o3.wigner_3j(2, 2, 2).norm() > 0.9
    assert o3.wigner_3j(1, 1, 0, dtype=torch.float32).dtype == torch.float32
    assert o3.wigner_3j(1, 1, 0, device="meta").device.type == "meta"


@pytest.mark.parametrize("l", range(9))
def test_matrices_and_generators_equal_e3nn(l):
    angles = o3.rand_angles(20)
    assert_close(o3.wigner_D(l, *angles), e3nn.o3.wigner_D(l, *angles))
    assert_close(o3.so3_generators(l), e3nn.o3.so3_generators(l))


@pytest.mark.parametrize(("l", "atol"), [(1, 1e-12), (4, 1e-12), (8, 1e-12), (12, 1e-12), (20, 1e-10), (30, 1e-10)])
def test_matrices_represent_the_group(l, atol):
    a, b = o3.rand_angles(6), o3.rand_angles(6)
    D = o3.wigner_D(l, *a)
    assert_close(D @ D.mT, torch.eye(2 * l + 1).expand_as(D), atol)
    assert_close(D @ o3.wigner_D(l, *b), o3.wigner_D(l, *o3.compose_angles(*a, *b)), atol)
    assert_close(o3.wigner_D(l, *torch.zeros(3)), torch.eye(2 * l + 1), atol)


def test_matrices_equal_sympy_at_degree_12():
    l, beta = 12, 0.7
    d = o3.wigner_D(l, torch.tensor(0.0), torch.tensor(beta), torch.tensor(0.0))
    # The middle entry is the Legendre polynomial, the middle column the associated ones: d_{m0} of quantum mechanics.
    assert d[l, l].item() == pytest.approx(float(sympy.legendre(l, sympy.cos(sympy.Float(beta, 30)))), abs=1e-13)
    for m in range(1, l + 1):
        P = sympy.assoc_legendre(l, m, sympy.cos(sympy.Float(beta, 30)))
        expected = math.sqrt(2 * math.factorial(l - m) / math.factorial(l + m)) * (-1) ** m * float(P)
        assert d[l + m, l].item() == pytest.approx(expected, abs=1e-12)


def test_the_half_turn_behind_them_is_exact():
    """It swaps x and y and reverses z, it is symmetric, and half of its entries are true zeros."""
    assert _half_turn(1).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, -1]]
    for l in (2, 7, 30):
        J = torch.tensor(_half_turn(l))
        assert torch.equal(J, J.T)
        assert (J == 0).sum() >= 2 * l * (l + 1)
        assert_close(J @ J, torch.eye(2 * l + 1), 1e-15)


@pytest.mark.parametrize("l", [0, 1, 5])
def test_turns_about_x_are_matrices_with_one_angle(l):
    beta = torch.linspace(-4, 4, 9)
    zero = torch.zeros_like(beta)
    assert_close(torch.tensor(turns_about_x(l, beta.numpy())), o3.wigner_D(l, zero, beta, zero), 1e-14)


def test_degree_60_is_a_matter_of_a_millisecond():
    """No table of (2l+1)^3 numbers is made; the least of some times, in which other work hardly counts."""
    l, angles = 60, o3.rand_angles(1)
    D = o3.wigner_D(l, *angles)
    assert_close(D @ D.mT, torch.eye(2 * l + 1)[None], 1e-12)
    times = []
    for _ in range(10):
        start = time.thread_time()
        o3.wigner_D(l, *angles)
        times.append(time.thread_time() - start)
    assert min(times) < 5e-3


def test_integers_of_numpy_are_degrees():
    assert torch.equal(o3.wigner_3j(*np.array([1, 1, 2])), o3.wigner_3j(1, 1, 2))
    assert o3.wigner_D(np.int64(2), *torch.zeros(3)).shape == (5, 5)


def test_degree_one_is_the_rotation_matrix():
    angles = o3.rand_angles(5)
    assert_close(o3.wigner_D(1, *angles), o3.angles_to_matrix(*angles), 1e-15)


def test_generators_generate():
    l, n = 3, torch.tensor([0.3, -0.5, 0.8])
    D = torch.matrix_exp(torch.einsum("a,aij->ij", n, o3.so3_generators(l)))
    assert_close(D, o3.Irrep(l, 1).D_from_axis_angle(n, n.norm()))
    assert o3.so3_generators(2, dtype=torch.float32).dtype == torch.float32


@pytest.mark.parametrize("l", [1, 4, 8, 30])
def test_float32_is_right_to_1e_6(l):
    angles = [angle.float() for angle in o3.rand_angles(100)]
    D = o3.wigner_D(l, *angles)
    assert D.dtype == torch.float32
    assert_close(D.double(), o3.wigner_D(l, *(angle.double() for angle in angles)), 1e-6)


def test_derivatives_in_the_angles():
    angles = [angle.requires_grad_() for angle in o3.rand_angles(2)]
    assert torch.autograd.gradcheck(lambda *a: o3.wigner_D(3, *a), angles)
    assert torch.autograd.gradgradcheck(lambda *a: o3.wigner_D(2, *a), angles)
    jacobian = torch.func.jacrev(lambda a: o3.wigner_D(3, a, a, a))(torch.tensor(0.3))
    assert jacobian.shape == (7, 7) and jacobian.abs().max() > 0.1


def test_tables_made_while_tracing_are_not_kept():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        o3.wigner_D(17, *o3.rand_angles(2))
        o3.wigner_3j(17, 17, 17)
    assert o3.wigner_D(17, *o3.rand_angles(2)).sum().isfinite()
    assert o3.wigner_3j(17, 17, 17).norm().item() == pytest.approx(1.0)


def test_angles_on_another_device_broadcast():
    a, b, c = torch.empty(3, 1, device="meta"), torch.empty(2, device="meta"), torch.empty((), device="meta")
    D = o3.wigner_D(2, a, b, c)
    assert D.device.type == "meta" and D.shape == (3, 2, 5, 5)
    assert o3.wigner_D(2, *torch.zeros(3, 0)).shape == (0, 5, 5)


def test_compiles():
    def f(a, b, c):
        return (o3.wigner_D(2, a, b, c) @ o3.wigner_3j(2, 2, 1).flatten(1)) * o3.wigner_3j(2, 1, 2).sum()

    angles = o3.rand_angles(3)
    assert_close(torch.compile(f, backend="aot_eager", fullgraph=True)(*angles), f(*angles))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"wigner_3j\(1, 1, 3\).*1 x 1 holds l3 = 0..2; got l3 = 3"):
        o3.wigner_3j(1, 1, 3)
    with pytest.raises(IrrepsError, match="a degree is an integer l >= 0; got -1"):
        o3.wigner_3j(-1, 1, 1)
    with pytest.raises(IrrepsError, match=r"got 1.5"):
        o3.wigner_D(1.5, *torch.zeros(3))
    with pytest.raises(IrrepsError, match="got 'a'"):
        o3.so3_generators("a")
    with pytest.raises(DtypeError, match=r"one dtype; got torch.int64"):
        o3.wigner_D(1, *torch.zeros(3).long())
    for made in (lambda: o3.so3_generators(1, dtype=torch.int64), lambda: o3.wigner_3j(1, 1, 1, torch.complex64)):
        with pytest.raises(DtypeError, match=r"needs a floating-point dtype, such as torch.float64; got torch"):
            made()
    with pytest.raises(DtypeError, match="got float"):
        o3.wigner_D(1, 0.0, 0.0, 0.0)
    with pytest.raises(DtypeError, match=r"got torch.float32, torch.float64"):
        o3.wigner_D(1, torch.tensor(0.0), torch.tensor(0.0), torch.tensor(0.0, dtype=torch.float32))
