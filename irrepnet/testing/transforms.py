"""Random transformations, and how each acts on the arguments and outputs of a function."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from irrepnet.errors import ConfigError, ShapeError
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.rotation import angles_to_matrix
from irrepnet.testing.signature import Kind, Permutation, Signature, num_rows

__all__ = ["Transform", "draw_rotations", "draw_transforms", "inversion", "orthogonal"]


class Transform(Protocol):
    """A group element; tensors come back in their own dtype, and untouched where the element does not move them."""

    def on_input(self, i: int, x: Any, kind: Kind) -> Any:
        """Transform argument ``i``."""

    def on_output(self, i: int, y: Tensor, kind: Kind) -> Tensor:
        """Transform output ``i``."""


class _Orthogonal(NamedTuple):
    """A rotation or an inversion: the matrices in float64 that represent it."""

    representation: Callable[[Irreps], Tensor]

    def on_input(self, i: int, x: Any, kind: Kind) -> Any:
        if kind.irreps is None:
            return x
        D = self.representation(kind.irreps).to(x.device)  # [dim, dim]
        return (x.double() @ D.T).to(x.dtype)

    def on_output(self, i: int, y: Tensor, kind: Kind) -> Tensor:
        return self.on_input(i, y, kind)


def orthogonal(matrix: Tensor) -> Transform:
    """Return the transformation by an orthogonal matrix; arguments and outputs often have the same irreps."""
    return _Orthogonal(cache(lambda irreps: irreps.D_from_matrix(matrix)))


def inversion() -> Transform:
    """Return the inversion of space, x -> -x."""
    return orthogonal(-torch.eye(3, dtype=torch.float64, device="cpu"))


def draw_rotations(generator: torch.Generator | None, *shape: int) -> Tensor:
    """Draw uniform rotation matrices in float64 on the CPU, shape ``[*shape, 3, 3]``."""
    device = "cpu" if generator is None else generator.device
    uniform = torch.rand(3, *shape, generator=generator, dtype=torch.float64, device=device)
    alpha, gamma, u = uniform.cpu()
    return angles_to_matrix(2 * math.pi * alpha, torch.acos(2 * u - 1), 2 * math.pi * gamma)


class _Translation(NamedTuple):
    """A translation by a vector in float64."""

    vector: Tensor

    def on_input(self, i: int, x: Any, kind: Kind) -> Any:
        return (x.double() + self.vector.to(x.device)).to(x.dtype) if kind.is_points else x

    def on_output(self, i: int, y: Tensor, kind: Kind) -> Tensor:
        return self.on_input(i, y, kind)


class _Exchange(NamedTuple):
    """A permutation: new row k is old row ``old[k]``, and old row k is called ``new[k]`` now."""

    groups: Permutation
    old: Tensor
    new: Tensor

    def on_input(self, i: int, x: Any, kind: Kind) -> Any:
        if i in self.groups.indices:
            x = self.new.to(x.device)[x].to(x.dtype)
        return x[self.old.to(x.device)] if i in self.groups.inputs else x

    def on_output(self, i: int, y: Tensor, kind: Kind) -> Tensor:
        if i not in self.groups.outputs:
            return y
        if len(y) != len(self.old):
            raise ShapeError(
                f"permutation.outputs needs outputs of {len(self.old)} rows; output {i} is {list(y.shape)}."
            )
        return y[self.old.to(y.device)]


def _draw_permutation(count: int, generator: torch.Generator) -> Tensor:
    """Draw a permutation that moves something, uniformly."""
    same = torch.arange(count, device="cpu")
    if count < 2:
        raise ConfigError(f"permutation needs two rows or more to exchange; got {count}. Give inputs that have them.")
    while True:
        old = torch.randperm(count, generator=generator, device="cpu")
        if not torch.equal(old, same):
            return old


def draw_transforms(
    signature: Signature, inputs: Sequence[Any], parity: bool, generator: torch.Generator
) -> dict[str, Transform]:
    """Draw one transformation of each kind that is to be checked, uniformly where that has a meaning.

    The inversion comes alone: a function that bears rotations and inversion bears their products.
    """
    transforms: dict[str, Transform] = {"rotation": orthogonal(draw_rotations(generator))}
    if parity:
        transforms["inversion"] = inversion()
    if signature.translation:
        transforms["translation"] = _Translation(torch.randn(3, generator=generator, dtype=torch.float64, device="cpu"))
    if signature.permutation is not None:
        old = _draw_permutation(num_rows(inputs, signature.permutation), generator)
        transforms["permutation"] = _Exchange(signature.permutation, old, old.argsort())
    return transforms
