import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irrepnet.errors import ShapeError
from irrepnet.report import Parity
from irrepnet.report.breakdown import force_bins, formula, frame_errors, group_rows, worst_frames


def parity(**changes):
    """Three frames, H2O twice and H2; the errors are by hand."""
    forces = np.zeros((8, 3))
    error = np.zeros((8, 3))
    error[2], error[3], error[7] = [0.03, 0.0, 0.04], [0.0, 0.2, 0.0], [0.0, 0.0, 0.1]
    fields = {
        "energy_ref": [-1.0, -2.0, -3.0],
        "energy_pred": [-1.001, -2.0, -2.998],
        "forces_ref": forces,
        "forces_pred": forces + error,
        "species": [8, 1, 1, 8, 1, 1, 1, 1],
        "atom_counts": [3, 3, 2],
        "sources": ["a", "b", "c"],
    }
    return Parity(**(fields | changes))


def test_errors_of_frames_by_hand():
    first, second, third = frame_errors(parity())
    assert (first.formula, first.num_atoms, first.source, first.group) == ("H2O", 3, "a", None)
    assert first.energy_error == pytest.approx(-1.0) and third.energy_error == pytest.approx(2.0)
    assert (first.largest_force_error, first.atom, first.symbol) == (pytest.approx(50.0), 2, "H")
    assert (second.largest_force_error, second.atom, second.symbol) == (pytest.approx(200.0), 0, "O")
    assert second.force_rmse == pytest.approx(200.0 / 3)


def test_the_worst_come_first_and_only_so_many():
    assert [frame.source for frame in worst_frames(parity())] == ["b", "c", "a"]
    assert [frame.source for frame in worst_frames(parity(), 1)] == ["b"]


def test_without_forces_the_worst_are_by_energy():
    unknown = np.full((8, 3), np.nan)
    rows = worst_frames(parity(forces_ref=unknown))
    assert [frame.source for frame in rows] == ["c", "a", "b"]
    assert np.isnan(rows[0].largest_force_error) and np.isnan(rows[0].force_rmse)


def test_frames_with_unknown_forces_are_left_out_of_the_worst():
    some = np.zeros((8, 3))
    some[3:6] = np.nan
    assert [frame.source for frame in worst_frames(parity(forces_ref=some))] == ["c", "a"]


def test_nothing_is_said_of_frames_that_are_not_known():
    bare = parity(atom_counts=None, sources=())
    assert frame_errors(bare) == [] and group_rows(bare) == ("group", [])


def test_groups_or_else_compositions():
    kind, rows = group_rows(parity())
    assert kind == "composition"
    assert [(row.name, row.num_frames, row.num_atoms) for row in rows] == [("H2O", 2, 6), ("H2", 1, 2)]
    kind, rows = group_rows(parity(groups=["x", "y", "y"]))
    assert kind == "group"
    assert {row.name: round(row.energy_mae, 6) for row in rows} == {"x": 1.0, "y": 1.0}
    assert {row.name: round(row.energy_rmse, 6) for row in rows} == {"x": 1.0, "y": pytest.approx(np.sqrt(2), abs=1e-6)}
    assert group_rows(parity(groups=["x", "x", "x"]))[0] == "composition"


@given(
    sizes=st.lists(st.floats(0, 20), min_size=1, max_size=300),
    share=st.floats(0.01, 0.5),
)
def test_every_atom_is_in_one_bin(sizes, share):
    forces = np.outer(sizes, [0.0, 0.6, 0.8])
    bins = force_bins(Parity([0.0], [0.0], forces, (1 + share) * forces, [1] * len(sizes)))
    assert bins.size.sum() == len(sizes)
    assert (bins.size >= min(5, len(sizes))).all()
    assert (np.diff(bins.edges) >= 0).all() and len(bins.edges) == len(bins.size) + 1
    assert bins.edges[[0, -1]] == pytest.approx([min(sizes), max(sizes)])
    total = np.sqrt((bins.size * bins.error**2).sum() / bins.size.sum())
    assert total == pytest.approx(1000 * share * np.sqrt(np.square(sizes).mean()), abs=1e-6)


def test_large_forces_with_large_errors_are_seen():
    forces = np.outer(np.linspace(0, 10, 1000), [1.0, 0.0, 0.0])
    bins = force_bins(Parity([0.0], [0.0], forces, forces * 1.02, [1] * 1000))
    assert bins.error[-1] > 8 * bins.error[0]
    assert bins.share[1:] == pytest.approx(0.02 * np.ones(len(bins.size) - 1), rel=0.03)


def test_no_bins_without_forces():
    assert force_bins(parity(forces_ref=np.full((8, 3), np.nan))) is None


def test_formula():
    assert formula(np.array([1, 1])) == "H2"
    assert formula(np.array([11, 17])) == "ClNa"
    assert formula(np.array([6, 6, 1, 1, 1, 1, 1, 1, 8])) == "C2H6O"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"atom_counts": [3, 3]}, r"needs atom_counts \[3\]; found \[2\]"),
        ({"atom_counts": [3, 3, 3]}, "atom_counts that add up to 8 atoms; found 9"),
        ({"sources": ["a"]}, "needs 3 sources or none; found 1"),
        ({"groups": ["a"]}, "needs 3 groups or none; found 1"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ShapeError, match=message):
        parity(**changes)
