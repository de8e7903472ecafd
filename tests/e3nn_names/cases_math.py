"""Tensors of geometry, and the mathematics below the layers."""

from __future__ import annotations

import random

import torch
from torch.nn.functional import silu

__all__ = ["CASES"]

# Each has no irrep twice: its basis is then fixed up to signs, which are fixed too.
FORMULAS = ("ij=ji", "ij=-ji", "ij", "ijk=-jik=-ikj", "ijk=jik=ikj", "ijkl=jikl=ikjl=ijlk")


def cartesian_tensor(e, d):
    formula = FORMULAS[d.trial % len(FORMULAS)]
    rank = len(formula.partition("=")[0])
    x = e.io.CartesianTensor(formula)
    t, vectors, features = d.normal(4, *[3] * rank), [d.normal(4, 3) for _ in range(rank)], d.normal(4, x.dim)
    rtp = x.reduced_tensor_products()
    return {
        "": lambda: [e.o3.Irreps(list(x)), x.formula, x.indices],
        "from_cartesian": lambda: [x.from_cartesian(t), x.from_cartesian(t, rtp=rtp)],
        "from_vectors": lambda: [x.from_vectors(*vectors), x.from_vectors(*vectors, rtp=rtp)],
        "to_cartesian": lambda: [x.to_cartesian(features), x.to_cartesian(features, rtp=rtp)],
        "reduced_tensor_products": lambda: [x.reduced_tensor_products(t).change_of_basis, rtp.irreps_out],
    }


def spherical_tensor(e, d):
    p_arg = d.pick(1, -1)
    x = e.io.SphericalTensor(d.integer(2, 4), 1, p_arg)
    points, signal = d.normal(3, 3), d.normal(x.dim)
    values, r = d.normal(3), d.normal(2, 5, 3)
    return {
        "": lambda: [e.o3.Irreps(list(x)), e.o3.Irreps(list(e.io.SphericalTensor(2, -1, p_arg)))],
        "with_peaks_at": lambda: [x.with_peaks_at(points), x.with_peaks_at(points, values)],
        "sum_of_diracs": lambda: x.sum_of_diracs(points.expand(2, 3, 3), values),
        "from_samples_on_s2": lambda: x.from_samples_on_s2(points, values, res=12),
        "norms": lambda: x.norms(signal.expand(2, x.dim)),
        "signal_xyz": lambda: x.signal_xyz(signal, r),
        "signal_on_grid": lambda: list(x.signal_on_grid(signal, res=10, normalization="component")),
        "plot": lambda: list(x.plot(signal, points[0], 10, d.pick(True, False), True, "norm")),
        "plotly_surface": lambda: [
            {key: torch.as_tensor(value) for key, value in trace.items()}
            for trace in x.plotly_surface(signal, points[:1], 10, False, True, "component")
        ],
        "find_peaks": lambda: list(x.find_peaks(x.with_peaks_at(4 * d.unit(2)), res=20)),
    }


def orthonormalize(e, d):
    rows = d.normal(d.integer(1, 4), 5)
    return e.math.orthonormalize(torch.cat([rows, rows[:1]]), 1e-7)


def normalize2mom(e, d):
    module = d.module(
        e.math.normalize2mom(d.option(silu, torch.tanh, torch.relu), d.option(None, torch.float32), "cpu")
    )
    x = d.normal(7)
    return {"": lambda: module.cst, "forward": lambda: module(x)}


def soft_one_hot_linspace(e, d):
    bases = ("gaussian", "cosine", "smooth_finite", "fourier", "bessel")
    x, basis, cutoff = 2 * d.normal(6, 2), bases[d.trial % 5], d.trial < 5
    return e.math.soft_one_hot_linspace(x, d.number(-1, 0), d.number(1, 2), d.integer(2, 6), basis, cutoff)


def reduce_permutation(e, d):
    formula, dims = d.option(
        ("ijk=jik=-ikj", {"i": 2}), ("ij=-ji", {"i": 3}), ("ijk=jki", {"i": 2}), ("ij", {"i": 2, "j": 3})
    )
    Q, ret = e.math.reduce_permutation(
        *e.math.germinate_formulas(formula), dtype=d.option(None, torch.float32), device="cpu", **dims
    )
    return [Q, sorted(sorted(r) for r in ret)]


def permutation(d, n=None):
    return tuple(torch.randperm(n or d.integer(1, 5), generator=d.generator).tolist())


def rand_permutation(e, d):
    random.seed(d.seed)
    return e.perm.rand(d.integer(1, 5))


CASES = {
    "io.CartesianTensor": cartesian_tensor,
    "io.SphericalTensor": spherical_tensor,
    "math.complete_basis": lambda e, d: e.math.complete_basis(e.math.orthonormalize(d.normal(2, 5))[0], 1e-7),
    "math.direct_sum": lambda e, d: e.math.direct_sum(d.normal(2, 3, 1), d.normal(2, 2, 2), d.normal(2, 1, 4)),
    "math.orthonormalize": orthonormalize,
    "math.moment": lambda e, d: e.math.moment(
        d.option(silu, torch.tanh), d.integer(1, 4), d.option(None, torch.float32), "cpu"
    ),
    "math.normalize2mom": normalize2mom,
    "math.soft_unit_step": lambda e, d: e.math.soft_unit_step(d.normal(20)),
    "math.bessel": lambda e, d: e.math.bessel(
        torch.cat([torch.zeros(1), d.uniform(6)]), d.integer(1, 6), x_max=d.number()
    ),
    "math.soft_one_hot_linspace": soft_one_hot_linspace,
    "math.germinate_formulas": lambda e, d: e.math.germinate_formulas(d.pick("ij=-ji", "ijk=ikj", "ijkl=-jikl=klij")),
    "math.reduce_permutation": reduce_permutation,
    "math.perm.is_perm": lambda e, d: [e.perm.is_perm(permutation(d)), e.perm.is_perm((0, 2)), e.perm.is_perm(())],
    "math.perm.identity": lambda e, d: e.perm.identity(d.integer(0, 5)),
    "math.perm.compose": lambda e, d: e.perm.compose(permutation(d, 4), permutation(d, 4)),
    "math.perm.inverse": lambda e, d: e.perm.inverse(permutation(d)),
    "math.perm.rand": rand_permutation,
    "math.perm.from_int": lambda e, d: e.perm.from_int(d.integer(0, 119), 5),
    "math.perm.to_int": lambda e, d: e.perm.to_int(permutation(d)),
    "math.perm.group": lambda e, d: e.perm.group(d.integer(1, 4)),
    "math.perm.germinate": lambda e, d: e.perm.germinate({permutation(d, 4), permutation(d, 4)}),
    "math.perm.is_group": lambda e, d: [
        e.perm.is_group(e.perm.germinate({permutation(d, 4)})),
        e.perm.is_group({permutation(d, 4), (1, 0, 2, 3)}),
        e.perm.is_group(set()),
    ],
    "math.perm.to_cycles": lambda e, d: e.perm.to_cycles(permutation(d)),
    "math.perm.sign": lambda e, d: e.perm.sign(permutation(d)),
    "math.perm.standard_representation": lambda e, d: e.perm.standard_representation(
        permutation(d, 4), torch.float64, "cpu"
    ),
    "math.perm.natural_representation": lambda e, d: e.perm.natural_representation(
        permutation(d), d.option(None, torch.float32), "cpu"
    ),
}
