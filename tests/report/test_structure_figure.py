import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from irrepnet.report import StructureErrors
from irrepnet.report.structure_figure import colours_of, draw_structure, scene_of


def box_of_water(num_side):
    """Water molecules on a lattice of 3.1 Å; the last hydrogen is wrong by 1 eV/Å."""
    grid = 3.1 * np.stack(np.meshgrid(*[np.arange(num_side)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    pos = (grid + np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])).reshape(-1, 3)
    forces = np.zeros_like(pos)
    error = forces.copy()
    error[-1, 0] = 1.0
    cell = 3.1 * num_side * np.eye(3)
    species = np.tile([8, 1, 1], num_side**3)
    return StructureErrors("w.npz frame 0", species, pos, forces, forces + error, cell, (True, True, True))


def test_a_small_structure_is_drawn_whole():
    scene = scene_of(box_of_water(2))
    assert scene.is_whole and len(scene.atoms) == 24 and len(scene.bonds) == 16


def test_of_a_large_one_whole_molecules_about_the_worst_atom_are_drawn():
    structure = box_of_water(4)
    scene = scene_of(structure)
    assert structure.worst_atom in scene.atoms and 3 < len(scene.atoms) < 100
    molecules, counts = np.unique(scene.atoms // 3, return_counts=True)
    assert set(counts) == {3}  # none is cut
    assert len(scene.bonds) == 2 * len(molecules)
    centre = scene.pos[list(scene.atoms).index(structure.worst_atom)]
    assert np.linalg.norm(scene.pos - centre, axis=1).max() < 4.0 + 1.8  # images, not the far side of the cell


def test_discs_arrows_and_words():
    structure = box_of_water(1)
    ax = Figure().add_subplot()
    scale = draw_structure(ax, structure, colours_of([structure]))
    assert scale == pytest.approx(1.6)  # Å per eV/Å: the longest force, 1 eV/Å, is 1.6 Å long
    discs = [patch for patch in ax.patches if isinstance(patch, Circle)]
    assert len(discs) == 3
    assert sorted(disc.get_linewidth() for disc in discs)[-1] == 2.0  # the worst has a thick edge
    words = " ".join(text.get_text() for text in ax.texts)
    assert "1000 meV/Å on atom 2 (H)" in words and "w.npz frame 0" in words


def test_colours_reach_to_the_largest_error_of_all():
    _, norm = colours_of([box_of_water(1), box_of_water(2)])
    assert (norm.vmin, norm.vmax) == (0.0, pytest.approx(1000.0))
