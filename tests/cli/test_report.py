import json
import shutil

import numpy as np
import pytest
import yaml
from train import toy

from irrepnet.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a short training with all that follows it."""
    folder = tmp_path_factory.mktemp("toy")
    tree = toy.tree(folder) | {"md": {"steps": 20, "timestep": 0.2}, "report": {"title": "Toy"}}
    (folder / "toy.yaml").write_text(yaml.safe_dump(tree))
    assert main(["train", str(folder / "toy.yaml"), "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_the_report_made_again_is_the_same_to_the_last_byte(run, capsys):
    before = {name: (run / name).read_bytes() for name in ("report.html", "report_3d.html")}
    for name in before:
        (run / name).unlink()
    assert main(["report", str(run)]) == 0
    assert {name: (run / name).read_bytes() for name in before} == before
    assert f"written: {run / 'report.html'}" in capsys.readouterr().out


def test_the_report_needs_neither_model_nor_data_and_goes_where_it_is_told(run, tmp_path):
    for name in ("log.jsonl", "config.yaml", "evaluation.npz", "md.npz", "report.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").read_text() == (run / "report.html").read_text().replace("report_3d", "page_3d")
    assert not (tmp_path / "report.html").exists()


def test_what_the_run_found_is_in_the_page(run):
    page = (run / "report.html").read_text()
    kept = json.loads((run / "report.json").read_text())
    assert len(kept["structures"]) == 4 and kept["edges_per_step"] > 0
    for words in ("<h1>Toy</h1>", "report_3d.html", "Worst frames", "Torsion scans", "rotation, float64"):
        assert words in page


def test_a_run_that_has_only_begun_has_a_page(run, tmp_path, capsys):
    for name in ("log.jsonl", "config.yaml"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    assert main(["report", str(tmp_path)]) == 0
    assert (
        "no checks: there is no report.json in the folder: the run has not come to its end" in capsys.readouterr().out
    )
    assert "Learning curves" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("out", "words"),
    [("", "found a folder"), ("no/page.html", "found no folder")],
)
def test_a_place_that_cannot_be_written_exits_2(run, tmp_path, capsys, out, words):
    assert main(["report", str(run), "--out", str(tmp_path / out)]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("name", ["best.model", "report.json", "config.yaml", "evaluation.npz"])
def test_files_of_the_run_are_not_replaced(run, capsys, name):
    before = (run / name).read_bytes()
    assert main(["report", str(run), "--out", str(run / name)]) == 2
    assert "--out needs a file to write; found the file that is read" in capsys.readouterr().err
    assert (run / name).read_bytes() == before


def test_the_report_of_an_older_version_is_not_replaced(run, tmp_path, capsys):
    for name in ("config.yaml", "log.jsonl", "metrics.json", "md.npz", "report.html"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    before = (tmp_path / "report.html").read_bytes()
    assert main(["report", str(tmp_path)]) == 2
    assert "its own report.html, which shows more; write for example --out page.html" in capsys.readouterr().err
    assert (tmp_path / "report.html").read_bytes() == before
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "page.html")]) == 0
    assert "Checks: all" in (tmp_path / "page.html").read_text()


def test_a_missing_view_is_told(run, tmp_path, capsys):
    (tmp_path / "page_3d.html").write_text("my own")
    assert main(["report", str(run), "--out", str(tmp_path / "page.html")]) == 0
    assert "no view in three dimensions: page_3d.html is another file" in capsys.readouterr().out


def test_validation_frames_are_not_called_test_frames(run):
    assert json.loads((run / "metrics.json").read_text())["tested_on"] == "validation"
    page = (run / "report.html").read_text()
    assert "Errors on the validation frames" in page and "none to test: errors are those on the validation" in page


def test_another_folder_exits_2(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "needed the folder of a run" in capsys.readouterr().err


def test_dynamics_with_a_thermostat_is_run_kept_and_told(run, tmp_path):
    changes = ["md.ensemble=nvt", "md.friction=20", "md.equilibrate=5", "md.temperature=400"]
    again = [argument for change in changes for argument in ("--set", change)]
    shutil.copytree(run, tmp_path / "run")
    assert main(["train", "--resume", "--out", str(tmp_path / "run"), *again]) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "4 atoms, thermostat at 400 K, 0.004 ps." in page
    with np.load(tmp_path / "run" / "md.npz") as md:
        assert str(md["ensemble"]) == "nvt" and float(md["target_temperature"]) == 400.0
