"""Read frames from folders of DeePMD-kit: ``type.raw``, ``type_map.raw`` and arrays in ``set.*`` or ``*.raw``."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.elements import atomic_number
from irrepnet.data.formats import check_names
from irrepnet.data.frame import Frame
from irrepnet.data.raw_frame import frame_from_raw
from irrepnet.data.units import Keys, Units
from irrepnet.errors import DataError, ShapeError

__all__ = ["read_deepmd"]

# What the format calls things, where keys do not say otherwise.
_NAMES = {"pos": "coord", "cell": "box", "energy": "energy", "forces": "force", "virial": "virial"}


def read_deepmd(folder: Path, label: str, keys: Keys, units: Units | None) -> list[Frame]:
    """Read all frames of a DeePMD-kit system, or of all systems in a folder; see :func:`~irrepnet.data.read_frames`.

    A system is a folder with ``type.raw`` (a number per atom), ``type_map.raw`` (their symbols) and either folders
    ``set.000``, ``set.001``, ... of ``coord.npy [F, 3 N]``, ``energy.npy [F]``, ``force.npy [F, 3 N]``,
    ``box.npy [F, 9]``, ``virial.npy [F, 9]``, or one set of these files beside ``type.raw``, or the same as texts
    ``coord.raw`` and so on. A file ``nopbc`` says that it is open. Frames of many compositions padded to one size say
    their types in ``real_atom_types.npy``. The virial is -dE/dstrain, so ``stress = -virial / V``. Labels of nine
    numbers become 3 x 3. The group of a frame is its system.

    Args:
        folder: The system, or a folder of systems.
        label: Its name in messages.
        keys: Files of labels (``properties={"dipole": "dipole"}`` reads ``dipole.npy``).
        units: What it measures in; None: eV and Å, as the format defines.

    Raises:
        DataError: If there is no system, or a file is missing or damaged.
        ShapeError: If the arrays do not fit each other.

    Reference: https://docs.deepmodeling.com/projects/deepmd/en/stable/data/system.html

    Example:
        >>> import tempfile
        >>> system = Path(tempfile.mkdtemp())
        >>> for name, text in {"type": "0", "type_map": "H", "coord": "0 0 0", "energy": "-13.6"}.items():
        ...     _ = (system / f"{name}.raw").write_text(text)
        >>> (system / "nopbc").touch()
        >>> read_deepmd(system, "system", Keys(), None)[0].energy
        -13.6
    """
    unread = keys.model_fields_set & {"species", "pbc", "ptr", "stress", "group", "id", "selected"}
    if unread:
        raise DataError(
            f"{label}: DeePMD folders name this themselves or have no such thing; found keys.{min(unread)} set"
        )
    systems = sorted(file.parent for file in folder.rglob("type.raw"))
    if not systems:
        raise DataError(f"{label}: needed a DeePMD folder with type.raw; found none in it")
    frames = []
    for system in systems:
        place = system.relative_to(folder).as_posix()
        name, group = (label, folder.name) if place == "." else (f"{label}/{place}", place)
        frames += _read_system(system, name, group, keys, units or Units())
    return frames


def _read_system(system: Path, label: str, group: str, keys: Keys, units: Units) -> list[Frame]:
    types = _read_text(system / "type.raw", label, np.int64).ravel()
    elements = _elements(system, label)
    parts = _sets(system, label) or [system]
    first = None
    frames: list[Frame] = []
    for part in parts:
        arrays = _read_arrays(part, label)
        if first is not None and set(arrays) != first:
            odd = min(first.symmetric_difference(arrays))
            raise DataError(f"{label}: needed the same files in every set; found {odd}.npy in some but not {part.name}")
        first = set(arrays)
        periodic = not (system / "nopbc").exists()
        for row in _cut(arrays, types, elements, periodic, keys, f"{label}/{part.name}" if part != system else label):
            source = f"{label} frame {len(frames)}"
            row["group"] = group
            frames.append(frame_from_raw(row, source=source, keys=keys, units=units, available=arrays))
    return frames


def _sets(system: Path, label: str) -> list[Path]:
    """Return the folders ``set.000``, ``set.001``, ..., in their order."""
    sets = sorted(system.glob("set.*"))
    for place in sets:
        if not re.fullmatch(r"set\.[0-9]+", place.name) or not place.is_dir():
            raise DataError(
                f"{label}: needed folders of sets called set.000, set.001, ...; found {place.name}; rename it, or move "
                "it elsewhere if it is not to be read"
            )
    return sets


def _elements(system: Path, label: str) -> NDArray[np.int64]:
    """Return the atomic number of each type."""
    file = system / "type_map.raw"
    if not file.is_file():
        raise DataError(
            f"{label}: needed type_map.raw, the symbols of types 0, 1, ... one per line; found none; write it"
        )
    try:
        return np.array([atomic_number(symbol) for symbol in file.read_text(encoding="utf-8").split()], dtype=np.int64)
    except (DataError, UnicodeDecodeError) as error:
        raise DataError(f"{label}: type_map.raw needs chemical symbols; {error}") from error


def _read_arrays(part: Path, label: str) -> dict[str, NDArray[Any]]:
    if part.name.startswith("set.") or any(part.glob("*.npy")):
        return {file.stem: _read_npy(file, label) for file in sorted(part.glob("*.npy"))}
    texts = [file for file in sorted(part.glob("*.raw")) if file.stem not in ("type", "type_map")]
    return {file.stem: _read_text(file, label, np.float64) for file in texts}


def _read_npy(file: Path, label: str) -> NDArray[Any]:
    try:
        with file.open("rb") as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
            rest = len(stream.read())
    except Exception as error:  # damaged files raise whatever the damaged part raises
        raise DataError(f"{label}: {file.name} needs a whole npy array; found it unreadable ({error})") from error
    if rest or array.dtype.kind not in "fiu":
        found = f"{rest} bytes after its end" if rest else f"dtype {array.dtype}"
        raise DataError(f"{label}: {file.name} needs an array of numbers and nothing else; found {found}")
    return np.asarray(array)


def _read_text(file: Path, label: str, dtype: Any) -> NDArray[Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy warns of empty files
            return np.loadtxt(file, dtype=dtype, ndmin=2, comments=None, encoding="utf-8")
    except Exception as error:
        raise DataError(f"{label}: {file.name} needs rows of numbers; found it unreadable ({error})") from error


def _cut(
    arrays: dict[str, NDArray[Any]], types: NDArray[np.int64], elements: NDArray[np.int64], periodic: bool,
    keys: Keys, label: str,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the raw values of each frame of one set."""
    names = {ours: getattr(keys, ours) if ours in keys.model_fields_set else name for ours, name in _NAMES.items()}
    check_names(
        label, Keys.model_construct(_fields_set=keys.model_fields_set, **{**keys.model_dump(), **names}), names, arrays
    )
    needed = [names["pos"], *([names["cell"]] if periodic else [])]
    for name in needed:
        if name not in arrays:
            why = "; an open system has a file called nopbc" if name == names["cell"] else ""
            raise DataError(f"{label}: needed {name}; found {', '.join(arrays) or 'no arrays'}{why}")
    num_frames, num_atoms = len(arrays[names["pos"]]), len(types)
    shapes = {"pos": (num_atoms, 3), "forces": (num_atoms, 3), "cell": (3, 3), "virial": (3, 3), "energy": ()}
    rows: list[dict[str, Any]] = [{} for _ in range(num_frames)]
    for ours, name in names.items():
        if name in arrays and (ours != "cell" or periodic):
            for row, value in zip(rows, _shaped(arrays[name], (num_frames, *shapes[ours]), name, label), strict=True):
                row[ours] = value
    for kind, labels in (("properties", keys.properties), ("atom_properties", keys.atom_properties)):
        for ours, name in labels.items():
            shape = (num_frames,) if kind == "properties" else (num_frames, num_atoms)
            for row, value in zip(rows, _tensors(arrays[name], shape, name, label), strict=True):
                row.setdefault(kind, {})[ours] = value
    kinds = arrays.get("real_atom_types", np.broadcast_to(types, (num_frames, num_atoms)))
    for row, kind_of in zip(rows, _shaped(kinds, (num_frames, num_atoms), "types", label), strict=True):
        _set_species(row, kind_of, elements, label)
    return rows


