# %% [markdown]
# # Train a force field for water
#
# What you will know: how a configuration becomes a trained model, how to read its errors, and how to put it to work.
# The same run from the command line is `irrepnet train tutorials/water.yaml --out runs/water`. Here it is done in Python
# and cut to a few steps, so that it takes seconds; set `STEPS = 3000` for a model that is worth something.

# %%
import tempfile
from pathlib import Path

import numpy as np

from irrepnet.data import read_frames
from irrepnet.deploy import Predictor, run_nve
from irrepnet.models import load_model
from irrepnet.testing import equivariance_error
from irrepnet.train import error_rows, evaluate, format_errors, label_graphs, load_config, train

STEPS = 6
HERE = Path(__file__).parent if "__file__" in globals() else Path("tutorials")
OUT = Path(tempfile.mkdtemp()) / "water"

# %% [markdown]
# ## The data
#
# Frames carry their units, and which trajectory they are from: neighbouring frames of one trajectory are nearly equal, so
# only whole trajectories are held back.

# %%
frames = read_frames("package:water_xtb/train.npz")
forces = np.concatenate([frame.forces for frame in frames])
print(f"{len(frames)} frames of {len(frames[0])} atoms from {len({frame.group for frame in frames})} trajectories")
print(f"force components: standard deviation {1000 * forces.std():.0f} meV/Å")

# %% [markdown]
# ## The configuration
#
# `water.yaml` is read and checked; a misspelt key would be named here, with the nearest right one. Overrides are the same
# as `--set` on the command line. What the data determine (elements, energy of an atom, scale of the forces, neighbours)
# is left open and taken from the training frames.

# %%
quick = ["training.minutes=null", f"training.steps={STEPS}", f"training.validate_every_steps={STEPS}"]
small = ["model.irreps_hidden=4x0e+4x1o", "model.num_layers=2", "data.train_groups=['start 00, 300 K', 'start 27, 400 K']"]
held_back = "data.valid_groups=['start 13, 348 K']"
config = load_config(HERE / "water.yaml", [*quick, *small, "data.valid=null", held_back])
print(config.model)

# %% [markdown]
# ## The training
#
# One line per validation, on the weights averaged over the last steps. `OUT/best.model` is the file that everything else
# takes. Interrupt it whenever you like: `train(config, OUT, resume=True)` goes on, with the same bits in the end.

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
    inputs=[read_frames("package:water_xtb/heldout.npz")[0].pos[:3]],
)
print(report)
assert report.worst < 1e-10

# %% [markdown]
# Molecular dynamics at constant energy; with an untrained model a few steps only. The total energy stays, because the
# forces are its exact derivative.

# %%
trajectory = run_nve(predict, result.splits.test[0], temperature=300, timestep=0.2, steps=5, seed=0)
drift = np.ptp(trajectory.total_energy) / len(trajectory.species)
print(f"energy changes by {1000 * drift:.5f} meV/atom while the potential energy changes by "
      f"{1000 * np.ptp(trajectory.potential_energy) / len(trajectory.species):.5f} meV/atom")
assert drift < 1e-3
