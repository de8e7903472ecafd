import re
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from irrepnet.report import CheckRow, Parity, ReportData, render_report, write_report
from irrepnet.report.html import view_obstacle
from irrepnet.report.structure_view import render_structure_view
from irrepnet.report.targets import TargetParity

VOID = {"meta", "img", "br", "link", "input", "hr"}
LIMIT = 1_500_000  # bytes, so that a report can be mailed


class Page(HTMLParser):
    """Collects tags, attributes and words, and insists that what is opened is closed in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.words = [], Counter(), [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags[tag] += 1
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[name] for name in ("src", "href", "srcset", "action", "data") if name in values]
        assert tag != "img" or values["alt"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in {"style", "script"}:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def page(water_html):
    return Page(water_html)


@pytest.fixture
def no_pictures(monkeypatch):
    """As where matplotlib is not installed: the words are all that these tests look at."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


def test_page_is_well_formed(page):
    assert all(page.tags[tag] == 1 for tag in ("html", "head", "title", "body", "h1"))
    assert len(set(page.ids)) == len(page.ids)


def test_page_needs_nothing_from_outside(page, water_html):
    assert page.tags["img"] == 7
    inside = {f"#{anchor}" for anchor in page.ids}
    assert all(link.startswith("data:image/png;base64,") or link in inside for link in page.links)
    assert page.tags["script"] == page.tags["link"] == 0
    assert not re.search(r"url\(|@import|https?://", water_html)
    assert "default-src &#x27;none&#x27;" in water_html  # and the browser is told to hold it to that


def test_page_is_small(water_html):
    assert len(water_html.encode()) < LIMIT


def test_key_numbers_come_first(page):
    glance = page.text[: page.text.index("Spread is the standard deviation")]
    for words in ("45.2 meV/Å", "5.1 % of the spread", "0.549 meV/atom", "+0.26 meV/atom/ps", "8.0 min", "2000 steps"):
        assert words in glance


def test_page_shows_config_versions_and_backend(page):
    for words in (
        "irreps_hidden: 16x0e+16x1o",
        "steps: null",
        "2.13.0",
        "Backend: fused: the op library is loaded",
        "Radial: tables of 512 knots",
    ):
        assert words in page.text


def test_verdicts_are_words(page, water_report, no_pictures):
    assert "✓ PASS Checks: all 2 passed" in page.text
    assert "✓ PASS Dynamics: completed, 1 ps" in page.text
    broken = CheckRow("inversion, float32", 0.3, 1e-4, "of the rms", passed=False)
    text = Page(render_report(replace(water_report, checks=[*water_report.checks, broken]))).text
    assert "✗ FAIL Checks: 1 of 3 FAILED: inversion, float32" in text
    assert text.index("inversion, float32 0.3 0.0001") < text.index("rotation, float64 3.1e-15")  # failures first


def test_dynamics_stopped_by_the_guard(water_report, no_pictures):
    stopped = replace(water_report.dynamics, stopped="512 eV/Å on atom 7 (H)")
    text = Page(render_report(replace(water_report, dynamics=stopped))).text
    assert "✗ FAIL Dynamics: STOPPED by the guard after 1 ps: 512 eV/Å on atom 7 (H)" in text


def test_dynamics_stopped_before_the_first_step(water_report, no_pictures):
    none = {name: [] for name in ("time", "potential_energy", "kinetic_energy", "temperature")}
    stopped = replace(water_report.dynamics, **none, stopped="the energy is nan")
    text = Page(render_report(replace(water_report, dynamics=stopped))).text
    assert "after 0 ps: the energy is nan" in text and "nothing to draw" in text


def test_what_is_missing_is_said_with_its_reason():
    text = Page(render_report(ReportData("Nothing yet", missing={"dynamics": "md.enabled is false"}))).text
    for words in (
        "No dynamics was run: md.enabled is false.",
        "No frames were tested.",
        "No checks were made.",
        "There is no training history.",
        "There are no radial distribution functions.",
    ):
        assert words in text


def test_the_page_says_how_to_read_each_picture(full_report):
    html = render_report(full_report)
    page = Page(html)
    assert page.tags["img"] == page.tags["figcaption"] == 10
    assert all(len(words) > 60 for words in re.findall(r"<figcaption>(.*?)</figcaption>", html))
    assert len(html.encode()) < LIMIT


def test_new_parts_are_shown_with_their_numbers(full_report, no_pictures):
    text = Page(render_report(full_report)).text
    for words in (
        "Speed of training 4.17 steps/s 37500 edges/s",
        "Errors by group. group frames energy MAE (meV/atom)",
        "q.npz frame 0 gap 0.1 eV 0.02",
        "alpha 2e a0^3",
        "Multiply their spread by 2.00",
        "C0–C1 (dihedral H2–C0–C1–H5)",
        "water.npz frame",
    ):
        assert words in text


