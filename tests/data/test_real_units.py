"""Real labels of several groups: right units give no finding, wrong ones do."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from irrepnet.data import Keys, Units, find_oddities, read_frames
from irrepnet.data.energy_work import energy_against_work, find_wrong_ratios
from irrepnet.data.unit_magnitude import find_wrong_magnitudes

SHELF = Path(__file__).parents[3] / "shared" / "data"
HARTREE, BOHR, KCAL = 27.211386, 0.529177, 1 / 23.060548

pytestmark = pytest.mark.skipif(not SHELF.is_dir(), reason=f"{SHELF} is not on this machine")

MLEARN = {"stress": "-kbar", "voigt": "xx yy zz xy yz xz"}  # as VASP prints it
FILES = {
    "water": ("water_deepmd/water_train320.npz", {"group": "source"}, {}),
    "3bpa": ("threebpa/train_300K.npz", {}, {}),
    "acac": ("acac/train_600K.npz", {"properties": {"angle": "dihedral_angle"}}, {}),
    "ethanol": ("rmd17/rmd17_ethanol_train_01.npz", {"id": "old_index"}, {"energy": "kcal/mol"}),
    "gete": ("gete/gete_dev.npz", {"group": "system"}, {}),
    "si": ("mlearn/Si_train.npz", {"stress": "virial_stress_voigt"}, MLEARN),
    "li": ("mlearn/Li_train.npz", {"stress": "virial_stress_voigt"}, MLEARN),
    "mo": ("mlearn/Mo_train.npz", {"stress": "virial_stress_voigt"}, MLEARN),
}


@cache
def frames_of(name):
    path, keys, units = FILES[name]
    if not (SHELF / path).exists():
        pytest.skip(f"{SHELF / path} is not on this machine")
    frames = read_frames(SHELF / path, keys=Keys(species="z", **keys), units=Units(**units))
    return frames[:60] + frames[60::3] if name == "gete" else frames


@pytest.mark.parametrize("name", FILES)
def test_right_units_give_no_finding(name):
    assert [str(oddity) for oddity in find_oddities(frames_of(name))] == []


def as_if_read(name, *, energy=1.0, length=1.0, forces=None, stress=1.0):
    """The frames as they would be had somebody declared other units."""
    return [
        replace(
            frame,
            energy=frame.energy * energy,
            pos=frame.pos * length,
            cell=None if frame.cell is None else frame.cell * length,
            forces=frame.forces * (energy / length if forces is None else forces),
            stress=None if frame.stress is None else frame.stress * stress,
        )
        for frame in frames_of(name)
    ]


@pytest.mark.parametrize("name", ["water", "3bpa", "acac", "ethanol", "gete", "si"])
@pytest.mark.parametrize(
    ("scales", "kind"),
    [
        ({"energy": 1 / HARTREE}, "force_unit"),
        ({"forces": 1 / KCAL}, "force_unit"),
        ({"forces": BOHR / HARTREE}, "force_unit"),
        ({"forces": -1.0}, "force_sign"),
        ({"length": 1 / BOHR}, "length_unit"),
        ({"length": BOHR}, "length_unit"),
        ({"length": 10.0}, "length_unit"),
        ({"length": 0.1}, "length_unit"),
    ],
)
def test_wrong_magnitudes_are_found(name, scales, kind):
    sample = as_if_read(name, **scales)
    assert kind in {oddity.kind for oddity in find_wrong_magnitudes(sample[:: len(sample) // 14])}


@pytest.mark.parametrize("name", ["water", "3bpa", "acac", "ethanol", "gete", "si", "mo"])
def test_labels_that_do_not_belong_together_are_found(name):
    for scale, kind in ((1 / HARTREE, "energy_force_ratio"), (-1.0, "force_sign")):
        wrong = as_if_read(name, energy=scale, forces=1.0)
        assert kind in {oddity.kind for oddity in find_wrong_ratios(wrong)}


@pytest.mark.parametrize("name", ["3bpa", "acac", "ethanol"])
@pytest.mark.parametrize("scale", [BOHR, 1 / BOHR])
def test_a_small_factor_shows_in_molecules(name, scale):
    wrong = as_if_read(name, energy=1.0, forces=scale)
    assert {oddity.kind for oddity in find_wrong_ratios(wrong)} == {"energy_force_ratio"}


def test_energies_of_strained_crystals_tell_their_unit():
    wrong = as_if_read("li", energy=1 / HARTREE, forces=1.0)
    (oddity,) = find_wrong_ratios(wrong)
    assert oddity.kind == "energy_force_ratio"
    assert "Hartree were read as eV" in oddity.sentence


@pytest.mark.parametrize("name", ["3bpa", "acac", "ethanol"])
@pytest.mark.parametrize("scale", [1 / KCAL, 1 / HARTREE, KCAL])
def test_energies_of_all_electrons_tell_their_unit(name, scale):
    sample = as_if_read(name, energy=scale, forces=1.0)[:30]
    assert {oddity.kind for oddity in find_wrong_magnitudes(sample)} == {"energy_unit"}


@pytest.mark.parametrize("name", ["si", "mo"])
def test_the_stress_of_crystals_has_the_sign_of_the_energy_slope(name):
    found = energy_against_work(frames_of(name), of="stress")
    assert found.correlation > 0.9
    assert found.ratio == pytest.approx(1, abs=0.8)
    for scale, kind in ((-1.0, "stress_sign"), (160.2, "stress_unit")):
        assert kind in {oddity.kind for oddity in find_wrong_ratios(as_if_read(name, stress=scale))}
    # A squeezed crystal pushes outward: dE/dstrain < 0.
    solid = [frame for frame in frames_of(name) if frame.group == "Elastic"]
    volumes = [abs(np.linalg.det(frame.cell)) / len(frame) for frame in solid]
    assert np.trace(solid[int(np.argmin(volumes))].stress) < np.trace(solid[int(np.argmax(volumes))].stress)
