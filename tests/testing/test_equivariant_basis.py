"""All equivariant linear maps: their number by characters, their span by layers, and maps found from their values."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy.integrate import quad
from scipy.spatial.transform import Rotation

from irrepnet import o3
from irrepnet.errors import ConfigError, DataError, IrrepsError, ShapeError
from irrepnet.testing import equivariant_basis, strategies

IRREPS = strategies.irreps(lmax=3, max_mul=2)
GROUPS = {
    "C1": Rotation.identity(1).as_matrix(),
    "C4": Rotation.create_group("C4").as_matrix(),
    "D3": Rotation.create_group("D3").as_matrix(),
    "T": Rotation.create_group("T").as_matrix(),
    "O": Rotation.create_group("O").as_matrix(),
    "I": Rotation.create_group("I").as_matrix(),
}
GROUPS["Oh"] = np.concatenate([GROUPS["O"], -GROUPS["O"]])
GROUPS["Td"] = np.concatenate(
    [GROUPS["T"], [-g for g in GROUPS["O"] if not any(np.allclose(g, t) for t in GROUPS["T"])]]
)


def matrices(name):
    return torch.tensor(GROUPS[name], device="cpu")


def character(irreps, elements):
    """Traces by the formula sin((l + 1/2) t) / sin(t / 2), which knows nothing of the matrices of the package."""
    det = np.linalg.det(elements)
    cos = np.clip((det * np.trace(elements, axis1=1, axis2=2) - 1) / 2, -1, 1)
    angle = np.maximum(np.arccos(cos), 1e-9)
    return sum(
        mul * np.where(det < 0, ir.p, 1) * np.sin((ir.l + 0.5) * angle) / np.sin(angle / 2) for mul, ir in irreps
    )


def assert_orthonormal_and_equivariant(basis, irreps_in, irreps_out, elements):
    gram = torch.einsum("aij,bij->ab", basis, basis)
    torch.testing.assert_close(gram, torch.eye(len(basis), dtype=torch.float64), rtol=0, atol=1e-12)
    for g in elements:
        left, right = basis @ irreps_in.D_from_matrix(g), irreps_out.D_from_matrix(g) @ basis
        torch.testing.assert_close(left, right, rtol=0, atol=1e-10)


@given(irreps_in=IRREPS, irreps_out=IRREPS)
def test_full_groups(irreps_in, irreps_out):
    turns = o3.rand_matrix(2, dtype=torch.float64)
    basis = equivariant_basis(irreps_in, irreps_out)
    assert_orthonormal_and_equivariant(basis, irreps_in, irreps_out, torch.cat([turns, -turns]))
    assert len(basis) == sum(m * n for m, a in irreps_in for n, b in irreps_out if a == b)  # Schur
    basis = equivariant_basis(irreps_in, irreps_out, "SO(3)")
    assert_orthonormal_and_equivariant(basis, irreps_in, irreps_out, turns)

    # Weyl's integration formula: mean over the rotations of the product of the characters.
    def integrand(t):
        turn = Rotation.from_rotvec([t, 0, 0]).as_matrix()[None]
        return (1 - math.cos(t)) / math.pi * (character(irreps_in, turn) * character(irreps_out, turn)).item()

    assert quad(integrand, 0, math.pi)[0] == pytest.approx(len(basis), abs=1e-6)


@pytest.mark.parametrize("name", GROUPS)
@settings(max_examples=8)
@given(irreps_in=IRREPS, irreps_out=IRREPS)
def test_point_groups(name, irreps_in, irreps_out):
    basis = equivariant_basis(irreps_in, irreps_out, matrices(name))
    assert_orthonormal_and_equivariant(basis, irreps_in, irreps_out, matrices(name))
    count = (character(irreps_in, GROUPS[name]) * character(irreps_out, GROUPS[name])).mean()
    assert len(basis) == round(count) and count == pytest.approx(round(count), abs=1e-5)


def test_known_tensors_of_crystals():
    """What textbooks count: a rank-2 tensor (Neumann), piezoelectricity, elasticity of a cubic crystal."""
    symmetric, vector = "0e+2e", "1o"
    assert len(equivariant_basis("0e", symmetric, matrices("Oh"))) == 1
    assert len(equivariant_basis("0e", symmetric, matrices("C4"))) == 2
    assert len(equivariant_basis(symmetric, vector, matrices("Td"))) == 1  # zincblende
    assert len(equivariant_basis(symmetric, vector, matrices("Oh"))) == 0
    assert len(equivariant_basis("2e", "2e", matrices("Oh"))) == 2  # C11 - C12 and C44


def test_generators_are_enough():
    assert len(equivariant_basis("1o+2e", "1o+2e", matrices("C4")[1:2])) == len(
        equivariant_basis("1o+2e", "1o+2e", matrices("C4"))
    )
    two = o3.rand_matrix(2, dtype=torch.float64)  # two turns about different axes generate all rotations
    assert len(equivariant_basis("1o+2e", "1e+2e", two)) == len(equivariant_basis("1o+2e", "1e+2e", "SO(3)"))


@given(irreps_in=IRREPS, irreps_out=IRREPS)
def test_linear_lies_in_the_span(irreps_in, irreps_out):
    matrix = o3.Linear(irreps_in, irreps_out).double()(torch.eye(irreps_in.dim, dtype=torch.float64)).T.detach()
    basis = equivariant_basis(irreps_in, irreps_out)
    coefficients = torch.einsum("nij,ij->n", basis, matrix)
    torch.testing.assert_close(torch.einsum("n,nij->ij", coefficients, basis), matrix, rtol=0, atol=1e-12)
    assert o3.Linear(irreps_in, irreps_out).weight_numel == len(basis)  # and there is no map that it cannot be


@pytest.mark.parametrize("irreps_in,irreps_out", [("3x0e+2x1o+1e", "2x0e+4x1o"), ("4x2e+1o", "2e+3x1o")])
def test_a_map_is_determined_by_its_value_at_one_point_per_channel(irreps_in, irreps_out):
    layer = o3.Linear(irreps_in, irreps_out).double()
    matrix = layer(torch.eye(layer.irreps_in.dim, dtype=torch.float64)).T.detach()
    basis = equivariant_basis(irreps_in, irreps_out)
    probes = []
    for channel in range(max(mul for mul, _ in layer.irreps_in)):  # the first component of this channel of each entry
        x = torch.zeros(layer.irreps_in.dim, dtype=torch.float64)
        for (mul, ir), s in zip(layer.irreps_in, layer.irreps_in.slices(), strict=True):
            if channel < mul:
                x[s.start + channel * ir.dim] = 1.0
        probes.append(x)
    x = torch.stack(probes)
    columns = torch.einsum("nij,pj->pin", basis, x).flatten(0, 1)  # value of each basis map at each probe
    coefficients = torch.linalg.lstsq(columns, layer(x).detach().flatten()[:, None]).solution[:, 0]
    torch.testing.assert_close(torch.einsum("n,nij->ij", coefficients, basis), matrix, rtol=0, atol=1e-12)


def test_empty():
    assert equivariant_basis("", "1o").shape == (0, 3, 0)
    assert equivariant_basis("1o", "").shape == (0, 0, 3)
    assert equivariant_basis("0x0e+1o", "2x1o+0x1o").shape == (2, 6, 3)


def test_errors():
    with pytest.raises(ConfigError, match=r"got 'O3'. Did you mean 'O\(3\)'\?"):
        equivariant_basis("1o", "1o", "O3")
    with pytest.raises(ShapeError, match=r"group needs matrices \[G, 3, 3\], one or more; got \[0, 3, 3\]"):
        equivariant_basis("1o", "1o", torch.zeros(0, 3, 3))
    with pytest.raises(DataError, match="orthogonal"):
        equivariant_basis("1o", "1o", torch.ones(1, 3, 3))
    with pytest.raises(IrrepsError, match=r"needs \d+ GiB for 16384 maps from 128x1o to 128x1o, more than 4"):
        equivariant_basis("128x1o", "128x1o")


def turn(angle, axis):
    return torch.tensor(Rotation.from_rotvec(angle * np.array(axis) / np.linalg.norm(axis)).as_matrix())


@pytest.mark.parametrize("axis", [(0, 0, 1), (1, 0, 0), (3, 5, -8)])
@pytest.mark.parametrize("angle", [1.0, 1e-3, 1e-5, 1e-7])
def test_small_angles_are_rotations_too(angle, axis):
    one = turn(angle, axis)
    assert len(equivariant_basis("2e", "2e", one[None])) == 5  # one for each m, scale and turn
    assert len(equivariant_basis("2e", "2e", torch.stack([one, turn(angle, (5, 2, 1))]))) == 1


def test_what_may_be_rounding_is_refused():
    with pytest.raises(
        DataError, match=r"1 or differ from it by more than rounding; got some that move a map by 1\.\de-10"
    ):
        equivariant_basis("1o", "1o", turn(1e-10, (0, 0, 1))[None])
    rounded = matrices("D3").float()  # with seven digits it is the same group
    assert len(equivariant_basis("1o+2e", "1o+2e", rounded)) == len(equivariant_basis("1o+2e", "1o+2e", matrices("D3")))


def test_default_device_does_not_matter():
    elements = matrices("C4")
    with torch.device("meta"):
        assert len(equivariant_basis("1o", "1o", elements)) == 3
