"""Configuration files: YAML in, a validated :class:`RunConfig` out, and one line for each mistake."""

from __future__ import annotations

import difflib
import reprlib
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from irrepnet.errors import ConfigError
from irrepnet.models.migrations import with_younger_keys
from irrepnet.train.config import ALTERNATIVES, PATHS, RunConfig

__all__ = ["apply_overrides", "describe_config", "load_config", "parse_overrides", "validate_section"]

_LARGEST_FILE = 1_000_000  # bytes; a configuration has a few hundred

# What other programs call our keys, for "Did you mean".
_NAMES_ELSEWHERE = {
    "batch": "batch_size",
    "ema": "ema_decay",
    "epochs": "steps",
    "l_max": "lmax",
    "learning_rate": "lr",
    "max_epochs": "steps",
    "max_grad_norm": "clip_norm",
    "max_ell": "lmax",
    "num_interactions": "num_layers",
    "optimizer": "optimiser",
    "r_max": "cutoff",
    "validation": "valid",
}

AnySection = TypeVar("AnySection", bound=BaseModel)


class _StrictLoader(yaml.SafeLoader):
    """YAML without tags (`!!python/...`), without aliases (which can expand without end) and without repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(
                None, None, "aliases (*name) are not allowed; write the value out", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(None, None, "a key needs to be one word", key_node.start_mark)
            if key_node.value in seen:
                problem = f"key {key_node.value!r} is given twice; keep one"
                raise yaml.MarkedYAMLError(None, None, problem, key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def load_config(path: str | Path, overrides: Sequence[str] = (), *, is_of_run: bool = False) -> RunConfig:
    """Read a training configuration.

    Relative data paths in the file are relative to the file; those in ``overrides`` to the current folder. An override
    of one of two alternatives (``training.steps`` or ``training.minutes``) puts the file's other one out of force.

    Args:
        path: YAML file.
        overrides: Texts ``"training.lr=0.01"``; the value is a YAML scalar or list.
        is_of_run: Whether it is the complete one in the folder of a run, perhaps written by an older irrepnet: keys of
            the model that it lacks have the meaning of then.

    Raises:
        ConfigError: If the file cannot be read or any key or value is wrong; one line per mistake.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "config.yaml")
        ...     _ = file.write_text("data: {train: a.npz}\\ntraining: {steps: 10, lerning_rate: 0.1}")
        ...     load_config(file)
        Traceback (most recent call last):
        irrepnet.errors.ConfigError: config.yaml: training.lerning_rate is not a known key. Did you mean 'lr'?
    """
    path = Path(path)
    tree = _read_yaml(path)
    if is_of_run and isinstance(tree.get("model"), dict):
        tree["model"] = with_younger_keys(tree["model"])
    for section, key in PATHS:
        inside = tree.get(section)
        if isinstance(inside, dict) and isinstance(inside.get(key), str):
            inside[key] = _relative_to(path.parent, inside[key])
    changes = parse_overrides(overrides)
    for keys, value in changes.items():
        if keys in PATHS and isinstance(value, str):
            changes[keys] = _relative_to(Path(), value)
    for pair in ALTERNATIVES:
        for chosen, other in (pair, pair[::-1]):
            if changes.get(chosen) is not None:
                changes.setdefault(other, None)
    apply_overrides(tree, changes)
    return validate_section(RunConfig, tree, source=path.name, overridden=changes)


def parse_overrides(texts: Sequence[str]) -> dict[tuple[str, ...], Any]:
    """Turn ``"a.b=c"`` texts into a mapping from key paths to values.

    Raises:
        ConfigError: If a text has no ``=``, an empty key or a value that is not YAML.

    Example:
        >>> parse_overrides(["training.lr=1e-3", "md.enabled=false"])
        {('training', 'lr'): '1e-3', ('md', 'enabled'): False}
    """
    changes = {}
    for text in texts:
        dotted, equals, value = text.partition("=")
        keys = tuple(dotted.strip().split("."))
        if not equals or not all(keys):
            raise ConfigError(
                f"--set needs section.key=value; found {text!r}; write for example --set training.lr=0.005"
            )
        try:
            changes[keys] = yaml.load(value, _StrictLoader)
        except (
            yaml.YAMLError,
            RecursionError,
            ValueError,
            TypeError,
        ) as error:  # the last two: no such day, no such int
            raise ConfigError(f"--set {dotted} needs a YAML value; found {value!r}; {_first_line(error)}") from None
    return changes


def apply_overrides(tree: dict[str, Any], changes: dict[tuple[str, ...], Any]) -> None:
    """Write the changes into a tree of mappings, in place.

    Raises:
        ConfigError: If a key path runs through something that is not a section.

    Example:
        >>> tree = {"training": {"lr": 0.1}}
        >>> apply_overrides(tree, {("training", "lr"): 0.2, ("md", "steps"): 5})
        >>> tree
        {'training': {'lr': 0.2}, 'md': {'steps': 5}}
    """
    for keys, value in changes.items():
        node = tree
        for depth, key in enumerate(keys[:-1], start=1):
            if node.get(key) is None:  # `training:` with nothing below it is an empty section
                node[key] = {}
            child = node[key]
            if not isinstance(child, dict):
                raise ConfigError(f"--set {'.'.join(keys)}: {'.'.join(keys[:depth])} is a value, not a section")
            node = child
        node[keys[-1]] = value


def validate_section(
    section: type[AnySection], tree: Any, *, source: str, overridden: dict[tuple[str, ...], Any] | None = None
) -> AnySection:
    """Validate a tree of plain values against a section class.

    Args:
        section: The pydantic class.
        tree: Mappings, lists and scalars, as YAML gives them.
        source: What the messages start with, a file name.
        overridden: Key paths that came from the command line; their messages start with ``--set``.

    Raises:
        ConfigError: With one line per mistake.

    Example:
        >>> from irrepnet.train.config import MDConfig
        >>> validate_section(MDConfig, {"timestep": -1}, source="a.yaml")
        Traceback (most recent call last):
        irrepnet.errors.ConfigError: a.yaml: timestep: input should be greater than 0; found -1
    """
    try:
        return section.model_validate(tree)
    except ValidationError as error:
        lines = []
        for details in error.errors():
            keys = tuple(str(key) for key in details["loc"])
            given = any(keys[: len(changed)] == changed for changed in overridden or ())
            lines.append(f"{'--set' if given else source}: {_explain(section, details, tree)}")
        raise ConfigError("\n".join(dict.fromkeys(lines))) from None


def describe_config(section: type[BaseModel] = RunConfig) -> str:
    """Return every key with its type, default and one line of help.

    Example:
        >>> next(line for line in describe_config().splitlines() if "md.timestep" in line)
        '  md.timestep = 0.5                          time step, fs [float]'
    """
    lines = []
    for name, field in section.model_fields.items():
        for inner in _sections_of(field.annotation):
            kind = _kind(inner) if name == "model" else None
            lines += ["", f"{name}: {field.description}" + (f" (kind: {kind})" if kind else "")]
            for key, default, type_name, text in _keys(inner, name + "."):
                lines.append(f"  {key + ' = ' + default:<42} {text} [{type_name}]")
    return "\n".join(lines[1:])


def _keys(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield key, default, type and help; the keys of a list of sections have ``[]`` before the dot."""
    for name, field in sorted(section.model_fields.items(), key=lambda item: item[0] != "kind"):  # it says the others
        key = prefix + (field.alias or name)
        inner = _sections_of(field.annotation)
        if inner:
            is_list = "tuple" in str(field.annotation)
            yield from _keys_of_any(inner, f"{key}[]." if is_list else f"{key}.")
            continue
        default = "(needed)" if field.is_required() else _yaml_scalar(field.get_default(call_default_factory=True))
        yield key, default, _type_name(field.annotation), field.description or ""


