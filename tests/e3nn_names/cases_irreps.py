"""Irrep and Irreps, method by method, and the module of constants."""

from __future__ import annotations

import torch

__all__ = ["CASES"]


def irrep(e, d):
    l, p = d.irrep(3)
    ir, other = e.o3.Irrep(l, p), e.o3.Irrep(*d.irrep(2))
    text = f"{l}{'e' if p == 1 else 'o'}"
    angles, k = d.angles(3), torch.tensor([0.0, 1.0, 3.0])
    q, R, axis, angle = d.quaternion(3), d.matrix(3), d.unit(3), d.uniform(3)
    return {
        "": lambda: [str(e.o3.Irrep(x)) for x in (ir, text, (l, p), f"{l}y")],
        "__operators__": lambda: [
            [str(x) for x in ir * other],
            str(3 * ir),
            str(ir + other),
            hash(ir),
            ir == (l, p),
            repr(ir),
        ],
        "l": lambda: ir.l,
        "p": lambda: ir.p,
        "dim": lambda: ir.dim,
        "is_scalar": ir.is_scalar,
        "iterator": lambda: [str(x) for x in e.o3.Irrep.iterator(d.integer(0, 4))],
        "count": lambda: ir.count(1),
        "index": lambda: ir.index(1),
        "D_from_angles": lambda: ir.D_from_angles(*angles, k),
        "D_from_quaternion": lambda: ir.D_from_quaternion(q, k),
        "D_from_matrix": lambda: ir.D_from_matrix(-R),
        "D_from_axis_angle": lambda: ir.D_from_axis_angle(axis, angle),
    }


def irreps(e, d):
    text, other = d.irreps(most=4, lmax=3, min_mul=0), d.irreps()
    x = e.o3.Irreps(text)
    some = e.o3.Irrep(*d.irrep())
    keep = other.split("x")[1][:2]
    angles, k = d.angles(3), torch.tensor([0.0, 1.0, 3.0])
    q, R, axis, angle = d.quaternion(3), d.matrix(3), d.unit(3), d.uniform(3)
    y = x + e.o3.Irreps(other)
    low, high = d.integer(0, 2), d.integer(2, 5)

    def randn():
        torch.manual_seed(d.seed)
        shape, normalization = d.option((2, -1), (-1, 3), (2, -1, 2)), d.option("component", "norm")
        options = {"requires_grad": d.option(True, False), "dtype": d.option(None, torch.float32), "device": "cpu"}
        return e.o3.Irreps(other).randn(*shape, normalization=normalization, **options)

    return {
        "": lambda: [x, e.o3.Irreps(x), e.o3.Irreps([(2, (1, -1)), "1e", (1, "2e"), some]), e.o3.Irreps(), x[0].ir],
        "__operators__": lambda: [
            x + e.o3.Irreps(other),
            x * 2,
            2 * x,
            some in x,
            x[:1],
            x[0].mul,
            x[0].dim,
            len(x),
            repr(x),
            hash(x),
        ],
        "dim": lambda: x.dim,
        "num_irreps": lambda: x.num_irreps,
        "ls": lambda: x.ls,
        "lmax": lambda: e.o3.Irreps(other).lmax,
        "slices": x.slices,
        "count": lambda: [x.count(some), x.count(keep)],
        "index": lambda: x.index(some),
        "simplify": x.simplify,
        "sort": x.sort,
        "regroup": x.regroup,
        "remove_zero_multiplicities": x.remove_zero_multiplicities,
        "filter": lambda: [
            x.filter([keep, some]),
            x.filter(drop=[keep]),
            x.filter(lmax=1),
            x.filter(keep=lambda m: m.mul > 1),
        ],
        "slice_by_mul": lambda: e.o3.Irreps(other).slice_by_mul[low:high],
        "spherical_harmonics": lambda: e.o3.Irreps.spherical_harmonics(high, d.pick(1, -1)),
        "randn": randn,
        "D_from_angles": lambda: y.D_from_angles(*angles, k),
        "D_from_quaternion": lambda: y.D_from_quaternion(q, k),
        "D_from_matrix": lambda: y.D_from_matrix(-R),
        "D_from_axis_angle": lambda: y.D_from_axis_angle(axis, angle),
    }


def constants(e, d):
    l, p = d.irrep(3)
    name = f"l{l}{'e' if p == 1 else 'o'}"
    return [getattr(e.irrep, name), *(getattr(e.irrep, f"l{n}{p}") for n in range(12) for p in "eo")]


CASES = {"o3.Irrep": irrep, "o3.Irreps": irreps, "o3.irrep": constants}
