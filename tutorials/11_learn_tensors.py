# %% [markdown]
# # Learn dipoles and polarizabilities
#
# What you will know: how labels of your own get into frames and files, how to train a model of tensors, and what its
# symmetry saves: it predicts turned molecules exactly as well as those it has seen, whatever it has learned.
#
# The labels are made here, by a classical rule; with your own you would begin at "Write a file". Figures need
# matplotlib, `pip install "irrepnet[report]"`.

# %%
import tempfile
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt

from irrepnet import o3
from irrepnet.data import Frame, write_frames
from irrepnet.deploy import predict_frames
from irrepnet.models import load_model
from irrepnet.train import evaluate, label_graphs, load_config, train

torch.manual_seed(0)
random = np.random.default_rng(0)
OUT = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Molecules and what we want to know of them
#
# Pairs of water molecules, bent and stretched at random, in random orientations. Each bond has a dipole that points
# from O to H and grows with its length, and is easier to polarize along than across:
#
#     mu = sum_b q(r_b) u_b,     alpha = sum_b across(r_b) 1 + (along(r_b) - across(r_b)) u_b u_b^T

# %%
WATER = np.array([[0.0, 0.0, 0.0], [0.76, 0.59, 0.0], [-0.76, 0.59, 0.0]])  # O, H, H in Å


def labels(pos):
    """Return the dipole (e Å) and the polarizability (Å^3) of molecules O, H, H, shapes [3] and [3, 3]."""
    atoms = pos.reshape(-1, 3, 3)  # [molecule, atom, xyz]
    bonds = (atoms[:, 1:] - atoms[:, :1]).reshape(-1, 3)
    r = np.linalg.norm(bonds, axis=1)
    u = bonds / r[:, None]
    along, across = 0.8 + 0.6 * (r - 0.96), 0.5 + 0.2 * (r - 0.96)
    mu = (0.33 * r) @ u
    alpha = across.sum() * np.eye(3) + np.einsum("b,bi,bj->ij", along - across, u, u)
    return mu, alpha


def pair(number):
    one, other = ((WATER + random.normal(0, 0.08, (3, 3))) @ o3.rand_matrix().numpy().T for _ in range(2))
    pos = np.concatenate([one, other + np.array([0.0, 0.0, 3.5])]) @ o3.rand_matrix().numpy().T
    mu, alpha = labels(pos)
    return Frame(species=[8, 1, 1, 8, 1, 1], pos=pos, id=f"pair {number}", properties={"mu": mu, "alpha": alpha})


frames = [pair(number) for number in range(160)]
print(frames[0].properties["alpha"].round(3), "Å^3")

# %% [markdown]
# ## Write a file, and a configuration
#
# Every format keeps such labels; npz and extended XYZ need them named when they are read, because a file may hold much
# else. The formula `ij=ji` says that the polarizability is symmetric: the model then predicts a scalar and an irrep of
# degree 2, six numbers, and cannot answer with anything else.

# %%
write_frames(frames[:120], OUT / "learn.npz")
write_frames(frames[120:], OUT / "test.npz")
(OUT / "tensors.yaml").write_text(
    """
model:
  kind: tensor
  cutoff: 3.0
  lmax: 2
  irreps_hidden: 16x0e+8x1o+8x2e
  num_layers: 2
  targets:
    - {name: mu, formula: i, unit: e Å}
    - {name: alpha, formula: ij=ji, unit: Å^3}
data:
  train: learn.npz
  test: test.npz
  keys: {properties: {mu: mu, alpha: alpha}}
training: {steps: 300, batch_size: 20, lr: 0.02, validate_every_steps: 100}
"""
)
config = load_config(OUT / "tensors.yaml")

# %% [markdown]
# ## Train
#
# Shifts and scales come from the frames: what is usual for an atom of each element, and the spread of the rest.

# %%
result = train(config, OUT / "run")
model = load_model(result.run.best)
evaluation = evaluate(model, label_graphs(result.splits.test, model.cutoff))
share = {}
for name in ("mu", "alpha"):
    reference, predicted = (torch.as_tensor(values[name]) for values in (evaluation.reference, evaluation.predicted))
    spread = (reference - reference.mean(dim=0)).square().mean().sqrt()
    share[name] = float((predicted - reference).square().mean().sqrt() / spread)
    print(f"{name}: error {100 * share[name]:.1f} % of the spread")
assert max(share.values()) < 0.2

# %% [markdown]
# Prediction against reference, all components of the molecules that were held back:

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
for ax, (name, title) in zip(axes, {"mu": "dipole, e Å", "alpha": "polarizability, Å³"}.items(), strict=True):
    reference, predicted = (np.asarray(values[name]).ravel() for values in (evaluation.reference, evaluation.predicted))
    ends = [reference.min(), reference.max()]
    ax.plot(ends, ends, color="0.7", zorder=0)
    ax.scatter(reference, predicted, s=12, alpha=0.6)
    ax.set(xlabel=f"reference {title}", ylabel=f"predicted {title}", aspect="equal")

# %% [markdown]
# ## What symmetry saves
#
# Turn a pair: the dipole turns with it, the polarizability as R alpha R^T. This is no result of training; it holds
# from the first step on, and so no frame was spent on learning it.

# %%
model = model.double()
R = o3.rand_matrix(dtype=torch.float64).numpy()
here = frames[-1]
turned = Frame(species=here.species, pos=here.pos @ R.T)
before, after = predict_frames(model, [here, turned])
print("dipole", before["mu"].round(3), "turned", after["mu"].round(3), "e Å")
assert np.allclose(after["mu"], R @ before["mu"], atol=1e-10)
assert np.allclose(after["alpha"], R @ before["alpha"] @ R.T, atol=1e-10)
assert np.array_equal(after["alpha"], after["alpha"].T)

# %% [markdown]
# The plane of a single molecule is a mirror, so no dipole may stand on it:

# %%
flat = Frame(species=[8, 1, 1], pos=WATER)
(predicted,) = predict_frames(model, [flat])
print(f"component across the plane {predicted['mu'][2]:.1e} e Å")
assert abs(predicted["mu"][2]) < 1e-12

# %% [markdown]
# From the command line it is `irrepnet init tensor` and `irrepnet train tensor.yaml --out runs/dimer`, which ends with
# a report; tensors of atoms, such as shieldings, have `level: atom`.