def _keys_of_any(sections: Sequence[type[BaseModel]], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield the keys of sections of which one is chosen; one that not all have alike says whose it is."""
    found: dict[str, dict[tuple[str, str, str], list[str]]] = {}
    for section in sections:
        choice = next((_type_name(f.annotation) for f in section.model_fields.values() if _is_choice(f)), "")
        for key, *rest in _keys(section, prefix):
            default, type_name, text = rest
            found.setdefault(key, {}).setdefault((default, type_name, text), []).append(choice)
    for key, variants in found.items():
        if all(choices == [type_name] for (_, type_name, _), choices in variants.items()):  # what chooses
            words = "; ".join(f"{type_name}: {text}" for _, type_name, text in variants)
            default = next(iter(variants))[0]
            yield key, default, "|".join(type_name for _, type_name, _ in variants), words
            continue
        for (default, type_name, text), choices in variants.items():
            whose = "" if len(choices) == len(sections) else f" ({', '.join(choices)})"
            yield key, default, type_name, text + whose


def _is_choice(field: Any) -> bool:
    return typing.get_origin(field.annotation) is typing.Literal and field.is_required()


def _sections_of(annotation: Any) -> list[type[BaseModel]]:
    """Return the section classes in ``Section``, ``Section | None``, ``tuple[Section, ...]`` or a union of kinds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for part in typing.get_args(annotation) for section in _sections_of(part)]


