"""Cartesian tensors of structures or of atoms: polarizabilities, hyperpolarizabilities, shieldings, elasticity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import AfterValidator, Field, FiniteFloat, NonNegativeFloat, model_validator
from torch import Tensor
from torch.nn.functional import silu

from irrepnet.data.elements import atomic_number
from irrepnet.data.frame import Frame
from irrepnet.errors import ConfigError, DataError
from irrepnet.io.cartesian_tensor import CartesianTensor
from irrepnet.models.labels import Array, composition, elements_of, known_labels, spread
from irrepnet.models.target_model import Atoms, Readout, TargetModel, start_small
from irrepnet.models.targets import Target, require_elements, require_names
from irrepnet.models.trunk import TrunkConfig
from irrepnet.nn.channels import Channels, Scalars
from irrepnet.nn.gate import Gate
from irrepnet.nn.pool import sum_pool
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.linear import Linear

__all__ = ["TensorConfig", "TensorModel", "TensorReadout", "TensorTarget", "tensor_statistics"]

_MOST_INDICES = 6  # 729 entries: the third-order elastic constants; a crafted file shall not exhaust the memory
_MOST_FORBIDDEN = 0.1  # share of the rms of labels beyond which a formula is wrong rather than the labels inexact
_SAID = 1e-9  # share beyond which a note says so; below it is the rounding of float64


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

    targets: tuple[TensorTarget, ...] = Field(description="what the model predicts, by name")

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
        >>> from irrepnet.data import build_graph
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


def tensor_statistics(
    targets: Sequence[Any],
    frames: Sequence[Frame],
    species: Sequence[str] | None = None,
    *,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Complete targets with what training frames tell: means of scalar parts, and scales of irreps and of the whole.

    The means of an extensive tensor are a least-squares fit of the frames by their composition; of any other tensor of
    structures there is one for all elements; of a tensor of atoms, one for each element of which it is known. Scales
    are root mean squares over components around the means. Values that are given stay.

    What a formula forbids (the antisymmetric part of a polarizability that was computed to few digits) is projected
    away, and a note says how much it is.

    Args:
        targets: Of a :class:`TensorConfig`, validated or as plain values.
        frames: Training frames; also a lazy sequence. NaN, or no label: not known.
        species: Symbols of the elements of the model; None for those of the frames.
        say: What is called with each note.

    Returns:
        The targets as plain values, none of them None.

    Raises:
        DataError: If a target is known of no frame, has another shape or is infinite, a formula forbids more than a
            tenth of it, or a frame has an element that is not among ``species``.
        pydantic.ValidationError: If a target is not valid (a ``ValueError`` too).

    Example:
        >>> frames = [Frame(species=[1], pos=[[0, 0, 0]], properties={"a": a * np.eye(3)}) for a in (1.0, 3.0)]
        >>> (target,) = tensor_statistics([{"name": "a", "formula": "ij=ji"}], frames)
        >>> target["mean"], target["irrep_scales"]  # the trace over the square root of three
        ({'H': [3.46...]}, [1.73..., 0.0])
    """
    symbols = elements_of(frames) if species is None else list(species)
    complete = []
    for given in targets:
        target = TensorTarget.model_validate(given)
        found = _fitted(target, frames, symbols, say)
        if target.scale is None and found["scale"] is None:
            unit = f"1 {target.unit}".rstrip()
            say(f"note: target {target.name!r} does not vary in the training frames; its scale is {unit}")
            found["scale"] = 1.0
        values = target.model_dump(mode="json")
        complete.append(values | {key: value for key, value in found.items() if values[key] is None})
    return complete


def _fitted(
    target: TensorTarget, frames: Sequence[Frame], symbols: Sequence[str], say: Callable[[str], None]
) -> dict[str, Any]:
    """Return what the frames say of means and scales."""
    tensors, factors = _rows(target, frames, [atomic_number(symbol) for symbol in symbols], say)
    irreps = target.irreps
    parts = irreps.from_cartesian(torch.from_numpy(tensors))  # [K, dim]
    scalars = Scalars(irreps)
    if target.mean is None:
        is_mean = target.level == "structure" and not target.extensive
        known = (
            factors.sum(axis=1, keepdims=True) if is_mean else factors
        )  # all elements have one mean, or each its own
        solution = np.linalg.lstsq(known, scalars.take(parts).numpy(), rcond=None)[0]
        means = np.broadcast_to(solution, (len(symbols), scalars.num))
    else:
        require_elements(f"mean of {target.name!r}", target.mean, symbols)
        means = np.array([target.mean[symbol] for symbol in symbols]).reshape(len(symbols), scalars.num)
    rest = parts - scalars.put(torch.from_numpy(factors @ means))
    squares = Channels(irreps).mean(rest.square())  # [K, irreps]
    scale = spread(rest.numpy() * (rest.shape[1] / 3 ** len(irreps.indices)) ** 0.5, tensors)
    spreads = [spread(column.sqrt().numpy(), tensors) or 0.0 for column in squares.T]
    return {
        "mean": {symbol: row.tolist() for symbol, row in zip(symbols, means, strict=True)},
        "scale": scale,
        "irrep_scales": spreads if scale is not None else [1.0] * irreps.num_irreps,
    }


def _rows(
    target: TensorTarget, frames: Sequence[Frame], numbers: Sequence[int], say: Callable[[str], None]
) -> tuple[Array, Array]:
    """Return every tensor that is known, ``[K, 3, ...]``, and how it is made of means of elements, ``[K, S]``."""
    tensors, factors, sources = [], [], []
    for frame, value in known_labels(frames, target.name, (3,) * len(target.irreps.indices), per_atom=target.per_atom):
        counts = composition(frame, numbers)
        if target.per_atom:
            known = ~np.isnan(value.reshape(len(frame), -1)).any(axis=1)
            tensors.append(value[known])
            factors.append((frame.species[known, None] == np.array(numbers)).astype(np.float64))
        else:
            tensors.append(value[None])
            factors.append(counts[None] if target.extensive else counts[None] / counts.sum())
        sources += [frame.source] * len(tensors[-1])
    joined = np.concatenate(tensors)
    _check_symmetry(target, joined, sources, say)
    return joined, np.concatenate(factors)


def _check_symmetry(target: TensorTarget, tensors: Array, sources: Sequence[str], say: Callable[[str], None]) -> None:
    """Say how much of the tensors their formula forbids, and raise if that is no rounding."""
    data = torch.from_numpy(tensors)
    forbidden = (data - target.irreps.to_cartesian(target.irreps.from_cartesian(data))).flatten(1).square().mean(dim=1)
    share = float((forbidden.mean() / data.square().mean()).sqrt()) if bool(data.any()) else 0.0
    worst = int(forbidden.argmax())
    most = f"{forbidden[worst].sqrt():.2g} {target.unit}".rstrip()
    found = f"{share:.1e} of their root mean square, most in {sources[worst]} ({most})"
    if share > _MOST_FORBIDDEN:
        raise DataError(
            f"target {target.name!r} needs tensors with the symmetries of its formula {target.formula!r}; these forbid "
            f"{found}; give the formula that the data have ({target.irreps.indices!r} has no symmetries)"
        )
    if share > _SAID:
        say(f"note: target {target.name!r}: formula {target.formula!r} projects away {found}")
