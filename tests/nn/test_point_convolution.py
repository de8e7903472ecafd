"""The convolution on points: an explicit loop over edges, equivariance, the cutoff, odd graphs, planted faults."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from irrepnet import o3, ops
from irrepnet.errors import BackendError, ConfigError, DataError, DtypeError, IrrepsError, ShapeError
from irrepnet.math import second_moment_factor
from irrepnet.nn import PointConvolution
from irrepnet.testing import Permutation, assert_equivariant, equivariance_error, strategies

CUTOFF = 3.0


def harmonics(layer, edge_vec):
    return o3.spherical_harmonics(layer.irreps_edge, edge_vec, normalize=True, normalization="component")


def on_points(layer):
    """Return f(pos, node_feats, pairs [E, 2]) -> node features."""

    def f(pos, node_feats, pairs):
        src, dst = pairs.T
        edge_vec = pos[dst] - pos[src]
        return layer(node_feats, harmonics(layer, edge_vec), edge_vec.norm(dim=1), pairs.T)

    return f


def points(num=6, dtype=torch.float64):
    pos = 1.2 * torch.randn(num, 3, dtype=dtype)
    pairs = torch.cdist(pos, pos).fill_diagonal_(CUTOFF).lt(CUTOFF).nonzero()
    return pos, pairs[torch.randperm(len(pairs))]


def small_layer(dtype=torch.float64, **options):
    return PointConvolution("4x0e+3x1o", "0e+1o+2e", "5x0e+2x1o+1e", cutoff=CUTOFF, **options).to(dtype)


def loop_over_edges(layer, node_feats, edge_vec, edge_index, num_dst):
    """The docstring's formula in numpy: 3j symbols, one edge, path, channel and output component at a time."""
    x, Y = node_feats.numpy(), harmonics(layer, edge_vec).numpy()
    out = np.zeros((num_dst, layer.irreps_out.dim))
    mid = np.zeros((num_dst, layer.irreps_mid.dim))
    paths = sorted(
        (ir, i, j)
        for i, (_, ir1) in enumerate(layer.irreps_in)
        for j, (_, ir2) in enumerate(layer.irreps_edge)
        for ir in ir1 * ir2
        if ir in layer.irreps_out
    )
    for e, (src, dst) in enumerate(edge_index.T.tolist()):
        weights = iter(radial_weights(layer, float(edge_vec[e].norm())))
        column = 0
        for ir, i, j in paths:
            (mul1, ir1), (_, ir2) = layer.irreps_in[i], layer.irreps_edge[j]
            C = o3.wigner_3j(ir1.l, ir2.l, ir.l, dtype=torch.float64).numpy() * math.sqrt(ir.dim)
            y = Y[e, layer.irreps_edge.slices()[j]]
            for u in range(mul1):
                xu = x[src, layer.irreps_in.slices()[i]].reshape(mul1, ir1.dim)[u]
                mid[dst, column : column + ir.dim] += next(weights) * np.einsum("i,j,ijk->k", xu, y, C)
                column += ir.dim
    mid /= math.sqrt(layer.avg_num_neighbors)
    flat = iter(layer.linear.weight.detach().numpy())
    for a, (mul1, ir1) in zip(layer.irreps_mid.simplify().slices(), layer.irreps_mid.simplify(), strict=True):
        for b, (mul2, ir2) in zip(layer.irreps_out.slices(), layer.irreps_out, strict=True):
            if ir1 == ir2:
                W = np.array([next(flat) for _ in range(mul1 * mul2)]).reshape(mul1, mul2)
                z = np.einsum("nui,uw->nwi", mid[:, a].reshape(-1, mul1, ir1.dim), W / math.sqrt(mul1))
                out[:, b] += z.reshape(num_dst, -1)
    return out


