"""The registered data sets: their names, one function that reads any of them, and a table for people."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence

from irrepnet.data.download import data_folder
from irrepnet.data.frame import Frame
from irrepnet.data.sets import botnet, deepmd_kit, matten, md17, mlearn, qm9, rmd17, tensoap
from irrepnet.data.sets.data_set import DataSet
from irrepnet.errors import DataError, did_you_mean

__all__ = ["SETS", "describe_sets", "find_set", "read_set"]

#: Name -> data set.
SETS: dict[str, DataSet] = {
    data_set.name: data_set
    for data_set in (
        qm9.SET,
        rmd17.SET,
        md17.SET,
        deepmd_kit.WATER,
        deepmd_kit.GETE,
        botnet.THREEBPA,
        botnet.ACAC,
        mlearn.SET,
        tensoap.MOLECULES,
        tensoap.BULK,
        matten.SI_NMR,
        matten.ELASTICITY,
    )
}


def find_set(name: str) -> tuple[DataSet, str]:
    """Return the data set and the member that a name means.

    Args:
        name: ``<set>`` or ``<set>/<member>``, also with ``set:`` before it.

    Raises:
        DataError: If there is no such set or member; the message names the nearest.

    Example:
        >>> data_set, member = find_set("rmd17/ethanol/train_01")
        >>> data_set.name, member
        ('rmd17', 'ethanol/train_01')
    """
    text = name.removeprefix("set:").strip("/")
    first, _, member = text.partition("/")
    if first not in SETS:
        raise DataError(f"set:{text}: needed one of {', '.join(SETS)}; found {first!r}.{did_you_mean(first, SETS)}")
    members = SETS[first].members
    if member not in members:
        found = repr(member) if member else "the name of the set alone"
        wanted = f"{first}/ and one of {_listing(members)}" if any(members) else f"{first} alone"
        raise DataError(f"set:{text}: needed {wanted}; found {found}.{did_you_mean(member, filter(None, members))}")
    return SETS[first], member


def _listing(members: Iterable[str]) -> str:
    names = [name for name in members if name]
    return ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:12])}, ... ({len(names)} in all)"


def read_set(name: str, data_dir: str | os.PathLike[str] | None = None) -> Sequence[Frame]:
    """Return the structures of a data set, or of one of its members; what is not there yet is downloaded.

    Files are verified against the published size and checksum each time they are read; where none is published,
    against the SHA-256 that they had when they were first there. Where the folder holds a re-packed npz copy of a part
    instead of the published files (``rmd17/rmd17_ethanol_train_01.npz``), the copy is read as it is.

    Args:
        name: ``"qm9"``, ``"rmd17/ethanol"``, ``"rmd17/ethanol/train_01"``, ...: see :func:`describe_sets`.
        data_dir: Folder of data; None: ``$IRREPNET_DATA``, else ``~/.cache/irrepnet``.

    Returns:
        Frames in eV, Å, eV/Å and eV/Å^3 with ids and groups; properties in the units that ``SETS[...].units`` says.

    Raises:
        DataError: If there is no such set or member; a file is damaged, or is not there and cannot be downloaded.

    Example:
        >>> read_set("qm8")
        Traceback (most recent call last):
        irrepnet.errors.DataError: set:qm8: needed one of qm9, rmd17, ...; found 'qm8'. Did you mean 'qm9'?
    """
    data_set, member = find_set(name)
    return data_set.read(data_folder(data_dir), member)


def describe_sets() -> str:
    """Return a table of the registered data sets: names, structures, labels with units, size, licence, citation.

    Example:
        >>> "130,831 molecules" in describe_sets()
        True
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(show_lines=True, pad_edge=False)
    for heading in ("set", "what", "labels", "to download", "licence and citation"):
        table.add_column(heading, overflow="fold")
    for data_set in SETS.values():
        members = _listing(data_set.members)
        labels = ", ".join(f"{label} ({unit})" for label, unit in data_set.units.items())
        what = "\n".join(filter(None, (data_set.description, data_set.structures, data_set.notes)))
        own = [data_set.name] if "" in data_set.members else []
        name = "\n".join([*own, *([f"{data_set.name}/...: {members}"] if members else [])])
        table.add_row(name, what, labels, _download_text(data_set), f"{data_set.licence}\n{data_set.citation}")
    text = io.StringIO()
    Console(file=text, width=150).print(table)
    return text.getvalue()


def _download_text(data_set: DataSet) -> str:
    checked = "checksums published" if data_set.has_checksums else "no published checksums: the first download counts"
    files = f"{len(data_set.files)} files" if len(data_set.files) > 1 else "1 file"
    known = sum(file.size or 0 for file in data_set.files)
    size = f"{known / 1e6:,.0f} MB" if known else "size not published"
    return f"{files}\n{size}\n{checked}"
