import itertools

import numpy as np
import pytest
import torch
from ase import units
from models.toys import graph_of, moved, toy_frame, toy_model
from torch import nn

from irrepnet.data import Frame, read_frames
from irrepnet.deploy import Committee, Guard, Thermostat, nvt_steps, run_nvt
from irrepnet.errors import ConfigError, NonFiniteError
from irrepnet.models.force_field import Prediction

FRAME = toy_frame(4, 5.0 * np.eye(3))
SETTINGS = {"thermostat": Thermostat(300.0), "timestep": 0.5, "seed": 0}


def gentle_model(seed=0):
    return toy_model(seed, energy_scale=0.02, num_layers=1)


class Springs(nn.Module):
    """Every atom on a spring of its own: its mean energies are known."""

    cutoff = 1.0

    def __init__(self, sites, stiffness):
        super().__init__()
        self.sites, self.stiffness = torch.tensor(sites), stiffness

    def forward(self, graph, *, compute_stress=False):
        away = graph.pos - self.sites
        return Prediction(0.5 * self.stiffness * away.square().sum()[None], -self.stiffness * away, None)


def standard_error(values, num_blocks=20):
    """Of the mean of a correlated series, from blocks that are longer than the correlation."""
    means = np.array([block.mean() for block in np.array_split(values, num_blocks)])
    return means.std(ddof=1) / np.sqrt(num_blocks)


class TestTemperature:
    def test_energies_of_springs_are_those_of_the_canonical_ensemble(self):
        grid = 3.0 * np.array(list(itertools.product(range(2), repeat=3)), dtype=float)
        frame = Frame(species=[8, 1, 1, 6, 1, 8, 1, 7], pos=grid)
        run = run_nvt(
            Springs(grid, stiffness=2.0),
            frame,
            thermostat=Thermostat(temperature=400.0, friction=60.0, equilibrate=200),
            timestep=1.0,
            steps=6000,
            seed=0,
        )
        freedom = 3 * len(frame) - 3  # the centre of mass is where it was: at that of the springs
        wanted = 0.5 * freedom * units.kB * 400.0
        for energy in (run.kinetic_energy, run.potential_energy):
            error = standard_error(energy)
            assert error < 0.05 * wanted
            assert abs(energy.mean() - wanted) < 3.5 * error
            # Not only the mean: a thermostat that rescales velocities has too narrow a distribution.
            assert energy.std() == pytest.approx(wanted * np.sqrt(2 / freedom), rel=0.15)
        assert run.temperature.mean() == pytest.approx(400.0, rel=0.05)

    def test_it_heats_and_cools(self):
        hot, cold = (
            run_nvt(gentle_model(), FRAME, thermostat=Thermostat(kelvin, 100.0), timestep=1.0, steps=300, seed=0)
            for kelvin in (600.0, 0.0)
        )
        assert hot.temperature[-100:].mean() > 300
        assert cold.temperature.max() < 10

    def test_centre_of_mass_stays(self):
        masses = np.array([15.999, 1.008, 1.008, 15.999])
        *_, last = itertools.islice(nvt_steps(gentle_model(), FRAME, **SETTINGS), 50)
        assert np.abs(masses @ last.velocities).max() < 1e-12
        assert masses @ last.pos == pytest.approx(masses @ FRAME.pos, abs=1e-9)


class TestRecord:
    def test_same_seed_same_run(self):
        one, two, other = (
            run_nvt(gentle_model(), FRAME, **(SETTINGS | {"seed": seed}), steps=20) for seed in (3, 3, 4)
        )
        assert np.array_equal(one.positions, two.positions)
        assert np.array_equal(one.kinetic_energy, two.kinetic_energy)
        assert np.abs(one.positions - other.positions).max() > 1e-3

    def test_global_random_numbers_are_left_alone(self):
        model = gentle_model()
        before = np.random.get_state()[1].copy(), torch.get_rng_state()
        run_nvt(model, FRAME, **SETTINGS, steps=3)
        assert np.array_equal(before[0], np.random.get_state()[1])
        assert torch.equal(before[1], torch.get_rng_state())

    def test_equilibration_is_not_recorded(self):
        seen = []
        whole = run_nvt(gentle_model(), FRAME, **SETTINGS, steps=30)
        later = SETTINGS | {"thermostat": Thermostat(300.0, equilibrate=10)}
        run = run_nvt(gentle_model(), FRAME, **later, steps=20, progress=seen.append)
        assert [now.step for now in seen] == list(range(21))
        assert run.time == pytest.approx(0.5 * np.arange(21))
        assert np.array_equal(run.total_energy, whole.total_energy[10:])
        assert np.array_equal(run.positions, [now.pos for now in seen[::10]])

    def test_snapshots_are_consistent(self):
        for now in itertools.islice(nvt_steps(gentle_model(), FRAME, **SETTINGS), 3):
            energy, forces, _ = gentle_model()(graph_of(moved(FRAME, now.pos)))
            assert now.potential_energy == pytest.approx(energy.item(), abs=1e-12)
            assert now.forces == pytest.approx(forces.numpy(), abs=1e-12)
            assert now.kinetic_energy == pytest.approx(1.5 * (len(FRAME) - 1) * units.kB * now.temperature, rel=1e-6)

    @pytest.mark.parametrize("frame", [Frame(species=[8], pos=[[0, 0, 0]]), toy_frame(3, pbc=False)])
    def test_open_structures(self, frame):
        run = run_nvt(gentle_model(), frame, **SETTINGS, steps=4)
        assert np.isfinite(run.total_energy).all()
        assert run.temperature[0] == pytest.approx(300 if len(frame) > 1 else 0)


