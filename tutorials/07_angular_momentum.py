# %% [markdown]
# # Angular momentum: which way does a pseudovector look in a mirror?
#
# What you will know: why three components that rotate alike need not be of one kind, how to find out what kind a
# function returns (`infer_parity`), and what a model gets wrong that is told the wrong one.

# %%
import torch

from irrepnet import o3
from irrepnet.testing import assert_equivariant, equivariance_error, infer_parity

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)

# %% [markdown]
# ## J = q x p
#
# Position and momentum are vectors: a mirror S, an orthogonal matrix with determinant -1, takes q to S q and p to S p.
# Their cross product is the angular momentum. It rotates as they do; but in a mirror it gets a sign more:
#
#     J(S q, S p) = det(S) S J(q, p)


# %%
def angular_momentum(q, p):
    return torch.linalg.cross(q, p)


q, p = torch.randn(2, 100, 3)
J = angular_momentum(q, p)
R = o3.rand_matrix()
S = R @ torch.diag(torch.tensor([-1.0, 1, 1]))  # a mirror, then a rotation
assert abs(torch.det(R) - 1) < 1e-14 and abs(torch.det(S) + 1) < 1e-14

rotated = (angular_momentum(q @ R.T, p @ R.T) - J @ R.T).abs().max().item()
as_vector = (angular_momentum(q @ S.T, p @ S.T) - J @ S.T).abs().max().item()
as_pseudovector = (angular_momentum(q @ S.T, p @ S.T) - torch.det(S) * J @ S.T).abs().max().item()
print(f"rotation {rotated:.1e}; mirror, as a vector {as_vector:.2f}, as a pseudovector {as_pseudovector:.1e}")
assert rotated < 1e-13 and as_pseudovector < 1e-13 and as_vector > 1

# %% [markdown]
# A top whose axis is parallel to a mirror spins the other way in it.
#
# ## Ask the function
#
# `infer_parity` turns and inverts the arguments and reports what the output does. Nothing about it has to be declared.

# %%
FUNCTIONS = {
    "momentum": (lambda q, p: p, "1x1o"),
    "angular momentum": (angular_momentum, "1x1e"),
    "q . p": (lambda q, p: (q * p).sum(-1, keepdim=True), "1x0e"),
    "helicity, J . p of two particles": (
        lambda q, p: (angular_momentum(q, p) * p.roll(1, dims=0)).sum(-1, keepdim=True),
        "1x0o",
    ),
    "force on a charge, p x J": (lambda q, p: torch.linalg.cross(p, angular_momentum(q, p)), "1x1o"),
}
for name, (f, expected) in FUNCTIONS.items():
    found = infer_parity(f, ["1o", "1o"])
    print(f"{name:34} {found}")
    assert str(found) == expected

# %% [markdown]
# A magnetic field, being made by currents that circle, is even too: so declared, it makes the force p x B a vector.

# %%
assert str(infer_parity(torch.linalg.cross, ["1o", "1e"])) == "1x1o"

# %% [markdown]
# The wrong declaration is told apart by the inversion, and by nothing else:

# %%
print(equivariance_error(angular_momentum, ["1o", "1o"], "1o"))
assert_equivariant(angular_momentum, ["1o", "1o"], "1e")
assert_equivariant(angular_momentum, ["1o", "1o"], "1o", parity=False)  # rotations alone do not see it

# %% [markdown]
# ## Neither
#
# A sum of a vector and a pseudovector is neither. This is what a network without parity makes, and it tells left hands
# from right ones where physics does not.

# %%
try:
    infer_parity(lambda q, p: p + angular_momentum(q, p), ["1o", "1o"])
except ValueError as error:
    print("neither:", error)
else:
    raise SystemExit("a sum of both parities was not noticed")

# %% [markdown]
# ## What a model makes of it
#
# There is no product of two vectors that is a vector, `1o x 1o -> 1o`: the layer has no weight and says so. There is
# one that is a pseudovector, and it is the cross product, up to a factor.

# %%
wrong = o3.FullyConnectedTensorProduct("1o", "1o", "1o")
right = o3.FullyConnectedTensorProduct("1o", "1o", "1e")
print(wrong)
print(right)
assert wrong.weight_numel == 0 and right.weight_numel == 1
assert wrong(q, p).abs().max() == 0

unit = right(q, p, torch.ones(1))
factor = (unit * J).sum() / unit.square().sum()
defect = (right(q, p, factor[None].detach()) - J).abs().max().item()
print(f"cross product = {factor:.4f} x the product of the layer, up to {defect:.0e}")
assert defect < 1e-13 and abs(factor - 2**0.5) < 1e-12

# %% [markdown]
# That the total angular momentum of a closed system is conserved is a matter of rotations, not of the mirror: an energy
# that does not change when everything turns conserves it. The sum of q x F vanishes for every such energy.

# %%
points = torch.randn(5, 3, requires_grad=True)
energy = torch.pdist(points).reciprocal().sum()
force = -torch.autograd.grad(energy, points)[0]
torque = torch.linalg.cross(points.detach(), force).sum(0)
print(f"total torque {torque.abs().max():.0e}")
assert torque.abs().max() < 1e-12
