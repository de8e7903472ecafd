"""A page with structures to turn with the mouse, made with plotly; its script is in the page, and it asks for no other.

It is a file of its own because plotly's script has 4.8 MB: the report itself stays small enough to mail, opens at once
and holds no script at all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.covalent_radii import covalent_radii
from irrepnet.data.elements import SYMBOLS
from irrepnet.report.bonds import find_bonds
from irrepnet.report.page import document, heading, paragraph, script, view_box
from irrepnet.report.panels import BLUE, FAINT, INK
from irrepnet.report.structure_errors import StructureErrors

__all__ = ["is_structure_view", "render_structure_view", "view_data"]

Array = NDArray[np.float64]
_ELEMENT = "structure"
_MARK = b"structure-data"  # is in every page that is written here
_LONGEST_ARROW = 1.6  # Å
_PIXELS = 160.0  # by which a radius over the extent of a structure is drawn
# YlOrRd of colorbrewer2.org, the colours of the still picture: plotly's own of that name run the other way round.
_YELLOW_TO_RED = (
    "#ffffcc", "#ffeda0", "#fed976", "#feb24c", "#fd8d3c", "#fc4e2a", "#e31a1c", "#bd0026", "#800026",
)  # fmt: skip
_SHOW = """
const data = JSON.parse(document.getElementById("structure-data").textContent);
Plotly.newPlot("structure", data.data, data.layout, {responsive: true, displaylogo: false, scrollZoom: true});
"""


def render_structure_view(title: str, structures: Sequence[StructureErrors]) -> str:
    """Return a page that shows structures in three dimensions, one at a time.

    Args:
        title: Of the page.
        structures: At least one; the first is shown first.

    Raises:
        ImportError: If plotly, whose script does the drawing, is not installed.

    Example:
        >>> frame = StructureErrors("a frame 0", [1, 1], np.eye(2, 3), np.zeros((2, 3)), 0.01 * np.eye(2, 3))
        >>> page = render_structure_view("Worst frames", [frame])
        >>> "a frame 0: force error 10 meV/Å" in page
        True
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ImportError(
            "the view in three dimensions needs plotly; found it not installed; pip install 'irrepnet[report]'"
        ) from error
    words = (
        "Drag to turn, scroll to zoom, double-click to go back. Atoms are coloured by the length of the error of their "
        "force in meV/Å. Dark arrows: reference forces; blue arrows: predicted forces, both on one scale. Where the "
        "two arrows of an atom fall together the model is right. Point at an atom for its numbers."
    )
    lines = (paragraph(structure.words) for structure in structures)
    drawing = script(
        json.dumps(view_data(structures), allow_nan=False), kind="application/json", anchor="structure-data"
    )
    return document(
        title,
        heading(title),
        paragraph(words),
        view_box(_ELEMENT, "Structure in three dimensions with force errors"),
        *lines,
        drawing,
        scripts=(get_plotlyjs(), _SHOW),
    )


def is_structure_view(path: Path) -> bool:
    """Tell whether a file is a page by :func:`render_structure_view`, which another one may take the place of.

    Example:
        >>> is_structure_view(Path("missing_3d.html"))
        False
    """
    return path.is_file() and _MARK in path.read_bytes()


def view_data(structures: Sequence[StructureErrors]) -> dict[str, Any]:
    """Return the traces and the layout that plotly draws, as JSON can hold them.

    Example:
        >>> frame = StructureErrors("a frame 0", [1, 1], np.eye(2, 3), np.zeros((2, 3)), 0.01 * np.eye(2, 3))
        >>> [trace["name"] for trace in view_data([frame])["data"]]
        ['bonds', 'cell', 'atoms', 'reference force', 'predicted force']
    """
    largest = max(float(np.nanmax(structure.force_error, initial=0.0)) for structure in structures) or 1.0
    groups = [_traces(structure, largest) for structure in structures]
    for index, traces in enumerate(groups):
        for trace in traces:
            trace["visible"] = index == 0
    layout: dict[str, Any] = {
        "scene": {
            "aspectmode": "data",
            "camera": {"eye": {"x": 1.2, "y": 1.2, "z": 0.85}},
            **{f"{name}axis": {"visible": False} for name in "xyz"},
        },
        "margin": {"l": 0, "r": 0, "t": 48, "b": 0},
        "paper_bgcolor": "#ffffff",
        "font": {"color": INK},
        "legend": {"orientation": "h", "y": 0.02, "x": 0.02},
        "uirevision": "keep",
    }
    if len(structures) > 1:
        layout["updatemenus"] = [{
            "buttons": [
                {"label": _label(structure), "method": "restyle", "args": ["visible", _visible(groups, index)]}
                for index, structure in enumerate(structures)
            ],
            "x": 0.0, "xanchor": "left", "y": 1.0, "yanchor": "bottom",
        }]  # fmt: skip
    return {"data": [trace for traces in groups for trace in traces], "layout": layout}


