# %% [markdown]
# # Cartesian tensors
#
# What you will know: which irreps a polarizability, an inertia tensor or an elasticity tensor holds, how to go there
# and back, what the parts say, and how to fit a tensor whose symmetries hold exactly. (The figure needs matplotlib:
# `pip install "irrepnet[report]"`.)

# %%
import torch
from matplotlib import pyplot as plt

from irrepnet import io, o3

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)

# %% [markdown]
# ## A formula says which symmetries a tensor has
#
# Each letter is an index over x, y, z; the terms are equal. A symmetric matrix has `ij = ji`: six numbers, which are a
# scalar (its trace) and five numbers that turn as one irrep of degree 2. An antisymmetric one is a pseudovector.

# %%
for formula in ["ij=ji", "ij=-ji", "ij", "ijk=ikj", "ijkl=jikl=klij"]:
    tensor = io.CartesianTensor(formula)
    print(f"{formula:>16}: {tensor!s:<24} {tensor.dim} of {3 ** len(tensor.indices)} numbers")
assert io.CartesianTensor("ij=ji") == o3.Irreps("0e + 2e")

# %% [markdown]
# There and back again is the identity, and lengths are kept. A tensor without the symmetry is projected on it.

# %%
symmetric = io.CartesianTensor("ij=ji")
matrix = torch.randn(3, 3)
y = symmetric.from_cartesian(matrix)
assert torch.allclose(symmetric.to_cartesian(y), (matrix + matrix.T) / 2)
assert torch.allclose(y.norm(), ((matrix + matrix.T) / 2).norm())

# %% [markdown]
# ## Polarizability: what light can see
#
# Light that a molecule scatters depends on two invariants of its polarizability: the mean a, and the anisotropy, which
# are the lengths of the two irreps. Here is a molecule of two bonds, each easier to polarize along than across.

# %%
bonds = torch.tensor([[0.76, 0.59, 0.0], [-0.76, 0.59, 0.0]])
bonds = bonds / bonds.norm(dim=1, keepdim=True)
along, across = 0.8, 0.5  # Å^3 each
alpha = (along - across) * torch.einsum("bi,bj->ij", bonds, bonds) + 2 * across * torch.eye(3)

scalar, traceless = symmetric.from_cartesian(alpha).split([1, 5])
mean = scalar / 3**0.5
anisotropy_squared = 1.5 * traceless.square().sum()
depolarization = 3 * anisotropy_squared / (45 * mean**2 + 4 * anisotropy_squared)
print(f"mean {mean.item():.3f} Å^3, depolarization ratio {depolarization.item():.4f}")
assert torch.allclose(mean, alpha.trace() / 3)
principal = torch.linalg.eigvalsh(alpha)
assert torch.allclose(anisotropy_squared, sum((principal[i] - principal[i - 1]) ** 2 for i in range(3)) / 2)

# %% [markdown]
# Turn the molecule: the matrix becomes `R alpha R^T`, the irreps become `D y`. It is the same thing, and so a network
# that ends in `0e + 2e` is one that predicts a polarizability.

# %%
R = o3.rand_matrix()
D = symmetric.D_from_matrix(R)  # [6, 6]
assert torch.allclose(symmetric.from_cartesian(R @ alpha @ R.T), D @ symmetric.from_cartesian(alpha))

# %% [markdown]
# ## Inertia: a sum of products of vectors
#
# `from_vectors` takes the product of vectors to irreps. The inertia tensor is made of the same two irreps as the second
# moments of the masses, with other factors: it is r^2 - r r^T, so twice the scalar, and minus the rest.

# %%
masses = torch.tensor([15.999, 1.008, 1.008])  # amu
pos = torch.tensor([[0.0, 0.0, 0.0], [0.76, 0.59, 0.0], [-0.76, 0.59, 0.0]])  # Å
pos = pos - masses @ pos / masses.sum()
second_moments = masses @ symmetric.from_vectors(pos, pos)  # [6]
inertia = symmetric.to_cartesian(torch.tensor([2.0] + 5 * [-1.0]) * second_moments)

square = pos.square().sum(1)
expected = torch.einsum("n,nij->ij", masses, square[:, None, None] * torch.eye(3) - pos[:, :, None] * pos[:, None, :])
assert torch.allclose(inertia, expected)
print("moments of inertia", [f"{moment:.3f}" for moment in torch.linalg.eigvalsh(inertia).tolist()], "amu Å^2")

# %% [markdown]
# ## Elasticity: four indices, three degrees
#
# Stress answers strain by a tensor of rank four, symmetric in each pair and under exchange of the pairs: 21 numbers,
# `2x0e + 2x2e + 4e`. Copper is cubic, with three constants. (In GPa: Simmons and Wang, Single Crystal Elastic
# Constants, 1971.)

