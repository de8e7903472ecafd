"""Pages that are made from the package itself: what commands, keys and data sets there are, and the tutorials."""

from __future__ import annotations

import argparse
import importlib
import inspect
import shutil
from pathlib import Path
from typing import Any

import jupytext

from irrepnet.cli.main import build_parser
from irrepnet.data.sets.registry import SETS
from irrepnet.train.config_file import describe_config

__all__ = [
    "command_line_page",
    "configuration_page",
    "data_sets_listing",
    "join_property",
    "read_tutorial",
    "resolve_at_face",
    "shorten_signature",
    "skip_inherited_lists",
    "write_pages",
]


def write_pages(docs: Path) -> None:
    """Write ``gallery/`` (copies of the tutorials) and ``generated/``; files that have not changed are not touched."""
    tutorials = docs.parent / "tutorials"
    for path in (*tutorials.glob("[0-9][0-9]_*.py"), *tutorials.glob("*.yaml"), *tutorials.glob("design/*.md")):
        _write(docs / "gallery" / path.relative_to(tutorials), path.read_text(encoding="utf-8"))
    (docs / "_static").mkdir(exist_ok=True)
    shutil.copyfile(tutorials / "report.png", docs / "_static" / "report.png")
    _write(docs / "generated" / "command_line.md", command_line_page())
    _write(docs / "generated" / "configuration.md", configuration_page())
    _write(docs / "generated" / "data_sets.inc.md", data_sets_listing())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def command_line_page() -> str:
    """Return the help of every command."""
    parser = build_parser()
    parts = ["# Command line", "As `irrepnet --help` and `irrepnet COMMAND --help` print it.", _verbatim(parser)]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                parts += [f"## irrepnet {name}", _verbatim(command)]
    return "\n\n".join(parts) + "\n"


def _verbatim(parser: argparse.ArgumentParser) -> str:
    return f"```text\n{parser.format_help().rstrip()}\n```"


def configuration_page() -> str:
    """Return every key of a configuration, with its default, unit and meaning, one table for each section."""
    parts = [
        "# Configuration",
        "Every key of the YAML file that `irrepnet train` takes, as `irrepnet train --help-config` prints it. "
        "`--set training.lr=0.005` changes one for a run. `[]` stands for each entry of a list.",
    ]
    for section in describe_config().split("\n\n"):
        heading, *lines = section.splitlines()
        name, _, meaning = heading.partition(": ")
        meaning, _, kind = meaning.partition(" (kind: ")
        title = f"{name}, kind: {kind.rstrip(')')}" if kind else name
        head = "| key | default | meaning |\n|---|---|---|"
        rows = [f"## {title}", "", f"{meaning[:1].upper()}{meaning[1:]}.", "", head]
        for line in lines:
            key, _, rest = line.strip().partition(" = ")
            default, _, text = rest.partition("  ")
            if not text:  # no padding where the default is long
                default, _, text = rest.partition("] ") if rest.startswith("[") else rest.partition(" ")
                default += "]" if rest.startswith("[") else ""
            rows[-1] += f"\n| `{key}` | `{default}` | {_cell(text)} |"
        parts += ["\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def data_sets_listing() -> str:
    """Return a section for each registered data set."""
    parts = []
    for data_set in SETS.values():
        names = [f"`set:{data_set.name}/{member}`".replace("/`", "`") for member in data_set.members]
        labels = ", ".join(f"{label} ({unit})" for label, unit in data_set.units.items())
        rows = {
            "names": ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else ""),
            "structures": data_set.structures,
            "labels": labels,
            "note": data_set.notes,
            "licence": data_set.licence,
            "to cite": data_set.citation,
        }
        listing = "\n".join(f"- {what}: {_cell(text)}" for what, text in rows.items() if text)
        text = f"{data_set.description[:1].upper()}{data_set.description[1:]}."
        parts.append(f"## {data_set.name}\n\n{_cell(text)}\n\n{listing}")
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.strip().replace("|", "\\|").replace("\n", " ").replace("<", "&lt;").replace("*", "\\*")


def skip_inherited_lists(app: Any, what: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what is said of fields elsewhere: pydantic's settings, numbers of fields; for Sphinx to call."""
    is_number_of_field = (inspect.getdoc(member) or "").startswith("Alias for field number")
    return True if name == "model_config" or is_number_of_field else None


def join_property(app: Any, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
    """Undo what Napoleon makes of a property's sentence with a colon, a type and a text; for Sphinx to call."""
    if what == "property" and lines and lines[-1].startswith(":type:"):
        before = lines.pop().removeprefix(":type:").strip()
        lines[0] = f"{before}: {lines[0]}"


def shorten_signature(
    app: Any, what: str, name: str, item: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str, str | None] | None:
    """Show no defaults where they are whole sections of a configuration; for Sphinx to call."""
    if signature is None or len(signature) < 400:
        return None
    return "({})".format(", ".join(inspect.signature(item).parameters)), returns


def resolve_at_face(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Find the entry of ``irrepnet.room.file.Name``, documented as ``irrepnet.room.Name``; for Sphinx to call."""
    if node.get("refdomain") != "py":
        return None
    package, *path = node["reftarget"].split(".")
    for end in range(len(path), 1, -1):
        module = ".".join((package, *path[:end]))
        try:
            importlib.import_module(module)
        except ImportError:
            continue
        target = ".".join((package, path[0], *path[end:]))
        domain = env.get_domain("py")
        return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], target, node, contnode)
    return None


def read_tutorial(text: str) -> Any:
    """Return the notebook of a script in cells, which says that its language is Python; for MyST-NB to call."""
    notebook = jupytext.reads(text, fmt="py:percent")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    return notebook
