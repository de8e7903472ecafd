"""The training loop: :func:`train` reads from top to bottom; what it calls stands below it in the same order."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any

from irrepnet.errors import CheckpointError, NonFiniteError, RankError
from irrepnet.models.checkpoint import save_model, write_atomic
from irrepnet.train.batch_stream import BatchStream
from irrepnet.train.config import RunConfig, TrainingConfig
from irrepnet.train.console import TrainingConsole
from irrepnet.train.devices import usable_device
from irrepnet.train.distributed import Ranks
from irrepnet.train.error_sums import metric_unit
from irrepnet.train.fine_tuning import freeze, with_model_of
from irrepnet.train.metrics import Evaluation, evaluate
from irrepnet.train.model_from_data import TrainingSet, fingerprint, model_from_data, training_set
from irrepnet.train.radial import describe_radial
from irrepnet.train.run_folder import RunFolder
from irrepnet.train.run_lock import RunLock
from irrepnet.train.samples import LabelledGraphs, steps_per_epoch
from irrepnet.train.schedule import learning_rate
from irrepnet.train.signals import StopRequest
from irrepnet.train.splits import Splits, load_splits
from irrepnet.train.state import Progress, TrainState
from irrepnet.train.step import MOST_NAMED, WHAT_NOW, listing, pieces_of_steps, take_step
from irrepnet.train.summary import StepTimer, summarise
from irrepnet.train.tasks import Task, task_of

__all__ = ["TrainResult", "train"]

# Times the best validation loss: far above the noise between validations, below what it is to learn nothing at all.
_DIVERGED = {"mae": 5, "huber": 10, "mse": 20}


@dataclass(frozen=True, eq=False)
class TrainResult:
    """How a training ended.

    Args:
        run: Its folder; ``run.best`` is the model file.
        splits: The frames it learned from and those that were held back.
        progress: Steps, seconds, best loss.
        signal: The signal that stopped it before its budget was spent, or None.
        is_main: Whether this process is the one that writes files and prints, among several ranks.
        config: As it was run: with ``training.start_from`` its section ``model`` is that of the file.

    Example:
        >>> TrainResult(RunFolder("runs/water"), Splits([], [], []), Progress(step=10), None).run.best.name
        'best.model'
    """

    run: RunFolder
    splits: Splits
    progress: Progress
    signal: Signals | None
    is_main: bool = True
    config: RunConfig | None = None


def train(config: RunConfig, out: str | Path, *, resume: bool = False, quiet: bool = False) -> TrainResult:
    """Train a model as the configuration says, until the budget is spent.

    Writes ``config.yaml``, ``log.jsonl`` (one line per validation), ``best.model`` (averaged weights with the lowest
    validation loss), ``last.state`` and ``previous.state`` into ``out``; with ``training.start_from`` also
    ``start.model``, a copy of it. A run with a budget of steps that was interrupted and resumed ends with the same bits
    as one that was not (on a CPU, with the same number of threads and ranks). SIGINT, SIGTERM and SIGUSR1 end the step,
    save the state and return; so do not fear to interrupt. Started by ``torchrun``, all ranks train one model.

    Args:
        config: From :func:`~irrepnet.train.config_file.load_config`, or built in Python.
        out: Folder of the run.
        resume: Go on with the run in ``out``; start one if there is none yet.
        quiet: Print nothing.

    Raises:
        ConfigError: If ``out`` holds another run or another process trains in it, the device is not there or the
            configuration changed.
        DataError: If the data are not as needed.
        BackendError: If ``model.backend`` cannot serve the model on the device.
        NonFiniteError: If the loss, a gradient or a validation is NaN or infinite; the last good state is kept.
        CheckpointError: If ``resume`` finds no state that can be read, or ``training.start_from`` cannot be.
        RankError: If another rank has died or does not answer.
        OSError: If the disk is full; the last good state is kept.

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
    settings = config.training
    with (
        Ranks.join(settings.device, settings.ranks_timeout_s) as ranks,
        StopRequest() as stop,
        TrainingConsole(quiet=quiet or not ranks.is_main) as console,
        RunLock(out) as lock,
    ):
        session = _prepare(config, RunFolder(out), ranks, console, lock, resume=resume)
        try:
            signal = _learn(session, stop)
        except RankError:  # it comes before a step changes anything, so the state is whole
            session.save()
            raise
        if session.model_config.radial == "table":
            console.say(describe_radial(session.state.averaged.module, [session.data.largest]))
    return TrainResult(
        session.run, session.splits, session.state.progress, signal, is_main=ranks.is_main, config=session.config
    )


