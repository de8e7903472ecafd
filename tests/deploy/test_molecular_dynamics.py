import itertools

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet
from models.toys import toy_frame, toy_model

from irrepnet.data import Frame, read_frames
from irrepnet.deploy import Guard, IrrepNetCalculator, Predictor, nve_steps, run_nve, thermal_velocities
from irrepnet.errors import ConfigError, DataError, NonFiniteError
from irrepnet.models import save_model

SETTINGS = {"temperature": 300.0, "timestep": 0.5, "seed": 0}
FRAME = toy_frame(4, 5.0 * np.eye(3))


def gentle_model(**changes):
    """Forces of some 0.01 eV/Å, so that atoms pass each other for picoseconds and none is thrown out."""
    return toy_model(**({"energy_scale": 0.02, "num_layers": 1} | changes))


class TestDynamics:
    def test_energy_over_a_picosecond(self):
        coarse, fine = (
            run_nve(gentle_model(), FRAME, temperature=300, timestep=timestep, steps=round(1000 / timestep), seed=0)
            for timestep in (4.0, 2.0)
        )
        drift = np.polyfit(fine.time, fine.total_energy, deg=1)[0] * 1000 / len(FRAME)  # eV/atom/ps
        assert abs(drift) < 1e-6
        assert np.ptp(fine.potential_energy) > 0.02
        # The method is of second order.
        assert np.std(coarse.total_energy) / np.std(fine.total_energy) == pytest.approx(4, rel=0.05)

    def test_it_is_the_dynamics_of_ase(self):
        masses = Atoms(numbers=FRAME.species).get_masses()
        atoms = Atoms(numbers=FRAME.species, positions=FRAME.pos, cell=FRAME.cell, pbc=True)
        atoms.set_velocities(thermal_velocities(masses, 300, seed=0) / units.fs)
        atoms.calc = IrrepNetCalculator(gentle_model())
        kinetic = atoms.get_kinetic_energy()
        VelocityVerlet(atoms, timestep=0.5 * units.fs).run(20)
        *_, last = itertools.islice(nve_steps(gentle_model(), FRAME, **SETTINGS), 21)
        assert last.pos == pytest.approx(atoms.positions, abs=1e-7)
        assert last.potential_energy == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
        assert last.kinetic_energy == pytest.approx(atoms.get_kinetic_energy(), abs=1e-7)
        assert abs(last.kinetic_energy - kinetic) > 1e-4

    def test_centre_of_mass_is_at_rest(self):
        *_, last = itertools.islice(nve_steps(gentle_model(), FRAME, **SETTINGS), 30)
        masses = Atoms(numbers=FRAME.species).get_masses()
        assert np.abs(masses @ last.velocities).max() < 1e-12

    def test_same_seed_same_run(self):
        one, two, other = (
            run_nve(gentle_model(), FRAME, temperature=300, timestep=0.5, steps=20, seed=seed).positions
            for seed in (3, 3, 4)
        )
        assert np.array_equal(one, two)
        assert np.abs(one - other).max() > 1e-3

    def test_float32_and_skin(self):
        exact = run_nve(gentle_model(), FRAME, **SETTINGS, steps=20)
        single = run_nve(gentle_model().float(), FRAME, **SETTINGS, steps=20)
        assert single.positions == pytest.approx(exact.positions, abs=1e-4)
        kept = run_nve(Predictor(gentle_model(), skin=1.0), FRAME, **SETTINGS, steps=20)
        assert kept.positions == pytest.approx(exact.positions, abs=1e-9)

    @pytest.mark.parametrize("frame", [Frame(species=[8], pos=[[0, 0, 0]]), toy_frame(3, pbc=False)])
    def test_open_structures(self, frame):
        run = run_nve(gentle_model(), frame, **SETTINGS, steps=4)
        assert run.cell is None
        assert run.temperature[0] == pytest.approx(300 if len(frame) > 1 else 0)


