"""From a module of e3nn, or one that holds some, to the same with the modules of this package, weights included."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from irrepnet.convert.conversion_report import ConversionReport, ConvertedModule
from irrepnet.convert.e3nn_modules import TWINS, WHY_KEPT, build_twin, e3nn_base, e3nn_name
from irrepnet.convert.leftovers import leftovers, lost_attributes
from irrepnet.convert.wigner_signs import flip_products, known_signs
from irrepnet.errors import ConfigError
from irrepnet.o3.reduced_tensor_products import ReducedTensorProducts
from irrepnet.o3.tensor_product import TensorProduct

__all__ = ["from_e3nn"]

_OUT_OF_REACH = "held by a function or an object, out of reach; convert it by itself before it is put there"
# What of e3nn multiplies by wigner_3j.
_PRODUCTS = {f"o3.{name}" for name in ("TensorProduct", "FullTensorProductv2", "ElementwiseTensorProductv2")} | {
    "o3.ReducedTensorProducts"
}


def from_e3nn(module: nn.Module, *, wigner_signs: str = "0.6") -> tuple[nn.Module, ConversionReport]:
    """Return a copy of a module in which each module of e3nn is replaced by its twin from here, with its weights.

    The module given is not changed, and e3nn need not be installed to import this. Kept are: training mode, dtype,
    device, ``requires_grad``, forward and backward hooks, and sharing: a module or parameter that was used twice is
    used twice. A class derived from one of e3nn, and compiled, scripted or traced code, stay as they are: their code
    may rely on what is inside. ``Irreps`` among the attributes of user modules stay too, as user code may hand them to
    e3nn. Modules of e3nn that no ``named_modules`` shows (in a plain list, an object, a closure) stay and are reported.

    Args:
        module: A module of e3nn, or any module with modules of e3nn among its children.
        wigner_signs: The version of e3nn whose signs of ``wigner_3j`` the weights were trained with: "0.6" (since 0.5)
            or "0.4.4" (until then; see ``wigner_sign``). Where a product owns its weights, its signs go into them;
            else into the constant factors of its paths, which are not in the ``state_dict``. This is for the products
            that are replaced: those that are kept, those of this package that were already there, and what
            ``ReducedTensorProducts`` and ``CartesianTensor`` compute have the signs of 0.6, and the report says so of
            the modules among them.

    Returns:
        The copy, and a report that says module by module what was replaced, what was kept and why.

    Raises:
        ConfigError: If ``wigner_signs`` is unknown or ``module`` is no module.
        IrrepsError: If a product has degrees above those of e3nn 0.4.4 and its signs are asked for.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2))
        >>> copied, report = from_e3nn(model)
        >>> print(report)
        0 of 0 e3nn modules replaced
        path   | class                                 | weights | now
        (root) | torch.nn.modules.container.Sequential |       0 | kept
        0      | torch.nn.modules.linear.Linear        |       6 | kept
    """
    known_signs(wigner_signs)
    if not isinstance(module, nn.Module):
        raise ConfigError(f"from_e3nn needs a torch.nn.Module; got {type(module).__name__}.")
    walk = _Walk()
    walk.visit(module, "")
    # deepcopy takes what its memo holds for the copy of what is asked for: twins, then, wherever the originals stood.
    memo: dict[int, Any] = {id(old): twin for old, twin in walk.twins.items()}
    for old, twin in walk.twins.items():
        _take_over(old, twin, memo)
    result = copy.deepcopy(module, memo)
    kept = [line.path for line in walk.lines.values() if line.is_left]
    missed = [(part, _line(part, path, None, _OUT_OF_REACH)) for path, part in leftovers(result, kept)]
    lines = [*walk.lines.items(), *missed]
    if wigner_signs == "0.4.4":
        products = [twin for twin in walk.twins.values() if isinstance(twin, TensorProduct)]
        flipped = {walk.paths[twin]: number for twin, number in flip_products(result, products).items()}
        lines = [(part, _with_signs(line, part, flipped.get(line.path, 0))) for part, line in lines]
    return result, ConversionReport(tuple(line for _, line in lines))


class _Walk:
    """The way through a tree of modules.

    Attributes:
        twins: Module of e3nn -> what takes its place.
        paths: Twin -> where it was met first.
        lines: Of the report, by the module given.
    """

    def __init__(self) -> None:
        self.twins: dict[nn.Module, nn.Module] = {}
        self.paths: dict[nn.Module, str] = {}
        self.lines: dict[nn.Module, ConvertedModule] = {}

    def visit(self, module: nn.Module, path: str) -> None:
        """Find the twin of a module, or go on to its children."""
        if module in self.lines:
            return
        name, note = e3nn_name(type(module)), _why_kept(module)
        text = None
        if name is not None and note is None:
            try:
                twin, text = _twin(name, module)
            except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
                note = f"{type(error).__name__}: {' '.join(str(error).split())}"
            else:
                self.twins[module], self.paths[twin] = twin, path
                note = _left_behind(module, twin)
        self.lines[module] = _line(module, path, text, note or "")
        if name is None and note is None:
            for child_name, child in module.named_children():
                self.visit(child, f"{path}.{child_name}" if path else child_name)


def _line(module: nn.Module, path: str, replaced_by: str | None, note: str) -> ConvertedModule:
    cls, whole = type(module), bool(replaced_by or note)
    name = e3nn_name(cls)
    found = f"e3nn.{name}" if name else f"{cls.__module__}.{cls.__qualname__}"
    weights = sum(p.numel() for p in module.parameters(recurse=whole))
    return ConvertedModule(path, found, replaced_by, weights, note, is_left=bool(note and not replaced_by))


def _with_signs(line: ConvertedModule, module: nn.Module, number: int) -> ConvertedModule:
    signs = f"{number} with the sign of e3nn 0.4.4" if number else ""
    if line.replaced_by is None:
        parts = module.modules() if line.is_left else [module]  # the parts of others have lines of their own
        signs = "signs of 0.6 kept" if any(map(_is_product, parts)) else ""
    return line._replace(note="; ".join(filter(None, (line.note, signs))))


def _is_product(module: nn.Module) -> bool:
    """Say whether a module multiplies by ``wigner_3j``."""
    ours = isinstance(module, (TensorProduct, ReducedTensorProducts))
    return ours or any(e3nn_name(cls) in _PRODUCTS for cls in type(module).__mro__)


def _why_kept(module: nn.Module) -> str | None:
    """Return why a module must stay as it is, before its class is looked up; None if it need not."""
    cls = type(module)
    if isinstance(module, torch.jit.ScriptModule):
        return "code of TorchScript; convert the module before scripting it"
    if cls.__module__.startswith("torch._dynamo"):  # by name: its import takes a second
        return "compiled; convert the module before torch.compile"
    name = e3nn_name(cls)
    if name is not None and name not in TWINS:
        return WHY_KEPT.get(name, "there is no such class here")
    if name is None:
        base = e3nn_base(cls)
        if base is not None:
            return f"a class derived from e3nn.{e3nn_name(base)}, whose code may rely on its inside"
        if isinstance(module, torch.fx.GraphModule):
            return "code made by torch.fx"
    return None


def _twin(name: str, old: nn.Module) -> tuple[nn.Module, str]:
    """Return the twin of a module of e3nn, with copies of its weights, and what it says of itself."""
    with torch.random.fork_rng(devices=()):  # weights at birth are random, and not needed
        twin = build_twin(name, old)
    if not set(twin.modules()).isdisjoint(old.modules()):
        twin = copy.deepcopy(twin)  # a function that learns
    text = repr(twin)
    like = next((t for t in [*old.parameters(), *old.buffers()] if t.is_floating_point()), None)
    if like is not None:
        twin = twin.to(like.device, like.dtype)
    twin.load_state_dict(old.state_dict())
    return twin, text


def _left_behind(old: nn.Module, twin: nn.Module) -> str | None:
    """Name the parts with hooks that a twin does not have, and the attributes that are not of e3nn."""
    parts = dict(twin.named_modules())
    hooked = [name for name, part in old.named_modules() if name not in parts and any(_hooks(part).values())]
    lost = {"hooks were left behind on": hooked, "attributes were left behind:": lost_attributes(old)}
    return "; ".join(f"{what} {', '.join(names)}" for what, names in lost.items() if names) or None


def _hooks(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if "_hooks" in name and isinstance(value, dict)}


def _take_over(old: nn.Module, new: nn.Module, memo: dict[int, Any]) -> None:
    """Give a twin the parameters, hooks and training mode of the module whose place it takes."""
    parts = dict(old.named_modules())
    for name, part in new.named_modules():
        if name not in parts:
            continue
        source = parts[name]
        part.training = source.training
        for key, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[key] = copy.deepcopy(source._parameters[key], memo)
        for key, hooks in _hooks(source).items():
            getattr(part, key).update(copy.deepcopy(hooks, memo))
        part._is_full_backward_hook = source._is_full_backward_hook
