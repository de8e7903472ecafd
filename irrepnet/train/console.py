"""What a person sees of a running training: one line per validation, and a bar with the time that is left."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from irrepnet.train.error_sums import metric_unit
from irrepnet.train.tasks import FORCE_FIELD_UNITS

__all__ = ["TrainingConsole", "format_seconds"]

_MOST_COLUMNS = 3  # labels beside each other; a line of twelve would not fit a screen


def format_seconds(seconds: float | None) -> str:
    """Return a duration as people write it; a dash where it is not known.

    Example:
        >>> format_seconds(59), format_seconds(754), format_seconds(7260)
        ('59s', '12m34s', '2h01m')
    """
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


class TrainingConsole:
    """Prints lines; on a terminal also a bar with the share of the budget, the loss and the time left.

    Args:
        quiet: Print nothing at all.

    Example:
        >>> with TrainingConsole() as console:
        ...     console.say("100 frames")
        100 frames
    """

    def __init__(self, *, quiet: bool = False):
        self._console = _UnheardConsole(file=sys.stdout, quiet=quiet, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        if self._console.is_terminal and not quiet:
            self._bar = Progress(
                TextColumn("training"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]} left  step {task.fields[step]}  loss {task.fields[loss]}"),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=1.0, left="?", step=0, loss="-")
        self._has_header = False
        self.is_quiet = quiet

    def __enter__(self) -> TrainingConsole:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False)

    def advance(self, share: float, step: int, loss: float, seconds_left: float | None) -> None:
        """Move the bar."""
        if self._bar is not None:
            left = format_seconds(seconds_left)
            self._bar.update(self._task, completed=share, left=left, step=step, loss=f"{loss:.3g}")

    def row(
        self,
        row: dict[str, Any],
        *,
        seconds_left: float | None,
        is_best: bool,
        units: Mapping[str, str] = FORCE_FIELD_UNITS,
    ) -> None:
        """Print one line for a validation, below a header with the units; a star marks the best so far."""
        labels = [name for name in units if f"{name}_mae" in row]
        shown = labels[:_MOST_COLUMNS]
        if not self._has_header:
            if len(labels) > len(shown):
                self.say(f"errors of {len(shown)} of {len(labels)} targets are shown; log.jsonl has all")
            heads = [f"{name} MAE / RMSE, {metric_unit(units[name])[0]}" for name in shown]
            self._cells("step", "epoch", "train loss", "valid loss", heads, "lr", "time", "left")
            self._has_header = True
        errors = [f"{_short(row[name + '_mae'])} / {_short(row[name + '_rmse'])}" for name in shown]
        self._cells(
            str(row["step"]),
            f"{row['epoch']:.2f}",
            "-" if row["train_loss"] is None else f"{row['train_loss']:.4g}",
            f"{row['valid_loss']:.4g}{'*' if is_best else ' '}",
            errors,
            f"{row['lr']:.2e}",
            format_seconds(row["seconds"]),
            format_seconds(seconds_left),
        )

    def _cells(self, step: str, epoch: str, train: str, valid: str, errors: list[str], *rest: str) -> None:
        columns = "".join(f"{text:>{max(29, len(text) + 2)}}" for text in errors)
        tail = "".join(f"{text:>9}" for text in rest)
        self.say(f"{step:>7}{epoch:>8}{train:>12}{valid:>12}{columns}{tail}")


class _UnheardConsole(Console):
    """A console whose reader may leave (``| head``): what it would have said is lost, the training is not."""

    def on_broken_pipe(self) -> None:
        """Fall silent, and let whatever else is printed go nowhere."""
        self.quiet = True
        with contextlib.suppress(OSError, ValueError):  # a stream that is no file of the system, or is closed
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _short(value: float) -> str:
    """Two decimals, and more where an error is small in its unit."""
    return f"{value:.2f}" if value >= 1 else f"{value:.4f}"
