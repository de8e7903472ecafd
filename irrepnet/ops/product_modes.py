"""What the modes of a tensor product do with multiplicities: the one table behind plans, stages and instructions."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

__all__ = ["PRODUCT_MODES", "ProductMode"]


class ProductMode(NamedTuple):
    """Rules of a mode, as functions of the multiplicities of the inputs and the output.

    Attributes:
        weight_shape: Shape of the weights, given all three.
        terms: How many products are summed into one output, given those of the inputs.
        fits: Whether all three go together.
        rule: ... in words.
        mixed: Which input is mixed before channels meet: "x", "y" or "" for none.
        meeting: Which channels meet then: the "same" ones, "all", or "ascending" ones, u < v.
        mixes_pairs: Whether weights mix the pairs.

    Example:
        >>> mode = PRODUCT_MODES["uvu"]
        >>> mode.weight_shape(8, 2, 8), mode.terms(8, 2), mode.fits(8, 2, 4)
        ((8, 2), 2, False)
    """

    weight_shape: Callable[[int, int, int], tuple[int, ...]]
    terms: Callable[[int, int], int]
    fits: Callable[[int, int, int], bool]
    rule: str
    mixed: str
    meeting: str
    mixes_pairs: bool

    def needs_weights(self, mul_out: int) -> bool:
        """Return whether a path to so many channels cannot be without weights: they tell the channels apart.

        ``uuw`` to a single channel is a plain sum; pairs that all meet, or meet u < v, are summed with weights only.
        """
        return self.mixes_pairs and (self.meeting != "same" or mul_out != 1)


def _pairs(mul: int) -> int:
    return mul * (mul - 1) // 2


PRODUCT_MODES = {
    "uvw": ProductMode(
        lambda a, b, c: (a, b, c), lambda a, b: a * b, lambda a, b, c: True, "any multiplicities", "", "all", True
    ),
    "uvu": ProductMode(
        lambda a, b, c: (a, b), lambda a, b: b, lambda a, b, c: a == c, "mul_out = mul_in1", "y", "same", False
    ),
    "uvv": ProductMode(
        lambda a, b, c: (a, b), lambda a, b: a, lambda a, b, c: b == c, "mul_out = mul_in2", "x", "same", False
    ),
    "uuw": ProductMode(
        lambda a, b, c: (a, c), lambda a, b: a, lambda a, b, c: a == b, "mul_in1 = mul_in2", "", "same", True
    ),
    "uuu": ProductMode(
        lambda a, b, c: (a,),
        lambda a, b: 1,
        lambda a, b, c: a == b == c,
        "mul_in1 = mul_in2 = mul_out",
        "",
        "same",
        False,
    ),
    "uvuv": ProductMode(
        lambda a, b, c: (a, b),
        lambda a, b: 1,
        lambda a, b, c: a * b == c,
        "mul_out = mul_in1 mul_in2",
        "",
        "all",
        False,
    ),
    "uvu<v": ProductMode(
        lambda a, b, c: (_pairs(a),),
        lambda a, b: 1,
        lambda a, b, c: a == b and _pairs(a) == c,
        "mul_in1 = mul_in2 and mul_out = mul_in1 (mul_in1 - 1) / 2",
        "",
        "ascending",
        False,
    ),
    "u<vw": ProductMode(
        lambda a, b, c: (_pairs(a), c),
        lambda a, b: _pairs(a),
        lambda a, b, c: a == b,
        "mul_in1 = mul_in2",
        "",
        "ascending",
        True,
    ),
}
