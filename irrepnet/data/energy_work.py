"""Energies against the work of forces and stresses: do the labels of a file belong together, whatever their units?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.frame import Frame
from irrepnet.data.oddity import Oddity
from irrepnet.data.unit_ratios import as_if, energy_mixups, force_mixups, length_mixups, stress_mixups

__all__ = ["EnergyWork", "energy_against_work", "find_wrong_ratios"]

Array = NDArray[np.float64]

_MAX_FRAMES = 240  # looked at in one trajectory
_MAX_TRAJECTORIES = 12
_MAX_QUERIES = 240  # frames of all trajectories whose nearest frame is looked for
_NEAR = 0.35  # Å, RMS: beyond it, two frames are too different for a straight line between them
_NEAR_STRAINED = 1.0  # Å: strains are small and smooth, displacements beside them matter less
_PER_STRAIN = 10.0  # Å: how much a strain of 1 counts among displacements
_SAME_CELL = 2e-3  # strain
_NO_WORK = 1e-6  # eV
_MIN_PAIRS = 12
# Of the correlation, in standard errors. Sets of water, organic molecules, Ge-Te, Si, Ge, Li and Mo have 5 to 57.
_MIN_SIGNIFICANCE = 4.0
# Ratios of those sets: 0.5 to 1.7 where the correlation is loose, 0.75 to 1.2 where it is sure, 0.9 to 1.1 where tight.
_LOOSE, _FIRM, _TIGHT = 4.0, 1.6, 1.35
_FIRM_SIGNIFICANCE = 12.0
_TIGHT_CORRELATION = 0.98
_ADVICE = {
    "forces": "the forces look like gradients; turn their sign over",
    "stress": "the stress has the wrong sign; put a minus before units.stress, or take it away",
}
_TURN = "turn the sign of forces and stress over, or that of the energies"


class EnergyWork(NamedTuple):
    """How differences of energy between near frames follow the work between them."""

    num_pairs: int
    ratio: float  # of median sizes; 1 for labels that belong together
    correlation: float
    significance: float  # of the correlation, in standard errors


def find_wrong_ratios(frames: Sequence[Frame]) -> list[Oddity]:
    """Return what says that energies, forces and stresses have units or signs that do not belong together.

    This needs no idea of what the numbers should be: between two frames of one system that are near each other, the
    energy rises by what the forces and the stress do as work.

    What is not found: how small a factor shows depends on the data. Some 240 frames of a molecule tell forces in
    eV/bohr from eV/Å, a factor of 1.9, most often; liquids, whose frames are far from each other, or a few dozen frames
    only show factors above 4. Sets without two near frames of one composition show nothing, and neither do energies and
    forces that are wrong by the same factor.

    Args:
        frames: With energy and forces, at best of trajectories.

    Example:
        >>> path = [
        ...     Frame(species=[3], pos=[[x, 0, 0]], cell=9 * np.eye(3), pbc=True, energy=x**2, forces=[[2 * x, 0, 0]])
        ...     for x in np.linspace(-1, 1, 41)
        ... ]
        >>> print(find_wrong_ratios(path)[0])
        frame to frame: energies fall where, by the forces, they should rise (28 pairs ...
    """
    odd: list[Oddity] = []
    of_energy = {**energy_mixups(), **length_mixups(), **_inverse(force_mixups())}
    sure = 0
    for of, mixups, sign_kind, ratio_kind in (
        ("forces", of_energy, "force_sign", "energy_force_ratio"),
        ("stress", _inverse(stress_mixups()), "stress_sign", "stress_unit"),
        ("forces and stress", of_energy, "force_sign", "energy_force_ratio"),
    ):
        if of not in _ADVICE and sure:
            continue  # one of them has told already
        found = energy_against_work(frames, of=of)
        if found is None or abs(found.significance) < _MIN_SIGNIFICANCE:
            continue
        sure += 1
        source = f"{frames[0].source} to {frames[-1].source}"
        pairs = f"{found.num_pairs} pairs of near frames, correlation {found.correlation:.2f}"
        if found.correlation < 0:
            sentence = (
                f"{source}: energies fall where, by the {of}, they should rise ({pairs}); {_ADVICE.get(of, _TURN)}"
            )
            odd.append(Oddity(sign_kind, source, found.correlation, "", sentence))
        widest = _widest(found)
        if not 1 / widest < found.ratio < widest:
            odd.append(_odd_ratio(found, of, ratio_kind, mixups, source, pairs))
    return odd


def _widest(found: EnergyWork) -> float:
    """Return by which factor a ratio may be off by chance and by what is not harmonic."""
    if abs(found.correlation) > _TIGHT_CORRELATION:
        return _TIGHT
    return _FIRM if abs(found.significance) > _FIRM_SIGNIFICANCE else _LOOSE


def _odd_ratio(found: EnergyWork, of: str, kind: str, mixups: Mapping[str, float], source: str, pairs: str) -> Oddity:
    within = {_TIGHT: 1.2, _FIRM: 1.4, _LOOSE: 2.5}[_widest(found)]
    seen = f"{source}: energies change {found.ratio:.3g} times as much as the work of the {of} ({pairs})"
    check = "units.stress" if of == "stress" else "units.energy, units.forces and units.length"
    return Oddity(kind, source, found.ratio, "", f"{seen}{as_if(found.ratio, dict(mixups), within)}; check {check}")


def _inverse(mixups: Mapping[str, float]) -> dict[str, float]:
    return {name: 1 / ratio for name, ratio in mixups.items()}


def energy_against_work(frames: Sequence[Frame], *, of: str = "forces") -> EnergyWork | None:
    r"""Return how energies follow the work between frames that are near each other; None if too few are.

    .. math:: E_g - E_f \approx -\tfrac12 \sum_i (F_{f,i} + F_{g,i}) \cdot u_i
        + \tfrac12 (V_f \sigma_f + V_g \sigma_g) : \varepsilon

    This is exact for a quadratic energy. Open systems are turned and shifted onto each other first; the strain takes
    one cell to the other, and the displacements u are what is left.

    Args:
        frames: Those with energy and forces are looked at.
        of: ``"forces"``: between frames of one cell; ``"stress"``: between frames of different cells, after the work
            of the forces has been taken off; ``"forces and stress"``: between the same frames, after the work of both.

    Example:
        >>> path = [
        ...     Frame(species=[3], pos=[[x, 0, 0]], cell=9 * np.eye(3), pbc=True, energy=x**2, forces=[[-2 * x, 0, 0]])
        ...     for x in np.linspace(-1, 1, 41)
        ... ]
        >>> round(energy_against_work(path).ratio, 6)
        1.0
    """
    trajectories = _trajectories(frames, of)
    queries = _MAX_QUERIES // max(1, len(trajectories))
    pairs = [pair for trajectory in trajectories for pair in _pairs(trajectory, of, queries)]
    return _judge(np.array(pairs).reshape(-1, 2))


def _judge(pairs: Array) -> EnergyWork | None:
    work, rise = pairs[np.abs(pairs).min(axis=1, initial=np.inf) > _NO_WORK].T
    if len(work) < _MIN_PAIRS:
        return None
    sizes = np.median(np.abs(work)), np.median(np.abs(rise))
    # A few pairs that are far from harmonic must not decide.
    clipped = [np.clip(values, -5 * size, 5 * size) for values, size in zip((work, rise), sizes, strict=True)]
    correlation = float(np.corrcoef(*clipped)[0, 1])
    if not np.isfinite(correlation):
        return None
    significance = float(np.arctanh(np.clip(correlation, -0.9999, 0.9999)) * np.sqrt(len(work) - 3))
    return EnergyWork(len(work), float(sizes[1] / sizes[0]), correlation, significance)


def _trajectories(frames: Sequence[Frame], of: str) -> list[list[Frame]]:
    """Return the longest runs of frames of one system."""
    found: dict[tuple[str | None, bytes, bytes], list[Frame]] = {}
    for frame in frames:
        if frame.energy is None or frame.forces is None or ("stress" in of and frame.stress is None) or not len(frame):
            continue
        found.setdefault((frame.group, frame.species.tobytes(), frame.pbc.tobytes()), []).append(frame)
    longest = sorted(found.values(), key=len, reverse=True)[:_MAX_TRAJECTORIES]
    return [trajectory[:_MAX_FRAMES] for trajectory in longest]


def _pairs(trajectory: list[Frame], of: str, queries: int) -> Iterator[tuple[float, float]]:
    """Yield work and rise of energy between some frames and the frame that is nearest to each."""
    seen = set()
    for first in range(0, len(trajectory), max(1, len(trajectory) // queries)):
        frame = trajectory[first]
        moved, forces, strain = _displacements(frame, trajectory)
        strains = np.abs(strain).max(axis=(1, 2))
        far = np.sqrt((moved**2).sum(axis=2).mean(axis=1)) + _PER_STRAIN * strains
        fits = strains < _SAME_CELL if of == "forces" else strains >= _SAME_CELL
        far[~fits | (np.arange(len(far)) == first)] = np.inf
        second = int(far.argmin())
        if far[second] > (_NEAR if of == "forces" else _NEAR_STRAINED) or (second, first) in seen:
            continue
        seen.add((first, second))
        other = trajectory[second]
        of_forces = -0.5 * float(((frame.forces + forces[second]) * moved[second]).sum())
        rise = float(other.energy or 0) - float(frame.energy or 0)
        if of == "forces":
            yield of_forces, rise
        elif frame.stress is not None and other.stress is not None:
            pull = sum(abs(np.linalg.det(np.asarray(one.cell))) * np.asarray(one.stress) for one in (frame, other))
            of_stress = 0.5 * float((pull * strain[second]).sum())
            yield (of_stress, rise - of_forces) if of == "stress" else (of_stress + of_forces, rise)


def _displacements(frame: Frame, others: Sequence[Frame]) -> tuple[Array, Array, Array]:
    """Return how each of the others is displaced, [M, N, 3], its forces in the axes of the frame, and its strain."""
    pos, forces = np.stack([other.pos for other in others]), np.stack([np.asarray(other.forces) for other in others])
    if frame.cell is None or not frame.pbc.all():
        mine, theirs = frame.pos - frame.pos.mean(axis=0), pos - pos.mean(axis=1, keepdims=True)
        # Kabsch: the rotation that brings the others nearest to the frame.
        left, _, right = np.linalg.svd(np.swapaxes(theirs, 1, 2) @ mine)
        left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]
        turn = left @ right
        return theirs @ turn - mine, forces @ turn, np.zeros((len(others), 3, 3))
    cells = np.stack([np.asarray(other.cell) for other in others])
    deformation = np.linalg.solve(np.broadcast_to(frame.cell, cells.shape), cells)
    fractional = pos @ np.linalg.inv(cells) - frame.pos @ np.linalg.inv(frame.cell)
    moved = (fractional - np.round(fractional)) @ ((cells + frame.cell) / 2)
    strain = (deformation + np.swapaxes(deformation, 1, 2)) / 2 - np.eye(3)
    if len(frame) > 1:  # where the whole is does not matter
        moved = moved - moved.mean(axis=1, keepdims=True)
    return moved, forces, strain
