"""Functions applied to scalars, normalised, with the parity they deserve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from irrepnet.errors import IrrepsError
from irrepnet.math.normalize2mom import normalize2mom
from irrepnet.math.second_moment import in_double
from irrepnet.nn.channels import checked_features
from irrepnet.nn.runs import Function, apply_runs, function_name, join_runs, learned_by, modules_in
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps

__all__ = ["Activation"]


class Activation(nn.Module):
    r"""Apply a function to each scalar entry, scaled so that its second moment is 1.

    .. math:: x \mapsto c f(x), \qquad c = \left(\mathbb{E}_{z \sim N(0, 1)} f(z)^2\right)^{-1/2}

    Even scalars stay even. An odd scalar needs a function that is odd (it stays odd) or even (it becomes even).
    There is nothing to learn here, unless a function is a module with parameters.

    Args:
        irreps_in: Irreps of the features.
        acts: One elementwise function for each entry of ``irreps_in``, None for entries to leave alone; those of l > 0
            have to be left alone.
        second_moment: ``"e3nn"``: e3nn's Monte-Carlo constants, with which its weights were trained; ``"exact"``.

    Attributes:
        irreps_out: ``irreps_in`` with the parities that the functions give.
        acts: The functions with their factors, and None where there is none.

    Raises:
        IrrepsError: If the number of functions is wrong, an entry is no scalar, or a parity is violated.
        ConfigError: If ``second_moment`` is unknown, or that of a function is zero or not finite.

    Example:
        >>> act = Activation("8x0e + 4x0o + 2x1o", [torch.nn.functional.silu, torch.abs, None])
        >>> act
        Activation(8x0e+4x0o+2x1o -> 8x0e+4x0e+2x1o | silu, abs, -)
        >>> act(torch.randn(5, 18)).shape
        torch.Size([5, 18])
    """

    def __init__(self, irreps_in: Any, acts: Sequence[Function | None], *, second_moment: str = "e3nn") -> None:
        super().__init__()
        self.irreps_in = Irreps(irreps_in)
        if len(acts) != len(self.irreps_in):
            raise IrrepsError(
                f"Activation needs one function (or None) for each of the {len(self.irreps_in)} entries of "
                f"'{self.irreps_in}'; got {len(acts)}."
            )
        scaled = [None if act is None else normalize2mom(act, second_moment=second_moment) for act in acts]
        pairs = zip(self.irreps_in, scaled, strict=True)
        self.irreps_out = Irreps([(mul, ir if act is None else _acted_on(ir, act)) for (mul, ir), act in pairs])
        self.acts = nn.ModuleList(scaled)  # type: ignore[arg-type]
        self._runs = join_runs((entry.dim, act) for entry, act in zip(self.irreps_in, scaled, strict=True))
        self._learning = modules_in(self._runs)

    @property
    def paths(self) -> list[tuple[int, Irrep, nn.Module | None]]:
        """Multiplicity, irrep and function (with its factor) of each entry of ``irreps_in``."""
        return [(mul, ir, act) for (mul, ir), act in zip(self.irreps_in, self.acts, strict=True)]

    def forward(self, features: Tensor, dim: int = -1) -> Tensor:
        """Apply the functions.

        Args:
            features: Shape ``[..., irreps_in.dim, ...]``.
            dim: The axis along which the irreps lie.

        Returns:
            Features of ``irreps_out``, of the same shape.

        Raises:
            ShapeError: If that axis does not have the size of the irreps.
            DtypeError: If features are not floating-point, or differ from a function that learns in dtype or device.
        """
        own = learned_by(*self._learning)
        return apply_runs(checked_features("Activation", features, self.irreps_in, own, dim), self._runs, dim)

    def __repr__(self) -> str:
        names = ", ".join(function_name(act) for act in self.acts)
        return f"Activation({self.irreps_in} -> {self.irreps_out} | {names})"


def _acted_on(ir: Irrep, act: normalize2mom) -> Irrep:
    """Return what a scalar becomes under a function; raise if that is not an irrep."""
    if ir.l > 0:
        raise IrrepsError(
            f"Activation applies functions to scalars (l = 0) only; got {function_name(act)} for {ir}: functions of "
            "single components break rotations. Give None for that entry, or use a Gate."
        )
    if ir.p == 1:
        return ir
    parity = _parity(act)
    if parity == 0:
        raise IrrepsError(
            f"Activation of odd scalars (0o) needs a function that is odd or even; got {function_name(act)}, which is "
            "neither. Use tanh (0o stays 0o) or abs (it becomes 0e)."
        )
    return Irrep(0, parity)


def _parity(act: normalize2mom) -> int:
    """Return 1 for an even function, -1 for an odd one, 0 for neither, by trying: its values are of order 1."""
    z = torch.linspace(0, 10, 256, dtype=torch.float64, device="cpu")
    f = in_double(act)
    with torch.no_grad():
        right, left = f(z), f(-z)
    if torch.allclose(right, left, rtol=0, atol=1e-5):
        return 1
    return -1 if torch.allclose(right, -left, rtol=0, atol=1e-5) else 0
