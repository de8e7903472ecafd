"""What a person sees of a running training: one line per validation, and a bar with the time that is left."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from irrepnet.train.metrics import METRIC_UNITS

__all__ = ["TrainingConsole", "format_seconds"]


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
        self._console = Console(file=sys.stdout, quiet=quiet, highlight=False, soft_wrap=True)
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

    def row(self, row: dict[str, Any], *, seconds_left: float | None, is_best: bool) -> None:
        """Print one line for a validation, below a header with the units; a star marks the best so far."""
        labels = [name for name in METRIC_UNITS if f"{name}_mae" in row]
        if not self._has_header:
            units = [f"{name} MAE / RMSE, {METRIC_UNITS[name]}" for name in labels]
            self._cells("step", "epoch", "train loss", "valid loss", units, "lr", "time", "left")
            self._has_header = True
        errors = [f"{row[name + '_mae']:.2f} / {row[name + '_rmse']:.2f}" for name in labels]
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
        columns = "".join(f"{text:>29}" for text in errors)
        tail = "".join(f"{text:>9}" for text in rest)
        self.say(f"{step:>7}{epoch:>8}{train:>12}{valid:>12}{columns}{tail}")
