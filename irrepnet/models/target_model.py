"""What models of named targets have in common: the way from a graph to features, and what a readout is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from irrepnet.data.graph import Graph
from irrepnet.errors import IrrepsError
from irrepnet.models.trunk import Trunk
from irrepnet.models.trunk_config import DTYPES, TrunkConfig
from irrepnet.nn.pool import ScalarReadout
from irrepnet.nn.radial_network import RadialNetwork
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps

__all__ = ["Atoms", "Readout", "TargetModel", "small_readout", "start_small"]

# A readout that starts at 1/30 of its usual size starts near the shift, also where the trunk was not calibrated and
# scalars after three layers are of size 15. Dipoles and second moments learn faster so than from larger readouts.
_START = 0.03


class Atoms(NamedTuple):
    """What a readout sees of a batch of structures.

    Example:
        >>> Atoms._fields
        ('feats', 'vacuum', 'species', 'graph')
    """

    feats: Tensor  # [N, D] after the last layer
    vacuum: Tensor  # [S, D] those of an isolated atom of each species
    species: Tensor  # [N] place of each atom's element among the S that the model knows
    graph: Graph


class Readout(nn.Module):
    """The way from features to one target; its constants are float64 whatever the dtype of its weights.

    Args:
        **constants: Numbers by name; they become buffers.

    Example:
        >>> readout = Readout(shift=-2000.0001).float()
        >>> readout.shift
        tensor(-2000.0001, dtype=torch.float64)
    """

    def __init__(self, **constants: float | Sequence[Any]) -> None:
        super().__init__()
        self._constants = constants
        self._renew("cpu")

    def _renew(self, device: str | torch.device) -> None:
        for name, values in self._constants.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64, device=device), persistent=False)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Readout:
        super()._apply(fn, recurse)
        # From the numbers each time: cast to float32 and back, a shift of -2,000 eV would be off by 0.1 meV.
        buffer = next(self.buffers(), None)
        if buffer is not None:
            self._renew(buffer.device)
        return self


class TargetModel(nn.Module):
    """A trunk and a readout for each target.

    Args:
        config: With ``targets``, in the order of the readouts.
        wanted: For each target, by its name, the irreps that its readout reads.

    Raises:
        IrrepsError: If the last layer cannot have these irreps; the message says what to set.
    """

    config: Any

    def __init__(self, config: TrunkConfig, wanted: Mapping[str, Irreps]) -> None:
        super().__init__()
        self.config = config
        self.metadata: dict[str, Any] = {}
        _require_reachable(config, wanted)
        self.trunk = Trunk(config, Irreps([entry for irreps in wanted.values() for entry in irreps]))
        self.readouts = nn.ModuleList()

    @property
    def atomic_numbers(self) -> tuple[int, ...]:
        """Of the elements that it knows, in the order of ``config.species``."""
        return self.trunk.atomic_numbers

    @property
    def irreps_layers(self) -> list[Irreps]:
        """Irreps of the features after each layer."""
        return self.trunk.irreps_layers

    @property
    def cutoff(self) -> float:
        """Distance up to which a graph has to have edges, Å."""
        return self.trunk.cutoff

    @property
    def radial_networks(self) -> list[RadialNetwork]:
        """That of each layer."""
        return self.trunk.radial_networks

    @property
    def dtype(self) -> torch.dtype:
        """Of the network; results are float64."""
        return self.trunk.dtype

    def forward(self, graph: Graph) -> dict[str, Tensor]:
        """Return each target by its name, float64; a graph of gradients is kept where PyTorch keeps one.

        Args:
            graph: Positions and cell in float32 or float64: edge vectors are formed in their dtype, then cast.

        Raises:
            DataError: If an element is unknown, a position is not finite, two atoms coincide, a target needs open
                structures and one is periodic, or the graph is on another device.
            DtypeError: If the model is neither float32 nor float64, or autocast is on.
        """
        self.trunk.check(graph)
        species = self.trunk.species(graph)
        isolated = torch.arange(len(self.atomic_numbers), device=species.device)  # one atom of each, without edges
        feats = self.trunk(torch.cat([species, isolated]), graph.edge_index, self.trunk.edge_vectors(graph))[-1]
        atoms = Atoms(feats[: len(species)], feats[len(species) :], species, graph)
        return {target.name: readout(atoms) for target, readout in zip(self.config.targets, self.readouts, strict=True)}

    def _finish(self, readouts: Iterable[Readout]) -> None:
        """Take the readouts, and the dtype of the configuration."""
        self.readouts.extend(readouts)
        self.to(DTYPES[self.config.dtype])


def small_readout(irreps_in: Irreps, hidden: Sequence[int]) -> ScalarReadout:
    """Return a readout of one scalar that is small before it has learned.

    Example:
        >>> small_readout(Irreps("4x0e"), (8,))
        ScalarReadout(4x0e -> 8x0e -> 1x0e | 40 weights)
    """
    readout = ScalarReadout(irreps_in, hidden=hidden)
    start_small(readout.network[-1])
    return readout


def start_small(linear: nn.Module) -> None:
    """Make the weights of a last linear map small, in place."""
    with torch.no_grad():
        for weight in linear.parameters():
            weight.mul_(_START)


def _require_reachable(config: TrunkConfig, wanted: Mapping[str, Irreps]) -> None:
    """Raise unless the features after the last layer can have the irreps that every target reads."""
    hidden = {ir for _, ir in Irreps(config.irreps_hidden)}
    found = _reached(hidden, config.lmax, config.num_layers)
    for name, irreps in wanted.items():
        needed = {ir for mul, ir in irreps if mul}
        if missing := sorted(needed - found):
            raise IrrepsError(
                f"target {name!r} needs {_listed(needed)} after the last layer; irreps_hidden = "
                f"'{config.irreps_hidden}' with lmax = {config.lmax} and num_layers = {config.num_layers} makes "
                f"{_listed(found)}, without {_listed(missing)}; {_advice(config, hidden, needed)}"
            )


def _reached(hidden: set[Irrep], lmax: int, num_layers: int) -> set[Irrep]:
    """Return the irreps of the hidden ones that layers can make of scalars."""
    edge = [ir for _, ir in Irreps.spherical_harmonics(lmax)]
    reached = {Irrep("0e")}
    for _ in range(num_layers):
        reached = {c for a in reached for b in edge for c in a * b} & hidden
    return reached


def _advice(config: TrunkConfig, hidden: set[Irrep], needed: set[Irrep]) -> str:
    """Say the smallest change of the configuration that makes the needed irreps: lmax first, then more irreps."""
    highest = max(config.lmax, *(ir.l for ir in needed))
    detours = ["", "1o", "1o+1e", "1o+2e", "1o+2e+2o"]  # what leads to irreps that are not those of a harmonic
    for more, detour, lmax in itertools.product(range(3), detours, range(config.lmax, highest + 1)):
        irreps = hidden | needed | {ir for _, ir in Irreps(detour)}
        layers = config.num_layers + more
        if needed <= _reached(irreps, lmax, layers):
            mul = min(mul for mul, _ in Irreps(config.irreps_hidden))
            added = [f"{mul}x{ir}" for ir in sorted(irreps - hidden)]
            changes = [f"add {'+'.join(added)} to irreps_hidden"] if added else []
            changes += [f"set lmax: {lmax}"] if lmax > config.lmax else []
            changes += [f"set num_layers: {layers}"] if more else []
            return ", ".join(changes)
    return "add irreps to irreps_hidden and raise lmax and num_layers"


def _listed(irreps: Iterable[Irrep]) -> str:
    return ", ".join(map(str, sorted(irreps)))
