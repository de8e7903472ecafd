"""Several models as one: the mean of what they say, and how far they differ."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from irrepnet.data.elements import SYMBOLS
from irrepnet.data.graph import Graph
from irrepnet.errors import ConfigError, DataError
from irrepnet.models.checkpoint import load_model
from irrepnet.models.force_field import Prediction
from irrepnet.models.registry import kind_of
from irrepnet.models.trunk import edge_vectors

__all__ = ["SPREAD", "Committee", "CommitteePrediction", "Factor", "MemberFile"]

#: Ends the names of spreads: ``energy_spread``.
SPREAD = "_spread"
# What makes a target another one; its scale and shift are determined by each member's training frames.
_IDENTITY = ("name", "unit", "readout", "norm", "formula", "level", "extensive")


class CommitteePrediction(NamedTuple):
    """What a committee of force fields says of a graph, in float64.

    Example:
        >>> CommitteePrediction._fields[3:]
        ('energy_spread', 'forces_spread', 'stress_spread')
    """

    energy: Tensor  # [B] eV
    forces: Tensor  # [N, 3] eV/Å
    stress: Tensor | None  # [B, 3, 3] eV/Å^3
    energy_spread: Tensor  # [B] eV
    forces_spread: Tensor  # [N] eV/Å
    stress_spread: Tensor | None  # [B] eV/Å^3


class Factor(NamedTuple):
    """What spreads of a label are multiplied by to be errors, and how many known entries say so.

    Example:
        >>> Factor(2.5, 100).factor
        2.5
    """

    factor: float
    entries: int


class MemberFile(NamedTuple):
    """The file that a member was read from, and the SHA-256 that it had.

    Example:
        >>> MemberFile(Path("a.model"), "e3b0").path.name
        'a.model'
    """

    path: Path
    sha256: str


class Committee(nn.Module):
    r"""Predict the mean of several models, and their spread: the standard deviation between the members.

    .. math:: \bar y = \frac{1}{M} \sum_m y_m, \qquad
              s = \lambda \sqrt{\frac{1}{M - 1} \sum_m \lVert y_m - \bar y \rVert^2}

    There is one spread for each structure, or for each atom: the norm runs over the components of a force, a stress or
    a tensor. The mean of the forces is the exact gradient of the mean energy. The factor :math:`\lambda` is 1 until
    :func:`~irrepnet.deploy.calibrate` has compared spreads with errors.

    Members may differ in everything but their kind and targets. The committee knows the elements that all members know,
    and its graphs reach as far as the largest cutoff; each member sees its own part.

    Args:
        models: Two or more models of one kind, or paths of ``*.model`` files. Models are used themselves, not copies;
            they are put into evaluation mode.
        device: Where they run.
        calibration: Factors by label.

    Attributes:
        kind: Of the members, a key of ``irrepnet.models.MODELS``.
        members: The models.
        files: Per member the file that it was read from, or None.
        calibration: Factors by label.

    Raises:
        ConfigError: If there are fewer than two members, two are the same, or they differ in kind or targets or have no
            element in common.
        CheckpointError: If a file is not a sound model file.

    Reference: Schran, Brezina, Marsalek 2020, J. Chem. Phys. 153, 104105 (arXiv:2006.01541).

    Example:
        >>> from irrepnet.data import Frame, build_graph
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> config = ForceFieldConfig(species=("H",), irreps_hidden="4x0e+4x1o")
        >>> committee = Committee([ForceField(config) for _ in range(4)])
        >>> hydrogen = Frame(species=[1, 1], pos=[[0, 0, 0], [0.74, 0, 0]])
        >>> prediction = committee(build_graph(hydrogen, committee.cutoff))
        >>> prediction.energy_spread.shape, prediction.forces_spread.shape
        (torch.Size([1]), torch.Size([2]))
    """

    def __init__(
        self,
        models: Sequence[nn.Module | str | os.PathLike[str]],
        *,
        device: str | torch.device = "cpu",
        calibration: Mapping[str, Factor] | None = None,
    ):
        super().__init__()
        if len(models) < 2:
            raise ConfigError(f"a committee needs two models or more; found {len(models)}; train with other seeds")
        members, files = zip(*(_read(model) for model in models), strict=True)
        _refuse_twins(members, files)
        self.kind = _common_kind(members)
        self.targets = _common_targets(members)
        self.atomic_numbers = _common_elements(members)
        self.members = nn.ModuleList(members)
        self.files: tuple[MemberFile | None, ...] = files
        self.calibration = dict(calibration or {})
        self.to(device).eval()

    @property
    def cutoff(self) -> float:
        """Distance up to which a graph has to have edges, Å: the largest of the members' cutoffs."""
        return max(member.cutoff for member in self.members)  # type: ignore[type-var, return-value]

    def forward(self, graph: Graph, *, compute_stress: bool = False) -> CommitteePrediction | dict[str, Tensor]:
        """Return means and spreads.

        Args:
            graph: As the members take it.
            compute_stress: Of every structure; for force fields.

        Returns:
            A :class:`CommitteePrediction` of force fields; of other models the targets by name, and their spreads as
            ``NAME_spread``, shape ``[B]`` or ``[N]``.

        Raises:
            DataError: If not all members know an element; and as the members do.
            DtypeError: As the members do.
        """
        self._check_elements(graph)
        cutoffs: list[Any] = [member.cutoff for member in self.members]
        parts = {cutoff: _within(graph, cutoff) for cutoff in set(cutoffs)}
        said = [
            _labels(member, parts[cutoff], compute_stress) for member, cutoff in zip(self.members, cutoffs, strict=True)
        ]
        labels = {}
        for name in said[0]:
            values = torch.stack([labels_of_member[name] for labels_of_member in said])  # [M, B or N, ...]
            spread = values.std(dim=0, correction=1)
            labels[name] = values.mean(dim=0)
            labels[name + SPREAD] = spread.flatten(1).norm(dim=1) if spread.dim() > 1 else spread
            if name in self.calibration:
                labels[name + SPREAD] = labels[name + SPREAD] * self.calibration[name].factor
        if self.kind != "force_field":
            return labels
        return CommitteePrediction(*(labels.get(name) for name in CommitteePrediction._fields))  # type: ignore[arg-type]

    def _check_elements(self, graph: Graph) -> None:
        known = torch.tensor(self.atomic_numbers, device=graph.species.device)
        unknown = (~torch.isin(graph.species, known)).nonzero().flatten()
        if len(unknown):
            atom = int(unknown[0])
            number = int(graph.species[atom])
            name = SYMBOLS[number] if 0 < number < len(SYMBOLS) else f"atomic number {number}"
            raise DataError(
                f"all members of the committee know the elements {_symbols(self.atomic_numbers)}; found {name} at atom "
                f"{atom}; leave out the members that do not know it, or train them with it"
            )


