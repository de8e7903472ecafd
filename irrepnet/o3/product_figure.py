"""A drawing of a tensor product: a roof of the two inputs, the output below, and three lines for each path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from irrepnet.errors import ConfigError
from irrepnet.o3.instruction import Instruction
from irrepnet.o3.irreps import Irreps

__all__ = ["draw_product"]


def draw_product(
    irreps: tuple[Irreps, Irreps, Irreps],
    instructions: Sequence[Instruction],
    strengths: Mapping[int, float] | None = None,
    aspect_ratio: float | str = 1,
    ax: Any = None,
) -> tuple[Any, Any]:
    """Draw which entries of the inputs meet in which of the output.

    Two entries of the inputs always meet in the same point, whatever outputs the paths lead to from there. A path
    without weights is black; one with weights green, or, where strengths are given, the darker a blue the stronger
    it is.

    Args:
        irreps: Of the first input (drawn on the left), the second (right) and the output (below).
        instructions: The paths.
        strengths: Number of a path -> how strong it is, >= 0; for all paths with weights, or None.
        aspect_ratio: Width over height of the picture, or ``"auto"``: by the numbers of entries.
        ax: Axes of matplotlib to draw on; the current ones by default.

    Returns:
        Figure and axes.

    Raises:
        ImportError: If matplotlib is not installed.
        ConfigError: If ``aspect_ratio`` is neither a positive number nor ``"auto"``.

    Example:
        >>> from matplotlib.figure import Figure
        >>> path = Instruction(0, 0, 0, "uvu", True, 1.0, (2, 1))
        >>> fig, ax = draw_product((Irreps("2x1o"), Irreps("1o"), Irreps("2x1e")), [path], ax=Figure().subplots())
        >>> [text.get_text() for text in ax.texts]
        ['2x1o', '1o', '2x1e']
    """
    try:
        from matplotlib import colormaps
    except ImportError as error:
        raise ImportError(
            "drawing a product needs the package matplotlib; it is not installed. Run: pip install matplotlib"
        ) from error
    width, height = _size(irreps, aspect_ratio)
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.gca()
    left = [(-x * width, (1 - x) * height) for x in _spread(len(irreps[0]))]
    right = [(x * width, (1 - x) * height) for x in _spread(len(irreps[1]))]
    below = [((2 * x - 1) * width, -1.5 * height) for x in _spread(len(irreps[2]))]
    strongest = max([0.0, *(strengths or {}).values()]) or 1.0
    for number, ins in enumerate(instructions):
        (x1, y1), (x2, y2) = left[ins.i_in1], right[ins.i_in2]
        x, y = x1 + x2, y1 + y2 - height  # where the lines along the two sides of the roof meet
        color: Any = "green" if ins.has_weight else "black"
        if strengths is not None and ins.has_weight:
            color = colormaps["Blues"](0.5 + 0.5 * strengths.get(number, 0.0) / strongest)
        for end in (left[ins.i_in1], right[ins.i_in2], below[ins.i_out]):
            ax.plot([x, end[0]], [y, end[1]], color=color, alpha=0.5, linewidth=1.5, solid_capstyle="round")
    for entries, points, align in (
        (irreps[0], left, {"ha": "right", "va": "center", "xytext": (-3, 0)}),
        (irreps[1], right, {"ha": "left", "va": "center", "xytext": (3, 0)}),
        (irreps[2], below, {"ha": "center", "va": "top", "xytext": (0, -3), "rotation": 90}),
    ):
        for entry, point in zip(entries, points, strict=True):
            text = str(entry.ir) if entry.mul == 1 else str(entry)
            ax.annotate(text, point, textcoords="offset points", **align)
    ax.set_aspect("equal", adjustable="datalim")
    ax.axis("off")
    return ax.get_figure(), ax


def _size(irreps: tuple[Irreps, Irreps, Irreps], aspect_ratio: float | str) -> tuple[float, float]:
    """Return half the width and half the height of the picture."""
    tall, wide = max(1, len(irreps[0]), len(irreps[1])), max(1, len(irreps[2]))
    if aspect_ratio == "auto":
        return float(wide), max(float(tall), wide / 2)
    if isinstance(aspect_ratio, bool) or not isinstance(aspect_ratio, (int, float)) or aspect_ratio <= 0:
        raise ConfigError(f"aspect_ratio needs a positive number or 'auto'; got {aspect_ratio!r}.")
    side = float(max(tall, wide))
    return aspect_ratio * side, side


def _spread(number: int) -> list[float]:
    """Return so many places between 0 and 1, with margins."""
    return [(i + 1) / (number + 1) for i in range(number)]
