import time

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from irrepnet.data import Frame, find_leaks, similar_frames
from irrepnet.errors import DataError


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


def pair(distance, *more, **changes):
    pos = [[0, 0, 0], [0, 0, distance], *more]
    return Frame(**{"species": [1] * len(pos), "pos": pos, **changes})


def fragments(distance):
    """Two waters that many Å apart."""
    water = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    return {"species": [8, 1, 1] * 2, "pos": np.concatenate([water, water + np.array([0, 0, distance])])}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pair(7.0), pair(9.0)),
        (pair(7.0), pair(7.01)),
        (Frame(**fragments(10.0)), Frame(**fragments(30.0))),
        *(
            tuple(Frame(species=[18], pos=np.zeros((1, 3)), cell=cell, pbc=True) for cell in cells)
            for cells in (
                (7.0 * np.eye(3), 9.0 * np.eye(3)),
                (np.diag([7.0, 8, 9]), np.diag([7.0, 8, 9.01])),
                (8.0 * np.eye(3), 8.0 * np.array([[1, 0, 0], [0.6, 0.8, 0], [0, 0, 1]])),
            )
        ),
        (
            Frame(**fragments(10.0), cell=40 * np.eye(3), pbc=True),
            Frame(**fragments(15.0), cell=40 * np.eye(3), pbc=True),
        ),
        (
            Frame(**fragments(10.0), cell=40 * np.eye(3), pbc=[True, True, False]),
            Frame(**fragments(15.0), cell=40 * np.eye(3), pbc=[True, True, False]),
        ),
    ],
)
def test_what_is_far_apart_counts_too(one, other):
    assert similar_frames([one], [other]) == []
    assert similar_frames([one, other], [other, one]) == [(1, 0), (0, 1)]
    assert not any("also in training" in leak for leak in find_leaks([one], [other]))
    assert len(find_leaks([one], [turned(one, seed=3)])) == 1


def test_a_skewed_cell():
    cell = np.array([[4.0, 0, 0], [3.1, 4, 0], [2.9, 3.2, 4]])
    pos = np.random.default_rng(0).uniform(0, 4, (5, 3))
    frame = Frame(species=[3, 9, 9, 3, 9], pos=pos, cell=cell, pbc=True)
    for seed in range(5):
        copy = turned(frame, seed=seed, noise=2e-4)
        assert similar_frames([frame], [copy]) == [(0, 0)]


def test_structures_without_distances_are_named():
    fine = pair(1.0)
    empty = Frame(species=np.zeros(0, int), pos=np.zeros((0, 3)), source="f 3")
    lost = pair(np.nan, source="f 4")
    flat = Frame(species=[1], pos=[[0, 0, 0]], cell=np.diag([1.0, 1, 0]), pbc=True, source="f 5")
    for bad, match in (
        (empty, "f 3: needed atoms to compare structures; found none; remove the frame"),
        (lost, r"f 4: positions need finite numbers; found \[0.0, 0.0, nan\] for atom 1; remove the frame"),
        (flat, "f 5: cell needs lattice vectors that span its periods; found "),
    ):
        for sets in (([fine], [bad]), ([bad], [fine]), ([bad], [bad])):
            with pytest.raises(DataError, match=match):
                find_leaks(*sets)


def trajectory(count, seed):
    """Frames of one molecule that vibrates and turns."""
    rng = np.random.default_rng(seed)
    parts = molecule(0)
    return [
        Frame(species=parts.species, pos=(parts.pos + rng.normal(0, 0.08, (12, 3))) @ turn)
        for turn in Rotation.random(count, random_state=seed).as_matrix()
    ]


def test_long_trajectories_of_one_molecule_take_seconds():
    train, held = trajectory(4000, 0), trajectory(4000, 1)
    held[17], held[1234] = turned(train[5], seed=3, noise=3e-4), train[77]
    start = time.process_time()
    pairs = similar_frames(train, held)
    assert time.process_time() - start < 6  # 1.5 s alone
    assert pairs == [(5, 17), (77, 1234)]


def test_many_copies_of_one_frame_take_no_time():
    frames = [molecule(0)] * 4000
    start = time.process_time()
    assert similar_frames(frames, frames) == [(0, place) for place in range(4000)]
    assert time.process_time() - start < 3


def test_twenty_thousand_molecules_take_seconds():
    train = [molecule(number) for number in range(1500)]
    held = [molecule(number) for number in range(1400, 1700)]
    start = time.process_time()
    pairs = similar_frames(train, held)
    took = time.process_time() - start
    assert pairs == [(number, number - 1400) for number in range(1400, 1500)]
    assert took < 20_000 / 1800 * 1.0
