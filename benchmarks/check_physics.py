"""Check a trained model's physics in float64: extensivity, the conservation of energy, and the temperature of a bath.

    python benchmarks/check_physics.py runs/water/best.model package:water_xtb/heldout.npz --picoseconds 1

Prints the energy of a 2x2x2 supercell against 8 times that of the cell, and the fluctuation of the total energy at a
time step and at half of it: velocity Verlet is of second order, so the ratio is about 4 where forces are the gradient.
Then the mean temperature of Langevin dynamics with its standard error, which has to cover the temperature of the bath.
MODEL may also be a committee.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np

from irrepnet.data import Frame, Keys, Units, read_frames
from irrepnet.deploy import Predictor, Thermostat, load_model_or_committee, run_nve, run_nvt

NUM_BLOCKS = 10  # of a series, each longer than its correlation


def supercell(frame: Frame) -> Frame:
    shifts = np.array(list(itertools.product(range(2), repeat=3))) @ frame.cell
    pos = (frame.pos[None] + shifts[:, None]).reshape(-1, 3)
    return Frame(species=np.tile(frame.species, 8), pos=pos, cell=2 * frame.cell, pbc=frame.pbc)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--species-key", default="species", help="array of atomic numbers in DATA")
    parser.add_argument("--frame", type=int, default=0, help="number of the frame to start from")
    parser.add_argument("--picoseconds", type=float, default=1.0)
    parser.add_argument("--timestep", type=float, default=0.5, help="fs")
    parser.add_argument("--temperature", type=float, default=300.0, help="K")
    args = parser.parse_args()
    frame = read_frames(args.data, keys=Keys(species=args.species_key), units=Units())[args.frame]
    predict = Predictor(load_model_or_committee(args.model).double(), skin=1.0)

    big = supercell(frame)
    one = predict(frame.species, frame.pos, frame.cell, frame.pbc)
    eight = predict(big.species, big.pos, big.cell, big.pbc)
    error = abs(eight.energy.item() - 8 * one.energy.item()) / len(big)
    print(f"2x2x2 supercell: energy differs from 8 times the cell's by {error:.1e} eV/atom")

    spread = []
    for timestep in (args.timestep, args.timestep / 2):
        steps = round(1000 * args.picoseconds / timestep)
        run = run_nve(predict, frame, temperature=args.temperature, timestep=timestep, steps=steps, seed=0)
        total = 1000 * (run.potential_energy + run.kinetic_energy) / len(frame)  # meV/atom
        drift = 1000 * np.polyfit(run.time, total, 1)[0]
        spread.append(total.std())
        print(
            f"NVE {args.picoseconds:g} ps, {timestep:g} fs: fluctuation {spread[-1]:.5f} meV/atom, "
            f"drift {drift:+.5f} meV/atom/ps, {run.temperature.mean():.0f} K"
        )
    print(f"ratio of the fluctuations: {spread[0] / spread[1]:.2f} (second order: 4)")

    steps = round(1000 * args.picoseconds / args.timestep)
    bath = Thermostat(args.temperature, friction=20.0, equilibrate=steps // 4)
    run = run_nvt(predict, frame, thermostat=bath, timestep=args.timestep, steps=steps, seed=0)
    blocks = [block.mean() for block in np.array_split(run.temperature, NUM_BLOCKS)]
    error = np.std(blocks, ddof=1) / NUM_BLOCKS**0.5
    print(f"NVT {args.picoseconds:g} ps: {run.temperature.mean():.1f} ± {error:.1f} K (bath: {args.temperature:g} K)")


if __name__ == "__main__":
    main()
