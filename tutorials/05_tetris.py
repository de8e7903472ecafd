# %% [markdown]
# # Tetris: learn in one orientation, know in all
#
# What you will know: how a network is told to see handedness, why one example per shape is enough, and what a network
# of distances can never learn.
#
# There are eight shapes of four cubes. Two of them are mirror images of each other: no rotation takes one into the
# other. The network sees every shape once, in one orientation; then it is asked about 500 random orientations of each.
# The task is that of Thomas et al. 2018, Tensor Field Networks, arXiv:1802.08219, section 5.1. (The figure needs
# matplotlib: `pip install "irrepnet[report]"`.)

# %%
import torch
from matplotlib import pyplot as plt
from torch.nn.functional import cross_entropy, silu

from irrepnet import nn, o3
from irrepnet.nn import sum_pool
from irrepnet.testing import assert_equivariant

SHAPES = {
    "chiral, right": [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 1, 0)],
    "chiral, left": [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, -1, 0)],
    "square": [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0)],
    "line": [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 0, 3)],
    "corner": [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)],
    "L": [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 0)],
    "T": [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 1)],
    "zigzag": [(0, 0, 0), (1, 0, 0), (1, 1, 0), (2, 1, 0)],
}
RIGHT, LEFT = 0, 1

shapes = torch.tensor(list(SHAPES.values()), dtype=torch.float32)  # [8, 4, 3]
labels = torch.arange(len(SHAPES))

figure, axes = plt.subplots(2, 4, subplot_kw={"projection": "3d"}, figsize=(9, 4.8), layout="constrained")
for ax, (name, cubes) in zip(axes.flat, SHAPES.items(), strict=True):
    filled = torch.zeros(4, 4, 4, dtype=torch.bool)
    for x, y, z in cubes:
        filled[x, y - min(y for _, y, _ in cubes), z] = True
    faces = ax.voxels(filled, facecolors="tab:orange" if "chiral" in name else "tab:blue", edgecolor="0.2")
    ax.set(title=name, aspect="equal")
    ax.view_init(elev=25, azim=40)
    ax.set_axis_off()

# %% [markdown]
# ## A network that can see handedness
#
# Rotations leave a scalar as it is; so does inversion, if the scalar is even (`0e`). An odd scalar (`0o`) changes its
# sign under inversion: it says on which side of the mirror we are. The network has seven even outputs, one for the
# chiral pair and six for the other shapes, and one odd output that splits the pair. So mirror images get the same
# scores, with right and left exchanged. That is not learned, it is declared.


# %%
def all_pairs(num_graphs, nodes=4):
    """Return ``edge_index`` of all ordered pairs within graphs of equal size, and the graph of each node."""
    i, j = (~torch.eye(nodes, dtype=torch.bool)).nonzero(as_tuple=True)
    first = nodes * torch.arange(num_graphs)[:, None]
    edge_index = torch.stack([(first + i).flatten(), (first + j).flatten()])
    return edge_index, torch.arange(num_graphs).repeat_interleave(nodes)


class TetrisNetwork(torch.nn.Module):
    """Scores of the eight shapes from four points: three convolutions, gates between them, a sum over points."""

    def __init__(self, lmax=2, cutoff=4.0):
        super().__init__()
        self.harmonics = o3.SphericalHarmonics(
            o3.Irreps.spherical_harmonics(lmax), normalize=True, normalization="component"
        )
        kinds = o3.Irreps([(4, (l, p)) for l in range(1, lmax + 1) for p in (-1, 1)])  # vectors, pseudovectors, ...
        # One look at the neighbours makes vectors of scalars, the second pseudovectors of those, the third odd scalars.
        first = o3.Irreps([(mul, ir) for mul, ir in kinds if ir.p == (-1) ** ir.l])
        options = {"cutoff": cutoff, "radial_hidden": (16,), "avg_num_neighbors": 3.0}
        self.layers = torch.nn.ModuleList()
        irreps = o3.Irreps("1x0e")
        for gated in (first, kinds):
            gate = nn.Gate("16x0e", [silu], [(gated.num_irreps, "0e")], [torch.sigmoid], gated)
            self.layers.append(nn.PointConvolution(irreps, self.harmonics.irreps_out, gate.irreps_in, **options))
            self.layers.append(gate)
            irreps = gate.irreps_out
        out = "0o + 7x0e" if lmax > 0 else "7x0e"
        self.layers.append(nn.PointConvolution(irreps, self.harmonics.irreps_out, out, **options))

    def forward(self, pos):
        """Return the odd and the even outputs ``[B, 8]`` of shapes ``[B, 4, 3]``."""
        edges, batch = all_pairs(len(pos))
        flat = pos.flatten(0, 1)
        edge_vec = flat[edges[1]] - flat[edges[0]]
        edge_sh, edge_len = self.harmonics(edge_vec), edge_vec.norm(dim=1)
        feats = flat.new_ones(len(flat), 1)
        for layer in self.layers:
            feats = layer(feats) if isinstance(layer, nn.Gate) else layer(feats, edge_sh, edge_len, edges)
        feats = torch.nn.functional.pad(feats, (8 - feats.shape[1], 0))  # without an odd output it is 0
        return sum_pool(feats, batch, len(pos)).to(pos)


