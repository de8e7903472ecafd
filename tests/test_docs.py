"""The pages of the documentation: their commands and code run, and every command, key and file that they name is there.

Blocks below the line ``<!-- run -->`` are run, page by page, on small data and with small budgets.
"""

import ast
import importlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml

import irrepnet
from irrepnet.cli.main import build_parser, main
from irrepnet.data import Units, read_frames, write_frames
from irrepnet.train import describe_config

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(path for folder in (".", "how-to", "api", "reference") for path in (DOCS / folder).glob("*.md"))
BLOCK = re.compile(r"(<!-- run -->\n)?```(\w+)\n(.*?)```", re.DOTALL)
SECTIONS = "model|data|training|md|report"
KEYS = set(re.findall(rf"^  ((?:{SECTIONS})\.[\w.\[\]]+) =", describe_config(), re.MULTILINE))

SMALL_RUN = [
    "training.steps=2",
    "training.lr=0.001",  # two large steps from nowhere may end where forces are nearly zero, which the checks refuse
    "training.minutes=null",
    "training.validate_every_steps=2",
    "md.steps=2",
]
SMALL_MODEL = ["model.irreps_hidden=4x0e+4x1o", "model.num_layers=1", "model.lmax=1"]
EV = Units(energy="eV", length="angstrom")
FEWER = {"--members": "2", "--sizes": "2", "--seeds": "1"}


def name(page):
    return str(page.relative_to(DOCS))


def blocks(page, language):
    """Return the text of each block of a language, and whether it is to be run."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(text, bool(mark)) for mark, kind, text in found if kind == language]


def commands(text):
    """Return the arguments of each ``irrepnet`` command of a block, also behind ``torchrun ... -m``."""
    lines = text.replace("\\\n", " ").splitlines()
    found = [re.match(r"(?:irrepnet|.*torchrun.* -m irrepnet) (.*)", line) for line in lines]
    return [shlex.split(match.group(1).rstrip("& "), comments=True) for match in found if match]


def key_is_known(key):
    is_section = any(known.startswith((f"{key}.", f"{key}[]")) for known in KEYS)
    return key in KEYS or is_section


def keys_of(tree, prefix):
    for key, value in tree.items():
        path = f"{prefix}.{key}"
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield from (inner for entry in value for inner in keys_of(entry, f"{path}[]"))
        elif isinstance(value, dict) and path not in KEYS:
            yield from keys_of(value, path)
        else:
            yield path


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_is_understood(page):
    for text, _ in blocks(page, "bash"):
        for command in commands(text):
            arguments = build_parser().parse_args(command)
            for override in [*getattr(arguments, "overrides", ()), *re.findall(r"\S+=\S+", _variants(arguments))]:
                assert key_is_known(override.partition("=")[0]), f"{shlex.join(command)}: {override}"


def _variants(arguments):
    return " ".join(getattr(arguments, "variants", ()))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_key_is_known(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(rf"`((?:{SECTIONS})\.[\w.]+)[^`]*`", BLOCK.sub("", text))
    for block, _ in blocks(page, "yaml"):
        named += keys_of(yaml.safe_load(block), "")
    unknown = {key.removeprefix(".") for key in named if not key_is_known(key.removeprefix("."))}
    assert not {key for key in unknown if not key.endswith((".yaml", ".html", ".json", ".npz"))}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_import_is_there(page):
    for text, _ in blocks(page, "python"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("irrepnet"):
                face = importlib.import_module(node.module)
                assert all(hasattr(face, alias.name) for alias in node.names)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page):
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))]
    made = {"generated", "gallery"}  # by conf.py, from the package and the tutorials
    for link in links:
        if "://" not in link and link:
            target = (page.parent / link).resolve().relative_to(DOCS)
            if target.parts[0] == "gallery":
                target = Path("../tutorials", *target.parts[1:])
            if target.parts[0] == "_static":
                target = Path("../tutorials", target.name)
            assert target.parts[0] in made or (DOCS / target).exists(), link


def test_every_room_has_a_page_and_every_page_is_listed():
    assert {page.stem for page in (DOCS / "api").glob("*.md")} == {"index", *irrepnet.__all__} - {"cli"}
    listed = set()
    for page in PAGES:
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            listed |= {(page.parent / line).resolve() for line in tree.splitlines() if line and line[0] != ":"}
    assert {page for page in PAGES if page.with_suffix("") not in listed} == {DOCS / "index.md"}
    gallery = {path.stem for path in (DOCS.parent / "tutorials").glob("[0-9][0-9]_*.py")}
    assert gallery == {path.name for path in listed if path.parent.name == "gallery"}


def test_pages_made_from_the_package_hold_everything(monkeypatch):
    pytest.importorskip("jupytext")
    monkeypatch.syspath_prepend(DOCS)
    import from_package

    page = from_package.configuration_page()
    assert all(f"| `{key}` |" in page for key in KEYS if ".targets[]" not in key)
    assert all(f"## irrepnet {command}" in from_package.command_line_page() for command in ("train", "study", "doctor"))
    assert all(f"`set:{data_set}" in from_package.data_sets_listing() for data_set in irrepnet.data.SETS)


def small_data():
    """Write what the pages take as the reader's own files, and a few atoms in the place of the water that ships."""
    pytest.importorskip("ase")
    from ase.build import bulk, molecule
    from ase.calculators.emt import EMT
    from ase.io import write

    random = np.random.default_rng(0)

    def labelled(atoms):
        atoms.positions += random.normal(0, 0.04, atoms.positions.shape)
        atoms.calc = EMT()
        atoms.get_forces()
        if atoms.pbc.any():
            atoms.get_stress()
        return atoms

    molecules, metals, waters = [], [], []
    for number in range(15):
        molecules.append(labelled(molecule("CH3OH")))
        molecules[-1].info = {"trajectory": f"run {number // 3}", "dipole": random.normal(size=3)}
        strain = np.eye(3) + random.normal(0, 0.01, (3, 3))
        metals.append(bulk("Cu", cubic=True))
        metals[-1].set_cell(metals[-1].cell.array @ strain, scale_atoms=True)
        labelled(metals[-1])
        waters.append(labelled(molecule("H2O", cell=[9.0, 9.0, 9.0], pbc=True)))
    write("solid.extxyz", metals)
    write("other.extxyz", waters)
    write_frames(read_frames("other.extxyz", units=EV), "water_small.npz")
    write("dipoles.extxyz", molecules)
    for atoms in molecules:
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
    write("mydata.extxyz", molecules)