class TestRecord:
    def test_shapes_times_and_energies(self, tmp_path):
        seen = []
        save_model(gentle_model(), tmp_path / "a.model")
        run = run_nve(tmp_path / "a.model", FRAME, **SETTINGS, steps=25, progress=seen.append)
        assert [now.step for now in seen] == list(range(26))
        assert run.time == pytest.approx(0.5 * np.arange(26))
        assert run.position_time == pytest.approx([0, 5, 10])
        assert np.array_equal(run.positions, [seen[step].pos for step in (0, 10, 20)])
        assert np.array_equal(run.positions[0], FRAME.pos)
        assert run.total_energy == pytest.approx([now.potential_energy + now.kinetic_energy for now in seen])
        kinetic = 1.5 * (len(FRAME) - 1) * units.kB * run.temperature
        assert run.kinetic_energy == pytest.approx(kinetic, rel=1e-6)
        assert run.temperature[0] == pytest.approx(300)

    def test_long_steps_are_all_recorded(self):
        run = run_nve(gentle_model(), FRAME, temperature=0, timestep=6.0, steps=2, seed=0)
        assert run.position_time == pytest.approx([0, 6, 12])
        assert run.temperature[0] == 0

    def test_no_steps(self):
        run = run_nve(gentle_model(), FRAME, **SETTINGS, steps=0)
        assert run.time.tolist() == [0]
        assert run.positions.shape == (1, 4, 3)


class TestGuard:
    def test_absurd_force(self, tmp_path):
        file = tmp_path / "new" / "stopped.extxyz"
        model = toy_model(energy_scale=1e4)
        message = (
            r"forces up to 100 eV/Å; found \S+ eV/Å on atom (\d) \((H|O)\) and the energy \S+ eV at step 0; .*stopped"
        )
        with pytest.raises(NonFiniteError, match=message) as caught:
            run_nve(model, FRAME, **SETTINGS, steps=5, guard=Guard(file=file))
        (frame,) = read_frames(file)
        assert frame.pos == pytest.approx(FRAME.pos, abs=1e-7)
        assert frame.cell == pytest.approx(FRAME.cell)
        assert np.array_equal(frame.species, FRAME.species)
        assert frame.pbc.all()
        worst = int(np.linalg.norm(frame.forces, axis=1).argmax())
        assert f"on atom {worst} " in str(caught.value)

    def test_it_names_the_step(self, tmp_path):
        def steps(limit):
            guard = Guard(limit, tmp_path / "stopped.extxyz")
            return itertools.islice(nve_steps(gentle_model(), FRAME, **(SETTINGS | {"timestep": 2.0}), guard=guard), 20)

        largest = [np.linalg.norm(now.forces, axis=1).max() for now in steps(limit=100.0)]
        step = next(i for i, force in enumerate(largest) if force > largest[0])
        with pytest.raises(NonFiniteError, match=f"at step {step}; the frame is in"):
            list(steps(limit=0.5 * (max(largest[:step]) + largest[step])))
        assert len(read_frames(tmp_path / "stopped.extxyz")) == 1

    def test_nan(self, tmp_path):
        model = gentle_model()
        with torch.no_grad():
            model.trunk.embedding[1] = torch.nan
        file = tmp_path / "stopped.extxyz"
        with pytest.raises(NonFiniteError, match=r"found nan eV/Å on atom . .* and the energy nan eV at step 0"):
            run_nve(model, toy_frame(4, pbc=False), **SETTINGS, steps=5, guard=Guard(file=file))
        assert "nan" in file.read_text()


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"timestep": 0.0}, "timestep > 0 fs.*; found 0.0 and 300.0"),
            ({"timestep": float("nan")}, "timestep > 0 fs"),
            ({"temperature": -1.0}, "temperature >= 0 K"),
            ({"guard": Guard(0.0)}, "max_force > 0 eV/Å.*; found 0.0 and inf"),
            ({"steps": -1}, "needs a whole number of steps, 0 or more; found -1"),
        ],
    )
    def test_settings(self, change, message):
        with pytest.raises(ConfigError, match=message):
            run_nve(gentle_model(), FRAME, **(SETTINGS | {"steps": 1} | change))

    def test_unknown_element(self):
        with pytest.raises(DataError, match="knows the elements H, O; found Fe at atom 0"):
            run_nve(gentle_model(), Frame(species=[26], pos=[[0, 0, 0]]), **SETTINGS, steps=1)


def test_thermal_velocities():
    masses = np.repeat([1.008, 15.999], 3000)
    velocities = thermal_velocities(masses, 300.0, seed=0)
    energy = 0.5 * masses[:, None] * (velocities / units.fs) ** 2  # eV
    assert energy[:3000].mean() == pytest.approx(0.5 * units.kB * 300, rel=0.05)
    assert energy[3000:].mean() == pytest.approx(0.5 * units.kB * 300, rel=0.05)
