"""Linear maps by species: what they equal, equivariance, and what is refused."""

import e3nn.o3
import pytest
import torch
from hypothesis import given, settings

from irrepnet.errors import ConfigError, DtypeError, IrrepsError, ShapeError
from irrepnet.nn import SpeciesLinear
from irrepnet.o3 import Irreps
from irrepnet.testing import Permutation, assert_equivariant, strategies

SPECIES = torch.tensor([2, 0, 0, 1, 2])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@settings(max_examples=10)
@given(irreps=strategies.irreps(lmax=6, max_mul=3))
def test_equivariance(dtype, irreps):
    layer = SpeciesLinear(irreps, irreps.regroup(), 3).to(dtype)
    assert_equivariant(
        layer,
        [irreps, None],
        layer.irreps_out,
        permutation=Permutation(inputs=[0, 1], outputs=[0]),
        inputs=[irreps.randn(5, -1, dtype=dtype), SPECIES],
        trials=2,
    )


@pytest.mark.parametrize("irreps_out", ["5x0e+2x1o", "3x1o+2x0e+4x0e", "1o"])
def test_equals_a_fully_connected_product_with_one_hot_attributes(irreps_out):
    irreps_in, num_species = Irreps("4x0e+3x1o"), 3
    layer = SpeciesLinear(irreps_in, irreps_out, num_species).double()
    product = e3nn.o3.FullyConnectedTensorProduct(str(irreps_in), f"{num_species}x0e", irreps_out).double()
    start, flat = 0, []
    for ins in product.instructions:  # path by path: [num_species, u * w] to [u, num_species, w]
        u, _, w = ins.path_shape
        block = layer.weight[:, start : start + u * w].unflatten(1, (u, w))
        flat.append(block.transpose(0, 1).flatten())
        start += u * w
    x = irreps_in.randn(5, -1, dtype=torch.float64)
    one_hot = torch.nn.functional.one_hot(SPECIES, num_species).double() * num_species**0.5
    with torch.no_grad():
        product.weight.copy_(torch.cat(flat))
    torch.testing.assert_close(layer(x, SPECIES), product(x, one_hot), rtol=1e-12, atol=1e-12)


def test_each_species_has_its_own_weights():
    layer = SpeciesLinear("4x0e", "4x0e", 3)
    x = torch.randn(1, 4).expand(5, 4)
    y = layer(x, SPECIES)
    assert torch.equal(y[0], y[4])
    assert torch.equal(y[1], y[2])
    assert not torch.allclose(y[0], y[1])
    torch.testing.assert_close(y[:1], x[:1] @ layer.weight[2].view(4, 4) / 2)


def test_unreached_irreps_can_be_zero():
    layer = SpeciesLinear("4x0e", "2x0e+3x1o", 2, unreached="zero")
    y = layer(torch.randn(5, 4), torch.zeros(5, dtype=torch.int64))
    assert (y[:, 2:] == 0).all()
    assert (y[:, :2] != 0).all()


def test_derivatives_state_and_no_nodes():
    layer = SpeciesLinear("2x0e+1o", "0e+1o", 2).double()
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    species = torch.tensor([1, 0, 1])
    weight = layer.weight.detach().clone().requires_grad_()
    f = lambda x, weight: torch.func.functional_call(layer, {"weight": weight}, (x, species))
    assert torch.autograd.gradcheck(f, (x, weight))
    assert torch.autograd.gradgradcheck(f, (x, weight))
    assert {name: tuple(w.shape) for name, w in layer.state_dict().items()} == {"weight": (2, 3)}
    assert layer(x[:0], species[:0]).shape == (0, 4)
    torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend="aot_eager")(x, species), layer(x, species))


def test_errors():
    with pytest.raises(IrrepsError, match=r"SpeciesLinear needs a path to each entry .* none leads to 1x1o"):
        SpeciesLinear("4x0e", "0e+1o", 2)
    with pytest.raises(ConfigError, match="integer num_species >= 1; got 0"):
        SpeciesLinear("4x0e", "0e", 0)
    with pytest.raises(ConfigError, match=r"unreached 'error' or 'zero'; got 'zeros'\. Did you mean 'zero'"):
        SpeciesLinear("4x0e", "0e", 2, unreached="zeros")
    layer = SpeciesLinear("4x0e", "0e", 2)
    with pytest.raises(DtypeError, match=r"species as int64 numbers; got torch.int32"):
        layer(torch.ones(2, 4), torch.zeros(2, dtype=torch.int32))
    with pytest.raises(ShapeError, match=r"node_feats \[N, 4\] and species \[N\]; got \[2, 4\] and \[3\]"):
        layer(torch.ones(2, 4), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ShapeError, match=r"node_feats \[N, 4\] and species \[N\]; got \[2, 5\] and \[2\]"):
        layer(torch.ones(2, 5), torch.zeros(2, dtype=torch.int64))
