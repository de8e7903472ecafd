# %% [markdown]
# # Irreps and layers
#
# What you will know: what a line like `16x0e + 8x1o` says, why parity matters, how to compose a layer for atoms whose
# output turns with its input, and how to check that it does. (The figure needs matplotlib: `pip install
# "irrepnet[report]"`.)

# %%
import torch
from matplotlib import pyplot as plt
from torch.nn.functional import silu

from irrepnet import nn, o3
from irrepnet.testing import assert_equivariant, equivariance_error

torch.manual_seed(0)

# %% [markdown]
# ## Features that know how they rotate
#
# An *irrep* is a way to transform that cannot be taken apart. Its degree `l` says how many components it has, 2l + 1:
# a scalar (0) has one, a vector (1) three, a traceless symmetric matrix (2) five. Its parity says what inversion of
# space, x -> -x, does: nothing (`e`, even) or a change of sign (`o`, odd). A position or a force is `1o`; an angular
# momentum is `1e`, a pseudovector. A feature tensor is a row of irreps: its last axis holds them one after another.

# %%
irreps = o3.Irreps("16x0e + 8x1o + 4x2e")
for entry, s in zip(irreps, irreps.slices(), strict=True):
    print(f"{entry}: columns {s.start} to {s.stop - 1}")
assert irreps.dim == 16 * 1 + 8 * 3 + 4 * 5

# %% [markdown]
# A rotation `R` acts on such a row by a matrix, block by block. For a vector it is `R` itself.

# %%
R = o3.rand_matrix()
D = irreps.D_from_matrix(R)  # [60, 60]
assert torch.allclose(D[16:19, 16:19], R, atol=1e-6)
assert torch.allclose(D[:16, :16], torch.eye(16), atol=1e-6)

figure, ax = plt.subplots(figsize=(5, 4.4), layout="constrained")
image = ax.imshow(D, cmap="RdBu", vmin=-1, vmax=1)
ax.set(title="a rotation of 16x0e + 8x1o + 4x2e", xlabel="column", ylabel="row")
colour_bar = figure.colorbar(image, label="entry of D")

# %% [markdown]
# ## Products, and why parity is kept
#
# The product of two vectors holds a scalar (their dot product), a pseudovector (their cross product) and a traceless
# symmetric matrix: 1o x 1o = 0e + 1e + 2e. There is no `1o` in it. A network that takes the cross product for a vector
# mistakes a left hand for a right one; here it is an error, which says what to write instead.

# %%
print("1o x 1o =", " + ".join(str(ir) for ir in o3.Irrep("1o") * o3.Irrep("1o")))
a, b = torch.randn(2, 5, 3)
product = o3.FullTensorProduct("1o", "1o")
print(product)
cross = product(a, b)[:, 1:4]  # after the scalar
assert torch.allclose(cross, torch.linalg.cross(a, b) / 2**0.5, atol=1e-6)

try:
    o3.TensorProduct("1o", "1o", "1o", [(0, 0, 0, "uuu", False)])
except ValueError as error:
    print("refused:", error)

# %% [markdown]
# ## A layer for atoms
#
# `PointConvolution` multiplies what each neighbour is with how it is seen: spherical harmonics of the direction, times
# learned radial functions of the distance; then it sums over neighbours and mixes channels. `Gate` is the nonlinearity:
# scalars pass through a function, and further scalars say how much of each vector passes. The convolution's output is
# declared as the gate's input, so the two fit by construction.


# %%
class Interaction(torch.nn.Module):
    """Look at the neighbours once: 8 scalars and 4 vectors per atom in, as many out."""

    def __init__(self, irreps="8x0e + 4x1o", cutoff=3.0):
        super().__init__()
        self.harmonics = o3.SphericalHarmonics("0e + 1o + 2e", normalize=True, normalization="component")
        self.gate = nn.Gate("8x0e", [silu], "4x0e", [torch.sigmoid], "4x1o")
        self.convolution = nn.PointConvolution(irreps, self.harmonics.irreps_out, self.gate.irreps_in, cutoff=cutoff)
        self.skip = o3.Linear(irreps, self.gate.irreps_out)

    def forward(self, node_feats, pos, edge_index):
        src, dst = edge_index
        edge_vec = pos[dst] - pos[src]  # [E, 3]
        messages = self.convolution(node_feats, self.harmonics(edge_vec), edge_vec.norm(dim=1), edge_index)
        return self.skip(node_feats) + self.gate(messages)


layer = Interaction()
print(layer)

# %% [markdown]
# A layer refuses what it could only fill with zeros. Scalars and harmonics make no pseudovector:

# %%
try:
    nn.PointConvolution("8x0e", "0e + 1o + 2e", "4x1e", cutoff=3.0)
except ValueError as error:
    print("refused:", error)

# %% [markdown]
# ## Check it
#
# Water as a test case. `cartesian_points` rotate and move with translations; the rest is said in irreps.

# %%
pos = torch.tensor([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])  # O, H, H in Å
edge_index = torch.tensor([[1, 2, 0, 2, 0, 1], [0, 0, 1, 1, 2, 2]])  # messages run from the first row to the second
node_feats = o3.Irreps("8x0e + 4x1o").randn(3, -1)

check = {
    "irreps_in": ["8x0e + 4x1o", "cartesian_points", None],
    "irreps_out": "8x0e + 4x1o",
    "inputs": [node_feats, pos, edge_index],
}
assert_equivariant(layer, **check)
print(equivariance_error(layer, **check))

# %% [markdown]
# In float64 only rounding is left. And a fault is seen: add the same number to every component of the output, and it is
# no longer a row of scalars and vectors.

# %%
layer = layer.double()
check["inputs"] = [node_feats.double(), pos.double(), edge_index]
print(equivariance_error(layer, **check))
assert equivariance_error(layer, **check).worst < 1e-12

faulty = equivariance_error(lambda *inputs: layer(*inputs) + 0.1, **check)
print(faulty)
assert faulty.errors["rotation"] > 0.01

# %% [markdown]
# ## From atoms to a molecule
#
# A readout makes what is asked for: a scalar per graph, summed in float64, or any irreps.

# %%
batch = torch.zeros(3, dtype=torch.int64)  # all atoms belong to graph 0
energy = nn.ScalarReadout("8x0e + 4x1o").double()
dipole = nn.IrrepsReadout("8x0e + 4x1o", "1o", reduce="sum").double()
feats = layer(*check["inputs"])
print("energy", energy(feats, batch, 1).tolist(), "dipole", dipole(feats, batch, 1).tolist())
assert dipole(feats, batch, 1).shape == (1, 3)

# %% [markdown]
# Next: `02` trains a force field for water made of these parts, `03` checks a model that knows nothing of irrepnet, and
# `test_my_layer.py` is a test file to copy.
