import numpy as np
import pytest

from irrepnet.report import Dynamics, Parity
from irrepnet.report.key_numbers import energy_drift, error_rows, force_error_rows


def dynamics(total_energy):
    """One row per 0.5 fs; the total energy is given, for 4 atoms, eV."""
    steps = len(total_energy)
    return Dynamics(0.5 * np.arange(steps), np.asarray(total_energy) - 1.0, np.ones(steps), np.ones(steps), num_atoms=4)


def test_errors_by_hand():
    forces_ref = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    error = np.array([[0.03], [-0.04]])  # of every component of each atom
    parity = Parity([-2.0, -4.0], [-2.001, -3.997], forces_ref, forces_ref + error, [1, 8])
    energy, forces = error_rows(parity)
    assert (energy.mae, energy.rmse) == pytest.approx((2.0, np.sqrt(5.0)))
    assert (energy.spread, energy.size) == pytest.approx((1000.0, 2))
    assert (forces.mae, forces.rmse) == pytest.approx((35.0, np.sqrt(1250)))
    assert forces.share == pytest.approx(forces.rmse / (1000 * np.sqrt(1 / 3)))
    assert [(row.label, round(row.rmse, 6)) for row in force_error_rows(parity)] == [("H", 30.0), ("O", 40.0)]


def test_stress_is_a_row_only_where_there_is_stress():
    stress = np.zeros((1, 3, 3))
    parity = Parity([-1.0], [-1.0], np.zeros((1, 3)), np.zeros((1, 3)), [1], stress, stress + 0.002)
    row = error_rows(parity)[-1]
    assert (row.label, row.unit, row.rmse) == ("stress", "meV/Å³", pytest.approx(2.0))
    assert np.isnan(row.share)  # the reference does not vary


def test_drift_is_per_atom_and_picosecond():
    time = 0.5 * np.arange(2001)
    drift = energy_drift(dynamics(-100.0 + 4 * 0.003 * time / 1000 + 4 * 1e-4 * np.sin(time)))
    assert drift.slope == pytest.approx(3.0, rel=1e-3)
    assert drift.fluctuation == pytest.approx(0.1 / np.sqrt(2), rel=1e-2)


def test_no_drift_without_a_line_worth_the_name():
    assert energy_drift(dynamics([-1.0, -1.1])) is None
    assert energy_drift(dynamics([])) is None


def test_drift_survives_a_last_row_that_is_not_finite():
    assert energy_drift(dynamics([-1.0] * 10 + [np.nan])).slope == pytest.approx(0.0)
