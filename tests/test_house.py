"""The rules of the house as tests: floors, faces, sizes, names, documented examples; and that the checkers do check."""

import ast
import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import irrepnet

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "irrepnet"
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = [name for name in irrepnet.__all__ if name != "errors"]
MOST_LINES = 400
CELLARS = {"utils", "util", "tools", "misc", "common", "helpers", "helper", "lib", "stuff"}

# Public names without an example of their own, and why.
WITHOUT_EXAMPLE = {
    "cli.main": "it is the program: `irrepnet --help` shows examples",
    "ops.EdgeOrder": "what edge_order returns, with its example there",
    "ops.ProductPath": "an entry of ProductPlan, with its example there",
}


def names_of(room):
    return importlib.import_module(f"irrepnet.{room}").__all__


def face_imports(path, root=ROOT):
    """Yield the imports of a file that take a name from a package face instead of the file that defines it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("irrepnet"):
            continue
        folder = ROOT / node.module.replace(".", "/")
        for alias in node.names if folder.is_dir() else ():
            is_module = (folder / f"{alias.name}.py").exists() or (folder / alias.name).is_dir()
            if not is_module:
                yield f"{path.relative_to(root)}:{node.lineno}: from {node.module} import {alias.name}"


def run(*command, cwd):
    return subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def test_nobody_inside_imports_from_a_face():
    assert [line for path in MODULES for line in face_imports(path)] == []


def test_the_face_rule_is_noticed_when_broken(tmp_path):
    planted = tmp_path / "irrepnet" / "planted.py"
    planted.parent.mkdir()
    planted.write_text("def f():\n    from irrepnet.o3 import Irreps\n")
    (line,) = face_imports(planted, tmp_path)
    assert line == "irrepnet/planted.py:2: from irrepnet.o3 import Irreps"


def test_files_are_small():
    folders = ("irrepnet", "csrc", "tests", "tutorials", "benchmarks")
    files = [p for name in folders for p in (ROOT / name).rglob("*") if p.suffix in {".py", ".cpp", ".h", ".cu"}]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_there_are_no_cellars():
    parts = {part for path in MODULES for part in path.relative_to(PACKAGE).with_suffix("").parts}
    assert parts & CELLARS == set()


def test_nothing_is_left_to_do():
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    assert [str(path) for path in MODULES if marks.search(path.read_text(encoding="utf-8"))] == []


def test_faces_and_labels_do_not_import_torch():
    modules = [f"irrepnet.{room}" for room in ROOMS] + ["irrepnet.o3.irreps", "irrepnet.cli.main"]
    code = f"import sys, {', '.join(modules)}\nassert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    result = run("-c", code, cwd=ROOT)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_a_module_whatever_was_imported_before(room):
    for name in names_of(room):
        getattr(importlib.import_module(f"irrepnet.{room}"), name)
    assert isinstance(getattr(irrepnet, room), ModuleType)
    result = run(
        "-c", f"import types\nfrom irrepnet import {room}\nassert isinstance({room}, types.ModuleType)", cwd=ROOT
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_are_documented_with_an_example(room):
    face = importlib.import_module(f"irrepnet.{room}")
    assert (face.__doc__ or "").strip()
    missing = []
    for name in names_of(room):
        thing = getattr(face, name)
        if not (callable(thing) or isinstance(thing, ModuleType)):
            continue  # a table, such as MODELS, is described where it is written
        text = thing.__doc__ or ""
        if isinstance(thing, ModuleType):
            text += "".join(getattr(thing, inner).__doc__ or "" for inner in getattr(thing, "__all__", ()))
        if not text.strip() or (">>>" not in text) != (f"{room}.{name}" in WITHOUT_EXAMPLE):
            missing.append(name)
    assert missing == []


def test_exceptions_from_the_rule_are_of_names_that_exist():
    assert {name for name in WITHOUT_EXAMPLE if name.split(".")[1] not in names_of(name.split(".")[0])} == set()


def test_errors_are_documented():
    from irrepnet import errors

    assert all((getattr(errors, name).__doc__ or "").strip() for name in errors.__all__)


def test_planted_doctest_is_collected_and_fails(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "tests").mkdir()
    (tmp_path / "irrepnet").mkdir()
    (tmp_path / "irrepnet" / "planted.py").write_text(
        'def two():\n    """Return 2.\n\n    >>> two()\n    3\n    """\n    return 2\n'
    )
    result = run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)
    assert result.returncode == 1 and "Expected:\n    3\nGot:\n    2" in result.stdout, result.stdout


def test_floors_hold():
    result = run(
        "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))", cwd=ROOT
    )
    assert result.returncode == 0, result.stdout


def test_planted_uphill_import_is_noticed(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "irrepnet", ignore=shutil.ignore_patterns("*.so", "*.npz", "__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "irrepnet" / "ops" / "scatter.py").open("a") as stream:
        stream.write("\nfrom irrepnet.o3.irreps import Irreps\n")
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    result = run("-c", code, cwd=tmp_path)
    assert result.returncode == 1 and "irrepnet.ops.scatter -> irrepnet.o3.irreps" in result.stdout, result.stdout


def test_one_version_everywhere():
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (version,) = re.findall(r'^version = "(.+)"$', pyproject, flags=re.MULTILINE)
    assert irrepnet.__version__ == version
    assert version in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
