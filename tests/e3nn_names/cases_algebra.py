"""Linear maps, products, harmonics and grids."""

from __future__ import annotations

import torch
from e3nn_names.products import MODES, allowed, arguments

__all__ = ["CASES"]


def tensor_product(e, d):
    irreps, instructions, options = arguments(d, MODES[d.trial % len(MODES)])
    tp = d.module(e.o3.TensorProduct(*irreps, instructions, compile_right=False, **options))
    x, y = d.rows(irreps[0]), d.rows(irreps[1])
    outside = e.o3.TensorProduct(*irreps, instructions, shared_weights=False, **options)
    shared = e.o3.TensorProduct(*irreps, instructions, internal_weights=False, shared_weights=True)
    weights = d.normal(4, outside.weight_numel)
    half = instructions[0][3] in ("uvu<v", "u<vw")  # no partial product of these in e3nn
    number = next(i for i, ins in enumerate(instructions) if ins[4])
    return {
        "": lambda: [
            tp.weight_numel,
            tp.output_mask,
            tp.instructions,
            tp.internal_weights,
            tp.shared_weights,
            tp.irreps_out,
        ],
        "forward": lambda: [tp(x, y), outside(x, y, weights), shared(x, y, weights[0])],
        "right": lambda: None if half else partial(e, d, (irreps, instructions, options), y, weights),
        "weight_view_for_instruction": lambda: [
            tp.weight_view_for_instruction(number),
            outside.weight_view_for_instruction(number, weights),
        ],
        "weight_views": lambda: [
            list(tp.weight_views()),
            [i for i, _, _ in outside.weight_views(weights, yield_instruction=True)],
        ],
        "visualize": lambda: drawn(e, tp),
    }


def partial(e, d, arguments, y, weights):
    """Evaluate the second argument alone; the weights of the first product are a state dict of their own."""
    irreps, instructions, options = arguments
    options = options | {"compile_right": True, "compile_left_right": d.option(True, False)}
    own = d.module(e.o3.TensorProduct(*irreps, instructions, **options))
    given = e.o3.TensorProduct(*irreps, instructions, shared_weights=False, **options)
    return [own.right(y[0]), given.right(y, weights)]