def _learn(session: _Session, stop: StopRequest) -> Signals | None:
    """Take steps and validate until the budget is spent or a signal has come; return the signal."""
    settings, state, data, ranks = session.config.training, session.state, session.data, session.ranks
    progress = state.progress
    started = time.monotonic() - progress.seconds
    saved_at = progress.seconds
    epoch = steps_per_epoch(len(data.items), settings.batch_size)
    interval = settings.validate_every_steps or max(1, round((settings.validate_every_epochs or 1) * epoch))
    timer = StepTimer(settings, epoch)
    with BatchStream(data.items, workers=session.config.data.workers) as stream:
        steps = pieces_of_steps(data, stream, settings, ranks, first_step=progress.step)
        while True:
            # One clock and one will: all ranks stop at the same step.
            progress.seconds, number = ranks.max([time.monotonic() - started, stop.signal or 0])
            spent = _share_spent(settings, progress)
            rate = learning_rate(
                spent, peak=settings.lr, warmup=settings.warmup, floor=settings.lr_floor, schedule=settings.schedule
            )

            is_due = progress.step % interval == 0 or spent >= 1
            if is_due and progress.validated_at < progress.step and not number:
                if not _validate(session, stop, started=started, epoch=progress.step / epoch, rate=rate):
                    continue  # a signal has come, and the next round ends the run
                saved_at = progress.seconds
            if number:
                session.save()
                name = Signals(int(number)).name
                session.console.say(f"{name}: the state of step {progress.step} is saved; go on with --resume")
            if number or spent >= 1:
                return Signals(int(number)) if number else None

            before = time.monotonic()
            loss = take_step(
                state,
                next(steps),
                task=session.task,
                weights=settings.loss_at(spent),
                rate=rate,
                clip_norm=settings.clip_norm,
                ranks=ranks,
            )
            now = time.monotonic()
            session.console.advance(spent, progress.step, loss, _seconds_left(settings, progress))
            if (remark := timer.add(now - before)) is not None:
                session.console.say(remark)
            if now - started > saved_at + 60 * settings.save_every_minutes:
                saved_at = progress.seconds = now - started
                session.save()


@dataclass(frozen=True, eq=False)
class _Session:
    """All that a sitting of a run works with."""

    config: RunConfig
    run: RunFolder
    ranks: Ranks
    console: TrainingConsole
    splits: Splits
    data: TrainingSet
    valid_items: Sequence[LabelledGraphs]
    state: TrainState
    task: Task
    said: set[str] = field(default_factory=set)

    @property
    def model_config(self) -> Any:
        """Configuration of the model, complete."""
        return self.state.model.config

    def say_once(self, what: str, sentence: str) -> None:
        """Print a sentence unless one of this kind has been printed."""
        if what not in self.said:
            self.said.add(what)
            self.console.say(sentence)

    def save(self) -> None:
        """Write the state: it is the same on all ranks, and one of them does it."""
        if self.ranks.is_main:
            self.state.save(self.run, self.config)


def _prepare(
    config: RunConfig, run: RunFolder, ranks: Ranks, console: TrainingConsole, lock: RunLock, *, resume: bool
) -> _Session:
    """Read the frames, build the model and open the folder; nothing is written before all else is well."""
    settings = config.training
    run.check_free(resume=resume)
    device = usable_device(settings.device)
    start = None
    if settings.start_from is not None:
        of_run = resume and run.has_state and run.start.exists()  # a run needs nothing outside its folder to go on
        config, start = with_model_of(config, run.start if of_run else settings.start_from)
    splits = load_splits(config)
    for finding in splits.findings[:MOST_NAMED]:
        console.say(f"note: {finding}")
    if len(splits.findings) > MOST_NAMED:
        console.say(f"note: and {len(splits.findings) - MOST_NAMED} more findings; {run.findings.name} has all")
    section: Any = config.model
    known: dict[str, Any] = {"cache": config.data.cache, "say": console.say}
    data = training_set(splits.train, section.cutoff, isolated=splits.isolated, **known)
    valid = training_set(splits.valid, section.cutoff, **known)
    model = model_from_data(config, data, start=start, say=console.say)
    freeze(model, settings.freeze, say=console.say)
    mark = fingerprint(splits.train, splits.valid, isolated=splits.isolated)
    ranks.agree("the training and validation frames", mark)
    state = TrainState(model.to(device), settings, data_fingerprint=mark)
    task = task_of(model)
    # A backend that cannot serve says so here, before there is a folder.
    task.predict(state.averaged.module.eval(), data.items[0].to(device), labels=())
    session = _Session(config, run, ranks, console, splits, data, valid.items, state, task)
    _open_run(session, lock, resume=resume)
    if not console.is_quiet:
        console.say(summarise(splits, data, valid, state, task))
        console.say(describe_radial(model, [data.largest]))
    return session


