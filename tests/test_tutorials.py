"""The tutorials run from their first line to their last, as a reader would run them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).parents[1] / "tutorials"


def run(*command, cwd):
    result = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # the tensors are small: threads would only wait for each other
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return result.stdout


@pytest.mark.parametrize("path", sorted(TUTORIALS.glob("[0-9][0-9]_*.py")), ids=lambda path: path.name)
def test_runs(path, tmp_path):
    assert path.read_text(encoding="utf-8").startswith("# %% [markdown]\n# # ")
    assert run(str(path), cwd=tmp_path)


def test_the_test_file_to_copy_works_where_it_is_copied_to(tmp_path):
    (tmp_path / "test_my_layer.py").write_bytes((TUTORIALS / "test_my_layer.py").read_bytes())
    assert "4 passed" in run("-m", "pytest", "-q", "test_my_layer.py", cwd=tmp_path)
