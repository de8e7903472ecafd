"""What a model file holds, in words and numbers with units."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors

from irrepnet.errors import CheckpointError
from irrepnet.models.checkpoint import FORMAT_VERSION, load_model
from irrepnet.models.registry import kind_of

__all__ = ["describe_model", "format_facts", "metric_lines", "size_text"]

_SHOWN = {"step", "valid_loss", "metrics", "units", "metric_units", "torch"}  # keys of metadata that have lines here


def describe_model(path: str | os.PathLike[str]) -> str:
    """Return a page of text on a model file.

    Args:
        path: A file by :func:`~irrepnet.models.save_model`.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it is no sound model file.

    Example:
        >>> import tempfile
        >>> from irrepnet.models import ForceField, ForceFieldConfig, save_model
        >>> model = ForceField(ForceFieldConfig(species=("H", "O"), irreps_hidden="4x0e+4x1o", num_layers=2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_model(model, f"{folder}/water.model")
        ...     text = describe_model(f"{folder}/water.model")
        >>> print(next(line for line in text.splitlines() if line.startswith("cutoff")))
        cutoff           4.5 Å; an atom feels what is up to 9 Å away, after 2 layers
    """
    model: Any = load_model(path)
    return format_facts([*_about_file(Path(path)), *_about_network(model), *_about_training(model.metadata)])


def format_facts(facts: Sequence[tuple[str, str]]) -> str:
    """Return names and texts in two columns; an empty name goes on with what is above.

    Example:
        >>> print(format_facts([("cutoff", "4.5 Å"), ("", "open")]))
        cutoff           4.5 Å
                         open
    """
    return "\n".join(f"{name:<17}{text}".rstrip() for name, text in facts)


def size_text(num_bytes: int) -> str:
    """Return a size as people write it.

    Example:
        >>> size_text(71_807), size_text(2_500_000)
        ('71.8 kB', '2.5 MB')
    """
    return f"{num_bytes / 1e3:.1f} kB" if num_bytes < 1e6 else f"{num_bytes / 1e6:.1f} MB"


def metric_lines(metrics: Mapping[str, float], units: Mapping[str, str]) -> list[str]:
    """Return a line for each label with its errors and their unit.

    Args:
        metrics: ``energy_mae``, ``energy_rmse``, ...
        units: Label -> unit of its errors.

    Example:
        >>> metric_lines({"forces_mae": 31.2, "forces_rmse": 44.4}, {"forces": "meV/Å"})
        ['forces MAE 31.2, RMSE 44.4 meV/Å']
    """
    lines = []
    for label in dict.fromkeys(name.rpartition("_")[0] for name in metrics):
        kinds = [
            f"{kind.upper()} {metrics[f'{label}_{kind}']:.4g}"
            for kind in ("mae", "rmse")
            if f"{label}_{kind}" in metrics
        ]
        if kinds:
            lines.append(f"{label} {', '.join(kinds)} {units.get(label, '(unit not said)')}")
    return lines


def _about_file(path: Path) -> Iterator[tuple[str, str]]:
    """Yield what is known of the file itself; it was found sound before."""
    raw = path.read_bytes()
    try:
        with safetensors.safe_open(path, "pt") as file:
            record = json.loads(file.metadata()["irrepnet"])
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path} changed while it was read: {error}; try again") from error
    is_old = "" if record["format"] == FORMAT_VERSION else f", brought to format {FORMAT_VERSION} when it is read"
    yield "file", f"{path}, {size_text(len(raw))}"
    yield "SHA-256", hashlib.sha256(raw).hexdigest()
    torch = record["metadata"]["extra"].get("torch")
    yield "written by", f"irrepnet {record['irrepnet']}{f', torch {torch}' if torch else ''}"
    yield "file format", f"{record['format']}{is_old}"


def _about_network(model: Any) -> Iterator[tuple[str, str]]:
    config = model.config
    weights = sum(weight.numel() for weight in model.parameters())
    yield "", ""
    yield "kind", kind_of(model)
    yield "weights", f"{weights:,} in {str(model.dtype).removeprefix('torch.')}"
    reach = config.num_layers * config.cutoff
    yield (
        "cutoff",
        f"{config.cutoff:g} Å; an atom feels what is up to {reach:g} Å away, after {config.num_layers} layers",
    )
    yield "neighbours", f"{config.avg_num_neighbors:.4g} per atom on average in its training frames"
    yield (
        "edges",
        f"spherical harmonics up to l = {config.lmax}, {config.num_basis} Bessel functions that decay with power "
        f"{config.radial_decay:g}, {config.radial}",
    )
    for number, irreps in enumerate(model.irreps_layers, start=1):
        yield "layers" if number == 1 else "", f"{number}: {irreps}"
    yield "", ""
    yield "elements", ", ".join(config.species)
    yield from _about_energies(config) if hasattr(config, "shifts") else _about_targets(config)


def _about_energies(config: Any) -> Iterator[tuple[str, str]]:
    for place, (symbol, shift, scale) in enumerate(zip(config.species, config.shifts, config.scales, strict=True)):
        yield "energies" if place == 0 else "", f"{symbol:<3} shift {shift:.6f} eV, scale {scale:.4g} eV"
    yield "", "a shift is the energy of an isolated atom only where training was given these; where they were fitted"
    yield "", "by least squares, only their sum over a composition has a meaning"
    if config.repulsion != "none":
        yield "repulsion", f"{config.repulsion}, ends at {', '.join(f'{end:.3g}' for end in config.ends)} Å"
    yield "predicts", "energy (eV), forces (eV/Å), stress of periodic structures (eV/Å^3)"


def _about_targets(config: Any) -> Iterator[tuple[str, str]]:
    for place, target in enumerate(config.targets):
        unit = f" {target.unit}" if target.unit else ""
        what = getattr(target, "readout", None) or f"tensor {target.formula} of each {target.level}"
        scale = "" if target.scale is None else f", scale {target.scale:.4g}{unit}"
        yield "predicts" if place == 0 else "", f"{target.name}{f' ({target.unit})' if unit else ''}: {what}{scale}"
        for key in ("shift", "charges", "mean"):
            values = getattr(target, key, None)
            if isinstance(values, dict):
                listing = ", ".join(f"{symbol} {_numbers(value)}" for symbol, value in values.items())
                yield "", f"  {key} of each element: {listing}{unit}"
            elif values is not None:
                yield "", f"  {key}: {_numbers(values)}{unit}"


def _numbers(value: Any) -> str:
    return " ".join(f"{one:.6g}" for one in value) if isinstance(value, list | tuple) else f"{value:.6g}"


def _about_training(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "", ""
    if "step" in metadata:
        loss = f", validation loss {metadata['valid_loss']:.4g}" if "valid_loss" in metadata else ""
        yield "trained", f"to step {metadata['step']}{loss}"
        lines = metric_lines(metadata.get("metrics", {}), metadata.get("metric_units", {}))
        for place, line in enumerate(lines):
            yield "validation" if place == 0 else "", line
    else:
        yield "trained", "not said in the file"
    for name, value in metadata.items():
        if name not in _SHOWN:
            yield name[:16], value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
