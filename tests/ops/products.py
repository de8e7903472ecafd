"""The tensor product by its definition, with e3nn's 3j tables: what both product ops are compared with."""

import math
from functools import cache

import e3nn.o3
import torch

from irrepnet import o3


@cache
def table(l1, l2, l3):
    return e3nn.o3.wigner_3j(l1, l2, l3, dtype=torch.float64)


# mode: its einsum, and whether it is over the pairs u < v
RULES = {
    "uvw": ("zui,zvj,ijk,zuvw->zwk", False),
    "uvu": ("zui,zvj,ijk,zuv->zuk", False),
    "uvv": ("zui,zvj,ijk,zuv->zvk", False),
    "uuw": ("zui,zuj,ijk,zuw->zwk", False),
    "uuu": ("zui,zuj,ijk,zu->zuk", False),
    "uvuv": ("zui,zvj,ijk,zuv->zuvk", False),
    "uvu<v": ("zui,zuj,ijk,zu->zuk", True),
    "u<vw": ("zui,zuj,ijk,zuw->zwk", True),
}


def messages(tp: o3.TensorProduct, x, y, weights):
    """Rows of the product, one path after another; weights of each row, or of all."""
    out = torch.zeros(x.shape[0], tp.irreps_out.dim, dtype=torch.float64)
    start = 0
    for ins in tp.instructions:
        (m1, ir1), (m2, ir2), (_, ir3) = tp.irreps_in1[ins.i_in1], tp.irreps_in2[ins.i_in2], tp.irreps_out[ins.i_out]
        a = x[:, tp.irreps_in1.slices()[ins.i_in1]].reshape(-1, m1, ir1.dim)
        b = y[:, tp.irreps_in2.slices()[ins.i_in2]].reshape(-1, m2, ir2.dim)
        size = math.prod(ins.path_shape)
        w = weights[..., start : start + size].expand(x.shape[0], size).unflatten(1, ins.path_shape)
        start += size
        rule, ascending = RULES[ins.connection_mode]
        if ascending:
            u, v = torch.triu_indices(m1, m2, 1)
            a, b = a[:, u], b[:, v]
        z = torch.einsum(rule, a, b, table(ir1.l, ir2.l, ir3.l), w)
        out[:, tp.irreps_out.slices()[ins.i_out]] += ins.path_weight * z.flatten(1)
    return out


def channelwise(irreps_in: str, irreps_edge: str, keep: str) -> o3.TensorProduct:
    """All ``uvu`` paths to the irreps kept, sorted as kernels and networks have them."""
    irreps_in, irreps_edge, keep = map(o3.Irreps, (irreps_in, irreps_edge, keep))
    found = [
        (i, j, mul, ir)
        for i, (mul, ir1) in enumerate(irreps_in)
        for j, (_, ir2) in enumerate(irreps_edge)
        for ir in ir1 * ir2
        if ir in keep
    ]
    irreps_out, p, _ = o3.Irreps([(mul, ir) for _, _, mul, ir in found]).sort()
    paths = sorted(((i, j, p[k], "uvu", True) for k, (i, j, _, _) in enumerate(found)), key=lambda path: path[2])
    return o3.TensorProduct(irreps_in, irreps_edge, irreps_out, paths, shared_weights=False)
