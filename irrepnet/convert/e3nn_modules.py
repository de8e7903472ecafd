"""For each class of e3nn: the class here that takes its place, and its arguments, read back from its attributes.

Nothing here imports e3nn: its classes are known by the names of their modules.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import nn

from irrepnet.convert.wigner_signs import set_path_factors
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.linear import Linear
from irrepnet.o3.tensor_product import TensorProduct

__all__ = ["TWINS", "WHY_KEPT", "build_twin", "e3nn_base", "e3nn_name"]

WHY_KEPT = {
    "o3.ReducedTensorProducts": "it does not keep its formula; make it anew from that",
    "o3.ElementwiseTensorProductv2": "it does not keep the irreps it was made from; make it anew from those",
    "o3.Legendre": "code made by torch.fx, which does not keep its degrees; make it anew from those",
}


def e3nn_name(cls: type) -> str | None:
    """Return the public name of a class of e3nn, as ``"o3.Linear"``; None for other classes.

    Args:
        cls: Any class. e3nn's complete models (``e3nn.nn.models``) count as user code.

    Example:
        >>> e3nn_name(torch.nn.Linear) is None
        True
    """
    home = cls.__module__.split(".")
    if home[0] != "e3nn" or home[1:3] == ["nn", "models"]:
        return None
    version = "v2" if "experimental" in home else ""
    return f"{'.'.join(home[1:2])}.{cls.__name__}{version}"


def e3nn_base(cls: type) -> type | None:
    """Return the class of e3nn that a class of modules is, or is derived from; None if there is none.

    Args:
        cls: Any class.

    Example:
        >>> e3nn_base(torch.nn.Linear) is None
        True
    """
    return next((base for base in cls.__mro__ if issubclass(base, nn.Module) and e3nn_name(base)), None)


def build_twin(name: str, old: Any) -> nn.Module:
    """Build the module that takes the place of one of e3nn; weights are as at birth.

    Args:
        name: From ``e3nn_name``.
        old: The module of e3nn.

    Raises:
        KeyError: If the class has no twin (is not in ``TWINS``).
        AttributeError: If the module lacks what its class has.
        ValueError: If its arguments are not possible here, or its irreps would be others.
    """
    twin = TWINS[name]
    args, kwargs = twin.read(old)
    module = getattr(import_module(f"irrepnet.{twin.home}"), name.split(".")[1])(*args, **kwargs)
    if isinstance(module, TensorProduct) and hasattr(old, "instructions"):
        # The factors hold variances and normalisations, which the module does not keep.
        set_path_factors(module, [float(ins.path_weight) for ins in old.instructions])
    _require_irreps_of(old, module)
    return module


def _require_irreps_of(old: Any, new: Any) -> None:
    """Refuse a twin with other irreps: the same numbers could not come out of it."""
    for side in ("irreps_in", "irreps_in1", "irreps_in2", "irreps_out"):
        if hasattr(old, side) and hasattr(new, side):
            expected, found = _irreps(getattr(old, side)), getattr(new, side)
            if expected.simplify() != found.simplify():
                raise ValueError(f"its {side} {expected} would become {found}")


Arguments = tuple[tuple, dict[str, Any]]


class _Twin(NamedTuple):
    home: str  # file that defines the class of the same name
    read: Callable[[Any], Arguments]


def _irreps(irreps: Any) -> Irreps:
    return Irreps([(mul, (ir[0], ir[1])) for mul, ir in irreps])


def _kinds(irreps: Any) -> list[Irrep]:
    """Return what a filter let through."""
    return [Irrep(*ir) for ir in dict.fromkeys((ir[0], ir[1]) for _, ir in irreps)]


def _function(normalized: Any) -> Any:
    """Return the function inside a normalize2mom, or inside several: all but the innermost multiply by 1."""
    while e3nn_name(type(normalized)) == "math.normalize2mom":
        normalized = normalized.f
    return normalized


def _sharing(old: Any) -> dict[str, bool]:
    return {"internal_weights": old.internal_weights, "shared_weights": old.shared_weights}


def _tensor_product(old: Any) -> Arguments:
    irreps = (_irreps(old.irreps_in1), _irreps(old.irreps_in2), _irreps(old.irreps_out))
    return (*irreps, [tuple(ins[:5]) for ins in old.instructions]), _sharing(old)


def _fully_connected(old: Any) -> Arguments:
    return (_irreps(old.irreps_in1), _irreps(old.irreps_in2), _irreps(old.irreps_out)), _sharing(old)


def _full_product(old: Any) -> Arguments:
    return (_irreps(old.irreps_in1), _irreps(old.irreps_in2), _kinds(old.irreps_out)), {}


def _full_product_v2(old: Any) -> Arguments:
    """Read the normalisation from any coupling for which the two differ."""
    normalization = "component"
    for l1, _, l2, _, l3, _ in old.paths:
        found = getattr(old, f"cg_{l1}_{l2}_{l3}").double().square().sum().item()
        component, norm = 2 * l3 + 1, (2 * l1 + 1) * (2 * l2 + 1)
        if abs(found - norm) < abs(found - component):
            normalization = "norm"
    kwargs = {"filter_ir_out": _kinds(old.irreps_out), "irrep_normalization": normalization, "regroup_output": False}
    return (_irreps(old.irreps_in1), _irreps(old.irreps_in2)), kwargs


def _tensor_square(old: Any) -> Arguments:
    if old.instructions and not any(ins.has_weight for ins in old.instructions):
        return (_irreps(old.irreps_in), None, _kinds(old.irreps_out)), {}
    return (_irreps(old.irreps_in), _irreps(old.irreps_out)), _sharing(old)


def _linear(old: Any) -> Arguments:
    """Read the f axes from the weights; a module without weights of its own keeps them in its code only."""
    biased = {ins.i_out for ins in old.instructions if ins.i_in == -1}
    f_in, f_out = old.weight.shape[:2] if old.weight.ndim == 3 else (None, None)
    if f_in is None and old.weight.numel() == 0 and _adds_an_axis(old):
        raise ValueError("it does not keep f_in and f_out; make it anew with them")
    kwargs: dict[str, Any] = {
        "f_in": f_in,
        "f_out": f_out,
        "instructions": [(ins.i_in, ins.i_out) for ins in old.instructions if ins.i_in != -1],
        "biases": [i in biased for i in range(len(old.irreps_out))],
    }
    for path_normalization in ("element", "path"):
        kwargs["path_normalization"] = path_normalization
        twin = Linear(_irreps(old.irreps_in), _irreps(old.irreps_out), **kwargs)
        pairs = zip(twin.instructions, old.instructions, strict=True)
        if all(math.isclose(a.path_weight, b.path_weight, rel_tol=1e-9) for a, b in pairs):
            return (twin.irreps_in, twin.irreps_out), kwargs | _sharing(old)
    raise ValueError("its path factors are neither of 'element' nor of 'path' normalisation")


def _adds_an_axis(linear: Any) -> bool:
    """Say whether a linear map has f axes: it then makes two axes of one, or refuses."""
    sizes = (linear.irreps_in.dim, linear.weight_numel, linear.bias_numel)
    zeros = [linear.weight.new_zeros(size) for size in sizes]
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # where torch.fx writes the line that failed
            return type(linear).forward(linear, *zeros).ndim != 1
    except RuntimeError:
        return True


def _harmonics(old: Any) -> Arguments:
    (_, (_, p)), *_ = old.irreps_in
    irreps_out = [(1, (l, p**l)) for l in old._ls_list]
    return (Irreps(irreps_out), old.normalize, old.normalization, _irreps(old.irreps_in)), {}


def _gate(old: Any) -> Arguments:
    scalars, gates = old.act_scalars, old.act_gates
    acts = [[_function(act) for act in part.acts] for part in (scalars, gates)]
    return (_irreps(scalars.irreps_in), acts[0], _irreps(gates.irreps_in), acts[1], _irreps(old.irreps_gated)), {}


def _norm_activation(old: Any) -> Arguments:
    return (_irreps(old.irreps_in), old.scalar_nonlinearity, old.normalize, old.epsilon, bool(old.bias)), {}


_BATCH_NORM = ("eps", "momentum", "affine", "reduce", "instance", "include_bias", "normalization")


def _batch_norm(old: Any) -> Arguments:
    return (_irreps(old.irreps),), {name: getattr(old, name) for name in _BATCH_NORM if hasattr(old, name)}


def _fully_connected_net(old: Any) -> Arguments:
    layers = [layer for _, layer in old.named_children()]
    hs = [layers[0].h_in, *[layer.h_out for layer in layers]] if layers else list(old.hs)
    if not layers:
        return (hs,), {}
    kwargs = {"variance_in": layers[0].var_in, "variance_out": layers[-1].var_out}
    return (hs, _function(layers[0].act)), {**kwargs, "out_act": layers[-1].act is not None}


def _extract(old: Any) -> Arguments:
    out = type(old).forward(old, torch.zeros(old.irreps_in.dim))  # not old(...), which would run its hooks
    squeeze = isinstance(out, torch.Tensor)  # which it keeps in its code only
    outs = [_irreps(irreps) for irreps in old.irreps_outs]
    return (_irreps(old.irreps_in), outs, old.instructions, squeeze), {}


def _extract_ir(old: Any) -> Arguments:
    absent = Irrep(max([0, *[ir[0] + 1 for _, ir in old.irreps_in]]), 1)
    return (_irreps(old.irreps_in), next(iter(_kinds(old.irreps_out)), absent)), {}


def _to_grid(old: Any) -> Arguments:
    from irrepnet.convert.grid_normalization import to_grid_arguments

    return (), to_grid_arguments(old)


def _from_grid(old: Any) -> Arguments:
    from irrepnet.convert.grid_normalization import from_grid_arguments

    return (), from_grid_arguments(old)


def _sphere_activation(old: Any) -> Arguments:
    _, grid = _to_grid(old.to_s2)
    kwargs = {"normalization": grid["normalization"], "lmax_out": old.from_s2.lmax, "random_rot": old.random_rot}
    return (_irreps(old.irreps_in), _function(old.act), grid["res"]), kwargs


def _rotation_grid(old: Any) -> Arguments:
    lmax = next(l for l in range(100) if (l + 1) * (2 * l + 1) * (2 * l + 3) // 3 == old.D.shape[-1])
    return (lmax, old.res_beta // 2), {"aspect_ratio": old.res_alpha / old.res_beta}


def _rotation_activation(old: Any) -> Arguments:
    grid = old.grid_in
    args = (old.lmax_in, old.lmax_out, _function(old.act), grid.res_beta // 2)
    return args, {"aspect_ratio": grid.res_alpha / grid.res_beta}


TWINS = {
    "o3.TensorProduct": _Twin("o3.tensor_product", _tensor_product),
    "o3.FullyConnectedTensorProduct": _Twin("o3.full_tensor_product", _fully_connected),
    "o3.FullTensorProduct": _Twin("o3.full_tensor_product", _full_product),
    "o3.ElementwiseTensorProduct": _Twin("o3.elementwise_tensor_product", _full_product),
    "o3.TensorSquare": _Twin("o3.tensor_square", _tensor_square),
    "o3.FullTensorProductv2": _Twin("o3.experimental", _full_product_v2),
    "o3.Linear": _Twin("o3.linear", _linear),
    "o3.Norm": _Twin("o3.norm", lambda old: ((_irreps(old.irreps_in), old.squared), {})),
    "o3.SphericalHarmonics": _Twin("o3.spherical_harmonics", _harmonics),
    "o3.SphericalHarmonicsAlphaBeta": _Twin(
        "o3.angular_spherical_harmonics", lambda old: ((list(old._ls_list), old.normalization), {})
    ),
    "o3.ToS2Grid": _Twin("o3.s2grid", _to_grid),
    "o3.FromS2Grid": _Twin("o3.s2grid", _from_grid),
    "o3.SO3Grid": _Twin("o3.so3grid", _rotation_grid),
    "nn.Activation": _Twin(
        "nn.activation", lambda old: ((_irreps(old.irreps_in), [_function(act) for act in old.acts]), {})
    ),
    "nn.Gate": _Twin("nn.gate", _gate),
    "nn.NormActivation": _Twin("nn.norm_activation", _norm_activation),
    "nn.BatchNorm": _Twin("nn.batch_norm", _batch_norm),
    "nn.Dropout": _Twin("nn.dropout", lambda old: ((_irreps(old.irreps), old.p), {})),
    "nn.FullyConnectedNet": _Twin("nn.fully_connected_net", _fully_connected_net),
    "nn.Extract": _Twin("nn.extract", _extract),
    "nn.ExtractIr": _Twin("nn.extract", _extract_ir),
    "nn.Identity": _Twin("nn.identity", lambda old: ((_irreps(old.irreps_in), _irreps(old.irreps_out)), {})),
    "nn.S2Activation": _Twin("nn.s2_activation", _sphere_activation),
    "nn.SO3Activation": _Twin("nn.so3_activation", _rotation_activation),
    "math.normalize2mom": _Twin("math.normalize2mom", lambda old: ((_function(old),), {})),
}
