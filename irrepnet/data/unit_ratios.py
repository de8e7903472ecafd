"""Which two units somebody has mixed up, told from how many times too large the numbers are."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from irrepnet.data.units import Units

__all__ = ["as_if", "energy_mixups", "force_mixups", "length_mixups", "stress_mixups"]

Mixups = dict[str, float]


def length_mixups() -> Mixups:
    """Return how many times too long lengths are if one unit was read as another.

    Example:
        >>> round(length_mixups()["bohr were read as angstrom"], 2)
        1.89
    """
    return _mixups({unit: Units(length=unit).to_angstrom for unit in ("angstrom", "bohr", "nm")})


def energy_mixups() -> Mixups:
    """Return how many times too large energies are if one unit was read as another.

    Example:
        >>> round(energy_mixups()["kcal/mol were read as eV"], 2)
        23.06
    """
    return _mixups({unit: Units(energy=unit).to_ev for unit in ("eV", "kcal/mol", "Hartree", "kJ/mol", "meV")})


def force_mixups() -> Mixups:
    """Return how many times too large forces are if one unit was read as another.

    Example:
        >>> round(1 / force_mixups()["Hartree/bohr were read as eV/angstrom"], 2)
        51.42
    """
    units = ("eV/angstrom", "kcal/mol/angstrom", "Hartree/bohr", "Hartree/angstrom", "kJ/mol/nm", "kJ/mol/angstrom")
    return _mixups({unit: Units(forces=unit).to_ev_per_angstrom for unit in (*units, "eV/bohr", "meV/angstrom")})


def stress_mixups() -> Mixups:
    """Return how many times too large stresses are if one unit was read as another.

    Example:
        >>> round(stress_mixups()["GPa were read as eV/angstrom^3"], 1)
        160.2
    """
    units = ("eV/angstrom^3", "GPa", "kbar", "Hartree/bohr^3")
    return _mixups({unit: Units(stress=unit).to_ev_per_angstrom3 for unit in units})


def as_if(times: float, mixups: Mixups, within: float) -> str:
    """Return ``" as if kcal/mol were read as eV"``: the likeliest mix-ups, at most two, or an empty string.

    Args:
        times: How many times too large the numbers seem to be.
        mixups: How many times too large each mix-up makes them.
        within: By which factor ``times`` may be wrong.

    Example:
        >>> as_if(25.0, energy_mixups(), within=1.5)
        ', as if kcal/mol were read as eV or eV were read as Hartree'
    """
    off = {name: abs(np.log(times / ratio)) for name, ratio in mixups.items()}
    near = sorted((name for name in mixups if off[name] < np.log(within)), key=lambda name: (_is_rare(name), off[name]))
    return f", as if {' or '.join(near[:2])}" if near else ""


def _is_rare(mixup: str) -> bool:
    """Tell whether a mix-up is not the common one: numbers in another unit, read as if they were in ours."""
    return not mixup.endswith((" as eV", " as angstrom", " as eV/angstrom", " as eV/angstrom^3"))


def _mixups(factors: dict[str, float]) -> Mixups:
    """Return the ratio of each pair of units of which one is the first of them, ours."""
    ours = next(iter(factors))
    return {
        f"{true} were read as {read}": factors[read] / factors[true]
        for true, read in permutations(factors, 2)
        if ours in (true, read)
    }
