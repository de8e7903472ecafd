import numpy as np
import pytest

from irrepnet.data import Frame
from irrepnet.data.elements import TOTAL_ENERGIES
from irrepnet.data.unit_magnitude import bond_stiffness, find_wrong_magnitudes


def hydroxyls(num_frames=80, *, length=1.0, force=1.0, energy=None, seed=0):
    """Stretched O-H with the force constant that water has."""
    rng = np.random.default_rng(seed)
    frames = []
    for bond in rng.normal(0.97, 0.03, num_frames):
        pull = -40.0 * (bond - 0.97) + rng.normal(0, 0.2)
        pos = np.array([[0, 0, 0], [0, bond, 0]])
        forces = np.array([[0, -pull, 0], [0, pull, 0]])
        frames.append(Frame(species=[8, 1], pos=length * pos, forces=force * forces, energy=energy))
    return frames


def test_right_units_are_not_odd():
    total = TOTAL_ENERGIES[8] + TOTAL_ENERGIES[1]
    for energy in (None, 0.0, -4.7, -468.0, total, 1.005 * total):
        assert find_wrong_magnitudes(hydroxyls(energy=energy)) == []
    (bonds,) = bond_stiffness(hydroxyls())
    assert (bonds.pair, bonds.num_bonds) == ("H-O", 160)
    assert bonds.stiffness == pytest.approx(40, abs=2)
    assert bonds.correlation < -0.95


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"length": 1.8897}, "length_unit", "as if bohr were read as angstrom; check units.length"),
        ({"length": 0.52918}, "length_unit", "as if angstrom were read as bohr"),
        ({"length": 0.1}, "length_unit", "as if nm were read as angstrom"),
        ({"length": 10.0}, "length_unit", "as if angstrom were read as nm"),
        ({"force": 23.06}, "force_unit", "as if kcal/mol/angstrom were read as eV/angstrom"),
        ({"force": 1 / 51.42}, "force_unit", "Hartree/bohr were read as eV/angstrom"),
        ({"force": -1.0}, "force_sign", "they look like gradients; turn their sign over"),
        ({"energy": -75.6}, "energy_unit", "as if Hartree were read as eV; check units.energy"),
        ({"energy": -75.6 * 627.5}, "energy_unit", "as if kcal/mol were read as eV"),
        ({"energy": -75.6 * 27.2114 / 23.06}, "energy_unit", "as if eV were read as kcal/mol"),
    ],
)
def test_wrong_units_are_odd(changes, kind, text):
    (oddity,) = find_wrong_magnitudes(hydroxyls(**changes))
    assert oddity.kind == kind
    assert text in oddity.sentence


def test_where_nothing_can_be_said_nothing_is_said():
    argon = Frame(species=[18] * 2, pos=[[0, 0, 0], [0, 0, 3.8]], forces=np.zeros((2, 3)))
    atom = Frame(species=[8], pos=[[0, 0, 0]], energy=-2043.0, forces=np.zeros((1, 3)))
    rng = np.random.default_rng(0)
    noise = [Frame(species=f.species, pos=f.pos, forces=rng.normal(size=(2, 3))) for f in hydroxyls()]
    for frames in ([], [argon], [atom], noise, hydroxyls(5)):
        assert find_wrong_magnitudes(frames) == []


def test_wild_forces_of_rigid_models():
    rng = np.random.default_rng(0)
    rigid = [Frame(species=[8, 1], pos=[[0, 0, 0], [0, 0, 1]], forces=rng.normal(0, 20, (2, 3))) for _ in range(60)]
    (oddity,) = find_wrong_magnitudes(rigid)
    assert (oddity.kind, oddity.unit) == ("force_unit", "eV/Å")
    assert "are typical, where matter below 5000 K has 0.1 to 5; check units.forces" in oddity.sentence


def test_energies_of_free_atoms():
    # Unrestricted B3LYP/6-31G(2df,p) of the QM9 set, Hartree: H, C, N, O.
    for number, hartree in {1: -0.500273, 6: -37.846772, 7: -54.583861, 8: -75.064579}.items():
        assert TOTAL_ENERGIES[number] == pytest.approx(hartree * 27.211386, rel=0.006)
