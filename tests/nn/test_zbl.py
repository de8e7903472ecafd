"""The repulsion of nuclei against its formula, written once more with numpy."""

import numpy as np
import pytest
import torch

from irrepnet.errors import ConfigError, DtypeError, ShapeError
from irrepnet.nn import ZBLRepulsion

ELEMENTS = (1, 8, 79)
ENDS = (1.4, 1.0, 2.5, 2.4, 3.1, 2.9)  # of the pairs 00, 01, 02, 11, 12, 22


def formula(z1, z2, r, cutoff):
    """Ziegler, Biersack and Littmark's potential in eV, and the polynomial envelope of power 6."""
    x = r * (z1**0.23 + z2**0.23) / (0.8854 * 0.529177210903)
    terms = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
    y = np.minimum(r / cutoff, 1.0)
    envelope = 1 - 28 * y**6 + 48 * y**7 - 21 * y**8
    return envelope * 14.399645478 * z1 * z2 / r * sum(a * np.exp(-b * x) for a, b in terms)


def test_formula():
    r = np.linspace(0.05, 3.5, 200)
    for i, j in np.ndindex(3, 3):
        end = ENDS[[(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)].index((min(i, j), max(i, j)))]
        pairs = torch.tensor([[i] * 200, [j] * 200])
        found = ZBLRepulsion(ELEMENTS, ENDS)(torch.from_numpy(r), pairs).numpy()
        np.testing.assert_allclose(found, formula(ELEMENTS[i], ELEMENTS[j], r, end), rtol=1e-10, atol=1e-10)


def test_near_the_nuclei_it_is_coulombs_law():
    r = torch.tensor([1e-6], dtype=torch.float64)
    bare = 14.399645478 * 79 * 79 / r
    assert ZBLRepulsion(ELEMENTS, ENDS)(r, torch.tensor([[2], [2]])) == pytest.approx(bare.item(), rel=1e-4)


def test_a_wall_at_the_distances_of_a_liquid():
    """Oxygen atoms at 1.6 Å, nearer than a liquid ever shows them, repel each other by many times a hydrogen bond."""
    r = torch.tensor([1.2, 1.6, 2.0], dtype=torch.float64, requires_grad=True)
    energy = ZBLRepulsion([8], [2.4])(r, torch.zeros(2, 3, dtype=torch.int64))
    (slope,) = torch.autograd.grad(energy.sum(), r)
    assert (slope < -1).all()  # eV/Å
    assert energy[0] > 10 and energy[1] > 1.9  # eV


def test_value_slope_and_curvature_vanish_at_the_cutoff():
    repulsion, pairs = ZBLRepulsion(ELEMENTS, [3.0] * 6), torch.full((2, 3), 2)
    r = torch.tensor([3.0, 3.0 + 1e-9, 7.0], dtype=torch.float64, requires_grad=True)
    energy = repulsion(r, pairs)
    (slope,) = torch.autograd.grad(energy.sum(), r, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), r)
    for quantity in (energy, slope, curvature):
        assert not quantity.any()
    near = torch.tensor([3.0 - 1e-4] * 3, dtype=torch.float64)
    assert 0 < repulsion(near, pairs).max() < 1e-8


def test_it_is_float64_whatever_the_model_is():
    repulsion = ZBLRepulsion(ELEMENTS, ENDS).to(torch.float32)
    r, pairs = torch.tensor([1.25, 2.5]), torch.tensor([[0, 1], [1, 2]])
    found = repulsion(r, pairs)
    assert found.dtype == torch.float64
    assert repulsion.ends.dtype == torch.float64
    assert torch.equal(repulsion.double().ends, ZBLRepulsion(ELEMENTS, ENDS).ends)
    assert torch.equal(found, ZBLRepulsion(ELEMENTS, ENDS)(r.double(), pairs))
    assert not repulsion.state_dict()


def test_errors():
    repulsion = ZBLRepulsion(ELEMENTS, ENDS)
    with pytest.raises(ShapeError, match=r"needs edge_len \[E\] and species \[2, E\]; got \[3\] and \[2, 2\]"):
        repulsion(torch.ones(3), torch.zeros(2, 2, dtype=torch.int64))
    with pytest.raises(DtypeError, match=r"needs species in int64; got torch\.int32"):
        repulsion(torch.ones(2), torch.zeros(2, 2, dtype=torch.int32))
    with pytest.raises(ConfigError, match=r"needs atomic numbers >= 1; got \(1, 0\)"):
        ZBLRepulsion([1, 0], [1.0] * 3)
    for ends in ([1.0], [1.0, 0.0, 1.0], [1.0, float("inf"), 1.0]):
        with pytest.raises(ConfigError, match=r"needs 3 positive ends, one for each pair; got \(1.0,"):
            ZBLRepulsion([1, 8], ends)
