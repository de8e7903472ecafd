"""The water net of the model benchmark on e3nn's modules: the same function of the same weights as our ForceField.

It is written as one would write it with e3nn: products give messages ``[E, dim]``, which ``index_add`` sums; species
are one-hot vectors; radial weights come from a network for each edge.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import e3nn
import torch
from e3nn import o3
from e3nn.math import normalize2mom
from e3nn.nn import Gate
from torch import Tensor, nn
from torch.nn.functional import one_hot, silu

from irrepnet.data import Graph
from irrepnet.models import ForceField
from irrepnet.models.trunk import edge_vectors

e3nn.set_optimization_defaults(jit_mode="eager")


class Radial(nn.Module):
    """Bessel functions, two hidden layers and an envelope, for each edge."""

    def __init__(self, ours: Any, cutoff: float, scale: float) -> None:
        super().__init__()
        sizes = [ours.weights[0].shape[0], *[weight.shape[1] for weight in ours.weights]]
        self.weights = nn.ParameterList(torch.randn(a, b) for a, b in pairwise(sizes))
        self.cutoff, self.scale = cutoff, scale
        self.act = normalize2mom(silu)
        number = torch.arange(1, sizes[0] + 1)
        self.register_buffer("frequencies", number * (math.pi / cutoff))
        shares = number.double() ** -ours.basis.decay  # of the Bessel functions, scaled to a mean square of 1 in all
        self.register_buffer("shares", (shares / shares.square().mean().sqrt()).float())

    def forward(self, edge_len: Tensor) -> Tensor:
        bessel = math.sqrt(2 / self.cutoff) * torch.sin(edge_len[:, None] * self.frequencies) / edge_len[:, None]
        x, r = bessel * self.shares * math.sqrt(self.cutoff**3 / 3), edge_len / self.cutoff
        envelope = 1 - 28 * r**6 + 48 * r**7 - 21 * r**8  # p = 6 of Gasteiger et al. 2020, eq. 8
        for k, weight in enumerate(self.weights):
            x = (self.act(x) if k else x) @ weight / math.sqrt(weight.shape[0])
        return x * (envelope * (r < 1) * self.scale)[:, None]


class Layer(nn.Module):
    def __init__(self, ours: Any, irreps_in: o3.Irreps, cutoff: float, num_species: int) -> None:
        super().__init__()
        text = [str(ours.gate.irreps_scalars), str(ours.gate.irreps_gates), str(ours.gate.irreps_gated)]
        scalars, gates, gated = (o3.Irreps(one) for one in text)
        acts = [silu if ir.p == 1 else torch.tanh for _, ir in scalars]
        self.gate = Gate(scalars, acts, gates, [torch.sigmoid] * len(gates), gated)
        product = ours.convolution.product
        irreps = [o3.Irreps(str(one)) for one in (product.irreps_in1, product.irreps_in2, product.irreps_out)]
        paths = [(i.i_in1, i.i_in2, i.i_out, "uvu", True) for i in product.instructions]
        self.linear = o3.Linear(irreps_in, irreps_in)
        self.product = o3.TensorProduct(*irreps, paths, internal_weights=False, shared_weights=False)
        self.linear_out = o3.Linear(irreps[2].simplify(), self.gate.irreps_in)
        self.self_connection = o3.FullyConnectedTensorProduct(irreps_in, f"{num_species}x0e", self.gate.irreps_in)
        self.radial = Radial(ours.convolution.radial, cutoff, ours.convolution.avg_num_neighbors**-0.5)

    def forward(self, x: Tensor, species: Tensor, edge_sh: Tensor, edge_len: Tensor, edge_index: Tensor) -> Tensor:
        src, dst = edge_index
        messages = self.product(self.linear(x)[src], edge_sh, self.radial(edge_len))
        summed = messages.new_zeros(len(x), messages.shape[1]).index_add(0, dst, messages)
        return self.gate((self.linear_out(summed) + self.self_connection(x, species)) * 0.5**0.5)


class WaterNet(nn.Module):
    """Energy of a graph on e3nn's modules, with the weights of one of our force fields."""

    def __init__(self, ours: ForceField) -> None:
        super().__init__()
        self.num_species = len(ours.config.species)
        self.embedding = nn.Parameter(ours.trunk.embedding.detach().clone())
        irreps = [
            o3.Irreps(f"{ours.trunk.embedding.shape[1]}x0e"),
            *[o3.Irreps(str(one)) for one in ours.irreps_layers],
        ]
        pairs = zip(ours.trunk.layers, irreps, strict=False)
        self.layers = nn.ModuleList(Layer(layer, one, ours.cutoff, self.num_species) for layer, one in pairs)
        hidden = o3.Irreps([(width, "0e") for width in ours.config.readout_hidden])
        self.readout = nn.Sequential(o3.Linear(irreps[-1], hidden), normalize2mom(silu), o3.Linear(hidden, "0e"))
        self.edge_sh = o3.SphericalHarmonics(o3.Irreps.spherical_harmonics(ours.config.lmax), True, "component")
        self.register_buffer("species_index", ours.trunk.species_index.clone())
        self._take_weights(ours)

    def forward(self, graph: Graph, edge_vec: Tensor) -> Tensor:
        """Return the energy of one structure from its edge vectors."""
        isolated = torch.arange(self.num_species)  # as ours: an atom alone has no energy
        species = torch.cat([self.species_index[graph.species], isolated])
        attrs = math.sqrt(self.num_species) * one_hot(species, self.num_species).to(edge_vec.dtype)
        x, edge_sh, edge_len = self.embedding[species], self.edge_sh(edge_vec), edge_vec.norm(dim=1)
        for layer in self.layers:
            x = layer(x, attrs, edge_sh, edge_len, graph.edge_index)
        atoms, vacuum = self.readout(x).squeeze(1).split([graph.num_nodes, self.num_species])
        return (atoms - vacuum[species[: graph.num_nodes]]).double().sum()

    def _take_weights(self, ours: ForceField) -> None:
        with torch.no_grad():
            for mine, theirs in zip(self.layers, ours.trunk.layers, strict=True):
                convolution = theirs.convolution
                mine.linear.weight.copy_(theirs.linear.weight)
                mine.linear_out.weight.copy_(convolution.linear.weight)
                for a, b in zip(mine.radial.weights, convolution.radial.weights, strict=True):
                    a.copy_(b)
                mine.self_connection.weight.copy_(one_hot_weights(theirs.self_connection))
            mine_out, theirs_out = self.readout, ours.readout.network
            mine_out[0].weight.copy_(theirs_out[0].weight)
            mine_out[2].weight.copy_(theirs_out[2].weight)
        for module in self.modules():  # e3nn draws the second moments at random, ours are exact
            if isinstance(module, normalize2mom):
                module.cst = exact_factor(module.f)


