"""``irrepnet eval``: the errors of a model on labelled frames."""

from __future__ import annotations

import argparse
import json
from typing import Any

from irrepnet.cli.data_file import add_reading_option, read_data

__all__ = ["add_parser", "run"]


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "eval",
        help="errors of a model on a data file",
        description="Predict every frame of DATA and compare with its energies, forces, stresses or other targets.",
    )
    parser.add_argument("model", metavar="MODEL", help="model file, DIR/best.model, or .committee: its mean")
    parser.add_argument("data", metavar="DATA", help="data file or folder, set:NAME, or package:water_xtb/heldout.npz")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers to FILE")
    add_reading_option(parser)
    parser.add_argument(
        "--labels",
        metavar="L",
        help="labels that every frame needs to have (of a force field energy,forces; of other models none)",
    )
    parser.add_argument("--batch-size", type=int, default=1, metavar="N", help="frames per call of the model (1)")
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu, cuda, cuda:1, ... (cpu)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from irrepnet.cli.output_file import output_file
    from irrepnet.data.validation import validate_frames
    from irrepnet.deploy.committee import Committee
    from irrepnet.deploy.committee_file import load_model_or_committee
    from irrepnet.errors import ConfigError, DataError
    from irrepnet.models.checkpoint import write_atomic
    from irrepnet.models.registry import kind_of
    from irrepnet.train.devices import usable_device
    from irrepnet.train.metrics import error_rows, evaluate, format_errors, refuse_not_finite
    from irrepnet.train.samples import label_graphs
    from irrepnet.train.tasks import task_of

    if arguments.batch_size < 1:
        raise ConfigError(f"--batch-size needs a number above 0; found {arguments.batch_size}")
    if arguments.json is not None:
        out = output_file(arguments.json, "--json", example="errors.json", inputs=(arguments.model, arguments.data))
    model: Any = load_model_or_committee(arguments.model, usable_device(arguments.device))
    one = model.members[0] if isinstance(model, Committee) else model  # all members have the same labels
    task = task_of(one)
    frames = read_data(arguments.data, arguments.overrides, command="eval")
    usual = "energy,forces" if kind_of(one) == "force_field" else ""
    needed = [label for label in (usual if arguments.labels is None else arguments.labels).split(",") if label]
    for finding in validate_frames(frames, require=needed, known_species=model.atomic_numbers):
        print(f"note: {finding}")
    evaluation = evaluate(model, label_graphs(frames, model.cutoff), batch_size=arguments.batch_size, task=task)
    assert evaluation is not None  # nothing interrupts it
    refuse_not_finite(evaluation)
    if not evaluation.reference:
        raise DataError(
            f"{arguments.data}: needed labels of {', '.join(task.units)}; found none of them in any frame; "
            "set data.keys.properties or data.keys.atom_properties"
        )
    rows = error_rows(evaluation)
    print(f"{arguments.model} on {arguments.data}: {evaluation.num_frames} frames\n\n{format_errors(rows)}")
    print("\ncompared: " + ", ".join(f"{count} values of {label}" for label, count in evaluation.num_values.items()))
    if arguments.json is not None:
        result = {"model": arguments.model, "data": arguments.data, **evaluation.summary()}
        text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomic(out, text.encode())
        print(f"\nwritten: {arguments.json}")
    return 0
