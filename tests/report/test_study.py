import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from irrepnet.errors import ShapeError
from irrepnet.report import LearningSeries, PublishedError, StudyData, StudyPanel, write_study_report
from irrepnet.report.study import draw_learning_series, fit_slope, render_study_report

SERIES = LearningSeries("lmax 2", [50, 50, 100, 100, 200], [40.0, 44.0, 30.0, 28.0, np.nan])
PANEL = StudyPanel("forces, MAE", "meV/Å", [SERIES], [PublishedError("NequIP", 2.8, "Batzner et al. 2022")])


@given(exponent=st.floats(-2, 0.5), factor=st.floats(0.01, 1e4))
def test_a_power_law_is_found_exactly(exponent, factor):
    sizes = np.array([50.0, 100.0, 400.0, 400.0])
    slope = fit_slope(LearningSeries("a", sizes, factor * sizes**exponent))
    assert slope.exponent == pytest.approx(exponent, abs=1e-8)
    assert slope.at_one == pytest.approx(factor, rel=1e-6)
    assert slope.uncertainty == pytest.approx(0.0, abs=1e-6)


def test_the_uncertainty_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    known = stats.linregress(np.log(SERIES.known[0]), np.log(SERIES.known[1]))
    slope = fit_slope(SERIES)
    assert (slope.exponent, slope.uncertainty) == pytest.approx((known.slope, known.stderr))


def test_no_slope_through_one_size_and_no_uncertainty_through_two_points():
    assert fit_slope(LearningSeries("a", [100, 100], [1.0, 2.0])) is None
    assert np.isnan(fit_slope(LearningSeries("a", [100, 200], [1.0, 2.0])).uncertainty)


def test_medians_are_over_the_seeds_that_ended():
    sizes, medians = SERIES.medians()
    assert sizes.tolist() == [50.0, 100.0] and medians.tolist() == [42.0, 29.0]


def test_sizes_and_errors_of_different_trainings_are_refused():
    with pytest.raises(ShapeError, match=r"LearningSeries needs errors \[2\]; found \[1\]"):
        LearningSeries("a", [1, 2], [1.0])


def test_points_lines_and_published_numbers_are_drawn():
    ax = Figure().add_subplot()
    draw_learning_series(ax, PANEL)
    points, medians, fit, published = (line.get_xydata() for line in ax.get_lines())
    assert points.tolist() == [[50.0, 40.0], [50.0, 44.0], [100.0, 30.0], [100.0, 28.0]]
    assert medians.tolist() == [[50.0, 42.0], [100.0, 29.0]]
    assert np.diff(np.log(fit[:, 1])) / np.diff(np.log(fit[:, 0])) == pytest.approx([fit_slope(SERIES).exponent])
    assert published[:, 1].tolist() == [2.8, 2.8]
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("training frames", "forces, MAE (meV/Å)")


def test_the_page_has_numbers_slopes_sources_and_failures(tmp_path):
    data = StudyData("Ethanol <b>", [PANEL], "words", {"seed": 0}, {"lmax 2, 200 frames, seed 1": "stopped at step 7"})
    write_study_report(tmp_path / "study.html", data)
    html = (tmp_path / "study.html").read_text()
    assert html == render_study_report(data)
    for words in (
        "<td>lmax 2</td>",
        f"{fit_slope(SERIES).exponent:.3f}".replace("-", "−"),
        "Batzner et al. 2022",
        "stopped at step 7",
        "Ethanol &lt;b&gt;",
        "seed: 0",
    ):
        assert words in html
    assert 'alt="Learning curves of all variants"' in html and "script-src" not in html
