# %% [markdown]
# # Train a force field for water
#
# What you will know: how a configuration becomes a trained model, how to read its errors, how to put it to work.
# From the command line it is `irrepnet train tutorials/water.yaml --out runs/water`. Here it is done in Python and cut
# to a few steps, so that it takes seconds; set `STEPS = 3000` for a model that is worth something. (The figures need
# matplotlib: `pip install "irrepnet[report]"`.)

# %%
import tempfile
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt

from irrepnet.data import read_frames
from irrepnet.deploy import Predictor, run_nve
from irrepnet.models import load_model
from irrepnet.testing import equivariance_error
from irrepnet.train import error_rows, evaluate, format_errors, label_graphs, load_config, train

STEPS = 6
HERE = next(
    folder
    for folder in (Path(__file__).parent if "__file__" in globals() else Path(), Path("tutorials"))
    if (folder / "water.yaml").exists()
)  # as a script, in a notebook beside it, in a notebook above
OUT = Path(tempfile.mkdtemp()) / "water"

# %% [markdown]
# ## The data
#
# Frames carry their units and the name of their trajectory. Neighbouring frames of one trajectory are nearly equal, so
# only whole trajectories are held back.

# %%
frames = read_frames("package:water_xtb/train.npz")
forces = np.concatenate([frame.forces for frame in frames])
print(f"{len(frames)} frames of {len(frames[0])} atoms from {len({frame.group for frame in frames})} trajectories")
print(f"force components: standard deviation {1000 * forces.std():.0f} meV/Å")

# %% [markdown]
# ## The configuration
#
# `water.yaml` is read and checked; a misspelt key would be named here, with the nearest right one. Overrides are what
# `--set` is on the command line. What the data determine (elements, energy of an atom, scale of the forces, neighbours)
# is left open and taken from the training frames.

# %%
quick = [f"training.steps={STEPS}", "training.validate_every_steps=1000"]
small = ["model.irreps_hidden=4x0e+4x1o", "model.num_layers=2"]
config = load_config(HERE / "water.yaml", [*quick, *small])
print(config.model)

# %% [markdown]
# ## The training
#
# One line per validation, of the weights averaged over the last steps. `OUT/best.model` is what everything else takes.
# Interrupt it whenever you like: `train(config, OUT, resume=True)` goes on, with the same bits in the end.

# %%
result = train(config, OUT)
print(sorted(path.name for path in OUT.iterdir()))

# %% [markdown]
# ## The errors
#
# "Spread" is the standard deviation of the reference, which is the error of a model that knows nothing.

# %%
model = load_model(result.run.best)
evaluation = evaluate(model, label_graphs(result.splits.test, model.cutoff))
print(format_errors(error_rows(evaluation)))
assert np.isfinite(evaluation.metrics["forces_rmse"])

reference, predicted = (np.asarray(values["forces"]).ravel() for values in (evaluation.reference, evaluation.predicted))
figure, ax = plt.subplots(figsize=(4.6, 4.2), layout="constrained")
bins = ax.hist2d(reference, predicted, bins=120, range=[(-4, 4), (-4, 4)], cmin=1, cmap="viridis_r")
ax.plot([-4, 4], [-4, 4], color="0.5", linewidth=1)
ax.set(title=f"forces after {STEPS} steps", xlabel="reference, eV/Å", ylabel="predicted, eV/Å", aspect="equal")
colour_bar = figure.colorbar(bins[3], label="components")

# %% [markdown]
# ## Put to work
#
# A `Predictor` maps arrays to energy and forces. The model was built equivariant, so it is, trained or not: turn the
# positions, and the forces turn with them.

# %%
predict = Predictor(model.double())
water = [8, 1, 1]
report = equivariance_error(
    lambda pos: predict(water, pos.numpy()).forces,
    "cartesian_points",
    "1o",
    inputs=[torch.tensor(frames[0].pos[:3])],
)
print(report)
assert report.worst < 1e-10

# %% [markdown]
# Molecular dynamics at constant energy; with an untrained model a few steps only. The total energy stays, because the
# forces are its exact derivative.

# %%
trajectory = run_nve(predict, result.splits.test[0], temperature=300, timestep=0.2, steps=5, seed=0)
drift = np.ptp(trajectory.total_energy) / len(trajectory.species)
print(
    f"energy changes by {1000 * drift:.5f} meV/atom while the potential energy changes by "
    f"{1000 * np.ptp(trajectory.potential_energy) / len(trajectory.species):.5f} meV/atom"
)
assert drift < 1e-3

# %% [markdown]
# What kinetic energy gains, potential energy loses:

# %%
atoms = len(trajectory.species)
figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for name in ("potential_energy", "total_energy"):
    energy = getattr(trajectory, name)
    ax.plot(trajectory.time, 1000 * (energy - energy[0]) / atoms, marker="o", label=name.replace("_", " "))
ax.set(xlabel="time, fs", ylabel="change, meV/atom")
legend = ax.legend()
