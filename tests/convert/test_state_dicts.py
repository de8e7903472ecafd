"""State dicts written by e3nn, in a process without irrepnet, load here, in a process without e3nn."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from convert.networks import NETWORKS

SCRIPT = Path(__file__).with_name("networks.py")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("states")
    paths = [folder / "e3nn.pt", folder / "irrepnet.pt"]
    for arguments in (("e3nn", paths[0]), ("irrepnet", paths[1], paths[0])):
        command = [sys.executable, str(SCRIPT), *map(str, arguments)]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=folder)
    return [torch.load(path) for path in paths]


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_equal(written, name):
    theirs, ours = (values[name]["values"] for values in written)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_only_learned_weights_are_saved(written, name):
    theirs, ours = (values[name]["state"] for values in written)
    assert set(ours) < set(theirs)
    assert not any("w3j" in key or "mask" in key for key in ours)
    assert any("_w3j_" in key for key in theirs)
