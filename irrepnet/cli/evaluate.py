"""``irrepnet eval``: the errors of a model on labelled frames."""

from __future__ import annotations

import argparse

__all__ = ["add_parser", "run"]


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "eval",
        help="errors of a model on a data file",
        description="Predict every frame of DATA and compare with its energies, forces and stresses.",
    )
    parser.add_argument("model", metavar="MODEL", help="model file, DIR/best.model")
    parser.add_argument("data", metavar="DATA", help="npz or extxyz file, or package:water_xtb/heldout.npz")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers to FILE")
    parser.add_argument(
        "--set",
        metavar="a.b=c",
        action="append",
        default=[],
        dest="overrides",
        help="how to read DATA: format, keys.<name>, units.<name>, groups; for example --set keys.forces=F",
    )
    parser.add_argument("--batch-size", type=int, default=1, metavar="N", help="frames per call of the model (1)")
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu, cuda, cuda:1, ... (cpu)")
    parser.set_defaults(run=run)
