"""Chemical elements by number and symbol."""

from __future__ import annotations

from irrepnet.errors import DataError, did_you_mean

__all__ = ["SYMBOLS", "TOTAL_ENERGIES", "atomic_number"]

_LINE = (
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr "
    "Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W "
    "Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt "
    "Ds Rg Cn Nh Fl Mc Lv Ts Og "
)

#: Symbol of each atomic number; ``SYMBOLS[0]`` is a placeholder.
SYMBOLS: tuple[str, ...] = tuple(_LINE.split())

_HARTREE = 27.211386245981  # eV, CODATA 2022
#: Energy of a free atom with all its electrons, eV, up to Kr; within 1 % of what density functional theory gives.
#: Hartree-Fock limits, Bunge et al. 1993, doi:10.1006/adnd.1993.1003; hydrogen is exact.
TOTAL_ENERGIES: dict[int, float] = {
    number: -_HARTREE * energy
    for number, energy in enumerate(
        (
            0.5, 2.8617, 7.4327, 14.5730, 24.5291, 37.6886, 54.4009, 74.8094, 99.4093, 128.5471, 161.8589, 199.6146,
            241.8767, 288.8544, 340.7188, 397.5049, 459.4821, 526.8175, 599.1648, 676.7582, 759.7357, 848.4060,
            942.8843, 1043.3564, 1149.8663, 1262.4437, 1381.4146, 1506.8709, 1638.9637, 1777.8481, 1923.2610,
            2075.3597, 2234.2387, 2399.8676, 2572.4413, 2752.0550,
        ),
        start=1,
    )
}  # fmt: skip


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
