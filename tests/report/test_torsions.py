import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irrepnet.report import TorsionScan, scan_torsions
from irrepnet.report.bonds import find_bonds
from irrepnet.report.torsions import rotatable_bonds, turned

PEROXIDE = np.array([[0.0, 0.73, -0.05], [0.0, -0.73, -0.05], [0.84, 0.88, 0.42], [-0.84, -0.88, 0.42]])
# Ethanol from the ase database g2: C C O and six H.
ETHANOL = np.array(
    [
        [1.168181, -0.382382, 0.0], [0.0, 0.559462, 0.0], [-1.190083, -0.215069, 0.0], [-1.946623, 0.381525, 0.0],
        [0.042557, 1.207508, 0.886933], [0.042557, 1.207508, -0.886933], [2.115891, 0.164110, 0.0],
        [1.128599, -1.022000, 0.881160], [1.128599, -1.022000, -0.881160],
    ]
)  # fmt: skip
ETHANOL_SPECIES = [6, 6, 8, 1, 1, 1, 1, 1, 1]


def dihedral(pos, atoms):
    a, b, c, d = (pos[atom] for atom in atoms)
    axis = (c - b) / np.linalg.norm(c - b)
    one, two = (v - (v @ axis) * axis for v in (a - b, d - c))
    return np.degrees(np.arctan2(np.cross(one, two) @ axis, one @ two))


def test_ethanol_has_two_rotatable_bonds_and_none_ends_at_a_hydrogen():
    bonds = rotatable_bonds(ETHANOL_SPECIES, ETHANOL)
    assert sorted(tuple(sorted(bond.atoms[1:3])) for bond in bonds) == [(0, 1), (1, 2)]
    assert all(0 in bond.atoms and 2 in bond.atoms for bond in bonds)  # the heavy chain is the dihedral where it can be


def test_bonds_between_heavy_parts_come_first():
    butane_like = np.array([[0.0, 0, 0], [1.5, 0, 0], [2.0, 1.4, 0], [3.5, 1.4, 0], [-0.4, 1.0, 0]])
    bonds = rotatable_bonds([6, 6, 6, 6, 1], butane_like)
    assert bonds[0].heavy and set(bonds[0].atoms[1:3]) == {1, 2}


def test_a_ring_cannot_be_turned():
    ring = 1.4 * np.array([[np.cos(a), np.sin(a), 0] for a in np.linspace(0, 2 * np.pi, 6, endpoint=False)])
    assert rotatable_bonds([6] * 6, ring) == []
    assert scan_torsions([6] * 6, ring, lambda pos: [0.0]) == []


@given(degrees=st.floats(-400, 400))
def test_turning_changes_the_dihedral_and_no_bond(degrees):
    for bond in rotatable_bonds(ETHANOL_SPECIES, ETHANOL):
        new = turned(ETHANOL, bond, degrees)
        change = dihedral(new, bond.atoms) - dihedral(ETHANOL, bond.atoms) - degrees
        assert (change + 180) % 360 - 180 == pytest.approx(0.0, abs=1e-6)
        before = find_bonds(ETHANOL_SPECIES, ETHANOL)
        one, two = before.ends
        assert np.linalg.norm(new[two] - new[one], axis=1) == pytest.approx(np.linalg.norm(before.vectors, axis=1))


def test_a_scan_is_of_a_full_circle_and_ends_where_it_began():
    (scan,) = scan_torsions([8, 8, 1, 1], PEROXIDE, lambda pos: [np.linalg.norm(pos[2] - pos[3]), 1.0], source="a.npz")
    assert scan.angles.tolist() == list(range(0, 361, 15))
    assert scan.energies.shape == (2, 25)
    assert scan.energies[0, -1] == pytest.approx(scan.energies[0, 0])
    assert scan.profile[0] == 0 and scan.spread[0] == 0 and scan.spread.max() > 100
    assert scan.name == "O0–O1 (dihedral H2–O0–O1–H3)"


def test_clashes_are_marked():
    # Two hydrogens that come within 0.4 Å of each other when one side is turned by 180 degrees.
    pos = np.array([[0.0, 0, 0], [1.4, 0, 0], [0.55, 0.85, 0], [0.85, -0.85, 0]])
    (scan,) = scan_torsions([8, 8, 1, 1], pos, lambda pos: [0.0])
    assert not scan.clash[0] and scan.clash[12] and not scan.clash[-1]


def test_one_model_has_no_spread():
    assert TorsionScan("a", (0, 1, 2, 3), ("H", "O", "O", "H"), [0, 15], [[1.0, 2.0]]).spread is None
