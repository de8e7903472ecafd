"""What the training frames decide about a model: species, energy shifts and scale, neighbours per atom."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from irrepnet.data.elements import SYMBOLS, atomic_number
from irrepnet.data.frame import Frame
from irrepnet.data.graph import Graph
from irrepnet.data.statistics import fit_species_shifts, force_rms
from irrepnet.models.registry import MODELS
from irrepnet.models.repulsion import closest_approaches
from irrepnet.models.trunk import LARGEST_FACTOR
from irrepnet.nn.radial_network import table_pays
from irrepnet.train.config import RunConfig
from irrepnet.train.config_file import validate_section
from irrepnet.train.fine_tuning import refitted_shifts, refuse_new_elements
from irrepnet.train.item_sizes import ItemSizes
from irrepnet.train.samples import LabelledGraphs, label_graphs

__all__ = ["TrainingSet", "fingerprint", "model_from_data", "training_set"]

_NOISE = 1e-6  # eV/Å: what rounding leaves of the forces in a perfect crystal
_MOST_CALIBRATED, _MOST_CALIBRATED_EDGES = 16, 100_000  # structures that tell the size of a fresh model's forces


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """The frames that a model learns from, ready for it.

    Args:
        frames: The frames.
        items: The same as labelled graphs.
        sizes: Numbers of atoms and edges of each.
        isolated: Energies of isolated atoms by atomic number, eV, where data or configuration tell them.

    Example:
        >>> water = Frame(species=[8, 1, 1], pos=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
        >>> training_set([water], cutoff=1.2).neighbors_per_atom
        1.3333333333333333
    """

    frames: Sequence[Frame]
    items: Sequence[LabelledGraphs]
    sizes: ItemSizes
    isolated: Mapping[int, float] = field(default_factory=dict)

    @property
    def neighbors_per_atom(self) -> float:
        """Number of edges per atom over all frames."""
        return int(self.sizes.num_edges.sum()) / int(self.sizes.num_atoms.sum())

    @property
    def largest(self) -> LabelledGraphs:
        """The item with most edges."""
        return self.items[int(self.sizes.num_edges.argmax())]

    @property
    def species(self) -> tuple[str, ...]:
        """Elements of the frames, by atomic number."""
        numbers = sorted({int(number) for frame in self.frames for number in frame.species})
        return tuple(SYMBOLS[number] for number in numbers)

    def all_have(self, label: str) -> bool:
        """Return whether every frame has a label."""
        return all(getattr(frame, label) is not None for frame in self.frames)


def training_set(
    frames: Sequence[Frame],
    cutoff: float,
    *,
    isolated: Mapping[int, float] | None = None,
    cache: str | None = None,
    say: Callable[[str], None] = print,
) -> TrainingSet:
    """Build the neighbour lists of frames, or find them in a cache.

    Args:
        frames: The training frames.
        cutoff: Of the model, Å.
        isolated: Energies of isolated atoms by atomic number, eV.
        cache: Folder in which neighbour lists are kept between runs.
        say: What is called with a note where a kept list is damaged.

    Example:
        >>> len(training_set([Frame(species=[1], pos=[[0, 0, 0]])], cutoff=2.0).items)
        1
    """
    items = label_graphs(frames, cutoff, cache=cache, say=say)
    return TrainingSet(frames, items, ItemSizes(items), isolated or {})


def model_from_data(
    config: RunConfig, data: TrainingSet, *, start: Any = None, say: Callable[[str], None] = print
) -> Any:
    """Build the model of a run, with what the configuration leaves open taken from the training frames.

    Where the frames cannot tell (training on energies alone has no forces to take a scale from), the scale is 1 eV, the
    shifts are 0 eV and the number of neighbours is 1, and a note says so.

    Args:
        config: Sections ``model``, ``data.isolated_atoms``, ``training.loss`` and ``training.seed`` are used.
        data: The training frames.
        start: A model whose weights, and all that the configuration leaves open, are taken over; its energy shifts are
            fitted to the frames if ``training.refit_shifts``.
        say: What is called with each note.

    Returns:
        The model, with fresh weights or those of ``start``.

    Raises:
        ConfigError: If the completed model configuration is not valid.
        DataError: If a frame lacks a label that the loss needs, or has an element that ``start`` does not know.

    Example:
        >>> config = RunConfig.model_validate({"data": {"train": "-"}, "training": {"steps": 1}})
        >>> forces = [[1.0, 0, 0], [-1.0, 0, 0]]
        >>> frame = Frame(species=[1, 1], pos=[[0, 0, 0], [0.7, 0, 0]], energy=-32.0, forces=forces)
        >>> model = model_from_data(config, training_set([frame], cutoff=4.5))
        >>> model.config.species, model.config.avg_num_neighbors, model.config.species_shifts
        (('H',), 1.0, (-16.0,))
    """
    section: Any = config.model
    given: dict[str, Any] = section.model_dump()
    kind = given.pop("kind")
    if start is None:
        complete = _completed(kind, given, data, config, say)
    else:
        complete = _taken_over(kind, given, data, config, start, say)
    _without_idle_table(complete, data, config.training.batch_size, say)
    config_class, model_class = MODELS[kind]
    validated = validate_section(config_class, complete, source="model")
    torch.manual_seed(config.training.seed)
    model: Any = model_class(validated)
    if start is not None:
        model.load_state_dict(start.state_dict())
    else:
        _calibrate(model, data, say)
    return model


def _calibrate(model: Any, data: TrainingSet, say: Callable[[str], None]) -> None:
    """Begin with features, and forces if the model has some, of the size that weights are made for."""
    graph = Graph.collate([data.items[place].graph for place in _spread_out(data.sizes)])
    if not hasattr(model, "calibrate"):
        model.trunk.calibrate(graph)
    elif (factor := model.calibrate(graph)) in (LARGEST_FACTOR, 1 / LARGEST_FACTOR):
        say(
            f"note: the fresh model's forces are not of the size of model.energy_scale: its readout was scaled by "
            f"{factor:g}, and by more would be to scale up rounding; look for frames without usual bonds"
        )


def _spread_out(sizes: ItemSizes) -> list[int]:
    """Return a few places from the first to the last, as neighbours in a file are alike; one where items are large."""
    fitting = int(max(1, _MOST_CALIBRATED_EDGES // max(1, sizes.num_edges.max())))
    count = min(len(sizes.num_edges), _MOST_CALIBRATED, fitting)
    return np.unique(np.linspace(0, len(sizes.num_edges) - 1, count).round().astype(int)).tolist()


def _completed(
    kind: str, given: dict[str, Any], data: TrainingSet, config: RunConfig, say: Callable[[str], None]
) -> dict[str, Any]:
    """Fill what is None from the frames."""
    complete = dict(given)
    if complete["species"] is None:
        complete["species"] = data.species
    if complete["avg_num_neighbors"] is None:
        complete["avg_num_neighbors"] = data.neighbors_per_atom or _fallback(
            say, "avg_num_neighbors", 1.0, "no atom has a neighbour within the cutoff"
        )
    _FILL[kind](complete, data, config, say)
    return complete


def _fill_force_field(
    complete: dict[str, Any], data: TrainingSet, config: RunConfig, say: Callable[[str], None]
) -> None:
    """Fill in energy scale and shifts, and where a repulsion ends."""
    losses = [loss for _, loss in config.training.losses]
    if complete["energy_scale"] is None:
        has_forces = any(loss.forces > 0 for loss in losses) or data.all_have("forces")
        rms = force_rms(data.frames) if has_forces else 0.0
        complete["energy_scale"] = (
            rms if rms > _NOISE else _fallback(say, "energy_scale", 1.0, "the frames have no forces other than 0")
        )
    if complete["repulsion"] != "none" and complete["repulsion_ends"] is None:
        graphs = (item.graph for item in data.items)
        complete["repulsion_ends"] = closest_approaches(graphs, complete["species"], complete["cutoff"])
    if complete["species_shifts"] is None:
        numbers = [atomic_number(symbol) for symbol in complete["species"]]
        if any(loss.energy > 0 for loss in losses) or data.all_have("energy"):
            complete["species_shifts"] = _shifts(numbers, data, say)
        else:
            zeros = (0.0,) * len(numbers)
            complete["species_shifts"] = _fallback(say, "species_shifts", zeros, "not all frames have energies")


def _shifts(numbers: Sequence[int], data: TrainingSet, say: Callable[[str], None]) -> tuple[float, ...]:
    """Return energies of isolated atoms where they are known, and the best fit for the other elements."""
    known = {number: energy for number, energy in data.isolated.items() if number in numbers}
    if not known:
        return tuple(fit_species_shifts(data.frames, numbers).tolist())
    told = ", ".join(f"{SYMBOLS[number]} {energy:g} eV" for number, energy in sorted(known.items()))
    fitted = [SYMBOLS[number] for number in numbers if number not in known]
    say(f"energies of isolated atoms: {told}" + (f"; {', '.join(fitted)} by least squares" if fitted else ""))
    return tuple(fit_species_shifts(data.frames, numbers, fixed=known).tolist())


def _fill_property(complete: dict[str, Any], data: TrainingSet, config: RunConfig, say: Callable[[str], None]) -> None:
    from irrepnet.models.property import property_statistics

    complete["targets"] = property_statistics(complete["targets"], data.frames, complete["species"], say=say)


def _fill_tensor(complete: dict[str, Any], data: TrainingSet, config: RunConfig, say: Callable[[str], None]) -> None:
    from irrepnet.models.tensor_statistics import tensor_statistics

    complete["targets"] = tensor_statistics(complete["targets"], data.frames, complete["species"], say=say)


_FILL: dict[str, Callable[[dict[str, Any], TrainingSet, RunConfig, Callable[[str], None]], None]] = {
    "force_field": _fill_force_field,
    "property": _fill_property,
    "tensor": _fill_tensor,
}


def _taken_over(
    kind: str,
    given: dict[str, Any],
    data: TrainingSet,
    config: RunConfig,
    start: Any,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Fill what is None from the model that training goes on from."""
    refuse_new_elements(data.frames, start, config.training.start_from or "the model")
    theirs = start.config.model_dump()
    complete = {name: theirs[name] if value is None else value for name, value in given.items()}
    if "targets" in complete:
        pairs = zip(complete["targets"], theirs["targets"], strict=True)
        complete["targets"] = [
            {key: known[key] if value is None else value for key, value in target.items()} for target, known in pairs
        ]
    if kind == "tensor":
        from irrepnet.models.tensor_statistics import with_varying_irreps

        complete["targets"] = with_varying_irreps(complete["targets"], data.frames, complete["species"], say=say)
    if kind == "force_field" and given["species_shifts"] is None and config.training.refit_shifts:
        if data.all_have("energy"):
            complete["species_shifts"] = refitted_shifts(start, data.items, config.training.batch_size)
            changes = np.subtract(complete["species_shifts"], start.config.shifts)
            told = ", ".join(f"{s} {change:+.4f} eV" for s, change in zip(complete["species"], changes, strict=True))
            say(
                "note: the energy shifts of the model were fitted to the new frames, whose reference may be another "
                f"one: {told}; training.refit_shifts: false keeps them"
            )
        else:
            say("note: not all frames have energies; the model's energy shifts are kept")
    return complete


def _without_idle_table(
    complete: dict[str, Any], data: TrainingSet, batch_size: int, say: Callable[[str], None]
) -> None:
    """Evaluate radial networks at every edge where there are too few edges for a table."""
    edges = batch_size * int(data.sizes.num_edges.sum()) / len(data.items)
    types = len(complete["species"]) ** 2 if complete.get("radial_species") == "pair" else 1
    if complete.get("radial") == "table" and not table_pays(complete["radial_knots"], edges, types):
        reason = f"a table of {complete['radial_knots']} knots does not pay for {edges:.0f} edges a step"
        complete["radial"] = _fallback(say, "radial", "exact", reason)


def _fallback(say: Callable[[str], None], key: str, value: Any, reason: str) -> Any:
    say(f"note: {reason}; model.{key} is {value}")
    return value


def fingerprint(*parts: Sequence[Frame], isolated: Mapping[int, float] | None = None) -> str:
    """Return the SHA-256 of the frames' structures and labels, of which part each is, and of free atoms, hexadecimal.

    A lazy set that knows its own digest is not read.

    Args:
        parts: To learn from, to validate on.
        isolated: Energies of isolated atoms by atomic number, eV: the reference of all energies.

    Example:
        >>> fingerprint([Frame(species=[1], pos=[[0, 0, 0]])]) == fingerprint([Frame(species=[1], pos=[[0, 0, 1e-9]])])
        False
    """
    digest = hashlib.sha256(repr(sorted((isolated or {}).items())).encode())
    for part in parts:
        digest.update(f"part of {len(part)} frames".encode())
        if hasattr(part, "content_digest"):
            digest.update(part.content_digest.encode())
            continue
        for frame in part:
            for array in (frame.species, frame.pos, frame.cell, frame.pbc, frame.energy, frame.forces, frame.stress):
                _add(digest, "", array)
            for kind, labels in (("of the frame", frame.properties), ("of atoms", frame.atom_properties)):
                for name, values in sorted(labels.items()):
                    _add(digest, f"{name} {kind}", values)
    return digest.hexdigest()


def _add(digest: Any, name: str, array: Any) -> None:
    """Add an array with its name and shape: bytes alone do not say where one ends and the next begins."""
    values = np.asarray(np.nan if array is None else array)
    digest.update(f"{name} {values.dtype} {values.shape if array is not None else None}".encode() + values.tobytes())
