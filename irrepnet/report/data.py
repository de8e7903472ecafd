"""What a report is made of: plain numbers and words, so that any room below can have its results shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from irrepnet.errors import ShapeError
from irrepnet.report.arrays import check_shapes, freeze_arrays
from irrepnet.report.committee import CommitteeSpread
from irrepnet.report.structure_errors import StructureErrors
from irrepnet.report.targets import TargetParity
from irrepnet.report.torsions import TorsionScan

__all__ = ["CheckRow", "Dynamics", "Parity", "RadialDistribution", "ReportData"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Parity:
    """Reference labels of the test frames and what a force field predicts for them; NaN: not known.

    Args:
        energy_ref: Energy per atom of each frame, shape ``[F]``, eV/atom.
        energy_pred: The same, predicted.
        forces_ref: Forces on all atoms of all frames, shape ``[n, 3]``, eV/Å.
        forces_pred: The same, predicted.
        species: Atomic number of each of the n atoms, shape ``[n]``.
        stress_ref: Stress of each frame, shape ``[F, 3, 3]``, eV/Å^3; None if not known.
        stress_pred: The same, predicted.
        atom_counts: Atoms of each frame, shape ``[F]``, together n; None if not known: then nothing is said of single
            frames.
        sources: Where each frame is from, F texts; empty if not known.
        groups: The trajectory of each frame, F texts or None; empty if not known.

    Raises:
        ShapeError: If reference and prediction do not fit each other.

    Example:
        >>> parity = Parity([-1.0], [-1.1], [[0.0, 0.0, 1.0]], [[0.0, 0.0, 0.9]], [8])
        >>> parity.forces_ref.shape
        (1, 3)
    """

    energy_ref: Array
    energy_pred: Array
    forces_ref: Array
    forces_pred: Array
    species: NDArray[np.int64]
    stress_ref: Array | None = None
    stress_pred: Array | None = None
    atom_counts: NDArray[np.int64] | None = None
    sources: Sequence[str] = ()
    groups: Sequence[str | None] = ()

    def __post_init__(self) -> None:
        freeze_arrays(self, ("energy_ref", "energy_pred", "forces_ref", "forces_pred", "stress_ref", "stress_pred"))
        object.__setattr__(self, "species", np.asarray(self.species, dtype=np.int64))
        num_frames, num_atoms = len(self.energy_ref), len(self.species)
        check_shapes(self, ("energy_ref", "energy_pred"), (num_frames,))
        check_shapes(self, ("forces_ref", "forces_pred"), (num_atoms, 3))
        if self.stress_ref is not None or self.stress_pred is not None:
            check_shapes(self, ("stress_ref", "stress_pred"), (num_frames, 3, 3))
        if self.atom_counts is not None:
            counts = np.asarray(self.atom_counts, dtype=np.int64)
            object.__setattr__(self, "atom_counts", counts)
            check_shapes(self, ("atom_counts",), (num_frames,))
            if num_atoms not in (0, counts.sum()):
                raise ShapeError(f"Parity needs atom_counts that add up to {num_atoms} atoms; found {counts.sum()}")
        for name in ("sources", "groups"):
            if len(getattr(self, name)) not in (0, num_frames):
                raise ShapeError(f"Parity needs {num_frames} {name} or none; found {len(getattr(self, name))}")


@dataclass(frozen=True, eq=False)
class RadialDistribution:
    """How much denser than on average one species is around another, in dynamics and in the reference frames.

    Args:
        pair: The two elements, ``"O-H"``.
        r: Bin centres, shape ``[K]``, Å.
        g_md: From the model's dynamics, shape ``[K]``, no unit.
        g_ref: From the reference frames, shape ``[K]``, no unit.

    Raises:
        ShapeError: If the three arrays differ in shape.

    Example:
        >>> RadialDistribution("O-O", r=[2.75], g_md=[2.6], g_ref=[2.5]).g_md
        array([2.6])
    """

    pair: str
    r: Array
    g_md: Array
    g_ref: Array

    def __post_init__(self) -> None:
        freeze_arrays(self, ("r", "g_md", "g_ref"))
        check_shapes(self, ("r", "g_md", "g_ref"), (len(self.r),))


@dataclass(frozen=True, eq=False)
class Dynamics:
    """A run of molecular dynamics, at constant energy or with a thermostat.

    Args:
        time: Shape ``[S]``, fs, rising.
        potential_energy: Shape ``[S]``, eV.
        kinetic_energy: Shape ``[S]``, eV.
        temperature: Shape ``[S]``, K.
        num_atoms: Number of atoms, for energies per atom.
        stopped: Why the guard stopped the run; None if it reached its end.
        ensemble: ``"nve"``: constant energy; ``"nvt"``: a thermostat.
        target_temperature: Of the thermostat, K; None without.

    Raises:
        ShapeError: If the arrays differ in shape.

    Example:
        >>> md = Dynamics([0.0, 0.5], [-1.0, -1.1], [0.1, 0.2], [300.0, 310.0], num_atoms=3)
        >>> md.total_energy
        array([-0.9, -0.9])
    """

    time: Array
    potential_energy: Array
    kinetic_energy: Array
    temperature: Array
    num_atoms: int
    stopped: str | None = None
    ensemble: str = "nve"
    target_temperature: float | None = None

    def __post_init__(self) -> None:
        names = ("time", "potential_energy", "kinetic_energy", "temperature")
        freeze_arrays(self, names)
        check_shapes(self, names, (len(self.time),))

    @property
    def total_energy(self) -> Array:
        """Potential and kinetic energy, shape ``[S]``, eV."""
        return self.potential_energy + self.kinetic_energy

    @property
    def keeps_energy(self) -> bool:
        """Whether the total energy ought to stay as it is: true without a thermostat."""
        return self.ensemble == "nve"


class CheckRow(NamedTuple):
    """One promise of a model and how well it was kept.

    Example:
        >>> CheckRow("rotation, float64", 3e-15, 1e-10, "of the rms", passed=True).unit
        'of the rms'
    """

    name: str
    value: float
    tolerance: float
    unit: str
    passed: bool


@dataclass(frozen=True, eq=False)
class ReportData:
    """All that a report shows. Whatever is left out is said to be missing, with the reason if there is one.

    Args:
        title: Heading.
        summary: One or two sentences: which model learned what from how many frames.
        history: One row per validation, the lines of ``log.jsonl``: ``step``, ``epoch``, ``seconds`` (wall time of
            training), ``lr``, ``train_loss``, ``valid_loss``, ``energy_mae``, ``energy_rmse`` (validation,
            meV/atom), ``forces_mae``, ``forces_rmse`` (validation, meV/Å), and the last four with ``train_`` before
            their name (over the steps since the last row); ``weights``: label -> weight in the loss. A key may be
            absent, a value None. For other targets ``NAME_mae`` and ``NAME_rmse``.
        edges_per_step: Mean number of edges in a training batch, for the speed; None if not known.
        parity: Labels and predictions of the test frames, of a force field.
        targets: Labels and predictions of the test frames, of a model of properties or tensors.
        structures: The worst of the test frames with their atoms, the worst first.
        rdfs: Radial distribution functions, one per pair of elements.
        dynamics: The run of molecular dynamics.
        torsions: Energy profiles of rotatable bonds.
        committee: How well the spread of a committee of models foretells their errors.
        checks: Promises kept or broken.
        config: The configuration, nested dicts and lists of plain values.
        versions: Package -> version.
        backend: One sentence: which backend was active and why.
        radial: One sentence: how the radial functions were computed, and how exactly.
        missing: Section (``"history"``, ``"parity"``, ``"structures"``, ``"rdfs"``, ``"dynamics"``, ``"torsions"``,
            ``"committee"``, ``"checks"``) -> why it is not there.
        findings: Sentences about what looked odd in the frames, those about leaks first.
        tested_on: ``"test"``, or ``"validation"`` where there were no other frames: the best weights were chosen on
            these, so their errors flatter the model.

    Example:
        >>> data = ReportData("Water", history=[{"step": 10, "forces_rmse": 50.0}])
        >>> data.dynamics is None, data.checks
        (True, ())
    """

    title: str
    summary: str = ""
    history: Sequence[Mapping[str, Any]] = ()
    edges_per_step: float | None = None
    parity: Parity | None = None
    targets: Sequence[TargetParity] = ()
    structures: Sequence[StructureErrors] = ()
    rdfs: Sequence[RadialDistribution] = ()
    dynamics: Dynamics | None = None
    torsions: Sequence[TorsionScan] = ()
    committee: CommitteeSpread | None = None
    checks: Sequence[CheckRow] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    backend: str = ""
    radial: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)
    findings: Sequence[str] = ()
    tested_on: str = "test"