class TestGuard:
    def test_it_names_the_step_and_writes_the_frame(self, tmp_path):
        def steps(limit, equilibrate=0):
            thermostat = Thermostat(2000.0, equilibrate=equilibrate)
            settings = SETTINGS | {"seed": 1, "timestep": 2.0, "thermostat": thermostat}
            guard = Guard(limit, tmp_path / "stopped.extxyz")
            return itertools.islice(nvt_steps(gentle_model(), FRAME, **settings, guard=guard), 20)

        states = list(steps(limit=100.0))
        largest = [np.linalg.norm(now.forces, axis=1).max() for now in states]
        step = next(i for i, force in enumerate(largest) if force > largest[0])
        limit = 0.5 * (max(largest[:step]) + largest[step])
        with pytest.raises(NonFiniteError, match=f"at step {step}; the frame is in"):
            list(steps(limit))
        (frame,) = read_frames(tmp_path / "stopped.extxyz")
        assert frame.pos == pytest.approx(states[step].pos, abs=1e-7)
        with pytest.raises(NonFiniteError, match=f"at step {step} of the equilibration; the frame is in"):
            list(steps(limit, equilibrate=30))

    def test_members_that_differ(self, tmp_path):
        committee = Committee([gentle_model(seed) for seed in range(3)])
        guard = Guard(file=tmp_path / "stopped.extxyz", max_spread=1e-6)
        message = (
            r"members whose forces differ by up to 1e-06 eV/Å; found \S+ eV/Å on atom (\d) \((H|O)\) at step 0; the"
        )
        with pytest.raises(NonFiniteError, match=message):
            run_nvt(committee, FRAME, **SETTINGS, steps=5, guard=guard)
        assert len(read_frames(guard.file)) == 1
        run_nvt(committee, FRAME, **SETTINGS, steps=5, guard=guard._replace(max_spread=100.0))

    def test_a_single_model_has_no_spread(self):
        with pytest.raises(ConfigError, match="max_spread needs a Committee; found one ForceField"):
            run_nvt(gentle_model(), FRAME, **SETTINGS, steps=5, guard=Guard(max_spread=1.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timestep": 0.0}, "timestep > 0 fs.*; found 0.0 and 300.0"),
        ({"thermostat": Thermostat(-1.0)}, "temperature >= 0 K"),
        ({"thermostat": Thermostat(300.0, friction=0.0)}, r"time step of 0.5 fs, up to 400 1/ps; found 0"),
        ({"thermostat": Thermostat(300.0, friction=500.0)}, "up to 400 1/ps; found 500"),
        ({"thermostat": Thermostat(300.0, friction=float("nan"))}, "found nan"),
        (
            {"thermostat": Thermostat(300.0, equilibrate=-1)},
            "whole number of steps to equilibrate, 0 or more; found -1",
        ),
        ({"thermostat": Thermostat(300.0, equilibrate=1.5)}, "whole number of steps to equilibrate.* found 1.5"),
        ({"guard": Guard(max_spread=0.0)}, "max_spread > 0 eV/Å; found 100.0 and 0.0"),
        ({"steps": -1}, "needs a whole number of steps, 0 or more; found -1"),
        ({"steps": 2.5}, "needs a whole number of steps, 0 or more; found 2.5"),
    ],
)
def test_settings(change, message):
    with pytest.raises(ConfigError, match=message):
        run_nvt(gentle_model(), FRAME, **(SETTINGS | {"steps": 1} | change))
