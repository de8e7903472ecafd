import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from irrepnet.errors import BackendError
from irrepnet.ops import _backend
from irrepnet.ops._backend import LibraryStatus, choose, library_status, load

POINTS = torch.zeros(2, 3)


def test_status_is_one_sentence_that_fits():
    status = library_status()
    assert isinstance(status, LibraryStatus)
    assert "\n" not in status.reason
    assert ("is active" in status.reason) == status.loaded
    assert bool(status.devices) == status.loaded


def test_no_library_and_no_note(tmp_path):
    status = load(tmp_path)
    assert not status.loaded and status.path is None
    assert f"none was built in {tmp_path}" in status.reason
    assert "pip install --no-build-isolation" in status.reason


def test_the_note_of_the_build_is_passed_on(tmp_path):
    (tmp_path / "_build_info.json").write_text(json.dumps({"reason": "it was built with IRREPNET_NO_EXT"}))
    assert "no op library: it was built with IRREPNET_NO_EXT; run `pip" in load(tmp_path).reason


@pytest.mark.parametrize("note", ["", "{}", "[1]", "\x00"])
def test_a_damaged_note_is_no_reason_to_fail(tmp_path, note):
    (tmp_path / "_build_info.json").write_text(note)
    assert "no build left a note" in load(tmp_path).reason


def test_a_library_that_does_not_load_says_why(tmp_path, monkeypatch):
    (tmp_path / "_ops.abi3.so").write_bytes(b"this is no library")
    monkeypatch.setattr(_backend, "KERNELS", {})  # as in a process that has loaded none yet
    status = load(tmp_path)
    assert not status.loaded and status.path == str(tmp_path / "_ops.abi3.so")
    assert f"does not load into PyTorch {torch.__version__}: " in status.reason
    assert "_ops.abi3.so: file too short; run `pip" in status.reason or "invalid ELF header" in status.reason


def test_a_library_of_another_version_says_so(monkeypatch):
    if not library_status().loaded:
        pytest.skip(library_status().reason)
    kernels = _backend.KERNELS["spherical_harmonics"]._replace(library_op="op_of_tomorrow")
    monkeypatch.setitem(_backend.KERNELS, "tomorrow", kernels)
    status = load(Path(_backend.__file__).parent.parent)
    assert not status.loaded
    assert "is from another version of irrepnet, it lacks op_of_tomorrow" in status.reason


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "none was built in .*no build left a note why"),
        ({"_build_info.json": '{"cuda_reason": "its build found no nvcc"}'}, "its build found no nvcc; run `pip"),
        ({"_ops_cuda.abi3.so": "no library"}, "_ops_cuda.abi3.so does not load into PyTorch"),
    ],
)
def test_a_pytorch_with_cuda_says_why_there_are_no_cuda_kernels(tmp_path, monkeypatch, files, words):
    if not library_status().loaded or torch.version.cuda:
        pytest.skip("needs the op library and a PyTorch without CUDA")
    (tmp_path / "_ops.abi3.so").touch()  # this process has loaded the real one
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    status = load(tmp_path)
    assert status.loaded and status.devices == ("cpu",)
    assert re.search(r"is active \(CPU kernels, none for CUDA: .*" + words, status.reason)


def test_a_tensor_on_cuda_without_cuda_kernels():
    if not library_status().loaded or "cuda" in library_status().devices:
        pytest.skip("needs an op library without CUDA kernels")
    with FakeTensorMode():
        points = torch.empty(2, 3, device="cuda")
    assert choose("auto", "spherical_harmonics", points) == "reference"
    with pytest.raises(BackendError, match=r"for cpu; got a tensor on cuda:0 \(the op library .* is active"):
        choose("fused", "spherical_harmonics", points)


def test_auto_falls_back_and_a_name_does_not(monkeypatch):
    monkeypatch.setattr(_backend, "_STATUS", LibraryStatus(False, None, "irrepnet has no op library: a test", ()))
    assert choose("auto", "spherical_harmonics", POINTS) == "reference"
    assert choose("reference", "spherical_harmonics", POINTS) == "reference"
    with pytest.raises(BackendError, match=r"spherical_harmonics\(backend='fused'\) cannot run: irrepnet has no op"):
        choose("fused", "spherical_harmonics", POINTS)


def test_auto_takes_the_kernels_where_they_serve():
    if not library_status().loaded:
        pytest.skip(library_status().reason)
    assert choose("auto", "spherical_harmonics", POINTS, None) == "fused"
    assert choose("auto", "spherical_harmonics", POINTS, POINTS.bfloat16()) == "reference"
    assert choose("auto", "spherical_harmonics", POINTS.to("meta")) == "reference"
    with pytest.raises(BackendError, match="its kernels take float32, float64; got bfloat16"):
        choose("fused", "spherical_harmonics", POINTS.bfloat16())
    with pytest.raises(BackendError, match="kernels for cpu; got a tensor on meta"):
        choose("fused", "spherical_harmonics", POINTS.to("meta"))


def test_an_op_without_kernels():
    assert choose("auto", "scatter_sum", POINTS) == "reference"
    with pytest.raises(BackendError, match="this op has no fused kernel"):
        choose("fused", "scatter_sum", POINTS)


@pytest.mark.parametrize(("name", "hint"), [("Fused", "Did you mean 'fused'"), ("cuda", "'cuda'"), (None, "None")])
def test_unknown_names(name, hint):
    with pytest.raises(BackendError, match=f"needs backend 'auto', 'reference' or 'fused'; got.*{hint}"):
        choose(name, "spherical_harmonics", POINTS)


def test_importing_an_op_does_not_import_the_compiler():
    """torch._dynamo takes longer to import than torch itself; only torch.compile needs it."""
    code = "import sys, irrepnet.ops.spherical_harmonics; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
