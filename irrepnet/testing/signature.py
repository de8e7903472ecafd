"""How the arguments and outputs of a function transform, read from what a test declares about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from irrepnet.errors import ConfigError, ShapeError
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.mul_ir import MulIr

__all__ = ["CARTESIAN_POINTS", "Kind", "Permutation", "Signature", "num_rows", "read_kinds", "read_signature"]

CARTESIAN_POINTS = "cartesian_points"


class Permutation(NamedTuple):
    """Which rows a permutation moves together, for instance the nodes of a graph.

    The outputs that are not listed must not change at all.

    Args:
        inputs: Positions of the arguments whose rows (axis 0) are permuted, all by the same permutation; at least one.
        outputs: Positions of the outputs whose rows must then be permuted in the same way.
        indices: Positions of the integer arguments that hold row numbers (``edge_index``, of any shape): their values
            are renamed, so that they still point at the same rows.

    Example:
        >>> Permutation(inputs=[0, 1], outputs=[0], indices=[2])  # f(pos, species, edge_index) -> node features
        Permutation(inputs=[0, 1], outputs=[0], indices=[2])
    """

    inputs: Sequence[int]
    outputs: Sequence[int] = ()
    indices: Sequence[int] = ()


class Kind(NamedTuple):
    """The law by which one tensor transforms: as ``irreps``, or as points (which translate), or not at all (None)."""

    irreps: Irreps | None
    is_points: bool = False

    def __str__(self) -> str:
        return CARTESIAN_POINTS if self.is_points else str(self.irreps)


class Signature(NamedTuple):
    """The laws of all arguments and outputs, and the group elements to try besides rotations."""

    inputs: tuple[Kind, ...]
    outputs: tuple[Kind, ...]
    translation: bool
    permutation: Permutation | None


def read_signature(irreps_in: Any, irreps_out: Any, translation: bool | None, permutation: Any) -> Signature:
    """Read what ``equivariance_error`` was told about a function."""
    inputs, outputs = read_kinds(irreps_in), read_kinds(irreps_out)
    compared = [kind.irreps for kind in outputs if kind.irreps is not None]
    if not compared or any(irreps.dim == 0 for irreps in compared):
        raise ConfigError(f"irreps_out needs an output to compare, and no empty irreps; got {irreps_out!r}.")
    has_points = any(kind.is_points for kind in inputs)
    if translation and not has_points:
        raise ConfigError(
            f"translation=True needs an argument that translates; got irreps_in = {irreps_in!r}. "
            f"Declare positions as {CARTESIAN_POINTS!r}."
        )
    return Signature(
        inputs,
        outputs,
        has_points if translation is None else translation,
        None if permutation is None else _checked(permutation, len(inputs), len(outputs)),
    )


def read_kinds(declared: Any) -> tuple[Kind, ...]:
    """Read one declaration or a list of them; ``Irreps``, ``Irrep`` and ``MulIr`` are tuples, but one declaration."""
    is_several = isinstance(declared, (list, tuple)) and not isinstance(declared, (Irreps, Irrep, MulIr))
    return tuple(_kind(item) for item in (declared if is_several else [declared]))


def _kind(item: Any) -> Kind:
    if item is None:
        return Kind(None)
    if isinstance(item, str) and item == CARTESIAN_POINTS:
        return Kind(Irreps("1o"), is_points=True)
    return Kind(Irreps(item))


def _checked(permutation: Any, num_inputs: int, num_outputs: int) -> Permutation:
    """Return the permutation with its positions checked."""
    groups = Permutation(*permutation)
    if not groups.inputs:
        raise ConfigError(f"permutation needs the position of one argument or more in inputs; got {groups}.")
    for name, positions, count in zip(groups._fields, groups, (num_inputs, num_outputs, num_inputs), strict=True):
        for i in positions:
            if not 0 <= i < count:
                raise ConfigError(f"permutation.{name} needs positions from 0 to {count - 1}; got {i}.")
    return groups


def num_rows(inputs: Sequence[Any], permutation: Permutation) -> int:
    """Return the number of rows to permute; raise if the arguments disagree about it."""
    moved = {f"argument {i}": inputs[i] for i in permutation.inputs}
    shapes = {name: list(x.shape) if isinstance(x, Tensor) else type(x).__name__ for name, x in moved.items()}
    if not all(isinstance(x, Tensor) and x.ndim for x in moved.values()) or len({len(x) for x in moved.values()}) != 1:
        raise ShapeError(f"permutation.inputs needs tensors with the same number of rows; got {shapes}.")
    return len(inputs[permutation.inputs[0]])
