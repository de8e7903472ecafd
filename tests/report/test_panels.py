import numpy as np
import pytest
from matplotlib.figure import Figure

from irrepnet.report import Dynamics, Parity, RadialDistribution, learning_panels, panels


@pytest.fixture
def ax():
    return Figure().add_subplot()


def text_of(ax):
    return " ".join(text.get_text() for text in ax.findobj(match=lambda artist: hasattr(artist, "get_text")))


def test_every_axis_has_its_unit(ax, water_report):
    learning_panels.draw_learning_curve(ax, water_report.history, "forces", "meV/Å", "Forces")
    assert ax.get_ylabel() == "error of a force component (meV/Å)"
    assert ax.get_yscale() == "log"


def test_learning_curve_leaves_out_what_is_not_there(ax):
    history = [{"step": 0, "forces_rmse": None}, {"step": 5, "forces_rmse": 70.0}, {"step": 9, "forces_rmse": np.nan}]
    learning_panels.draw_learning_curve(ax, history, "forces", "meV/Å", "Forces")
    (line,) = ax.get_lines()
    assert line.get_xydata().tolist() == [[5.0, 70.0]]


def test_force_parity_says_its_errors(ax, water_report):
    panels.draw_force_parity(ax, water_report.parity)
    assert "RMSE = 45.2 meV/Å" in text_of(ax)
    assert "5760 components" in text_of(ax)


def test_force_parity_is_of_forces_also_when_there_is_stress(ax):
    stress = np.zeros((1, 3, 3))
    parity = Parity([-1.0], [-1.0], np.eye(3), np.eye(3) + 0.01, [8, 1, 1], stress, stress)
    panels.draw_force_parity(ax, parity)
    assert "RMSE = 10 meV/Å" in text_of(ax)


def test_energy_parity_is_relative_to_the_mean(ax):
    parity = Parity([-51.0, -51.002], [-51.0, -51.003], np.zeros((0, 3)), np.zeros((0, 3)), [])
    panels.draw_energy_parity(ax, parity)
    points = ax.get_lines()[-1].get_xydata()
    assert points == pytest.approx(np.array([[1.0, 1.0], [-1.0, -2.0]]))
    assert "−51.0010 eV/atom" in text_of(ax)


def test_parity_of_equal_values_still_has_an_axis(ax):
    panels.draw_energy_parity(ax, Parity([-1.0], [-1.0], np.zeros((0, 3)), np.zeros((0, 3)), []))
    low, high = ax.get_xlim()
    assert high > low


def test_tall_peak_goes_into_an_inset(ax, water_report):
    bond, liquid = water_report.rdfs[1], water_report.rdfs[0]
    panels.draw_rdf(ax, bond)
    (inset,) = ax.child_axes
    assert inset.get_ylim()[1] > 25 > ax.get_ylim()[1]
    other = Figure().add_subplot()
    panels.draw_rdf(other, liquid)
    assert other.child_axes == []


def test_rdf_that_is_tall_everywhere_is_drawn_whole(ax):
    panels.draw_rdf(ax, RadialDistribution("Ar-Ar", [1.0, 2.0], [9.0, 9.0], [9.0, 8.0]))
    assert ax.child_axes == [] and ax.get_ylim()[1] >= 9.0


def test_energies_are_per_atom_from_their_start(ax):
    dynamics = Dynamics([0.0, 500.0], [-8.0, -8.4], [1.0, 1.2], [300.0, 360.0], num_atoms=2)
    panels.draw_nve_energies(ax, dynamics)
    potential, kinetic, total = (line.get_ydata() for line in ax.get_lines())
    assert (potential[1], kinetic[1], total[1]) == pytest.approx((-200.0, 100.0, -100.0))
    assert ax.get_xlabel() == "time (ps)" and ax.get_lines()[0].get_xdata()[1] == 0.5


def test_short_runs_are_drawn_in_femtoseconds(ax):
    panels.draw_temperature(ax, Dynamics([0.0, 0.5], [-8.0, -8.4], [1.0, 1.2], [300.0, 360.0], num_atoms=2))
    assert ax.get_xlabel() == "time (fs)"


def test_drift_line_has_the_slope_it_says(ax, water_report):
    panels.draw_total_energy(ax, water_report.dynamics)
    (start, low), (end, high) = ax.get_lines()[1].get_xydata()
    label = ax.get_lines()[1].get_label()
    assert label == f"drift {(high - low) / (end - start):+.3g} meV/atom/ps"
