import numpy as np
import pytest

from irrepnet.data import Frame
from irrepnet.report import DataReport, describe_frames, write_data_report
from irrepnet.report.data_report import distances_figure, labels_figure, render_data_report

WATER = [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]]
FRAMES = [
    Frame(
        species=[8, 1, 1], pos=WATER, energy=-6.0, forces=np.diag([3.0, 4.0, 5.0]), group="a", properties={"gap": 7.0}
    ),
    Frame(species=[1, 1], pos=[[0, 0, 0], [0.74, 0, 0]], energy=-2.4, group="b"),
]


@pytest.fixture(scope="module")
def report():
    return describe_frames(FRAMES, title="a.npz", findings=["frame 1 is odd <b>"])


def test_numbers_by_hand(report):
    assert report.compositions == {"H2O": 1, "H2": 1} and report.groups == {"a": 1, "b": 1}
    assert report.labels == {"energy": 2, "forces": 1, "stress": 0, "gap": 1}
    assert report.energies == pytest.approx([-2.0, -1.2])
    assert {symbol: values.tolist() for symbol, values in report.forces.items()} == {"H": [4.0, 5.0], "O": [3.0]}
    assert report.properties["gap"].tolist() == [7.0]


def test_nearest_distances_are_from_every_atom_of_the_heavier_element(report):
    assert list(report.nearest) == ["H-H", "O-H"]  # the nearest first
    assert sorted(report.nearest["H-H"]) == pytest.approx([0.74, 0.74, *[np.hypot(1.2, 0.93)] * 2])
    assert report.nearest["O-H"] == pytest.approx([0.96])


def test_distances_across_the_cell():
    frame = Frame(species=[1, 1], pos=[[0.1, 0, 0], [8.9, 0, 0]], cell=9 * np.eye(3), pbc=True)
    assert describe_frames([frame], title="a").nearest["H-H"] == pytest.approx([0.2, 0.2])


def test_of_a_large_set_frames_over_the_whole_of_it_are_looked_at():
    frames = [Frame(species=[1], pos=[[0, 0, 0]], energy=float(k)) for k in range(5000)]
    report = describe_frames(frames, title="a")
    assert (report.num_frames, report.num_looked_at) == (5000, 2000)
    assert report.energies[[0, -1]].tolist() == [0.0, 4999.0]
    assert "5000 frames; the numbers are of 2000 of them." in render_data_report(report)


def test_histograms_count_every_number_once(report):
    for figure in (labels_figure(report), distances_figure(report)):
        for ax in figure.axes:
            assert ax.get_xlabel() and ax.get_ylabel() == "count"
    energies = labels_figure(report).axes[0]
    (steps,) = energies.patches
    assert steps.get_data().values.sum() == 2
    assert energies.get_title(loc="left") == "Energy per atom, mean −1.6000 eV"


def test_the_page_has_units_findings_and_alternative_texts(tmp_path, report):
    write_data_report(tmp_path / "data.html", report)
    html = (tmp_path / "data.html").read_text()
    for words in (
        "energy (eV/atom)",
        "force on H (eV/Å)",
        "(Å)",
        "frame 1 is odd &lt;b&gt;",
        "H–H",
        'alt="Histograms of',
    ):
        assert words in html
    assert "http:" not in html and "https:" not in html and "<script" not in html


def test_a_set_without_labels_or_frames_says_so():
    html = render_data_report(describe_frames([Frame(species=[1], pos=[[0, 0, 0]])], title="a"))
    assert "No frame has a label." in html and "No two atoms are nearer than 3 Å." in html
    assert "nothing odd was found" in html
    assert "0 frames" in render_data_report(DataReport("a", 0, 0))