def test_the_view_is_linked_where_it_was_written(tmp_path, water_report, no_pictures, monkeypatch):
    assert [file.name for file in write_report(tmp_path / "r.html", water_report)] == ["r.html", "r_3d.html"]
    html = (tmp_path / "r.html").read_text()
    assert '<a href="r_3d.html">' in html and "script-src" not in html
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    assert [file.name for file in write_report(tmp_path / "r.html", water_report)] == ["r.html"]
    text = Page((tmp_path / "r.html").read_text()).text
    assert "the view in three dimensions needs plotly" in text and "irrepnet[report]" in text
    assert '<a href="r_3d.html">' not in (tmp_path / "r.html").read_text()  # it is of an earlier report,
    assert (tmp_path / "r_3d.html").exists()  # and may be all that there is


def test_a_page_that_is_not_ours_stays(tmp_path, water_report, no_pictures):
    (tmp_path / "r_3d.html").write_text("my own")
    for data in (water_report, replace(water_report, structures=[])):
        assert [file.name for file in write_report(tmp_path / "r.html", data)] == ["r.html"]
        assert (tmp_path / "r_3d.html").read_text() == "my own"
    assert view_obstacle(tmp_path / "r.html", water_report).startswith("r_3d.html is another file, and stays")


def test_a_view_of_structures_that_are_no_more_goes(tmp_path, water_report, no_pictures):
    write_report(tmp_path / "r.html", water_report)
    write_report(tmp_path / "r.html", replace(water_report, structures=[]))
    assert not (tmp_path / "r_3d.html").exists()


@pytest.mark.parametrize("name", ["a$b$", "$\\frac{$", "$x"])
def test_dollars_in_names_are_letters(name):
    gap = TargetParity(name, name, [5.0, 6.0], [5.1, 5.9])
    html = render_report(ReportData(name, targets=[gap]))
    assert "could not be drawn" not in html and html.count("data:image/png") == 1


def test_a_picture_that_fails_does_not_lose_the_page(water_report, monkeypatch):
    def fail(*_):
        raise RuntimeError("no font")

    monkeypatch.setattr("irrepnet.report.pieces.png_bytes", fail)
    text = Page(render_report(water_report)).text
    assert "Learning curves: could not be drawn (RuntimeError: no font)." in text and "Checks: all 2 passed" in text


def test_errors_on_validation_frames_are_called_so(water_report, no_pictures):
    assert "Errors on the test frames" in Page(render_report(water_report)).text
    text = Page(render_report(replace(water_report, tested_on="validation"))).text
    assert "Errors on the validation frames" in text and "Errors on the test frames" not in text


def test_labels_that_are_nowhere_known_and_checks_without_a_number(no_pictures):
    unknown = Parity([np.nan], [-1.1], np.full((3, 3), np.nan), np.eye(3), [8, 1, 1], atom_counts=[3])
    check = CheckRow("rotation", None, 1e-10, "of the rms", passed=False)
    text = Page(render_report(ReportData("a", parity=unknown, checks=[check]))).text
    assert "rotation – 1e-10 of the rms" in text and "could not be drawn" not in text


def test_dynamics_with_a_thermostat_is_told_and_has_no_drift(water_report, no_pictures):
    warm = replace(water_report.dynamics, ensemble="nvt", target_temperature=300.0)
    text = Page(render_report(replace(water_report, dynamics=warm))).text
    assert "192 atoms, thermostat at 300 K, 1 ps." in text
    assert "Energy drift" not in text


def test_missing_stress_is_said(page):
    assert "no stress labels" in page.text


def test_everything_is_escaped(water_report, no_pictures):
    evil = "<script>alert('x')</script> & \"quotes\""
    html = render_report(
        replace(
            water_report,
            title=evil,
            summary=evil,
            structures=[replace(water_report.structures[0], source=evil)],
            checks=[CheckRow(evil, 0.0, 1.0, evil, True)],
            config={evil: [evil]},
            versions={evil: evil},
            backend=evil,
            rdfs=[replace(water_report.rdfs[0], pair="<b>")],
            dynamics=replace(water_report.dynamics, stopped=evil),
        )
    )
    page = Page(html)
    assert page.tags["script"] == page.tags["b"] == 0
    assert evil in page.text
    view = Page(render_structure_view(evil, [replace(water_report.structures[0], source=evil)]))
    assert view.tags["script"] == 3 and evil.rsplit("/", 1)[-1] in view.text


def test_without_matplotlib_the_page_is_written_in_words(water_report, no_pictures):
    page = Page(render_report(water_report))
    assert page.tags["img"] == 0
    assert "pictures need matplotlib" in page.text and "45.16" in page.text


def test_report_is_written_whole_or_not_at_all(tmp_path, water_report, no_pictures, monkeypatch):
    water_report = replace(water_report, structures=())
    write_report(tmp_path / "report.html", water_report)
    before = (tmp_path / "report.html").read_bytes()
    assert before.decode() == render_report(water_report)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk gone")))
    with pytest.raises(OSError, match="disk gone"):
        write_report(tmp_path / "report.html", ReportData("new"))
    assert (tmp_path / "report.html").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
