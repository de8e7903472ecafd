from dataclasses import replace

import numpy as np
import pytest

from irrepnet.data import Frame
from irrepnet.data.energy_work import energy_against_work, find_wrong_ratios

SPRING = 30.0  # eV/Å^2


def molecules(num_frames=60, seed=0):
    """A square of springs, thermally displaced, turned at random."""
    rng = np.random.default_rng(seed)
    rest = 1.5 * np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    pairs = [(i, j) for i in range(4) for j in range(i)]
    frames = []
    for _ in range(num_frames):
        pos = (rest + rng.normal(0, 0.05, rest.shape)) @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
        energy, forces = 0.0, np.zeros((4, 3))
        for i, j in pairs:
            vec = pos[i] - pos[j]
            length, at_rest = np.linalg.norm(vec), np.linalg.norm(rest[i] - rest[j])
            energy += SPRING / 2 * (length - at_rest) ** 2
            pull = -SPRING * (length - at_rest) * vec / length
            forces[i] += pull
            forces[j] -= pull
        frames.append(Frame(species=[6, 7, 8, 9], pos=pos, energy=energy - 4000, forces=forces))
    return frames


def crystals(num_frames=40, seed=0, bulk=1.0):
    """One atom in cells of different volume: the energy is that of the strain."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(num_frames):
        strain = rng.normal(0, 0.01, (3, 3))
        strain = (strain + strain.T) / 2
        cell = 3 * (np.eye(3) + strain)
        volume = abs(np.linalg.det(cell))
        energy = bulk / 2 * (strain**2).sum() * 27
        stress = bulk * strain * 27 / volume
        frames.append(
            Frame(species=[3], pos=[[0, 0, 0]], cell=cell, pbc=True, energy=energy, forces=[[0, 0, 0]], stress=stress)
        )
    return frames


def scaled(frames, energy=1.0, forces=1.0, stress=1.0):
    return [
        replace(
            frame,
            energy=frame.energy * energy,
            forces=frame.forces * forces,
            stress=None if frame.stress is None else frame.stress * stress,
        )
        for frame in frames
    ]


def test_labels_that_belong_together():
    found = energy_against_work(molecules())
    assert found.ratio == pytest.approx(1, abs=0.1)
    assert found.correlation > 0.98
    found = energy_against_work(crystals(), of="stress")
    assert found.ratio == pytest.approx(1, abs=0.1)
    assert find_wrong_ratios(molecules()) == find_wrong_ratios(crystals()) == []


@pytest.mark.parametrize(
    ("scales", "kind", "text"),
    [
        ({"energy": 23.06}, "energy_force_ratio", "as if kcal/mol were read as eV"),
        ({"energy": 1 / 27.21}, "energy_force_ratio", "as if Hartree were read as eV"),
        ({"forces": 1 / 51.42}, "energy_force_ratio", "as if Hartree/bohr were read as eV/angstrom"),
        ({"forces": 1 / 1.8897}, "energy_force_ratio", "as if bohr were read as angstrom"),
        ({"forces": -1}, "force_sign", "the forces look like gradients; turn their sign over"),
    ],
)
def test_forces_that_do_not_belong_to_the_energies(scales, kind, text):
    (oddity,) = find_wrong_ratios(scaled(molecules(), **scales))
    assert oddity.kind == kind
    assert text in oddity.sentence


@pytest.mark.parametrize(
    ("stress", "kind", "text"),
    [
        (-1, "stress_sign", "the stress has the wrong sign; put a minus before units.stress"),
        (160.2, "stress_unit", "as if GPa were read as eV/angstrom^3"),
        (1 / 1602, "stress_unit", "as if eV/angstrom^3 were read as kbar"),
    ],
)
def test_stresses_that_do_not_belong_to_the_energies(stress, kind, text):
    (oddity,) = find_wrong_ratios(scaled(crystals(), stress=stress))
    assert oddity.kind == kind
    assert text in oddity.sentence


def test_noise_says_nothing():
    rng = np.random.default_rng(1)
    for seed in range(10):
        noise = [replace(f, energy=rng.normal(), forces=rng.normal(size=(4, 3))) for f in molecules(seed=seed)]
        assert find_wrong_ratios(noise) == []
    assert find_wrong_ratios([]) == []
    assert energy_against_work([replace(frame, forces=None) for frame in molecules()]) is None
    assert energy_against_work(molecules(3)) is None
