import numpy as np
import pytest

from irrepnet.data import Keys
from irrepnet.data.columns import cut_columns
from irrepnet.errors import DataError, ShapeError


def ragged(**changes):
    rng = np.random.default_rng(0)
    arrays = {
        "ptr": np.array([0, 3, 5, 5]),
        "species": np.array([8, 1, 1, 1, 9]),
        "pos": rng.normal(size=(5, 3)),
        "forces": rng.normal(size=(5, 3)),
        "energy": np.array([-1.0, -2.0, -3.0]),
        "mu": rng.normal(size=(3, 3)),
        "charge": rng.normal(size=5),
        "table": np.arange(6.0).reshape(3, 2),
    }
    return {**arrays, **changes}


def test_concatenated_frames_are_cut_where_ptr_says():
    arrays = ragged()
    keys = Keys(properties={"dipole": "mu"}, atom_properties={"q": "charge"}, energy="table[1]")
    rows = cut_columns(arrays, keys, "a.npz")
    assert [row["species"].tolist() for row in rows] == [[8, 1, 1], [1, 9], []]
    assert np.array_equal(rows[1]["pos"], arrays["pos"][3:5])
    assert np.array_equal(rows[1]["forces"], arrays["forces"][3:5])
    assert [row["energy"] for row in rows] == [1.0, 3.0, 5.0]
    assert np.array_equal(rows[2]["properties"]["dipole"], arrays["mu"][2])
    assert np.array_equal(rows[1]["atom_properties"]["q"], arrays["charge"][3:5])


@pytest.mark.parametrize("whole", [True, False])
def test_labels_of_selected_atoms(whole):
    selected = np.array([True, False, False, False, True])
    tensors = np.arange(45.0).reshape(5, 3, 3)
    arrays = ragged(selected=selected, nmr=tensors if whole else tensors[selected])
    rows = cut_columns(arrays, Keys(selected="selected", atom_properties={"nmr": "nmr"}), "a.npz")
    first, second = rows[0]["atom_properties"]["nmr"], rows[1]["atom_properties"]["nmr"]
    assert np.array_equal(first[0], tensors[0])
    assert np.isnan(first[1:]).all()
    assert np.isnan(second[0]).all()
    assert np.array_equal(second[1], tensors[4])
    assert "selected" not in rows[0]


def test_stacked_labels_of_atoms_and_structures():
    arrays = {"species": np.array([1, 1]), "pos": np.zeros((3, 2, 3)), "q": np.arange(6.0).reshape(3, 2)}
    arrays |= {"selected": np.array([True, False]), "alpha": np.arange(27.0).reshape(3, 3, 3)}
    keys = Keys(selected="selected", atom_properties={"q": "q"}, properties={"alpha": "alpha"})
    rows = cut_columns(arrays, keys, "a.npz")
    assert [row["atom_properties"]["q"][0] for row in rows] == [0, 2, 4]
    assert all(np.isnan(row["atom_properties"]["q"][1]) for row in rows)
    assert rows[1]["properties"]["alpha"][0, 0] == 9


def test_one_frame_needs_no_axis_of_frames():
    arrays = {"species": np.array([1, 1]), "pos": np.zeros((2, 3)), "q": np.ones(2), "mu": np.ones(3)}
    (row,) = cut_columns(arrays, Keys(atom_properties={"q": "q"}, properties={"mu": "mu"}), "a.npz")
    assert row["properties"]["mu"].shape == (3,)
    assert row["atom_properties"]["q"].shape == (2,)


