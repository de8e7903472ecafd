"""README's example runs, and what it names is there."""

import re
from pathlib import Path

import pytest

from irrepnet.cli.main import build_parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_typed_layer_runs_and_checks_itself():
    (example,) = [code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "class Vectors" in code]
    names = {}
    exec(example, names)
    layer, ring, points = names["layer"], names["ring"], names["points"]
    with pytest.raises(AssertionError, match="equivarian"):  # its check is a real one: a vector is not a pseudovector
        names["assert_equivariant"](lambda *x: layer(*x, ring), ["8x0e", "cartesian_points"], "1e", inputs=points)


def test_every_command_is_understood():
    commands = re.findall(r"^irrepnet (.*?)(?:\s+#.*)?$", README, re.MULTILINE)
    assert len(commands) >= 5
    for command in commands:
        build_parser().parse_args(command.split())


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []
