"""Many trainings of one configuration: learning curves of several variants, sizes and seeds, each run resumable."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from signal import Signals
from typing import Any, NamedTuple

from irrepnet.errors import CheckpointError, ConfigError
from irrepnet.models.checkpoint import write_atomic
from irrepnet.models.migrations import with_younger_keys
from irrepnet.train.config_file import load_config
from irrepnet.train.run_folder import RunFolder
from irrepnet.train.signals import StopRequest

__all__ = [
    "StudyRow",
    "StudyStoppedError",
    "Training",
    "Variant",
    "plan_study",
    "read_variant",
    "run_study",
    "write_table",
]

_PLAN = "study.json"
_POLL = 0.2  # s between looks at whether a signal has come
_LAST_LINES = 3  # of a failed training's output that tell why


class StudyStoppedError(RuntimeError):
    """A signal ended a study before its trainings were done.

    Args:
        number: The signal.

    Example:
        >>> str(StudyStoppedError(Signals.SIGTERM))
        'SIGTERM: the trainings have saved their state; the same command goes on with them'
    """

    def __init__(self, number: Signals) -> None:
        super().__init__(f"{number.name}: the trainings have saved their state; the same command goes on with them")
        self.signal = number


class Variant(NamedTuple):
    """A name and the changes to the configuration that make it.

    Example:
        >>> read_variant("l=0: model.lmax=0 model.irreps_hidden=64x0e").overrides
        ('model.lmax=0', 'model.irreps_hidden=64x0e')
    """

    name: str
    overrides: tuple[str, ...]


class Training(NamedTuple):
    """One training of a study.

    Example:
        >>> Training("as configured", 100, 0, Path("runs/a"), ("data.train_count=100",)).seed
        0
    """

    variant: str
    num_frames: int | None  # to learn from; None: all that there are
    seed: int
    folder: Path
    overrides: tuple[str, ...]

    @property
    def name(self) -> str:
        """As messages say it."""
        size = "all" if self.num_frames is None else self.num_frames
        return f"{self.variant}, {size} frames, seed {self.seed}"


class StudyRow(NamedTuple):
    """The error of one label after one training, or why there is none.

    Example:
        >>> StudyRow("l=0", 100, 0, "forces", 40.0, 60.0, 800.0, "meV/Å", 600.0, None).rmse
        60.0
    """

    variant: str
    num_frames: int | None
    seed: int
    label: str
    mae: float | None
    rmse: float | None
    spread: float | None
    unit: str
    seconds: float | None  # of training
    failure: str | None


def read_variant(text: str) -> Variant:
    """Read ``"NAME: a.b=c d.e=f"``.

    Raises:
        ConfigError: If there is no name, or a change has no ``=``.

    Example:
        >>> read_variant("l=2: model.lmax=2")
        Variant(name='l=2', overrides=('model.lmax=2',))
    """
    name, colon, changes = text.partition(":")
    overrides = tuple(changes.split())
    if not colon or not name.strip() or any("=" not in change for change in overrides):
        raise ConfigError(
            f"--variant needs 'NAME: section.key=value ...'; found {text!r}; write for example "
            "--variant 'scalars: model.lmax=0 model.irreps_hidden=64x0e'"
        )
    return Variant(name.strip(), overrides)


def plan_study(
    config: str | Path,
    out: str | Path,
    *,
    variants: Sequence[Variant] = (),
    sizes: Sequence[int] = (),
    seeds: int = 1,
    overrides: Sequence[str] = (),
) -> list[Training]:
    """List the trainings of a study, and write ``study.json``, by which a later call knows that it goes on with it.

    All trainings validate and test on the same frames: the split has one seed, that of the configuration without
    variants, the weights and the order another.
    Molecular dynamics and the pages of single trainings are left out.

    Args:
        config: YAML file of a training.
        out: Folder of the study; every training has its own in it.
        variants: None: the configuration as it is.
        sizes: Numbers of training frames, each a part of the next; none: all frames.
        seeds: Trainings of each variant and size.
        overrides: Changes for all trainings, ``"training.minutes=5"``.

    Returns:
        The trainings, small ones first.

    Raises:
        ConfigError: If a configuration is not valid, names repeat, or ``out`` holds a study with other settings.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.yaml").write_text("data: {train: a.npz}\\ntraining: {steps: 10}")
        ...     plan = plan_study(f"{folder}/a.yaml", f"{folder}/study", sizes=[10, 20], seeds=2)
        >>> [(training.num_frames, training.seed) for training in plan]
        [(10, 0), (10, 1), (20, 0), (20, 1)]
    """
    variants = variants or [Variant("as configured", ())]
    names = [_folder_name(variant.name) for variant in variants]
    if len(set(names)) != len(names) or seeds < 1 or any(size < 1 for size in sizes):
        raise ConfigError(
            f"a study needs variants of different names, sizes and seeds above 0; found {', '.join(names)}; sizes "
            f"{list(sizes)}; seeds {seeds}"
        )
    common = (*overrides, "md.enabled=false", "report.enabled=false")
    # A variant with a seed of its own must not be tested on other frames.
    split_seed = load_config(config, common).training.seed
    settings = {}
    for variant in variants:
        base = load_config(config, [*common, *variant.overrides])
        tree = base.model_dump(mode="json")
        tree["data"]["keys"] = base.data.keys.model_dump(exclude_unset=True)
        settings[variant.name] = tree
    _open_study(Path(out), settings)
    first = {name: tree["training"]["seed"] for name, tree in settings.items()}
    trainings = []
    counts: list[int | None] = [*sorted(set(sizes))] or [None]
    for size, (variant, name), number in itertools.product(counts, zip(variants, names, strict=True), range(seeds)):
        seed = first[variant.name] + number
        split = settings[variant.name]["data"]["split_seed"]
        own = [f"training.seed={seed}", f"data.split_seed={split_seed if split is None else split}"]
        own += [] if size is None else [f"data.train_count={size}"]
        folder = Path(out) / name / f"{'all' if size is None else size}-{seed}"
        trainings.append(Training(variant.name, size, seed, folder, (*common, *variant.overrides, *own)))
    return trainings


def run_study(
    config: str | Path, trainings: Sequence[Training], *, jobs: int = 1, say: Callable[[str], None] = print
) -> list[StudyRow]:
    """Do the trainings that are not done yet, each in a process of its own, and return the errors of all.

    A training that fails is told and does not end the study. SIGINT, SIGTERM and SIGUSR1 are handed to the trainings,
    which save their state; the next call goes on with them.

    Args:
        config: As for :func:`plan_study`.
        trainings: From :func:`plan_study`.
        jobs: Trainings at a time. With budgets in minutes they compete for the cores.
        say: What is called with each line of progress.

    Raises:
        ConfigError: If ``jobs`` is not positive.
        StudyStoppedError: If a signal came; after the trainings have saved their state and ended.
        KeyboardInterrupt: If a second SIGINT came.

    Example:
        >>> run_study("water.yaml", [])
        0 trainings, 0 of them done before
        []
    """
    if jobs < 1:
        raise ConfigError(f"a study needs jobs of 1 or more; found {jobs}")
    open_trainings = [training for training in trainings if not RunFolder(training.folder).metrics.exists()]
    say(f"{len(trainings)} trainings, {len(trainings) - len(open_trainings)} of them done before")
    processes = _Processes()
    done = len(trainings) - len(open_trainings)
    with StopRequest() as stop, ThreadPoolExecutor(jobs) as pool:
        waiting: dict[Future[int], Training] = {
            pool.submit(processes.train, config, training): training for training in open_trainings
        }
        try:
            while waiting and stop.signal is None:
                for future in wait(waiting, timeout=_POLL, return_when=FIRST_COMPLETED).done:
                    done += 1
                    say(f"[{done}/{len(trainings)}] {_outcome(waiting.pop(future), future.result())}")
        finally:
            for future in waiting:
                future.cancel()
            processes.stop()  # each saves its state and ends
    if stop.signal is not None:
        raise StudyStoppedError(stop.signal)
    return [row for training in trainings for row in _rows(training)]


def write_table(rows: Sequence[StudyRow], path: str | Path) -> None:
    """Write the errors as a CSV file, atomically.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_table([], f"{folder}/study.csv")
        ...     Path(folder, "study.csv").read_text().startswith("variant,num_frames,seed,label,mae,rmse")
        True
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(StudyRow._fields)
    writer.writerows(rows)
    write_atomic(path, buffer.getvalue().encode())


