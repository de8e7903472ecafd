"""From what a file says of one frame, in its units and conventions, to a `Frame` in ours: one place for all formats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.frame import Frame
from irrepnet.data.units import Keys, Units
from irrepnet.errors import DataError, ShapeError

__all__ = ["frame_from_raw"]

# Two ways of writing one stress agree this well, whatever the number of digits in the file.
_SAME_STRESS = 1e-3


def frame_from_raw(
    raw: Mapping[str, Any], *, source: str, keys: Keys, units: Units, available: Iterable[str] = ()
) -> Frame:
    """Return the frame of some raw values.

    A stress may be nine numbers, six (the order is ``units.voigt``) or follow from a virial, ``stress = -virial / V``.
    A property that is NaN throughout is not known in this frame and left out.

    Args:
        raw: What the file holds, by our names: ``species``, ``pos``, ``cell``, ``pbc``, ``energy``, ``forces``,
            ``stress``, ``virial``, ``group``, ``id``, and the dicts ``properties`` and ``atom_properties``; in the
            file's units. What is None or missing is not known.
        source: Where the frame is from, for messages.
        keys: What the file calls things, for messages.
        units: What it measures in.
        available: Names that the file holds, for messages about missing labels.

    Raises:
        DataError: If something is not numbers, a virial has no cell, or stress and virial contradict each other.
        ShapeError: If the parts do not fit each other.

    Example:
        >>> raw = {"species": [1], "pos": [[0, 0, 0]], "cell": np.eye(3), "virial": 2 * np.eye(3)}
        >>> frame = frame_from_raw(raw, source="a.npz frame 0", keys=Keys(), units=Units())
        >>> frame.stress[0], frame.pbc
        (array([-2., -0., -0.]), array([ True,  True,  True]))
    """
    factors = {"pos": units.to_angstrom, "cell": units.to_angstrom, "energy": units.to_ev}
    factors |= {"forces": units.to_ev_per_angstrom, "stress": units.to_ev_per_angstrom3, "virial": units.to_ev}
    parts = {name: value for name, value in raw.items() if value is not None}
    for name in factors.keys() & parts.keys():
        parts[name] = _scaled(parts[name], factors[name], f"{source}: {getattr(keys, name)}")
    if "cell" in parts:
        parts.setdefault("pbc", parts["cell"].any(axis=-1))  # a vector of zeros is no period
        parts["cell"] = parts["cell"] if parts["cell"].any() else None
    for name in {"stress", "virial"} & parts.keys():
        parts[name] = _square(parts[name], units, f"{source}: {getattr(keys, name)}")
    virial = parts.pop("virial", None)
    if virial is not None:
        parts["stress"] = _stress_of(virial, parts.get("cell"), parts.get("stress"), source, keys)
    for name in {"group", "id"} & parts.keys():
        parts[name] = _text(parts[name])
    properties = parts.pop("properties", {})
    known = {name: value for name, value in properties.items() if not _is_unknown(value)}
    return Frame(**parts, properties=known, source=source, available=tuple(available))


def _scaled(value: Any, factor: float, what: str) -> NDArray[np.float64]:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise DataError(f"{what} needs numbers; found {value!r:.60} of dtype {array.dtype}")
    return array.astype(np.float64) * factor


def _square(value: NDArray[np.float64], units: Units, what: str) -> NDArray[np.float64]:
    if value.shape == (6,):
        if units.voigt_places is None:
            raise DataError(
                f"{what} has six numbers, whose order differs between programs; say it, such as "
                "units.voigt='xx yy zz yz xz xy' (ASE) or 'xx yy zz xy yz xz' (VASP)"
            )
        return value[list(units.voigt_places)].reshape(3, 3)
    if value.shape not in ((3, 3), (9,)):
        raise ShapeError(f"{what} needs shape [3, 3], [9] or [6]; found {list(value.shape)}")
    return value.reshape(3, 3)


def _stress_of(virial: NDArray[np.float64], cell: Any, stress: Any, source: str, keys: Keys) -> NDArray[np.float64]:
    """Return the stress of a virial; where both are given they have to agree."""
    volume = 0.0 if cell is None else abs(np.linalg.det(cell)) if np.shape(cell) == (3, 3) else np.nan
    if volume == 0:
        raise DataError(f"{source}: {keys.virial} needs a cell with a volume, as stress = -virial / V; found none")
    found = -virial / volume
    if stress is not None and not np.allclose(
        found, stress, rtol=_SAME_STRESS, atol=_SAME_STRESS * np.abs(found).max()
    ):
        raise DataError(
            f"{source}: {keys.stress} and {keys.virial} need to agree as stress = -virial / V; found stress xx of "
            f"{stress[0, 0]:.4g} and -virial / V of {found[0, 0]:.4g} eV/Å^3; declare units.stress (with a minus where "
            "it is positive under compression), or remove one of them"
        )
    return found if stress is None else np.asarray(stress)


def _text(value: Any) -> str:
    single = np.asarray(value).item() if np.size(value) == 1 else value
    return single.decode(errors="replace") if isinstance(single, bytes) else str(single)


def _is_unknown(value: Any) -> bool:
    array = np.asarray(value)
    return bool(array.dtype.kind == "f" and array.size and np.isnan(array).all())
