"""Training that begins with the weights of a model file, and weights that training leaves alone."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from irrepnet.data.elements import SYMBOLS, atomic_number
from irrepnet.data.frame import Frame
from irrepnet.errors import ConfigError, DataError, did_you_mean
from irrepnet.models.checkpoint import load_model
from irrepnet.models.registry import kind_of
from irrepnet.train.config import RunConfig
from irrepnet.train.config_file import validate_section
from irrepnet.train.model_section import SECTIONS, determined_by_data
from irrepnet.train.samples import LabelledGraphs, batches

__all__ = ["freeze", "refitted_shifts", "refuse_new_elements", "with_model_of"]

# Keys that a fine-tuning may change: they touch how a model computes, not what its weights mean.
_FREE = ("backend", "dtype", "radial", "radial_knots", "species_shifts")
_FREE_OF_TARGETS = ("weight", "shift")


def with_model_of(config: RunConfig, path: str | Path) -> tuple[RunConfig, Any]:
    """Return a configuration whose section ``model`` is that of a model file, and the model.

    What the training frames determine stays open where it was open: :func:`model_from_data` then takes it from the
    model.

    Args:
        config: Its section ``model`` says nothing, or the same as the file but for backend, dtype, radial tables, the
            energy shifts, and the weights and shifts of targets.
        path: A model file.

    Raises:
        ConfigError: If the section says something else than the file, one line per key; if other sections ask for what
            the model has not, or ``data.isolated_atoms`` is given.
        CheckpointError: If the file cannot be read.
        FileNotFoundError: If there is no such file.
    """
    model: Any = load_model(path)
    kind, of_file = kind_of(model), model.config.model_dump()
    given: Any = config.model
    said = {name: getattr(given, name) for name in given.model_fields_set if getattr(given, name) is not None}
    kind_said = said.pop("kind", kind)
    if kind_said != kind:
        raise ConfigError(f"training.start_from: {path} holds a model of kind {kind!r}; found model.kind {kind_said!r}")
    if config.data.isolated_atoms is not None:
        raise ConfigError(
            "training.start_from: the energies of isolated atoms are those of the model; found data.isolated_atoms "
            "too; remove it, and set model.species_shifts where the reference is another one"
        )
    open_keys = determined_by_data(kind)
    # Through the section once more, so that a list and a tuple, or two ways to write irreps, are the same.
    theirs: Any = SECTIONS[kind].model_validate({"kind": kind, **of_file})
    wrong = [
        line
        for name, value in said.items()
        if name not in _FREE
        for line in _contradictions(f"model.{name}", getattr(theirs, name), value)
    ]
    if wrong:
        listing = "\n".join(wrong)
        raise ConfigError(f"training.start_from needs the model section of {path}, or none; found changes:\n{listing}")
    merged = {**of_file, **dict.fromkeys(open_keys), **said, "kind": kind}
    section = validate_section(SECTIONS[kind], merged, source="model")
    # Once more as a whole: what the other sections ask for could not be checked before the model was known.
    sections = {name: getattr(config, name) for name in type(config).model_fields}
    return validate_section(RunConfig, {**sections, "model": section}, source=f"training.start_from ({path})"), model


def _contradictions(key: str, theirs: Any, said: Any) -> Iterator[str]:
    """Yield a line for a key that differs from the file's; for targets one for each of theirs."""
    is_targets = isinstance(said, tuple) and said and hasattr(said[0], "model_dump")
    if is_targets and [target.name for target in said] == [target.name for target in theirs]:
        for one, other in zip(said, theirs, strict=True):
            of_file = other.model_dump()
            for name, value in one.model_dump().items():
                if value is not None and name not in _FREE_OF_TARGETS:
                    yield from _contradictions(f"{key}: {name} of {one.name!r}", of_file.get(name), value)
    elif said != theirs:
        yield f"  {key}: {theirs!r} in the file; {said!r} in the configuration"


