"""``irrepnet committee``: several models of one configuration, and how much their disagreement is worth."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from irrepnet.data.frame import Frame
    from irrepnet.deploy.committee import Committee, Factor
    from irrepnet.train.config import RunConfig

__all__ = ["add_parser", "run"]

_FEWEST = 2
_NOT_JUDGED = (
    "there are no test frames, so the factors were judged by none: on the frames that they were fitted to they would "
    "look right; give data.test or data.test_ids"
)


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "committee",
        help="train several models that know when they do not know",
        description="Train CONFIG with several seeds on the same frames, fit the factor that makes the spread of the "
        "models an error on the validation frames, and show on the test frames what it is worth. "
        "DIR/models.committee serves where a model file does (predict, eval, info, dynamics). "
        "Called again it goes on. Forces have many entries per frame, energies one: for spreads of energies that can "
        "be trusted train five members or more.",
    )
    parser.add_argument("config", metavar="CONFIG", help="YAML file of one training")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder of the committee")
    parser.add_argument("--members", type=int, default=4, metavar="N", help="models (4)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="trainings at a time (1)")
    parser.add_argument(
        "--set", metavar="a.b=c", action="append", default=[], dest="overrides", help="change a key of all trainings"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0, 1 if a training failed, 128 + n if signal n ended it."""
    from irrepnet.deploy.calibration import calibrate
    from irrepnet.deploy.committee import Committee
    from irrepnet.deploy.committee_file import SUFFIX, save_committee
    from irrepnet.errors import ConfigError
    from irrepnet.train.config_file import load_config
    from irrepnet.train.run_folder import RunFolder
    from irrepnet.train.splits import load_splits
    from irrepnet.train.study import StudyStoppedError, plan_study, run_study

    if arguments.members < _FEWEST:
        raise ConfigError(f"--members needs {_FEWEST} or more; found {arguments.members}; one model has no spread")
    trainings = plan_study(arguments.config, arguments.out, seeds=arguments.members, overrides=arguments.overrides)
    try:
        rows = run_study(arguments.config, trainings, jobs=arguments.jobs)
    except StudyStoppedError as stopped:
        print(stopped)
        return 128 + stopped.signal
    failed = [row for row in rows if row.failure is not None]
    if failed:
        print(f"\n{len(failed)} of {len(trainings)} trainings failed; mend them and call again")
        return 1
    config = load_config(RunFolder(trainings[0].folder).config)  # complete, also where it began with another model
    splits = load_splits(config)
    committee = Committee([RunFolder(training.folder).best for training in trainings])
    batch_size = config.training.batch_size
    factors = calibrate(committee, splits.valid, batch_size=batch_size)
    out = Path(arguments.out)
    save_committee(committee, out / f"models{SUFFIX}")
    is_judged = splits.test is not splits.valid
    judged = calibrate(Committee(list(committee.members)), splits.test, batch_size=batch_size) if is_judged else {}
    print(f"\n{_table(factors, judged)}" + ("" if is_judged else f"\n{_NOT_JUDGED}"))
    _write_page(committee, splits.test, config, out / "committee.html", is_judged=is_judged)
    print(f"\nin {out}:\n  models{SUFFIX}  takes the place of a model file\n  committee.html    error against spread")
    return 0


def _table(factors: Mapping[str, Factor], judged: Mapping[str, Factor]) -> str:
    """Say by how much spreads are multiplied, and how far off that is on frames that the factor has not seen."""
    lines = [f"{'label':<14}{'factor':>8}{'entries':>10}   rms error / calibrated spread, test frames"]
    for name, (factor, entries) in factors.items():
        on_test = f"{judged[name].factor / factor:.2f}" if name in judged and factor > 0 else "-"
        lines.append(f"{name:<14}{factor:>8.2f}{entries:>10}   {on_test}")
    return "\n".join(lines)


def _write_page(
    committee: Committee, frames: Sequence[Frame], config: RunConfig, path: Path, *, is_judged: bool
) -> None:
    from irrepnet.report.data import ReportData
    from irrepnet.report.html import write_report

    spread = _spread_of_forces(committee, frames)
    no_forces = {"committee": "the models predict no forces; the factors are printed above"}
    data = ReportData(
        title=f"{config.report.title}: committee",
        summary=f"{len(committee.members)} models, {len(frames)} {'test' if is_judged else 'validation'} frames; "
        "spreads are multiplied by the factor that explains the errors on the validation frames."
        + ("" if is_judged else f" {_NOT_JUDGED[0].upper()}{_NOT_JUDGED[1:]}."),
        committee=spread,
        config=config.model_dump(mode="json"),
        missing={} if spread is not None else no_forces,
    )
    write_report(path, data)


def _spread_of_forces(committee: Committee, frames: Sequence[Frame]) -> Any:
    import numpy as np

    from irrepnet.deploy.predict_frames import predict_frames
    from irrepnet.report.committee import CommitteeSpread

    spreads, errors = [], []
    for frame, said in zip(frames, predict_frames(committee, frames), strict=True):
        if frame.forces is not None and "forces_spread" in said:
            spreads.append(said["forces_spread"])
            errors.append(np.linalg.norm(said["forces"] - frame.forces, axis=1))
    if not spreads:
        return None
    return CommitteeSpread(
        np.concatenate(spreads), np.concatenate(errors), num_models=len(committee.members), is_calibrated=True
    )