def radial_weights(layer, r):
    num_basis, p, x = layer.radial.basis.num_basis, layer.radial.envelope.p, r / CUTOFF
    if x >= 1:
        return np.zeros(layer.product.weight_numel)
    k = np.arange(1, num_basis + 1)
    h = math.sqrt(2 / CUTOFF) * np.sin(k * math.pi * x) / (k * r)
    h *= math.sqrt(CUTOFF**3 / 3 * num_basis / np.square(1 / k).sum())
    *hidden, last = [w.detach().numpy() for w in layer.radial.weights]
    for w in hidden:
        h = h @ w / math.sqrt(len(w))
        h = second_moment_factor(torch.nn.functional.silu) * h / (1 + np.exp(-h))
    u = 1 - (p + 1) * (p + 2) / 2 * x**p + p * (p + 2) * x ** (p + 1) - p * (p + 1) / 2 * x ** (p + 2)
    return u * h @ last / math.sqrt(len(last))


class TestDefinition:
    def test_equals_an_explicit_loop_over_edges(self):
        layer = small_layer(avg_num_neighbors=2.5, num_basis=5, radial_hidden=(6, 7))
        edge_index = torch.tensor([[0, 3, 1, 1, 2, 0, 3], [1, 0, 0, 2, 1, 1, 0]])  # unsorted, one pair twice
        edge_vec = torch.randn(7, 3, dtype=torch.float64)
        edge_vec[3] *= 10  # beyond the cutoff
        feats = layer.irreps_in.randn(4, -1, dtype=torch.float64)
        out = layer(feats, harmonics(layer, edge_vec), edge_vec.norm(dim=1), edge_index)
        expected = loop_over_edges(layer, feats, edge_vec, edge_index, 4)
        np.testing.assert_allclose(out.detach().numpy(), expected, rtol=1e-11, atol=1e-12)
        assert (out[3] == 0).all()  # no edge ends there

    def test_paths_are_those_that_lead_to_the_output(self):
        layer = PointConvolution("4x0e+3x1o", "0e+1o", "8x0e", cutoff=CUTOFF)
        assert layer.paths == [("4x0e", "1x0e", "4x0e"), ("3x1o", "1x1o", "3x0e")]
        assert str(layer.irreps_mid) == "4x0e+3x0e"
        assert "4x0e+3x1o x 1x0e+1x1o -> 8x0e | 2 paths" in repr(layer)

    def test_a_lone_vector_points_from_source_to_destination(self):
        """With equal scalars on both ends, the vector feature is along edge_vec = pos[dst] - pos[src]."""
        layer = PointConvolution("0e", "1o", "1o", cutoff=CUTOFF).double()
        pos = torch.tensor([[0.0, 0, 0], [1, 0, 0]], dtype=torch.float64)
        left, right = on_points(layer)(pos, torch.ones(2, 1, dtype=torch.float64), torch.tensor([[0, 1], [1, 0]]))
        torch.testing.assert_close(left, -right)
        assert left[1:].abs().max() < 1e-15 < left[0].abs()

    def test_outputs_are_at_unit_scale(self):
        layer = PointConvolution("16x0e+16x1o", "0e+1o", "64x0e+64x1o", cutoff=CUTOFF, avg_num_neighbors=30)
        layer.radial.envelope.forward = torch.ones_like
        src, dst = torch.randint(400, (2, 12_000))
        edge_vec = torch.nn.functional.normalize(torch.randn(12_000, 3), dim=1)
        edge_len = CUTOFF * torch.rand(12_000) ** (1 / 3)
        out = layer(layer.irreps_in.randn(400, -1), harmonics(layer, edge_vec), edge_len, torch.stack([src, dst]))
        assert out.square().mean().item() == pytest.approx(1, rel=0.4)


