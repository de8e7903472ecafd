"""Labels far from the rest: energies against the composition fit, forces, sums of forces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.frame import Frame
from irrepnet.data.oddity import Oddity

__all__ = ["find_outliers"]

Array = NDArray[np.float64]

# Forces of thermal matter stay within some 6 RMS (their components are near normal).
_WILD = 20.0  # times the RMS
# A normal distribution has one in 10^23 beyond ten; energies of mixed sets have long tails.
_FAR = 10.0  # median absolute deviations, scaled to a standard deviation
_MAD = 1.4826  # standard deviation of a normal distribution over its median absolute deviation
_MIN_SPREAD = 1e-3  # eV/atom: nothing nearer than this is an outlier, however narrow the rest
_MIN_FRAMES = 20
_MIN_ZERO = 5  # relaxed structures, one or two of each composition, have no forces
_NET = 0.1  # of the sum of the sizes of all forces of a frame


def find_outliers(frames: Sequence[Frame]) -> list[Oddity]:
    """Return frames whose labels are far from those of the rest.

    Energies are compared with a robust fit of the energy by composition; forces with the RMS of the typical frame; the
    sum of the forces of a frame, which should be zero, with their sizes. Forces that are zero throughout stand out too.

    Example:
        >>> frames = [Frame(species=[1], pos=[[0, 0, 0]], energy=-13.6 + 1e-3 * (i % 7)) for i in range(30)]
        >>> frames += [Frame(species=[1], pos=[[0, 0, 0]], energy=13.6, source="a.xyz frame 30")]
        >>> print(find_outliers(frames)[0])
        a.xyz frame 30: energy is 27.2 eV from what its composition has in other frames, where 0.00297 eV is typical;...
    """
    return _energy_outliers(frames) + _force_outliers(frames) + _net_forces(frames) + _zero_forces(frames)


def _energy_outliers(frames: Sequence[Frame]) -> list[Oddity]:
    labelled = [frame for frame in frames if frame.energy is not None and np.isfinite(frame.energy)]
    if len(labelled) < _MIN_FRAMES:
        return []
    numbers = sorted({number for frame in labelled for number in frame.species.tolist()})
    counts = np.array([[(frame.species == number).sum() for number in numbers] for frame in labelled], dtype=float)
    sizes = counts.sum(axis=1)
    energies = np.array([frame.energy for frame in labelled])
    off = _robust_residuals(counts / sizes[:, None], energies / sizes)  # eV/atom
    typical = max(_MAD * float(np.median(np.abs(off))), _MIN_SPREAD)
    return [
        Oddity(
            "energy_outlier",
            frame.source,
            float(one * size),
            "eV",
            f"{frame.source}: energy is {abs(one * size):.3g} eV from what its composition has in other frames, where "
            f"{typical * size:.3g} eV is typical; look at this frame",
        )
        for frame, one, size in zip(labelled, off, sizes, strict=True)
        if abs(one) > _FAR * typical
    ]


def _robust_residuals(parts: Array, energies: Array) -> Array:
    """Return what a linear fit leaves, outliers weighted down (Huber's weights, iterated)."""
    weights = np.ones(len(energies))
    residuals = energies - np.median(energies)
    for _ in range(20):
        root = np.sqrt(weights)
        fit = np.linalg.lstsq(parts * root[:, None], energies * root, rcond=None)[0]
        residuals = energies - parts @ fit
        scale = max(_MAD * float(np.median(np.abs(residuals))), 1e-9)
        weights = np.minimum(1.0, 1.5 * scale / np.maximum(np.abs(residuals), 1e-12))
    return np.asarray(residuals - np.median(residuals))


def _force_outliers(frames: Sequence[Frame]) -> list[Oddity]:
    labelled = [(frame, np.linalg.norm(frame.forces, axis=1)) for frame in frames if frame.forces is not None]
    if not labelled:
        return []
    # The median of the frames' RMS: one wild frame must not raise the bar for itself.
    typical = float(np.median([np.sqrt(np.mean(norm**2)) for _, norm in labelled]))
    return [
        Oddity(
            "force_outlier",
            frame.source,
            float(norm.max()),
            "eV/Å",
            f"{frame.source}: force of {norm.max():.3g} eV/Å at atom {int(norm.argmax())}, where {typical:.3g} is "
            "typical",
        )
        for frame, norm in labelled
        if typical > 0 and norm.max() > _WILD * typical
    ]


def _net_forces(frames: Sequence[Frame]) -> list[Oddity]:
    """Return one finding if the forces of many frames do not add up to zero, as they would without outer fields."""
    shares, sums = [], []
    for frame in frames:
        if frame.forces is None or len(frame) < 2:
            continue
        size = float(np.linalg.norm(frame.forces, axis=1).sum())
        sums.append(float(np.linalg.norm(frame.forces.sum(axis=0))))
        shares.append(sums[-1] / size if size > 0 else 0.0)
    if len(shares) < _MIN_FRAMES or np.median(shares) < _NET:
        return []
    source, net = f"{frames[0].source} to {frames[-1].source}", float(np.median(sums))
    sentence = (
        f"{source}: forces do not add up to zero: their sum is {net:.3g} eV/Å, {np.median(shares):.0%} of their sizes "
        "together; look for lost or constrained atoms, or an outer field"
    )
    return [Oddity("net_force", source, net, "eV/Å", sentence)]


def _zero_forces(frames: Sequence[Frame]) -> list[Oddity]:
    """Return one finding if all forces are exactly zero, though atoms are not alone and energies differ."""
    labelled = [frame for frame in frames if frame.forces is not None and len(frame) > 1]
    if len(labelled) < _MIN_ZERO or any(np.any(frame.forces != 0) for frame in labelled):
        return []
    energies: dict[bytes, set[float]] = {}
    for frame in labelled:
        if frame.energy is not None:
            energies.setdefault(np.sort(frame.species).tobytes(), set()).add(frame.energy)
    if all(len(found) < 2 for found in energies.values()):
        return []
    source = f"{frames[0].source} to {frames[-1].source}"
    sentence = (
        f"{source}: all forces are exactly zero in {len(labelled)} frames, though structures of one composition differ "
        "in energy; look for forces that were never computed or written, or for another column, and set keys.forces"
    )
    return [Oddity("zero_forces", source, 0.0, "eV/Å", sentence)]
