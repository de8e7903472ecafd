"""The CUDA kernels, run by a GPU emulated on the CPU: same sources, compiled by the C++ compiler (see emulated/).

This proves indices, synchronisation and arithmetic on machines without a GPU; it is no run on one, and no timing.
"""

import shutil
import subprocess
from itertools import product
from pathlib import Path

import pytest
import torch
from ops.twin import TOLERANCE, assert_near

from irrepnet import o3
from irrepnet.ops import convolve, edge_order
from irrepnet.ops.reference.spherical_harmonics import spherical_harmonics

ROOT = Path(__file__).parents[2]
TORCH = Path(torch.__file__).parent
COMPILER = shutil.which("c++") or shutil.which("g++")
DTYPES = tuple(TOLERANCE)


pytestmark = pytest.mark.timeout(900)  # the first test compiles the kernels


@pytest.fixture(scope="session")
def emulated(tmp_path_factory):
    """The ops of a library whose CUDA kernels are emulated, under a name of its own."""
    if COMPILER is None:
        pytest.skip("needs a C++ compiler")
    library = tmp_path_factory.mktemp("emulated") / "emulated.so"
    sources = [
        ROOT / "csrc" / "library.cpp",
        *sorted(ROOT.glob("csrc/cuda/*.cu")),
        *ROOT.glob("tests/csrc/emulated/*.cpp"),
    ]
    options = ["-std=c++17", "-O1", "-g", "-shared", "-fPIC", "-fvisibility=hidden", "-Wno-psabi", "-Wl,-Bsymbolic"]
    options += ["-DUSE_CUDA", "-DTORCH_TARGET_VERSION=0x020a000000000000", "-Dirrepnet=irrepnet_emulated", "-x", "c++"]
    folders = [f"-I{ROOT / 'tests/csrc/emulated'}", "-isystem", TORCH / "include", f"-L{TORCH / 'lib'}"]
    command = [COMPILER, *options, *folders, *sources, "-o", library, "-ltorch_cpu"]
    process = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    torch.ops.load_library(library)
    return torch.ops.irrepnet_emulated


def channelwise(irreps_in, irreps_edge, keep):
    """All 'uvu' paths to the irreps to keep, each with an output block of its own."""
    irreps_in, irreps_edge = o3.Irreps(irreps_in), o3.Irreps(irreps_edge)
    out, instructions = [], []
    for a, (mul, ir) in enumerate(irreps_in):
        for b, (_, ir_edge) in enumerate(irreps_edge):
            for ir_out in ir * ir_edge:
                if ir_out in o3.Irreps(keep):
                    instructions.append((a, b, len(out), "uvu", True))
                    out.append((mul, ir_out))
    return o3.TensorProduct(irreps_in, irreps_edge, out, instructions, shared_weights=False)


EVERY = "2x0o+2x0e+2x1o+2x1e+2x2o+2x2e+2x3o+2x3e"
PRODUCTS = {
    "one piece": channelwise("5x0e+3x1o", "0e+1o", "0e+1o+1e+2e"),
    "two pieces": channelwise("40x0e+33x1o", "0e+1o+2e", "0e+1o+2e"),
    "unlike multiplicities": channelwise("70x0e+5x2e+3x3o", "0e+2e+3o", "0e+1o+2e+3o"),
    "any number of components": channelwise("2x5o+1x6e", "0e+3o", "4o+5o+6e"),
    "more warps than pieces fit": channelwise("200x0e+1x1o", "0e+1o", "0e+1o"),
    "paths of two launches": channelwise(EVERY, "0e+1o+2e+3o", "0e+0o+1e+1o+2e+2o+3e+3o"),
    "shared outputs, some without weights": o3.TensorProduct(
        "3x0e+3x1o",
        "0e+1o",
        "3x0e+3x1o",
        [(0, 0, 0, "uvu", True), (1, 1, 0, "uvu", False), (1, 0, 1, "uvu", True), (0, 1, 1, "uvu", False)],
        shared_weights=False,
    ),
    "no weights": o3.TensorProduct(
        "3x0e+3x1o", "0e+1o", "3x0e+3x1o", [(0, 0, 0, "uvu", False), (0, 1, 1, "uvu", False)]
    ),
}


