import numpy as np
import pytest

from irrepnet.data import Frame
from irrepnet.data.outliers import find_outliers

FREE = {1: -13.6, 6: -1030.0, 8: -2043.0}


def frame(number, **changes):
    rng = np.random.default_rng(number)
    species = rng.choice([1, 6, 8], size=rng.integers(3, 9))
    energy = sum(FREE[z] for z in species.tolist()) - 4.0 * len(species) + rng.normal(0, 0.3)
    forces = rng.normal(0, 1, (len(species), 3))
    parts = {"species": species, "pos": rng.normal(0, 3, (len(species), 3)), "energy": energy, "source": f"f {number}"}
    return Frame(**{**parts, "forces": forces - forces.mean(axis=0), **changes})


def test_right_labels_are_no_outliers():
    assert find_outliers([frame(number) for number in range(200)]) == []
    assert find_outliers([]) == []


@pytest.mark.parametrize("off", [30.0, -30.0])
def test_an_energy_that_its_composition_does_not_explain(off):
    frames = [frame(number) for number in range(100)]
    wrong = [7, 40, 41]
    for number in wrong:
        frames[number] = frame(number, energy=frames[number].energy + off)
    found = find_outliers(frames)
    assert [(oddity.kind, oddity.source) for oddity in found] == [("energy_outlier", f"f {n}") for n in wrong]
    assert found[0].value == pytest.approx(off, abs=3)
    assert found[0].unit == "eV"
    assert "eV from what its composition has in other frames, where" in found[0].sentence


def test_a_wild_force():
    frames = [frame(number) for number in range(30)]
    wild = frames[5].forces.copy()
    wild[1] = [0, 300, 0]
    frames[5] = frame(5, forces=wild)
    (found,) = find_outliers(frames)
    assert (found.kind, found.source, found.value, found.unit) == ("force_outlier", "f 5", 300.0, "eV/Å")


def test_forces_that_do_not_add_up():
    frames = [frame(number) for number in range(30)]
    pulled = [frame(number, forces=one.forces + 0.5) for number, one in enumerate(frames)]
    (found,) = find_outliers(pulled)
    assert found.kind == "net_force"
    assert "forces do not add up to zero: their sum is" in found.sentence


def test_forces_that_are_zero_throughout():
    def still(number, **changes):
        zeros = np.zeros((len(frame(0)), 3))
        return frame(0, **{"energy": -1.0 * number, "source": f"f {number}", "forces": zeros, **changes})

    frames = [still(number) for number in range(30)]
    (oddity,) = [oddity for oddity in find_outliers(frames) if oddity.kind == "zero_forces"]
    assert oddity.sentence.startswith("f 0 to f 29: all forces are exactly zero in 30 frames, though")
    moved = [*frames[:-1], still(29, forces=1e-9 * np.ones((len(frame(0)), 3)))]
    relaxed = [still(number, energy=-1.0) for number in range(30)]
    for others in (moved, relaxed, frames[:3]):
        assert "zero_forces" not in {oddity.kind for oddity in find_outliers(others)}
