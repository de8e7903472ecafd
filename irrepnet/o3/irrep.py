"""One irreducible representation of O(3): a degree and a parity, labels only.

The constants ``l0e, l0o, l1e, l1o, ...`` of every degree can be read from this module:

>>> from irrepnet.o3 import irrep
>>> irrep.l1o
1o
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from irrepnet.errors import IrrepsError
from irrepnet.o3.representation import Representation

if TYPE_CHECKING:
    import torch

    from irrepnet.o3.irreps import Irreps

__all__ = ["Irrep"]

_TEXT = re.compile(r"\s*(\d+)\s*([eoy])\s*")
_CONSTANT = re.compile(r"l(\d+)([eo])")
_NEARLY = re.compile(r"\s*(?:(\d+)[\s*x×]+)?l?\s*(?:([eoygu])\s*(\d+)|(\d+)\s*([eoygu+-])?)\s*")
_MULTIPLICITY = re.compile(r"\s*\d+[\s*x×]+")
_LETTERS = {"e": "e", "o": "o", "y": "y", "g": "e", "u": "o", "+": "e", "-": "o"}


def __getattr__(name: str) -> Irrep:
    match = _CONSTANT.fullmatch(name)
    if match is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its constants are l0e, l0o, l1e, ...")
    return Irrep(match[1] + match[2])


def parity_of(letter: str, l: int) -> int:
    """Return the parity that ``e``, ``o`` or ``y`` stands for; ``y`` is that of the spherical harmonics, (-1)^l."""
    return {"e": 1, "o": -1, "y": (-1) ** l}[letter]


class Irrep(Representation, tuple):
    r"""Irreducible representation of :math:`O(3)`: degree ``l``, parity ``p``; prints as ``1o``.

    It is the tuple ``(l, p)``: it compares, sorts and hashes as one, so ``0o < 0e < 1o < 1e``.

    Args:
        l: Degree, a non-negative integer; or text such as ``"1o"`` (``e`` even, ``o`` odd, ``y`` the parity
            :math:`(-1)^l` of the spherical harmonics); or an ``Irrep``; or a pair ``(l, p)``; or an entry of an
            ``Irreps``, of which it is the irrep.
        p: Parity, 1 or -1; only with an integer ``l``.

    Raises:
        IrrepsError: If the text or the numbers are not an irrep.

    Example:
        >>> Irrep("1o").dim, Irrep(2, 1), Irrep("3y")
        (3, 2e, 3o)
        >>> list(Irrep("1o") * Irrep("1o"))
        [0e, 1e, 2e]
        >>> 3 * Irrep("1o") + Irrep("0e")
        3x1o+1x0e
    """

    __slots__ = ()

    def __new__(cls, l: Any, p: int | None = None) -> Irrep:
        """See the class."""
        if p is None:
            if isinstance(l, cls):
                return l
            l, p = _parse(l)
        if isinstance(l, bool) or not isinstance(l, int) or l < 0:
            raise IrrepsError(f"an irrep needs a degree l = 0, 1, 2, ...; got l = {l!r}. Write Irrep(1, -1) or '1o'.")
        if isinstance(p, bool) or p not in (-1, 1):
            raise IrrepsError(f"an irrep needs a parity p = 1 (even) or -1 (odd); got p = {p!r} for l = {l}.")
        return tuple.__new__(cls, (l, int(p)))

    @property
    def l(self) -> int:
        """Degree."""
        return self[0]

    @property
    def p(self) -> int:
        """Parity, 1 (even) or -1 (odd)."""
        return self[1]

    @property
    def dim(self) -> int:
        """Dimension 2l+1."""
        return 2 * self[0] + 1

    def is_scalar(self) -> bool:
        """Tell whether this is ``0e``, which no rotation and no inversion changes.

        Example:
            >>> Irrep("0e").is_scalar(), Irrep("0o").is_scalar()
            (True, False)
        """
        return self[0] == 0 and self[1] == 1

    @classmethod
    def iterator(cls, lmax: int | None = None) -> Iterator[Irrep]:
        """Yield the irreps by degree, the parity of the spherical harmonics first; without ``lmax``, for ever.

        Args:
            lmax: Last degree, inclusive.

        Example:
            >>> list(Irrep.iterator(2))
            [0e, 0o, 1o, 1e, 2e, 2o]
        """
        for l in itertools.count() if lmax is None else range(lmax + 1):
            yield cls(l, (-1) ** l)
            yield cls(l, -((-1) ** l))

    def D_from_angles(
        self, alpha: torch.Tensor, beta: torch.Tensor, gamma: torch.Tensor, k: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See ``Representation.D_from_angles``."""
        from irrepnet.o3.wigner import block_diagonal

        return block_diagonal([(1, self)], alpha, beta, gamma, k)

    def __mul__(self, other: Any) -> Iterator[Irrep]:  # type: ignore[override]
        """Yield the irreps in the product: all l from abs(l1 - l2) to l1 + l2, with the product of the parities."""
        other = Irrep(other)
        return (Irrep(l, self[1] * other[1]) for l in range(abs(self[0] - other[0]), self[0] + other[0] + 1))

    def __rmul__(self, mul: Any) -> Irreps:
        from irrepnet.o3.irreps import Irreps

        return Irreps([(mul, self)])

    def __add__(self, other: Any) -> Irreps:
        from irrepnet.o3.irreps import Irreps

        return Irreps(self) + other

    def __repr__(self) -> str:
        return f"{self[0]}{'e' if self[1] == 1 else 'o'}"

    __str__ = __repr__


