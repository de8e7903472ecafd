"""What a build leaves behind, with and without a compiler; everything happens in a copy of the source tree."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BROKEN = {"CC": "/bin/false", "CXX": "/bin/false"}
# What a build sees that pip isolates from the environment: setuptools, but no torch.
HIDE_TORCH = """
import importlib.util as util
real = util.find_spec
util.find_spec = lambda name, package=None: None if name == "torch" else real(name, package)
"""
HIDE_TORCH_VERSION = """
import importlib.metadata as metadata
real = metadata.version
def version(name):
    if name == "torch":
        raise metadata.PackageNotFoundError(name)
    return real(name)
metadata.version = version
"""
USE = """
import torch, irrepnet
from irrepnet.ops import library_status, spherical_harmonics
print(irrepnet.__file__)
print(library_status().loaded, library_status().reason)
print(spherical_harmonics(torch.ones(2, 3), 2).shape)
"""


@pytest.fixture
def tree(tmp_path):
    """A copy of the sources, with what an editable build would have left in it."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in ("csrc", "irrepnet"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("*.so", "*.npz", "__pycache__"))
    (tree / "irrepnet" / "_ops.abi3.so").write_text("left by an earlier build")
    (tree / "irrepnet" / "_build_info.json").write_text('{"reason": "left by an earlier build"}')
    return tree


def run(*command, cwd, **env):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("IRREPNET") and k not in BROKEN}
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=cwd, env=clean | env, capture_output=True, text=True, check=False
    )


def build_wheel(tree, **env):
    """Build with pip; return the finished process and the wheel, if there is one."""
    out = tree / "dist"
    shutil.rmtree(out, ignore_errors=True)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    process = run("-m", "pip", "wheel", *options, "-w", out, ".", cwd=tree, **env)
    return process, next(iter(out.glob("*.whl")), None)


def note_in(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return json.loads(archive.read("irrepnet/_build_info.json"))["reason"]


def libraries_in(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return [name for name in archive.namelist() if name.endswith(".so")]


def use(wheel, folder):
    """Unpack the wheel and use it from there; return what it prints."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    process = run("-c", USE, cwd=folder, PYTHONPATH=str(folder))
    assert process.returncode == 0, process.stderr
    home, status, shape = process.stdout.splitlines()
    assert Path(home).is_relative_to(folder)
    assert shape == "torch.Size([2, 9])"
    return status


def assert_pure(wheel, reason):
    assert wheel.name.endswith("-py3-none-any.whl")
    assert libraries_in(wheel) == []
    assert reason in note_in(wheel)


def test_without_extension_on_request(tree, tmp_path):
    process, wheel = build_wheel(tree, IRREPNET_NO_EXT="1")
    assert process.returncode == 0, process.stdout + process.stderr
    assert_pure(wheel, "it was built with IRREPNET_NO_EXT")
    assert use(wheel, tmp_path / "site").startswith("False irrepnet has no op library: it was built with IRREPNET_NO_")


def test_without_compiler(tree):
    process, wheel = build_wheel(tree, **BROKEN)
    assert process.returncode == 0, process.stdout + process.stderr
    assert_pure(wheel, "its build failed (")


def test_without_torch_in_sight(tree, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HIDE_TORCH)
    process, wheel = build_wheel(tree, PYTHONPATH=str(tmp_path))
    assert process.returncode == 0, process.stdout + process.stderr
    assert_pure(wheel, "PyTorch was not in sight of its build")


def test_a_required_extension_that_fails_is_an_error(tree):
    process, wheel = build_wheel(tree, IRREPNET_REQUIRE_EXT="1", **BROKEN)
    assert process.returncode != 0
    assert wheel is None
    assert "IRREPNET_REQUIRE_EXT is set, but irrepnet has no op library: its build failed" in process.stderr


@pytest.mark.timeout(900)  # it compiles all kernels
@pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="needs a C++ compiler")
def test_with_extension_then_without(tree, tmp_path):
    """One Python-free library for every Python; a later build without it takes nothing over from this one."""
    process, wheel = build_wheel(tree, IRREPNET_REQUIRE_EXT="1")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "-cp310-abi3-linux_" in wheel.name
    assert libraries_in(wheel) == ["irrepnet/_ops.abi3.so"]
    with zipfile.ZipFile(wheel) as archive:
        assert "irrepnet/_build_info.json" not in archive.namelist()
        library = archive.read("irrepnet/_ops.abi3.so")
    assert library.startswith(b"\x7fELF")
    assert b"PyInit" not in library and b"libpython" not in library
    assert use(wheel, tmp_path / "site").startswith(f"True the op library {tmp_path / 'site'}")
    assert_pure(build_wheel(tree, IRREPNET_NO_EXT="1")[1], "IRREPNET_NO_EXT")


def test_an_editable_build_leaves_its_note_in_the_tree(tree):
    process = run("setup.py", "-q", "build_ext", "--inplace", cwd=tree, IRREPNET_NO_EXT="1")
    assert process.returncode == 0, process.stderr
    assert not (tree / "irrepnet" / "_ops.abi3.so").exists()
    assert "IRREPNET_NO_EXT" in (tree / "irrepnet" / "_build_info.json").read_text()


def test_an_editable_build_that_fails_leaves_no_stale_library(tree):
    process = run("setup.py", "-q", "build_ext", "--inplace", cwd=tree, IRREPNET_NO_EXT="0", **BROKEN)
    assert process.returncode == 0, process.stderr
    assert not (tree / "irrepnet" / "_ops.abi3.so").exists()
    assert "its build failed (" in (tree / "irrepnet" / "_build_info.json").read_text()


def test_a_pytorch_without_a_version_is_a_reason(tree, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HIDE_TORCH_VERSION)
    process = run("setup.py", "-q", "build_ext", "--inplace", cwd=tree, PYTHONPATH=str(tmp_path))
    assert process.returncode == 0, process.stderr
    assert "was not installed and has no version" in (tree / "irrepnet" / "_build_info.json").read_text()


def test_source_distribution_holds_all_sources(tree):
    code = "from setuptools import build_meta; print(build_meta.build_sdist('dist'))"
    process = run("-c", code, cwd=tree)
    assert process.returncode == 0, process.stderr
    shutil.unpack_archive(tree / "dist" / process.stdout.split()[-1], tree / "unpacked")
    (home,) = (tree / "unpacked").iterdir()
    packed = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
    sources = {str(path.relative_to(tree)) for path in (tree / "csrc").rglob("*") if path.is_file()}
    assert sources <= packed
    assert {"setup.py", "pyproject.toml", "LICENSE", "irrepnet/errors.py"} <= packed
    assert not [name for name in packed if name.endswith((".so", "_build_info.json"))]
