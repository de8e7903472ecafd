"""Figures of signals on the sphere: e3nn's surfaces, and what plotly makes of them."""

import sys

import e3nn.io
import numpy as np
import pytest
import torch

from irrepnet.errors import DtypeError, ShapeError
from irrepnet.io.signal_figures import closed_surface, draw_signals
from irrepnet.io.spherical_tensor import SphericalTensor

OPTIONS = [{}, {"radius": False}, {"relu": True}, {"normalization": "component", "res": (20, 23)}]


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.usefixtures("double")
def test_surfaces_are_those_of_e3nn(options):
    ours, theirs = SphericalTensor(4, 1, -1), e3nn.io.SphericalTensor(4, 1, -1)
    options = {"res": 20, **options}
    signals, centers = ours.randn(2, -1), torch.randn(2, 3)
    for found, expected in zip(
        ours.plot(signals[0], centers[0], **options), theirs.plot(signals[0], centers[0], **options), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for at in (None, centers):
        found, expected = ours.plotly_surface(signals, at, **options), theirs.plotly_surface(signals, at, **options)
        assert [list(trace) for trace in found] == [list(trace) for trace in expected]
        for a, b in zip(found, expected, strict=True):
            assert all(isinstance(a[key], np.ndarray) for key in a)
            assert all(np.allclose(a[key], b[key], rtol=1e-12, atol=1e-12) for key in b)


def test_signals_that_require_gradients_and_the_caller_s_center():
    """e3nn cannot show the former."""
    sphere, center = SphericalTensor(2, 1, -1), torch.ones(3)
    signal = sphere.randn(-1, requires_grad=True)
    assert len(sphere.plotly_surface(signal, center, res=10)) == 1
    points, values = sphere.plot(signal, center, res=10)
    (points.sum() + values.sum()).backward()
    assert signal.grad.isfinite().all() and torch.equal(center, torch.ones(3))


def test_drawing():
    sphere = SphericalTensor(4, 1, -1)
    signal = sphere.with_peaks_at(torch.tensor([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0]]))
    pos, heights = sphere.find_peaks(signal)
    traces = sphere.plotly_surface(signal, res=20)
    figure = draw_signals(traces, pos * heights[:, None], "two peaks")
    surface, lines = figure.data
    assert surface.cmax == -surface.cmin == pytest.approx(3.0, rel=0.02)
    assert (
        len(lines.x) == 3 * len(pos)
        and np.isnan(lines.x[2])
        and lines.y[1] == pytest.approx(float(pos[0, 1] * heights[0]))
    )
    assert figure.layout.title.text == "two peaks" and "<html" in figure.to_html(include_plotlyjs="cdn")
    assert len(draw_signals([]).data) == 0
    assert draw_signals(sphere.plotly_surface(0 * signal, res=20)).data[0].cmax == 1.0


@pytest.mark.parametrize(
    ("error", "center", "words"),
    [
        (ShapeError, torch.zeros(2), r"one center \[3\]; got center \[2\]"),
        (ShapeError, torch.zeros(4, 1, 3), r"got center \[4, 1, 3\]"),  # would move each parallel elsewhere
        (DtypeError, torch.zeros(3, dtype=torch.float64), "center in torch.float32, as its points; got torch.float64"),
        (DtypeError, [0.0, 0.0, 1.0], "got list"),
    ],
)
def test_centers_that_are_refused(error, center, words):
    with pytest.raises(error, match=words):
        closed_surface(torch.randn(4, 3, 3), torch.randn(4, 3), center)


def test_one_center_for_one_signal_of_any_leading_axes():
    sphere, centers = SphericalTensor(2, 1, -1), torch.randn(2, 3, 3)
    traces = sphere.plotly_surface(sphere.randn(2, 3, -1), centers, res=6, radius=False)
    for trace, at in zip(traces, centers.view(6, 3).tolist(), strict=True):
        middle = [(trace[axis].max() + trace[axis].min()) / 2 for axis in "xyz"]
        assert middle == pytest.approx(at, abs=0.2)  # the grid is coarse


def test_what_is_refused(monkeypatch):
    with pytest.raises(ShapeError, match=r"needs arrows \[P, 3\]; got arrows \[3\]"):
        draw_signals([], torch.zeros(3))
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(ImportError, match=r"draw_signals needs plotly; .* pip install 'irrepnet\[report\]'"):
        draw_signals([])