def refuse_new_elements(frames: Sequence[Frame], model: Any, path: str | Path) -> None:
    """Refuse frames with elements that a model was not made for.

    Raises:
        DataError: It names the first such frame.

    Example:
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> carbon = Frame(species=[6], pos=[[0, 0, 0]], source="c.npz frame 0")
        >>> refuse_new_elements([carbon], ForceField(ForceFieldConfig(species=("H",))), "best.model")
        Traceback (most recent call last):
        irrepnet.errors.DataError: training.start_from: best.model knows H; found C in c.npz frame 0; the elements ...
    """
    for frame in frames:
        new = sorted(set(frame.species.tolist()) - set(model.atomic_numbers))
        if new:
            raise DataError(
                f"training.start_from: {path} knows {', '.join(model.config.species)}; found {SYMBOLS[new[0]]} in "
                f"{frame.source}; the elements of a model are fixed when it is made: train a new one, or leave these "
                "frames out"
            )


def refitted_shifts(model: nn.Module, items: Sequence[LabelledGraphs], batch_size: int) -> tuple[float, ...]:
    r"""Return energy shifts per species for which a model meets the energies of new frames best.

    .. math:: \min_{\delta} \sum_f \bigl(E_f - \hat E_f - \sum_s n_{fs} \delta_s\bigr)^2, \qquad
              \epsilon_s' = \epsilon_s + \delta_s

    Energies of another functional, basis or code differ by a constant per atom of each element, which no weight should
    have to learn. Where the composition does not tell species apart, of all solutions that of least norm is taken.

    Args:
        model: A force field.
        items: Frames with energies.
        batch_size: Frames per call of the model.

    Returns:
        One shift per species of the model, eV.
    """
    force_field: Any = model
    force_field.eval()
    numbers = torch.tensor([atomic_number(symbol) for symbol in force_field.config.species])
    device = next(model.parameters()).device
    counts, residuals = [], []
    for batch in batches(items, batch_size):
        assert batch.energy is not None  # asked for before
        predicted = force_field(batch.graph.to(device)).energy.detach().cpu()
        is_species = (batch.graph.species[:, None] == numbers).double()
        counts.append(torch.zeros(len(predicted), len(numbers), dtype=torch.float64))
        counts[-1].index_add_(0, batch.graph.batch, is_species)
        residuals.append(batch.energy - predicted)
    fit = np.linalg.lstsq(torch.cat(counts).numpy(), torch.cat(residuals).numpy(), rcond=None)[0]
    return tuple(shift + float(change) for shift, change in zip(force_field.config.shifts, fit, strict=True))


def freeze(model: nn.Module, patterns: Sequence[str], *, say: Callable[[str], None] = print) -> None:
    """Keep weights from being learned.

    Args:
        model: The model.
        patterns: Names of weights, with ``*`` and ``?`` as in file names.
        say: What is called with a sentence about what is frozen.

    Raises:
        ConfigError: If a pattern fits no weight, or nothing is left to learn.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
        >>> freeze(model, ["0.*"])
        frozen: 9 of 13 weights (0.weight, 0.bias)
        >>> freeze(model, ["1.wait"])
        Traceback (most recent call last):
        irrepnet.errors.ConfigError: training.freeze: no weight is called '1.wait'. Did you mean '1.weight'?
    """
    if not patterns:
        return
    weights = dict(model.named_parameters())
    for pattern in patterns:
        chosen = fnmatch.filter(weights, pattern)
        if not chosen:
            near = did_you_mean(pattern, weights) or f" It has {', '.join(weights)}"
            raise ConfigError(f"training.freeze: no weight is called {pattern!r}.{near}")
        for name in chosen:
            weights[name].requires_grad_(False)
    frozen = [name for name, weight in weights.items() if not weight.requires_grad]
    if len(frozen) == len(weights):
        raise ConfigError(f"training.freeze needs to leave something to learn; found all frozen by {list(patterns)}")
    count = sum(weights[name].numel() for name in frozen)
    total = sum(weight.numel() for weight in weights.values())
    say(f"frozen: {count} of {total} weights ({_shortened(frozen)})")


def _shortened(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more tensors" if len(names) > most else "")
