"""Everything that changes while a model trains, and its exact way to disk and back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from irrepnet.errors import CheckpointError, ConfigError
from irrepnet.models.checkpoint import load_tensors, save_tensors
from irrepnet.train.config import RunConfig, TrainingConfig
from irrepnet.train.error_sums import ErrorSums
from irrepnet.train.run_folder import RunFolder

__all__ = ["Progress", "TrainState"]

_OPTIMISERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}

# What may differ between a run and its continuation: nothing of this touches the weights beyond rounding.
_FREE_TO_CHANGE = (
    ("training", "device"),
    ("training", "save_every_minutes"),
    ("training", "accumulate"),  # the sums of a step are the same, cut in other places
    ("training", "ranks_timeout_s"),
    ("training", "start_from"),  # the file's contents are compared, with the copy in the run's folder
    ("data", "train"),  # the frames themselves are compared, so files may move
    ("data", "valid"),
    ("data", "test"),
    ("data", "train_ids"),
    ("data", "valid_ids"),
    ("data", "test_ids"),
    ("data", "data_dir"),
    ("data", "cache"),
    ("data", "workers"),
    ("md",),
    ("report",),
)

_ROUNDING = 1e-9  # of a fit on another machine
_REFITTED = 1e-4  # eV; energy shifts fitted to what a model in float32 predicts
_OLD_STATE = "note: the state is of an older version; that the frames are the same was not checked"


@dataclass
class Progress:
    """Where a run stands.

    Args:
        step: Optimiser steps done.
        seconds: Wall-clock time spent in the loop, over all of its sittings.
        validated_at: Step of the last validation, -1 before the first.
        best_step: Step of the best validation.
        best_loss: Its loss.
        loss_sum: Sum of the losses of the steps since the last validation.
        loss_count: Their number.
        errors: Errors of the training batches since the last validation.

    Example:
        >>> Progress(step=7).best_loss
        inf
    """

    step: int = 0
    seconds: float = 0.0
    validated_at: int = -1
    best_step: int = -1
    best_loss: float = math.inf
    loss_sum: float = 0.0
    loss_count: int = 0
    errors: ErrorSums = field(default_factory=ErrorSums)

    def count_step(self, loss: float, errors: ErrorSums) -> None:
        """Note that a step was done, with its loss and errors."""
        self.step += 1
        self.loss_sum += loss
        self.loss_count += 1
        self.errors.merge(errors)

    def start_interval(self) -> None:
        """Note that the model was validated at this step; the sums begin anew."""
        self.validated_at = self.step
        self.loss_sum, self.loss_count, self.errors = 0.0, 0, ErrorSums()


class TrainState:
    """Model, averaged model, optimiser and progress of a run; on several ranks the same on each.

    Args:
        model: The model to train, on its device; weights that require no gradient are left as they are.
        settings: Optimiser and averaging.
        data_fingerprint: Of the frames; a state is taken up with the same frames only.

    Example:
        >>> state = TrainState(nn.Linear(2, 1), TrainingConfig(steps=1), data_fingerprint="")
        >>> type(state.optimiser).__name__, state.progress.step
        ('Adam', 0)
    """

    def __init__(self, model: nn.Module, settings: TrainingConfig, *, data_fingerprint: str):
        self.model = model
        self.learned = [weight for weight in model.parameters() if weight.requires_grad]
        self.data_fingerprint = data_fingerprint
        self.averaged = AveragedModel(model, multi_avg_fn=_averaging(settings.ema_decay))
        self.optimiser: Optimizer = _OPTIMISERS[settings.optimiser](
            self.learned, lr=settings.lr, amsgrad=settings.amsgrad, weight_decay=settings.weight_decay
        )
        self.progress = Progress()

    def train_mode(self) -> None:
        """Put the model into training mode, but for parts all of whose weights are frozen."""
        self.model.train()
        for part in self.model.modules():
            weights = list(part.parameters())
            if weights and not any(weight.requires_grad for weight in weights):
                part.eval()

    def save(self, run: RunFolder, config: RunConfig) -> None:
        """Write ``last.state``; the one before stays as ``previous.state``.

        A process that dies between the two renames leaves ``previous.state``, which :meth:`load` then takes.

        Raises:
            OSError: If the disk is full; ``last.state`` is then as it was.
        """
        tensors = {
            **_prefixed("model", self.model.state_dict()),
            **_prefixed("averaged", self.averaged.state_dict()),
            **self._optimiser_tensors(),
            **_random_states(),
        }
        metadata = {
            "config": config.model_dump(mode="json"),
            "data_fingerprint": self.data_fingerprint,
            "model": self._model_config(),
            "progress": asdict(self.progress),
        }
        is_replaced = run.state.exists()
        if is_replaced:
            run.state.replace(run.previous_state)
        try:
            with run.writing(run.state):
                save_tensors(run.state, tensors, metadata)
        except OSError:
            if is_replaced:
                run.previous_state.replace(run.state)
            raise

    def load(self, run: RunFolder, config: RunConfig) -> str | None:
        """Take up the last state that is whole.

        Returns:
            A sentence about a damaged file that was passed over, or about what an old state cannot tell, or None.

        Raises:
            ConfigError: If the run was made with another configuration, with other frames, or if the frames lead to
                another model now; one line per difference.
            CheckpointError: If no state file can be read.
        """
        tensors, metadata, remark = _read_state(run)
        _refuse_changes(_with_new_keys(metadata["config"]), config.model_dump(mode="json"))
        _refuse_another_start(run, metadata["config"]["training"].get("start_from"), config.training.start_from)
        if "model" not in metadata:
            remark = f"{remark + '; ' if remark else ''}{_OLD_STATE}"
        elif metadata["data_fingerprint"] != self.data_fingerprint:
            raise ConfigError(
                "--resume needs the frames that the run was started with, in the same parts; the files hold others now"
            )
        else:
            _refuse_another_model(metadata["model"], self._model_config())
        self.model.load_state_dict(_without_prefix("model", tensors))
        self.averaged.load_state_dict(_without_prefix("averaged", tensors))
        self._restore_optimiser(_without_prefix("optimiser", tensors))
        _restore_random_states(tensors)
        progress = metadata["progress"]
        self.progress = Progress(**{**progress, "errors": ErrorSums(**progress["errors"])})
        return remark

    def _model_config(self) -> dict[str, Any]:
        """Return the configuration of the model, complete, as JSON holds it; empty for a model without one."""
        config: Any = getattr(self.model, "config", None)
        return {} if config is None else config.model_dump(mode="json")

    def _optimiser_tensors(self) -> dict[str, Tensor]:
        state = self.optimiser.state_dict()["state"]
        return {f"optimiser.{index}.{name}": value for index, slots in state.items() for name, value in slots.items()}

    def _restore_optimiser(self, tensors: dict[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
        # The groups (rates, switches) come from the configuration, which is the same.
        self.optimiser.load_state_dict({"state": state, "param_groups": self.optimiser.state_dict()["param_groups"]})


def _averaging(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """Return the update of the exponential average, with a shorter memory at first so that short runs profit too."""

    @torch.no_grad()
    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], num_averaged: Tensor | int) -> None:
        share = max(1 - decay, 9 / (10 + int(num_averaged)))
        for mean, weight in zip(averaged, current, strict=True):
            mean.lerp_(weight, share)

    return update


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _without_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}."): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")
    }


def _random_states() -> dict[str, Tensor]:
    states = {"random.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states.update({f"random.cuda.{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())})
    return states


def _restore_random_states(tensors: dict[str, Tensor]) -> None:
    torch.set_rng_state(tensors["random.cpu"])
    for index in range(torch.cuda.device_count()):
        if f"random.cuda.{index}" in tensors:
            torch.cuda.set_rng_state(tensors[f"random.cuda.{index}"], index)


def _read_state(run: RunFolder) -> tuple[dict[str, Tensor], dict[str, Any], str | None]:
    try:
        tensors, metadata = load_tensors(run.state)
        return tensors, metadata, None
    except (CheckpointError, FileNotFoundError) as error:
        if not run.previous_state.exists():
            raise
        tensors, metadata = load_tensors(run.previous_state)
        return tensors, metadata, f"{error}; going on from {run.previous_state.name}"


def _with_new_keys(stored: dict[str, Any]) -> dict[str, Any]:
    """Fill in the defaults of keys that are younger than the run."""
    try:
        return RunConfig.model_validate(stored).model_dump(mode="json")
    except ValueError:
        return stored


def _refuse_changes(before: dict[str, Any], now: dict[str, Any]) -> None:
    old, new = _flat(before), _flat(now)
    changed = [
        f"  {'.'.join(keys)}: {old.get(keys)!r} in the run; {new.get(keys)!r} now"
        for keys in sorted(old.keys() | new.keys())
        if old.get(keys) != new.get(keys) and not _is_free(keys, old.get(keys), new.get(keys))
    ]
    if changed:
        listing = "\n".join(changed)
        raise ConfigError(f"--resume needs the configuration that the run was started with; found changes:\n{listing}")


def _refuse_another_start(run: RunFolder, before: str | None, now: str | None) -> None:
    """Refuse another model file to start from; the same one may have moved, or be gone."""
    if now is None or now == before or not Path(now).is_file():
        return
    if Path(now).read_bytes() != run.start.read_bytes():
        raise ConfigError(
            f"--resume needs the model that the run began with, {run.start}; found another one in training.start_from, "
            f"{now}; leave the key as it was, or choose another --out"
        )


def _is_free(keys: tuple[str, ...], old: Any, new: Any) -> bool:
    if keys == ("training", "start_from") and None in (old, new):  # from a model or not is no question of places
        return False
    return any(keys[: len(free)] == free for free in _FREE_TO_CHANGE)


def _refuse_another_model(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse frames, or a reference of energies, that would have made another model; keys of one only are younger."""
    old, new = _flat(before), _flat(now)
    changed = [
        f"  model.{'.'.join(keys)}: {old[keys]!r} in the run; {new[keys]!r} now"
        for keys in sorted(old.keys() & new.keys())
        if not _is_near(old[keys], new[keys], _REFITTED if keys == ("species_shifts",) else _ROUNDING)
    ]
    if changed:
        raise ConfigError(
            "--resume needs the model that the run was started with; found changes:\n" + "\n".join(changed)
        )


def _is_near(old: Any, new: Any, tolerance: float) -> bool:
    """Compare plain values; numbers may differ by a tolerance, relative and absolute."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(_is_near(old[key], new[key], tolerance) for key in old.keys() & new.keys())
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_is_near, old, new, itertools.repeat(tolerance)))
    if isinstance(old, float) and isinstance(new, float):
        return math.isclose(old, new, rel_tol=_ROUNDING, abs_tol=tolerance)
    return bool(old == new)


def _flat(tree: dict[str, Any], prefix: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    values = {}
    for key, value in tree.items():
        keys = (*prefix, key)
        values.update(_flat(value, keys) if isinstance(value, dict) else {keys: value})
    return values
