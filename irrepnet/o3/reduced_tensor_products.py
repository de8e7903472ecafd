"""Products of several features that change by a sign when factors are swapped, as irreps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from irrepnet.errors import ConfigError, DtypeError, IrrepsError, ShapeError, did_you_mean
from irrepnet.math.reduce_permutation import germinate_formulas, same_size
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.saved_constants import without_constants
from irrepnet.o3.symmetric_basis import symmetric_basis

__all__ = ["ReducedTensorProducts", "reduced_basis"]


class ReducedTensorProducts(nn.Module):
    r"""Reduce a tensor with symmetries under permutations of its indices to irreps.

    .. math:: z_a = \sum_{ij\ldots} Q_{a,ij\ldots}\, x_i\, y_j \cdots

    Q, the ``change_of_basis``, is orthonormal, and spans the tensors that have the symmetries. It is made exactly and
    always the same; it equals that of e3nn to rounding, with its signs and its choice among copies of an irrep.

    Args:
        formula: Index letters and signed permutations of them that leave the tensor as it is: ``"ij=ji"`` for symmetric
            matrices, ``"ij=-ji"`` for antisymmetric ones, ``"ijkl=jikl=klij"`` for elasticity, ``"ij"`` for no
            symmetry.
        filter_ir_out: Irreps to keep in the output; all by default.
        filter_ir_mid: Irreps to keep at each step of the coupling from left to right, the last one included; all by
            default. Only tensors that can be made of these alone come out.
        eps: What counts as zero.
        **irreps: Irreps of each index; one is enough of those that the formula exchanges.

    Attributes:
        irreps_in: Irreps of each factor.
        irreps_out: What comes out, sorted by irrep.
        change_of_basis: Q, shape ``[irreps_out.dim, irreps_in[0].dim, ...]``; not learned, and not saved.

    Raises:
        ConfigError: If the formula cannot be read or contradicts itself.
        IrrepsError: If irreps are not valid, are missing, differ among indices that are exchanged, or belong to no
            index.

    Example:
        >>> product = ReducedTensorProducts("ij=-ji", i="1o")
        >>> product
        ReducedTensorProducts(ij=-ji | 1x1o x 1x1o -> 1x1e)
        >>> product(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]))
        tensor([0.0000, 0.0000, 0.7071])
        >>> ReducedTensorProducts("ijkl=jikl=klij", i="1o").irreps_out
        2x0e+2x2e+1x4e
    """

    change_of_basis: Tensor

    def __init__(
        self,
        formula: str,
        filter_ir_out: Iterable[Any] | None = None,
        filter_ir_mid: Iterable[Any] | None = None,
        eps: float = 1e-9,
        **irreps: Any,
    ) -> None:
        super().__init__()
        self.formula = formula
        self._choices = (_kept(filter_ir_out), _kept(filter_ir_mid), eps)
        self.irreps_in, self.irreps_out, exact = reduced_basis(formula, *self._choices, **irreps)
        basis = torch.tensor(exact, dtype=torch.get_default_dtype())
        self.register_buffer("change_of_basis", basis, persistent=False)

    def forward(self, *xs: Tensor) -> Tensor:
        """Multiply features, one for each index, and reduce.

        Args:
            *xs: Shape ``[..., irreps_in[i].dim]`` each; leading axes broadcast.

        Returns:
            Shape ``[..., irreps_out.dim]``.

        Raises:
            ShapeError: If their number or a shape does not fit.
            DtypeError: If their dtypes differ from each other or from the module's.
        """
        self._check(xs)
        product, *others = xs
        for x in others:
            product = (product.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2)  # [..., dims of the indices so far]
        return product @ self.change_of_basis.flatten(1).T

    def _check(self, xs: tuple[Tensor, ...]) -> None:
        name = f"ReducedTensorProducts({self.formula})"
        if len(xs) != len(self.irreps_in):
            raise ShapeError(f"{name} needs {len(self.irreps_in)} inputs, one for each index; got {len(xs)}.")
        for i, (x, irreps) in enumerate(zip(xs, self.irreps_in, strict=True)):
            if x.shape[-1:] != (irreps.dim,):
                raise ShapeError(
                    f"{name} needs input {i} [..., {irreps.dim}] for irreps_in[{i}] = {irreps}; got {list(x.shape)}."
                )
            if x.dtype != self.change_of_basis.dtype:
                raise DtypeError(
                    f"{name} needs inputs of its dtype {self.change_of_basis.dtype}; got {x.dtype} for input {i}. "
                    "Cast the input, or the module with .to(...)."
                )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ReducedTensorProducts:
        """Move; make the constants anew where the move lost digits (a cast to more of them) or values (``to_empty``).

        They are not kept in float64 besides: of many channels they are large.
        """
        before = self.change_of_basis
        super()._apply(fn, recurse)
        after = self.change_of_basis
        if not after.is_meta and not _is_kept(before, after):
            irreps: dict[str, Any] = dict(zip(germinate_formulas(self.formula)[0], self.irreps_in, strict=True))
            _, _, exact = reduced_basis(self.formula, *self._choices, **irreps)
            self.change_of_basis = torch.tensor(exact, dtype=after.dtype, device=after.device)
        return self

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """There is nothing to load; e3nn saves its constants, which are left out."""
        kept = without_constants(state_dict, prefix, ("change_of_basis", "main."))
        super()._load_from_state_dict(kept, prefix, *args)

    def __repr__(self) -> str:
        factors = " x ".join(map(str, self.irreps_in))
        return f"ReducedTensorProducts({self.formula} | {factors} -> {self.irreps_out})"


def reduced_basis(
    formula: str,
    keep_out: frozenset[Irrep] | None = None,
    keep_mid: frozenset[Irrep] | None = None,
    eps: float = 1e-9,
    **irreps: Any,
) -> tuple[list[Irreps], Irreps, np.ndarray]:
    """Return what a ``ReducedTensorProducts`` is made of, as labels and numbers without PyTorch.

    Args:
        formula: See ``ReducedTensorProducts``.
        keep_out: Irreps to keep in the output; all by default.
        keep_mid: Irreps to keep at each step of the coupling; all by default.
        eps: What counts as zero.
        **irreps: Irreps of each index.

    Returns:
        Irreps of each index, irreps of the output, and the change of basis, float64.

    Raises:
        ConfigError: If the formula cannot be read or contradicts itself.
        IrrepsError: If the irreps do not fit the formula.

    Example:
        >>> reduced_basis("ij=ji", i="1o")[1]
        1x0e+1x2e
    """
    f0, symmetries = germinate_formulas(formula)
    if (-1, tuple(range(len(f0)))) in symmetries:
        raise ConfigError(_contradiction(formula))
    irreps_in = _irreps_in(f0, symmetries, {i: Irreps(value) for i, value in irreps.items()})
    return irreps_in, *symmetric_basis(irreps_in, sorted(symmetries), keep_out, keep_mid, eps)


def _irreps_in(f0: str, symmetries: Iterable[tuple[int, tuple[int, ...]]], given: dict[str, Irreps]) -> list[Irreps]:
    """Return the irreps of each index."""
    unknown = [name for name in given if len(name) != 1 or name not in f0]
    if unknown:
        raise IrrepsError(
            f"ReducedTensorProducts needs irreps of the indices {', '.join(f0)} of its formula; got "
            f"{unknown[0]}={given[unknown[0]]}.{did_you_mean(unknown[0], f0)}"
        )
    try:
        irreps = same_size(f0, symmetries, given, "irreps")
    except ConfigError as error:
        raise IrrepsError(f"ReducedTensorProducts: {error}") from None
    return [irreps[i] for i in f0]


def _is_kept(before: Tensor, after: Tensor) -> bool:
    """Return whether constants have kept all their digits on a move."""
    if before.is_meta or before.dtype not in (after.dtype, torch.float64):
        return False
    return torch.equal(before.to(after.device, after.dtype), after)


def _kept(choice: Iterable[Any] | None) -> frozenset[Irrep] | None:
    return None if choice is None else frozenset(Irrep(ir) for ir in choice)


def _contradiction(formula: str) -> str:
    """Say where a formula starts to say that the tensor is its own negative, and what may have been meant."""
    terms = "".join(formula.split()).split("=")
    f0, good = terms[0].removeprefix("-"), terms[:1]
    for term in terms[1:]:
        _, symmetries = germinate_formulas("=".join([*good, term]))
        if (-1, tuple(range(len(f0)))) in symmetries:
            break
        good.append(term)
    instead = "-" + f0[:-2] + f0[-1] + f0[-2] if len(terms) == 2 and len(f0) > 1 else ""
    meant = "=".join([*good, instead]) if instead and instead != term else "=".join(good)
    return (
        f"formula {formula!r} contradicts itself: with {term!r} the tensor is its own negative, so only zero is left. "
        f"Did you mean {meant!r}?"
    )
