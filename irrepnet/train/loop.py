"""The training loop: :func:`train` reads from top to bottom; what it calls stands below it in the same order."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any

import torch

from irrepnet.errors import CheckpointError, NonFiniteError
from irrepnet.models.checkpoint import save_model
from irrepnet.models.force_field import Prediction
from irrepnet.train.config import RunConfig, TrainingConfig
from irrepnet.train.console import TrainingConsole
from irrepnet.train.devices import usable_device
from irrepnet.train.losses import force_field_loss
from irrepnet.train.metrics import METRIC_UNITS, Evaluation, evaluate, not_finite_frames
from irrepnet.train.model_from_data import fingerprint, model_from_data
from irrepnet.train.radial import describe_radial
from irrepnet.train.run_folder import RunFolder
from irrepnet.train.samples import LabelledGraphs, label_graphs, shuffled_batch, steps_per_epoch
from irrepnet.train.schedule import learning_rate
from irrepnet.train.signals import StopRequest
from irrepnet.train.splits import Splits, load_splits
from irrepnet.train.state import Progress, TrainState

__all__ = ["TrainResult", "train"]

_MOST_NAMED = 10  # odd frames; a file of duplicates would fill the screen
_WHAT_NOW = "best.model and the last good state are kept; look at these frames, or lower training.lr"


@dataclass(frozen=True, eq=False)
class TrainResult:
    """How a training ended.

    Args:
        run: Its folder; ``run.best`` is the model file.
        splits: The frames it learned from and those that were held back.
        progress: Steps, seconds, best loss.
        signal: The signal that stopped it before its budget was spent, or None.

    Example:
        >>> TrainResult(RunFolder("runs/water"), Splits([], [], []), Progress(step=10), None).run.best.name
        'best.model'
    """

    run: RunFolder
    splits: Splits
    progress: Progress
    signal: Signals | None


def train(config: RunConfig, out: str | Path, *, resume: bool = False, quiet: bool = False) -> TrainResult:
    """Train a model as the configuration says, until the budget is spent.

    Writes ``config.yaml``, ``log.jsonl`` (one line per validation), ``best.model`` (averaged weights with the lowest
    validation loss), ``last.state`` and ``previous.state`` into ``out``. A run with a budget of steps that was
    interrupted and resumed ends with the same bits as one that was not (on a CPU, with the same number of threads).
    SIGINT, SIGTERM and SIGUSR1 end the step, save the state and return; so do not fear to interrupt.

    Args:
        config: From :func:`~irrepnet.train.config_file.load_config`, or built in Python.
        out: Folder of the run.
        resume: Go on with the run in ``out``; start one if there is none yet.
        quiet: Print nothing.

    Raises:
        ConfigError: If ``out`` holds another run, the device is not there or the configuration changed.
        DataError: If the data are not as needed.
        BackendError: If ``model.backend`` cannot serve the model on the device.
        NonFiniteError: If the loss, a gradient or a validation is NaN or infinite; the last good state is kept.
        CheckpointError: If ``resume`` finds no state that can be read.

    Example:
        >>> import tempfile
        >>> config = RunConfig.model_validate({
        ...     "model": {"cutoff": 3.0, "irreps_hidden": "4x0e+4x1o", "num_layers": 1},
        ...     "data": {"train": "package:water_xtb/heldout.npz", "valid_fraction": 0.2},
        ...     "training": {"steps": 2}})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result = train(config, folder, quiet=True)
        ...     result.progress.step, sorted(path.name for path in result.run.path.iterdir())
        (2, ['best.model', 'config.yaml', 'last.state', 'log.jsonl', 'previous.state'])
    """
    run, settings = RunFolder(out), config.training
    run.check_free(resume=resume)
    device = usable_device(settings.device)
    with TrainingConsole(quiet=quiet) as console, StopRequest() as stop:
        splits = load_splits(config)
        for finding in splits.findings[:_MOST_NAMED]:
            console.say(f"note: {finding}")
        model, train_items = model_from_data(config, splits.train, say=console.say)
        valid_items = label_graphs(splits.valid, model.cutoff)
        state = TrainState(model.to(device), settings, data_fingerprint=fingerprint([*splits.train, *splits.valid]))
        # A backend that cannot serve says so here, before there is a folder.
        state.averaged.module.eval()(train_items[0].to(device).graph)
        _open_run(run, config, state, console, resume=resume)
        console.say(_summary(splits, train_items, state))
        console.say(describe_radial(state.model, train_items))

        progress = state.progress
        started = time.monotonic() - progress.seconds
        saved_at = progress.seconds
        epoch = steps_per_epoch(len(train_items), settings.batch_size)
        interval = settings.validate_every_steps or max(1, round((settings.validate_every_epochs or 1) * epoch))
        while True:
            progress.seconds = time.monotonic() - started
            spent = _share_spent(settings, progress)
            rate = learning_rate(spent, peak=settings.lr, warmup=settings.warmup, floor=settings.lr_floor)

            if progress.validated_at < progress.step and (progress.step % interval == 0 or spent >= 1):
                evaluation = evaluate(
                    state.averaged.module,
                    valid_items,
                    batch_size=settings.batch_size,
                    loss=settings.loss,
                    interrupted=lambda: stop.signal is not None,
                )
                if evaluation is not None:
                    _refuse_nan(evaluation, valid_items, progress)
                    progress.seconds = time.monotonic() - started
                    row = _log_row(evaluation, progress, epoch=progress.step / epoch, rate=rate)
                    _keep_if_best(evaluation, state, run)
                    run.append_log(row)
                    console.row(
                        row, is_best=progress.best_step == progress.step, seconds_left=_seconds_left(settings, progress)
                    )
                    state.save(run, config)
                    saved_at = progress.seconds
            if stop.signal is not None:
                state.save(run, config)
                console.say(f"{stop.signal.name}: the state of step {progress.step} is saved; go on with --resume")
            if stop.signal is not None or spent >= 1:
                if model.config.radial == "table":
                    console.say(describe_radial(state.averaged.module, train_items))
                return TrainResult(run, splits, progress, stop.signal)

            batch = shuffled_batch(train_items, settings.batch_size, progress.step, settings.seed).to(device)
            loss = _take_step(state, batch, settings, rate)
            console.advance(spent, progress.step, loss, _seconds_left(settings, progress))
            if time.monotonic() - started > saved_at + 60 * settings.save_every_minutes:
                saved_at = progress.seconds = time.monotonic() - started
                state.save(run, config)


def _open_run(run: RunFolder, config: RunConfig, state: TrainState, console: TrainingConsole, *, resume: bool) -> None:
    """Take up the state of a run, or lay the first one down: from then on the folder can always be resumed."""
    if resume and (run.state.exists() or run.previous_state.exists()):
        remark = state.load(run, config)
        if remark is not None:
            console.say(remark)
        run.cut_log(state.progress.validated_at)
        console.say(f"resuming {run.path} at step {state.progress.step}")
        return
    if resume and run.best.exists():
        raise CheckpointError(
            f"{run.path}: --resume needs {run.state.name}; found {run.best.name} without it; choose another --out"
        )
    run.create(config)
    run.cut_log(-1)
    state.save(run, config)


def _summary(splits: Splits, items: list[LabelledGraphs], state: TrainState) -> str:
    weights = sum(parameter.numel() for parameter in state.model.parameters())
    edges = sum(item.graph.num_edges for item in items) / sum(item.graph.num_nodes for item in items)
    return (
        f"frames: {len(splits.train)} to learn from, {len(splits.valid)} to validate on; "
        f"{edges:.1f} neighbours per atom within {state.model.cutoff:g} Å; {weights} weights, "
        f"{state.model.config.dtype} on {next(state.model.parameters()).device}"
    )


def _share_spent(settings: TrainingConfig, progress: Progress) -> float:
    if settings.steps is not None:
        return progress.step / settings.steps
    assert settings.minutes is not None  # the configuration has exactly one of the two
    return progress.seconds / (60 * settings.minutes)


def _seconds_left(settings: TrainingConfig, progress: Progress) -> float | None:
    """Time to the end of the budget; None before the first step has told how long one takes."""
    if settings.minutes is not None:
        return max(0.0, 60 * settings.minutes - progress.seconds)
    spent = _share_spent(settings, progress)
    return progress.seconds * (1 - spent) / spent if spent > 0 else None


def _refuse_nan(evaluation: Evaluation, items: list[LabelledGraphs], progress: Progress) -> None:
    """Stop before a validation that is not finite can reach the log, the state or the best model."""
    if evaluation.loss is not None and math.isfinite(evaluation.loss):
        return
    named = _listing(evaluation.not_finite or [item.sources[0] for item in items])
    what = f"the validation loss is {evaluation.loss}"
    raise NonFiniteError(f"training stopped at step {progress.step}: {what} for {named}; {_WHAT_NOW}")


def _log_row(evaluation: Evaluation, progress: Progress, *, epoch: float, rate: float) -> dict[str, Any]:
    """Turn a validation and the training since the last one into a row; start the next interval."""
    row = {
        "step": progress.step,
        "epoch": epoch,
        "seconds": progress.seconds,
        "lr": rate,
        "train_loss": progress.loss_sum / progress.loss_count if progress.loss_count else None,
        "valid_loss": evaluation.loss,
        **evaluation.metrics,
        **{f"train_{name}": value for name, value in progress.errors.metrics().items()},
    }
    progress.start_interval()
    return row


def _keep_if_best(evaluation: Evaluation, state: TrainState, run: RunFolder) -> None:
    progress = state.progress
    assert evaluation.loss is not None
    if evaluation.loss < progress.best_loss:
        progress.best_loss, progress.best_step = evaluation.loss, progress.step
        extra = {
            "step": progress.step,
            "valid_loss": evaluation.loss,
            "metrics": evaluation.metrics,
            "units": {"energy": "eV", "length": "Å"},
            "metric_units": METRIC_UNITS,
        }
        save_model(state.averaged.module, run.best, extra=extra)


def _take_step(state: TrainState, batch: LabelledGraphs, settings: TrainingConfig, rate: float) -> float:
    """Do one optimiser step and return its loss; refuse to step on a NaN."""
    state.model.train()
    prediction = state.model(batch.graph, compute_stress=settings.loss.stress > 0)
    loss = force_field_loss(prediction, batch, settings.loss)
    state.optimiser.zero_grad()
    learned = [parameter for parameter in state.model.parameters() if parameter.requires_grad]
    loss.backward(inputs=learned)  # and not the edges: their second derivatives are costly
    norm = torch.nn.utils.clip_grad_norm_(state.model.parameters(), settings.clip_norm or math.inf)
    if not math.isfinite(loss.item()) or not math.isfinite(norm.item()):
        raise NonFiniteError(_blame(state.progress.step, prediction, batch, loss.item(), norm.item()))
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.optimiser.step()
    state.averaged.update_parameters(state.model)
    state.progress.count_step(loss.item(), prediction, batch)
    return loss.item()


def _blame(step: int, prediction: Prediction, batch: LabelledGraphs, loss: float, norm: float) -> str:
    """Name the frames with a prediction that is not finite; all frames of the batch when only the gradient is not."""
    frames = not_finite_frames(prediction, batch)
    what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {norm}"
    return f"training stopped at step {step}: {what} for {_listing(frames or batch.sources)}; {_WHAT_NOW}"


def _listing(frames: Sequence[str]) -> str:
    more = len(frames) - _MOST_NAMED
    return ", ".join(frames[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
