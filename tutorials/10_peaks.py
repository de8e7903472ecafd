# %% [markdown]
# # From points to signals and back
#
# What you will know: how the neighbours of an atom become one feature, a signal on the sphere; how exactly it holds
# them; how to read points off a signal by its peaks, and which degree that takes. (The pictures need matplotlib and
# plotly: `pip install "irrepnet[report]"`.)

# %%
import tempfile
from pathlib import Path

import torch
from matplotlib import pyplot as plt

from irrepnet import o3
from irrepnet.io import SphericalTensor, draw_signals, find_peaks

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)

# %% [markdown]
# ## A signal on the sphere is a feature
#
# A function f(x) = sum_l c^l . Y^l(x) of a direction x is given by its coefficients, one irrep for each degree. Under
# inversion its value may change sign (`p_val`), and so may x (`p_arg`). "How much is there in direction x" is the
# case (1, -1): even values of an odd argument, the irreps of spherical harmonics.

# %%
sphere = SphericalTensor(4, p_val=1, p_arg=-1)
print(sphere, "with", sphere.dim, "coefficients")

# %% [markdown]
# ## Points in
#
# `with_peaks_at` makes the smallest signal that has, in the direction of each neighbour, its distance as value. A
# smooth function cannot do so for any number of points; with degree lmax it can for any lmax + 1 directions, and for
# most sets of up to (lmax + 1)^2, as long as no more than two or three are very close together. `sum_of_diracs` is
# quicker, and only nearly right.

# %%
neighbours = torch.tensor([[1.1, 0.0, 0.0], [0.0, 1.0, 0.0], [-0.7, -0.7, 0.3], [0.0, 0.2, -1.2]])
distances = neighbours.norm(dim=1)
signal = sphere.with_peaks_at(neighbours)
print("distances", distances.tolist())
print("values   ", sphere.signal_xyz(signal, neighbours).tolist())
assert torch.allclose(sphere.signal_xyz(signal, neighbours), distances, rtol=1e-12)

diracs = sphere.sum_of_diracs(neighbours, distances)
print("diracs   ", sphere.signal_xyz(diracs, neighbours).tolist())

# %% [markdown]
# Turned neighbours make the turned signal, and their order does not matter.

# %%
R = o3.rand_matrix()
D = sphere.D_from_matrix(R)  # [25, 25]
assert torch.allclose(sphere.with_peaks_at(neighbours @ R.T), D @ signal)
assert torch.allclose(sphere.with_peaks_at(neighbours.flip(0)), signal)

# %% [markdown]
# Two atoms in one direction cannot both have their distance. Then the signal is the best fit, and no error: here the
# mean of the two. Sets of unequal size are padded with zero vectors, which have no direction and add nothing.

# %%
behind = torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.5, 0.0]])
print("one behind the other:", sphere.signal_xyz(sphere.with_peaks_at(behind), behind).tolist())
assert torch.allclose(sphere.signal_xyz(sphere.with_peaks_at(behind), behind), torch.tensor([1.5, 1.5, 1.5]))
padded = torch.cat([neighbours, torch.zeros(2, 3)])
assert torch.allclose(sphere.with_peaks_at(torch.stack([padded, padded])), signal)

# %% [markdown]
# ## Points out
#
# `find_peaks` returns the isolated maxima, highest first: directions of length 1 and heights. Each is found by Newton's
# method, exactly and once, wherever it lies. The way back from features to points is to keep the peaks that are high
# enough, direction times height.

# %%
tetrahedron = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])


def points_of(signal, above):
    pos, height = sphere.find_peaks(signal)
    return (pos * height[:, None])[height > above]


def same_points(a, b):
    return len(a) == len(b) and torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1).max() < 1e-12


found = points_of(sphere.with_peaks_at(tetrahedron), above=1.0)
print(found)
assert same_points(found, tetrahedron)

# %% [markdown]
# The peaks turn with the signal, as a network needs that places atoms where its features say.

# %%
assert same_points(points_of(D @ sphere.with_peaks_at(tetrahedron), above=1.0), tetrahedron @ R.T)

# %% [markdown]
# ## Which degree
#
# A signal with the symmetry of a polyhedron needs a degree at which a harmonic with this symmetry exists: 3 for the
# tetrahedron, 4 for octahedron and cube, 6 for the icosahedron. Below it there is nothing but a constant, or the peaks
# are elsewhere.

