"""The tensor product by its definition, with e3nn's 3j tables: what both product ops are compared with."""

from functools import cache

import e3nn.o3
import torch

from irrepnet import o3


@cache
def table(l1, l2, l3):
    return e3nn.o3.wigner_3j(l1, l2, l3, dtype=torch.float64)


def messages(tp: o3.TensorProduct, x, y, weights):
    """Rows of the product of ``uvu`` and ``uvw`` paths, one path after another."""
    out = torch.zeros(x.shape[0], tp.irreps_out.dim, dtype=torch.float64)
    for i, ins in enumerate(tp.instructions):
        (m1, ir1), (m2, ir2), (_, ir3) = tp.irreps_in1[ins.i_in1], tp.irreps_in2[ins.i_in2], tp.irreps_out[ins.i_out]
        a = x[:, tp.irreps_in1.slices()[ins.i_in1]].reshape(-1, m1, ir1.dim)
        b = y[:, tp.irreps_in2.slices()[ins.i_in2]].reshape(-1, m2, ir2.dim)
        w = tp.weight_view_for_instruction(i, weights)
        rule = {"uvu": "zui,zvj,ijk,zuv->zuk", "uvw": "zui,zvj,ijk,zuvw->zwk"}[ins.connection_mode]
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
