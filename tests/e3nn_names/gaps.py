"""Where this package is not e3nn 0.6, and why; and which arguments no case can try. Each line is checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

__all__ = ["GAPS", "UNTRIED", "Gap"]


class Gap(NamedTuple):
    """A name whose values differ; how it is called must be as in e3nn.

    Attributes:
        reason: Why they differ.
        accepts: Says of the values of e3nn and of those here what is wrong; empty if they are as the reason says.
    """

    reason: str
    accepts: Callable[[Any, Any], str]


def near(theirs, ours):
    """Compare peaks on a grid with 20 steps from pole to pole: each that e3nn finds has one within 1.5 steps here."""
    (grid, heights), (exact, tops) = theirs, ours
    distance = torch.cdist(grid, exact)
    if not len(exact) or distance.min(dim=1).values.max() > 1.5 * torch.pi / 20:
        return f"a peak is missing: {grid} against {exact}"
    lower = heights - tops[distance.argmin(dim=1)]
    return f"a top is lower than a point of the grid by {lower.max():.1e}" if lower.max() > 1e-12 else ""


GAPS = {
    "io.SphericalTensor.find_peaks": Gap(
        "peaks are moved to the top, to rounding; e3nn returns the nearest grid points", near
    ),
}

_ONLY_ONE = "e3nn takes 'component' only"
_NO_CODE = "steers the code that e3nn generates; there is none here, and giving it is an error"

# Arguments with a default that no case gives another value.
UNTRIED = {
    "nn.NormActivation.normalize": "False always raises in e3nn; test_defects has what it does here",
    "nn.SO3Activation.normalization": _ONLY_ONE,
    "o3.SO3Grid.normalization": _ONLY_ONE,
    "math.perm.standard_representation.dtype": "any but the default dtype raises in e3nn",
    "o3.Linear._optimize_einsums": _NO_CODE,
    "o3.TensorProduct._optimize_einsums": _NO_CODE,
    "o3.TensorProduct._specialized_code": _NO_CODE,
    "o3.TensorProduct.normalization": "the name of irrep_normalization before 0.5, which e3nn warns of",
}
