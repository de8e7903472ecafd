import sys

import matplotlib as mpl
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from irrepnet import o3
from irrepnet.errors import ConfigError

mpl.use("agg")


def lines(ax):
    return [(tuple(line.get_xdata()), tuple(line.get_ydata()), line.get_color()) for line in ax.lines]


@pytest.fixture
def product():
    paths = [(0, 0, 0, "uvw", True), (1, 0, 1, "uvu", True), (1, 1, 1, "uvu", False)]
    return o3.TensorProduct("4x0e+2x1o", "0e+1o", "3x0e+2x1o+2x1e", [*paths[:2], (1, 1, 2, "uvu", False)])


def test_draws_entries_and_paths(product):
    fig, ax = product.visualize(ax=Figure().subplots())
    assert isinstance(fig, Figure) and fig is ax.get_figure()
    assert [text.get_text() for text in ax.texts] == ["4x0e", "2x1o", "0e", "1o", "3x0e", "2x1o", "2x1e"]
    assert len(ax.lines) == 3 * len(product.instructions)
    ends = {text.get_text(): text.xy for text in ax.texts[:3]}
    xs, ys, _ = lines(ax)[0]
    assert (xs[1], ys[1]) == ends["4x0e"]


def test_stronger_weights_are_darker(product):
    product.weight.data.fill_(1.0)
    product.weight.data[12:] = 0.1  # the second path
    _, ax = product.visualize(ax=Figure().subplots())
    colors = [color for _, _, color in lines(ax)[::3]]
    assert sum(colors[0][:3]) < sum(colors[1][:3]) and colors[2] == "black"
    _, ax = product.visualize(plot_weight=False, ax=Figure().subplots())
    assert [color for _, _, color in lines(ax)[::3]] == ["green", "green", "black"]
    bare = o3.FullyConnectedTensorProduct("1o", "1o", "0e", internal_weights=False)
    assert lines(bare.visualize(ax=Figure().subplots())[1])[0][2] == "green"
    assert lines(bare.visualize(o3.Irreps("0e").randn(-1), ax=Figure().subplots())[1])[0][2] != "green"


def test_weights_that_are_all_zero(product):
    product.weight.data.zero_()
    assert len(product.visualize(ax=Figure().subplots())[1].lines) == 9


def test_the_current_axes_are_the_default(product):
    figure = pyplot.figure()
    try:
        assert product.visualize()[0] is figure
    finally:
        pyplot.close(figure)


def test_aspect(product):
    def width_over_height(aspect):
        _, ax = product.visualize(aspect_ratio=aspect, ax=Figure().subplots())
        xs, ys = zip(*(text.xy for text in ax.texts), strict=True)
        return (max(xs) - min(xs)) / (max(ys) - min(ys))

    assert width_over_height(2) == pytest.approx(2 * width_over_height(1))
    assert width_over_height("auto") == pytest.approx(1.5 * width_over_height(1))
    for wrong in ("wide", 0, -1.0, None, True):
        with pytest.raises(ConfigError, match="aspect_ratio needs a positive number or 'auto'; got"):
            product.visualize(aspect_ratio=wrong, ax=Figure().subplots())


def test_nothing_to_draw():
    assert o3.TensorProduct("", "1o", "", []).visualize(aspect_ratio="auto", ax=Figure().subplots())[1].lines[:] == []


def test_without_matplotlib(product, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"needs the package matplotlib; it is not installed\. Run: pip install"):
        product.visualize()
