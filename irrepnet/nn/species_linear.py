"""Linear maps that every species has for itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from irrepnet.errors import ConfigError, DtypeError, ShapeError, did_you_mean
from irrepnet.nn.reach import require_reached
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.linear import Linear, mix_channels

__all__ = ["SpeciesLinear"]


class SpeciesLinear(nn.Module):
    r"""Equivariant linear map whose weights depend on the species of the node.

    .. math:: y_n = \frac{1}{\sqrt{\text{fan-in}}}\, W^{(s_n)} x_n

    It is what a fully connected tensor product with a one-hot encoding of the species computes, without multiplying all
    the zeros: e3nn's ``FullyConnectedTensorProduct(irreps_in, f"{num_species}x0e", irreps_out)`` with the attributes
    ``sqrt(num_species) * one_hot(species)``.

    Args:
        irreps_in: Irreps of the features.
        irreps_out: Irreps of the result.
        num_species: Number of species.
        unreached: What to do about irreps of the output that the input does not hold: ``"error"``, or ``"zero"`` where
            the result is added to something that fills them.
        backend: "auto", "reference" or "fused"; see ``ops.linear``.

    Attributes:
        weight: Parameter, shape ``[num_species, weight_numel]``, N(0, 1) at first; each row as in ``o3.Linear``.

    Raises:
        IrrepsError: If irreps cannot be read, or one of the output is not in the input.
        ConfigError: If ``num_species`` is not positive or ``unreached`` is unknown.

    Example:
        >>> linear = SpeciesLinear("8x0e + 4x1o", "16x0e + 4x1o", num_species=2)
        >>> linear(torch.randn(3, 20), torch.tensor([1, 0, 0])).shape
        torch.Size([3, 28])
    """

    def __init__(
        self, irreps_in: Any, irreps_out: Any, num_species: int, *, unreached: str = "error", backend: str = "auto"
    ) -> None:
        super().__init__()
        self.backend = backend
        self.irreps_in, self.irreps_out, self.num_species = Irreps(irreps_in), Irreps(irreps_out), num_species
        if isinstance(num_species, bool) or not isinstance(num_species, int) or num_species < 1:
            raise ConfigError(f"SpeciesLinear needs an integer num_species >= 1; got {num_species!r}.")
        if unreached not in ("error", "zero"):
            hint = did_you_mean(str(unreached), ("error", "zero"))
            raise ConfigError(f"SpeciesLinear needs unreached 'error' or 'zero'; got {unreached!r}.{hint}")
        if unreached == "error":
            inputs = f"irreps_in = '{self.irreps_in}'"
            require_reached("SpeciesLinear", inputs, self.irreps_out, [ir for mul, ir in self.irreps_in if mul])
        self._plan = Linear(self.irreps_in, self.irreps_out, internal_weights=False).plan
        self.weight = nn.Parameter(torch.randn(num_species, self._plan.weight_numel))

    def forward(self, node_feats: Tensor, species: Tensor) -> Tensor:
        """Map the features of each node with the weights of its species.

        Args:
            node_feats: Shape ``[N, irreps_in.dim]``.
            species: Numbers from 0 to num_species - 1 (not atomic numbers), int64, shape ``[N]``. Where they come from
                has to check their range.

        Returns:
            Shape ``[N, irreps_out.dim]``.

        Raises:
            ShapeError: If shapes do not fit.
            DtypeError: If ``species`` is not int64, or features and weights differ in dtype or device.
        """
        if species.dtype != torch.int64:
            raise DtypeError(
                f"SpeciesLinear needs species as int64 numbers; got {species.dtype}. Write species.long()."
            )
        if node_feats.shape != (*species.shape, self.irreps_in.dim) or species.ndim != 1:
            raise ShapeError(
                f"SpeciesLinear needs node_feats [N, {self.irreps_in.dim}] and species [N]; "
                f"got {list(node_feats.shape)} and {list(species.shape)}."
            )
        return mix_channels(node_feats, self.weight, self._plan, species, backend=self.backend)

    def extra_repr(self) -> str:
        """Say in ``repr`` what becomes of what."""
        return f"{self.irreps_in} -> {self.irreps_out}, num_species={self.num_species}"
