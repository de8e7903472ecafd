"""The folder of one training run: which file is what, and when a folder may be used."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from irrepnet.errors import ConfigError, DataError
from irrepnet.models.checkpoint import write_atomic
from irrepnet.train.config import RunConfig

__all__ = ["RunFolder"]


class RunFolder:
    """Paths of a run, its configuration and its log.

    Args:
        path: The folder; it is made by :meth:`create`.

    Example:
        >>> RunFolder("runs/water").best.as_posix()
        'runs/water/best.model'
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.log = self.path / "log.jsonl"
        self.best = self.path / "best.model"
        self.state = self.path / "last.state"
        self.previous_state = self.path / "previous.state"
        self.start = self.path / "start.model"
        self.metrics = self.path / "metrics.json"
        self.evaluation = self.path / "evaluation.npz"
        self.report = self.path / "report.html"
        self.md = self.path / "md.npz"
        self.findings = self.path / "findings.json"

    @property
    def has_state(self) -> bool:
        """Whether there is a training to go on with."""
        return self.state.exists() or self.previous_state.exists()

    def check_free(self, *, resume: bool) -> None:
        """Refuse a folder that holds another run.

        Raises:
            ConfigError: If there is a run and ``resume`` is false, or the path is a file.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"{self.path}: needed a folder for the run; found a file; choose another --out")
        if not resume and any(file.exists() for file in (self.config, self.log, self.state, self.best)):
            raise ConfigError(
                f"{self.path}: needed a new folder; found a run in it; add --resume to go on, or choose another --out"
            )

    def create(self, config: RunConfig) -> None:
        """Make the folder and write the complete configuration into it.

        Raises:
            OSError: As :meth:`writing`.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        tree = config.model_dump(mode="json")
        tree["data"]["keys"] = config.data.keys.model_dump(exclude_unset=True)  # a key that is set must be in the file
        text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
        with self.writing(self.config):
            write_atomic(self.config, text.encode())

    def write_findings(self, findings: Sequence[str]) -> None:
        """Keep the sentences about what looked odd in the frames; a file of an earlier look goes.

        Raises:
            OSError: As :meth:`writing`.
        """
        if not findings:
            self.findings.unlink(missing_ok=True)
            return
        with self.writing(self.findings):
            write_atomic(self.findings, (json.dumps(list(findings), indent=2, ensure_ascii=False) + "\n").encode())

    def read_findings(self) -> list[str]:
        """Return the sentences about the frames; none where nothing looked odd.

        Raises:
            DataError: If the file is damaged.
        """
        if not self.findings.exists():
            return []
        try:
            return [str(finding) for finding in json.loads(self.findings.read_text(encoding="utf-8"))]
        except ValueError as error:
            raise DataError(
                f"{self.findings}: needed a list of sentences; found a damaged file ({error}); remove it"
            ) from None

    @contextmanager
    def writing(self, file: Path) -> Iterator[None]:
        """Give an error of writing, such as a full disk, the words that help.

        Args:
            file: What is written, in one step or not at all.

        Raises:
            OSError: It names the file, the reason and what to do.
        """
        try:
            yield
        except OSError as error:
            raise OSError(
                error.errno,
                f"{file} cannot be written: {error.strerror}; what was there before is kept; make room, then go on "
                "with --resume",
            ) from error

    def append_log(self, row: dict[str, Any]) -> None:
        """Add one line to ``log.jsonl``.

        Raises:
            OSError: As :meth:`writing`.
        """
        with self.writing(self.log), self.log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
            stream.flush()
            os.fsync(stream.fileno())  # a saved state must never be ahead of the log

    def read_log(self) -> list[dict[str, Any]]:
        """Return the rows of ``log.jsonl``; a last line that a kill cut short is left out."""
        rows = []
        for line in self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else ():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return rows

    def cut_log(self, step: int) -> None:
        """Drop the rows after ``step``: a resumed run will write them again."""
        rows = [row for row in self.read_log() if row["step"] <= step]
        write_atomic(self.log, "".join(json.dumps(row) + "\n" for row in rows).encode())
