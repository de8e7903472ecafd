"""``irrepnet download``: public data sets, checked, for ``data.train: set:NAME``."""

from __future__ import annotations

import argparse

__all__ = ["add_parser", "run"]


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "download",
        help="download a public data set; without a name: list them",
        description="Download what a public data set needs, and verify it. Interrupted downloads go on where they "
        "stopped. A training downloads its set by itself; this is for machines whose compute nodes have no network.",
    )
    parser.add_argument("set", nargs="?", metavar="SET", help="data set, or a part of it: qm9, rmd17/ethanol/train_01")
    parser.add_argument("--list", action="store_true", help="list all sets with their labels, sizes and licences")
    parser.add_argument(
        "--data-dir", metavar="DIR", help="folder of data sets (default: $IRREPNET_DATA or ~/.cache/irrepnet)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from irrepnet.data.download import data_folder, fetch
    from irrepnet.data.sets.registry import describe_sets, find_set

    if arguments.list or arguments.set is None:
        print(describe_sets(), end="")
        print("\nto download one: irrepnet download NAME; to learn from it: data.train: set:NAME in a configuration")
        return 0
    data_set, member = find_set(arguments.set)
    name = "/".join(filter(None, (data_set.name, member)))
    folder = data_folder(arguments.data_dir)
    print(f"set:{name}: {data_set.description}\nlicence: {data_set.licence}\ncite: {data_set.citation}\n")
    for file in data_set.members[member]:
        path = fetch(file, folder)
        checked = "sha256 of the first download" if file.checksum is None else file.checksum.kind
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB, verified by its {checked}")
    where = "" if arguments.data_dir is None else f" and data_dir: {arguments.data_dir}"
    print(f"\nin a configuration: data.train: set:{name}{where}")
    return 0
