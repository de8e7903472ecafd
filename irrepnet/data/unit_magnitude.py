"""Wrong units told from the numbers: bond lengths, stiffness of bonds, energies of free atoms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.covalent_radii import covalent_radii
from irrepnet.data.elements import SYMBOLS, TOTAL_ENERGIES
from irrepnet.data.frame import Frame
from irrepnet.data.neighborhood import neighbor_list
from irrepnet.data.oddity import Oddity
from irrepnet.data.unit_ratios import as_if, energy_mixups, force_mixups, length_mixups

__all__ = ["Bonds", "bond_stiffness", "find_wrong_magnitudes"]

Array = NDArray[np.float64]

_NOBLE = (2, 10, 18, 36, 54, 86)  # their atoms are far from each other: they have no bonds
_REACHES = (0.4, 1.0, 2.5, 6.0, 40.0)  # Å: where neighbours are looked for, one after the other
# Nearest neighbours in units of the sum of covalent radii: from 0.8 (bcc metals) to 1.2 (ions); 1.9 in bohr.
_BONDED = (0.62, 1.45)
_BOND_REACH = 1.35
# Stiffness in the natural unit e^2 / (4 pi eps0 d^3), d the bond length: H-C 3.0, H-O 2.6, C-O 9.3, bcc Li 1.2,
# Si 6.7, Mo 8.8, Ge-Te 8.3, as measured in DFT forces.
_COULOMB = 14.399645  # e^2 / (4 pi eps0), eV Å
_TYPICAL_STIFFNESS = 4.0
_STIFF = (0.5, 25.0)
_MIN_BONDS = 60
_MIN_CORRELATION = 0.5
_MIN_SPREAD = 0.005  # Å; less is a rigid model
# Total energies of molecules and of their free atoms differ by less than 1.5 %; methods differ by 1 %.
_ALL_ELECTRON = 1.03
_WILD_FORCES = 10.0  # eV/Å, RMS: matter at some 20,000 K


class Bonds(NamedTuple):
    """Nearest neighbours of one kind, and how the forces between them follow their distance."""

    pair: str
    num_bonds: int
    length: float  # Å, mean
    stiffness: float  # eV/Å^2: minus the slope of the force along the bond over its length
    correlation: float  # of force and length; near -1 for bonds, near 1 if forces have the wrong sign

    @property
    def natural_stiffness(self) -> float:
        """In units of e^2 / (4 pi eps0 d^3)."""
        return self.stiffness * self.length**3 / _COULOMB


def find_wrong_magnitudes(frames: Sequence[Frame]) -> list[Oddity]:
    """Return what says that lengths, forces or energies are in other units than was said.

    Lengths are compared with covalent radii, forces with the stiffness that bonds have, energies with those of free
    atoms with all their electrons. None of this is a proof; right units give no finding for molecules, liquids and
    crystals.

    Args:
        frames: A sample: some fifty frames tell enough.

    Example:
        >>> far = [Frame(species=[1, 8], pos=[[0, 0, 0], [1.83, 0, 0]], source="a.npz frame 0")]
        >>> print(find_wrong_magnitudes(far)[0])
        a.npz frame 0: nearest neighbours are 1.89 times as far apart as bonded atoms are (1.83 Å), as if bohr were ...
    """
    lengths = _odd_lengths(frames)
    return lengths + ([] if lengths else _odd_forces(frames)) + _odd_energies(frames)


def bond_stiffness(frames: Sequence[Frame]) -> list[Bonds]:
    """Return, for each pair of elements, how the force between nearest neighbours follows their distance.

    Args:
        frames: With forces.

    Returns:
        Kinds of bonds of which there are enough, that vary in length.

    Example:
        >>> frames = [
        ...     Frame(species=[1, 1], pos=[[0, 0, 0], [d, 0, 0]], forces=[[9 * d - 6, 0, 0], [6 - 9 * d, 0, 0]])
        ...     for d in np.linspace(0.7, 0.8, 40)
        ... ]
        >>> bonds = bond_stiffness(frames)[0]
        >>> bonds.pair, bonds.num_bonds, round(bonds.stiffness, 6)
        ('H-H', 80, 9.0)
    """
    found: dict[tuple[int, int], list[Array]] = {}
    for frame in frames:
        if frame.forces is None:
            continue
        src, dst, vec, scaled = _neighbors(frame, 2 * _BOND_REACH * float(covalent_radii(frame.species).max()))
        nearest = _nearest(len(frame), src, scaled)
        mine = (scaled <= nearest[src] + 1e-9) & (scaled < _BOND_REACH)
        src, dst, length = src[mine], dst[mine], np.linalg.norm(vec[mine], axis=1)
        along = np.einsum("ea,ea->e", frame.forces[dst] - frame.forces[src], vec[mine]) / length / 2
        kinds = np.sort(np.stack([frame.species[src], frame.species[dst]], axis=1), axis=1)
        for kind in np.unique(kinds, axis=0):
            rows = (kinds == kind).all(axis=1)
            found.setdefault((int(kind[0]), int(kind[1])), []).append(np.stack([length[rows], along[rows]], axis=1))
    bonds = []
    for (one, other), pieces in found.items():
        length, along = np.concatenate(pieces).T
        if len(length) < _MIN_BONDS or length.std() < _MIN_SPREAD or along.std() == 0:
            continue
        correlation = float(np.corrcoef(length, along)[0, 1])
        slope = correlation * along.std() / length.std()
        name = f"{SYMBOLS[one]}-{SYMBOLS[other]}"
        bonds.append(Bonds(name, len(length), float(length.mean()), -float(slope), correlation))
    return bonds


def _odd_lengths(frames: Sequence[Frame]) -> list[Oddity]:
    ratios, lengths = [], []
    for frame in frames:
        if len(frame) < 2 and frame.cell is None:
            continue
        for reach in _REACHES:
            src, _, vec, scaled = _neighbors(frame, reach)
            if len(np.unique(src)) > 0.9 * len(frame):
                break
        bonded = ~np.isin(frame.species[src], _NOBLE)
        nearest = _nearest(len(frame), src[bonded], scaled[bonded])
        ratios += nearest[np.isfinite(nearest)].tolist()
        lengths += _nearest(len(frame), src, np.linalg.norm(vec, axis=1))[np.isfinite(nearest)].tolist()
    if not ratios or _BONDED[0] < np.median(ratios) < _BONDED[1]:
        return []
    times = float(np.median(ratios))
    source = _name(frames)
    return [
        Oddity(
            "length_unit",
            source,
            times,
            "",
            f"{source}: nearest neighbours are {times:.3g} times as far apart as bonded atoms are "
            f"({np.median(lengths):.3g} Å){as_if(times, length_mixups(), 1.4)}; check units.length",
        )
    ]


def _odd_forces(frames: Sequence[Frame]) -> list[Oddity]:
    bonds = [bond for bond in bond_stiffness(frames) if abs(bond.correlation) > _MIN_CORRELATION]
    if not bonds:
        norms = [float(np.sqrt(np.mean(frame.forces**2))) for frame in frames if frame.forces is not None]
        if not norms or np.median(norms) < _WILD_FORCES:
            return []
        source, wild = _name(frames), float(np.median(norms))
        sentence = f"{source}: forces of {wild:.3g} eV/Å are typical, where matter below 5000 K has 0.1 to 5"
        return [Oddity("force_unit", source, wild, "eV/Å", f"{sentence}; check units.forces")]
    source = _name(frames)
    counts = np.array([bond.num_bonds for bond in bonds])
    uphill = float(counts[[bond.correlation > 0 for bond in bonds]].sum() / counts.sum())
    firm = max(bonds, key=lambda bond: abs(bond.correlation))
    odd = []
    if uphill > 0.5:
        sentence = (
            f"{source}: forces push bonds apart that are long already (correlation {firm.correlation:.2f} for "
            f"{firm.pair}), where they should pull back; they look like gradients; turn their sign over"
        )
        odd.append(Oddity("force_sign", source, firm.correlation, "", sentence))
    natural = float(np.median(np.repeat([abs(bond.natural_stiffness) for bond in bonds], counts)))
    if not _STIFF[0] < natural < _STIFF[1]:
        times = natural / _TYPICAL_STIFFNESS
        sentence = (
            f"{source}: bonds are some {times:.2g} times as stiff as bonds are ({firm.pair} of {firm.length:.3g} Å: "
            f"{abs(firm.stiffness):.3g} eV/Å^2){as_if(times, force_mixups(), 3.0)}; check units.forces and units.energy"
        )
        odd.append(Oddity("force_unit", source, times, "", sentence))
    return odd


def _odd_energies(frames: Sequence[Frame]) -> list[Oddity]:
    """Return a finding if energies are those of all electrons in another unit."""
    labelled = [frame for frame in frames if frame.energy is not None and set(frame.species) <= TOTAL_ENERGIES.keys()]
    if not labelled:
        return []
    totals = [sum(TOTAL_ENERGIES[number] for number in frame.species.tolist()) for frame in labelled]
    ratios = [float(frame.energy or 0) / total for frame, total in zip(labelled, totals, strict=True)]
    if not ratios or min(ratios) <= 0:
        return []
    times = float(np.median(ratios))
    if max(ratios) / min(ratios) > _ALL_ELECTRON or times == 0:
        return []
    guess = as_if(times, energy_mixups(), _ALL_ELECTRON)
    if not guess:
        return []
    source = _name(frames)
    sentence = f"{source}: energies are {times:.4g} times those of the atoms with all their electrons{guess}"
    return [Oddity("energy_unit", source, times, "", f"{sentence}; check units.energy")]


def _neighbors(frame: Frame, reach: float) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, Array]:
    """Return src, dst, vectors and distances in units of the sum of covalent radii."""
    edge_index, edge_shift = neighbor_list(frame.pos, frame.cell, frame.pbc, reach)
    src, dst = edge_index.numpy()
    vec = frame.pos[dst] - frame.pos[src]
    if frame.cell is not None:
        vec = vec + edge_shift.numpy() @ frame.cell
    radii = covalent_radii(frame.species)
    return src, dst, vec, np.linalg.norm(vec, axis=1) / (radii[src] + radii[dst])


def _nearest(num_atoms: int, src: NDArray[np.int64], distances: Array) -> Array:
    nearest = np.full(num_atoms, np.inf)
    np.minimum.at(nearest, src, distances)
    return nearest


def _name(frames: Sequence[Frame]) -> str:
    """Return a name of a sample of frames for messages."""
    return frames[0].source if len(frames) == 1 else f"{frames[0].source} to {frames[-1].source}"
