import importlib
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_stress
from ase.calculators.singlepoint import SinglePointCalculator
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from models.toys import FRAMES, SMALL, graph_of, toy_frame, toy_model

from irrepnet.deploy import Committee, IrrepNetCalculator
from irrepnet.models import save_model


def atoms_of(frame, **settings):
    atoms = Atoms(numbers=frame.species, positions=frame.pos, cell=frame.cell, pbc=frame.pbc)
    atoms.calc = IrrepNetCalculator(toy_model(), **settings)
    return atoms


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_results_are_those_of_the_model(frame):
    atoms = atoms_of(frame)
    energy, forces, stress = toy_model()(graph_of(frame), compute_stress=frame.cell is not None)
    assert atoms.get_potential_energy() == pytest.approx(energy.item(), abs=1e-12)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    assert atoms.get_forces() == pytest.approx(forces.numpy(), abs=1e-12)
    if stress is None:
        with pytest.raises(PropertyNotImplementedError):
            atoms.get_stress()
    else:
        assert atoms.get_stress(voigt=False) == pytest.approx(stress[0].numpy(), abs=1e-12)


def test_forces_and_stress_are_the_slopes_of_the_energy_that_ase_sees():
    atoms, h = atoms_of(toy_frame()), 1e-5

    def slope(change):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.calc = atoms.calc
            change(moved, sign * h)
            energies.append(moved.get_potential_energy())
        return (energies[0] - energies[1]) / (2 * h)

    def push(moved, h):
        moved.positions[2, 1] += h

    assert atoms.get_forces()[2, 1] == pytest.approx(-slope(push), abs=1e-6)
    voigt = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    stress = atoms.get_stress()
    for (a, b), found in zip(voigt, stress, strict=True):

        def strain(moved, h, a=a, b=b):
            deformation = np.eye(3)
            deformation[a, b] += h / 2
            deformation[b, a] += h / 2
            moved.set_cell(moved.cell.array @ deformation, scale_atoms=True)

        assert found == pytest.approx(slope(strain) / atoms.get_volume(), abs=1e-8)


@pytest.mark.parametrize("skin", [0.0, 1.0])
@pytest.mark.parametrize("what", ["numbers", "positions", "cell", "pbc"])
def test_results_follow_a_change(what, skin):
    atoms = atoms_of(toy_frame(), skin=skin)
    before = atoms.get_potential_energy(), atoms.get_forces()
    if what == "numbers":
        atoms.numbers[0] = 1
    elif what == "positions":
        atoms.positions[0, 0] += 0.01
    elif what == "cell":
        atoms.cell[0, 0] += 0.05
    else:
        atoms.pbc[2] = False
    fresh = atoms.copy()
    fresh.calc = IrrepNetCalculator(toy_model())
    assert abs(atoms.get_potential_energy() - before[0]) > 1e-6
    assert atoms.get_potential_energy() == pytest.approx(fresh.get_potential_energy(), abs=1e-12)
    assert atoms.get_forces() == pytest.approx(fresh.get_forces(), abs=1e-12)


def test_nothing_is_computed_twice():
    atoms = atoms_of(toy_frame())
    atoms.get_potential_energy()
    atoms.get_forces()
    atoms.get_stress()
    assert atoms.calc.predict.num_searches == 1


def test_model_file(tmp_path):
    save_model(toy_model(), tmp_path / "a.model")
    atoms = atoms_of(toy_frame())
    expected = atoms.get_potential_energy()
    atoms.calc = IrrepNetCalculator(tmp_path / "a.model")
    assert atoms.get_potential_energy() == expected


def test_without_ase(monkeypatch):
    monkeypatch.setitem(sys.modules, "ase.calculators.calculator", None)
    monkeypatch.delitem(sys.modules, "irrepnet.deploy.ase_calculator")
    with pytest.raises(ImportError, match=r"needs ase; found it not installed; pip install 'irrepnet\[md\]'"):
        importlib.import_module("irrepnet.deploy.ase_calculator")


@pytest.mark.parametrize("frame", [toy_frame(), toy_frame(2, SMALL)], ids=["skewed", "small cell"])
def test_stress_is_that_of_ase_by_finite_differences(frame):
    atoms = atoms_of(frame)
    numerical = calculate_numerical_stress(atoms, eps=1e-5)
    assert atoms.get_stress() == pytest.approx(numerical, abs=1e-7)
    assert np.abs(numerical).max() > 1e-3


def crystal():
    """Two atoms in a small cell, a little strained."""
    atoms = Atoms("OH", scaled_positions=[[0, 0, 0], [0.48, 0.53, 0.5]], cell=np.diag([2.1, 2.0, 2.2]), pbc=True)
    atoms.calc = IrrepNetCalculator(toy_model(3, energy_scale=0.1, repulsion="zbl"))
    return atoms


def test_a_crystal_relaxes():
    atoms = crystal()
    before = atoms.get_potential_energy()
    assert np.abs(atoms.get_stress()).max() > 0.01
    with BFGS(FrechetCellFilter(atoms), logfile=None) as relaxation:
        assert relaxation.run(fmax=1e-3, steps=200)
    assert atoms.get_potential_energy() < before - 1e-3
    assert np.abs(atoms.get_forces()).max() < 1e-3
    assert np.abs(atoms.get_stress()).max() * atoms.get_volume() < 1e-2
    # A minimum: every small strain costs energy.
    lowest = atoms.get_potential_energy()
    cell = atoms.cell.array
    for axis in range(3):
        for strain in (-0.01, 0.01):
            strained = atoms.copy()
            strained.calc = atoms.calc
            strained.set_cell(cell * (1 + strain * np.eye(3)[axis]), scale_atoms=True)
            assert strained.get_potential_energy() > lowest


class TestCommittee:
    def test_means_and_spreads(self):
        committee = Committee([toy_model(seed) for seed in range(3)])
        frame = toy_frame()
        atoms = Atoms(numbers=frame.species, positions=frame.pos, cell=frame.cell, pbc=True)
        atoms.calc = IrrepNetCalculator(committee)
        expected = committee(graph_of(frame), compute_stress=True)
        assert atoms.get_potential_energy() == pytest.approx(expected.energy.item(), abs=1e-9)
        assert atoms.get_forces() == pytest.approx(expected.forces.numpy(), abs=1e-12)
        assert atoms.get_stress(voigt=False) == pytest.approx(expected.stress[0].numpy(), abs=1e-12)
        assert atoms.calc.spread["energy"] == pytest.approx(expected.energy_spread.item(), abs=1e-9)
        assert atoms.calc.spread["forces"] == pytest.approx(expected.forces_spread.numpy(), abs=1e-12)
        assert atoms.calc.spread["stress"] == pytest.approx(expected.stress_spread.item())
        atoms.positions[0, 0] += 0.1
        atoms.get_forces()
        assert not np.allclose(atoms.calc.spread["forces"], expected.forces_spread.numpy())

    def test_one_model_has_no_spread(self):
        atoms = atoms_of(toy_frame())
        atoms.get_potential_energy()
        assert atoms.calc.spread == {}


def test_results_of_a_committee_are_ones_that_ase_can_copy():
    atoms = atoms_of(toy_frame())
    atoms.calc = IrrepNetCalculator(Committee([toy_model(0), toy_model(1)]))
    atoms.get_forces()
    kept = SinglePointCalculator(atoms, **atoms.calc.results)
    assert kept.results.keys() == {"energy", "free_energy", "forces", "stress"}
    assert atoms.calc.export_properties()["energy"] == atoms.get_potential_energy()
    assert atoms.calc.spread.keys() == {"energy", "forces", "stress"}
