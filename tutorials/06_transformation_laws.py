# %% [markdown]
# # Transformation laws
#
# What you will know: that a position, a direction and a length are three different things although each is a list of
# numbers; how to say which one a function takes and returns; and what goes wrong when one is taken for another.

# %%
import torch

from irrepnet import o3
from irrepnet.testing import assert_equivariant, equivariance_error

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)

# %% [markdown]
# ## Three laws
#
# Turn the coordinate system by R and move it by t. The position of an atom becomes R x + t. The vector from one atom to
# another becomes R v: what is added to both ends cancels. The distance stays as it is.
#
# | quantity | law | here |
# |---|---|---|
# | position | R x + t | `"cartesian_points"` |
# | difference, velocity, force | R v | `"1o"` |
# | distance, energy, charge | s | `"0e"` |

# %%
R, t = o3.rand_matrix(), torch.randn(3)
a, b = torch.randn(2, 3)
moved_a, moved_b = R @ a + t, R @ b + t

direction, length = b - a, (b - a).norm()
assert torch.allclose(moved_b - moved_a, R @ direction, atol=1e-14)
assert torch.allclose((moved_b - moved_a).norm(), length, atol=1e-14)
assert not torch.allclose(moved_a, R @ a)  # a position is no vector

# %% [markdown]
# ## The laws as declarations
#
# The check draws rotations, inversion and translations, transforms the arguments by the laws that were declared for
# them and the output by its own, and compares. Each function below keeps one law and no other.

# %%
LAWS = {
    "centre (a position)": lambda pos: pos.mean(0, keepdim=True),
    "vectors from the centre (directions)": lambda pos: pos - pos.mean(0),
    "distances from the centre (magnitudes)": lambda pos: (pos - pos.mean(0)).norm(dim=1, keepdim=True),
}
DECLARED = ["cartesian_points", "1o", "0e"]
WIDTH = {"cartesian_points": 3, "1o": 3, "0e": 1}

print(f"{'':40}" + "".join(f"{law:>18}" for law in DECLARED))
for row, (name, f) in enumerate(LAWS.items()):
    cells = []
    for column, law in enumerate(DECLARED):
        if WIDTH[law] != WIDTH[DECLARED[row]]:
            cells.append("other width")
            continue
        worst = equivariance_error(f, "cartesian_points", law).worst
        cells.append(f"{worst:.0e}")
        assert worst < 1e-12 if row == column else worst > 0.1
    print(f"{name:40}" + "".join(f"{cell:>18}" for cell in cells))

# %% [markdown]
# ## What the kinds of transformation tell
#
# A report says under *which* change a law fails. Taking a position for a vector is right under rotations about the
# origin, and wrong as soon as the origin moves: the commonest fault of all, and one that no test by rotations sees.

# %%
report = equivariance_error(LAWS["centre (a position)"], "cartesian_points", "1o")
print(report)
assert report.errors["rotation"] < 1e-12 and report.errors["inversion"] < 1e-12
assert report.errors["translation"] > 0.1

# %% [markdown]
# ## How laws combine
#
# Which combinations of positions are positions, which are directions? Coefficients that sum to one give a position,
# that sum to zero a direction; all others something that has a meaning in one coordinate system only.


# %%
def combine(*coefficients):
    weights = torch.tensor(coefficients)
    return lambda pos: (weights[:, None] * pos).sum(0, keepdim=True)


options = {"inputs": [torch.randn(3, 3)]}
assert_equivariant(combine(0.5, 0.2, 0.3), "cartesian_points", "cartesian_points", **options)  # sum 1: a position
assert_equivariant(combine(2.0, -1.5, -0.5), "cartesian_points", "1o", **options)  # sum 0: a direction
for law in ("cartesian_points", "1o"):
    assert equivariance_error(combine(1.0, 1.0, 0.0), "cartesian_points", law, **options).errors["translation"] > 0.1

# %% [markdown]
# This is why a dipole, the sum of charges times positions, is a vector for a neutral molecule only, and why layers take
# `edge_vec`, a difference, and never `pos`. Products of directions follow the table of irreps: 1o x 1o = 0e + 1e + 2e.

# %%
product = o3.FullTensorProduct("1o", "1o")
print(product)


def relative(pos):
    """Return all products of the vectors to the centre with those to the first atom."""
    return product(pos - pos.mean(0), pos - pos[:1])


assert_equivariant(relative, "cartesian_points", product.irreps_out)
print(equivariance_error(relative, "cartesian_points", product.irreps_out))

# %% [markdown]
# ## A lattice is a law too
#
# In a crystal a position is known only up to lattice vectors, and the lattice has many cells. `assert_periodic` writes
# the same crystal in other ways, and asks for the same answer. The shortcut by rounding, found in much code, fails it.

# %%
from irrepnet.data import neighbor_list
from irrepnet.testing import assert_periodic


def push(pos, cell):
    """Return the sum of the vectors from the neighbours within 2 Å, weighted by a smooth function of their length."""
    (src, dst), shift = neighbor_list(pos, cell, True, cutoff=2.0)
    vec = pos[dst] - pos[src] + shift.to(pos) @ cell
    return torch.zeros_like(pos).index_add(0, dst, vec * (2.0 - vec.norm(dim=1, keepdim=True)) ** 3)


def push_by_rounding(pos, cell):
    """Do the same with the image that is nearest in fractions of the cell: wrong in a skew cell."""
    frac = (pos[:, None] - pos) @ cell.inverse()
    vec = (frac - frac.round()) @ cell
    return (vec * (2.0 - vec.norm(dim=-1, keepdim=True)).clamp(min=0) ** 3).sum(1)


pos = torch.rand(6, 3) * 3.0
cell = 3.0 * torch.eye(3) + 0.3 * torch.randn(3, 3)
assert_periodic(push, pos, cell)
try:
    assert_periodic(push_by_rounding, pos, cell)
except AssertionError as error:
    print("caught:", error)
else:
    raise SystemExit("the fault was not caught")

# %% [markdown]
# Next: `07` looks at the inversion alone, which tells a velocity from an angular momentum.
