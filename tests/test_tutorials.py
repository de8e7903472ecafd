"""The tutorials run, as a reader would run them; they assert what they say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).parents[1] / "tutorials"
SCRIPTS = sorted(TUTORIALS.glob("[0-9][0-9]_*.py"))
SECONDS = 240


def run(*command, folder):
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    result = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_tutorials_are_numbered_without_a_gap():
    assert [script.name[:2] for script in SCRIPTS] == [f"{number:02d}" for number in range(1, len(SCRIPTS) + 1)]
    assert len(SCRIPTS) >= 3


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_tutorial_runs(script, tmp_path):
    assert script.read_text(encoding="utf-8").startswith("# %% [markdown]\n# # ")
    run(script, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []  # it leaves nothing where it was started


def test_test_file_to_copy_passes_where_it_is_copied_to(tmp_path):
    copy = tmp_path / "test_my_layer.py"
    copy.write_bytes((TUTORIALS / copy.name).read_bytes())
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", copy, folder=tmp_path)
