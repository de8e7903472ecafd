"""``irrepnet study``: learning curves of several variants and seeds from one command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from irrepnet.report.study import PublishedError, StudyPanel
    from irrepnet.train.study import StudyRow

__all__ = ["add_parser", "run"]


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "study",
        help="learning curves: many trainings, one page",
        description="Train CONFIG with several numbers of frames, variants and seeds. DIR/study.html shows the curves, "
        "DIR/study.csv holds the numbers. Called again it goes on, and takes up what was added.",
    )
    parser.add_argument("config", metavar="CONFIG", help="YAML file of one training")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder of the study")
    parser.add_argument("--sizes", metavar="N,N", default="", help="numbers of training frames, 50,200,950 (all)")
    parser.add_argument(
        "--variant",
        metavar="'NAME: a.b=c ...'",
        action="append",
        default=[],
        dest="variants",
        help="a variant of CONFIG; repeatable (CONFIG as it is)",
    )
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="trainings of each, with other seeds (1)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="trainings at a time (1)")
    parser.add_argument(
        "--published",
        metavar="LABEL:NAME=MAE",
        action="append",
        default=[],
        help="a published error to compare with, in the unit of the study: 'forces:NequIP, 950 frames=2.8'; repeatable",
    )
    parser.add_argument(
        "--set", metavar="a.b=c", action="append", default=[], dest="overrides", help="change a key of all trainings"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0, 1 if a training failed, 128 + n if signal n ended it."""
    from pathlib import Path

    from irrepnet.report.study import StudyData, write_study_report
    from irrepnet.train.config_file import load_config
    from irrepnet.train.study import StudyStoppedError, plan_study, read_variant, run_study, write_table

    published = [_read_published(text) for text in arguments.published]
    trainings = plan_study(
        arguments.config,
        arguments.out,
        variants=[read_variant(text) for text in arguments.variants],
        sizes=_read_sizes(arguments.sizes),
        seeds=arguments.seeds,
        overrides=arguments.overrides,
    )
    try:
        rows = run_study(arguments.config, trainings, jobs=arguments.jobs)
    except StudyStoppedError as stopped:
        print(stopped)
        return 128 + stopped.signal
    out, config = Path(arguments.out), load_config(arguments.config, arguments.overrides)
    write_table(rows, out / "study.csv")
    failed = {
        f"{row.variant}, {row.num_frames or 'all'} frames, seed {row.seed}": row.failure
        for row in rows
        if row.failure is not None
    }
    data = StudyData(
        title=config.report.title,
        panels=_panels(rows, published),
        summary=f"{len(trainings)} trainings of {arguments.config}; mean absolute errors on the test frames.",
        config=config.model_dump(mode="json"),
        missing=failed,
    )
    write_study_report(out / "study.html", data)
    print(
        f"\nin {out}:\n  study.html      learning curves and slopes\n  study.csv       one row per training and label"
    )
    return 1 if failed else 0


def _read_sizes(text: str) -> list[int]:
    from irrepnet.errors import ConfigError

    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ConfigError(f"--sizes needs numbers of frames, 50,200,950; found {text!r}") from None


def _read_published(text: str) -> tuple[str, PublishedError]:
    from irrepnet.errors import ConfigError
    from irrepnet.report.study import PublishedError

    label, colon, rest = text.partition(":")
    name, equals, value = rest.rpartition("=")
    try:
        if not (colon and equals):
            raise ValueError
        return label.strip(), PublishedError(name.strip(), float(value))
    except ValueError:
        raise ConfigError(f"--published needs LABEL:NAME=MAE, such as forces:NequIP=2.8; found {text!r}") from None


def _panels(rows: Sequence[StudyRow], published: Sequence[tuple[str, Any]]) -> list[StudyPanel]:
    """Return a panel per label; trainings on all frames have no place on the axis of sizes and stay in the table."""
    from irrepnet.report.study import LearningSeries, StudyPanel

    panels = []
    for label, unit in dict.fromkeys((row.label, row.unit) for row in rows if row.failure is None):
        chosen = [row for row in rows if row.label == label and row.num_frames is not None]
        series = []
        for variant in dict.fromkeys(row.variant for row in chosen):
            own = [row for row in chosen if row.variant == variant]
            series.append(LearningSeries(variant, [row.num_frames for row in own], [row.mae for row in own]))  # type: ignore[arg-type]
        panels.append(StudyPanel(f"{label}, MAE", unit, series, [error for name, error in published if name == label]))
    return panels
