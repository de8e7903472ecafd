import io
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from irrepnet.report import Parity, ReportData, figures, overview_figure

FIGURES = [
    "learning", "parity", "force_error", "breakdown", "structures", "targets",
    "rdf", "dynamics", "torsion", "committee", "overview",
]  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_draws_something(name, full_report):
    image = imread(io.BytesIO(figures.png_bytes(getattr(figures, f"{name}_figure")(full_report))))
    assert image.shape[1] > 750
    assert image[..., :3].std() > 0.05


def test_learning_has_a_panel_for_each_quantity(full_report):
    titles = [ax.get_title(loc="left") for ax in figures.learning_figure(full_report).axes]
    assert titles == ["Forces", "Energy", "Loss", "Learning rate", "Weights of the loss", "Speed, validation included"]


def test_breakdown_draws_only_what_the_frames_allow(water_report):
    titles = [ax.get_title(loc="left") for ax in figures.breakdown_figure(water_report).axes]
    assert titles == ["Force error by size of the force", "Energy errors of the frames", "Force error by group"]
    bare = replace(water_report.parity, atom_counts=None, sources=(), groups=())
    (ax,) = figures.breakdown_figure(replace(water_report, parity=bare)).axes
    assert ax.get_xlabel() == "length of the reference force (eV/Å)"


def test_labels_that_are_not_known_have_no_panel(water_report):
    parity = replace(water_report.parity, energy_ref=np.full(10, np.nan))
    (ax, *_) = figures.parity_figure(replace(water_report, parity=parity)).axes
    assert ax.get_title(loc="left") == "Force components"


def test_same_data_same_bytes(water_report):
    first, second = (figures.png_bytes(figures.rdf_figure(water_report)) for _ in range(2))
    assert first == second


def test_stress_is_the_third_parity_panel():
    stress = np.eye(3)[None]
    parity = Parity([-1.0], [-1.1], np.eye(3), np.eye(3), [8, 1, 1], stress, stress)
    labels = [ax.get_ylabel() for ax in figures.parity_figure(ReportData("a", parity=parity)).axes]
    assert "predicted (meV/Å³)" in labels


def test_overview_says_what_is_missing(water_report):
    figure = overview_figure(replace(water_report, dynamics=None, rdfs=[]))
    words = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert {"no dynamics", "no radial distribution functions"} <= set(words)


def test_no_global_pyplot_state():
    code = (
        "import sys; from irrepnet.report import ReportData, figures;"
        "figures.png_bytes(figures.overview_figure(ReportData('a')));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pictures need matplotlib; .*irrepnet\[report\]"):
        overview_figure(ReportData("a"))
