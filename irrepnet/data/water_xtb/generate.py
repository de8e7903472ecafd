"""Make the shipped water set: 28 independent boxes of 64 H2O, six frames each, energies and forces by GFN1-xTB.

One more frame of each training start has short contacts that a liquid never visits: a model that has not seen how steep
they are may invent a minimum there, and dynamics finds it. Eight molecules are pushed onto a neighbour each, until one
pair of their atoms is at a drawn distance.

Each start is sampled by the flexible classical model below (random orientations on a lattice, melted, then kept at the
start's own temperature). Twice per start the box passes to GFN1-xTB: two damped steps down its forces, then a few steps
of hot Langevin dynamics, of which every second one is kept. The hydrogen mass is raised, which allows 2 fs steps and
does not change what a classical system visits in equilibrium.

The classical parameters are q-SPC/Fw (Paesani et al. 2006, J. Chem. Phys. 125, 184507) force-matched to GFN1-xTB by
``fit`` below, so that bonds, angles and hydrogen bonds are near xTB's own before xTB is ever called.

Usage::

    pip install tblite ase scipy
    python generate.py --parts PARTS          # makes what is not in PARTS yet, writes train.npz and heldout.npz here
    python generate.py --fit                  # prints the force-matched parameters

About 470 evaluations of 3-4 CPU-seconds. Reference for GFN1-xTB: Grimme, Bannwarth, Shushkov 2017,
J. Chem. Theory Comput. 13, 1989.
"""

# mypy: disable-error-code="import-untyped"
from __future__ import annotations

import argparse
import functools
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float64]

NUM_MOLECULES = 64
BOX = 12.42  # Å, 0.999 g/cm^3
NUM_STARTS = 28
HELDOUT_STARTS = (4, 9, 14, 19, 24)
SEED = 20251121
ACCURACY = 0.1  # tblite's: ten times tighter than its default
NUM_CONTACTS = 8  # pairs of molecules that are pushed together in a frame of short contacts
# From where forces are a few eV/Å to where the liquid begins, Å.
CONTACTS = {"O-O": (1.9, 2.5), "O-H": (1.25, 1.65), "H-H": (1.0, 1.6)}

SPECIES = np.tile([8, 1, 1], NUM_MOLECULES)
OXYGEN = np.arange(0, 3 * NUM_MOLECULES, 3)
MASS = np.where(SPECIES == 8, 15.999, 4.0)[:, None]  # amu; heavy hydrogen, see above
BOLTZMANN = 8.617333262e-5  # eV/K, CODATA 2018
ACCELERATION = 9.648533212e-3  # (eV/Å)/amu in Å/fs^2, CODATA 2018
COULOMB = 14.39964548  # e^2/(4 pi eps0) in eV Å, CODATA 2018
FRICTION = 0.01  # 1/fs
DAMPING, REACH = 0.2, 6.2  # 1/Å, Å: damped shifted Coulomb, Fennell & Gezelter 2006, J. Chem. Phys. 124, 234104


class Water(NamedTuple):
    """The flexible model: Morse bonds, harmonic angle, Lennard-Jones on O, charges (H has half of -O's)."""

    depth: float = 4.90  # eV
    steepness: float = 2.16  # 1/Å; depth and steepness give q-SPC/Fw's 45.9 eV/Å^2
    bond: float = 1.000  # Å
    bending: float = 3.29  # eV/rad^2
    angle: float = 1.9548  # rad
    epsilon: float = 0.00674  # eV
    sigma: float = 3.165  # Å
    charge: float = 0.84  # e


# Printed by ``--fit``: leaves 0.115 of 0.964 eV/Å of the xTB forces unexplained.
MATCHED = Water(3.802, 2.4865, 0.96052, 2.871, 1.8800, 0.00936, 3.050, 0.6450)