def nearest_irreps(text: str) -> str:
    """Return ``" Did you mean '1o'?"`` for text that is nearly an irrep, or nearly a multiplicity and an irrep.

    Besides misplaced letters and signs it knows other ways to write a parity: + and -, and g and u of spectroscopy.

    Example:
        >>> nearest_irreps("O1"), nearest_irreps("16*1-"), nearest_irreps("2")
        (" Did you mean '1o'?", " Did you mean '16x1o'?", " Did you mean '2e' or '2o'?")
        >>> nearest_irreps("vector")
        ''
    """
    match = _NEARLY.fullmatch(text.lower())
    if match is None:
        return ""
    mul, letter, l = match[1], match[2] or match[5], match[3] or match[4]
    prefix = f"{mul}x{l}" if mul else l
    return f" Did you mean {' or '.join(repr(prefix + p) for p in _LETTERS.get(letter, 'eo'))}?"


def _parse(irrep: Any) -> tuple[Any, Any]:
    """Return ``(l, p)`` of text, a number alone (which lacks its parity) or a pair; the caller checks the values."""
    if isinstance(irrep, str):
        match = _TEXT.fullmatch(irrep)
        if match is None:
            bare = _MULTIPLICITY.sub("", irrep, count=1)
            hint = nearest_irreps(bare) or nearest_irreps(irrep)
            if bare != irrep and hint:
                hint = f" With a multiplicity it is irreps: Irreps({irrep!r}).{hint}"
            raise IrrepsError(f"cannot read {irrep!r} as an irrep: write degree and parity (e, o, y), like '1o'.{hint}")
        l = int(match[1])
        return l, parity_of(match[2], l)
    if isinstance(irrep, int):
        raise IrrepsError(f"an irrep needs a parity p = 1 or -1 too; got only l = {irrep}. Write Irrep({irrep}, 1).")
    if isinstance(irrep, (tuple, list)):
        pair = tuple(iter(irrep))  # iter: e3nn's Irrep, a tuple too, refuses len()
        if len(pair) == 2 and isinstance(pair[1], Irrep):
            return pair[1]  # an entry (mul, irrep)
        if len(pair) == 2 and not isinstance(pair[1], (tuple, str)):
            return pair
    raise IrrepsError(f"cannot read {irrep!r} as one irrep: give text like '1o' or a pair (l, p).")
