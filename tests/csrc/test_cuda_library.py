"""The CUDA library compiles, holds code for its GPUs and registers its kernels. Nothing here runs on a GPU."""

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "cuda"
HOME = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
NVCC = shutil.which("nvcc", path=str(Path(HOME, "bin"))) if HOME else shutil.which("nvcc")
pytestmark = [
    pytest.mark.skipif(NVCC is None, reason="found no nvcc on PATH nor in CUDA_HOME: the .cu files are not compiled"),
    pytest.mark.timeout(900),  # the first test compiles them for three targets
]

LOAD = """
import ctypes, sys, torch
import irrepnet.ops.spherical_harmonics
ctypes.CDLL(sys.argv[2])  # stands in for libtorch_cuda.so, which only a PyTorch with CUDA has
torch.ops.load_library(sys.argv[1])
ops = sorted(name for name in torch._C._dispatch_get_all_op_names() if name.startswith("irrepnet::"))
print(*(name for name in ops if torch._C._dispatch_has_kernel_for_dispatch_key(name, "CUDA")))
"""


@pytest.fixture(scope="module")
def library():
    """The library, built again if a source is newer."""
    file = BUILD / "irrepnet" / "_ops_cuda.abi3.so"
    sources = [ROOT / "setup.py", *(path for path in (ROOT / "csrc").rglob("*") if path.is_file())]
    if not file.exists() or file.stat().st_mtime < max(path.stat().st_mtime for path in sources):
        command = ["setup.py", "-q", "build_ext", "--build-lib", BUILD, "--build-temp", BUILD / "temp"]
        env = os.environ | {"IRREPNET_CUDA": "only", "IRREPNET_REQUIRE_EXT": "1"}
        process = subprocess.run(
            [sys.executable, *map(str, command)], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )
        assert process.returncode == 0, process.stdout + process.stderr
        assert "warning" not in process.stderr, process.stderr
    return file


def device_code(data):
    """Yield (kind, architecture) of each piece of device code in a file, as nvcc's fatbinary format says."""
    magic, start = struct.pack("<I", 0xBA55ED50), 0
    while (start := data.find(magic, start)) >= 0:
        header, size = struct.unpack_from("<HQ", data, start + 6)
        entry, end = start + header, start + header + size
        while entry < end:
            kind, _, length, payload = struct.unpack_from("<HHIQ", data, entry)
            yield {1: "ptx", 2: "sm"}[kind], struct.unpack_from("<I", data, entry + 28)[0]
            entry += length + payload
        start = end


def test_code_for_a100_h100_and_what_is_newer(library):
    found = set(device_code(library.read_bytes()))
    assert found == {("sm", 80), ("sm", 90), ("ptx", 90)}


def test_needs_of_pytorch_only_the_stable_interface(library):
    """Anything of C++ would tie the library to one version of PyTorch."""
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("needs nm")
    symbols = subprocess.run([nm, "-D", "--undefined-only", library], capture_output=True, text=True, check=True).stdout
    names = [line.split()[-1] for line in symbols.splitlines()]
    assert [name for name in names if name.startswith(("_ZN2at", "_ZNK2at", "_ZN3c10", "_ZNK3c10", "_ZN5torch"))] == []
    assert [name for name in names if name.startswith("cuda")] == []  # the runtime is inside
    assert "aoti_torch_get_current_cuda_stream" in names


def test_registers_its_kernels(library):
    """In a process of its own, because a library cannot be unloaded."""
    command = [sys.executable, "-c", LOAD, library, BUILD / "temp" / "libtorch_cuda.so"]
    process = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    convolution = ["convolve", "convolve_backward", "convolve_second"]
    harmonics = ["", "_backward", "_double_backward", "_gradient_g", "_gradient_r", "_gradient_v"]
    expected = [*convolution, *(f"spherical_harmonics{name}" for name in harmonics)]
    assert process.stdout.split() == [f"irrepnet::{name}" for name in expected]
