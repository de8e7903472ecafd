# %% [markdown]
# # Check your own model
#
# What you will know: how to test in a few lines that *any* function of atoms turns, moves and permutes as it should,
# which faults such a test catches, and which it cannot: forces that are not the gradient of the energy need a test of
# their own. The model here is plain PyTorch and knows nothing of irrepnet.

# %%
import torch
from torch import nn

from irrepnet.testing import Permutation, assert_equivariant, equivariance_error, infer_parity

torch.manual_seed(0)
pos = torch.tensor(
    [
        [0.00, 0.00, 0.00],
        [0.96, 0.00, 0.00],
        [-0.24, 0.93, 0.00],
        [2.75, 0.10, 0.20],
        [3.30, 0.80, 0.50],
        [3.10, -0.75, 0.60],
    ],
    dtype=torch.float64,
)  # two waters, Å
species = torch.tensor([8, 1, 1, 8, 1, 1])

# %% [markdown]
# ## A model
#
# Energy: a small network on all distances. Forces: its gradient. Dipole: each atom gets a charge from its surroundings;
# their sum is taken away, because only a neutral system has a dipole that does not depend on the origin.


# %%
class Pairs(nn.Module):
    """Energy, forces and dipole of a few atoms, from all pairs."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.pair = nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 2))

    def forward(self, pos, species):
        pos = pos.clone().requires_grad_()
        energies, charges = self.energies_and_charges(pos, species)
        energy = energies.sum()
        (slope,) = torch.autograd.grad(energy, pos, create_graph=True)
        dipole = (charges - charges.mean()) @ pos
        return energy[None], -slope, dipole  # [1] eV, [N, 3] eV/Å, [3] eÅ

    def energies_and_charges(self, pos, species):
        distances = self.distances(pos)  # [N, N]
        centres = torch.linspace(0.5, 4.0, 8, dtype=pos.dtype)
        radial = torch.exp(-((distances[..., None] - centres) ** 2))  # [N, N, 8]
        kinds = self.embedding(species)
        count = len(species)
        pairs = torch.cat([radial, kinds.expand(count, -1, -1), kinds[:, None].expand(-1, count, -1)], dim=-1)
        out = self.pair(pairs) * (1 - torch.eye(count, dtype=pos.dtype))[..., None]  # [N, N, 2], no atom with itself
        return out.sum(dim=1).unbind(dim=-1)

    def distances(self, pos):
        vectors = pos[None] - pos[:, None]
        return (vectors.square().sum(dim=-1) + 1e-12).sqrt()  # the small number keeps the diagonal's gradient finite


model = Pairs().double()

# %% [markdown]
# ## Declare and check
#
# Say how each argument and each output transforms: `cartesian_points` turn and move; `0e` is a scalar, `1o` a vector;
# species do not transform (None). The permutation moves the rows of positions, species and forces together. That is
# all: random rotations, inversion, translations and permutations are drawn and compared. The report says what was worst
# under each, and then how every part of every output fared.

# %%
declared = {
    "irreps_in": ["cartesian_points", None],
    "irreps_out": ["0e", "1o", "1o"],
    "permutation": Permutation(inputs=[0, 1], outputs=[1]),
    "inputs": [pos, species],
}
print(equivariance_error(model, **declared))
assert_equivariant(model, **declared)

# %% [markdown]
# ## Plant faults, and see them caught
#
# A check that has never failed proves little. Each class below has one fault of a kind that is found in real code; the
# message names the transformation, the output and the size of the error.


# %%
class ChargedDipole(Pairs):
    """Forgets to make the charges neutral: the dipole depends on the origin."""

    def forward(self, pos, species):
        energy, forces, _ = super().forward(pos, species)
        return energy, forces, self.energies_and_charges(pos, species)[1] @ pos


class WrongParity(Pairs):
    """Adds a cross product, which is a pseudovector (1e), to a vector (1o): a mirror image gets another dipole."""

    def forward(self, pos, species):
        energy, forces, dipole = super().forward(pos, species)
        energies, _ = self.energies_and_charges(pos, species)
        lever = (energies - energies.mean()) @ pos
        return energy, forces, dipole + torch.linalg.cross(lever, dipole)


class DroppedNeighbours(Pairs):
    """Keeps the first three neighbours by index, as a capped neighbour list does."""

    def distances(self, pos):
        far = torch.full((len(pos), len(pos) - 3), 99.0, dtype=pos.dtype)
        return torch.cat([super().distances(pos)[:, :3], far], dim=1)


class FixedAxes(Pairs):
    """Stretches space along z, as when a cell is transposed or an axis mislabelled."""

    def distances(self, pos):
        return super().distances(pos * torch.tensor([1.0, 1.0, 1.1], dtype=pos.dtype))


def caught(faulty):
    """Return the first line of what the check says of a model with a fault."""
    faulty = faulty().double()
    faulty.load_state_dict(model.state_dict())
    try:
        assert_equivariant(faulty, **declared)
    except AssertionError as error:
        return str(error).splitlines()[0]
    raise SystemExit(f"{type(faulty).__name__} was not caught")


for faulty, kind in {
    ChargedDipole: "translation",
    WrongParity: "inversion",
    DroppedNeighbours: "permutation",
    FixedAxes: "rotation",
}.items():
    message = caught(faulty)
    print(message)
    assert f"under {kind}" in message

# %% [markdown]
# ## What equivariance does not see
#
# Forces that are 2 % too large are perfectly equivariant. So are those of a model that detaches a tensor, or of a fast
# kernel with a wrong derivative. Molecular dynamics with them does not keep its energy. Compare with finite differences
# of the energy, in float64: the error of the formula below is far under 1e-6 eV/Å.


# %%
def worst_force_error(model, step=2e-3):
    """Return the greatest difference between forces and five-point finite differences of the energy, eV/Å."""
    _, forces, _ = model(pos, species)
    worst = 0.0
    for atom in range(len(pos)):
        for axis in range(3):
            along = torch.zeros_like(pos)
            along[atom, axis] = step
            e = {k: model(pos + k * along, species)[0].item() for k in (-2, -1, 1, 2)}
            slope = (e[-2] - 8 * e[-1] + 8 * e[1] - e[2]) / (12 * step)
            worst = max(worst, abs(slope + forces[atom, axis].item()))
    return worst


class DetachedDistances(Pairs):
    """Detaches part of the way from positions to energy: right energies, wrong forces."""

    def distances(self, pos):
        distances = super().distances(pos)
        return torch.where(distances > 2.0, distances.detach(), distances)


detached = DetachedDistances().double()
detached.load_state_dict(model.state_dict())
assert_equivariant(detached, **declared)  # passes!
right, wrong = worst_force_error(model), worst_force_error(detached)
print(f"forces against finite differences: {right:.1e} eV/Å; with the fault: {wrong:.1e} eV/Å")
assert right < 1e-6 < wrong

# %% [markdown]
# ## What is it, then?
#
# Where you do not know how an output transforms, ask. The faulty dipole above is no vector; nor is it a pseudovector:

# %%
print(infer_parity(model, ["cartesian_points", None], inputs=[pos, species]))
wrong_parity = WrongParity().double()
wrong_parity.load_state_dict(model.state_dict())
try:
    infer_parity(wrong_parity, ["cartesian_points", None], inputs=[pos, species])
except ValueError as error:
    print(error)
else:
    raise SystemExit("the mixture of parities was not noticed")

# %% [markdown]
# ## In your own tests
#
# The checks are fixtures of a pytest plugin, which is there wherever irrepnet is installed; a test takes three lines:
#
#     def test_layer(assert_equivariant):
#         assert_equivariant(MyLayer(), "2x0e + 1o", "1o")
#
# A test that fails tells its seed. `tutorials/test_my_layer.py` is a file to copy. Further checks: `assert_normalized`
# (variance 1 in, variance 1 out), `assert_periodic` (a crystal is not its cell, tutorial 06) and `infer_parity`
# (tutorial 07). A model that irrepnet trained is checked with the same functions, forces and stress included, by
# `irrepnet check-equivariance best.model`.
