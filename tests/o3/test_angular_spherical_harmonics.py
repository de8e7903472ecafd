import e3nn.o3
import numpy as np
import pytest
import scipy.special
import torch

from irrepnet import o3
from irrepnet.errors import ConfigError, DtypeError, IrrepsError


@pytest.fixture
def angles():
    return torch.randn(2, 40, dtype=torch.float64) * 3  # beyond [0, pi] too


@pytest.mark.parametrize("normalization", ["component", "norm", "integral"])
@pytest.mark.parametrize("l", [0, 4, [2, 0, 2, 5]])
def test_equal_e3nn_and_harmonics_of_vectors(l, normalization, angles):
    Y = o3.spherical_harmonics_alpha_beta(l, *angles, normalization=normalization)
    other = e3nn.o3.spherical_harmonics_alpha_beta(l, *angles, normalization=normalization)
    torch.testing.assert_close(Y, other, rtol=0, atol=1e-12)
    xyz = o3.angles_to_xyz(*angles)
    torch.testing.assert_close(Y, o3.spherical_harmonics(l, xyz, True, normalization), rtol=0, atol=1e-12)


def test_high_degree_equals_scipy():
    l, alpha, beta = 20, torch.tensor(0.7, dtype=torch.float64), torch.tensor(1.1, dtype=torch.float64)
    Y = o3.spherical_harmonics_alpha_beta(l, alpha, beta)
    for m in range(1, l + 1):
        expected = np.sqrt(2) * (-1) ** m * scipy.special.sph_harm_y(l, m, 1.1, 0.7)
        assert Y[l + m].item() == pytest.approx(expected.real, abs=1e-12)
        assert Y[l - m].item() == pytest.approx(expected.imag, abs=1e-12)


def test_azimuthal_part_equals_e3nn(angles):
    for l in (0, 1, 6):
        expected = e3nn.o3.spherical_harmonics_alpha(l, angles)
        torch.testing.assert_close(o3.spherical_harmonics_alpha(l, angles), expected, rtol=0, atol=1e-14)


def test_degrees_are_read_from_irreps_and_text(angles):
    expected = o3.spherical_harmonics_alpha_beta([0, 0, 1], *angles)
    for l in ("2x0e + 1o", o3.Irreps("2x0e + 1o")):
        assert torch.equal(o3.spherical_harmonics_alpha_beta(l, *angles), expected)
    for l in (1, np.int64(1), o3.Irrep("1o"), (l for l in [1])):
        assert torch.equal(o3.spherical_harmonics_alpha_beta(l, *angles), expected[..., 2:])


def test_angles_broadcast():
    """e3nn needs equal shapes."""
    harmonics = o3.SphericalHarmonicsAlphaBeta([0, 1])
    assert harmonics(torch.zeros(3, 1), torch.zeros(4)).shape == (3, 4, 4)


def test_bad_arguments_are_named():
    with pytest.raises(ConfigError, match=r"normalization must be .*; got 'norms'. Did you mean 'norm'?"):
        o3.SphericalHarmonicsAlphaBeta(1, "norms")  # e3nn returns 'integral' for any other word
    with pytest.raises(IrrepsError, match=r"got -1"):
        o3.SphericalHarmonicsAlphaBeta(-1)
    with pytest.raises(DtypeError, match=r"got alpha torch.float32, beta torch.int64"):
        o3.spherical_harmonics_alpha_beta(1, torch.zeros(1), torch.zeros(1).long())
    with pytest.raises(DtypeError, match=r"spherical_harmonics_alpha needs a floating-point tensor"):
        o3.spherical_harmonics_alpha(1, 0.5)
