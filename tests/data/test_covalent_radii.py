"""Covalent radii."""

import numpy as np
import pytest

from irrepnet.data.covalent_radii import covalent_radii, covalent_radius
from irrepnet.errors import DataError


def test_radii_stand_in_their_places():
    found = [covalent_radius(symbol) for symbol in ("H", "C", "O", "Fe", "Xe", "Au", "Cm")]
    assert found == [0.31, 0.76, 0.66, 1.32, 1.40, 1.36, 1.69]
    assert covalent_radius(6) == covalent_radius("C")


def test_radii_are_those_of_ase():
    data = pytest.importorskip("ase.data")
    assert covalent_radii(np.arange(1, 97)) == pytest.approx(data.covalent_radii[1:97])
    assert covalent_radii([97, 118]).tolist() == [1.69, 1.69]


def test_unknown():
    with pytest.raises(DataError, match="covalent radii are known up to Cm; found Bk"):
        covalent_radius("Bk")
    with pytest.raises(DataError, match="needed a chemical symbol; found 'Ox'"):
        covalent_radius("Ox")