def drawn(e, tp):
    """Return the kinds of what two pictures are made of; with weights on each path, as e3nn miscounts else."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    first = tp.visualize(plot_weight=False, aspect_ratio=2)
    _, ax = pyplot.subplots()
    weighted = e.o3.FullyConnectedTensorProduct("2x1o", "1o", "2x1e + 0e", internal_weights=False)
    second = weighted.visualize(torch.ones(weighted.weight_numel), plot_weight=True, ax=ax)
    pyplot.close("all")
    return [[type(thing).__name__ for thing in picture] for picture in (first, second)] + [second[1] is ax]


def product(name, draw_arguments, inputs=2):
    """Return a case of a class of products: its irreps, instructions and values."""

    def case(e, d):
        args, kwargs = draw_arguments(d)
        tp = d.module(getattr(e.o3, name)(*args, **kwargs))
        sides = [tp.irreps_in1, tp.irreps_in2][:inputs]
        x = [d.normal(4, irreps.dim) for irreps in sides]
        weights = [d.normal(4, tp.weight_numel)] if tp.weight_numel else []
        free = {"internal_weights": False, "shared_weights": False} if weights else {}
        outside = getattr(e.o3, name)(*args, **kwargs, **free)
        return {
            "": lambda: [tp.irreps_in1, tp.irreps_in2, tp.irreps_out, tp.instructions],
            "forward": lambda: [tp(*x), outside(*x, *weights)],
        }

    return case


def fully_connected(d):
    options = {"irrep_normalization": d.option("norm", "none"), "path_normalization": d.option("path", "none")}
    return (d.irreps(), d.irreps(), d.irreps(most=4)), options


def full(d):
    """Entries are merged where neighbours are equal: some are."""
    a, b = d.entries(), d.entries()
    a, b = [*a, d.pick(a[-1], (2, a[-1][1]))], [*b, (1, b[-1][1])]
    keep = sorted({ir for _, ir1 in a for _, ir2 in b for ir in allowed(ir1, ir2)})
    options = {"filter_ir_out": d.option(None, keep), "irrep_normalization": d.option("component", "norm", "none")}
    return (a, b), options


def elementwise(d):
    a = d.entries(most=3, max_mul=2)
    count = sum(mul for mul, _ in a)
    b = [(1, d.irrep()), (count - 1, d.irrep())] if count > 1 else [(1, d.irrep())]
    keep = sorted({ir for _, ir1 in a for _, ir2 in b for ir in allowed(ir1, ir2)})
    return (a, b), {"filter_ir_out": d.option(None, keep), "irrep_normalization": d.option("component", "norm", "none")}


def square(d):
    a = d.entries(max_mul=2)
    options = {"irrep_normalization": d.option("component", "norm", "none")}
    if d.option(True, False):
        return (a, d.entries()), options
    keep = sorted({ir for _, ir1 in a for _, ir2 in a for ir in allowed(ir1, ir2)})
    return (a,), options | {"filter_ir_out": d.option(None, keep)}


def linear(e, d):
    irreps_in = d.entries(most=4)
    irreps_in = [*irreps_in, (1, (0, 1))]
    irreps_out = [*irreps_in[::-1], *d.entries(), (2, (0, 1))]
    pairs = [(i, j) for i, (_, a) in enumerate(irreps_in) for j, (_, b) in enumerate(irreps_out) if a == b]
    options = {
        "biases": d.option(True, [d.pick(True, False) and ir == (0, 1) for _, ir in irreps_out]),
        "path_normalization": d.option("element", "path"),
        "instructions": d.option(None, pairs[::-1]),
    }
    map_ = d.module(e.o3.Linear(irreps_in, irreps_out, **options))
    f = d.module(e.o3.Linear(irreps_in, irreps_out, f_in=3, f_out=2, path_normalization="path"))
    free = e.o3.Linear(irreps_in, irreps_out, internal_weights=False, shared_weights=False)
    given = e.o3.Linear(irreps_in, irreps_out, internal_weights=False, biases=True)
    x, w, b = d.rows(irreps_in), d.normal(4, free.weight_numel), d.normal(given.bias_numel)
    return {
        "": lambda: [map_.weight_numel, map_.bias_numel, map_.output_mask, map_.instructions, free.weight_index_slices],
        "forward": lambda: [map_(x), f(d.rows(irreps_in, 4, 3)), free(x, w), given(x, w[0], b)],
        "weight_view_for_instruction": lambda: [
            map_.weight_view_for_instruction(0),
            free.weight_view_for_instruction(0, w),
        ],
        "weight_views": lambda: [
            list(f.weight_views()),
            [i for i, _, _ in free.weight_views(w, yield_instruction=True)],
        ],
    }


def harmonics(d):
    """Draw degrees, vectors and options of spherical harmonics."""
    degrees = d.pick(d.integer(0, 12), [d.integer(0, 4) for _ in range(3)], "1x0e+2x1o+3o", "1e+2e")
    return degrees, d.normal(4, 3, scale=2), d.option(True, False), d.option("component", "norm", "integral")


def spherical_harmonics(e, d):
    l, x, normalize, normalization = harmonics(d)
    return e.o3.spherical_harmonics(l, x, normalize, normalization)


def spherical_harmonics_module(e, d):
    l, x, normalize, normalization = harmonics(d)
    module = e.o3.SphericalHarmonics(l, normalize, normalization, irreps_in="1e" if l == "1e+2e" else None)
    return {"": lambda: [module.irreps_in, module.irreps_out.simplify()], "forward": lambda: module(x)}


def angular(e, d):
    degrees = d.pick(d.integer(0, 5), [d.integer(0, 4) for _ in range(3)])
    return degrees, *d.angles(4)[:2], d.option("component", "norm", "integral")


def spherical_harmonics_alpha_beta(e, d):
    l, alpha, beta, normalization = angular(e, d)
    return e.o3.spherical_harmonics_alpha_beta(l, alpha, beta, normalization=normalization)


def spherical_harmonics_alpha_beta_module(e, d):
    l, alpha, beta, normalization = angular(e, d)
    module = e.o3.SphericalHarmonicsAlphaBeta(l, normalization)
    return {"": lambda: True, "forward": lambda: module(alpha, beta)}


def legendre(e, d):
    beta = d.angles(4)[1]
    module = e.o3.Legendre([d.integer(0, 5), d.integer(0, 3)])
    return module(beta.cos(), beta.sin())


def norm(e, d):
    irreps = d.entries(min_mul=0)
    module = e.o3.Norm(irreps, squared=d.option(True, False))
    x = d.rows(irreps)
    return {"": lambda: [module.irreps_in, module.irreps_out, module.squared], "forward": lambda: module(x)}


def instruction(e, d):
    made = e.o3.Instruction(0, 1, 2, "uvu", True, d.number(), (3, 2))
    return {"": lambda: made, **{name: lambda name=name: getattr(made, name) for name in made._fields}}


FORMULAS = [
    ("ij=ji", {"i": "1o"}),
    ("ij=-ji", {"i": "1o"}),
    ("ijk=-jik=-ikj", {"i": "1o"}),
    ("ij=ji", {"i": "0e+1o"}),
    ("ijk=jik=ikj", {"i": "1o"}),
    ("ij", {"i": "1o", "j": "2e"}),
    ("ijkl=jikl=klij", {"i": "1o"}),
    ("ij=ji", {"i": "2x1o"}),
]


def reduced(e, d):
    formula, irreps = FORMULAS[d.trial % len(FORMULAS)]
    some = ["0e", "0o", "2e", "1e", "1o", "3o"]
    options = {"filter_ir_out": d.option(None, some), "filter_ir_mid": d.option(some, None), "eps": 1e-8}
    module = e.o3.ReducedTensorProducts(formula, **options, **irreps)
    x = [d.normal(4, i.dim) for i in module.irreps_in]
    return {
        "": lambda: [module.irreps_in, module.irreps_out, module.change_of_basis],
        "forward": lambda: module(*x),
    }


def grid(d):
    lmax = d.integer(0, 4)
    res = (2 * d.integer(lmax + 1, lmax + 3), d.pick(2 * lmax + 1, 2 * lmax + 5, 2 * lmax + 4))
    normalization = d.option("component", "norm", "integral", 1 + d.uniform(lmax + 1))
    dtype = None if isinstance(normalization, torch.Tensor) else d.option(None, torch.float32)  # e3nn mixes them
    return lmax, res, normalization, dtype


def to_grid(e, d):
    lmax, res, normalization, dtype = grid(d)
    module = e.o3.ToS2Grid(lmax, d.option(res, res[0], None), normalization, dtype, "cpu")
    x = d.normal(2, 3, (lmax + 1) ** 2, dtype=module.shb.dtype)
    values = lambda: [
        module.lmax,
        module.res_beta,
        module.res_alpha,
        module.sha,
        module.shb,
        module.alphas,
        module.betas,
    ]
    return {
        "": values,
        "forward": lambda: module(x),
        "grid": lambda: module.grid,
    }


def from_grid(e, d):
    lmax, res, normalization, dtype = grid(d)
    module = e.o3.FromS2Grid(res, lmax, normalization, lmax, dtype, "cpu")
    x = d.normal(2, 3, *res, dtype=module.shb.dtype)
    values = lambda: [
        module.lmax,
        module.res_beta,
        module.res_alpha,
        module.sha,
        module.shb,
        module.alphas,
        module.betas,
    ]
    return {
        "": values,
        "forward": lambda: module(x),
        "grid": lambda: module.grid,
    }


def rotation_grid(e, d):
    lmax = d.integer(0, 2)
    module = e.o3.SO3Grid(lmax, d.integer(lmax + 1, lmax + 2), normalization="component", aspect_ratio=d.pick(1, 2))
    x = d.normal(2, sum((2 * l + 1) ** 2 for l in range(lmax + 1)))
    signal = lambda: d.normal(2, module.res_alpha, module.res_beta, module.res_gamma)
    return {
        "": lambda: [module.alpha, module.beta, module.gamma, module.qw],
        "to_grid": lambda: module.to_grid(x),
        "from_grid": lambda: module.from_grid(signal()),
    }


def product_v2(name, elementwise_=False):
    def case(e, d):
        (a, b), options = (elementwise if elementwise_ else full)(d)
        some = [e.o3.Irrep(0, 1), e.o3.Irrep(1, -1), e.o3.Irrep(1, 1), e.o3.Irrep(0, -1)]
        options = {"irrep_normalization": d.option("component", "norm"), "filter_ir_out": d.option(None, some)}
        if elementwise_:  # each irrep once: e3nn mixes up the outputs otherwise
            a, b = [(2, (1, -1)), (1, (2, 1))], [(2, (1, 1)), (1, (0, 1))]
        elif not d.option(True, False):  # each irrep once here too: e3nn fails otherwise
            a, b, options = [(2, (1, -1)), (3, (0, 1))], [(2, (1, 1)), (1, (2, 1))], options | {"regroup_output": False}
        home = e.o3 if name == "FullTensorProductv2" else e.experimental
        module = getattr(home, name)(e.o3.Irreps(a), e.o3.Irreps(b), **options)
        x, y = d.rows(a), d.rows(b)
        return {"": lambda: module.irreps_out, "forward": lambda: module(x, y)}

    return case


CASES = {
    "o3.Instruction": instruction,
    "o3.TensorProduct": tensor_product,
    "o3.FullyConnectedTensorProduct": product("FullyConnectedTensorProduct", fully_connected),
    "o3.FullTensorProduct": product("FullTensorProduct", full),
    "o3.ElementwiseTensorProduct": product("ElementwiseTensorProduct", elementwise),
    "o3.TensorSquare": product("TensorSquare", square, inputs=1),
    "o3.FullTensorProductv2": product_v2("FullTensorProductv2"),
    "o3.experimental.FullTensorProductv2": product_v2("FullTensorProductv2"),
    "o3.experimental.ElementwiseTensorProductv2": product_v2("ElementwiseTensorProductv2", elementwise_=True),
    "o3.Linear": linear,
    "o3.Norm": norm,
    "o3.spherical_harmonics": spherical_harmonics,
    "o3.SphericalHarmonics": spherical_harmonics_module,
    "o3.spherical_harmonics_alpha": lambda e, d: e.o3.spherical_harmonics_alpha(d.integer(0, 5), d.angles(2, 3)[0]),
    "o3.spherical_harmonics_alpha_beta": spherical_harmonics_alpha_beta,
    "o3.SphericalHarmonicsAlphaBeta": spherical_harmonics_alpha_beta_module,
    "o3.Legendre": legendre,
    "o3.ReducedTensorProducts": reduced,
    "o3.s2_grid": lambda e, d: e.o3.s2_grid(d.integer(1, 6), d.integer(1, 6), d.option(None, torch.float32), "cpu"),
    "o3.spherical_harmonics_s2_grid": lambda e, d: e.o3.spherical_harmonics_s2_grid(
        d.integer(0, 4), d.integer(1, 6), d.integer(1, 6), dtype=d.option(None, torch.float32), device="cpu"
    ),
    "o3.rfft": lambda e, d: e.o3.rfft(d.normal(2, 3, 11), d.integer(0, 5)),
    "o3.irfft": lambda e, d: e.o3.irfft(d.normal(2, 3, 2 * d.integer(0, 4) + 1), d.pick(9, 11)),
    "o3.ToS2Grid": to_grid,
    "o3.FromS2Grid": from_grid,
    "o3.SO3Grid": rotation_grid,
}