def problem(tp, sources, destinations, edges, shared=False):
    """Random operands and edges; the last destination has none."""
    numel = tp.plan.weight_numel
    shapes = [(sources, tp.plan.dim1), (edges, tp.plan.dim2), (numel,) if shared else (edges, numel)]
    operands = [torch.randn(*shape, dtype=torch.float64) for shape in shapes[: 3 if numel else 2]]
    edge_index = torch.stack(
        [torch.randint(sources, (edges,)), torch.randint(max(destinations - 1, 1), (edges,))],
    )
    return operands, edge_order(edge_index, sources, destinations)


def check_convolution(ops, tp, operands, order, dtype):
    """Compare forward, backward and the derivative along every choice of directions with plain PyTorch."""
    plan = tp.plan

    def reference(*given):
        return convolve(*given, *[None] * (3 - len(given)), order, plan, backend="reference")

    def gradients(*given):
        value, vjp = torch.func.vjp(reference, *given)
        return *vjp(g), value

    tables = plan.tables(dtype)[plan.panel_offset :]
    rest = order.src, order.by_dst, order.dst_ptr, tables, list(plan.panel_paths), plan.dim_out
    narrow = [operand.to(dtype) for operand in operands]
    padded = [*narrow, *[None] * (3 - len(narrow))]
    g = torch.randn(order.num_dst, plan.dim_out, dtype=torch.float64)
    *expected, value = gradients(*operands)
    assert_near(ops.convolve(*padded, *rest), value, TOLERANCE[dtype])
    for a, b in zip(ops.convolve_backward(g.to(dtype), *padded, *rest, 7), expected, strict=False):
        assert_near(a, b, TOLERANCE[dtype])
    every = [chosen for chosen in product([True, False], repeat=len(operands)) if any(chosen)]
    for chosen in every if dtype == torch.float64 else every[:1]:
        directions = [torch.randn_like(operand) * keep for operand, keep in zip(operands, chosen, strict=True)]
        *expected, value = torch.func.jvp(gradients, tuple(operands), tuple(directions))[1]
        given = [d.to(dtype) if keep else None for d, keep in zip(directions, chosen, strict=True)]
        *found, out = ops.convolve_second(*given, *[None] * (3 - len(given)), g.to(dtype), *padded, *rest, 15)
        for a, b in zip([*found[: len(operands)], out], [*expected, value], strict=True):
            assert_near(a, b, TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PRODUCTS)
def test_convolution(emulated, name, dtype):
    tp = PRODUCTS[name]
    check_convolution(emulated, tp, *problem(tp, 5, 4, 7), dtype)


@pytest.mark.parametrize(("sources", "destinations", "edges"), [(3, 2, 0), (1, 1, 9), (2, 7, 3)])
def test_convolution_of_odd_graphs(emulated, sources, destinations, edges):
    tp = PRODUCTS["one piece"]
    check_convolution(emulated, tp, *problem(tp, sources, destinations, edges), torch.float64)


def test_convolution_with_the_same_weights_everywhere(emulated):
    tp = PRODUCTS["one piece"]
    check_convolution(emulated, tp, *problem(tp, 5, 4, 12, shared=True), torch.float64)


def test_convolution_makes_only_what_is_needed(emulated):
    tp = PRODUCTS["one piece"]
    operands, order = problem(tp, 5, 4, 12)
    plan = tp.plan
    rest = order.src, order.by_dst, order.dst_ptr, plan.tables(torch.float64)[plan.panel_offset :]
    rest = *rest, list(plan.panel_paths), plan.dim_out
    g = torch.randn(4, plan.dim_out, dtype=torch.float64)
    whole = emulated.convolve_backward(g, *operands, *rest, 7)
    for slot in range(3):
        for k, (part, full) in enumerate(
            zip(emulated.convolve_backward(g, *operands, *rest, 1 << slot), whole, strict=True)
        ):
            assert torch.equal(part, full) if k == slot else part.numel() == 0


def test_a_path_that_is_left_out(emulated):
    tp = PRODUCTS["one piece"]
    (x, y, w), order = problem(tp, 5, 4, 12)
    plan, paths = tp.plan, list(tp.plan.panel_paths)
    rest = order.src, order.by_dst, order.dst_ptr, plan.tables(torch.float64)[plan.panel_offset :]
    whole = emulated.convolve(x, y, w, *rest, paths, plan.dim_out)
    assert paths[7 + 9] >= 0
    columns = slice(paths[5 + 9], paths[5 + 9] + paths[1 + 9] * paths[6 + 9])
    paths[7 + 9] = -2
    whole[:, columns] = 0
    assert torch.equal(emulated.convolve(x, y, w, *rest, paths, plan.dim_out), whole)