@pytest.mark.parametrize(
    ("changes", "keys", "error", "match"),
    [
        (
            {"ptr": np.array([0, 3, 6])},
            {},
            ShapeError,
            "a.npz: ptr needs to rise from 0 to the 5 rows of pos; found 0 to",
        ),
        ({"ptr": np.array([0, 4, 3, 5])}, {}, ShapeError, "found 0 to 5, falling in between"),
        ({"ptr": np.array([1, 3, 3, 5])}, {}, ShapeError, "found 1 to 5"),
        ({"ptr": np.array([0.0, 5.0])}, {}, ShapeError, r"ptr needs integers \[F \+ 1\]; found float64"),
        (
            {"forces": np.zeros((4, 3))},
            {},
            ShapeError,
            r"forces needs 5 rows of 1 dimensions each; found shape \[4, 3\]",
        ),
        ({"species": np.array([8, 1, 1])}, {}, ShapeError, "species needs 5 rows"),
        ({"energy": np.zeros(4)}, {}, ShapeError, "energy needs 3 frames of 0 dimensions each"),
        ({"pos": np.zeros((3, 5, 3))}, {}, ShapeError, r"pos needs shape \[atoms of all frames, 3\]"),
        (
            {},
            {"properties": {"dipole": "mu2"}},
            DataError,
            r"'mu2' \(keys.properties\['dipole'\]\); .* Did you mean 'mu'",
        ),
        ({}, {"atom_properties": {"q": "chrge"}}, DataError, r"keys.atom_properties\['q'\].* Did you mean 'charge'"),
        ({}, {"properties": {"a": "charge"}}, ShapeError, r"charge needs 3 frames; found shape \[5\]"),
        ({}, {"atom_properties": {"a": "mu"}}, ShapeError, "mu needs a row for each of 5 atoms"),
        ({}, {"energy": "table[2]"}, ShapeError, r"needed column 2 of 'table'; found shape \[3, 2\]"),
        ({}, {"energy": "tabel[1]"}, DataError, r"needed key 'tabel\[1\]' \(keys.energy\)"),
        ({"on": np.ones(5)}, {"selected": "on", "atom_properties": {"q": "charge"}}, DataError, "a selection of bools"),
        (
            {"on": np.eye(5, dtype=bool)[0], "charge": np.zeros(2)},
            {"selected": "on", "atom_properties": {"q": "charge"}},
            ShapeError,
            "charge needs a row for each of 5 atoms or of 1 selected",
        ),
    ],
)
def test_misfits_are_named(changes, keys, error, match):
    with pytest.raises(error, match=match):
        cut_columns(ragged(**changes), Keys(**keys), "a.npz")


def three_frames(**more):
    return {"species": np.array([1, 1]), "pos": np.zeros((3, 2, 3)), **more}


@pytest.mark.parametrize(
    "cell",
    [
        np.eye(3),
        np.diag([5.0, 6, 0]),
        1.0 - np.eye(3),
        np.array([[5.0, 0, 0], [1, 5, 0], [1, 1, 5]]),
        np.array([[5.0, 1, 1], [1, 5, 1], [1, -1, 5]]),
        np.zeros((3, 3)),
    ],
)
def test_one_cell_for_three_frames(cell):
    rows = cut_columns(three_frames(cell=cell, pbc=np.array([True, True, True])), Keys(), "a.npz")
    assert all(np.array_equal(row["cell"], cell) for row in rows)
    assert all(row["pbc"].tolist() == [True] * 3 for row in rows)


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"cell": np.full((3, 3), 10.0)}, "cell"),
        ({"cell": np.array([[10.0, 11, 12], [10.1, 11, 12], [10.2, 11, 12]])}, "cell"),
        ({"cell": np.tile([10.0, 10.0, 0.0], (3, 1))}, "cell"),
        ({"cell": np.eye(3), "pbc": np.array([True, False, True])}, "pbc"),
    ],
)
def test_what_may_be_a_row_for_each_of_three_frames_is_refused(more, name):
    with pytest.raises(
        ShapeError, match=rf"a.npz: {name} of shape .* may be one for all frames or a row for each of 3"
    ):
        cut_columns(three_frames(**more), Keys(), "a.npz")
    alone = {"pos": np.zeros((2, 2, 3)), "species": np.array([1, 1]), **more}
    assert len(cut_columns(alone, Keys(), "a.npz")) == 2
