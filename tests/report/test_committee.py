import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from irrepnet.errors import ShapeError
from irrepnet.report import CommitteeSpread, ReportData, render_report
from irrepnet.report.committee import calibrate
from irrepnet.report.error_panels import draw_calibration


def test_the_factor_sets_the_mean_squares_equal():
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.01, 0.2, 500)
    error = 3.0 * spread * np.abs(rng.standard_normal(500))
    result = calibrate(CommitteeSpread(spread, error, num_models=4))
    assert np.square(result.factor * spread).mean() == pytest.approx(np.square(error).mean())
    assert result.factor == pytest.approx(3.0, rel=0.2)
    assert 0.3 < result.rank_correlation < 1.0
    assert result.bin_size.sum() == 500 and (np.diff(result.bin_spread) > 0).all()


@given(values=st.lists(st.sampled_from([0.1, 0.2, 0.5, 0.7]), min_size=4, max_size=30))
def test_rank_correlation_is_that_of_scipy(values):
    stats = pytest.importorskip("scipy.stats")
    spread, error = np.array(values), np.array(values[::-1])
    found = calibrate(CommitteeSpread(spread, error, num_models=2)).rank_correlation
    if len(set(values)) == 1:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(spread, error).statistic)


def test_what_is_not_known_is_left_out_and_nothing_is_an_answer():
    result = calibrate(CommitteeSpread([0.1, np.nan, 0.2], [0.2, 0.1, np.nan], num_models=2))
    assert result.bin_size.tolist() == [1] and result.factor == pytest.approx(2.0)
    empty = calibrate(CommitteeSpread([np.nan], [0.1], num_models=2))
    assert len(empty.bin_size) == 0 and np.isnan(empty.factor)


def test_spread_and_error_of_different_things_are_refused():
    with pytest.raises(ShapeError, match=r"CommitteeSpread needs error \[2\]; found \[1\]"):
        CommitteeSpread([0.1, 0.2], [0.1], num_models=2)


def test_the_drawn_bins_and_lines_are_those_of_the_calibration():
    spread = np.linspace(0.01, 0.1, 100)
    committee = CommitteeSpread(spread, 2 * spread, num_models=3)
    ax = Figure().add_subplot()
    draw_calibration(ax, committee)
    result = calibrate(committee)
    lines = {line.get_label(): line.get_xydata() for line in ax.get_lines()}
    assert lines["rms in bins"] == pytest.approx(np.stack([result.bin_spread, result.bin_error], 1))
    ends = lines["error = 2.00 × spread"]
    assert ends[:, 1] == pytest.approx(2 * ends[:, 0])
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert ax.get_xlabel() == "spread of 3 models (eV/Å)"


def test_calibrated_spreads_are_not_to_be_multiplied_again():
    spread = np.linspace(0.1, 1.0, 50)
    raw = CommitteeSpread(spread, 1.5 * spread, num_models=4)
    calibrated = CommitteeSpread(spread, 1.5 * spread, num_models=4, is_calibrated=True)
    page = render_report(ReportData("a", committee=raw))
    assert "Multiply their spread by 1.50" in page
    page = render_report(ReportData("a", committee=calibrated))
    assert "Multiply" not in page and "take them as they are. Rms error over rms spread here: 1.50" in page