@functools.cache
def pairs() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return all atom pairs of different molecules."""
    i, j = np.triu_indices(3 * NUM_MOLECULES, k=1)
    other = i // 3 != j // 3
    return i[other], j[other]


def sum_by_atom(index: NDArray[np.int64], values: Array) -> Array:
    """Add up rows ``values [E, 3]`` by atom index."""
    return np.stack([np.bincount(index, values[:, k], 3 * NUM_MOLECULES) for k in range(3)], axis=1)


def classical_forces(pos: Array, water: Water) -> Array:
    """Return the forces of the flexible model, shape ``[N, 3]``, eV/Å."""
    from scipy.special import erfc

    i, j = pairs()
    vec = pos[j] - pos[i]
    vec -= BOX * np.round(vec / BOX)
    dist = np.linalg.norm(vec, axis=1)
    near = dist < REACH
    i, j, vec, dist = i[near], j[near], vec[near], dist[near]
    charge = np.where(SPECIES == 8, -water.charge, water.charge / 2)

    def screened(r: Array | float) -> Array:
        return erfc(DAMPING * r) / r**2 + 2 * DAMPING / np.sqrt(np.pi) * np.exp(-((DAMPING * r) ** 2)) / r

    push = COULOMB * charge[i] * charge[j] * (screened(dist) - screened(REACH))
    both = (i % 3 == 0) & (j % 3 == 0)
    sixth = (water.sigma / dist[both]) ** 6
    push[both] += 24 * water.epsilon * (2 * sixth**2 - sixth) / dist[both]
    pull = (push / dist)[:, None] * vec
    force = sum_by_atom(j, pull) - sum_by_atom(i, pull)

    arms = pos.reshape(-1, 3, 3)[:, 1:] - pos.reshape(-1, 3, 3)[:, :1]  # [molecule, arm, xyz]
    length = np.linalg.norm(arms, axis=2, keepdims=True)
    unit = arms / length
    decay = np.exp(-water.steepness * (length - water.bond))
    on_h = -2 * water.depth * water.steepness * decay * (1 - decay) * unit
    cosine = (unit[:, 0] * unit[:, 1]).sum(1)[:, None, None]
    bend = water.bending * (np.arccos(cosine) - water.angle) / np.sqrt(1 - cosine**2)
    on_h += bend * (unit[:, ::-1] - cosine * unit) / length
    inner = np.concatenate([-on_h.sum(1, keepdims=True), on_h], axis=1)
    return force + inner.reshape(-1, 3)


def langevin(
    pos: Array, velocity: Array, steps: int, dt: float, kelvin: float, forces: Callable[[Array], Array], rng: Generator
) -> Iterator[tuple[Array, Array]]:
    """Run BAOAB Langevin dynamics in steps of ``dt`` fs and yield (pos, force) after every step."""
    force = forces(pos)
    kept = np.exp(-FRICTION * dt)
    noise = np.sqrt((1 - kept**2) * BOLTZMANN * kelvin * ACCELERATION / MASS)
    for _ in range(steps):
        velocity = velocity + 0.5 * dt * ACCELERATION * force / MASS
        pos = pos + 0.5 * dt * velocity
        velocity = kept * velocity + noise * rng.standard_normal(pos.shape)
        pos = (pos + 0.5 * dt * velocity).astype(np.float32).astype(np.float64)  # labels belong to what is stored
        force = forces(pos)
        velocity = velocity + 0.5 * dt * ACCELERATION * force / MASS
        yield pos, force


def thermal_velocity(kelvin: float, rng: Generator) -> Array:
    """Draw Maxwell-Boltzmann velocities without net momentum, shape ``[N, 3]``, Å/fs."""
    velocity = np.sqrt(BOLTZMANN * kelvin * ACCELERATION / MASS) * rng.standard_normal((3 * NUM_MOLECULES, 3))
    return velocity - (MASS * velocity).sum(0) / MASS.sum()


def classical_run(pos: Array, steps: int, kelvin: float, water: Water, rng: Generator) -> Array:
    """Return the positions after ``steps`` of 1 fs of the classical model."""
    run = langevin(pos, thermal_velocity(kelvin, rng), steps, 1.0, kelvin, lambda x: classical_forces(x, water), rng)
    ((last, _),) = deque(run, maxlen=1)
    return last


def lattice(water: Water, rng: Generator) -> Array:
    """Put the molecules on a simple cubic lattice, randomly turned."""
    from scipy.spatial.transform import Rotation

    side = round(NUM_MOLECULES ** (1 / 3))
    sites = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 1, 3) * BOX / side
    half = water.angle / 2
    arms = water.bond * np.array([[0, 0, 0], [np.cos(half), np.sin(half), 0], [np.cos(half), -np.sin(half), 0]])
    turns = Rotation.random(NUM_MOLECULES, random_state=rng).as_matrix()
    return (sites + arms @ turns).reshape(-1, 3)


def make_xtb() -> Callable[[Array], tuple[float, Array]]:
    """Return a function pos -> (energy eV, forces eV/Å) by GFN1-xTB; it restarts from its last charges."""
    from ase import Atoms
    from tblite.ase import TBLite

    atoms = Atoms(SPECIES, cell=[BOX] * 3, pbc=True)
    atoms.calc = TBLite(method="GFN1-xTB", accuracy=ACCURACY, verbosity=0)

    def evaluate(pos: Array) -> tuple[float, Array]:
        atoms.positions = pos
        return atoms.get_potential_energy(), atoms.get_forces()

    return evaluate


def fit(rounds: int = 3, boxes: int = 4) -> Water:
    """Force-match q-SPC/Fw to xTB on boxes that the model itself has sampled, and print what was found."""
    from scipy.optimize import least_squares

    rng, xtb, water = np.random.default_rng(SEED), make_xtb(), Water()
    samples = [lattice(water, rng) for _ in range(boxes)]
    samples = [classical_run(pos, 1500, 600.0, water, rng) for pos in samples]
    seen: list[tuple[Array, Array]] = []

    def residual(scale: Array, start: Water) -> Array:
        trial = Water(*(scale * start))
        return np.concatenate([(classical_forces(pos, trial) - force).ravel() for pos, force in seen])

    for _ in range(rounds):
        samples = [classical_run(pos, 800, 340.0, water, rng) for pos in samples]
        seen += [(pos, xtb(pos)[1]) for pos in samples]
        found = least_squares(residual, np.ones(len(water)), bounds=(0.5, 2.0), args=(water,))
        water = Water(*(float(value) for value in found.x * water))
        left, all_of_it = (np.sqrt(np.mean(np.square(part))) for part in (found.fun, [force for _, force in seen]))
        print(f"left over {left:.3f} of {all_of_it:.3f} eV/Å\n{water}", flush=True)
    return water


def temperature(start: int) -> float:
    """Return the temperature of a start in K: 300 to 400 in even steps."""
    return 300.0 + 100.0 * start / (NUM_STARTS - 1)


def make_start(start: int, parts: Path) -> str:
    """Sample, relax a little, run and label one start; write ``parts/start_NN.npz`` and return a line about it."""
    began, rng, xtb = time.time(), np.random.default_rng([SEED, start]), make_xtb()
    kelvin = temperature(start)
    last_energy = [0.0]

    def forces(pos: Array) -> Array:
        last_energy[0], force = xtb(pos)
        return force

    frames: list[tuple[Array, float, Array]] = []
    sample = classical_run(lattice(MATCHED, rng), 2000, 600.0, MATCHED, rng)
    for _ in range(2):
        sample = classical_run(sample, 1500, kelvin, MATCHED, rng)
        pos = sample
        for _ in range(2):
            pos = pos + np.clip(forces(pos) / 60.0, -0.05, 0.05)  # 60 eV/Å^2: a little stiffer than an OH bond
        # The stiff motions have just been cooled: momenta at 1.5 T bring them back to about T.
        run = langevin(pos, thermal_velocity(1.5 * kelvin, rng), 6, 2.0, kelvin, forces, rng)
        for step, (pos, force) in enumerate(run):
            if step % 2 == 1:
                frames.append((pos, last_energy[0], force))
    write_npz(
        parts / f"start_{start:02d}.npz",
        pos=np.stack([pos for pos, _, _ in frames]).astype(np.float32),
        energy=np.array([energy for _, energy, _ in frames]),
        forces=np.stack([force for _, _, force in frames]).astype(np.float32),
    )
    return f"start {start:2d}: {kelvin:.0f} K, {len(frames)} frames, {time.time() - began:.0f} s"


def make_contacts(start: int, parts: Path) -> str:
    """Push molecules of a start's last frame together and label it; write ``parts/contacts_NN.npz``."""
    began, rng = time.time(), np.random.default_rng([SEED, 1, start])
    pos = np.load(parts / f"start_{start:02d}.npz")["pos"][-1].astype(np.float64)
    moved: set[int] = set()
    for _ in range(10_000):  # far more tries than it takes
        kind = list(CONTACTS)[rng.integers(len(CONTACTS))]
        pushed = push(pos, moved, kind, rng.uniform(*CONTACTS[kind]), rng)
        if pushed is not None:
            pos, molecules = pushed
            moved |= molecules
        if len(moved) == 2 * NUM_CONTACTS:
            break
    pos = pos.astype(np.float32)
    energy, force = make_xtb()(pos.astype(np.float64))
    write_npz(
        parts / f"contacts_{start:02d}.npz", pos=pos[None], energy=[energy], forces=force[None].astype(np.float32)
    )
    return f"contacts {start:2d}: largest force {np.abs(force).max():.1f} eV/Å, {time.time() - began:.0f} s"