def _type_name(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("null" if kind is type(None) else _type_name(kind) for kind in arguments)
    if origin is typing.Annotated:
        return _type_name(arguments[0])
    if origin is typing.Literal:
        return "|".join(str(choice) for choice in arguments)
    if origin is dict:
        return f"{_type_name(arguments[0])}: {_type_name(arguments[1])}"
    if origin is not None:
        return f"list of {_type_name(arguments[0])}" if arguments else "list"
    return {"str": "text", "int": "int", "float": "float", "bool": "bool"}.get(annotation.__name__, annotation.__name__)


def _yaml_scalar(value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def _relative_to(folder: Path, text: str) -> str:
    return text if text.startswith(("package:", "set:")) else str((folder / Path(text).expanduser()).absolute())


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{path}: needed a configuration file; found none there; check the path")
    if path.stat().st_size > _LARGEST_FILE:
        raise ConfigError(
            f"{path}: needed a configuration below 1 MB; found {path.stat().st_size} bytes; is it a data file?"
        )
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:  # also text that is not UTF-8
        raise ConfigError(f"{path.name}: needed plain YAML; {_first_line(error)}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path.name}: needed sections (model, data, training); found {type(tree).__name__}")
    return tree


def _first_line(error: Exception) -> str:
    """Shorten a parser's story to one line: what, and where."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark
        return f"{error.problem}{f' (line {mark.line + 1}, column {mark.column + 1})' if mark else ''}"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _explain(section: type[BaseModel], details: ErrorDetails, tree: Any) -> str:
    *parents, last = (str(key) for key in details["loc"]) if details["loc"] else ("",)
    dotted = ".".join([*parents, last])
    if details["type"] == "extra_forbidden":
        return f"{dotted} is not a known key.{_nearest_key(_descend(section, parents, tree), last)}"
    if details["type"] == "missing":
        return f"{dotted} is needed; found nothing; add it"
    message = details["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:] if not message[:2].isupper() else message
    if details["type"] == "value_error":
        return f"{dotted}: {message}" if dotted else message
    return f"{dotted}: {message}; found {reprlib.repr(details['input'])}"


def _descend(section: type[BaseModel], keys: Sequence[str], tree: Any) -> type[BaseModel]:
    """Return the section that a path leads to; where there is one class per ``kind``, the one that the tree names."""
    for key in keys:  # a number is a place in a list of sections
        tree = tree.get(key) if isinstance(tree, dict) else None
        inner = _sections_of(section.model_fields[key].annotation) if key in section.model_fields else []
        of_kind = [one for one in inner if isinstance(tree, dict) and tree.get("kind") == _kind(one)]
        section = next(iter(of_kind or inner), section)
    return section


def _kind(section: type[BaseModel]) -> Any:
    return section.model_fields["kind"].default if "kind" in section.model_fields else None


def _nearest_key(section: type[BaseModel], word: str) -> str:
    """Look among the section's keys, and among the names that other programs have for them."""
    names = {foreign: ours for foreign, ours in _NAMES_ELSEWHERE.items() if ours in section.model_fields}
    names.update({key: key for key in (field.alias or name for name, field in section.model_fields.items())})
    nearest = difflib.get_close_matches(word, names, n=1)
    return f" Did you mean {names[nearest[0]]!r}?" if nearest else ""
