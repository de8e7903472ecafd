"""From a module of e3nn, or one that holds some, to the same with the modules of this package, weights included."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from irrepnet.convert.conversion_report import ConversionReport, ConvertedModule
from irrepnet.convert.e3nn_modules import TWINS, WHY_KEPT, build_twin, e3nn_name
from irrepnet.convert.wigner_signs import flip_products, known_signs
from irrepnet.errors import ConfigError
from irrepnet.o3.tensor_product import TensorProduct

__all__ = ["from_e3nn"]


def from_e3nn(module: nn.Module, *, wigner_signs: str = "0.6") -> tuple[nn.Module, ConversionReport]:
    """Return a copy of a module in which each module of e3nn is replaced by its twin from here, with its weights.

    The module given is not changed, and e3nn need not be installed to import this. Kept are: training mode, dtype,
    device, ``requires_grad``, forward and backward hooks, and sharing: a module or parameter that was used twice is
    used twice. A class derived from one of e3nn, and compiled, scripted or traced code, stay as they are: their code
    may rely on what is inside. ``Irreps`` among the attributes of user modules stay too, as user code may hand them to
    e3nn.

    Args:
        module: A module of e3nn, or any module with modules of e3nn among its children.
        wigner_signs: The version of e3nn whose signs of ``wigner_3j`` the weights were trained with: "0.6" (since 0.5)
            or "0.4.4" (until then; see ``wigner_sign``). Where a product owns its weights, its signs go into them;
            else into the constant factors of its paths, which are not in the ``state_dict``.

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
    lines = walk.lines
    if wigner_signs == "0.4.4":
        products = [twin for twin in walk.twins.values() if isinstance(twin, TensorProduct)]
        flipped = {walk.paths[twin]: number for twin, number in flip_products(result, products).items()}
        lines = [_with_signs(line, flipped.get(line.path, 0)) for line in lines]
    return result, ConversionReport(tuple(lines))


class _Walk:
    """The way through a tree of modules.

    Attributes:
        twins: Module of e3nn -> what takes its place.
        paths: Twin -> where it was met first.
        lines: Of the report.
    """

    def __init__(self) -> None:
        self.twins: dict[nn.Module, nn.Module] = {}
        self.paths: dict[nn.Module, str] = {}
        self.lines: list[ConvertedModule] = []
        self._seen: set[nn.Module] = set()

    def visit(self, module: nn.Module, path: str) -> None:
        """Find the twin of a module, or go on to its children."""
        if module in self._seen:
            return
        self._seen.add(module)
        name, note = e3nn_name(type(module)), _why_kept(module)
        text = None
        if name is not None and note is None:
            try:
                twin, text = _twin(name, module)
            except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
                note = f"{type(error).__name__}: {' '.join(str(error).split())}"
            else:
                self.twins[module], self.paths[twin] = twin, path
                note = _lost_hooks(module, twin)
        self._report(module, path, text, note or "")
        if name is None and note is None:
            for child_name, child in module.named_children():
                self.visit(child, f"{path}.{child_name}" if path else child_name)

    def _report(self, module: nn.Module, path: str, replaced_by: str | None, note: str) -> None:
        cls, whole = type(module), bool(replaced_by or note)
        name = e3nn_name(cls)
        found = f"e3nn.{name}" if name else f"{cls.__module__}.{cls.__qualname__}"
        weights = sum(p.numel() for p in module.parameters(recurse=whole))
        self.lines.append(ConvertedModule(path, found, replaced_by, weights, note))


def _with_signs(line: ConvertedModule, number: int) -> ConvertedModule:
    signs = f"{number} with the sign of e3nn 0.4.4" if number else ""
    return line._replace(note="; ".join(filter(None, (line.note, signs))))


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
        base = next((b for b in cls.__mro__ if e3nn_name(b) and issubclass(b, nn.Module)), None)
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


def _lost_hooks(old: nn.Module, twin: nn.Module) -> str | None:
    """Name the parts of a module with hooks that its twin does not have."""
    parts = dict(twin.named_modules())
    lost = [name for name, part in old.named_modules() if name not in parts and any(_hooks(part).values())]
    return f"hooks were left behind on {', '.join(lost)}" if lost else None


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
