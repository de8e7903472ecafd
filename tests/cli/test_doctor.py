import importlib.metadata

import torch

from irrepnet.cli import main
from irrepnet.ops._backend import library_status


def test_doctor_says_what_is_installed_and_which_backend_is_active(capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert torch.__version__ in text
    assert library_status().reason in text
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    assert lines["backend"].split()[1] == ("fused:" if library_status().loaded else "reference:")
    assert lines["devices"].split()[1] == "cpu"
    assert lines["threads"].split()[1] == str(torch.get_num_threads())


def test_doctor_says_what_a_missing_package_is_good_for_and_how_to_get_it(capsys, monkeypatch):
    version = importlib.metadata.version

    def without_matplotlib(name):
        if name == "matplotlib":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_matplotlib)
    assert main(["doctor"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "matplotlib" in line]
    assert line.split(None, 1)[1] == 'not installed  pictures of report.html; pip install "irrepnet[report]"'