def push(pos: Array, moved: set[int], kind: str, target: float, rng: Generator) -> tuple[Array, set[int]] | None:
    """Move one molecule towards a neighbour until the nearest atoms of a kind are ``target`` Å apart.

    None if one of the two has been moved before, or another pair of atoms would come nearer than any drawn distance.
    """
    atoms = [OXYGEN if symbol == "O" else np.flatnonzero(SPECIES == 1) for symbol in kind.split("-")]
    one = rng.choice(atoms[0])
    vec = pos[atoms[1]] - pos[one]
    vec -= BOX * np.round(vec / BOX)
    dist = np.where(atoms[1] // 3 == one // 3, np.inf, np.linalg.norm(vec, axis=1))
    nearest = int(dist.argmin())
    molecules = {int(one // 3), int(atoms[1][nearest] // 3)}
    if molecules & moved:
        return None
    trial = pos.copy()
    molecule = slice(3 * (one // 3), 3 * (one // 3) + 3)
    trial[molecule] += vec[nearest] * (1 - target / dist[nearest])
    i, j = pairs()
    gap = trial[j] - trial[i]
    gap = np.linalg.norm(gap - BOX * np.round(gap / BOX), axis=1)
    number = SPECIES[i] + SPECIES[j]  # 16, 9 and 2 tell the three kinds apart
    floors = {sum({"O": 8, "H": 1}[symbol] for symbol in name.split("-")): low for name, (low, _) in CONTACTS.items()}
    clear = all(gap[number == total].min() >= low - 1e-9 for total, low in floors.items())
    return (trial, molecules) if clear else None


def write_npz(path: Path, **arrays: Any) -> None:
    """Write a compressed npz under its name only when it is whole."""
    draft = path.with_name(path.name + f".{os.getpid()}")
    with open(draft, "wb") as file:
        np.savez_compressed(file, **arrays)
    os.replace(draft, path)


def assemble(parts: Path, out: Path) -> None:
    """Join the finished starts into ``train.npz`` and ``heldout.npz``."""
    done = {int(path.stem[-2:]): np.load(path) for path in sorted(parts.glob("start_??.npz"))}
    contacts = {int(path.stem[-2:]): np.load(path) for path in sorted(parts.glob("contacts_??.npz"))}
    for name, held in (("train", False), ("heldout", True)):
        groups = {f"start {s:02d}, {temperature(s):.0f} K": done[s] for s in done if (s in HELDOUT_STARTS) == held}
        if not held:
            groups |= {f"short contacts {start:02d}": part for start, part in contacts.items()}
        if groups:
            count = [len(part["energy"]) for part in groups.values()]
            arrays = {key: [part[key] for part in groups.values()] for key in ("pos", "energy", "forces")}
            write_npz(
                out / f"{name}.npz",
                **{key: np.concatenate(values) for key, values in arrays.items()},
                species=SPECIES.astype(np.uint8),
                cell=BOX * np.eye(3),
                pbc=np.array([True] * 3),
                group=np.repeat(list(groups), count),
                length_unit="angstrom",
                energy_unit="eV",
                method="GFN1-xTB, Gamma point, tblite accuracy 0.1",
            )


def describe(out: Path) -> None:
    """Print what a user should know of the two files."""
    for name in ("train", "heldout"):
        data = np.load(out / f"{name}.npz")
        mol = data["pos"].astype(np.float64).reshape(-1, NUM_MOLECULES, 3, 3)
        arms = mol[:, :, 1:] - mol[:, :, :1]
        length = np.linalg.norm(arms, axis=-1)
        angle = np.degrees(np.arccos((arms[..., 0, :] * arms[..., 1, :]).sum(-1) / length.prod(-1)))
        gap = mol[:, :, None, 0] - mol[:, None, :, 0]
        gap = np.linalg.norm(gap - BOX * np.round(gap / BOX), axis=-1)[:, ~np.eye(NUM_MOLECULES, dtype=bool)]
        near = (gap < 3.3).sum() / gap.shape[0] / NUM_MOLECULES
        energy, force = data["energy"] / NUM_MOLECULES, data["forces"]
        print(
            f"{name}: {len(energy)} frames, {len(set(data['group']))} groups\n"
            f"  OH length   {length.mean():.4f} +- {length.std():.4f} Å, {length.min():.3f} to {length.max():.3f}\n"
            f"  HOH angle   {angle.mean():.1f} +- {angle.std():.1f} degrees, {angle.min():.1f} to {angle.max():.1f}\n"
            f"  O..O        nearest {gap.min():.3f} Å, {near:.2f} within 3.3 Å\n"
            f"  force RMS   {np.sqrt((force**2).mean()):.4f} eV/Å, largest {abs(force).max():.2f}\n"
            f"  energy      {energy.mean():.4f} +- {energy.std():.4f} eV per molecule"
        )


def check_gradient(out: Path, step: float = 1e-3) -> None:
    """Print how well one force of the first frame matches the energies at two displaced points."""
    data, xtb = np.load(out / "train.npz"), make_xtb()
    pos = data["pos"][0].astype(np.float64)
    shift = np.zeros_like(pos)
    shift[1, 0] = step
    slope = -(xtb(pos + shift)[0] - xtb(pos - shift)[0]) / (2 * step)
    print(f"force by finite difference {slope:.5f}, stored {data['forces'][0, 1, 0]:.5f} eV/Å")


def main() -> None:
    """Read the command line and make what is missing."""
    parser = argparse.ArgumentParser(description="make the shipped water set by GFN1-xTB")
    parser.add_argument("--parts", type=Path, default=Path("water_xtb_parts"), help="starts done; a rerun continues")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where train.npz and heldout.npz go")
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--fit", action="store_true", help="only force-match the classical model and print it")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # one result whatever the machine; read by the workers when they start
    if args.fit:
        fit()
        return
    args.parts.mkdir(parents=True, exist_ok=True)
    missing = [start for start in range(NUM_STARTS) if not (args.parts / f"start_{start:02d}.npz").exists()]
    missing.sort(key=lambda start: start * 11 % NUM_STARTS)  # an unfinished set holds all temperatures too
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(make_start, start, args.parts) for start in missing]
        for count, job in enumerate(as_completed(jobs), start=NUM_STARTS - len(missing) + 1):
            print(f"[{count}/{NUM_STARTS}] {job.result()}", flush=True)
            assemble(args.parts, args.out)
        # Those of the training starts only: the held-out frames say how well a model does in the liquid.
        learned = [start for start in range(NUM_STARTS) if start not in HELDOUT_STARTS]
        wanted = [start for start in learned if not (args.parts / f"contacts_{start:02d}.npz").exists()]
        for line in pool.map(make_contacts, wanted, [args.parts] * len(wanted)):
            print(line, flush=True)
    assemble(args.parts, args.out)
    describe(args.out)
    check_gradient(args.out)


if __name__ == "__main__":
    main()
