import time

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from irrepnet.data import Frame, find_leaks, similar_frames


def molecule(number, **changes):
    rng = np.random.default_rng(number)
    grid = np.stack(np.meshgrid(*[1.4 * np.arange(3.0)] * 3), axis=-1).reshape(-1, 3)
    pos = grid[rng.permutation(27)[:12]] + rng.normal(0, 0.15, (12, 3))
    parts = {"species": [6, 6, 6, 7, 8, *[1] * 7], "pos": pos, "source": f"m {number}"}
    return Frame(**{**parts, **changes})


def crystal(seed, **changes):
    rng = np.random.default_rng(seed)
    pos = np.stack(np.meshgrid(*[2.0 * np.arange(3)] * 3), axis=-1).reshape(-1, 3) + rng.normal(0, 0.1, (27, 3))
    return Frame(**{"species": [11, 17, 17] * 9, "pos": pos, "cell": 6 * np.eye(3), "pbc": True, **changes})


def turned(frame, seed, noise=0.0):
    """The same structure: rotated, shifted, its atoms in another order."""
    rng = np.random.default_rng(seed)
    turn, order = Rotation.random(random_state=seed).as_matrix(), rng.permutation(len(frame))
    pos = (frame.pos + rng.normal(0, 1, (1, 3)) + rng.uniform(-noise, noise, frame.pos.shape)) @ turn
    cell = None if frame.cell is None else frame.cell @ turn
    return Frame(species=frame.species[order], pos=pos[order], cell=cell, pbc=frame.pbc, source="turned")


@pytest.mark.parametrize("make", [molecule, crystal])
def test_turned_copies_are_found_and_others_are_not(make):
    train = [make(number) for number in range(20)]
    held = [turned(train[7], seed=1), make(100), turned(train[3], seed=2, noise=3e-4), make(101)]
    assert similar_frames(train, held) == [(7, 0), (3, 2)]
    assert similar_frames(train, [turned(train[7], seed=1, noise=0.05)]) == []


def test_a_copy_across_the_border_of_the_cell():
    frame = crystal(0)
    shifted = Frame(species=frame.species, pos=frame.pos + 3.3, cell=frame.cell, pbc=True)
    wrapped = Frame(species=frame.species, pos=shifted.pos % 6.0, cell=frame.cell, pbc=True)
    assert similar_frames([frame], [wrapped]) == [(0, 0)]
    assert similar_frames([frame], [Frame(species=frame.species, pos=frame.pos, cell=6.05 * np.eye(3), pbc=True)]) == []
    other = Frame(species=np.roll(frame.species, 1), pos=frame.pos, cell=frame.cell, pbc=True)
    assert similar_frames([frame], [other]) == []


def test_sentences():
    rng = np.random.default_rng(0)
    train = [molecule(number, group="run a") for number in range(30)]
    step = molecule(4, source="step")
    step = Frame(
        species=step.species, pos=step.pos + rng.normal(0, 0.008, step.pos.shape), source="step", group="run a"
    )
    copies, near, shared = find_leaks(train, [turned(train[2], 5), molecule(200), step])
    assert copies == "1 of 3 held-back frames is also in training: turned is m 2"
    assert near == "1 of 2 held-back frames is within 0.03 Å of one in training: step is near m 4"
    assert shared == "1 trajectories are in training and held back (run a); split by group"
    assert find_leaks(train[:10], [molecule(300)]) == []
    assert find_leaks([], []) == []


def test_twenty_thousand_molecules_take_seconds():
    train = [molecule(number) for number in range(1500)]
    held = [molecule(number) for number in range(1400, 1700)]
    start = time.process_time()
    pairs = similar_frames(train, held)
    took = time.process_time() - start
    assert pairs == [(number, number - 1400) for number in range(1400, 1500)]
    assert took < 20_000 / 1800 * 1.0
