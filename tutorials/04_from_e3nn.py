# %% [markdown]
# # From e3nn
#
# What you will know: how a script written for e3nn moves to irrepnet, how its trained weights come along, how a module
# that already lives in e3nn is converted in place of being written again, and what to do with weights from e3nn 0.4.4.
#
# It runs with and without e3nn. Without it, the comparisons are left out.

# %%
import statistics
import time

import torch
from torch.nn.functional import silu

from irrepnet import convert, nn, o3

try:
    from e3nn import nn as e3nn_nn
    from e3nn import o3 as e3nn_o3
except ImportError:
    e3nn_nn = e3nn_o3 = None
    print("e3nn is not installed: what compares the two is left out.")

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)

# %% [markdown]
# ## One line changes
#
# ```diff
# - from e3nn import nn, o3
# + from irrepnet import nn, o3
# ```
#
# Classes, arguments, defaults, normalisations and the order of the weights are those of e3nn 0.6. Here is a network in
# its style: messages are products of features with spherical harmonics, weighted by a network of the distance; then a
# gate, a linear map and a batch norm. To have it twice below, it takes the two modules as arguments; in a script of
# yours they are the two imported names.

# %%
HIDDEN = "16x0e + 8x1o + 4x2e"
HARMONICS = "1x0e + 1x1o + 1x2e"


class Layer(torch.nn.Module):
    def __init__(self, o3, nn):
        super().__init__()
        self.sh = o3.SphericalHarmonics(HARMONICS, normalize=True, normalization="component")
        self.gate = nn.Gate("16x0e", [silu], "12x0e", [torch.sigmoid], "8x1o + 4x2e")
        self.tp = o3.FullyConnectedTensorProduct(HIDDEN, HARMONICS, self.gate.irreps_in, shared_weights=False)
        self.radial = nn.FullyConnectedNet([8, 32, self.tp.weight_numel], silu)
        self.mix = o3.Linear(self.gate.irreps_out, HIDDEN, biases=True)
        self.norm = nn.BatchNorm(HIDDEN)

    def forward(self, x, pos, src, dst):
        edge_vec = pos[dst] - pos[src]
        distances = torch.linspace(0.5, 3.0, 8, dtype=x.dtype)
        basis = torch.exp(-((edge_vec.norm(dim=1, keepdim=True) - distances) ** 2))  # [E, 8]
        messages = self.tp(x[src], self.sh(edge_vec), self.radial(basis))
        total = x.new_zeros(len(x), messages.shape[1]).index_add(0, dst, messages)
        return self.norm(self.mix(self.gate(total)))


ours = Layer(o3, nn)
print(ours)

pos = 2 * torch.randn(30, 3)
x = o3.Irreps(HIDDEN).randn(30, -1)
src, dst = ((torch.cdist(pos, pos) < 3.0) & ~torch.eye(30, dtype=torch.bool)).nonzero().T
print(f"{len(pos)} nodes, {len(src)} edges")

# %% [markdown]
# ## The weights come along
#
# A `state_dict` of e3nn loads as it is, with `strict=True`. e3nn saves constants too, such as `output_mask`; they are
# left out, as irrepnet makes its constants anew, exactly, in whatever precision a module has. What irrepnet saves is
# what was learned.

# %%
if e3nn_o3 is not None:
    theirs = Layer(e3nn_o3, e3nn_nn)
    state = theirs.state_dict()
    ours.load_state_dict(state, strict=True)
    difference = (ours.eval()(x, pos, src, dst) - theirs.eval()(x, pos, src, dst)).abs().max().item()
    print(
        f"{len(state)} entries saved by e3nn, {len(ours.state_dict())} by irrepnet; outputs differ by {difference:.1e}"
    )
    assert difference < 1e-10


# %%
def milliseconds(*functions, repeats=7):
    """Return the median time of each function, the calls in turn so that both meet the same weather."""
    times = [[] for _ in functions]
    for _ in range(repeats):
        for function, found in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            found.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(found) for found in times]


def step(layer):
    """Return a step of training without the update: forward and backward."""
    return lambda: layer(x, pos, src, dst).square().sum().backward()


if e3nn_o3 is not None:
    for what, functions in (
        ("build", (lambda: Layer(o3, nn), lambda: Layer(e3nn_o3, e3nn_nn))),
        ("forward", (lambda: ours(x, pos, src, dst), lambda: theirs(x, pos, src, dst))),
        ("forward and backward", (step(ours), step(theirs))),
    ):
        here, there = milliseconds(*functions)
        print(f"{what}: {here:.1f} ms here, {there:.1f} ms in e3nn, {there / here:.1f} times as fast")

# %% [markdown]
# ## A module that is already there
#
# Where the code that builds a network is not yours to change, `convert.from_e3nn` takes the finished module and gives
# back a copy in which every module of e3nn is replaced. The report says what became of each. Classes derived from those
# of e3nn, and compiled or scripted code, are kept, and the report says so: their code may use what is inside.

# %%
if e3nn_o3 is not None:
    converted, report = convert.from_e3nn(theirs)
    print(report)
    assert not report.not_replaced
    assert (converted(x, pos, src, dst) - theirs(x, pos, src, dst)).abs().max() < 1e-10

# %% [markdown]
# ## Weights from e3nn 0.4.4
#
# Up to 0.4.4, some of the tables behind products, `wigner_3j`, had the other sign: of those up to degree 4, the ones of
# degrees (1, 2, 2), (1, 3, 3) and (1, 4, 4), in any order. Weights that were trained there expect them, and no error
# would tell: the network would just compute something else. So say it: `from_e3nn(module, wigner_signs="0.4.4")`, or,
# for a module written with irrepnet, `flip_wigner_signs` once after the weights were loaded.

# %%
print(
    "sign of (1, 1, 2), (1, 2, 2), (3, 3, 1):", [convert.wigner_sign(*ls) for ls in ((1, 1, 2), (1, 2, 2), (3, 3, 1))]
)

product = o3.FullyConnectedTensorProduct("4x1o + 4x2e", "1x1o + 1x2e", "4x1o + 4x2o + 4x2e")
a, b = torch.randn(5, 32), torch.randn(5, 8)
before = product(a, b)
print("paths changed:", convert.flip_wigner_signs(product))
after = product(a, b)
s, t = product.irreps_out.slices()[0], product.irreps_out.slices()[1]
assert torch.equal(before[:, s], after[:, s])  # 1o x 2e -> 1o and 2e x 1o -> 1o: as they were
assert torch.allclose(before[:, t], -after[:, t])  # 1o x 2e -> 2o and 2e x 1o -> 2o: turned round

# %% [markdown]
# A product that owns its weights takes the signs into them, so it is a product like any other afterwards and its
# `state_dict` can be used anywhere. One whose weights come from outside takes them into the constant factors of its
# paths: there the signs belong to the module, and a new module needs `flip_wigner_signs` again.

# %%
fresh = o3.FullyConnectedTensorProduct("4x1o + 4x2e", "1x1o + 1x2e", "4x1o + 4x2o + 4x2e")
fresh.load_state_dict(product.state_dict())
assert torch.equal(fresh(a, b), after)
