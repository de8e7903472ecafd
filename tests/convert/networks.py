"""Networks written against e3nn's names, for either library: ``python networks.py e3nn|irrepnet OUT [REFERENCE]``.

With e3nn it writes their state dicts, inputs and outputs. With irrepnet it loads those and writes its own outputs; that
process never imports e3nn.
"""

import sys
from importlib import import_module
from types import SimpleNamespace

import torch
from torch.nn.functional import silu

SH = "1x0e+1x1o+1x2e"
HIDDEN = "6x0e+2x0o+4x1o+2x1e+2x2e"


class MessagePassing(torch.nn.Module):
    """One step as in e3nn's examples: weights from a network of the distance, gate, batch norm, linear maps."""

    def __init__(self, e):
        super().__init__()
        o3, nn = e.o3, e.nn
        self.sh = o3.SphericalHarmonics(SH, normalize=True, normalization="component")
        self.gate = nn.Gate("6x0e+2x0o", [silu, torch.tanh], "8x0e", [torch.sigmoid], "4x1o+2x1e+2x2e")
        self.tp = o3.FullyConnectedTensorProduct(HIDDEN, SH, self.gate.irreps_in, shared_weights=False)
        self.radial = nn.FullyConnectedNet([3, 8, self.tp.weight_numel], silu)
        self.norm = nn.BatchNorm(HIDDEN)
        self.mix = o3.Linear(self.gate.irreps_out, HIDDEN, biases=True)
        self.skip = o3.FullyConnectedTensorProduct(HIDDEN, "2x0e", HIDDEN, path_normalization="path")

    def forward(self, x, pos, attrs):
        src, dst = torch.cartesian_prod(torch.arange(len(x)), torch.arange(len(x))).T
        src, dst = src[src != dst], dst[src != dst]
        edge_vec = pos[dst] - pos[src]
        radial = self.radial(edge_vec.norm(dim=1, keepdim=True) * torch.tensor([0.3, 0.6, 0.9], dtype=x.dtype))
        messages = self.tp(x[src], self.sh(edge_vec), radial)
        total = torch.zeros(len(x), messages.shape[1], dtype=x.dtype).index_add(0, dst, messages)
        return self.norm(self.mix(self.gate(total)) + self.skip(x, attrs))


class Parts(torch.nn.Module):
    """What the other network does not use, one after another."""

    def __init__(self, e):
        super().__init__()
        o3, nn = e.o3, e.nn
        self.modes = torch.nn.ModuleList(
            o3.TensorProduct(*irreps, [(0, 0, 0, mode, True)], in1_var=[2.0], path_normalization="path")
            for mode, *irreps in (
                ("uvw", "2x1o", "3x1o", "4x1e"),
                ("uvu", "2x1o", "3x1o", "2x1e"),
                ("uvv", "2x1o", "3x1o", "3x1e"),
                ("uuw", "2x1o", "2x1o", "4x1e"),
                ("uuu", "2x1o", "2x1o", "2x1e"),
                ("uvuv", "2x1o", "3x1o", "6x1e"),
                ("uvu<v", "3x1o", "3x1o", "3x1e"),
                ("u<vw", "3x1o", "3x1o", "4x1e"),
            )
        )
        self.square = o3.TensorSquare("2x1o+0e", "0e+2e")
        self.full = o3.FullTensorProduct("2x1o+0e", "1o", ["0e", "1e", "1o"], irrep_normalization="norm")
        self.elementwise = o3.ElementwiseTensorProduct("2x1o+1x0e", "3x1o", ["0e", "1o"])
        self.norms = o3.Norm("2x1o+1x0e", squared=True)
        self.norm_activation = nn.NormActivation(e.o3.Irreps("2x1o+1x0e"), torch.sigmoid, bias=True)
        self.sphere = nn.S2Activation([(1, (l, (-1) ** l)) for l in range(3)], silu, (8, 9), "norm", lmax_out=1)
        self.activation = nn.Activation("2x0e+2x0o+1o", [silu, torch.abs, None])
        self.flat = o3.Linear("2x1o+0e", "3x1o+2x0e", f_in=2, f_out=3, path_normalization="path")
        self.dropout = nn.Dropout("2x1o+0e", 0.5)
        self.extract = nn.Extract("2x1o+0e", ["0e", "2x1o"], [(1,), (0,)])
        self.extract_ir = nn.ExtractIr("2x1o+0e", "1o")
        self.identity = nn.Identity("2x1o+0e", "2x1o+0e")
        self.angular = o3.SphericalHarmonicsAlphaBeta([0, 2], "component")
        self.to_grid = o3.ToS2Grid(2, (6, 7), "component")
        self.from_grid = o3.FromS2Grid((6, 7), 1, "component", lmax_in=2)
        self.rotations = nn.SO3Activation(1, 1, silu, 2, aspect_ratio=1)
        self.instance = nn.BatchNorm("2x1o+0e", instance=True, include_bias=False, normalization="norm", reduce="max")
        self.plain = e.math.normalize2mom(silu)

    def forward(self, x, y):
        """Evaluate each part on as many columns of two tensors [rows, 40] as it takes."""
        out = [tp(x[:, : tp.irreps_in1.dim], y[:, : tp.irreps_in2.dim]) for tp in self.modes]
        a, b = x[:, :7], y[:, :9]
        out += [self.square(a), self.full(a, b[:, :3]), self.elementwise(a, b), self.norms(a), self.norm_activation(a)]
        out += [self.sphere(b), self.activation(a), self.flat(x[:, :14].reshape(-1, 2, 7)).flatten(1), self.dropout(a)]
        out += [*self.extract(a), self.extract_ir(a), self.identity(a), self.angular(a[:, 0], b[:, 0])]
        signal = self.to_grid(b)
        out += [signal.flatten(1), self.from_grid(signal), self.rotations(x[:, :10]), self.instance(a), self.plain(a)]
        return torch.cat(out, dim=1)


NETWORKS = {"message_passing": MessagePassing, "parts": Parts}


def library(name):
    return SimpleNamespace(**{room: import_module(f"{name}.{room}") for room in ("o3", "nn", "math")})


def build(name, e):
    """Build a network with random weights and statistics, ready to evaluate."""
    torch.manual_seed(0)
    network = NETWORKS[name](e).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()
        for key, buffer in network.named_buffers():
            if "running" in key:
                buffer.uniform_(0.5, 2.0)
    return network.eval()


def inputs(name):
    generator = torch.Generator().manual_seed(1)
    widths = {"message_passing": (36, 3, 2), "parts": (40, 40)}[name]
    return [torch.randn(5, width, generator=generator, dtype=torch.float64) for width in widths]


def main(name, out, reference=None):
    torch.set_default_dtype(torch.float64)
    e, saved, written = library(name), torch.load(reference) if reference else None, {}
    for network_name in NETWORKS:
        network = build(network_name, e)
        if saved:
            network.load_state_dict(saved[network_name]["state"], strict=True)
        state = {key: value.clone() for key, value in network.state_dict().items()}
        values = network(*inputs(network_name)).detach()
        if saved:  # the same without e3nn's constants
            learned = {key: value for key, value in saved[network_name]["state"].items() if key in state}
            network = build(network_name, e)
            network.load_state_dict(learned, strict=True)
            assert torch.equal(network(*inputs(network_name)), values)
        written[network_name] = {"state": state, "values": values}
    assert {"e3nn", "irrepnet"} & set(sys.modules) == {name}
    torch.save(written, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
