"""How far the repulsion of nuclei reaches: up to where the training structures begin to tell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations_with_replacement

import torch

from irrepnet.data.covalent_radii import covalent_radius
from irrepnet.data.elements import SYMBOLS, atomic_number
from irrepnet.data.graph import Graph
from irrepnet.models.trunk import edge_vectors

__all__ = ["bond_lengths", "closest_approaches", "species_pairs"]


def species_pairs(species: Sequence[str]) -> list[tuple[str, str]]:
    """Return every pair of species once, in the order in which a configuration lists values of pairs.

    Example:
        >>> species_pairs(["H", "O"])
        [('H', 'H'), ('H', 'O'), ('O', 'O')]
    """
    return list(combinations_with_replacement(species, 2))


def closest_approaches(graphs: Iterable[Graph], species: Sequence[str], cutoff: float) -> tuple[float, ...]:
    """Return the shortest distance between atoms of each pair of species; the cutoff where none is shorter.

    Args:
        graphs: Of the training structures, each with the edges up to the cutoff.
        species: Chemical symbols.
        cutoff: Of the model, Å.

    Returns:
        One distance for each of :func:`species_pairs`, Å.

    Example:
        >>> from irrepnet.data import Frame, build_graph
        >>> water = Frame(species=[8, 1, 1], pos=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
        >>> [round(length, 3) for length in closest_approaches([build_graph(water, 4.0)], ["H", "O"], cutoff=4.0)]
        [1.518, 0.96, 4.0]
    """
    place = torch.full((len(SYMBOLS),), -1)
    place[[atomic_number(symbol) for symbol in species]] = torch.arange(len(species))
    shortest = torch.full((len(species), len(species)), float(cutoff), dtype=torch.float64)
    for graph in graphs:
        src, dst = place[graph.species.cpu()][graph.edge_index.cpu()]
        known = (src >= 0) & (dst >= 0)
        pair, edge_len = (src * len(species) + dst)[known], edge_vectors(graph).norm(dim=1).detach().cpu()[known]
        shortest.view(-1).scatter_reduce_(0, pair, edge_len.double(), "amin")
    upper = torch.triu_indices(len(species), len(species))
    return tuple(torch.minimum(shortest, shortest.T)[upper[0], upper[1]].tolist())


def bond_lengths(species: Sequence[str], cutoff: float) -> tuple[float, ...]:
    """Return the sum of the covalent radii of each of :func:`species_pairs`, Å; at most the cutoff.

    Raises:
        DataError: If the radius of an element is not known.

    Example:
        >>> bond_lengths(["H", "O"], cutoff=4.0)
        (0.62, 0.97, 1.32)
    """
    pairs = ((covalent_radius(a), covalent_radius(b)) for a, b in species_pairs(species))
    return tuple(min(math.fsum(pair), cutoff) for pair in pairs)
