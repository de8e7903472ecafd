"""How near bonded atoms of an element are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from irrepnet.data.elements import SYMBOLS, atomic_number
from irrepnet.errors import DataError

__all__ = ["covalent_radii", "covalent_radius"]

# H to Cm in pm; C for sp3, Mn, Fe and Co for low spin. Cordero et al. 2008, Dalton Transactions, 2832, table 2.
_PICOMETRES = (
    "31 28 128 96 84 76 71 66 57 58 166 141 121 111 107 105 102 106 203 176 170 160 153 139 139 132 126 124 "
    "132 122 122 120 119 120 120 116 220 195 190 175 164 154 147 146 142 139 145 144 142 139 139 138 139 140 "
    "244 215 207 204 203 201 199 198 198 196 194 192 192 189 190 187 187 175 170 162 151 144 141 136 136 132 "
    "145 146 148 140 150 150 260 221 215 206 200 196 190 187 180 169 "
)
_RADII = tuple(int(number) / 100 for number in _PICOMETRES.split())


def covalent_radius(element: str | int) -> float:
    """Return the covalent radius of an element, Å.

    Raises:
        DataError: If there is no such element, or none of its bonds has been measured (Bk and heavier).

    Reference: Cordero et al. 2008, Dalton Transactions, 2832.

    Example:
        >>> covalent_radius("O"), covalent_radius(1)
        (0.66, 0.31)
    """
    number = atomic_number(element)
    if number > len(_RADII):
        raise DataError(f"covalent radii are known up to {SYMBOLS[len(_RADII)]}; found {SYMBOLS[number]}")
    return _RADII[number - 1]


def covalent_radii(species: ArrayLike) -> NDArray[np.float64]:
    """Return the covalent radii of atoms, shape ``[N]``, Å; of elements beyond curium that of curium.

    Args:
        species: Atomic numbers from 1, shape ``[N]``.

    Example:
        >>> covalent_radii([8, 1, 118])
        array([0.66, 0.31, 1.69])
    """
    numbers = np.clip(np.asarray(species, dtype=np.int64), 1, len(_RADII))
    return np.asarray(_RADII)[numbers - 1]
