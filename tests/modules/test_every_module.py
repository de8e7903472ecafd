"""Every module of the package keeps the same promises; each is checked on the cases in ``cases_*.py``."""

import copy
import importlib
import inspect
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

import irrepnet
from irrepnet.errors import DtypeError, ShapeError
from irrepnet.testing import assert_equivariant

FILES = sorted(Path(__file__).parent.glob("cases_*.py"))
CASES = [case for path in FILES for case in importlib.import_module(f"modules.{path.stem}").CASES]
ROOMS = ("math", "o3", "io", "nn")


def class_of(case):
    return case.name.split("-")[0]


FIRST = {class_of(case): case for case in reversed(CASES)}


def promise(name):
    """Run a test on every case that is not excused from the promise."""
    cases = [case for case in CASES if name not in case.excused]
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def outputs(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]


def differentiable(arguments):
    return tuple(x.requires_grad_() if x.is_floating_point() else x for x in arguments)


def assert_same(result, expected, rtol=0.0, atol=0.0):
    for a, b in zip(outputs(result), outputs(expected), strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


def test_names_are_unique():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


def test_every_public_module_has_a_case():
    public = set()
    for room in ROOMS:
        face = importlib.import_module(f"irrepnet.{room}")
        things = [(name, getattr(face, name)) for name in face.__all__]
        public |= {name for name, thing in things if inspect.isclass(thing) and issubclass(thing, nn.Module)}
    assert public - {class_of(case) for case in CASES} == set()


@promise("equivariance")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equivariance(case, dtype):
    module = case.module(dtype)
    assert_equivariant(module, case.irreps_in, case.irreps_out, inputs=case.arguments(dtype), trials=3)


@promise("double")
def test_cast_to_double_is_exact(case):
    """Constants are made anew: a module built in float32 and cast is the one built in float64."""
    built, cast = case.module(torch.float64), case.module(torch.float32).double()
    cast.load_state_dict(built.state_dict())
    x = case.arguments(torch.float64)
    assert_same(cast.eval()(*x), built.eval()(*x), atol=1e-13, rtol=1e-13)


@promise("state_dict")
def test_state_dict_holds_what_is_learned(case):
    module = case.module(torch.float64)
    assert set(module.state_dict()) == {name for name, _ in module.named_parameters()} | case.learned


@promise("copies")
def test_copies_are_equal(case):
    module, x = case.module(torch.float64).eval(), case.arguments(torch.float64)
    expected = module(*x)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert_same(other(*x), expected)


@promise("empty_batch")
def test_empty_batch(case):
    module = case.module(torch.float64).eval()
    x = case.arguments(torch.float64)
    empty = differentiable(t[:0].detach().clone() for t in x)
    for found, full in zip(outputs(module(*empty)), outputs(module(*x)), strict=True):
        assert found.shape == (0, *full.shape[1:])
        found.sum().backward()


@promise("meta")
def test_moves_to_another_device(case):
    module, x = case.module(torch.float32).eval(), case.arguments(torch.float32)
    expected = outputs(module(*x))
    moved = outputs(module.to("meta")(*(t.to("meta") for t in x)))
    assert [(y.device.type, y.shape, y.dtype) for y in moved] == [("meta", y.shape, y.dtype) for y in expected]


@promise("to_empty")
def test_constants_are_there_without_values(case):
    """What is not in the state dict is made anew: a module on "meta" is whole once its state is loaded."""
    module, x = case.module(torch.float64).eval(), case.arguments(torch.float64)
    bare = copy.deepcopy(module).to("meta").to_empty(device="cpu")
    for parameter in bare.parameters():
        parameter.data.fill_(torch.nan)
    bare.load_state_dict(module.state_dict())
    assert_same(bare(*x), module(*x), atol=1e-13, rtol=1e-13)


@promise("dtype")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_output_has_the_dtype_of_the_input(case, dtype):
    found = outputs(case.module(dtype)(*case.arguments(dtype)))
    assert [y.dtype for y in found] == [dtype] * len(found)


@promise("integers")
def test_integers_are_refused(case):
    module, x = case.module(torch.float32), case.arguments(torch.float32)
    with pytest.raises(DtypeError):
        module(*(t.long() for t in x))


@promise("mixed_dtypes")
def test_mixed_dtypes_are_refused(case):
    module, double = case.module(torch.float32), case.arguments(torch.float64)
    has_dtype = any(t.is_floating_point() for t in (*module.parameters(), *module.buffers()))
    if has_dtype:
        with pytest.raises(DtypeError):
            module(*double)
    if sum(t.is_floating_point() for t in double) > 1:
        with pytest.raises(DtypeError):
            module(case.arguments(torch.float32)[0], *double[1:])


@promise("arguments")
def test_arguments_stay_as_they_are(case):
    x = case.arguments(torch.float64)
    before = [t.clone() for t in x]
    case.module(torch.float64)(*x)
    assert_same(x, before)


@promise("shape")
def test_wrong_width_is_refused(case):
    first, *rest = case.arguments(torch.float32)
    with pytest.raises(ShapeError):
        case.module(torch.float32)(torch.cat([first, first[..., :1]], dim=-1), *rest)


@promise("gradgrad")
def test_second_derivatives(case):
    module = case.module(torch.float64).eval()
    x = differentiable(t[:2].detach().clone() for t in case.arguments(torch.float64))
    f = lambda *x: tuple(outputs(module(*x)))
    assert torch.autograd.gradcheck(f, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(f, x, fast_mode=True)


@promise("learning")
def test_second_derivatives_by_what_is_learned(case):
    """By parameters, and by parameters and inputs: a weight that gets no gradient is never trained."""
    module = case.module(torch.float64).eval()
    names, parameters = zip(*module.named_parameters(), strict=True) if list(module.parameters()) else ((), ())
    if not names:
        return
    values = differentiable(p.detach().clone() for p in parameters)
    x = differentiable(t[:2].detach().clone() for t in case.arguments(torch.float64))

    def f(*values):
        state = dict(zip(names, values[: len(names)], strict=True))
        return tuple(outputs(torch.func.functional_call(module, state, values[len(names) :])))

    assert torch.autograd.gradcheck(f, values + x, fast_mode=True)
    assert torch.autograd.gradgradcheck(f, values + x, fast_mode=True)


@promise("zero")
def test_finite_derivatives_at_zero(case):
    module = case.module(torch.float64).eval()
    arguments = differentiable(torch.zeros_like(t) for t in case.arguments(torch.float64))
    total = sum(y.sum() for y in outputs(module(*arguments)))
    x = [t for t in arguments if t.requires_grad]
    first = torch.autograd.grad(total, x, create_graph=True, allow_unused=True, materialize_grads=True)
    assert all(g.isfinite().all() for g in first)
    square = sum((g * g).sum() + g.sum() for g in first)
    if square.requires_grad:
        second = torch.autograd.grad(square, x, allow_unused=True, materialize_grads=True)
        assert all(g.isfinite().all() for g in second)


@promise("compile")
def test_compiles_to_one_graph(case):
    """With the gradients by all that has any, in the first case of each class."""
    with_gradients = case is FIRST[class_of(case)]
    module, x = case.module(torch.float64).eval().requires_grad_(with_gradients), case.arguments(torch.float64)
    wanted = [*differentiable(x), *module.parameters()] if with_gradients else []
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    results = [outputs(f(*x)) for f in (compiled, module)]
    assert_same(*results, atol=1e-13, rtol=1e-13)
    wanted = [t for t in wanted if t.requires_grad]
    if wanted:
        totals = [sum(y.square().sum() for y in result) for result in results]
        gradients = [torch.autograd.grad(total, wanted, materialize_grads=True) for total in totals]
        assert_same(*gradients, atol=1e-12, rtol=1e-12)


@promise("export")
def test_exports_with_any_number_of_rows(case):
    module, x = case.module(torch.float64).eval(), case.arguments(torch.float64)
    rows = torch.export.Dim("rows", min=2)
    program = torch.export.export(module, x, dynamic_shapes=tuple({0: rows} for _ in x))
    more = tuple(torch.cat([t, t]) for t in x)
    for arguments in (x, more):
        assert_same(program.module()(*arguments), module(*arguments), atol=1e-13, rtol=1e-13)


@promise("repr")
def test_repr_reads_as_mathematics(case):
    text = repr(case.module(torch.float32))
    assert text.startswith(class_of(case) + "(") and "\n" not in text and "object at" not in text


def test_the_package_was_tested_from_here():
    assert Path(irrepnet.__file__).parent == Path(__file__).parents[2] / "irrepnet"
