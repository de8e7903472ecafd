import numpy as np
import pytest

from irrepnet.data import radial_distribution
from irrepnet.errors import DataError, ShapeError


def test_ideal_gas_is_flat_beyond_half_the_cell():
    rng = np.random.default_rng(0)
    cell = np.array([[4.0, 0, 0], [1.0, 4.5, 0], [0.3, -0.7, 5.0]])
    pos = rng.uniform(0, 1, (60, 40, 3)) @ cell
    r, g = radial_distribution(pos, [8] * 20 + [1] * 20, cell, ("O", "H"), r_max=4.0, num_bins=4)
    assert r.tolist() == [0.5, 1.5, 2.5, 3.5]
    assert g == pytest.approx(np.ones(4), abs=0.06)


def test_counts_of_a_lattice():
    pos = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(1, -1, 3).astype(float)
    r, g = radial_distribution(pos, [18] * 27, 3 * np.eye(3), (18, 18), r_max=2.1, num_bins=21)
    shell = 4 / 3 * np.pi * ((r + 0.05) ** 3 - (r - 0.05) ** 3)
    assert (g * shell).round(6)[[10, 14, 17, 20]].tolist() == [6, 12, 8, 6]  # 1, sqrt 2, sqrt 3, 2
    assert (g * shell).sum() == pytest.approx(32)


def test_is_the_same_from_both_sides_and_for_any_cell_of_the_lattice():
    rng = np.random.default_rng(1)
    cell, pos, species = 3 * np.eye(3), rng.uniform(-9, 9, (2, 9, 3)), [8] * 3 + [1] * 6
    one = radial_distribution(pos, species, cell, ("O", "H"), 2.5, 10)[1]
    assert radial_distribution(pos, species, cell, ("H", "O"), 2.5, 10)[1] == pytest.approx(one)
    skewed = np.array([[3.0, 0, 0], [3.0, 3.0, 0], [0, -3.0, 3.0]])
    assert radial_distribution(pos, species, skewed, (8, 1), 2.5, 10)[1] == pytest.approx(one)
    assert radial_distribution(pos, species, np.stack([cell] * 2), (8, 1), 2.5, 10)[1] == pytest.approx(one)


def test_bad_input_is_named():
    pos, cell = np.zeros((2, 3, 3)), np.eye(3)
    with pytest.raises(ShapeError, match=r"frames_pos \[F, 2, 3\]; found \[2, 3, 3\]"):
        radial_distribution(pos, [8, 1], cell, ("O", "H"), 1.0, 5)
    with pytest.raises(ShapeError, match=r"cell \[3, 3\] or \[2, 3, 3\]; found \[3, 3, 3\]"):
        radial_distribution(pos, [8, 1, 1], np.stack([cell] * 3), ("O", "H"), 1.0, 5)
    with pytest.raises(DataError, match="a pair of H, O; found 'He'"):
        radial_distribution(pos, [8, 1, 1], cell, ("O", "He"), 1.0, 5)
    with pytest.raises(DataError, match="frames and bins; found 0 frames, 5 bins"):
        radial_distribution(pos[:0], [8, 1, 1], cell, ("O", "H"), 1.0, 5)
    with pytest.raises(DataError, match="cutoff above 0"):
        radial_distribution(pos, [8, 1, 1], cell, ("O", "H"), -1.0, 5)