def _read(model: nn.Module | str | os.PathLike[str]) -> tuple[nn.Module, MemberFile | None]:
    if isinstance(model, nn.Module):
        return model, None
    loaded = load_model(model)  # it says best what is wrong with a file
    path = Path(os.path.abspath(model))
    return loaded, MemberFile(path, hashlib.sha256(path.read_bytes()).hexdigest())


def _refuse_twins(members: Sequence[nn.Module], files: Sequence[MemberFile | None]) -> None:
    """Raise if a model is there twice: it would agree with itself."""
    seen: dict[object, int] = {}
    for place, (member, file) in enumerate(zip(members, files, strict=True)):
        key = id(member) if file is None else file.sha256
        if key in seen:
            name = "" if file is None else f" ({file.path})"
            raise ConfigError(
                f"a committee needs different models; found members {seen[key]} and {place} to be the same{name}; "
                "train with another seed"
            )
        seen[key] = place


def _common_kind(members: Sequence[nn.Module]) -> str:
    kinds = [kind_of(member) for member in members]
    if len(set(kinds)) > 1:
        raise ConfigError(f"a committee needs models of one kind; found {', '.join(kinds)}; make one for each kind")
    return kinds[0]


def _common_targets(members: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    """Return what the targets are, the same for all members; nothing for force fields."""
    every = [
        [target.model_dump(include=set(_IDENTITY)) for target in getattr(member.config, "targets", ())]
        for member in members
    ]
    for place, targets in enumerate(every):
        if targets != every[0]:
            first, mine = next(pair for pair in itertools.zip_longest(every[0], targets) if pair[0] != pair[1])
            raise ConfigError(
                "a committee needs members with the same targets in the same order; found "
                f"{first or 'no more'} in member 0 and {mine or 'no more'} in member {place}; leave one out"
            )
    return tuple(every[0])


def _common_elements(members: Sequence[Any]) -> tuple[int, ...]:
    common = tuple(n for n in members[0].atomic_numbers if all(n in member.atomic_numbers for member in members))
    if not common:
        known = "; ".join(_symbols(member.atomic_numbers) for member in members)
        raise ConfigError(f"a committee needs an element that all members know; found the elements {known}")
    return common


def _symbols(numbers: Sequence[int]) -> str:
    return ", ".join(SYMBOLS[number] for number in numbers)


def _within(graph: Graph, cutoff: float) -> Graph:
    """Return the graph with the edges that a member of this cutoff is to see."""
    near = (edge_vectors(graph).square().sum(dim=1) < cutoff**2).nonzero().flatten()
    if len(near) == graph.num_edges:
        return graph
    return replace(
        graph,
        edge_index=graph.edge_index.index_select(1, near),
        edge_shift=graph.edge_shift.index_select(0, near),
    )


def _labels(model: Any, graph: Graph, compute_stress: bool) -> dict[str, Tensor]:
    said = model(graph, compute_stress=True) if compute_stress else model(graph)
    if isinstance(said, Prediction):
        return {name: value for name, value in said._asdict().items() if value is not None}
    return dict(said)