# %%
t = (1 + 5**0.5) / 2
polyhedra = {
    "tetrahedron": tetrahedron,
    "octahedron": torch.cat([torch.eye(3), -torch.eye(3)]),
    "cube": torch.cat([tetrahedron, -tetrahedron]),
    "icosahedron": torch.tensor([p for a in (1, -1) for b in (t, -t) for p in ([0, a, b], [a, b, 0], [b, 0, a])]),
}
lowest = {}
for name, corners in polyhedra.items():
    for lmax in range(8):
        sphere = SphericalTensor(lmax, 1, -1)
        if same_points(points_of(sphere.with_peaks_at(corners), above=0.9 * corners[0].norm()), corners):
            lowest[name] = lmax
            break
print(lowest)
assert lowest == {"tetrahedron": 3, "octahedron": 4, "cube": 4, "icosahedron": 6}

# %% [markdown]
# The smallest signals whose peaks are the corners, as surfaces: how far they are from the centre is their value.

# %%
polar, turn = torch.meshgrid(torch.linspace(0, torch.pi, 60), torch.linspace(0, 2 * torch.pi, 120), indexing="ij")
unit = torch.stack([polar.sin() * turn.cos(), polar.sin() * turn.sin(), polar.cos()], dim=-1)  # [60, 120, 3]
figure, axes = plt.subplots(1, 4, subplot_kw={"projection": "3d"}, figsize=(11, 3.2), layout="constrained")
for ax, (name, corners) in zip(axes, polyhedra.items(), strict=True):
    sphere = SphericalTensor(lowest[name], 1, -1)
    value = sphere.signal_xyz(sphere.with_peaks_at(corners), unit)
    x, y, z = (value.clamp(min=0)[..., None] * unit).unbind(-1)
    colours = plt.cm.viridis((value / value.max()).clamp(min=0).numpy())
    surface = ax.plot_surface(x.numpy(), y.numpy(), z.numpy(), facecolors=colours, rstride=1, cstride=1, shade=True)
    ax.set(title=f"{name}, degree {lowest[name]}", aspect="equal")
    ax.set_axis_off()

# %% [markdown]
# Points at unequal distances or angles pull at each other's peaks: the value at a point is exact, but the top may lie
# beside it. A higher degree makes peaks narrower, and brings the top to the point.

# %%
for lmax in (2, 4, 8, 16):
    sphere = SphericalTensor(lmax, 1, -1)
    pos, height = sphere.find_peaks(sphere.with_peaks_at(neighbours))
    nearest = (pos[:, None] - neighbours / distances[:, None]).norm(dim=-1).amin(dim=0)
    print(f"lmax = {lmax:2d}: {len(pos):2d} peaks; tops beside the points by {nearest.rad2deg().max():.2f} degrees")
assert nearest.max() < 0.02

# %% [markdown]
# ## Nothing to find
#
# A constant has no peak. Nor has a signal whose highest points form a ring: no point of the ring is better than
# another, so none is made up.

# %%
ring = torch.zeros(9)
ring[6] = -1.0  # -Y_20: lowest at the poles y and -y, highest all along the equator
pos, height = SphericalTensor(2, 1, -1).find_peaks(ring)
print("peaks of a ring:", pos.shape)
assert len(pos) == 0

# %% [markdown]
# ## Many signals, and gradients
#
# The function `find_peaks` takes a batch, and says of each peak whose it is, as graphs do with their nodes. Peaks are
# differentiable: when the signal changes, they move.

# %%
sphere = SphericalTensor(6, 1, -1)
signals = sphere.randn(10, -1).requires_grad_()
pos, height, batch = find_peaks(signals)
print(len(pos), "peaks:", torch.bincount(batch, minlength=10).tolist())
(slope,) = torch.autograd.grad(height[0], signals)
assert torch.allclose(sphere.signal_xyz(slope[0], pos[0].detach()), (slope[0] ** 2).sum())  # it is Y at the peak

# %% [markdown]
# ## A picture to turn
#
# `plotly_surface` returns such surfaces to turn with the mouse; `draw_signals` draws them with lines to the peaks.

# %%
signal = sphere.with_peaks_at(polyhedra["octahedron"])
pos, height = sphere.find_peaks(signal)
figure = draw_signals(sphere.plotly_surface(signal, res=60), 1.3 * pos[height > 0.9], "An octahedron at degree 6")
page = Path(tempfile.mkdtemp()) / "peaks.html"
figure.write_html(page, include_plotlyjs="cdn")
print("written to", page)
assert len(figure.data) == 2
