"""The tutorial for those who come from e3nn is read by those who have only irrepnet, too."""

import subprocess
import sys
from pathlib import Path

TUTORIAL = Path(__file__).parents[2] / "tutorials" / "04_from_e3nn.py"


def test_it_runs_without_e3nn(tmp_path):
    code = f"import sys, runpy; sys.modules['e3nn'] = None; runpy.run_path({str(TUTORIAL)!r})"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "e3nn is not installed" in result.stdout
