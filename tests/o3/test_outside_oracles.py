"""The tables and the harmonics against libraries that share nothing with this one or with e3nn."""

from pathlib import Path

import numpy as np
import pytest
import torch

from irrepnet import o3

GOLDEN = Path(__file__).parents[1] / "golden"


def test_3j_equal_the_clebsch_gordan_coefficients_of_e3x():
    """All 175 triples of degrees to 6: the same signs, with squares that add up to 2 l3 + 1 there and to 1 here."""
    found = np.load(GOLDEN / "clebsch_gordan_e3x.npz")
    table = np.zeros((49, 49, 49))
    table[found["i0"], found["i1"], found["i2"]] = found["cg"]
    triples = [(a, b, c) for a in range(7) for b in range(7) for c in range(abs(a - b), min(6, a + b) + 1)]
    assert len(triples) == 175
    for ls in triples:
        block = table[tuple(slice(l * l, (l + 1) ** 2) for l in ls)] / (2 * ls[2] + 1) ** 0.5
        np.testing.assert_allclose(o3.wigner_3j(*ls, dtype=torch.float64).numpy(), block, rtol=0, atol=1e-15)


@pytest.mark.parametrize("lmax", [4, 12, 20])
def test_harmonics_equal_those_of_sphericart(lmax):
    """There the polar axis is z, here it is y: (x, y, z) there is (y, z, x) here."""
    sphericart = pytest.importorskip("sphericart.torch", reason="sphericart-torch is not installed")
    xyz = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = sphericart.SphericalHarmonics(lmax).compute(xyz)
    found = o3.spherical_harmonics(list(range(lmax + 1)), xyz[:, [1, 2, 0]], normalize=True, normalization="integral")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
