import importlib
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from models.toys import FRAMES, graph_of, toy_frame, toy_model

from irrepnet.deploy import IrrepNetCalculator
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