def scores(outputs):
    """Turn the odd output and seven even ones into the scores of eight shapes."""
    odd, pair, others = outputs.split([1, 1, 6], dim=1)
    return torch.cat([pair + odd, pair - odd, others], dim=1)


# %% [markdown]
# ## Train: eight examples, one orientation


# %%
def train(network, steps=200):
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for step in range(steps):
        loss = cross_entropy(scores(network(shapes)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:3}  loss {loss.item():.4f}")
    return network


torch.manual_seed(0)
network = train(TetrisNetwork())

# %% [markdown]
# ## Test: 500 random rotations of each shape, moved to another place


# %%
def accuracy(network, rotations=500):
    """Return the share of right answers for each shape, over random rotations and translations."""
    torch.manual_seed(1)
    R = o3.rand_matrix(rotations)  # [500, 3, 3]
    right = []
    with torch.no_grad():
        for shape, label in zip(shapes, labels, strict=True):
            turned = shape @ R.transpose(1, 2) + 10 * torch.randn(rotations, 1, 3)
            right.append((scores(network(turned)).argmax(dim=1) == label).float().mean().item())
    return right


found = accuracy(network)
for name, share in zip(SHAPES, found, strict=True):
    print(f"{name:14} {100 * share:.1f} %")
assert found == [1.0] * 8

# %% [markdown]
# The odd output tells right from left, and changes its sign under inversion; the even outputs do not change. This holds
# for any weights, to the rounding of the numbers.

# %%
with torch.no_grad():
    here, mirrored = network(shapes), network(-shapes)
print("odd output, right and left:", here[RIGHT, 0].item(), here[LEFT, 0].item())
assert here[RIGHT, 0] > 0 > here[LEFT, 0]
torch.testing.assert_close(mirrored[:, 0], -here[:, 0], atol=1e-4, rtol=1e-4)
torch.testing.assert_close(mirrored[:, 1:], here[:, 1:], atol=1e-4, rtol=1e-4)

double = network.double()
assert_equivariant(double, "cartesian_points", "0o + 7x0e", inputs=[shapes.double()], tol=1e-9)

# %% [markdown]
# ## The control: a network of distances
#
# Mirror images have the same distances between the same points. A network of distances (`lmax=0`, the rest as before)
# gives them the same scores, whatever its weights and however long it is trained. It learns the other six shapes; the
# loss stops at a coin toss for two shapes of eight, 2/8 ln 2 = 0.173.

# %%
torch.manual_seed(0)
distances = train(TetrisNetwork(lmax=0))
with torch.no_grad():
    both = scores(distances(shapes))[[RIGHT, LEFT]]
print("scores of right and left:", both[:, [RIGHT, LEFT]].tolist())
torch.testing.assert_close(both[0], both[1], atol=1e-5, rtol=1e-5)
torch.testing.assert_close(both[:, RIGHT], both[:, LEFT], atol=1e-5, rtol=1e-5)

found = accuracy(distances)
print(dict(zip(SHAPES, found, strict=True)))
assert found[2:] == [1.0] * 6
assert cross_entropy(both, labels[:2]) > 0.693

# %% [markdown]
# Next: `06` shows the three ways in which a position, a direction and a length change.
