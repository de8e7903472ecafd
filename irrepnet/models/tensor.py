"""Cartesian tensors of structures or of atoms: polarizabilities, hyperpolarizabilities, shieldings, elasticity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, Field, FiniteFloat, NonNegativeFloat, model_validator
from torch import Tensor
from torch.nn.functional import silu

from irrepnet.errors import ConfigError
from irrepnet.io.cartesian_tensor import CartesianTensor
from irrepnet.models.target_model import Atoms, Readout, TargetModel, start_small
from irrepnet.models.targets import MOST_TARGETS, Target, require_elements, require_names
from irrepnet.models.trunk_config import TrunkConfig
from irrepnet.nn.gate import Gate
from irrepnet.nn.pool import sum_pool
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.linear import Linear

__all__ = ["TensorConfig", "TensorModel", "TensorReadout", "TensorTarget"]

_MOST_INDICES = 6  # 729 entries: the third-order elastic constants; a crafted file shall not exhaust the memory


def _readable_formula(formula: str) -> str:
    letters = formula.partition("=")[0].strip().lstrip("-")
    if not 1 <= len(letters) <= _MOST_INDICES:
        raise ConfigError(f"formula needs 1 to {_MOST_INDICES} indices, as 'ij=ji'; found {formula!r}")
    CartesianTensor(formula)
    return formula


class TensorTarget(Target):
    """A tensor of every structure or of every atom.

    Example:
        >>> TensorTarget(name="alpha", formula="ij=ji", unit="a0^3").irreps
        1x0e+1x2e
    """

    formula: Annotated[str, AfterValidator(_readable_formula)] = Field(
        description="its indices and their symmetries: i, ij=ji, ijk=jik=ikj; ij has none; see io.CartesianTensor"
    )
    level: Literal["structure", "atom"] = Field("structure", description="whether structures or atoms have it")
    extensive: bool = Field(
        True, description="of a structure: a sum over atoms (a polarizability) or a mean (an elasticity)"
    )
    mean: dict[str, tuple[FiniteFloat, ...]] | None = Field(
        None,
        description="usual values of its scalar parts for an atom of each element; null: those that explain the frames",
    )
    irrep_scales: tuple[NonNegativeFloat, ...] | None = Field(
        None, description="unit of the network's output for each irrep; null: its spread in the frames"
    )

    @property
    def irreps(self) -> CartesianTensor:
        """Its irreps, which know the change of basis."""
        return CartesianTensor(self.formula)

    @property
    def per_atom(self) -> bool:
        """Whether atoms have it, not structures."""
        return self.level == "atom"

    @model_validator(mode="after")
    def _one_value_per_irrep(self) -> TensorTarget:
        irreps = self.irreps
        if self.irrep_scales is not None and len(self.irrep_scales) != irreps.num_irreps:
            raise ValueError(
                f"irrep_scales needs {irreps.num_irreps} values, one for each irrep of {self.formula} ({irreps}); "
                f"found {len(self.irrep_scales)}"
            )
        for symbol, values in (self.mean or {}).items():
            if len(values) != irreps.count("0e"):
                raise ValueError(
                    f"mean needs {irreps.count('0e')} values for {symbol}, one for each 0e of {self.formula} "
                    f"({irreps}); found {len(values)}"
                )
        return self


class TensorConfig(TrunkConfig):
    """What a :class:`TensorModel` is made of.

    Raises:
        pydantic.ValidationError: If a key is unknown, a value is out of range, a formula cannot be read, two targets
            have one name, or values per element leave one out (a ``ValueError`` too).

    Example:
        >>> targets = [{"name": "alpha", "formula": "ij=ji", "unit": "a0^3"}]
        >>> config = TensorConfig(species=("H", "O"), lmax=2, irreps_hidden="16x0e+16x1o+16x2e", targets=targets)
        >>> config.targets[0].level, config.targets[0].extensive
        ('structure', True)
    """

    targets: tuple[TensorTarget, ...] = Field(max_length=MOST_TARGETS, description="what the model predicts, by name")

    @model_validator(mode="after")
    def _one_target_per_name(self) -> TensorConfig:
        require_names(self.targets)
        for target in self.targets:
            if target.mean is not None:
                require_elements(f"targets: mean of {target.name!r}", target.mean, self.species or ())
        return self


class TensorReadout(Readout):
    r"""The irreps of a tensor from the features of atoms, summed or averaged, put together as a Cartesian tensor.

    .. math:: t = Q^\top \sum_i \left( \lambda_k\, y_{ik} + m_{s(i)k} \right), \qquad y_i = L'\,\mathrm{gate}(L x_i)

    over irreps k, with the change of basis Q of :class:`~irrepnet.io.CartesianTensor`, a scale for each irrep and means
    m of the scalar ones.

    Args:
        irreps_in: Of the features.
        target: What is read.
        species: Symbols of the elements that the model knows.

    Example:
        >>> TensorReadout(Irreps("8x0e+8x2e"), TensorTarget(name="alpha", formula="ij=ji"), ["H", "O"])
        TensorReadout(
          alpha: ij=ji = 1x0e+1x2e of atoms, summed
          (gate): Gate(16x0e+8x2e -> 8x0e+8x2e)
          (mix): Linear(8x0e+8x2e -> 16x0e+8x2e | 192 weights)
          (out): Linear(8x0e+8x2e -> 1x0e+1x2e | 16 weights)
        )
    """

    scales: Tensor
    means: Tensor

    def __init__(self, irreps_in: Irreps, target: TensorTarget, species: Sequence[str]) -> None:
        irreps = target.irreps
        channels = [ir for mul, ir in irreps for _ in range(mul)]
        scales = target.irrep_scales or (1.0,) * len(channels)
        super().__init__(
            scales=[scale for scale, ir in zip(scales, channels, strict=True) for _ in range(ir.dim)],
            means=[_on_scalars(channels, (target.mean or {}).get(symbol)) for symbol in species],
        )
        self.target, self.irreps = target, irreps
        kept = Irreps([entry for entry in irreps_in if entry.ir in {ir for _, ir in irreps} or entry.ir.is_scalar()])
        scalars = Irreps([entry for entry in kept if entry.ir.l == 0])
        gated = Irreps([entry for entry in kept if entry.ir.l > 0])
        self.gate = Gate(
            scalars,
            [silu if ir.p == 1 else torch.tanh for _, ir in scalars],
            Irreps([(mul, "0e") for mul, _ in gated]),
            [torch.sigmoid for _ in gated],
            gated,
            second_moment="exact",
        )
        self.mix = Linear(irreps_in, self.gate.irreps_in)
        self.out = Linear(self.gate.irreps_out, Irreps(irreps))
        start_small(self.out)

    def forward(self, atoms: Atoms) -> Tensor:
        """Return shape ``[B, 3, 3, ...]`` or ``[N, 3, 3, ...]``, float64."""
        parts = self.out(self.gate(self.mix(atoms.feats))).double()
        parts = parts * self.scales + self.means[atoms.species]  # [N, dim]
        if not self.target.per_atom:
            batch, num_graphs = atoms.graph.batch, atoms.graph.num_graphs
            parts = sum_pool(parts, batch, num_graphs)  # [B, dim]
            if not self.target.extensive:
                parts = parts / sum_pool(torch.ones_like(batch), batch, num_graphs).clamp(min=1)[:, None]
        return self.irreps.to_cartesian(parts)

    def extra_repr(self) -> str:
        """Say in ``repr`` what is read, and how."""
        per = "atoms" if self.target.per_atom else "atoms, summed" if self.target.extensive else "atoms, averaged"
        return f"{self.target.name}: {self.target.formula} = {self.irreps} of {per}"


def _on_scalars(channels: Sequence[Irrep], values: Sequence[float] | None) -> list[float]:
    """Return a number for each component of irreps: the values, or zero, where 0e stand, and zero elsewhere."""
    rest = iter(values or ())
    return [next(rest, 0.0) if ir.is_scalar() else 0.0 for ir in channels for _ in range(ir.dim)]


class TensorModel(TargetModel):
    """Cartesian tensors of any rank and symmetry, of structures or of atoms, equivariant under rotation and inversion.

    The features of atoms after the last layer have to hold the irreps of each tensor, parity included: a polarizability
    (ij=ji) is 0e+2e, a first hyperpolarizability (ijk=jik=ikj) 1o+3o. Sums over atoms are in float64, and so are
    results. The change of basis is orthonormal, so an error of Cartesian components is one of irreps. Results do not
    change when a structure is moved: the dipole of an ion has to refer to a point that moves with it.

    Args:
        config: What it is made of.

    Raises:
        IrrepsError: If the last layer cannot have the irreps of a tensor; the message says what to set.

    Example:
        >>> from irrepnet.data import Frame, build_graph
        >>> targets = [{"name": "alpha", "formula": "ij=ji"}, {"name": "shielding", "formula": "ij", "level": "atom"}]
        >>> irreps = "8x0e+8x1o+8x1e+8x2e"
        >>> model = TensorModel(TensorConfig(species=("H", "O"), lmax=2, irreps_hidden=irreps, targets=targets))
        >>> water = Frame(species=[8, 1, 1], pos=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
        >>> {name: value.shape for name, value in model(build_graph(water, model.cutoff)).items()}
        {'alpha': torch.Size([1, 3, 3]), 'shielding': torch.Size([3, 3, 3])}
    """

    def __init__(self, config: TensorConfig):
        # The gate of a readout takes scalars, whatever it reads.
        super().__init__(config, {target.name: Irreps("0e") + Irreps(target.irreps) for target in config.targets})
        irreps_in, species = self.irreps_layers[-1], config.species
        self._finish(TensorReadout(irreps_in, target, species) for target in config.targets)
