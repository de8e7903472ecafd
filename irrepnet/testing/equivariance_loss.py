"""A penalty that teaches any function to be equivariant, softly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from irrepnet.errors import ConfigError, ShapeError
from irrepnet.o3.irreps import Irreps
from irrepnet.testing.calling import check_tensor, cuda_devices, name_of
from irrepnet.testing.group import draw_elements, read_group
from irrepnet.testing.signature import Kind, read_kinds

__all__ = ["equivariance_loss"]


def equivariance_loss(
    f: Callable[..., Any],
    irreps_in: Any,
    irreps_out: Any,
    inputs: Any,
    *,
    group: Any = "O(3)",
    num_elements: int = 1,
    eps: float = 1e-12,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Measure how far ``f`` is from equivariant at ``inputs``, differentiably: a term of a training loss.

    .. math:: L = \frac1n \sum_{i=1}^n \frac{|f(g_i x) - D(g_i) f(x)|^2}{|f(x)|^2 + \epsilon}, \quad g_i \sim
        \text{uniform on the group}

    The squares are summed over all rows, so that ``f`` may mix rows, as a graph network does; one element turns all
    rows alike. Of several outputs the mean is taken. An equivariant function has L = 0 up to rounding; one whose value
    after a rotation has nothing to do with the value before it has L = 2 on average. ``f`` is given copies, and
    finds the same random state at each call, so that dropout drops the same.

    Args:
        f: A function or module that takes tensors by position and returns a tensor or a tuple of tensors.
        irreps_in: What the arguments are, as for ``assert_equivariant``; ``"cartesian_points"`` rotate as ``1o``, None
            does not transform. A list if ``f`` takes several arguments.
        irreps_out: The same for the outputs; None for an output that is not compared.
        inputs: The argument, or a list of the arguments, of shapes ``[..., irreps.dim]``.
        group: ``"O(3)"``, ``"SO(3)"``, or the elements of a finite group, shape ``[G, 3, 3]``.
        num_elements: How many group elements to draw, >= 1; each costs a call of ``f``, besides the one at x.
        eps: Added to the denominator, so that a function that is zero has a loss of zero, with a finite gradient.
        generator: Source of the group elements; torch's global one by default.

    Returns:
        A scalar tensor >= 0, of the dtype of the outputs but float32 at least, with gradients to the parameters of
            ``f`` and to ``inputs``.

    Raises:
        ConfigError: If the group is unknown, ``num_elements`` is no integer >= 1, or no output is compared.
        ShapeError: If arguments or outputs are not as many or not as wide as declared, or ``group`` is not [G, 3, 3].
        DataError: If the matrices of the group are not orthogonal.
        IrrepsError: If irreps cannot be read.

    Example:
        >>> layer = torch.nn.Linear(3, 3, bias=False)  # knows nothing of rotations
        >>> loss = equivariance_loss(layer, "1o", "1o", torch.randn(8, 3), num_elements=4)
        >>> loss.backward()
        >>> loss > 0, layer.weight.grad.isfinite().all()
        (tensor(True), tensor(True))
    """
    laws_in, laws_out = read_kinds(irreps_in), read_kinds(irreps_out)
    if not isinstance(num_elements, int) or num_elements < 1:
        raise ConfigError(f"num_elements needs an integer >= 1; got {num_elements}.")
    if all(law.irreps is None for law in laws_out):
        raise ConfigError(f"irreps_out needs an output to compare; got {irreps_out!r}.")
    x = _checked("inputs", inputs, laws_in)
    compared = [i for i, law in enumerate(laws_out) if law.irreps is not None]
    elements = draw_elements(read_group(group), num_elements, generator)
    kinds = {law.irreps for law in (*laws_in, *laws_out) if law.irreps is not None}
    matrices = {irreps: irreps.D_from_matrix(elements) for irreps in kinds}  # [num_elements, dim, dim] each
    found = []
    for k in range(num_elements):
        with torch.random.fork_rng(devices=cuda_devices(x)):
            found.append(_called(f, _act(matrices, k, x, laws_in), laws_out))
    y = _called(f, x, laws_out)  # the last, so that the random state moves on as by one call
    terms = []
    for k in range(num_elements):
        needed = _act(matrices, k, y, laws_out)
        terms += [(found[k][i] - needed[i]).square().sum() / (y[i].square().sum() + eps) for i in compared]
    return torch.stack(terms).mean()


def _called(f: Callable[..., Any], x: Sequence[Any], laws: Sequence[Kind]) -> list[Any]:
    """Call ``f`` on copies; return its outputs with digits enough to sum squares."""
    outputs = f(*(value.clone() if isinstance(value, Tensor) else value for value in x))
    return [
        y if law.irreps is None else y.to(torch.promote_types(y.dtype, torch.float32))
        for y, law in zip(_checked(f"outputs of {name_of(f)}", outputs, laws), laws, strict=True)
    ]


def _checked(name: str, values: Any, laws: Sequence[Kind]) -> list[Any]:
    """Return values as a list after a look at their number and shapes."""
    out = list(values) if isinstance(values, (tuple, list)) else [values]
    if len(out) != len(laws):
        raise ShapeError(f"equivariance_loss needs {len(laws)} {name}, as declared; got {len(out)}.")
    for i, (value, law) in enumerate(zip(out, laws, strict=True)):
        if law.irreps is not None:
            check_tensor(f"{name}[{i}]", value, law)
    return out


def _act(matrices: dict[Irreps, Tensor], k: int, values: Sequence[Any], laws: Sequence[Kind]) -> list[Any]:
    """Apply group element ``k`` to the values that transform, in their own dtype."""
    return [
        value if law.irreps is None else value @ matrices[law.irreps][k].to(value).T
        for value, law in zip(values, laws, strict=True)
    ]
