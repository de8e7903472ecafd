import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from irrepnet.errors import ShapeError
from irrepnet.o3 import Irrep, rand_matrix
from irrepnet.report import TargetParity
from irrepnet.report.error_panels import draw_irreps, draw_target_parity
from irrepnet.report.targets import irrep_rows, target_row


def symmetric(num_rows, seed):
    matrices = np.random.default_rng(seed).standard_normal((num_rows, 3, 3))
    return matrices + matrices.transpose(0, 2, 1)


def test_rows_that_are_not_known_are_left_out():
    row = target_row(TargetParity("gap", "eV", [1.0, np.nan, 3.0], [1.5, 9.0, 2.5]))
    assert (row.mae, row.rmse, row.spread, row.size) == (0.5, 0.5, 1.0, 2)
    assert row.share == 0.5
    nothing = target_row(TargetParity("gap", "eV", [np.nan], [1.0]))
    assert nothing.size == 0 and np.isnan(nothing.mae)


def test_errors_by_irrep_do_not_depend_on_the_orientation():
    reference = symmetric(30, 0)
    predicted = reference + 0.1 * symmetric(30, 1)
    turn = rand_matrix(dtype=torch.float64).numpy()
    one = irrep_rows(TargetParity("a", "", reference, predicted, "ij=ji"))
    two = irrep_rows(TargetParity("a", "", turn @ reference @ turn.T, turn @ predicted @ turn.T, "ij=ji"))
    assert [row.irrep for row in one] == ["0e", "2e"]
    assert [row.rmse for row in one] == pytest.approx([row.rmse for row in two])
    assert [row.spread for row in one] == pytest.approx([row.spread for row in two])


def test_irreps_add_up_to_the_whole_tensor():
    reference = symmetric(20, 2)
    error = 0.1 * symmetric(20, 3)
    rows = irrep_rows(TargetParity("a", "", reference, reference + error, "ij=ji"))
    whole = np.square(error).sum(axis=(1, 2)).mean()
    assert sum(Irrep(row.irrep).dim * row.rmse**2 for row in rows) == pytest.approx(whole)


def test_the_spread_of_a_scalar_is_about_its_mean_and_of_a_vector_about_zero():
    trace = irrep_rows(TargetParity("a", "", np.stack([np.eye(3), 3 * np.eye(3)]), np.zeros((2, 3, 3)), "ij=ji"))[0]
    assert trace.spread == pytest.approx(np.sqrt(3))  # traces of 3 and 9 over the root of 3
    (vector,) = irrep_rows(TargetParity("mu", "D", [[3.0, 4.0, 0.0]] * 2, np.zeros((2, 3)), "i"))
    assert (vector.irrep, vector.rmse, vector.spread) == ("1o", pytest.approx(5 / 3**0.5), pytest.approx(5 / 3**0.5))


def test_plain_numbers_have_no_irreps():
    assert irrep_rows(TargetParity("gap", "eV", [1.0], [1.0])) == []


@pytest.mark.parametrize(
    ("reference", "predicted", "formula", "message"),
    [
        ([1.0, 2.0], [1.0], None, r"'a' needs predicted \[2\]; found \[1\]"),
        (np.zeros((2, 3)), np.zeros((2, 3)), None, r"'a' needs reference \[2\]; found \[2, 3\]"),
        (np.zeros((2, 3)), np.zeros((2, 3)), "ij=ji", r"'a' needs reference \[2, 3, 3\]; found \[2, 3\]"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(reference, predicted, formula, message):
    with pytest.raises(ShapeError, match=message):
        TargetParity("a", "", reference, predicted, formula)


def test_panels_say_errors_with_units_and_as_a_share_of_the_spread():
    ax = Figure().add_subplot()
    draw_target_parity(ax, TargetParity("gap", "eV", [1.0, 3.0], [1.5, 2.5]))
    words = " ".join(text.get_text() for text in ax.texts)
    assert "MAE = 0.5 eV" in words and "RMSE / std = 50.0 %" in words and "2 numbers" in words
    assert ax.get_ylabel() == "predicted (eV)"
    bars = Figure().add_subplot()
    reference = symmetric(10, 4)
    rows = irrep_rows(TargetParity("alpha", "a0^3", reference, 1.1 * reference, "ij=ji"))
    draw_irreps(bars, rows)
    assert [bar.get_width() for bar in bars.patches] == pytest.approx([100 * row.share for row in rows])
    assert [text.get_text() for text in bars.get_yticklabels()] == ["alpha, 0e", "alpha, 2e"]
