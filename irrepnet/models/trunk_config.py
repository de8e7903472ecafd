"""The configuration that all models have in common."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat

from irrepnet.data.elements import atomic_number
from irrepnet.errors import IrrepsError
from irrepnet.o3.irreps import Irreps
from irrepnet.ops.radial_table import FEWEST_KNOTS, MOST_KNOTS

__all__ = ["DTYPES", "MOST_FEATURES", "TrunkConfig", "Widths"]

DTYPES = {"float32": torch.float32, "float64": torch.float64}
MOST_FEATURES = 10_000  # far above any model; a slip or a crafted file shall not exhaust the memory
_LARGEST_DEGREE = 11  # that of the spherical harmonics
_MOST_LAYERS = 32  # hidden layers of a radial network or of a readout
Widths = Annotated[tuple[Annotated[int, Field(gt=0, le=MOST_FEATURES)], ...], Field(max_length=_MOST_LAYERS)]


def _known_elements(symbols: tuple[str, ...]) -> tuple[str, ...]:
    numbers = [atomic_number(symbol) for symbol in symbols]
    if len(set(numbers)) != len(numbers):
        raise ValueError(f"species needs each element once; found {', '.join(symbols)}")
    return symbols


def _readable_irreps(text: str) -> str:
    irreps = Irreps(text).remove_zero_multiplicities().sort().irreps.simplify()
    if irreps.count("0e") == 0:
        raise IrrepsError(f"irreps_hidden needs scalars 0e, which carry the energy; found {text!r}; add 16x0e")
    if irreps.lmax > _LARGEST_DEGREE:
        raise IrrepsError(f"irreps_hidden needs degrees of at most {_LARGEST_DEGREE}; found {irreps.lmax} ({text!r})")
    if irreps.dim > MOST_FEATURES:
        raise IrrepsError(f"irreps_hidden needs a dimension of at most {MOST_FEATURES}; found {irreps.dim} ({text!r})")
    return str(irreps)


class TrunkConfig(BaseModel):
    """What a :class:`~irrepnet.models.Trunk` is made of; the configuration of every model begins with these keys.

    Attributes:
        DETERMINED_BY_DATA: Keys that a training configuration may leave open, for the training frames to fill in.

    Raises:
        pydantic.ValidationError: If a key is unknown or a value is out of range (a ``ValueError`` too).

    Example:
        >>> TrunkConfig(species=("H", "O"), irreps_hidden="8x1o+8x0e").irreps_hidden
        '8x0e+8x1o'
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    DETERMINED_BY_DATA: ClassVar[tuple[str, ...]] = ("species", "avg_num_neighbors")

    species: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_known_elements)] = Field(
        description="chemical symbols that the model knows"
    )
    cutoff: PositiveFloat = Field(
        4.5, le=1000, description="distance beyond which atoms do not see each other in one layer, Å"
    )
    lmax: int = Field(1, ge=0, le=_LARGEST_DEGREE, description="highest degree of the spherical harmonics on edges")
    irreps_hidden: Annotated[str, AfterValidator(_readable_irreps)] = Field(
        "16x0e+16x1o", description="node features between layers; entries that cannot reach the output are left out"
    )
    num_layers: int = Field(3, gt=0, le=100, description="number of convolutions; an atom sees num_layers * cutoff far")
    num_basis: int = Field(8, gt=0, le=MOST_FEATURES, description="number of Bessel functions of the edge length")
    radial_decay: float = Field(
        1.0,
        ge=0,
        le=8,
        description="the k-th Bessel function is divided by k to this power: the higher, the smoother what is learned",
    )
    radial_hidden: Widths = Field((32, 32), description="widths of the radial networks' hidden layers")
    envelope_power: int = Field(6, ge=2, description="power of the polynomial that takes edges to zero at the cutoff")
    radial: Literal["exact", "table"] = Field(
        "exact", description="radial networks: exact at every edge; table: a cubic spline through their values at knots"
    )
    radial_knots: int = Field(
        512,
        ge=FEWEST_KNOTS,
        le=MOST_KNOTS,
        description="knots of the table, for each pair of species if they are told apart; "
        "training takes exact where a step has fewer than two edges per knot",
    )
    radial_species: Literal["shared", "pair"] = Field(
        "shared", description="radial networks: the same for all species; pair: they know the species of both ends"
    )
    avg_num_neighbors: PositiveFloat = Field(
        20.0, description="mean number of neighbours; sums are divided by its square root"
    )
    dtype: Literal["float32", "float64"] = Field("float32", description="precision of the network; sums are float64")
    backend: Literal["auto", "reference", "fused"] = Field("auto", description="kernels of the operations")

    @property
    def num_edge_types(self) -> int:
        """Number of ordered pairs of species that radial networks tell apart."""
        return len(self.species) ** 2 if self.radial_species == "pair" else 1