def _shaped(array: NDArray[Any], shape: tuple[int, ...], name: str, label: str) -> NDArray[Any]:
    flat = (shape[0], int(np.prod(shape[1:])))
    if array.shape not in (shape, flat):
        raise ShapeError(
            f"{label}: {name} needs {flat[0]} frames of {flat[1]} numbers; found shape {list(array.shape)}"
        )
    return array.reshape(shape)


def _tensors(array: NDArray[Any], shape: tuple[int, ...], name: str, label: str) -> NDArray[Any]:
    """Return labels with one row per frame (and atom); nine numbers become 3 x 3, one becomes none."""
    rows = int(np.prod(shape))
    if len(array) != shape[0] or (rows and array.size % rows):
        raise ShapeError(f"{label}: {name} needs numbers for {list(shape)} frames and atoms; found {list(array.shape)}")
    width = array.size // rows if rows else 1
    return array.reshape(*shape, *{1: (), 9: (3, 3)}.get(width, (width,)))


def _set_species(row: dict[str, Any], types: NDArray[Any], elements: NDArray[np.int64], label: str) -> None:
    """Put atomic numbers into a raw frame and take virtual atoms (type -1) out of it."""
    real = types >= 0
    if types.dtype.kind not in "iu" or (types[real] >= len(elements)).any():
        found = types.max() if types.dtype.kind in "iu" else types.dtype
        raise DataError(f"{label}: types need to be 0 to {len(elements) - 1}, as type_map.raw has; found {found}")
    row["species"] = elements[types[real]]
    for name in {"pos", "forces"} & row.keys():
        row[name] = row[name][real]
    for name, value in row.get("atom_properties", {}).items():
        row["atom_properties"][name] = value[real]
