"""A multiplicity and an irrep, and how text and lists are read as a row of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from irrepnet.errors import IrrepsError
from irrepnet.o3.irrep import Irrep, nearest_irreps

__all__ = ["MulIr", "read_entries"]

_TERM = re.compile(r"\s*(?:(\d+)\s*x\s*)?(\d+\s*[eoy])\s*")


class MulIr(tuple):
    """Multiplicity and irrep, one entry of an ``Irreps``; the tuple ``(mul, ir)``.

    Example:
        >>> from irrepnet.o3 import Irreps
        >>> entry = Irreps("8x1o")[0]
        >>> entry.mul, entry.ir, entry.dim
        (8, 1o, 24)
    """

    __slots__ = ()

    def __new__(cls, mul: Any, ir: Irrep | None = None) -> MulIr:
        """See the class; one argument is a pair (that is how pickle and copy call)."""
        return tuple.__new__(cls, mul if ir is None else (mul, ir))

    @property
    def mul(self) -> int:
        """Number of copies."""
        return self[0]

    @property
    def ir(self) -> Irrep:
        """The irrep."""
        return self[1]

    @property
    def dim(self) -> int:
        """Number of components, mul (2l+1)."""
        return self[0] * self[1].dim

    def __repr__(self) -> str:
        return str(self[0]) + "x" + str(self[1])  # torch.compile cannot follow f"{irrep}"

    __str__ = __repr__


def read_entries(irreps: Any) -> Iterable[MulIr]:
    """Read everything that ``Irreps`` accepts."""
    if irreps is None:
        return []
    if isinstance(irreps, Irrep):
        return [MulIr(1, irreps)]
    if isinstance(irreps, MulIr):
        return [irreps]
    if isinstance(irreps, str):
        return [_term(term, irreps) for term in irreps.split("+")] if irreps.strip() else []
    if isinstance(irreps, (list, tuple)) or hasattr(irreps, "__iter__"):
        return [_item(item) for item in irreps]
    raise IrrepsError(f"cannot read {irreps!r} as irreps: give text like '16x0e+8x1o' or a list of (mul, irrep) pairs.")


def _term(term: str, text: str) -> MulIr:
    """Read one term of irreps text."""
    match = _TERM.fullmatch(term)
    if match is not None:
        return MulIr(int(match[1] or 1), Irrep(match[2]))
    bare = term.strip()
    hint = nearest_irreps(bare) if bare else " A '+' stands without a term."
    raise IrrepsError(
        f"cannot read term {bare!r} of irreps {text!r}: write MULxLP with a multiplicity, a degree and a parity "
        f"(e, o or y), like '16x1o'.{hint}"
    )


def _item(item: Any) -> MulIr:
    """Read one item of a list: an irrep, its text or a ``(mul, irrep)`` pair."""
    if isinstance(item, MulIr):
        return item
    if isinstance(item, Irrep):
        return MulIr(1, item)
    if isinstance(item, str):
        return _term(item, item)
    pair = tuple(iter(item)) if isinstance(item, (tuple, list)) else ()  # iter: e3nn's Irrep refuses len()
    if len(pair) == 2:
        mul, ir = pair
        if isinstance(mul, int) and isinstance(ir, int):
            raise IrrepsError(f"cannot read {item!r} as an entry of irreps: an irrep alone is written Irrep{pair}.")
        if isinstance(mul, int) and not isinstance(mul, bool) and mul >= 0 and isinstance(ir, (str, tuple, list)):
            return MulIr(mul, Irrep(ir))
    raise IrrepsError(f"cannot read {item!r} as an entry of irreps: give a pair (mul, irrep) like (16, '1o').")