def _traces(structure: StructureErrors, largest: float) -> list[dict[str, Any]]:
    pos, error = _wrapped(structure), structure.force_error
    longest = max(
        np.nan_to_num(np.linalg.norm(forces, axis=1)).max() for forces in (structure.forces_ref, structure.forces_pred)
    )
    scale = _LONGEST_ARROW / longest if longest > 0 else 1.0
    atoms = {
        "type": "scatter3d",
        "name": "atoms",
        "mode": "markers",
        **_xyz(pos),
        "text": [_words(structure, atom) for atom in range(len(pos))],
        "hoverinfo": "text",
        "showlegend": False,
        "marker": {
            "size": _sizes(structure, pos),
            "color": _numbers(error),
            "cmin": 0,
            "cmax": largest,
            "colorscale": [[place / 8, colour] for place, colour in enumerate(_YELLOW_TO_RED)],
            "opacity": 1,
            "line": {"width": 1, "color": INK},
            "colorbar": {"title": {"text": "force error (meV/Å)"}, "len": 0.7},
        },
    }
    return [
        _line("bonds", _bond_lines(structure, pos), FAINT, 6, in_legend=False),
        _line("cell", _cell_lines(structure), FAINT, 2, in_legend=False),
        atoms,
        _line("reference force", _arrows(pos, scale * structure.forces_ref), INK, 5, in_legend=True),
        _line("predicted force", _arrows(pos, scale * structure.forces_pred), BLUE, 4, in_legend=True),
    ]


def _line(name: str, points: Array, colour: str, width: int, *, in_legend: bool) -> dict[str, Any]:
    return {
        "type": "scatter3d",
        "name": name,
        "mode": "lines",
        **_xyz(points),
        "line": {"color": colour, "width": width},
        "hoverinfo": "skip",
        "showlegend": in_legend,
    }


def _wrapped(structure: StructureErrors) -> Array:
    """Return the positions in the cell, along its periods."""
    if structure.cell is None:
        return structure.pos
    outside = np.floor(structure.pos @ np.linalg.pinv(structure.cell)) * np.array(structure.pbc)
    return structure.pos - outside @ structure.cell


def _sizes(structure: StructureErrors, pos: Array) -> list[float]:
    """Return how wide the atoms are drawn, pixels: as wide as they are in the space that the structure fills."""
    extent = max(float(np.ptp(pos, axis=0).max()), 2.0)
    sizes = _PIXELS * covalent_radii(structure.species) / extent
    return sizes.clip(5, 60).round(1).tolist()


def _bond_lines(structure: StructureErrors, pos: Array) -> Array:
    """Return half a bond from each of its atoms, so that one that leaves the cell goes on at the other side."""
    ends, vectors = find_bonds(structure.species, pos, structure.cell, structure.pbc)
    one, two = pos[ends[0]], pos[ends[1]]
    return _pieces(np.concatenate([np.stack([one, one + vectors / 2], 1), np.stack([two, two - vectors / 2], 1)]))


def _cell_lines(structure: StructureErrors) -> Array:
    """Return the twelve edges of the cell about the atoms."""
    if structure.cell is None:
        return np.zeros((0, 3))
    corners = np.array([(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=np.float64)
    edges = [(one, two) for one in corners for two in corners if (two - one).sum() == 1 and (two >= one).all()]
    return _pieces(np.array(edges) @ structure.cell)


def _arrows(start: Array, vectors: Array) -> Array:
    """Return lines that look like arrows from every side: a shaft and a head of four strokes."""
    kept = np.isfinite(vectors).all(axis=1) & (np.linalg.norm(vectors, axis=1) > 1e-3)
    start, vectors = start[kept], vectors[kept]
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    along = vectors / np.where(length > 0, length, 1.0)
    helper = np.where(np.abs(along[:, :1]) < 0.9, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    across = np.cross(along, helper)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    tip, head = start + vectors, np.minimum(0.25 * length, 0.25)
    strokes = [np.stack([start, tip], 1)]
    for side in (across, -across, np.cross(along, across), -np.cross(along, across)):
        strokes.append(np.stack([tip, tip - head * (along - 0.5 * side)], 1))
    return _pieces(np.concatenate(strokes))


def _pieces(segments: Array) -> Array:
    """Join line segments ``[K, 2, 3]`` to one line with gaps, ``[3 K, 3]``; NaN is a gap."""
    gaps = np.full((len(segments), 1, 3), np.nan)
    return np.concatenate([segments, gaps], axis=1).reshape(-1, 3)


def _xyz(points: Array) -> dict[str, list[float | None]]:
    return {name: _numbers(points[:, place]) for place, name in enumerate("xyz")}


def _numbers(values: Array) -> list[float | None]:
    return [round(value, 4) if np.isfinite(value) else None for value in values.tolist()]


def _words(structure: StructureErrors, atom: int) -> str:
    reference, predicted = (np.linalg.norm(f[atom]) for f in (structure.forces_ref, structure.forces_pred))
    return (
        f"atom {atom} ({SYMBOLS[structure.species[atom]]}): error {structure.force_error[atom]:.0f} meV/Å<br>"
        f"reference {reference:.3f} eV/Å, predicted {predicted:.3f} eV/Å"
    )


def _label(structure: StructureErrors, most: int = 48) -> str:
    """Return the source as a button shows it: plotly reads a little HTML, so what looks like it is taken out."""
    name = structure.name.replace("<", "").replace(">", "")
    return name if len(name) <= most else f"…{name[-most:]}"


def _visible(groups: Sequence[Sequence[Any]], shown: int) -> list[bool]:
    return [index == shown for index, traces in enumerate(groups) for _ in traces]