def exact_factor(f: Any) -> float:
    """Return 1 / sqrt of the second moment of f under the normal distribution, by the trapezoidal rule."""
    x = torch.linspace(-12, 12, 24001, dtype=torch.float64)
    density = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)
    return float((f(x).square() * density).sum() * (x[1] - x[0])) ** -0.5


def one_hot_weights(ours: Any) -> Tensor:
    """Return the weights of a SpeciesLinear as those of e3nn's product with one-hot species: [path, in, species, out].

    Both visit the entries of the input in order and, in each, those of the output.
    """
    parts, start = [], 0
    for mul_in, ir_in in ours.irreps_in:
        for mul_out, ir_out in ours.irreps_out:
            if ir_in == ir_out:
                block = ours.weight[:, start : start + mul_in * mul_out].reshape(-1, mul_in, mul_out)
                parts.append(block.transpose(0, 1).flatten())
                start += mul_in * mul_out
    return torch.cat(parts)


def energy_and_forces(net: WaterNet, graph: Graph, create_graph: bool = False) -> tuple[Tensor, Tensor]:
    pos = graph.pos.detach().requires_grad_()
    energy = net(graph, edge_vectors(replace(graph, pos=pos)))
    (slope,) = torch.autograd.grad(energy, pos, create_graph=create_graph)
    return energy, -slope
