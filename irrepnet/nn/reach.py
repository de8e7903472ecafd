"""The rule that a layer refuses to return irreps that it can only fill with zeros."""

from __future__ import annotations

from collections.abc import Iterable

from irrepnet.errors import IrrepsError
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps

__all__ = ["require_reached"]


def require_reached(layer: str, inputs: str, irreps_out: Irreps, reached: Iterable[Irrep]) -> None:
    """Raise unless every entry of ``irreps_out`` is among the irreps that a layer can make.

    Args:
        layer: Name of the layer.
        inputs: What goes in, in words.
        irreps_out: What is to come out; entries of multiplicity zero do not count.
        reached: The irreps that can come out.

    Raises:
        IrrepsError: If an entry cannot; the message names it and all that can.

    Example:
        >>> require_reached("Linear", "irreps_in = 2x0e", Irreps("4x0e"), [Irrep("0e")])
    """
    possible = sorted(set(reached))
    for mul, ir in irreps_out:
        if mul and ir not in possible:
            names = ", ".join(map(str, possible)) or "nothing"
            flipped = Irrep(ir.l, -ir.p)
            hint = f" Did you mean {flipped}?" if flipped in possible else ""
            raise IrrepsError(
                f"{layer} needs a path to each entry of irreps_out = '{irreps_out}'; none leads to {mul}x{ir}: "
                f"{inputs} can make {names}.{hint}"
            )