class TestEquivariance:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @settings(max_examples=8)
    @given(irreps_in=strategies.irreps(lmax=6, max_mul=2, max_terms=2), lmax=st.integers(0, 3), data=st.data())
    def test_every_kind(self, dtype, irreps_in, lmax, data):
        irreps_edge = o3.Irreps.spherical_harmonics(lmax)
        reached = sorted({ir for _, a in irreps_in for _, b in irreps_edge for ir in a * b if ir.l <= 6})
        irreps_out = o3.Irreps(
            [(2, ir) for ir in data.draw(st.lists(st.sampled_from(reached), min_size=1, max_size=2))]
        )
        layer = PointConvolution(irreps_in, irreps_edge, irreps_out, cutoff=CUTOFF).to(dtype)
        pos, pairs = points(dtype=dtype)
        assert_equivariant(
            on_points(layer),
            ["cartesian_points", irreps_in, None],
            irreps_out,
            permutation=Permutation(inputs=[0, 1], outputs=[0], indices=[2]),
            inputs=[pos, irreps_in.randn(len(pos), -1, dtype=dtype), pairs],
            trials=2,
        )

    def test_order_of_edges_does_not_matter(self):
        layer = small_layer()
        pos, pairs = points()
        assert_equivariant(
            on_points(layer),
            ["cartesian_points", layer.irreps_in, None],
            layer.irreps_out,
            permutation=Permutation(inputs=[2]),
            inputs=[pos, layer.irreps_in.randn(len(pos), -1, dtype=torch.float64), pairs],
            trials=2,
        )

    def test_planted_faults_are_seen(self):
        layer = small_layer()
        pos, pairs = points()
        feats = layer.irreps_in.randn(len(pos), -1, dtype=torch.float64)
        nodes = Permutation(inputs=[0, 1], outputs=[0], indices=[2])

        def errors(f):
            laws = ["cartesian_points", layer.irreps_in, None]
            report = equivariance_error(
                f, laws, layer.irreps_out, permutation=nodes, inputs=[pos, feats, pairs], trials=2
            )
            return {kind for kind, error in report.errors.items() if error > 1e-6}

        def wrong_axes(pos, feats, pairs):  # harmonics of (y, z, x), as if the polar axis were z
            edge_vec = pos[pairs[:, 1]] - pos[pairs[:, 0]]
            return layer(feats, harmonics(layer, edge_vec[:, [1, 2, 0]]), edge_vec.norm(dim=1), pairs.T)

        def dropped_neighbour(pos, feats, pairs):  # the source of the highest number is cut off
            return on_points(layer)(pos, feats, pairs[pairs[:, 0] < len(pos) - 1])

        def wrong_parity(pos, feats, pairs):
            edge_vec = pos[pairs[:, 1]] - pos[pairs[:, 0]]
            flip = torch.ones(9, dtype=pos.dtype)
            flip[1:4] = torch.sign(torch.linalg.det(pos[:3]))  # turns 1o into 1e
            return layer(feats, harmonics(layer, edge_vec) * flip, edge_vec.norm(dim=1), pairs.T)

        assert errors(on_points(layer)) == set()
        assert errors(wrong_axes) == {"rotation"}
        assert errors(dropped_neighbour) == {"permutation"}
        assert {"inversion"} <= errors(wrong_parity) <= {"inversion", "permutation", "translation"}


class TestGraphs:
    def test_unsorted_edges_and_an_order_made_before(self):
        layer = small_layer()
        pos, pairs = points()
        feats = layer.irreps_in.randn(len(pos), -1, dtype=torch.float64)
        edge_vec = pos[pairs[:, 1]] - pos[pairs[:, 0]]
        sh, edge_len, order = harmonics(layer, edge_vec), edge_vec.norm(dim=1), ops.edge_order(pairs.T, len(pos))
        out = layer(feats, sh, edge_len, order)
        torch.testing.assert_close(layer(feats, sh, edge_len, pairs.T), out)
        by_dst = order.by_dst
        torch.testing.assert_close(layer(feats, sh[by_dst], edge_len[by_dst], pairs.T[:, by_dst]), out)
        strided = torch.stack([feats, feats], dim=-1)[..., 0]
        torch.testing.assert_close(layer(strided, sh.T.contiguous().T, edge_len, pairs.T), out)

    def test_empty_graph_and_isolated_nodes(self):
        layer = small_layer()
        feats, none = layer.irreps_in.randn(3, -1, dtype=torch.float64), torch.zeros(2, 0, dtype=torch.int64)
        out = layer(feats, feats.new_zeros(0, 9), feats.new_zeros(0), none)
        assert out.shape == (3, layer.irreps_out.dim)
        assert (out == 0).all()
        assert layer(feats[:0], feats.new_zeros(0, 9), feats.new_zeros(0), none).shape == (0, layer.irreps_out.dim)

    def test_sources_and_destinations_of_different_number(self):
        layer = small_layer()
        edge_index = torch.tensor([[0, 4, 2], [1, 0, 1]])
        edge_vec = torch.randn(3, 3, dtype=torch.float64)
        feats = layer.irreps_in.randn(5, -1, dtype=torch.float64)
        out = layer(feats, harmonics(layer, edge_vec), edge_vec.norm(dim=1), edge_index, num_dst=2)
        expected = loop_over_edges(layer, feats, edge_vec, edge_index, 2)
        np.testing.assert_allclose(out.detach().numpy(), expected, rtol=1e-11, atol=1e-12)

    def test_graphs_in_a_batch_do_not_see_each_other(self):
        layer = small_layer()
        first, second = points(4), points(5)
        feats = [layer.irreps_in.randn(len(pos), -1, dtype=torch.float64) for pos, _ in (first, second)]
        together = on_points(layer)(
            torch.cat([first[0], second[0]]), torch.cat(feats), torch.cat([first[1], second[1] + 4])
        )
        apart = [on_points(layer)(pos, x, pairs) for (pos, pairs), x in zip((first, second), feats, strict=True)]
        torch.testing.assert_close(together, torch.cat(apart), rtol=1e-12, atol=1e-12)


