import base64
import hashlib
import html
import json
import re

import numpy as np
import pytest

from irrepnet.report import StructureErrors
from irrepnet.report.page import document
from irrepnet.report.structure_view import render_structure_view, view_data

WATER = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
CELL = 4.0 * np.eye(3)


def structure(**changes):
    fields = {"source": "w.npz frame 7", "species": [8, 1, 1], "pos": WATER}
    forces = {"forces_ref": np.eye(3), "forces_pred": 1.1 * np.eye(3)}
    return StructureErrors(**({**fields, **forces} | changes))


def points(trace):
    return np.array([[np.nan if x is None else x for x in trace[name]] for name in "xyz"]).T


def traces(one):
    return {trace["name"]: trace for trace in view_data([one])["data"]}


@pytest.fixture(scope="module")
def page():
    return render_structure_view("Worst", [structure(), structure(source="w.npz frame 8")])


def test_only_the_scripts_in_the_page_may_run_and_nothing_is_fetched(page):
    policy = html.unescape(re.search(r'Content-Security-Policy" content="(.*?)"', page).group(1))
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'" for code in scripts]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"].split() == hashes and len(hashes) == 2
    assert "http" not in policy and "unsafe-eval" not in policy
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"https?://|<link|\ssrc=|url\(", outside)


def test_a_script_that_would_end_its_own_element_is_refused():
    with pytest.raises(ValueError, match="a script in a page needs to be without"):
        document("a", scripts=["alert('</script>')"])


def test_the_data_in_the_page_are_what_is_drawn(page):
    found = json.loads(re.search(r'id="structure-data">(.*?)</script>', page, flags=re.DOTALL).group(1))
    assert len(found["data"]) == 10
    assert [trace["visible"] for trace in found["data"]] == [True] * 5 + [False] * 5
    buttons = found["layout"]["updatemenus"][0]["buttons"]
    assert [button["label"] for button in buttons] == ["w.npz frame 7", "w.npz frame 8"]
    assert buttons[1]["args"][1] == [False] * 5 + [True] * 5


def test_atoms_have_the_colour_of_their_error_in_mev():
    atoms = traces(structure())["atoms"]
    assert atoms["marker"]["color"] == pytest.approx([100.0, 100.0, 100.0])
    assert atoms["marker"]["colorbar"]["title"]["text"] == "force error (meV/Å)"
    assert "atom 1 (H): error 100 meV/Å" in atoms["text"][1]


def test_arrows_start_at_the_atoms_and_share_one_scale():
    found = traces(structure())
    shafts = {name: points(found[f"{name} force"]).reshape(-1, 3, 3)[:3] for name in ("reference", "predicted")}
    for lines in shafts.values():
        assert lines[:, 0] == pytest.approx(WATER)
    length = {name: np.linalg.norm(lines[:, 1] - lines[:, 0], axis=1) for name, lines in shafts.items()}
    assert length["predicted"] == pytest.approx(1.6 * np.ones(3), abs=1e-3)
    assert length["reference"] == pytest.approx(1.6 / 1.1 * np.ones(3), abs=1e-3)


def test_an_atom_without_force_has_no_arrow():
    none = structure(forces_ref=np.zeros((3, 3)), forces_pred=np.eye(3)[:, [0, 1, 2]])
    assert len(points(traces(none)["reference force"])) == 0


def test_bonds_go_on_across_the_cell():
    across = structure(pos=WATER - [0.5, 0, 0], cell=CELL, pbc=(True, True, True))  # O at 3.5, H at 0.46
    found = traces(across)
    assert points(found["atoms"])[:, 0] == pytest.approx([3.5, 0.46, 3.26])
    halves = points(found["bonds"]).reshape(-1, 3, 3)
    assert len(halves) == 4
    assert np.nanmax(np.linalg.norm(halves[:, 1] - halves[:, 0], axis=1)) < 0.6
    assert len(points(found["cell"]).reshape(-1, 3, 3)) == 12


def test_forces_that_are_not_known_are_left_out():
    unknown = structure(forces_ref=np.array([[1.0, 0, 0], [np.nan] * 3, [0, 0, 1.0]]))
    text = json.dumps(view_data([unknown]), allow_nan=False)
    assert "NaN" not in text
    assert traces(unknown)["atoms"]["marker"]["color"][1] is None
