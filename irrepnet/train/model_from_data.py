"""What the training frames decide about a model: species, energy shifts and scale, neighbours per atom."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from irrepnet.data.elements import SYMBOLS, atomic_number
from irrepnet.data.frame import Frame
from irrepnet.data.statistics import average_num_neighbors, fit_species_shifts, force_rms
from irrepnet.models.force_field import ForceField
from irrepnet.models.registry import MODELS
from irrepnet.nn.radial_network import table_pays
from irrepnet.train.config import RunConfig
from irrepnet.train.config_file import validate_section
from irrepnet.train.samples import LabelledGraphs, label_graphs

__all__ = ["fingerprint", "model_from_data"]


def model_from_data(
    config: RunConfig, frames: Sequence[Frame], *, say: Callable[[str], None] = print
) -> tuple[ForceField, list[LabelledGraphs]]:
    """Build the model of a run, with what the configuration leaves open taken from the training frames.

    Where the frames cannot tell (training on energies alone has no forces to take a scale from), the scale is 1 eV, the
    shifts are 0 eV and the number of neighbours is 1, and a note says so.

    Args:
        config: Sections ``model``, ``training.loss`` and ``training.seed`` are used.
        frames: The training frames.
        say: What is called with each note.

    Returns:
        The model with fresh weights, and the frames as labelled graphs.

    Raises:
        ConfigError: If the completed model configuration is not valid.
        DataError: If a frame lacks a label that the loss needs.

    Example:
        >>> config = RunConfig.model_validate({"data": {"train": "-"}, "training": {"steps": 1}})
        >>> forces = [[1.0, 0, 0], [-1.0, 0, 0]]
        >>> frame = Frame(species=[1, 1], pos=[[0, 0, 0], [0.7, 0, 0]], energy=-32.0, forces=forces)
        >>> model, _ = model_from_data(config, [frame])
        >>> model.config.species, model.config.avg_num_neighbors, model.config.species_shifts
        (('H',), 1.0, (-16.0,))
    """
    given: dict[str, Any] = config.model.model_dump()  # type: ignore[attr-defined]  # its class is made at run time
    items = label_graphs(frames, given["cutoff"])
    config_class, model_class = MODELS[given.pop("kind")]
    complete = validate_section(config_class, _completed(given, frames, items, config, say), source="model")
    torch.manual_seed(config.training.seed)
    model: Any = model_class(complete)
    return model, items


def _completed(
    given: dict[str, Any],
    frames: Sequence[Frame],
    items: Sequence[LabelledGraphs],
    config: RunConfig,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Fill what is None from the frames."""
    complete, loss = dict(given), config.training.loss

    def fallback(key: str, value: Any, reason: str) -> Any:
        say(f"note: {reason}; model.{key} is {value}")
        return value

    if complete["species"] is None:
        numbers = sorted({int(number) for frame in frames for number in frame.species})
        complete["species"] = tuple(SYMBOLS[number] for number in numbers)
    if complete["avg_num_neighbors"] is None:
        neighbors = average_num_neighbors([item.graph for item in items])
        complete["avg_num_neighbors"] = neighbors or fallback(
            "avg_num_neighbors", 1.0, "no atom has a neighbour within the cutoff"
        )
    if complete["energy_scale"] is None:
        rms = force_rms(frames) if loss.forces > 0 or _all_have("forces", frames) else 0.0
        complete["energy_scale"] = rms or fallback("energy_scale", 1.0, "the frames have no forces other than 0")
    if complete["species_shifts"] is None:
        numbers = [atomic_number(symbol) for symbol in complete["species"]]
        if loss.energy > 0 or _all_have("energy", frames):
            complete["species_shifts"] = tuple(fit_species_shifts(frames, numbers).tolist())
        else:
            zeros = (0.0,) * len(numbers)
            complete["species_shifts"] = fallback("species_shifts", zeros, "not all frames have energies")
    edges = config.training.batch_size * sum(item.graph.num_edges for item in items) / len(items)
    if complete.get("radial") == "table" and not table_pays(complete["radial_knots"], edges):
        reason = f"a table of {complete['radial_knots']} knots does not pay for {edges:.0f} edges a step"
        complete["radial"] = fallback("radial", "exact", reason)
    return complete


def _all_have(label: str, frames: Sequence[Frame]) -> bool:
    return all(getattr(frame, label) is not None for frame in frames)


def fingerprint(frames: Iterable[Frame]) -> str:
    """Return the SHA-256 of the frames' structures and labels, hexadecimal.

    Example:
        >>> fingerprint([Frame(species=[1], pos=[[0, 0, 0]])]) == fingerprint([Frame(species=[1], pos=[[0, 0, 1e-9]])])
        False
    """
    digest = hashlib.sha256()
    for frame in frames:
        for array in (frame.species, frame.pos, frame.cell, frame.pbc, frame.energy, frame.forces, frame.stress):
            digest.update(np.asarray(np.nan if array is None else array).tobytes())
    return digest.hexdigest()
