import numpy as np
import pytest

from irrepnet.errors import ShapeError
from irrepnet.report import Dynamics, Parity, RadialDistribution


def parity(**changes):
    arrays = {
        "energy_ref": [-1.0, -2.0],
        "energy_pred": [-1.0, -2.0],
        "forces_ref": np.zeros((3, 3)),
        "forces_pred": np.zeros((3, 3)),
        "species": [8, 1, 1],
    }
    return Parity(**(arrays | changes))


def test_lists_become_float64_arrays():
    assert parity().energy_ref.dtype == np.float64
    assert parity().species.dtype == np.int64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"energy_pred": [-1.0]}, r"Parity needs energy_pred \[2\]; found \[1\]"),
        ({"forces_pred": np.zeros((2, 3))}, r"Parity needs forces_pred \[3, 3\]; found \[2, 3\]"),
        ({"species": [8, 1]}, r"Parity needs forces_ref \[2, 3\]; found \[3, 3\]"),
        ({"stress_ref": np.zeros((2, 3, 3))}, r"Parity needs stress_pred \[2, 3, 3\]; found None"),
        ({"stress_ref": np.zeros((1, 3, 3)), "stress_pred": np.zeros((2, 3, 3))}, r"stress_ref \[2, 3, 3\]; found \[1"),
    ],
)
def test_parity_refuses_arrays_of_different_frames(changes, message):
    with pytest.raises(ShapeError, match=message):
        parity(**changes)


def test_rdf_refuses_curves_on_different_bins():
    with pytest.raises(ShapeError, match=r"RadialDistribution needs g_ref \[2\]; found \[1\]"):
        RadialDistribution("O-O", r=[1.0, 2.0], g_md=[0.0, 1.0], g_ref=[0.0])


def test_dynamics_refuses_columns_of_different_length():
    with pytest.raises(ShapeError, match=r"Dynamics needs temperature \[2\]; found \[1\]"):
        Dynamics([0.0, 1.0], [0.0, 0.0], [0.0, 0.0], [300.0], num_atoms=3)
