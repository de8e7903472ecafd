"""What every module is asked to keep: one case names a module, its inputs and how they transform."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["PROMISES", "Case"]

PROMISES = frozenset(
    {"equivariance", "double", "state_dict", "copies", "empty_batch", "meta", "to_empty", "mixed_dtypes", "dtype"}
    | {"integers", "arguments", "shape", "gradgrad", "learning", "zero", "compile", "export", "repr"}
)


@dataclass(frozen=True)
class Case:
    """A module under test.

    Args:
        name: What the test is called; starts with the class name.
        make: Builds the module in the default dtype. All cases of a class are tested.
        inputs: Draws the arguments of one call with 5 rows or so (axis 0), given the dtype. The global seed is set.
        irreps_in: How the arguments transform, as ``assert_equivariant`` takes it (a list for several arguments).
        irreps_out: The same of the output.
        learned: Buffers that belong in the state dict besides the parameters (running statistics).
        excused: Promise -> the reason why it does not apply. Every reason is read by a reviewer.

    """

    name: str
    make: Callable[[], nn.Module]
    inputs: Callable[[torch.dtype], tuple[Tensor, ...]]
    irreps_in: Any = None
    irreps_out: Any = None
    learned: frozenset[str] = frozenset()
    excused: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert set(self.excused) <= PROMISES, set(self.excused) - PROMISES
        assert all(self.excused.values())

    def module(self, dtype: torch.dtype) -> nn.Module:
        """Build the module under a default dtype, always with the same weights, and biases that are not zero."""
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            torch.manual_seed(0)
            module = self.make()
        finally:
            torch.set_default_dtype(before)
        generator = torch.Generator().manual_seed(1)
        for parameter in module.parameters():
            values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.data = values.to(torch.float32).to(parameter.dtype)
        return module

    def arguments(self, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Draw the arguments, always the same."""
        torch.manual_seed(2)
        return self.inputs(dtype)