def test_weights_that_mix_channels_are_refused(emulated):
    tp = o3.TensorProduct("2x0e", "0e", "3x0e", [(0, 0, 0, "uvw", True)], shared_weights=False)
    (x, y, w), order = problem(tp, 2, 2, 3)
    rest = order.src, order.by_dst, order.dst_ptr, tp.plan.tables(torch.float64)[tp.plan.panel_offset :]
    with pytest.raises(
        RuntimeError, match="convolve needs weights that do not mix channels; on CUDA use backend='refe"
    ):
        emulated.convolve(x, y, w, *rest, list(tp.plan.panel_paths), tp.plan.dim_out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("lmax", "rows"), [(0, 5), (1, 0), (1, 300), (3, 131), (8, 40), (20, 5)])
def test_spherical_harmonics(emulated, lmax, rows, normalize, dtype):
    xyz = torch.nn.functional.normalize(torch.randn(rows, 3, dtype=torch.float64), dim=-1) * (1.2 if lmax < 8 else 1)
    g, v = torch.randn(rows, (lmax + 1) ** 2, dtype=torch.float64), torch.randn(rows, 3, dtype=torch.float64)

    def value(points):
        return spherical_harmonics(points, lmax, normalize)

    def gradient(points, grad):
        return torch.func.vjp(value, points)[1](grad)[0]

    points, grad, direction = xyz.to(dtype), g.to(dtype), v.to(dtype)
    tolerance = TOLERANCE[dtype] * 3
    assert_near(emulated.spherical_harmonics(points, lmax, normalize), value(xyz), tolerance)
    assert_near(emulated.spherical_harmonics_backward(grad, points, lmax, normalize), gradient(xyz, g), tolerance)
    slope = torch.func.jvp(value, (xyz,), (v,))[1]
    turned = torch.func.jvp(lambda p: gradient(p, g), (xyz,), (v,))[1]
    found = emulated.spherical_harmonics_double_backward(direction, grad, points, lmax, normalize)
    for a, b in zip(found, (slope, turned), strict=True):
        assert_near(a, b, tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lmax", [0, 1, 4])
def test_spherical_harmonics_trilinear_form(emulated, lmax, dtype):
    """T(v, g, r) = sum_i v_i g.(G_i r) with d_i R = G_i R: its gradients, whatever the three are."""
    dim = (lmax + 1) ** 2
    v, g, r = (torch.randn(7, n, dtype=torch.float64) for n in (3, dim, dim))
    # R of dim points in general position spans all r, so its derivatives give G.
    points = torch.randn(4 * dim, 3, dtype=torch.float64)
    values = spherical_harmonics(points, lmax)
    slopes = torch.func.vmap(torch.func.jacfwd(lambda p: spherical_harmonics(p, lmax)))(points)  # [points, a, i]
    G = torch.linalg.lstsq(values, slopes.flatten(1)).solution.unflatten(1, (dim, 3))  # [b, a, i]
    cast = {"v": v.to(dtype), "g": g.to(dtype), "r": r.to(dtype)}
    expected = {
        "v": torch.einsum("bai,na,nb->ni", G, g, r),
        "g": torch.einsum("bai,ni,nb->na", G, v, r),
        "r": torch.einsum("bai,ni,na->nb", G, v, g),
    }
    for name, wanted in expected.items():
        given = [cast[other] for other in "vgr" if other != name]
        found = getattr(emulated, f"spherical_harmonics_gradient_{name}")(*given, lmax)
        assert_near(found, wanted, max(TOLERANCE[dtype], 1e-10))


def test_the_zero_vector_has_no_direction(emulated):
    zero = torch.zeros(2, 3)
    assert torch.equal(emulated.spherical_harmonics(zero, 1, True), torch.tensor([[1.0, 0, 0, 0]] * 2))
    assert torch.equal(emulated.spherical_harmonics_backward(torch.ones(2, 4), zero, 1, True), zero)
