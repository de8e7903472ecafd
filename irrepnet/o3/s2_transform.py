"""What the two directions between coefficients and a grid on the sphere share: the grid and its tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from irrepnet.o3.grid_module import GridModule
from irrepnet.o3.rotation import angles_to_xyz
from irrepnet.o3.sphere_tables import azimuthal_table, azimuths, places_in_square, polar_angles, polar_tables
from irrepnet.o3.su2 import real_dtype

__all__ = ["S2Transform"]


class S2Transform(GridModule):
    """What the two directions share: the grid, and one table for each order m, between degrees and polar angles."""

    sha: Tensor
    _tables: Tensor
    _places: Tensor

    def __init__(
        self,
        lmax: int,
        res: Sequence[int],
        factors: np.ndarray,
        dtype: torch.dtype | None,
        device: torch.device | str | None,
    ) -> None:
        super().__init__()
        self.lmax = lmax
        self.res_beta, self.res_alpha = res
        self._factors = factors  # [lmax + 1], of each degree
        self._make_constants(real_dtype(type(self).__name__, dtype), device)

    def _constants(self) -> dict[str, np.ndarray]:
        tables = polar_tables(self.lmax, self.res_beta) * self._factors[:, None] * self._weights()
        return {
            "sha": azimuthal_table(self.lmax, azimuths(self.res_alpha)),
            "_tables": tables,  # [2 lmax + 1, lmax + 1, N]
            "_places": self._order(),
        }

    def _weights(self) -> np.ndarray | float:
        """Return weights of the polar angles."""
        return 1.0

    def _order(self) -> np.ndarray:
        """Return the place of each number after a change between coefficients and a square of orders and degrees."""
        raise NotImplementedError

    @property
    def alphas(self) -> Tensor:
        """Azimuths, shape ``[res_alpha]``."""
        return self.sha.new_tensor(azimuths(self.res_alpha))

    @property
    def betas(self) -> Tensor:
        """Polar angles, shape ``[res_beta]``."""
        return self.sha.new_tensor(polar_angles(self.res_beta))

    @property
    def grid(self) -> Tensor:
        """Points on the unit sphere, shape ``[res_beta, res_alpha, 3]``."""
        return angles_to_xyz(self.alphas, self.betas[:, None])

    @property
    def shb(self) -> Tensor:
        """The map between coefficients and polar angles for each order m, shape ``[2 lmax + 1, res_beta, dim]``."""
        dim = (self.lmax + 1) ** 2
        places = torch.tensor(places_in_square(self.lmax), device=self._tables.device)
        values = self._tables.flatten(0, 1).index_select(0, places)  # [dim, res_beta]
        order = places // (self.lmax + 1)
        dense = values.new_zeros(2 * self.lmax + 1, dim, self.res_beta)
        dense[order, torch.arange(dim, device=dense.device)] = values
        return dense.mT.contiguous()

    def _saved(self) -> dict[str, tuple[int, ...]]:
        orders, dim = 2 * self.lmax + 1, (self.lmax + 1) ** 2
        return {
            "alphas": (self.res_alpha,),
            "betas": (self.res_beta,),
            "sha": (self.res_alpha, orders),
            "shb": (orders, self.res_beta, dim),
        }

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Refuse tables of another normalisation; see ``GridModule``."""
        saved = state_dict.get(prefix + "shb")
        if saved is not None and not saved.is_meta and not self._own.is_meta and not _agree(saved, self.shb):
            args[-1].append(
                f"{prefix}shb has another normalisation than {self!r} of this model. Build the module with the "
                "normalization (and lmax_in) that was saved."
            )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(lmax={self.lmax} res={self.res_beta}x{self.res_alpha} (beta x alpha))"


def _agree(saved: Tensor, own: Tensor) -> bool:
    """Return whether tables do not contradict each other; those of other shapes are found out elsewhere.

    e3nn's tables in float32 lose all digits at degree 20, but up to degree 8 they keep four.
    """
    if saved.shape != own.shape:
        return True
    saved, own = saved[..., :81].to(own), own[..., :81]
    return (saved - own).abs().max().item() <= 1e-3 * own.abs().max().item()
