"""A function, scaled to unit second moment."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from irrepnet.errors import ConfigError
from irrepnet.math.second_moment import second_moment_factor

__all__ = ["normalize2mom", "writes_in_place"]


class normalize2mom(nn.Module):
    r"""Scale a function so that its second moment under a normal variable is 1.

    .. math:: x \mapsto c f(x), \qquad c = \left(\mathbb{E}_{z \sim N(0, 1)} f(z)^2\right)^{-1/2}

    By default the factor rests on e3nn's million random numbers, so weights that were trained with it carry over.

    Args:
        f: Elementwise function; a module keeps the factor that it has with its first parameters. Modules with
            ``inplace=True`` are given a copy.
        dtype: Means nothing here, as in e3nn: the factor is computed in float64.
        device: Means nothing here: the factor is a Python number.
        second_moment: "e3nn" or "exact"; see ``second_moment_factor``.

    Attributes:
        f: The function.
        cst: The factor c. With "e3nn", one within 1e-4 of 1 is 1 and not applied, as there.

    Raises:
        ConfigError: If ``second_moment`` is unknown, or it is not positive and finite, or f has parameters on "meta".

    Example:
        >>> tanh = normalize2mom(torch.tanh)
        >>> tanh
        normalize2mom(tanh | 1.593733)
        >>> tanh(torch.tensor([0.5]))
        tensor([0.7365])
    """

    cst: float

    def __init__(
        self,
        f: Callable[[Tensor], Tensor],
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        *,
        second_moment: str = "e3nn",
    ) -> None:
        super().__init__()
        if isinstance(f, nn.Module) and any(p.is_meta for p in f.parameters()):
            raise ConfigError(
                f"normalize2mom needs the values of the parameters of {type(f).__name__}, on which its second moment "
                "rests; got some on 'meta'. Build the function on the CPU."
            )
        self.f = f
        self.cst = second_moment_factor(f, second_moment)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function.

        Args:
            x: Shape ``[...]``.

        Returns:
            Shape ``[...]``.
        """
        if writes_in_place(self.f):
            x = x.clone()
        return self.f(x) if self.cst == 1.0 else self.f(x) * self.cst

    def __repr__(self) -> str:
        name = getattr(self.f, "__name__", None) or str(self.f)
        return f"normalize2mom({name} | {self.cst:.6f})"


def writes_in_place(f: object) -> bool:
    """Return whether a function is a module that overwrites its argument, such as ``torch.nn.ReLU(inplace=True)``.

    Example:
        >>> writes_in_place(torch.nn.ReLU(inplace=True)), writes_in_place(torch.relu)
        (True, False)
    """
    return isinstance(f, nn.Module) and any(getattr(part, "inplace", False) for part in f.modules())
