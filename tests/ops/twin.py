"""The tests that every op must pass, written once: inherit ``TwinTests`` and describe the op.

A subclass gives `op`, `example` and `oracle`, and where the defaults do not fit `backends`, `differentiable`,
`kernels`, `dynamic` and `bad_inputs`. The reference is the definition, so the fused backend is compared with it, and
both are compared with an oracle that shares no code with either.
"""

import warnings
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from irrepnet.ops._backend import library_status

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}  # of the largest number expected


def assert_near(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Fail unless the largest difference is within the tolerance times the largest expected number."""
    assert actual.shape == expected.shape, f"shape {list(actual.shape)}, expected {list(expected.shape)}"
    if expected.numel() == 0:
        return
    expected = expected.detach().double()
    scale = expected.abs().max().item() or 1.0
    error = (actual.detach().double() - expected).abs().max().item() / scale
    assert error <= tolerance, f"off by {error:.1e} of the scale {scale:.3g}, allowed {tolerance:.0e}"


class TwinTests:
    """Values, derivatives of three orders, transforms, compilers, dtypes, threads and errors of one op."""

    backends: tuple[str, ...] = ("reference", "fused")
    differentiable: tuple[int, ...] = (0,)  # positions of the inputs that may carry a gradient
    constants: ClassVar[dict[str, tuple[int, ...]]] = {}  # per kernel: positions of constants, which carry no gradient
    dynamic: tuple[dict[int, str] | None, ...] = ({0: "rows"},)  # per input: axes whose size export leaves open

    def op(self, *inputs: Tensor, backend: str) -> Tensor:
        """Call the op; everything that is not a tensor is bound here."""
        raise NotImplementedError

    def example(self, size: int) -> tuple[Tensor, ...]:
        """Return random inputs with `size` rows, float64 where floating; zero rows are allowed."""
        raise NotImplementedError

    def oracle(self, *inputs: Tensor) -> Tensor:
        """Return the same values in float64 by other means."""
        raise NotImplementedError

    def kernels(self) -> list[tuple[str, tuple]]:
        """Return the registered ops behind the fused backend and float64 arguments for each, for opcheck."""
        return []

    def bad_inputs(self) -> list[tuple[tuple, type[Exception], str]]:
        """Return wrong inputs, the error that they deserve and what it must say."""
        return []

    def pytest_generate_tests(self, metafunc):
        if "backend" in metafunc.fixturenames:
            metafunc.parametrize("backend", self.backends)

    @pytest.fixture(autouse=True)
    def _twin(self, request):
        params = request.node.callspec.params if hasattr(request.node, "callspec") else {}
        if params.get("backend", self.backends[-1]) == "fused" and not library_status().loaded:
            pytest.skip(library_status().reason)
        torch._dynamo.reset()
        threads = torch.get_num_threads()
        yield
        torch.set_num_threads(threads)

    # ---- helpers

    def leaves(self, size: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
        """Return example inputs with gradients switched on."""
        inputs = self.cast(self.example(size), dtype)
        return tuple(x.requires_grad_() if k in self.differentiable else x for k, x in enumerate(inputs))

    @staticmethod
    def cast(inputs, dtype):
        return tuple(x.detach().to(dtype) if x.is_floating_point() else x for x in inputs)

    def select(self, inputs):
        return [inputs[k] for k in self.differentiable]

    def derivatives(self, inputs, backend: str, order: int = 3) -> list[Tensor]:
        """Return the value and, order by order, the gradient of a random nonlinear function of what came before."""
        random = torch.Generator().manual_seed(1)
        found = [self.op(*inputs, backend=backend)]
        for _ in range(order):
            last = found[-1]
            weights = torch.randn(last.shape, generator=random, dtype=torch.float64).to(last)
            scale = last.detach().square().mean().sqrt() if last.numel() else 1.0
            scalar = (weights * (last / scale).sin()).sum()  # not linear, because many ops are
            chosen = self.select(inputs)
            grads = torch.autograd.grad(scalar, chosen, create_graph=True, allow_unused=True, materialize_grads=True)
            found.append(torch.cat([g.reshape(-1) for g in grads]))
        return found

    def energy(self, backend: str):
        """Return a scalar function of the differentiable inputs, not linear in any of them."""
        inputs = self.example(3)

        def function(*chosen: Tensor) -> Tensor:
            args = list(inputs)
            for k, x in zip(self.differentiable, chosen, strict=True):
                args[k] = x
            return self.op(*args, backend=backend).pow(2).sum()

        return function, tuple(self.select(inputs))

    # ---- values and derivatives

    @pytest.mark.parametrize("dtype", TOLERANCE)
    def test_values_equal_the_oracle(self, backend, dtype):
        inputs = self.cast(self.example(7), dtype)
        output = self.op(*inputs, backend=backend)
        assert output.dtype == dtype
        assert_near(output, self.oracle(*self.cast(inputs, torch.float64)), TOLERANCE[dtype])

    def test_finite_differences_confirm_first_and_second_derivatives(self, backend):
        for position in self.differentiable:
            inputs = list(self.cast(self.example(2), torch.float64))
            inputs[position].requires_grad_()
            call = lambda *args: self.op(*args, backend=backend)
            assert torch.autograd.gradcheck(call, inputs), f"first derivative of input {position}"
            assert torch.autograd.gradgradcheck(call, inputs), f"second derivative of input {position}"

    def test_three_orders_of_derivatives_equal_the_reference(self, backend):
        """The reference itself is compared with its own float64 derivatives."""
        for dtype in TOLERANCE if backend == "fused" else (torch.float32,):
            inputs = self.leaves(6, dtype)
            expected = self.derivatives(self.leaves_like(inputs), "reference")
            for order, (a, b) in enumerate(zip(self.derivatives(inputs, backend), expected, strict=True)):
                assert_near(a, b, TOLERANCE[dtype] * 3**order)

    def leaves_like(self, inputs):
        wide = self.cast(inputs, torch.float64)
        return tuple(x.clone().requires_grad_() if k in self.differentiable else x for k, x in enumerate(wide))

    def test_no_rows(self, backend):
        inputs = self.leaves(0)
        value, *grads = self.derivatives(inputs, backend, order=2)
        assert value.shape == self.oracle(*self.example(0)).shape
        assert all(g.numel() == sum(x.numel() for x in self.select(inputs)) for g in grads)

    def test_strides_do_not_matter(self, backend):
        plain = self.leaves(5)
        strided = []
        for x in plain:
            wide = torch.empty(*x.shape, 2, dtype=x.dtype)
            wide[..., 1] = x.detach()
            strided.append(wide[..., 1].requires_grad_(x.requires_grad))
        for a, b in zip(self.derivatives(strided, backend), self.derivatives(plain, backend), strict=True):
            assert torch.equal(a, b)

    def test_an_expanded_gradient(self, backend):
        inputs = self.leaves(5)
        output = self.op(*inputs, backend=backend)
        ones = torch.autograd.grad(output.sum(), self.select(inputs), retain_graph=True)  # grad is ones().expand()
        dense = torch.autograd.grad(output, self.select(inputs), torch.ones_like(output))
        assert all(torch.equal(a, b) for a, b in zip(ones, dense, strict=True))

    # ---- PyTorch's own checks, transforms and compilers

    def test_opcheck(self):
        if not self.kernels():
            pytest.skip("this op has no registered kernels")
        for name, args in self.kernels():
            op = getattr(torch.ops.irrepnet, name).default
            for k, arg in enumerate(args):
                if isinstance(arg, Tensor) and arg.is_floating_point() and k not in self.constants.get(name, ()):
                    arg.requires_grad_()
            torch.library.opcheck(op, args)

    def test_every_kernel_has_the_right_gradient(self):
        """Those behind higher derivatives too, which the op itself does not reach at low orders."""
        if not self.kernels():
            pytest.skip("this op has no registered kernels")
        for name, args in self.kernels():
            op = getattr(torch.ops.irrepnet, name).default
            for k, arg in enumerate(args):
                if isinstance(arg, Tensor) and arg.is_floating_point() and k not in self.constants.get(name, ()):
                    call = lambda x, k=k, op=op, args=args: op(*args[:k], x, *args[k + 1 :])
                    assert torch.autograd.gradcheck(call, arg.clone().requires_grad_()), f"{name}, argument {k}"

    def test_func_transforms(self, backend):
        func = torch.func
        f, x = self.energy(backend)
        argnums = tuple(range(len(x)))
        leaves = tuple(a.clone().requires_grad_() for a in x)
        grads = torch.autograd.grad(f(*leaves), leaves, create_graph=True)
        for a, b in zip(func.grad(f, argnums)(*x), grads, strict=True):
            assert_near(a, b, 1e-12)
        tangents = tuple(torch.randn_like(a) for a in x)
        directional = sum((g * t).sum() for g, t in zip(grads, tangents, strict=True))
        assert_near(func.jvp(f, x, tangents)[1], directional, 1e-12)
        second = torch.autograd.grad(directional, leaves, create_graph=True)
        for a, b in zip(func.jvp(func.grad(f, argnums), x, tangents)[1], second, strict=True):
            assert_near(a, b, 1e-12)
        curvature = sum((s * t).sum() for s, t in zip(second, tangents, strict=True))
        third = torch.autograd.grad(curvature, leaves)

        def twice_forward(*args):
            def once(*inner):
                return func.jvp(f, inner, tangents)[1]

            return func.jvp(once, args, tangents)[1]

        assert_near(twice_forward(*x), curvature, 1e-12)
        for a, b in zip(func.grad(twice_forward, argnums)(*x), third, strict=True):
            assert_near(a, b, 1e-11)
        slope = sum((t * d).sum() for t, d in zip(third, tangents, strict=True))
        assert_near(func.jvp(twice_forward, x, tangents)[1], slope, 1e-11)  # forward mode three times over

    def test_jacobians_and_hessians(self, backend):
        func = torch.func
        f, x = self.energy(backend)
        for k in range(len(x)):
            expected = torch.autograd.functional.hessian(lambda a, k=k: f(*x[:k], a, *x[k + 1 :]), x[k])
            scale = TOLERANCE[torch.float64]
            assert_near(func.hessian(f, k)(*x), expected, scale)
            assert_near(func.jacrev(func.jacrev(f, k), k)(*x), expected, scale)

    def test_vmap(self, backend):
        f, x = self.energy(backend)
        batch = tuple(torch.stack([a, 2 * a, -a], dim=a.ndim) for a in x)  # the batch lies last
        apart = [tuple(a.select(-1, n) for a in batch) for n in range(3)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # no silent loop over the batch
            values = torch.vmap(f, in_dims=-1)(*batch)
            grads = torch.vmap(torch.func.grad(f), in_dims=-1)(*batch)
        assert_near(values, torch.stack([f(*a) for a in apart]), 1e-12)
        assert_near(grads, torch.stack([torch.func.grad(f)(*a) for a in apart]), 1e-12)
        first_only = torch.vmap(f, in_dims=(-1, *(None for _ in x[1:])))(batch[0], *x[1:])
        assert_near(first_only, torch.stack([f(a[0], *x[1:]) for a in apart]), 1e-12)

    def test_the_old_vmap_of_autograd(self, backend):
        """Gradients of a batch of gradients: it lies above autograd, and is no transform of torch.func."""
        inputs = self.leaves(3)
        k = self.differentiable[0]
        output = self.op(*inputs, backend=backend)
        batch = torch.randn(4, *output.shape, dtype=output.dtype)
        rows = torch.autograd.grad(output, inputs[k], batch, is_grads_batched=True, create_graph=True)[0]
        apart = [torch.autograd.grad(output, inputs[k], one, create_graph=True)[0] for one in batch]
        assert_near(rows, torch.stack(apart), 1e-12)
        chosen = self.select(inputs)
        options = {"allow_unused": True, "materialize_grads": True}
        found = torch.autograd.grad(rows.square().sum() + output.square().sum(), chosen, retain_graph=True, **options)
        expected = torch.autograd.grad(torch.stack(apart).square().sum() + output.square().sum(), chosen, **options)
        for a, b in zip(found, expected, strict=True):
            assert_near(a, b, 1e-12)

    def test_compile(self, backend):
        compiled = torch.compile(lambda *a: self.op(*a, backend=backend), backend="aot_eager", fullgraph=True)
        for size in (4, 9):
            self.assert_same_gradients(compiled, backend, size)

    def test_compile_with_inductor(self):
        backend = self.backends[-1]
        compiled = torch.compile(lambda *a: self.op(*a, backend=backend), fullgraph=True)
        self.assert_same_gradients(compiled, backend, 4)

    def test_compiled_transforms(self):
        """A kernel that the compiler takes for a constant would give tangents of zero."""
        if "fused" not in self.backends:
            pytest.skip("this op has no registered kernels")
        func = torch.func
        f, x = self.energy("auto")
        tangents = tuple(torch.randn_like(a) for a in x)
        transforms = {
            "jvp": lambda *a: func.jvp(f, a, tangents)[1],
            "jacfwd": func.jacfwd(f),
            "grad": func.grad(f),
            "hessian": func.hessian(f),
            "vmap of grad": lambda *a: torch.vmap(func.grad(f))(*(torch.stack([b, 2 * b]) for b in a)),
        }
        for name, transform in transforms.items():
            torch._dynamo.reset()
            expected = transform(*x)
            assert expected.abs().max() > 0, name
            assert_near(torch.compile(transform, backend="eager", fullgraph=True)(*x), expected, 1e-12)

    def test_one_compiled_function_in_and_out_of_forward_mode(self):
        if "fused" not in self.backends:
            pytest.skip("this op has no registered kernels")
        f, x = self.energy("auto")
        compiled = torch.compile(f, backend="eager")
        tangents = tuple(torch.randn_like(a) for a in x)
        for _ in range(2):
            assert_near(compiled(*x), f(*x), 1e-12)
            assert_near(torch.func.jvp(compiled, x, tangents)[1], torch.func.jvp(f, x, tangents)[1], 1e-12)

    def assert_same_gradients(self, compiled, backend, size):
        inputs = self.leaves(size)
        values = compiled(*inputs), self.op(*inputs, backend=backend)
        assert_near(*values, 1e-12)
        a, b = (torch.autograd.grad(v.pow(2).sum(), self.select(inputs)) for v in values)
        for left, right in zip(a, b, strict=True):
            assert_near(left, right, 1e-12)

    def test_a_traced_gradient_can_be_differentiated_again(self, backend):
        f, x = self.energy(backend)
        leaves = tuple(a.clone().requires_grad_() for a in x)

        def forces(*args):
            return torch.autograd.grad(f(*args), args, create_graph=True)

        traced = make_fx(forces, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*leaves)
        compiled = torch.compile(traced, backend="aot_eager", fullgraph=True)
        results = []
        for function in (forces, traced, compiled):
            first = function(*leaves)
            loss = sum(a.pow(2).sum() for a in first)
            results.append([*first, *torch.autograd.grad(loss, leaves)])
        for other in results[1:]:
            for a, b in zip(other, results[0], strict=True):
                assert_near(a, b, 1e-12)

    def test_export_with_open_sizes(self, backend):
        class Module(torch.nn.Module):
            def forward(_, *args):
                return self.op(*args, backend=backend)

        dims = {name: torch.export.Dim(name) for axes in self.dynamic if axes for name in axes.values()}
        shapes = tuple({k: dims[name] for k, name in axes.items()} if axes else None for axes in self.dynamic)
        program = torch.export.export(Module(), self.example(5), dynamic_shapes=(shapes,)).module()
        for size in (3, 8):
            inputs = self.example(size)
            assert_near(program(*inputs), self.op(*inputs, backend=backend), 1e-12)

    # ---- dtypes, threads, errors

    def test_autocast_computes_in_float32(self, backend):
        inputs = self.leaves(5, torch.float32)
        value = self.op(*self.leaves_like(inputs), backend=backend)
        weights = torch.randn(value.shape)
        expected = torch.autograd.grad(self.op(*inputs, backend=backend), self.select(inputs), weights)
        with torch.autocast("cpu", torch.bfloat16):
            found = self.op(*inputs, backend=backend)
            half = self.op(*self.cast(inputs, torch.bfloat16), backend=backend)
            inside = torch.autograd.grad(found, self.select(inputs), weights, retain_graph=True)
        outside = torch.autograd.grad(found, self.select(inputs), weights)
        assert found.dtype == half.dtype == torch.float32
        assert_near(found, value, 1e-5)
        assert_near(half, value, 5e-2)  # bfloat16 inputs have 8 bits
        # Where backward itself runs under autocast, PyTorch rounds the products of plain PyTorch; kernels stay exact.
        for grads in (outside, inside) if backend == "fused" else (outside,):
            for a, b in zip(grads, expected, strict=True):
                assert_near(a, b, 1e-5)

    def test_repeats_are_bit_identical(self, backend):
        inputs = self.leaves(3000)
        chosen = self.select(inputs)
        weights = torch.randn_like(self.op(*inputs, backend=backend))
        directions = [torch.randn_like(x) for x in chosen]

        def compute(threads):
            torch.set_num_threads(threads)
            value = self.op(*inputs, backend=backend)
            first = torch.autograd.grad(value, chosen, weights, create_graph=True)
            unused = {"allow_unused": True, "materialize_grads": True}
            return [value, *first, *torch.autograd.grad(first, chosen, directions, **unused)]

        # MKL's products, in the reference, may depend on the number of threads; kernels must not.
        once = compute(1)
        for threads in (1, 2) if backend == "fused" else (1,):
            for a, b in zip(compute(threads), once, strict=True):
                assert torch.equal(a, b), f"{threads} thread(s)"

    @pytest.mark.parametrize("dtype", TOLERANCE)
    def test_on_cuda(self, backend, dtype):
        """Three orders of derivatives on a GPU equal the reference on the CPU, and repeat to the bit where fused."""
        if not torch.cuda.is_available():
            pytest.skip("PyTorch sees no GPU here: CUDA kernels do not run")
        if backend == "fused" and "cuda" not in library_status().devices:
            pytest.skip(library_status().reason)
        inputs = self.leaves(6, dtype)
        there = tuple(x.detach().to("cuda").requires_grad_(x.requires_grad) for x in inputs)
        expected = self.derivatives(self.leaves_like(inputs), "reference")
        found = self.derivatives(there, backend)
        with torch.cuda.stream(torch.cuda.Stream()):  # kernels run in the current stream
            again = self.derivatives(there, backend)
        torch.cuda.synchronize()
        for order, (a, b, c) in enumerate(zip(found, again, expected, strict=True)):
            assert_near(a.cpu(), c, TOLERANCE[dtype] * 3**order)
            assert backend != "fused" or torch.equal(a, b)

    def test_bad_inputs_are_named(self, backend):
        for inputs, error, words in self.bad_inputs():
            with pytest.raises(error, match=words):
                self.op(*inputs, backend=backend)
