"""A fully connected network of scalars whose values stay at unit scale."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from irrepnet.errors import ConfigError, DtypeError, ShapeError
from irrepnet.math.normalize2mom import normalize2mom
from irrepnet.nn.channels import fits
from irrepnet.nn.runs import Function, function_name

__all__ = ["FullyConnectedNet"]


class FullyConnectedNet(nn.Sequential):
    r"""Linear maps without bias and functions between them.

    .. math:: x \mapsto \sqrt{v_\text{out}}\; c\, f\!\left(\frac{x W}{\sqrt{h_\text{in} v_\text{in}}}\right)

    for each layer, with weights W of shape ``[h_in, h_out]``, drawn from N(0, 1), and the factor c that gives cf a
    second moment of 1; without f where there is none. Second moments are 1 between layers.

    It is an ``nn.Sequential`` of its layers: ``net[0].weight``, ``net[1:]``, ``len(net)``.

    Args:
        hs: Widths: of the input, of the hidden layers, of the output.
        act: Function f of the hidden layers; None for none.
        variance_in: Second moment of the input.
        variance_out: Second moment of the output.
        out_act: Whether the function comes after the last layer too.

    Attributes:
        hs: The widths, as a list; those of the layers that stand here, if some were deleted.

    Raises:
        ConfigError: If a width is not an integer >= 0, a variance is not positive, or the second moment of the function
            is zero or not finite.

    Example:
        >>> net = FullyConnectedNet([8, 16, 4], torch.nn.functional.silu)
        >>> net
        FullyConnectedNet(8 -> 16 -> 4 | silu)
        >>> net(torch.randn(5, 8)).shape
        torch.Size([5, 4])
        >>> net[0]
        Layer(8 -> 16 | silu)
    """

    def __init__(
        self,
        hs: Sequence[int],
        act: Function | None = None,
        variance_in: float = 1,
        variance_out: float = 1,
        out_act: bool = False,
    ) -> None:
        super().__init__()
        widths = [_width(h) for h in hs]
        if not (variance_in > 0 and variance_out > 0):
            raise ConfigError(
                f"FullyConnectedNet needs variances > 0; got variance_in={variance_in!r} and "
                f"variance_out={variance_out!r}."
            )
        scaled = None if act is None else normalize2mom(act)
        self._h_in, last = widths[:1], len(widths) - 2
        for i, (h_in, h_out) in enumerate(pairwise(widths)):
            variances = variance_in if i == 0 else 1, variance_out if i == last else 1
            self.add_module(f"layer{i}", _Layer(h_in, h_out, scaled if i < last or out_act else None, *variances))

    @property
    def hs(self) -> list[int]:
        """Widths of the input and after each layer."""
        layers = [layer for layer in self if isinstance(layer, _Layer)]
        return [layers[0].h_in, *[layer.h_out for layer in layers]] if layers else self._h_in

    def __getitem__(self, index: int | slice) -> Any:
        """Return a layer, or some layers as an ``nn.Sequential``."""
        if isinstance(index, slice):
            return nn.Sequential(OrderedDict(list(self._modules.items())[index]))
        return super().__getitem__(index)

    def __repr__(self) -> str:
        layers = [layer for layer in self if isinstance(layer, _Layer)]
        if len(layers) < len(self):  # something else was appended
            return f"FullyConnectedNet({', '.join(map(repr, self))})"
        act = next((f" | {function_name(layer.act)}" for layer in layers if layer.act is not None), "")
        return f"FullyConnectedNet({' -> '.join(map(str, self.hs))}{act})"


class _Layer(nn.Module):
    """One linear map and perhaps a function, scaled; see ``FullyConnectedNet``."""

    def __init__(self, h_in: int, h_out: int, act: normalize2mom | None, var_in: float, var_out: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(h_in, h_out))
        self.act = act
        self.h_in, self.h_out, self.var_in, self.var_out = h_in, h_out, var_in, var_out
        variance = max(h_in, 1) * var_in
        self._before = (1 / variance if act is not None else var_out / variance) ** 0.5
        self._after = 1.0 if act is None else var_out**0.5

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., h_in]`` to ``[..., h_out]``."""
        if x.ndim == 0 or x.shape[-1] != self.h_in:
            raise ShapeError(f"FullyConnectedNet needs x [..., {self.h_in}] for {self}; got {list(x.shape)}.")
        if not fits(x, self.weight):
            raise DtypeError(
                f"FullyConnectedNet needs x and weights of one dtype on one device; got x {str(x.dtype)[6:]} on "
                f"{x.device}, weights {str(self.weight.dtype)[6:]} on {self.weight.device}. Move them with .to(...)."
            )
        x = x @ (self.weight * self._before)
        if self.act is not None:
            x = self.act(x)
        return x if self._after == 1 else x * self._after

    def __repr__(self) -> str:
        return f"Layer({self.h_in} -> {self.h_out}{'' if self.act is None else ' | ' + function_name(self.act)})"


def _width(h: Any) -> int:
    if isinstance(h, bool) or not hasattr(h, "__index__") or operator.index(h) < 0:
        raise ConfigError(f"FullyConnectedNet needs integer widths >= 0; got {h!r}.")
    return operator.index(h)
