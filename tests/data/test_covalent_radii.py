"""Covalent radii."""

import pytest

from irrepnet.data.covalent_radii import covalent_radius
from irrepnet.errors import DataError


def test_radii_stand_in_their_places():
    found = [covalent_radius(symbol) for symbol in ("H", "C", "O", "Fe", "Xe", "Au", "Cm")]
    assert found == [0.31, 0.76, 0.66, 1.32, 1.40, 1.36, 1.69]
    assert covalent_radius(6) == covalent_radius("C")


def test_unknown():
    with pytest.raises(DataError, match="covalent radii are known up to Cm; found Bk"):
        covalent_radius("Bk")
    with pytest.raises(DataError, match="needed a chemical symbol; found 'Ox'"):
        covalent_radius("Ox")
