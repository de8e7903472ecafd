"""Cartesian tensors, such as polarizability or elasticity, to irreps and back."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from irrepnet.errors import DtypeError, IrrepsError, ShapeError
from irrepnet.math.reduce_permutation import germinate_formulas
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.reduced_tensor_products import ReducedTensorProducts, reduced_basis
from irrepnet.ops._constant import constant_when_compiled

__all__ = ["CartesianTensor"]


class CartesianTensor(Irreps):
    r"""The irreps in a Cartesian tensor with symmetries, which also converts between the two.

    .. math:: y_a = \sum_{ij\ldots} Q_{a,ij\ldots}\, t_{ij\ldots}, \qquad t_{ij\ldots} = \sum_a Q_{a,ij\ldots}\, y_a

    Each index is a vector (1o). Q is orthonormal, so lengths are kept, and both ways are the inverse of each other for
    tensors that have the symmetries; of others, the part that has them is converted.

    Args:
        formula: Index letters and signed permutations of them that leave the tensor as it is: ``"ij=ji"`` for symmetric
            matrices, ``"ijkl=jikl=klij"`` for elasticity; see ``ReducedTensorProducts``.

    Attributes:
        formula: As given.
        indices: The letters of the indices.

    Raises:
        ConfigError: If the formula is no text, cannot be read or contradicts itself.

    Example:
        >>> elasticity = CartesianTensor("ijkl=jikl=klij")
        >>> elasticity, elasticity.dim
        (2x0e+2x2e+1x4e, 21)
        >>> x = CartesianTensor("ij=ji")
        >>> matrix = torch.tensor([[1.0, 2.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
        >>> torch.allclose(x.to_cartesian(x.from_cartesian(matrix)), matrix, atol=1e-6)
        True
    """

    formula: str
    indices: str

    def __new__(cls, formula: str) -> CartesianTensor:
        """See the class."""
        irreps, _ = _reduced(formula)
        out = tuple.__new__(cls, irreps)
        out.formula = formula
        out.indices, _ = germinate_formulas(formula)
        return out

    def from_cartesian(self, data: Tensor, rtp: ReducedTensorProducts | None = None) -> Tensor:
        """Return the irreps of a tensor.

        Args:
            data: Shape ``[..., 3, 3, ...]``, one axis for each index.
            rtp: Takes the change of basis from here, in place of the one that is kept for the formula; it has to reduce
                the same tensors, as that of ``reduced_tensor_products`` does.

        Returns:
            Shape ``[..., dim]``.

        Raises:
            ShapeError: If the last axes are not of size 3.
            DtypeError: If the data are not of the dtype of ``rtp``, or not floating-point.
            IrrepsError: If ``rtp`` reduces other tensors.

        Example:
            >>> CartesianTensor("ij=-ji").from_cartesian(torch.eye(3))
            tensor([0., 0., 0.])
        """
        axes = (3,) * len(self.indices)
        if tuple(data.shape[-len(axes) :]) != axes:
            raise ShapeError(
                f"CartesianTensor({self.formula}) needs data [..., {', '.join('3' * len(axes))}]; "
                f"got {list(data.shape)}."
            )
        return data.flatten(-len(axes)) @ self._basis(data, rtp).T

    def to_cartesian(self, data: Tensor, rtp: ReducedTensorProducts | None = None) -> Tensor:
        """Return the tensor of irreps, the inverse of ``from_cartesian``.

        Args:
            data: Shape ``[..., dim]``.
            rtp: See ``from_cartesian``.

        Returns:
            Shape ``[..., 3, 3, ...]``, with the symmetries.

        Raises:
            ShapeError: If the last axis does not have the size of the irreps.
            DtypeError: If the data are not of the dtype of ``rtp``, or not floating-point.
            IrrepsError: If ``rtp`` reduces other tensors.

        Example:
            >>> CartesianTensor("ij=ji").to_cartesian(torch.tensor([1.0, 0, 0, 0, 0, 0])).diagonal()
            tensor([0.5774, 0.5774, 0.5774])
        """
        if data.shape[-1:] != (self.dim,):
            raise ShapeError(
                f"CartesianTensor({self.formula}) needs data [..., {self.dim}] for {self}; got {list(data.shape)}."
            )
        return (data @ self._basis(data, rtp)).unflatten(-1, (3,) * len(self.indices))

    def from_vectors(self, *xs: Tensor, rtp: ReducedTensorProducts | None = None) -> Tensor:
        r"""Return the irreps of the product of vectors, :math:`t_{ij\ldots} = x_i\, y_j \cdots`.

        Args:
            *xs: One for each index, shape ``[..., 3]``; leading axes broadcast.
            rtp: See ``from_cartesian``.

        Returns:
            Shape ``[..., dim]``.

        Raises:
            ShapeError: If the number of vectors or a shape does not fit.
            DtypeError: If the dtypes differ.
            IrrepsError: If ``rtp`` reduces other tensors.

        Example:
            >>> CartesianTensor("ij=-ji").from_vectors(torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0]))
            tensor([0.0000, 0.0000, 0.7071])
        """
        if rtp is not None:
            self._check(rtp)
            return rtp(*xs)
        if len(xs) != len(self.indices) or any(x.shape[-1:] != (3,) for x in xs):
            raise ShapeError(
                f"CartesianTensor({self.formula}) needs {len(self.indices)} vectors [..., 3]; "
                f"got {', '.join(str(list(x.shape)) for x in xs) or 'none'}."
            )
        if len({x.dtype for x in xs}) > 1:
            raise DtypeError(f"vectors need one dtype; got {', '.join(str(x.dtype) for x in xs)}.")
        product, *others = xs
        for x in others:
            product = (product.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2)
        return product @ self._basis(product, None).T

    def reduced_tensor_products(self, data: Tensor | None = None) -> ReducedTensorProducts:
        """Return the module that makes these irreps of vectors.

        Args:
            data: Gives dtype and device; by default torch's default dtype and the CPU.

        Example:
            >>> CartesianTensor("ij=ji").reduced_tensor_products()
            ReducedTensorProducts(ij=ji | 1x1o x 1x1o -> 1x0e+1x2e)
        """
        rtp = ReducedTensorProducts(self.formula, **_vectors(self.formula))
        return rtp if data is None else rtp.to(dtype=data.dtype, device=data.device)

    def _basis(self, data: Tensor, rtp: ReducedTensorProducts | None) -> Tensor:
        """Return the change of basis in the dtype and on the device of the data, shape ``[dim, 3 * 3 * ...]``."""
        if rtp is not None:
            self._check(rtp)
            if rtp.change_of_basis.dtype != data.dtype:
                raise DtypeError(f"rtp is {rtp.change_of_basis.dtype}, the data {data.dtype}. Cast one of them.")
            return rtp.change_of_basis.flatten(1)
        if not data.is_floating_point():
            raise DtypeError(f"a Cartesian tensor needs floating-point numbers; got {data.dtype}. Write data.float().")
        if torch.compiler.is_compiling():
            return torch.tensor(_rows(self.formula), dtype=data.dtype, device=data.device)
        # Kept as NumPy arrays: a tensor made under some mode of PyTorch (fake tensors, vmap) must not outlive it.
        return torch.from_numpy(_array(self.formula, data.dtype == torch.float32)).to(data.device, data.dtype)

    def _check(self, rtp: ReducedTensorProducts) -> None:
        """Raise unless a module reduces tensors with these symmetries to these irreps."""
        _, symmetries = germinate_formulas(self.formula)
        _, others = germinate_formulas(getattr(rtp, "formula", self.formula))  # e3nn's module keeps none
        vectors = [Irreps("1o")] * len(self.indices)
        if (
            [Irreps(x) for x in rtp.irreps_in] != vectors
            or tuple(rtp.irreps_out) != tuple(self)
            or others != symmetries
        ):
            raise IrrepsError(
                f"CartesianTensor({self.formula}) needs an rtp of its formula, from {len(self.indices)} vectors to "
                f"{self}; got {rtp}. Take that of reduced_tensor_products()."
            )

    def __getnewargs__(self) -> tuple[Any, ...]:
        return (self.formula,)


def _vectors(formula: str) -> dict[str, Any]:
    """Return the irreps of each index."""
    indices, _ = germinate_formulas(formula)
    return dict.fromkeys(indices, "1o")


@cache
def _reduced(formula: str) -> tuple[Irreps, np.ndarray]:
    _, irreps, basis = reduced_basis(formula, **_vectors(formula))
    return irreps, basis.reshape(len(basis), -1)


@cache
def _array(formula: str, single: bool) -> np.ndarray:
    return _reduced(formula)[1].astype(np.float32 if single else np.float64)


# torch.compile cannot look up the tables: it takes them as constants.
@constant_when_compiled
def _rows(formula: str) -> list[list[float]]:
    return _array(formula, single=False).tolist()
