"""Strategies for hypothesis: let it draw the irreps on which a layer is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["irreps"]


def irreps(lmax: int, max_mul: int, *, max_terms: int = 3) -> SearchStrategy[Irreps]:
    """Return a hypothesis strategy that draws ``Irreps``, neither sorted nor simplified, never empty.

    It shrinks towards few terms, small multiplicities and small degrees.

    Args:
        lmax: Highest degree, inclusive, >= 0.
        max_mul: Highest multiplicity of a term, >= 1.
        max_terms: Highest number of terms, >= 1; an irrep may appear in several of them.

    Raises:
        ImportError: If hypothesis is not installed.

    Example:
        >>> from hypothesis import given
        >>> @given(irreps_in=irreps(lmax=2, max_mul=4))
        ... def test_dim(irreps_in):
        ...     assert irreps_in.lmax <= 2 and irreps_in.dim <= 3 * 4 * 5
        >>> test_dim()
    """
    try:
        from hypothesis import strategies
    except ImportError as error:
        raise ImportError(
            "irrepnet.testing.strategies needs the package hypothesis; it is not installed. Run: pip install hypothesis"
        ) from error
    terms = strategies.tuples(strategies.integers(1, max_mul), strategies.sampled_from(list(Irrep.iterator(lmax))))
    return strategies.lists(terms, min_size=1, max_size=max_terms).map(Irreps)
