"""A report on made-up numbers that look like water: errors of a few per cent, dynamics that keeps its energy."""

from dataclasses import replace

import numpy as np
import pytest

from irrepnet.report import (
    CheckRow,
    CommitteeSpread,
    Dynamics,
    Parity,
    RadialDistribution,
    ReportData,
    StructureErrors,
    TargetParity,
    TorsionScan,
    render_report,
)

WATER = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])


@pytest.fixture(scope="session")
def water_report() -> ReportData:
    rng = np.random.default_rng(0)
    checks = [
        CheckRow("rotation, float64", 3.1e-15, 1e-10, "of the rms", True),
        CheckRow("forces = -dE/dpos", 2.4e-9, 1e-6, "eV/Å", True),
    ]
    return ReportData(
        title="Water, 64 molecules",
        summary="A force field with 8 432 weights learned from 90 frames.",
        history=[_row(step) for step in range(0, 2001, 100)],
        parity=_parity(rng),
        rdfs=[_rdf("O-O", 2.75, 2.6), _rdf("O-H", 0.97, 25.0), _rdf("H-H", 1.55, 3.0)],
        dynamics=_dynamics(rng),
        checks=checks,
        edges_per_step=9000.0,
        structures=[water_structure()],
        config={
            "model": {"cutoff": 4.0, "irreps_hidden": "16x0e+16x1o"},
            "training": {"minutes": 8.0, "steps": None, "loss": {"energy": 1.0, "forces": 10.0}},
        },
        versions={"irrepnet": "0.1.0", "torch": "2.13.0"},
        backend="fused: the op library is loaded",
        radial="radial: tables of 512 knots",
    )


@pytest.fixture(scope="session")
def water_html(water_report) -> str:
    """The report as a page, drawn once."""
    return render_report(water_report)


@pytest.fixture(scope="session")
def full_report(water_report) -> ReportData:
    """With the parts that few runs have."""
    rng = np.random.default_rng(1)
    matrices = rng.standard_normal((20, 3, 3))
    matrices += matrices.transpose(0, 2, 1)
    spread = rng.uniform(0.01, 0.1, 200)
    angles = np.arange(0, 361, 15.0)
    return replace(
        water_report,
        targets=[
            TargetParity(
                "gap", "eV", np.arange(20.0), np.arange(20.0) + 0.1, sources=[f"q.npz frame {k}" for k in range(20)]
            ),
            TargetParity("alpha", "a0^3", matrices, 1.1 * matrices, "ij=ji"),
        ],
        torsions=[
            TorsionScan("a.npz frame 0", (2, 0, 1, 5), ("H", "C", "C", "H"), angles, [np.cos(np.radians(3 * angles))])
        ],
        committee=CommitteeSpread(spread, 2 * spread, num_models=4),
    )


def water_structure(**changes) -> StructureErrors:
    """A water molecule whose second hydrogen has an error of 50 meV/Å."""
    forces = np.array([[0.0, 0.5, 0.0], [1.0, 0.0, 0.0], [-1.0, -0.5, 0.0]])
    error = np.array([[0.0, 0.0, 0.0], [0.01, 0.0, 0.0], [0.03, 0.04, 0.0]])
    fields = {"source": "/data/w.npz frame 7", "species": [8, 1, 1], "pos": WATER, "energy_error": -0.5}
    return StructureErrors(**({**fields, "forces_ref": forces, "forces_pred": forces + error} | changes))


def _row(step: int) -> dict[str, float | None]:
    force = 880 / (1 + step / 30) + 40
    return {
        "step": step,
        "epoch": step / 90,
        "seconds": step * 0.24,
        "lr": 0.01 * np.cos(step / 2000 * 1.5) + 1e-5,
        "train_loss": None if step == 0 else (force * 0.9e-3) ** 2,
        "valid_loss": (force * 1e-3) ** 2,
        "energy_mae": force / 80,
        "energy_rmse": force / 60,
        "forces_mae": force * 0.7,
        "forces_rmse": force,
        "train_forces_rmse": None if step == 0 else force * 0.9,
    }


def _parity(rng: np.random.Generator) -> Parity:
    species = np.tile([8, 1, 1], 64 * 10)
    forces = rng.standard_normal((len(species), 3)) * np.where(species == 8, 1.1, 0.75)[:, None]
    energy = -51.3 + 0.004 * rng.standard_normal(10)
    return Parity(
        energy_ref=energy,
        energy_pred=energy + 0.0006 * rng.standard_normal(10),
        forces_ref=forces,
        forces_pred=forces + 0.045 * rng.standard_normal(forces.shape),
        species=species,
        atom_counts=[192] * 10,
        sources=[f"water.npz frame {k}" for k in range(10)],
        groups=["cold"] * 5 + ["warm"] * 5,
    )


def _rdf(pair: str, peak: float, height: float) -> RadialDistribution:
    r = (np.arange(120) + 0.5) * 0.05
    g = height * np.exp(-(((r - peak) / 0.1) ** 2)) + (r > 2.2) * (1 + 0.4 * np.exp(-(r - 2.2)) * np.cos(4 * (r - 2.8)))
    return RadialDistribution(pair, r, g_md=1.02 * g, g_ref=g)


def _dynamics(rng: np.random.Generator) -> Dynamics:
    time = np.arange(0, 1000.5, 0.5)
    swing = 2.5 * np.sin(time / 90) * np.exp(-time / 800) + 0.15 * rng.standard_normal(len(time))
    return Dynamics(
        time=time,
        potential_energy=-9849.6 + swing + 0.004 * np.sin(time / 3) + 5e-5 * time,
        kinetic_energy=7.4 - swing,
        temperature=300 * (7.4 - swing) / 7.4,
        num_atoms=192,
    )
