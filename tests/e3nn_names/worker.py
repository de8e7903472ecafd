"""Run every case with one library and write down what came out: ``python worker.py e3nn|irrepnet OUT [REFERENCE]``.

The process that runs e3nn never imports irrepnet, and the other way round, so nothing can be handed through.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import warnings
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from e3nn_names.cases_algebra import CASES as ALGEBRA
from e3nn_names.cases_irreps import CASES as IRREPS
from e3nn_names.cases_math import CASES as MATH
from e3nn_names.cases_nn import CASES as LAYERS
from e3nn_names.cases_rotations import CASES as ROTATIONS
from e3nn_names.draw import Draw
from e3nn_names.recorder import Recorder

CASES = ROTATIONS | IRREPS | ALGEBRA | LAYERS | MATH
BASES = {"Extract", "Irreps", "Module", "TensorProduct", "tuple"}  # what users test with isinstance
TRIALS = {"o3.TensorProduct": 8, "o3.ReducedTensorProducts": 8, "io.CartesianTensor": 6}  # modes and formulas in turn
TRIALS |= {"math.soft_one_hot_linspace": 10}  # each basis with and without cutoff
OTHER_TRIALS = 5


def library(name):
    """Import the rooms of a library."""
    rooms = {"o3": "o3", "nn": "nn", "io": "io", "math": "math", "perm": "math.perm"}
    rooms |= {"irrep": "o3.irrep", "experimental": "o3.experimental"}
    return SimpleNamespace(name=name, **{short: _room(f"{name}.{path}") for short, path in rooms.items()})


def _room(path):
    """Import a module; one that is missing has no names, which the comparison says."""
    try:
        return import_module(path)
    except ImportError:
        return SimpleNamespace(__name__=path, __all__=[])


def plain(x):
    """Write a value in tensors, numbers, texts, lists and dicts; of other collections, the type or the fields too."""
    if isinstance(x, torch.Tensor):
        value = x.detach().clone()
        return {"requires_grad": value} if x.requires_grad else value
    if x is None or isinstance(x, (bool, int, float, str)):
        return x
    if type(x).__name__ in {"Irreps", "Irrep", "_MulIr", "MulIr", "slice"}:
        return str(x)
    if isinstance(x, dict):
        return {str(key): plain(value) for key, value in x.items()}
    if isinstance(x, list):
        return [plain(value) for value in x]
    items = [plain(value) for value in x]
    kind = " ".join(getattr(x, "_fields", [type(x).__name__]))
    return {"type": kind, "items": sorted(items, key=repr) if isinstance(x, (set, frozenset)) else items}


def attempt(function):
    """Return what a function gives, or the error that it raises."""
    try:
        return plain(function())
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def with_gradients(d, forward):
    """Return what a module gives, and one vector-Jacobian product: by all that was drawn and by its parameters."""
    d.track(True)
    try:
        out = forward()
        found = [x for x in tensors(out) if x.requires_grad]
        if not found:
            return {"out": plain(out), "gradients": [torch.zeros_like(x) for x in d.leaves]}
        leaves = [*d.leaves, *(p for module in d.modules for p in module.parameters() if p.requires_grad)]
        vectors = [torch.cos(torch.arange(x.numel(), dtype=x.dtype)).reshape(x.shape) for x in found]
        gradients = torch.autograd.grad(found, leaves, vectors, allow_unused=True, materialize_grads=True)
        return {"out": plain(detached(out)), "gradients": plain(list(gradients))}
    finally:
        d.track(False)


def detached(x):
    """Cut nested lists and tuples of tensors off: zeros of e3nn have no gradient, which their gradients say better."""
    if isinstance(x, (list, tuple)):
        return type(x)(map(detached, x))
    return x.detach() if isinstance(x, torch.Tensor) else x


def tensors(x):
    """Return the tensors in nested lists and tuples."""
    if isinstance(x, torch.Tensor):
        return [x]
    return [t for value in x for t in tensors(value)] if isinstance(x, (list, tuple)) else []


def run(e, name, trial, saved):
    """Run one case once: a dict of values, with "" for what the name itself gives."""
    d = Draw(name, trial, TRIALS.get(name, OTHER_TRIALS), saved)
    try:
        parts = CASES[name](e, d)
    except Exception as error:
        return {"": {"error": f"{type(error).__name__}: {error}"}}, d.states
    if not (isinstance(parts, dict) and all(callable(part) for part in parts.values())):
        return {"": attempt(lambda: parts)}, d.states
    values = {}
    for key, part in parts.items():
        d.restart(key)
        values[key] = attempt(lambda: with_gradients(d, part) if key == "forward" else part())  # noqa: B023 called here
    return values, d.states


def signature(thing):
    """Write a signature as a list of [name, kind, default], without self; None where there is none."""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return None
    return [[p.name, p.kind.name, repr(p.default)] for p in parameters if p.name != "self"]


def describe(thing):
    """Return what kind of thing a public name is, and how it is called."""
    if isinstance(thing, ModuleType):
        return {"kind": "module"}
    if inspect.isclass(thing):
        bases = sorted({base.__name__ for base in thing.__mro__[1:]} & BASES)
        return {"kind": "class", "signature": signature(thing), "bases": bases}
    return {"kind": "function" if callable(thing) else "value", "signature": signature(thing)}


def own_attributes(cls, root):
    """Return the public methods and properties that a class has from its library, with their signatures."""
    out = {}
    for name in dir(cls):
        home = next(c for c in cls.__mro__ if name in vars(c))
        if not name.startswith("_") and home.__module__.startswith(root):
            value = inspect.getattr_static(cls, name)
            call = getattr(cls, name)
            is_method = callable(call) and not isinstance(value, property) and not inspect.isclass(call)
            found = {"kind": "method", "signature": signature(call)} if is_method else {"kind": "value"}
            out[name] = {**found, "own": name in vars(cls), "home": home.__name__}
    return out


def public(e):
    """Return the public things of a library: "room.name" -> function, class, module or value."""
    listed = {room: getattr(e, room).__all__ for room in ("o3", "nn", "io", "math")}
    listed["math.perm"] = [
        n for n, f in vars(e.perm).items() if inspect.isfunction(f) and f.__module__ == e.perm.__name__
    ]
    listed["o3.experimental"] = ["FullTensorProductv2", "ElementwiseTensorProductv2"]
    out = {}
    for room, members in listed.items():
        home = getattr(e, room.rpartition(".")[2])
        for member in members:
            try:
                thing = e.irrep if (room, member) == ("o3", "irrep") else getattr(home, member)
            except (AttributeError, ImportError):
                continue
            out[f"{room}.{member}"] = thing
    return out


def names(e):
    """Return the public names of a library: "room.name" -> description, and of its classes "room.name.attribute"."""
    out = {}
    for path, thing in public(e).items():
        out[path] = describe(thing)
        if inspect.isclass(thing):
            for name, found in own_attributes(thing, e.name).items():
                out[f"{path}.{name}"] = found
    return out


def main(name, out, reference=None):
    warnings.simplefilter("ignore")
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    e = library(name)
    saved = torch.load(reference) if reference else None
    results, states = {}, {}
    recorder = Recorder(public(e))
    with contextlib.nullcontext() if saved else recorder:
        for case in CASES:
            for trial in range(TRIALS.get(case, OTHER_TRIALS)):
                key = f"{case}/{trial}"
                results[key], states[key] = run(e, case, trial, saved["states"][key] if saved else None)
    other = {"e3nn": "irrepnet", "irrepnet": "e3nn"}[name]
    assert other not in sys.modules, f"{other} was imported too"
    written = {"results": results, "names": names(e)}
    torch.save(written if saved else written | {"states": states, "given": recorder.given}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