def small(text):
    """Put the few atoms in the place of the water that ships."""
    return re.sub(r"package:water_xtb/(train|heldout).npz", "water_small.npz", text)


def shortened(command, with_report):
    """Return a command with a small model, a small budget and few frames, where it trains."""
    command = [FEWER.get(before, small(word)) for before, word in zip([None, *command], command, strict=False)]
    if command[0] in ("train", "study", "committee"):
        text = Path(command[1]).read_text(encoding="utf-8")
        changes = [*SMALL_RUN, *([] if "start_from:" in _active(text) else SMALL_MODEL)]
        if "package:water_xtb" in text:
            changes += ["data.train=water_small.npz", "data.valid=water_small.npz"]
        if not with_report:
            changes += ["md.enabled=false", "report.enabled=false"]
        command += [part for change in changes for part in ("--set", change)]
    return [*command, "--trials", "2"] if command[0] == "check-equivariance" else command


def _active(text):
    return "\n".join(line.partition("#")[0] for line in text.splitlines())


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "<!-- run -->" in page.read_text(encoding="utf-8")], ids=name
)
def test_what_the_page_shows_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    small_data()
    names = {}
    whole = page.read_text(encoding="utf-8")
    for mark, language, text in BLOCK.findall(whole):
        if mark and language == "bash":
            assert commands(text)
            for command in commands(text):
                code = main(shortened(command, with_report="irrepnet report" in whole))
                assert code == 0, f"irrepnet {shlex.join(command)}\n" + "".join(capsys.readouterr())[-2000:]
        elif mark:
            assert language == "python"
            exec(compile(small(text), name(page), "exec"), names)
