"""Chemical elements by number and symbol."""

from __future__ import annotations

from irrepnet.errors import DataError, did_you_mean

__all__ = ["SYMBOLS", "atomic_number"]

_LINE = (
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr "
    "Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W "
    "Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt "
    "Ds Rg Cn Nh Fl Mc Lv Ts Og "
)

#: Symbol of each atomic number; ``SYMBOLS[0]`` is a placeholder.
SYMBOLS: tuple[str, ...] = tuple(_LINE.split())


def atomic_number(element: str | int) -> int:
    """Return the atomic number of a symbol (or of a number, checked).

    Raises:
        DataError: If there is no such element.

    Example:
        >>> atomic_number("O"), SYMBOLS[8]
        (8, 'O')
    """
    if isinstance(element, str):
        if element in SYMBOLS[1:]:
            return SYMBOLS.index(element)
        raise DataError(f"element: needed a chemical symbol; found {element!r}.{did_you_mean(element, SYMBOLS[1:])}")
    if not 1 <= element < len(SYMBOLS):
        raise DataError(f"element: needed an atomic number from 1 to {len(SYMBOLS) - 1}; found {element}")
    return int(element)