def _folder_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-=.+" else "_" for letter in name)


def _open_study(out: Path, settings: dict[str, Any]) -> None:
    """Refuse a folder whose trainings had other settings; variants, sizes and seeds may be added."""
    path = out / _PLAN
    before: dict[str, Any] = {}
    if path.exists():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CheckpointError(f"{path} is damaged ({error}); choose another --out") from None
    elif out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out}: needed a new folder or one with {_PLAN}; found other files; choose another --out")
    for name in before.keys() & settings.keys():
        before[name]["model"] = with_younger_keys(before[name]["model"])
        if before[name] != settings[name]:
            changes = ", ".join(_differences(before[name], settings[name]))
            raise ConfigError(f"{out} holds a study whose {name!r} had other settings: {changes}; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (json.dumps(before | settings, indent=2, ensure_ascii=False) + "\n").encode())


def _differences(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key} {old!r} then, {new!r} now"


class _Processes:
    """The trainings that are running, each waited for by a thread of its own."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopping = threading.Event()

    def train(self, config: str | Path, training: Training) -> int:
        """Run ``irrepnet train`` and return its exit code; what it says goes to ``output.txt`` in its folder."""
        changes = [part for override in training.overrides for part in ("--set", override)]
        command = [sys.executable, "-m", "irrepnet", "train", str(config), "--out", str(training.folder), "--resume"]
        training.folder.mkdir(parents=True, exist_ok=True)
        with (training.folder / "output.txt").open("ab") as output:
            # A group of its own: Ctrl-C reaches it through us, once.
            process = subprocess.Popen(
                [*command, *changes], stdout=output, stderr=subprocess.STDOUT, start_new_session=os.name == "posix"
            )
            self._running.add(process)
            if self._stopping.is_set():  # `stop` may have looked before this one was there
                process.terminate()
            try:
                return process.wait()
            finally:
                self._running.discard(process)

    def stop(self) -> None:
        """Ask every training to end, also those that are just being started."""
        self._stopping.set()
        for process in list(self._running):
            process.terminate()


def _outcome(training: Training, code: int) -> str:
    metrics = RunFolder(training.folder).metrics
    if not metrics.exists():
        return f"{training.name}: FAILED with exit code {code}: {_why(training)}"
    errors = json.loads(metrics.read_text(encoding="utf-8"))
    text = ", ".join(
        f"{label} MAE {values['mae']:.4g} {errors['units'][label]}"
        for label, values in errors["errors"].items()
        if label in errors["units"]
    )
    return f"{training.name}: {text}"


def _why(training: Training) -> str:
    output = training.folder / "output.txt"
    lines = output.read_text(encoding="utf-8", errors="replace").split("\n") if output.exists() else []
    return " ".join([line.strip() for line in lines if line.strip()][-_LAST_LINES:]) or "it said nothing"


def _rows(training: Training) -> list[StudyRow]:
    head = training.variant, training.num_frames, training.seed
    metrics = RunFolder(training.folder).metrics
    if not metrics.exists():
        return [StudyRow(*head, "", None, None, None, "", None, _why(training))]
    found = json.loads(metrics.read_text(encoding="utf-8"))
    return [
        StudyRow(*head, label, row["mae"], row["rmse"], row["spread"], unit, found["training_seconds"], None)
        for label, row in found["errors"].items()
        if (unit := found["units"].get(label)) is not None
    ]
