"""Functions of the norm of each irrep: how much of it passes depends on its length, not on its direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from irrepnet.errors import ConfigError
from irrepnet.math.normalize2mom import writes_in_place
from irrepnet.nn.channels import Channels, checked_features
from irrepnet.nn.runs import learned_by
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.norm import Norm
from irrepnet.o3.saved_constants import without_constants

__all__ = ["NormActivation"]


class NormActivation(nn.Module):
    r"""Give each irrep a length that is a function of its own length; its direction stays.

    .. math:: x \mapsto f(n + b)\, \frac{x}{n}, \qquad n = \max(\|x\|, \epsilon)

    or, with ``normalize=False``, :math:`x \mapsto f(\|x\| + b)\, x`. First and second derivatives are finite, at zero
    too, where that of the norm is taken as zero. Unlike in ``Activation``, f is taken as it is, without a factor for
    its second moment.

    Args:
        irreps_in: Irreps of the features.
        scalar_nonlinearity: Elementwise function f of the norms.
        normalize: Whether to divide by the norm.
        epsilon: Smallest norm to divide by, > 0; 1e-8 by default. It has no meaning without ``normalize``.
        bias: Whether to learn a bias b for each irrep.

    Attributes:
        irreps_out: The same as ``irreps_in``.
        biases: Parameter, shape ``[number of irreps]``, zero at first; only with ``bias``.

    Raises:
        IrrepsError: If irreps cannot be read.
        ConfigError: If ``epsilon`` is not positive, or given without ``normalize``.

    Reference: Thomas et al. 2018, arXiv:1802.08219, on nonlinearities.

    Example:
        >>> act = NormActivation("2x0e + 1o", torch.sigmoid)
        >>> act
        NormActivation(2x0e+1x1o | x sigmoid(|x|) / |x|)
        >>> act(torch.tensor([0.0, -1.0, 3.0, 0.0, 4.0]))
        tensor([ 0.0000, -0.7311,  0.5960,  0.0000,  0.7946])
    """

    def __init__(
        self,
        irreps_in: Any,
        scalar_nonlinearity: Callable[[Tensor], Tensor],
        normalize: bool = True,
        epsilon: float | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        if epsilon is not None and not normalize:
            raise ConfigError(
                f"NormActivation needs epsilon only to divide by norms; got epsilon={epsilon!r} with normalize=False. "
                "Leave one of them away."
            )
        if epsilon is not None and not epsilon > 0:
            raise ConfigError(f"NormActivation needs epsilon > 0; got {epsilon!r}. Take 1e-8.")
        self.irreps_in = self.irreps_out = Irreps(irreps_in)
        self.scalar_nonlinearity, self.normalize, self.bias = scalar_nonlinearity, normalize, bias
        self.epsilon = 1e-8 if normalize and epsilon is None else epsilon
        self.norm = Norm(self.irreps_in, squared=normalize)
        self._channels = Channels(self.irreps_in)
        if bias:
            self.biases = nn.Parameter(torch.zeros(self.irreps_in.num_irreps))

    def forward(self, features: Tensor) -> Tensor:
        """Apply the function.

        Args:
            features: Shape ``[..., irreps_in.dim]``.

        Returns:
            The same shape.

        Raises:
            ShapeError: If the last axis does not have the size of ``irreps_in``.
            DtypeError: If features are not floating-point, or differ from the biases, or from a function that learns,
                in dtype or device.
        """
        own = self.biases if self.bias else learned_by(self.scalar_nonlinearity)
        x = checked_features("NormActivation", features, self.irreps_in, own)
        norms = self.norm(x)  # [..., number of irreps]
        if self.epsilon is not None:
            # The derivative is finite, as the root is not taken of 0, not even where the square of epsilon underflows.
            norms = norms.clamp(min=max(self.epsilon**2, torch.finfo(x.dtype).tiny)).sqrt()
        argument = norms + self.biases if self.bias else norms
        scale = self.scalar_nonlinearity(argument.clone() if writes_in_place(self.scalar_nonlinearity) else argument)
        return self._channels.scale(x, scale / norms if self.normalize else scale)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Load what is learned; e3nn also saves the constants of its product, which are left out."""
        kept = without_constants(state_dict, prefix, ("scalar_multiplier.",))
        super()._load_from_state_dict(kept, prefix, *args)

    def __repr__(self) -> str:
        f = self.scalar_nonlinearity
        argument = "|x| + b" if self.bias else "|x|"
        formula = f"x {getattr(f, '__name__', type(f).__name__)}({argument}){' / |x|' if self.normalize else ''}"
        return f"NormActivation({self.irreps_in} | {formula})"
