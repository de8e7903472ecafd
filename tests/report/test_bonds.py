import numpy as np
import pytest

from irrepnet.report.bonds import find_bonds, neighbours_of, side_of_bridge


def test_bonds_of_water_and_not_of_a_hydrogen_bond():
    water = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    two = np.concatenate([water, water + np.array([2.76, 0.0, 0.0])])
    assert find_bonds([8, 1, 1] * 2, two).ends.T.tolist() == [[0, 1], [0, 2], [3, 4], [3, 5]]


def test_bonds_across_a_cell_have_the_short_vector():
    bonds = find_bonds([1, 1], [[0.1, 0, 0], [3.9, 0, 0]], 4 * np.eye(3), True)
    assert bonds.ends.tolist() == [[0], [1]]
    assert bonds.vectors == pytest.approx(np.array([[-0.2, 0.0, 0.0]]))


def test_an_atom_is_bonded_to_its_own_images_once_each():
    bonds = find_bonds([6], [[0, 0, 0]], np.diag([1.5, 9.0, 9.0]), True)
    assert bonds.ends.tolist() == [[0], [0]]


def test_atoms_beyond_the_table_and_no_atoms():
    assert find_bonds([118, 118], [[0, 0, 0], [1, 0, 0]]).ends.shape == (2, 1)
    assert find_bonds(np.zeros(0, int), np.zeros((0, 3))).ends.shape == (2, 0)


def test_a_bridge_has_two_sides_and_a_ring_none():
    ring = [[np.cos(a), np.sin(a), 0] for a in np.linspace(0, 2 * np.pi, 6, endpoint=False)]
    pos = 1.4 * np.array([*ring, [2.05, 0, 0], [3.0, 0.4, 0]])
    neighbours = neighbours_of(find_bonds([6] * 8, pos), 8)
    assert side_of_bridge(neighbours, 0, 1) is None
    assert side_of_bridge(neighbours, 0, 6) == {6, 7}
    assert side_of_bridge(neighbours, 6, 0) == {0, 1, 2, 3, 4, 5}
