"""``irrepnet predict``: write what a model says of every structure in a file."""

from __future__ import annotations

import argparse

from irrepnet.cli.data_file import add_reading_option, read_data

__all__ = ["add_parser", "run"]


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "predict",
        help="write a model's predictions to a file",
        description="Predict every structure of DATA and write it with the predictions as its labels: energy (eV), "
        "forces (eV/Å) and, where it is periodic, stress (eV/Å^3) of a force field, named properties of other models. "
        "Nothing is compared; that is irrepnet eval.",
    )
    parser.add_argument(
        "model",
        nargs="+",
        metavar="MODEL",
        help="model file, DIR/best.model; a .committee, or several models: the mean of what they say, and their spread",
    )
    parser.add_argument(
        "data", metavar="DATA", help="structures: file or folder, set:NAME, or package:...; no labels needed"
    )
    parser.add_argument(
        "--out", metavar="FILE", required=True, help="file to write: .extxyz or .xyz, .npz, .h5; by the end of its name"
    )
    parser.add_argument(
        "--keep-labels",
        action="store_true",
        help="keep the labels that DATA has, as reference_energy, reference_forces, ...",
    )
    add_reading_option(parser)
    parser.add_argument("--batch-size", type=int, default=1, metavar="N", help="frames per call of the model (1)")
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu, cuda, cuda:1, ... (cpu)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from irrepnet.cli.frame_notes import FrameNotes
    from irrepnet.cli.output_file import output_file
    from irrepnet.cli.predictions import check_structures, load_models, predicted_frames, predicted_units
    from irrepnet.cli.progress import with_progress
    from irrepnet.data.write_frames import frames_format, write_frames
    from irrepnet.deploy.predict_frames import atom_labels
    from irrepnet.errors import ConfigError
    from irrepnet.train.devices import usable_device

    if arguments.batch_size < 1:
        raise ConfigError(f"--batch-size needs a number above 0; found {arguments.batch_size}")
    inputs = (*arguments.model, arguments.data)
    out = output_file(arguments.out, "--out", example="predicted.extxyz", inputs=inputs)
    frames_format(out)
    model = load_models(arguments.model, usable_device(arguments.device))
    frames = read_data(arguments.data, arguments.overrides, command="predict")
    for finding in check_structures(with_progress(frames, "checking", len(frames)), model):
        print(f"note: {finding}")

    found = FrameNotes()
    predictions = predicted_frames(model, frames, batch_size=arguments.batch_size, keep_labels=arguments.keep_labels)
    write_frames(with_progress(found.watch(predictions), "predicting", len(frames)), out)
    print(f"{', '.join(arguments.model)} on {arguments.data}: {found.num_frames} frames, {found.num_atoms} atoms\n")
    per_atom = atom_labels(model)
    for label, unit in predicted_units(model).items():
        if label in found.labels:
            print(f"  {label:<14} {unit or '(no unit)':<10} per {'atom' if label in per_atom else 'structure'}")
    print(f"\nwritten: {out}{found.reading_hint(out.suffix)}")
    return 0