# %%
elasticity = io.CartesianTensor("ijkl=jikl=klij")
C11, C12, C44 = 168.4, 121.4, 75.4
delta = torch.eye(3)
axes = torch.einsum("ai,aj,ak,al->ijkl", delta, delta, delta, delta)
volume = torch.einsum("ij,kl->ijkl", delta, delta)
shear = torch.einsum("ik,jl->ijkl", delta, delta) + torch.einsum("il,jk->ijkl", delta, delta)
copper = C12 * volume + C44 * shear + (C11 - C12 - 2 * C44) * axes
y = elasticity.from_cartesian(copper)
isotropic, second, fourth = y.split([2, 10, 9])
print("lengths of the parts:", [f"{part.norm().item():.1f}" for part in (isotropic, second, fourth)])

# %% [markdown]
# A cubic crystal has nothing of degree 2: that is a theorem, seen here in numbers. What is left when only the scalars
# are kept is the mean over all orientations, a polycrystal: its two moduli are those of Voigt.

# %%
assert second.abs().max() < 1e-10
polycrystal = elasticity.to_cartesian(torch.cat([isotropic, torch.zeros(19)]))
bulk = torch.einsum("iijj", polycrystal) / 9
rigidity = (torch.einsum("ijij", polycrystal) - torch.einsum("iijj", polycrystal) / 3) / 10
print(f"bulk modulus {bulk:.1f} GPa, shear modulus {rigidity:.1f} GPa")
assert torch.allclose(bulk, torch.tensor((C11 + 2 * C12) / 3))
assert torch.allclose(rigidity, torch.tensor((C11 - C12 + 3 * C44) / 5))
assert torch.allclose(polycrystal, (bulk - 2 * rigidity / 3) * volume + rigidity * shear)

# %% [markdown]
# Turning the crystal turns four indices, or 21 numbers by one matrix. The scalars stay, so the moduli do.

# %%
turned = torch.einsum("ia,jb,kc,ld,abcd->ijkl", R, R, R, R, copper)
assert torch.allclose(elasticity.from_cartesian(turned), elasticity.D_from_matrix(R) @ y)
assert torch.allclose(elasticity.from_cartesian(turned)[:2], isotropic)

# %% [markdown]
# ## How stiff in which direction?
#
# The stiffness against stretching along n, with the sides held, is C contracted with n four times: a dot product with
# the irreps of n n n n. The part of degree 4 alone makes it depend on the direction.

# %%
angle = torch.linspace(0, 2 * torch.pi, 361)
n = torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], dim=1)  # [361, 3]
stiffness = elasticity.from_vectors(n, n, n, n) @ y  # [361], GPa
assert torch.allclose(stiffness[0], torch.tensor(C11))
assert torch.allclose(stiffness[45], torch.tensor((C11 + C12 + 2 * C44) / 2))
assert torch.allclose(stiffness[:-1], stiffness[:-1].roll(90))  # a quarter turn changes nothing

figure, axis = plt.subplots(subplot_kw={"projection": "polar"}, figsize=(5, 5), layout="constrained")
axis.plot(angle, stiffness, label="copper, (001) plane")
axis.plot(angle, (bulk + 4 * rigidity / 3).expand(361), "--", label="polycrystal")
axis.set(ylim=(0, 240), title="Longitudinal stiffness, GPa")
legend = axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2)

# %% [markdown]
# ## Fit a tensor that has its symmetries
#
# Six noisy experiments, each a strain and the stress that answers it. The unknowns are the 21 numbers, so whatever the
# noise, what comes out is an elasticity tensor; the symmetry is not asked for, it cannot be broken.

# %%
strain = symmetric.to_cartesian(torch.randn(6, 6)) * 1e-3
stress = torch.einsum("ijkl,nkl->nij", copper, strain) + 1e-4 * torch.randn(6, 3, 3)  # GPa
basis = elasticity.to_cartesian(torch.eye(21))  # one tensor for each unknown
answers = torch.einsum("aijkl,nkl->nija", basis, strain).reshape(-1, 21)
fitted = torch.linalg.lstsq(answers, stress.reshape(-1, 1)).solution.squeeze(1)
found = elasticity.to_cartesian(fitted)
error = (found - copper).norm() / copper.norm()
print(f"relative error of the fit {error:.4f}")
assert torch.allclose(found, found.permute(1, 0, 2, 3)) and torch.allclose(found, found.permute(2, 3, 0, 1))
assert error < 0.02

# %% [markdown]
# What is known beforehand is left out of the unknowns: no part of degree 2 for a cubic crystal, whichever way it lies.

# %%
kept = torch.tensor([ir.l != 2 for mul, ir in elasticity for _ in range(mul * ir.dim)])
cubic = torch.linalg.lstsq(answers[:, kept], stress.reshape(-1, 1)).solution.squeeze(1)
print(f"{len(cubic)} unknowns, relative error {(cubic - y[kept]).norm() / y.norm():.4f}")
assert len(cubic) == 11 and (cubic - y[kept]).norm() < 0.02 * y.norm()
