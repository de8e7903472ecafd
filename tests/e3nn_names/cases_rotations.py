"""Rotations and the tables of the group: one function of (library, draw) for each name."""

from __future__ import annotations

import torch

__all__ = ["CASES"]

# How a rotation is written -> how to draw one.
DRAWS = {
    "angles": lambda d: d.angles(5),
    "quaternion": lambda d: (d.quaternion(5),),
    "matrix": lambda d: (d.matrix(5),),
    "axis_angle": lambda d: (d.unit(5), 3 * d.uniform(5)),
    "xyz": lambda d: (d.unit(5),),
}
CONVERSIONS = [f"{a}_to_{b}" for a in DRAWS for b in DRAWS if a != b and "xyz" not in (a, b)] + ["xyz_to_angles"]


def convert(name):
    return lambda e, d: getattr(e.o3, name)(*DRAWS[name.partition("_to_")[0]](d))


def compose(name):
    form = name.partition("_")[2]
    return lambda e, d: getattr(e.o3, name)(*DRAWS[form](d), *DRAWS[form](d))


def inverse(name):
    return lambda e, d: getattr(e.o3, name)(*DRAWS[name.partition("_")[2]](d))


def about_axis(name):
    return lambda e, d: getattr(e.o3, name)(6 * d.uniform(2, 3))


def make(name):
    """Call a function that takes a shape; the random ones from the same seed."""

    def case(e, d):
        torch.manual_seed(d.seed)
        options = {"requires_grad": d.option(True, False), "dtype": d.option(None, torch.float32), "device": "cpu"}
        return getattr(e.o3, name)(*d.option((), (3,), (2, 4)), **options)

    return case


def wigner_3j(e, d):
    l1, l2 = d.integer(0, 5), d.integer(0, 5)
    return e.o3.wigner_3j(l1, l2, d.integer(abs(l1 - l2), l1 + l2), d.option(None, torch.float32), "cpu")


CASES = {
    **{f"o3.{name}": convert(name) for name in CONVERSIONS},
    **{f"o3.{name}": compose(name) for name in ("compose_angles", "compose_quaternion", "compose_axis_angle")},
    **{f"o3.{name}": inverse(name) for name in ("inverse_angles", "inverse_quaternion")},
    **{f"o3.{name}": about_axis(name) for name in ("matrix_x", "matrix_y", "matrix_z")},
    **{f"o3.identity_{form}": make(f"identity_{form}") for form in ("angles", "quaternion")},
    **{f"o3.rand_{form}": make(f"rand_{form}") for form in ("angles", "quaternion", "axis_angle", "matrix")},
    "o3.angles_to_xyz": lambda e, d: e.o3.angles_to_xyz(*d.angles(3, 2)[:2]),
    "o3.wigner_D": lambda e, d: e.o3.wigner_D(d.integer(0, 6), *d.angles(3)),
    "o3.wigner_3j": wigner_3j,
    "o3.change_basis_real_to_complex": lambda e, d: e.o3.change_basis_real_to_complex(
        d.integer(0, 5), dtype=d.option(None, torch.float32), device="cpu"
    ),
    "o3.su2_generators": lambda e, d: e.o3.su2_generators(d.pick(0, 0.5, 1, 1.5, 2, 3)),
    "o3.so3_generators": lambda e, d: e.o3.so3_generators(d.integer(0, 6)),
}
