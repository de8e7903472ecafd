"""Layers, with weights and constants as e3nn saves them."""

from __future__ import annotations

import torch
from e3nn_names.draw import text
from torch.nn.functional import silu, softplus

__all__ = ["CASES"]

EVEN = (silu, torch.tanh, torch.sigmoid, softplus, torch.cos)
DEFINITE = (torch.tanh, torch.abs, torch.cos, torch.sin)  # odd or even, as odd scalars need


def function(d, ir):
    return None if ir[0] > 0 else d.pick(*EVEN, None) if ir[1] == 1 else d.pick(*DEFINITE, None)


def activation(e, d):
    irreps = d.entries(most=4)
    module = d.module(e.nn.Activation(irreps, [function(d, ir) for _, ir in irreps]))
    x = d.rows(irreps)
    forward = lambda: [module(x), module(x.T, 0)]
    return {"": lambda: [module.irreps_in, module.irreps_out, len(module.paths)], "forward": forward}


def gate(e, d):
    gated = [(mul, ir) for mul, ir in d.entries(most=4) if ir[0] > 0] or [(2, (1, -1))]
    scalars = [(d.integer(1, 3), d.pick((0, 1), (0, -1))) for _ in range(d.integer(0, 3))]
    count = sum(mul for mul, _ in gated)
    gates = [(1, (0, -1)), (count - 1, (0, 1))] if count > 1 else [(1, (0, 1))]
    acts = [[d.pick(*(EVEN if ir[1] == 1 else DEFINITE)) for _, ir in part] for part in (scalars, gates)]
    module = d.module(e.nn.Gate(text(scalars), acts[0], text(gates), acts[1], text(gated)))
    x = d.normal(4, module.irreps_in.dim)
    return {
        "": lambda: True,
        "irreps_in": lambda: module.irreps_in,
        "irreps_out": lambda: module.irreps_out,
        "forward": lambda: module(x),
    }


def norm_activation(e, d):
    irreps = e.o3.Irreps(d.entries())
    options = {"epsilon": d.option(None, 0.1), "bias": d.option(True, False)}
    module = d.module(e.nn.NormActivation(irreps, d.pick(torch.sigmoid, silu, torch.tanh), **options))
    x = d.normal(4, irreps.dim, scale=d.number(0.01, 1))
    return {"": lambda: [module.irreps_in, module.irreps_out, module.epsilon], "forward": lambda: module(x)}


def batch_norm(e, d):
    irreps = d.entries(most=4)
    options = {
        "eps": d.number(1e-5, 1e-2),
        "momentum": d.number(0.1, 0.9),
        "affine": d.option(True, False),
        "reduce": d.option("mean", "max"),
        "instance": d.option(False, True),
        "include_bias": d.option(True, False),
        "normalization": d.option("component", "norm"),
    }
    module = d.module(e.nn.BatchNorm(text(irreps), **options))
    x, y = d.rows(irreps, 5, 3), d.rows(irreps, 6)

    def forward():
        """Evaluate, train on one batch, evaluate with the new statistics."""
        before = module.eval()(x)
        return [before, module.train()(x), module.running_mean, module.running_var, module.eval()(y)]

    return {"": lambda: [module.irreps, *options.values()], "forward": forward}


def dropout(e, d):
    irreps = d.entries(most=4)
    module = e.nn.Dropout(text(irreps), d.option(0.3, 0.7, 1.0, 0.0))
    x = d.rows(irreps, 3, 2)

    def forward():
        torch.manual_seed(d.seed)
        return [module.train()(x), module.eval()(x)]

    return {"": lambda: [module.irreps, module.p], "forward": forward}


def fully_connected_net(e, d):
    hs = [d.integer(1, 6) for _ in range(d.integer(2, 4))]
    options = {"variance_in": d.number(), "variance_out": d.number(), "out_act": d.option(True, False)}
    module = d.module(e.nn.FullyConnectedNet(hs, d.pick(silu, torch.tanh, torch.relu), **options))
    linear = d.module(e.nn.FullyConnectedNet(hs))
    x = d.normal(3, hs[0])
    forward = lambda: [module(x), linear(x)]
    return {"": lambda: [list(module.hs), sorted(name for name, _ in module.named_parameters())], "forward": forward}


def extract(e, d):
    irreps = d.entries(most=4, min_mul=0)
    every = tuple(range(len(irreps)))
    chosen = [every, every[::-1], every[1:], ()][: d.integer(1, 4)]
    outs = [text([irreps[i] for i in entries]) for entries in chosen]
    module = e.nn.Extract(text(irreps), outs, chosen, d.option(True, False))
    x = d.rows(irreps, 2, 3)
    return {"": lambda: [module.irreps_in, list(module.irreps_outs)], "forward": lambda: module(x)}


def extract_ir(e, d):
    irreps = d.entries(most=4)
    module = e.nn.ExtractIr(text(irreps), d.pick(text([(1, d.irrep())]).split("x")[1], e.o3.Irrep(*irreps[0][1])))
    x = d.rows(irreps, 2, 3)
    return {"": lambda: [module.irreps_in, module.irreps_out], "forward": lambda: module(x)}


def identity(e, d):
    irreps = d.entries()
    module = d.module(e.nn.Identity(text(irreps), text(irreps)))
    x = d.rows(irreps)
    return {"": lambda: [module.irreps_in, module.irreps_out, module.output_mask], "forward": lambda: module(x)}


def sphere_activation(e, d):
    lmax, p_val, p_arg = d.integer(1, 4), d.pick(1, -1), d.pick(1, -1)
    irreps = [(1, (l, p_val * p_arg**l)) for l in range(lmax + 1)]
    act = d.pick(silu, torch.relu) if p_val == 1 else d.pick(torch.tanh, torch.cos)
    options = {"normalization": d.option("component", "norm"), "lmax_out": d.integer(0, lmax)}
    module = d.module(
        e.nn.S2Activation(irreps, act, d.option(12, (12, 15)), random_rot=d.option(True, False), **options)
    )
    x = d.normal(3, (lmax + 1) ** 2)

    def forward():
        torch.manual_seed(d.trial)  # not d.seed: with one of those, e3nn's matrix_exp is 1e-11 off
        return module(x)

    return {"": lambda: [module.irreps_in, module.irreps_out, module.random_rot], "forward": forward}


def rotation_activation(e, d):
    lmax = d.integer(0, 1)
    act = d.pick(silu, torch.tanh)
    module = d.module(e.nn.SO3Activation(lmax, d.integer(0, 1), act, 2, normalization="component", aspect_ratio=1))
    x = d.normal(2, sum((2 * l + 1) ** 2 for l in range(lmax + 1)))
    return {"": lambda: [module.lmax_in, module.lmax_out], "forward": lambda: module(x)}


CASES = {
    "nn.Activation": activation,
    "nn.Gate": gate,
    "nn.NormActivation": norm_activation,
    "nn.BatchNorm": batch_norm,
    "nn.Dropout": dropout,
    "nn.FullyConnectedNet": fully_connected_net,
    "nn.Extract": extract,
    "nn.ExtractIr": extract_ir,
    "nn.Identity": identity,
    "nn.S2Activation": sphere_activation,
    "nn.SO3Activation": rotation_activation,
}