class TestDerivatives:
    def test_smooth_at_the_cutoff(self):
        layer = small_layer()
        feats = layer.irreps_in.randn(2, -1, dtype=torch.float64)
        pairs = torch.tensor([[0, 1]])
        last = None
        for gap in (1e-3, 1e-4, -1e-6):
            pos = torch.tensor([[0, 0, 0], [0, 0, CUTOFF - gap]], dtype=torch.float64, requires_grad=True)
            y = on_points(layer)(pos, feats, pairs)[1].sum()
            quantities = [y]
            for _ in range(2):
                quantities.append(torch.autograd.grad(quantities[-1], pos, create_graph=True)[0][1, 2])
            sizes = [abs(q.item()) for q in quantities]
            if last is not None and gap > 0:  # they fall as gap^4, gap^3, gap^2: the Bessel functions vanish too
                expected = [a * b for a, b in zip(last, (1e-4, 1e-3, 1e-2), strict=True)]
                assert sizes == pytest.approx(expected, rel=0.05, abs=0)
            last = sizes
        assert last == [0, 0, 0]

    def test_second_derivatives_of_every_input(self):
        layer = PointConvolution("2x0e+1o", "0e+1o", "0e+1o", cutoff=CUTOFF, num_basis=3, radial_hidden=(3,)).double()
        edge_index = torch.tensor([[0, 1, 2, 2], [1, 0, 0, 1]])
        feats = layer.irreps_in.randn(3, -1, dtype=torch.float64, requires_grad=True)
        sh = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
        edge_len = (0.5 + 2 * torch.rand(4, dtype=torch.float64)).requires_grad_()
        names = [name for name, _ in layer.named_parameters()]
        weights = [p.detach().clone().requires_grad_() for p in layer.parameters()]

        def f(feats, sh, edge_len, *weights):
            state = dict(zip(names, weights, strict=True))
            return torch.func.functional_call(layer, state, (feats, sh, edge_len, edge_index))

        assert torch.autograd.gradcheck(f, (feats, sh, edge_len, *weights), fast_mode=True)
        assert torch.autograd.gradgradcheck(f, (feats, sh, edge_len, *weights), fast_mode=True)

    def test_a_self_edge_of_length_zero_has_finite_derivatives(self):
        layer = small_layer()
        feats = layer.irreps_in.randn(1, -1, dtype=torch.float64)
        edge_vec = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
        edge_len = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        out = layer(feats, harmonics(layer, edge_vec), edge_len, torch.zeros(2, 1, dtype=torch.int64))
        gradients = torch.autograd.grad(out.square().sum(), (edge_vec, edge_len))
        assert all(g.isfinite().all() for g in gradients)
        assert out.abs().max() > 0


