"""Every op of the compiled library: memory that does not grow, threads and forked workers that get the same numbers."""

import gc
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import irrepnet.ops.convolution  # registers derivatives, as the next lines
import irrepnet.ops.linear
import irrepnet.ops.radial_table
import irrepnet.ops.spherical_harmonics  # noqa: F401
from irrepnet import o3
from irrepnet.ops._backend import library_status
from irrepnet.ops.blocks import Block
from irrepnet.ops.edge_order import edge_order
from irrepnet.ops.linear import LinearPath, LinearPlan

pytestmark = pytest.mark.skipif(not library_status().loaded, reason=library_status().reason)

LMAX, ROWS = 3, 20


def harmonics_calls():
    v, g, r = (torch.randn(ROWS, n) for n in (3, 16, 16))
    return {
        "spherical_harmonics": (v, LMAX, True),
        "spherical_harmonics_backward": (g, v, LMAX, True),
        "spherical_harmonics_double_backward": (v, g, v, LMAX, True),
        "spherical_harmonics_gradient_v": (g, r, LMAX),
        "spherical_harmonics_gradient_g": (v, r, LMAX),
        "spherical_harmonics_gradient_r": (v, g, LMAX),
    }


def convolution_calls():
    instructions = [(0, 0, 0, "uvu", True), (1, 1, 1, "uvu", True), (0, 1, 2, "uvw", True)]
    plan = o3.TensorProduct("4x0e+4x1o", "0e+1o", "4x0e+4x1e+2x1o", instructions, shared_weights=False).plan
    order = edge_order(torch.randint(6, (2, ROWS)), 6)
    x, y, w, g = (
        torch.randn(*shape)
        for shape in ((6, plan.dim1), (ROWS, plan.dim2), (ROWS, plan.weight_numel), (6, plan.dim_out))
    )
    rest = order.src, order.by_dst, order.dst_ptr, plan.tables(torch.float32)[plan.panel_offset :]
    rest = *rest, list(plan.panel_paths), plan.dim_out
    return {
        "convolve": (x, y, w, *rest),
        "convolve_backward": (g, x, y, w, *rest, 7),
        "convolve_second": (x, y, w, g, x, y, w, *rest, 15),
    }


def linear_calls():
    paths = [LinearPath(Block(0, 8, 1), Block(0, 4, 1), 0, 0.5), LinearPath(Block(8, 4, 3), Block(4, 2, 3), 32, 1.0)]
    plan = LinearPlan(20, 10, 40, tuple(paths))
    x, g, w, species = torch.randn(ROWS, 20), torch.randn(ROWS, 10), torch.randn(3, 40), torch.arange(ROWS) % 3
    return {
        "linear": (x, w, species, plan.ints, plan.scales, False),
        "linear_weights": (x, g, species, plan.ints, plan.scales, 3),
    }


def pair_calls():
    paths = [(0, 0, 0, "uvuv", True), (1, 0, 1, "uvw", True), (1, 0, 1, "u<vw", True)]
    plan = o3.TensorProduct("4x0e+4x1o", "4x1o", "16x1o+3x0e", paths).plan
    (stage,) = plan.stages
    x, y, w = torch.randn(ROWS, plan.dim1), torch.randn(ROWS, plan.dim2), torch.randn(1, plan.weight_numel)
    return {"pair_product": (x, y, w, None, plan.tables(torch.float32), stage.pairs.ints, 3, 1)}


def radial_table_calls():
    b, row, table, g = torch.randn(ROWS, 4), torch.arange(ROWS) % 5, torch.randn(8, 6), torch.randn(ROWS, 6)
    return {
        "radial_table": (b, row, table),
        "radial_table_gradient_b": (g, row, table),
        "radial_table_gradient_table": (g, b, row, 8),
    }


CALLS = {**harmonics_calls(), **convolution_calls(), **linear_calls(), **pair_calls(), **radial_table_calls()}


def call(name):
    found = getattr(torch.ops.irrepnet, name)(*CALLS[name])
    return found if isinstance(found, tuple) else (found,)


def resident():
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_no_op_is_forgotten():
    names = {name.split("::")[1] for name in torch._C._dispatch_get_all_op_names() if name.startswith("irrepnet::")}
    assert {name.split(".")[0] for name in names} == set(CALLS)


@pytest.mark.skipif(
    not os.path.exists("/proc/self/statm"), reason="resident memory is read from /proc, which Linux has"
)
@pytest.mark.parametrize("name", CALLS)
def test_memory_does_not_grow(name):
    """Of a thousand calls with gradients, less than 1 MB may stay."""
    args = [
        arg.clone().requires_grad_() if isinstance(arg, torch.Tensor) and arg.is_floating_point() else arg
        for arg in CALLS[name]
    ]
    op = getattr(torch.ops.irrepnet, name)

    def step():
        found = op(*args)
        outputs = found if isinstance(found, tuple) else (found,)
        sum(output.sum() for output in outputs).backward()
        for arg in args:
            if isinstance(arg, torch.Tensor):
                arg.grad = None

    for _ in range(200):
        step()
    gc.collect()
    before = resident()
    for _ in range(1000):
        step()
    gc.collect()
    assert resident() - before < 2**20


def test_eight_threads_at_once():
    """Plans and tables that calls share are made once or apart; nobody reads another's half-made numbers."""
    expected = {name: call(name) for name in CALLS}

    def work(seed):
        for n in range(30 * len(CALLS)):
            name = list(CALLS)[(n + seed) % len(CALLS)]
            if not all(torch.equal(a, b) for a, b in zip(call(name), expected[name], strict=True)):
                return name
        return None

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [None] * 8


class Results(Dataset):
    """Calls the ops in whatever process asks."""

    def __len__(self):
        return len(CALLS)

    def __getitem__(self, index):
        return os.getpid(), call(list(CALLS)[index])


def test_workers_forked_after_use():
    expected = [call(name) for name in CALLS]  # the parent's threads are at work before it forks
    torch.ops.irrepnet.spherical_harmonics(torch.randn(100_000, 3), LMAX, True)
    loader = DataLoader(Results(), batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60)
    seen = 0
    for (pid, found), wanted in zip(loader, expected, strict=True):
        assert pid != os.getpid()
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
        seen += 1
    assert seen == len(CALLS)