def _open_run(session: _Session, lock: RunLock, *, resume: bool) -> None:
    """Take up the state of a run, or lay the first one down: from then on the folder can always be resumed."""
    run, state, config = session.run, session.state, session.config
    if session.ranks.is_main:
        lock.acquire()
        run.check_free(resume=resume)  # another process may have come first while the frames were read
        run.write_findings(session.splits.findings)
    session.ranks.barrier()  # what rank 0 has refused is refused by all
    found = resume and run.has_state
    session.ranks.barrier()  # before a rank changes what another one looks for
    if found:
        remark = state.load(run, config)
        if remark is not None:
            session.console.say(remark)
        session.ranks.agree("the saved state", f"step {state.progress.step}")
        if session.ranks.is_main:
            run.cut_log(state.progress.validated_at)
        session.console.say(f"resuming {run.path} at step {state.progress.step}")
        return
    if resume and run.best.exists():
        raise CheckpointError(
            f"{run.path}: --resume needs {run.state.name}; found {run.best.name} without it; choose another --out"
        )
    if session.ranks.is_main:
        run.create(config)
        if config.training.start_from is not None:
            with run.writing(run.start):
                write_atomic(run.start, Path(config.training.start_from).read_bytes())
        run.cut_log(-1)
        session.save()
    session.ranks.barrier()


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


def _validate(session: _Session, stop: StopRequest, *, started: float, epoch: float, rate: float) -> bool:
    """Compare the averaged weights with the validation frames, log it and save; return False if a signal came."""
    settings, state, task = session.config.training, session.state, session.task
    evaluation = evaluate(
        state.averaged.module,
        session.valid_items,
        batch_size=settings.batch_size,
        loss=settings.final_loss,
        task=task,
        ranks=session.ranks,
        interrupted=lambda: stop.signal is not None,
    )
    if evaluation is None:
        return False
    progress = state.progress
    _refuse_nan(evaluation, session.valid_items, progress)
    progress.seconds = time.monotonic() - started
    row = _log_row(evaluation, progress, task, epoch=epoch, rate=rate)
    is_best = _is_best(evaluation, progress)
    if session.ranks.is_main:
        if is_best:
            _keep(evaluation, session)
        session.run.append_log(row)
    left = _seconds_left(settings, progress)
    session.console.row(row, is_best=is_best, seconds_left=left, units=task.units)
    if (remark := _remark_on_divergence(row["valid_loss"], progress, settings)) is not None:
        session.say_once("diverged", remark)
    session.save()
    return True


def _refuse_nan(evaluation: Evaluation, items: Sequence[LabelledGraphs], progress: Progress) -> None:
    """Stop before a validation that is not finite can reach the log, the state or the best model."""
    if evaluation.loss is not None and math.isfinite(evaluation.loss):
        return
    named = listing(evaluation.not_finite or [item.sources[0] for item in items])
    what = f"the validation loss is {evaluation.loss}"
    raise NonFiniteError(f"training stopped at step {progress.step}: {what} for {named}; {WHAT_NOW}")


def _remark_on_divergence(loss: float, progress: Progress, settings: TrainingConfig) -> str | None:
    """Return a sentence where the weights have lost what they had learned; they rarely find back at the same rate."""
    if not 0 < _DIVERGED[settings.final_loss.kind] * progress.best_loss < loss:
        return None
    remedy = "a lower training.lr" if settings.amsgrad else "a lower training.lr, or with training.amsgrad"
    return (
        f"note: the validation loss is {loss / progress.best_loss:.0f} times that of step {progress.best_step}: "
        f"training has diverged; best.model is kept; if it does not find back, begin again with {remedy}"
    )


def _log_row(evaluation: Evaluation, progress: Progress, task: Task, *, epoch: float, rate: float) -> dict[str, Any]:
    """Turn a validation and the training since the last one into a row; start the next interval."""
    row = {
        "step": progress.step,
        "epoch": epoch,
        "seconds": progress.seconds,
        "lr": rate,
        "train_loss": progress.loss_sum / progress.loss_count if progress.loss_count else None,
        "valid_loss": evaluation.loss,
        **evaluation.metrics,
        **{f"train_{name}": value for name, value in progress.errors.metrics(task.units).items()},
    }
    progress.start_interval()
    return row


def _is_best(evaluation: Evaluation, progress: Progress) -> bool:
    """Note a validation that is better than all before."""
    assert evaluation.loss is not None
    if evaluation.loss >= progress.best_loss:
        return False
    progress.best_loss, progress.best_step = evaluation.loss, progress.step
    return True


def _keep(evaluation: Evaluation, session: _Session) -> None:
    """Write the averaged weights as the best model, with its errors."""
    extra = {
        "step": session.state.progress.step,
        "valid_loss": evaluation.loss,
        "metrics": evaluation.metrics,
        "units": {"energy": "eV", "length": "Å"},
        "metric_units": {label: metric_unit(unit)[0] for label, unit in session.task.units.items()},
        "data": _name_of(session.config.data.train),
        "num_frames": len(session.splits.train),
        "title": session.config.report.title,
    }
    with session.run.writing(session.run.best):
        save_model(session.state.averaged.module, session.run.best, extra=extra)


def _name_of(data: str) -> str:
    """Return what a model tells of where its frames are from: no folders of this machine."""
    return data if data.startswith(("set:", "package:")) else Path(data).name