class TestModule:
    def test_state_holds_learned_weights_only(self):
        layer = small_layer(radial_hidden=(6,))
        assert {name: tuple(w.shape) for name, w in layer.state_dict().items()} == {
            "radial.weights.0": (8, 6),
            "radial.weights.1": (6, layer.product.weight_numel),
            "linear.weight": (layer.linear.weight_numel,),
        }

    def test_dtype_moves_keep_full_precision(self):
        layer = small_layer()
        pos, pairs = points()
        feats = layer.irreps_in.randn(len(pos), -1, dtype=torch.float64)
        there_and_back = small_layer().float().double()
        there_and_back.load_state_dict(layer.state_dict())
        torch.testing.assert_close(
            on_points(there_and_back)(pos, feats, pairs), on_points(layer)(pos, feats, pairs), rtol=1e-13, atol=1e-13
        )
        single = on_points(layer.float())(pos.float(), feats.float(), pairs)
        assert single.dtype == torch.float32

    def test_compile(self):
        layer = small_layer()
        pos, pairs = points()
        feats = layer.irreps_in.randn(len(pos), -1, dtype=torch.float64)
        edge_vec = pos[pairs[:, 1]] - pos[pairs[:, 0]]
        arguments = feats, harmonics(layer, edge_vec), edge_vec.norm(dim=1), ops.edge_order(pairs.T, len(pos))
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(*arguments), layer(*arguments))


class TestErrors:
    def test_an_output_that_no_path_reaches(self):
        with pytest.raises(
            IrrepsError, match=r"none leads to 4x1e: irreps_in = '8x0e' .* can make 0e, 1o\. Did you mean 1o"
        ):
            PointConvolution("8x0e", "0e+1o", "8x0e+4x1e", cutoff=CUTOFF)
        with pytest.raises(IrrepsError, match=r"none leads to 1x3o: .* can make 0e, 1o\.$"):
            PointConvolution("8x0e", "0e+1o", "3o", cutoff=CUTOFF)
        with pytest.raises(IrrepsError, match=r"none leads to 1x0e: .* can make nothing"):
            PointConvolution("", "0e+1o", "0e", cutoff=CUTOFF)
        with pytest.raises(IrrepsError, match=r"none leads to 2x1e: irreps_in = '4x0e\+0x1o'"):
            PointConvolution("4x0e+0x1o", "0e+1o", "2x1e", cutoff=CUTOFF)

    def test_arguments(self):
        with pytest.raises(ConfigError, match="cutoff needs a positive length"):
            PointConvolution("0e", "0e", "0e", cutoff=0)
        with pytest.raises(ConfigError, match="avg_num_neighbors needs a positive number; got 0"):
            small_layer(avg_num_neighbors=0)

    def test_tensors(self):
        layer = small_layer()
        edges = torch.tensor([[0, 1], [1, 0]])
        feats, sh, edge_len = (
            layer.irreps_in.randn(2, -1, dtype=torch.float64),
            torch.ones(2, 9).double(),
            torch.ones(2).double(),
        )
        with pytest.raises(ShapeError, match=r"needs edge_len \[E = 2\], one length per edge; got \[2, 1\]"):
            layer(feats, sh, edge_len[:, None], edges)
        with pytest.raises(ShapeError, match=r"node_feats \[..., 13\]; got node_feats \[2, 12\]"):
            layer(feats[:, :12], sh, edge_len, edges)
        with pytest.raises(ShapeError, match=r"edge_sh"):
            layer(feats, sh[:, :4], edge_len, edges)
        with pytest.raises(DtypeError, match="one dtype"):
            layer(feats.float(), sh, edge_len, edges)
        with pytest.raises(DtypeError, match="edge_len float32, weights float64"):
            layer(feats, sh, edge_len.float(), edges)
        with pytest.raises(DtypeError, match="edge_index needs an int64 tensor"):
            layer(feats, sh, edge_len, edges.int())
        with pytest.raises(DataError, match=r"source in 0..1; got 2"):
            layer(feats, sh, edge_len, edges + torch.tensor([[1], [0]]))
        with pytest.raises(ShapeError, match="EdgeOrder needs 2 sources"):
            layer(feats, sh, edge_len, ops.edge_order(edges, 3))
        with pytest.raises(BackendError, match="quick"):
            small_layer(backend="quick")(feats, sh, edge_len, edges)
