"""A still picture of structures with the errors on their atoms: discs in depth order, bonds, two arrows per atom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.covalent_radii import covalent_radii
from irrepnet.data.elements import SYMBOLS
from irrepnet.report.bonds import find_bonds
from irrepnet.report.panels import BLUE, FAINT, INK
from irrepnet.report.structure_errors import StructureErrors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize

__all__ = ["Scene", "colours_of", "draw_structure", "scene_of"]

Array = NDArray[np.float64]
_WHOLE = 60  # atoms up to which all of them are drawn
_REACH = 4.0  # Å about the worst atom, beyond that number
_LONGEST_ARROW = 1.6  # Å in the picture
_DISC = 0.62  # of a covalent radius
_LONGEST_NAME = 40  # letters


class Scene(NamedTuple):
    """The atoms of a structure that are drawn, as they lie next to each other.

    Example:
        >>> Scene._fields
        ('atoms', 'pos', 'bonds', 'is_whole')
    """

    atoms: NDArray[np.int64]  # [n] places in the structure
    pos: Array  # [n, 3] Å, images next to the worst atom where only its surroundings are drawn
    bonds: list[tuple[int, int]]  # places among the n
    is_whole: bool


def scene_of(structure: StructureErrors) -> Scene:
    """Return what to draw of a structure: all of it, or of more than 60 atoms those near the worst.

    Near is within 4 Å, and what is bonded to that over two bonds.

    Example:
        >>> pos = [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]
        >>> scene_of(StructureErrors("a", [8, 1, 1], pos, np.zeros((3, 3)), np.eye(3))).bonds
        [(0, 1), (0, 2)]
    """
    pos, worst = structure.pos, structure.worst_atom
    is_whole = len(pos) <= _WHOLE
    if is_whole:
        atoms = np.arange(len(pos))
        bonds = find_bonds(structure.species, pos)  # as they are drawn: not across the cell
        return Scene(atoms, pos, [(one, two) for one, two in bonds.ends.T.tolist()], True)
    near = pos - pos[worst]
    if structure.cell is not None:
        shift = np.round(near @ np.linalg.inv(structure.cell)) * np.array(structure.pbc)
        near = near - shift @ structure.cell
    is_near = np.linalg.norm(near, axis=1) <= _REACH
    pairs = find_bonds(structure.species, near).ends  # [2, K]
    for _ in range(2):  # bonds: enough for a water molecule to be whole, and not for a crystal to be
        is_near[pairs[:, is_near[pairs].any(axis=0)]] = True
    atoms = np.flatnonzero(is_near)
    bonds = find_bonds(structure.species[atoms], near[atoms])
    return Scene(atoms, near[atoms], [(one, two) for one, two in bonds.ends.T.tolist()], False)


def colours_of(structures: Sequence[StructureErrors]) -> tuple[Colormap, Normalize]:
    """Return the colours of force errors, from 0 to the largest of all structures, meV/Å."""
    from matplotlib import colormaps
    from matplotlib.colors import Normalize as AnyNormalize

    largest = max((float(np.nanmax(structure.force_error, initial=0.0)) for structure in structures), default=0.0)
    return colormaps["YlOrRd"], AnyNormalize(0, largest or 1.0)


def draw_structure(ax: Axes, structure: StructureErrors, colours: tuple[Colormap, Normalize]) -> float:
    """Draw a structure seen along its thinnest direction, with the reference and the predicted force on each atom.

    Args:
        ax: Where to draw.
        structure: What to draw.
        colours: From :func:`colours_of`.

    Returns:
        How long a force of 1 eV/Å is drawn, Å.
    """
    from matplotlib.patches import Circle

    scene = scene_of(structure)
    view = _view(scene.pos)
    pos = (scene.pos - scene.pos.mean(axis=0)) @ view  # [n, 3] right, up, towards the reader
    species, error = structure.species[scene.atoms], structure.force_error[scene.atoms]
    radii = _DISC * covalent_radii(species)
    for one, two in scene.bonds:
        depth = float(pos[[one, two], 2].mean())
        ax.plot(*pos[[one, two], :2].T, color=FAINT, linewidth=4, solid_capstyle="round", zorder=2 + _order(depth, pos))
    colormap, norm = colours
    for place, (x, y, z) in enumerate(pos):
        face = colormap(norm(np.nan_to_num(error[place])))
        order = 2 + _order(z, pos)
        is_worst = scene.atoms[place] == structure.worst_atom
        edge = {"edgecolor": INK, "linewidth": 2.0 if is_worst else 0.7}
        ax.add_patch(Circle((x, y), radii[place], facecolor=face, zorder=order, **edge))
        ink = "white" if norm(np.nan_to_num(error[place])) > 0.65 else INK
        ax.text(x, y, SYMBOLS[species[place]], color=ink, zorder=10, clip_on=True, fontsize=8, ha="center", va="center")
    reference, predicted = (forces[scene.atoms] for forces in (structure.forces_ref, structure.forces_pred))
    scale = _arrow_scale(reference, predicted)
    for forces, colour, width in ((reference, INK, 0.011), (predicted, BLUE, 0.006)):
        along = scale * np.nan_to_num(forces) @ view
        ax.quiver(
            *pos[:, :2].T, *along[:, :2].T, color=colour, width=width, angles="xy", scale_units="xy", scale=1, zorder=9
        )  # fmt: skip
    _frame(ax, pos, structure, scene)
    return scale


def _view(pos: Array) -> Array:
    """Return axes to look along, as columns: right and up are the widest directions; a little turned, to see depth."""
    centred = pos - pos.mean(axis=0)
    _, _, rows = np.linalg.svd(centred, full_matrices=True)
    if np.linalg.det(rows) < 0:
        rows[2] *= -1
    tilt, turn = np.radians(18.0), np.radians(12.0)
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    about_y = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    return rows.T @ about_x @ about_y


def _order(depth: float, pos: Array) -> float:
    """Return a place in the order of drawing between 0 (far) and 1 (near)."""
    low, high = pos[:, 2].min(), pos[:, 2].max()
    return float((depth - low) / (high - low)) if high > low else 0.5


def _arrow_scale(reference: Array, predicted: Array) -> float:
    longest = max(np.nan_to_num(np.linalg.norm(forces, axis=1)).max(initial=0.0) for forces in (reference, predicted))
    return float(_LONGEST_ARROW / longest) if longest > 0 else 1.0


def _frame(ax: Axes, pos: Array, structure: StructureErrors, scene: Scene) -> None:
    low, high = pos[:, :2].min(axis=0), pos[:, :2].max(axis=0)
    centre, half = (low + high) / 2, float((high - low).max()) / 2 + _LONGEST_ARROW
    ax.set_xlim(centre[0] - half, centre[0] + half)
    ax.set_ylim(centre[1] - half, centre[1] + half + 0.35 * half)  # the words are above
    ax.set_aspect("equal")
    ax.set_axis_off()
    atom = structure.worst_atom
    symbol = SYMBOLS[structure.species[atom]]
    name = structure.name if len(structure.name) <= _LONGEST_NAME else f"…{structure.name[-_LONGEST_NAME:]}"
    words = f"{name}\n{structure.force_error[atom]:.0f} meV/Å on atom {atom} ({symbol})"
    if not scene.is_whole:
        words += f"; {len(scene.atoms)} of {len(structure.pos)} atoms"
    ax.text(0.0, 1.0, words, transform=ax.transAxes, fontsize=9.5, color=INK, va="top", linespacing=1.4)
