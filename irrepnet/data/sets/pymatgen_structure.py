"""Crystals as pymatgen writes them to JSON, read without pymatgen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from irrepnet.data.elements import atomic_number

__all__ = ["parse_structure"]


def parse_structure(structure: Mapping[str, Any]) -> dict[str, Any]:
    """Return atomic numbers, positions, cell and periods of a structure without partial occupation.

    Args:
        structure: The dictionary that ``Structure.as_dict()`` gives.

    Returns:
        ``species [N]``, ``pos [N, 3]``, ``cell [3, 3]`` (rows are lattice vectors) and ``pbc``, Å.

    Raises:
        KeyError, TypeError, IndexError: If it is no such dictionary.
        DataError: If a site has no or several elements.

    Example:
        >>> site = {"species": [{"element": "Li", "occu": 1}], "xyz": [0.0, 0.0, 1.0]}
        >>> parse_structure({"lattice": {"matrix": [[3, 0, 0], [0, 3, 0], [0, 0, 3]]}, "sites": [site]})["species"]
        [3]
    """
    return {
        "species": [_species(site) for site in structure["sites"]],
        "pos": [site["xyz"] for site in structure["sites"]],
        "cell": structure["lattice"]["matrix"],
        "pbc": structure["lattice"].get("pbc", [True, True, True]),
    }


def _species(site: Mapping[str, Any]) -> int:
    (element,) = site["species"]
    if element.get("occu", 1) != 1:
        raise ValueError(f"a site needs one element; found {site['species']}")
    return atomic_number(element["element"])
