"""The checker: it passes what is equivariant and catches faults planted on purpose."""

import pytest
import torch
from torch import nn

from irrepnet import o3
from irrepnet.errors import ConfigError, DtypeError, IrrepsError, ShapeError
from irrepnet.testing import Permutation, assert_equivariant, equivariance_error

NODES = Permutation(inputs=[0], outputs=[0], indices=[1])


def neighbour_sum(pos, pairs, *, cap=None):
    """Sum of exp(-d^2) (x_j - x_i) over the pairs (j, i); with a cap, over the first few pairs of each centre."""
    out = torch.zeros_like(pos)
    for i in range(len(pos)):
        sources = pairs[pairs[:, 1] == i, 0].sort().values[:cap]
        vec = pos[sources] - pos[i]
        out[i] = (vec * torch.exp(-vec.square().sum(-1, keepdim=True))).sum(0)
    return out


@pytest.fixture
def cluster():
    """Positions, and pairs (source, centre): three to six for each centre, and no two nodes with the same sources."""
    pos = torch.randn(7, 3, dtype=torch.float64)
    pairs = torch.tensor([(j, i) for i in range(7) for j in range(7) if i != j and (i * j) % 5 != 3])
    return [pos, pairs]


def in_local_frame(a, b, x, *, transposed):
    """Rotate l = 2 features into the frame of two vectors, scale the components, rotate back (or not: with D)."""
    e1 = nn.functional.normalize(a, dim=-1)
    e2 = nn.functional.normalize(b - (b * e1).sum(-1, keepdim=True) * e1, dim=-1)
    frame = torch.stack([e1, e2, torch.linalg.cross(e1, e2)], dim=-2)  # rows are the axes: it maps the axes to x, y, z
    D = o3.Irrep("2e").D_from_matrix(frame)
    scaled = torch.einsum("rij,rj->ri", D, x) * torch.arange(1.0, 6, dtype=x.dtype)
    return torch.einsum("rij,rj->ri" if transposed else "rji,rj->ri", D, scaled)


class TestCorrectFunctionsPass:
    def test_norm_times_vector(self):
        assert_equivariant(lambda x: x * x.norm(dim=-1, keepdim=True), "1o", "1o")

    def test_cross_product_is_a_pseudovector(self):
        assert_equivariant(torch.linalg.cross, ["1o", "1o"], "1e")

    def test_several_outputs_and_one_not_compared(self):
        def f(x, y):
            return (x * y).sum(-1, keepdim=True), torch.linalg.cross(x, y), "a note"

        assert_equivariant(f, ["1o", "1o"], ["0e", "1e", None])

    def test_frame_with_d_and_its_transpose(self):
        f = lambda a, b, x: in_local_frame(a, b, x, transposed=False)
        assert_equivariant(f, ["1o", "1o", "2e"], "2e")

    def test_neighbour_sum_of_positions(self, cluster):
        assert_equivariant(neighbour_sum, ["cartesian_points", None], "1o", permutation=NODES, inputs=cluster)

    def test_centroid_is_a_point(self):
        assert_equivariant(lambda pos: pos.mean(0, keepdim=True), "cartesian_points", "cartesian_points")

    def test_function_that_differentiates_inside(self):
        def forces(pos):
            pos = pos.requires_grad_()
            return -torch.autograd.grad(torch.pdist(pos).square().sum(), pos)[0]

        assert_equivariant(forces, "cartesian_points", "1o", permutation=([0], [0]))

    def test_any_leading_axes(self):
        x = torch.randn(2, 4, 3, dtype=torch.float64)
        assert_equivariant(lambda x: x.sum(1), "1o", "1o", inputs=[x])

    def test_sum_pool_under_permutation(self):
        x = torch.randn(4, 3, dtype=torch.float64)
        batch = torch.tensor([0, 0, 1, 1])
        pool = lambda x, batch: x.new_zeros(2, 3).index_add(0, batch, x)
        assert_equivariant(pool, ["1o", None], "1o", permutation=Permutation(inputs=[0, 1]), inputs=[x, batch])


class TestPlantedFaults:
    def test_wrong_parity(self):
        with pytest.raises(
            AssertionError, match=r"cross is not equivariant under inversion: output 0 \(1x1o\) has error"
        ):
            assert_equivariant(torch.linalg.cross, ["1o", "1o"], "1o")
        assert_equivariant(torch.linalg.cross, ["1o", "1o"], "1o", parity=False)

    def test_transposed_wigner_d(self):
        f = lambda a, b, x: in_local_frame(a, b, x, transposed=True)
        with pytest.raises(AssertionError, match=r"not equivariant under rotation: output 0 \(1x2e\)"):
            assert_equivariant(f, ["1o", "1o", "2e"], "2e")

    def test_dropped_neighbour_breaks_permutation_and_nothing_else(self, cluster):
        f = lambda pos, pairs: neighbour_sum(pos, pairs, cap=3)
        report = equivariance_error(f, ["cartesian_points", None], "1o", permutation=NODES, inputs=cluster)
        assert report.errors["permutation"] > 1e-2
        assert max(report.errors[kind] for kind in ("rotation", "inversion", "translation")) < 1e-12
        with pytest.raises(AssertionError, match="not equivariant under permutation"):
            assert_equivariant(f, ["cartesian_points", None], "1o", permutation=NODES, inputs=cluster)

    def test_edge_index_that_is_not_relabelled(self, cluster):
        forgotten = NODES._replace(indices=[])
        with pytest.raises(AssertionError, match="permutation"):
            assert_equivariant(neighbour_sum, ["cartesian_points", None], "1o", permutation=forgotten, inputs=cluster)

    def test_zero_output(self):
        with pytest.raises(
            AssertionError, match=r"returns zero \(rms 0.0e\+00, needed 1e-06\), which is equivariant but"
        ):
            assert_equivariant(lambda x: 0 * x, "1o", "1o")

    def test_one_zero_output_of_two(self):
        with pytest.raises(AssertionError, match="returns zero"):
            assert_equivariant(lambda x: (x, 1e-7 * x), "1o", ["1o", "1o"])

    def test_empty_output(self):
        with pytest.raises(AssertionError, match="returns zero"):
            assert_equivariant(lambda x: x[:0], "1o", "1o")

    def test_scaled_translation(self):
        with pytest.raises(AssertionError, match=r"under translation: output 0 \(cartesian_points\)"):
            assert_equivariant(lambda pos: 0.9 * pos, "cartesian_points", "cartesian_points")

    def test_absolute_positions(self):
        with pytest.raises(AssertionError, match="under translation"):
            assert_equivariant(lambda pos: pos.norm(dim=-1, keepdim=True), "cartesian_points", "0e")
        assert_equivariant(lambda pos: pos.norm(dim=-1, keepdim=True), "cartesian_points", "0e", translation=False)

    def test_one_bad_entry_of_the_second_output_is_named(self):
        def f(x):
            y = x.clone()
            y[:, 3:] += 1.0  # a constant vector added to the second entry
            return x, y

        with pytest.raises(AssertionError, match=r"output 1 \(1x1o of 3x0e\+1x1o\) has error"):
            assert_equivariant(f, "3x0e+1o", ["3x0e+1o", "3x0e+1o"])

    def test_nan_is_not_a_pass(self):
        with pytest.raises(AssertionError, match="has error inf"):
            assert_equivariant(lambda x: x * float("nan"), "1o", "1o")

    def test_small_breaking_is_measured_against_the_output(self):
        f = lambda x: 1000 * x + 1e-3 * x[:, [1, 2, 0]]
        worst = equivariance_error(f, "1o", "1o").worst
        assert 1e-7 < worst < 1e-5

    @pytest.mark.parametrize("scale", [1e-5, 1.0, 1e200])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_errors_are_those_of_the_output_whatever_its_size(self, scale, dtype):
        if dtype == torch.float32 and scale == 1e200:
            scale = 1e30  # its square overflows too
        assert_equivariant(lambda x: scale * x, "1o", "1o", dtype=dtype)
        with pytest.raises(AssertionError, match="not equivariant under rotation"):
            assert_equivariant(lambda x: scale * x[:, [1, 2, 0]], "1o", "1o", dtype=dtype)
        worst = equivariance_error(lambda x: scale * x[:, [1, 2, 0]], "1o", "1o", dtype=dtype).worst
        assert worst == pytest.approx(equivariance_error(lambda x: x[:, [1, 2, 0]], "1o", "1o").worst, rel=1e-4)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_a_small_entry_does_not_hide_behind_a_large_one(self, dtype):
        f = lambda x: torch.cat([1e4 + x[:, :1] * 0, 0.05 * x[:, [1, 2, 0]]], dim=1)
        with pytest.raises(AssertionError, match=r"under rotation: output 0 \(1x1o of 1x0e\+1x1o\) has error"):
            assert_equivariant(f, "1o", "0e+1o", dtype=dtype)
        assert_equivariant(lambda x: torch.cat([1e4 + x[:, :1] * 0, 0.05 * x], dim=1), "1o", "0e+1o", dtype=dtype)

    def test_rounding_of_the_whole_output_is_allowed_for_in_a_small_entry(self):
        mixed = lambda x: torch.cat([x, (x + 1e-4 * x) - x], dim=1)  # the second has lost four of seven digits
        report = equivariance_error(mixed, "1o", "1o+1o", dtype=torch.float32)
        assert report.worst < 1e-4 < 10 * report.worst
        assert_equivariant(mixed, "1o", "1o+1o", dtype=torch.float32)

    @pytest.mark.parametrize("place", [0, 1])
    def test_infinity_is_not_a_pass(self, place):
        x = torch.tensor([[1.0, 0, 0], [1, 2, 3]], dtype=torch.float64)
        f = lambda x: torch.cat([x, 1 / (x[:, :1] - 1)], dim=1)[:, 3 * place :]  # infinite in one row, if not rotated
        for parity in (True, False):
            with pytest.raises(AssertionError, match="has error inf"):
                assert_equivariant(f, "1o", ["1o+0e", "0e"][place], inputs=[x], parity=parity)

    def test_row_numbers_are_noticed_in_a_single_trial(self):
        f = lambda x: x * torch.arange(1.0, len(x) + 1, dtype=x.dtype)[:, None]
        for rows in (2, 3):
            x = torch.randn(rows, 3, dtype=torch.float64)
            for seed in range(20):
                with pytest.raises(AssertionError, match="permutation"):
                    assert_equivariant(f, "1o", "1o", permutation=([0], [0]), inputs=[x], trials=1, seed=seed)


class TestReport:
    def test_values_of_a_known_error(self):
        x = torch.tensor([[3.0, 0, 4.0]], dtype=torch.float64)
        report = equivariance_error(lambda x: x + 7, "1o", "1o", inputs=[x], parity=True, trials=2)
        y = x + 7
        assert report.errors["inversion"] == pytest.approx(14 / y.square().mean().sqrt().item())  # |(-x+7) - -(x+7)|
        assert report.rms == pytest.approx(y.square().mean().sqrt().item())
        assert report.worst == max(report.errors.values())
        assert (report.dtype, report.trials) == (torch.float64, 2)

    def test_one_line_per_kind(self, cluster):
        text = str(
            equivariance_error(neighbour_sum, ["cartesian_points", None], "1o", permutation=NODES, inputs=cluster)
        )
        assert [line.split()[0] for line in text.splitlines()] == [
            *("rotation", "inversion", "translation", "permutation"),
            "smallest",
        ]

    def test_every_entry_of_every_output_is_reported(self):
        def f(x):
            y = x.clone()
            y[:, 6:] += 1.0  # a constant vector added to the third entry
            return x, y

        report = equivariance_error(f, "3x0e+1o+1o", ["3x0e+1o+1o", "3x0e+1o+1o"])
        assert [(entry.output, entry.entry) for entry in report.entries] == [
            (output, entry) for output in (0, 1) for entry in ("3x0e", "1x1o", "1x1o")
        ]
        errors = [entry.errors["rotation"] for entry in report.entries]
        assert errors[-1] == report.errors["rotation"] > 0.1
        assert max(errors[:-1]) < 1e-12
        assert report.entries[-1].errors["inversion"] == report.errors["inversion"]
        table = str(report).splitlines()[-7:]
        assert table[0].split() == ["output", "entry", "rms", "rotation", "inversion"]
        assert [line.split()[:2] for line in table[1:]] == [
            [str(output), entry] for output in "01" for entry in ("3x0e", "1x1o", "1x1o")
        ]
        assert float(table[-1].split()[3]) == pytest.approx(errors[-1], rel=0.05)

    def test_an_entry_that_is_zero_shows_its_rms(self):
        keep = torch.tensor([1.0, 0, 0, 0])
        report = equivariance_error(lambda x: keep * x, "0e+0x2e+1o", "0e+0x2e+1o")
        assert [entry.rms > 0 for entry in report.entries] == [True, False]  # of "0x2e" there is nothing to report
        *_, line, warning = str(report).splitlines()
        assert line.split()[:3] == ["0", "1x1o", "zero"] and warning.startswith("An entry that is zero keeps every law")
        assert_equivariant(lambda x: keep * x, "0e+1o", "0e+1o")
        assert "zero" not in str(equivariance_error(lambda x: x, "0e+1o", "0e+1o"))

    def test_rms_of_an_entry_is_the_smallest_of_all_trials(self):
        one, more = (equivariance_error(lambda x: x, "1o", "1o", trials=trials) for trials in (1, 10))
        assert more.entries[0].rms == more.rms < one.rms

    def test_seed_decides_and_global_state_stays(self):
        f = lambda x: x + 1
        before = torch.get_rng_state()
        first, again, other = (equivariance_error(f, "1o", "1o", seed=seed).worst for seed in (1, 1, 2))
        assert first == again != other
        assert torch.equal(torch.get_rng_state(), before)


class TestModules:
    def test_runs_in_the_dtype_of_the_module(self):
        for dtype in (torch.float32, torch.float64):
            linear = nn.Linear(3, 1, bias=False).to(dtype)
            assert equivariance_error(linear, "3x0e", "0e").dtype == dtype
            assert equivariance_error(linear.forward, "3x0e", "0e").dtype == dtype
        assert equivariance_error(lambda x: x, "0e", "0e", dtype=torch.float32).dtype == torch.float32

    def test_float32_has_its_own_tolerance(self):
        f = lambda x: x + 1e-6 * x[:, [1, 2, 0]]
        assert_equivariant(f, "1o", "1o", dtype=torch.float32)
        with pytest.raises(AssertionError, match="tolerance 1e-10"):
            assert_equivariant(f, "1o", "1o")
        with pytest.raises(AssertionError, match="tolerance 1e-08"):
            assert_equivariant(f, "1o", "1o", dtype=torch.float32, tol=1e-8)

    def test_what_carries_no_irreps_does_not_loosen_the_tolerance(self):
        x, mask = torch.randn(5, 3, dtype=torch.float64), torch.ones(5, 1)
        f = lambda x, mask: x * mask + 1e-6 * x[:, [1, 2, 0]]
        with pytest.raises(AssertionError, match="tolerance 1e-10"):
            assert_equivariant(f, ["1o", None], "1o", inputs=[x, mask])

    def test_state_is_left_alone(self):
        module = nn.BatchNorm1d(4)
        before = {name: value.clone() for name, value in module.state_dict().items()}
        assert_equivariant(module, "4x0e", "4x0e")
        assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
        assert module.training

    @pytest.mark.parametrize("ends", ["well", "badly"])
    def test_buffers_are_put_back_when_assigned_or_after_an_error(self, ends):
        class Counter(nn.Module):
            def __init__(self):
                super().__init__()
                self.register_buffer("replaced", torch.zeros(1, dtype=torch.float64))
                self.register_buffer("written", torch.zeros(1, dtype=torch.float64))
                self.register_buffer("made", None)

            def forward(self, x):
                self.replaced = self.replaced + 1
                self.written += 1
                self.made = torch.ones(1)
                self.register_buffer("new", torch.ones(1))
                if ends == "badly":
                    raise ArithmeticError
                return x * self.replaced

        module = nn.Sequential(Counter())
        buffers = dict(module[0]._buffers)
        if ends == "well":
            assert_equivariant(module, "1o", "1o")
        else:
            with pytest.raises(ArithmeticError):
                assert_equivariant(module, "1o", "1o")
        assert module[0]._buffers == buffers and module[0].made is None
        assert all(buffer is None or buffer == 0 for buffer in buffers.values())

    def test_arguments_are_left_alone(self):
        x = torch.randn(4, 3)
        before = x.clone()
        assert_equivariant(lambda x: x.mul_(2), "1o", "1o", inputs=[x])
        assert torch.equal(x, before)

    def test_dropout_sees_the_same_random_state_each_time(self):
        drop = lambda x: x * torch.rand(len(x), 1, dtype=x.dtype).round()
        assert_equivariant(drop, "1o", "1o")


class TestErrors:
    def test_number_of_outputs(self):
        with pytest.raises(ShapeError, match="irreps_out declares 2 outputs; <lambda> returned 1"):
            assert_equivariant(lambda x: x, "1o", ["1o", "1o"])
        with pytest.raises(ShapeError, match="irreps_out declares 1 outputs; <lambda> returned 2"):
            assert_equivariant(lambda x: (x, x), "1o", "1o")

    def test_shape_of_output(self):
        with pytest.raises(
            ShapeError,
            match=r"output 0 of <lambda> needs a floating-point tensor \[..., 5\] for 1x2e; got torch.float64 \[5",
        ):
            assert_equivariant(lambda x: x, "1o", "2e")
        with pytest.raises(ShapeError, match=r"output 0 of <lambda> needs .*; got int"):
            assert_equivariant(lambda x: 3, "1o", "1o")
        with pytest.raises(ShapeError, match="output 0 needs one shape whatever the transformation"):
            assert_equivariant(lambda x: x[x[:, 0] > 0], "1o", "1o")

    def test_inputs(self):
        x = torch.zeros(2, 3)
        with pytest.raises(ShapeError, match="irreps_in declares 1 arguments; inputs holds 2"):
            assert_equivariant(lambda x: x, "1o", "1o", inputs=[x, x])
        with pytest.raises(ShapeError, match=r"inputs\[0\] needs .* \[..., 5\] for 1x2e; got torch.float32 \[2, 3\]"):
            assert_equivariant(lambda x: x, "2e", "2e", inputs=[x])
        with pytest.raises(ConfigError, match=r"dtype=torch.float64 is for random arguments; got inputs too"):
            assert_equivariant(lambda x: x, "1o", "1o", inputs=[torch.ones(2, 3)], dtype=torch.float64)
        with pytest.raises(ConfigError, match=r"argument 1 is declared None.*give inputs=\[...\]"):
            assert_equivariant(lambda x, y: x, ["1o", None], "1o")

    def test_declarations(self):
        with pytest.raises(ConfigError, match="needs an output to compare"):
            assert_equivariant(lambda x: x, "1o", None)
        with pytest.raises(ConfigError, match="no empty irreps"):
            assert_equivariant(lambda x: x, "1o", "")
        with pytest.raises(
            ConfigError, match=r"translation=True needs an argument that translates.*'cartesian_points'"
        ):
            assert_equivariant(lambda x: x, "1o", "1o", translation=True)
        with pytest.raises(ConfigError, match="trials needs an integer >= 1; got 0"):
            assert_equivariant(lambda x: x, "1o", "1o", trials=0)
        with pytest.raises(ConfigError, match=r"trials needs an integer >= 1; got 2\.5"):
            assert_equivariant(lambda x: x, "1o", "1o", trials=2.5)
        with pytest.raises(IrrepsError, match="cannot read term '1'"):
            assert_equivariant(lambda x: x, "1", "1o")

    def test_permutation(self):
        with pytest.raises(ConfigError, match="permutation needs the position of one argument or more"):
            assert_equivariant(lambda x: x, "1o", "1o", permutation=([], [0]))
        with pytest.raises(ConfigError, match=r"permutation.outputs needs positions from 0 to 0; got 1"):
            assert_equivariant(lambda x: x, "1o", "1o", permutation=([0], [1]))
        with pytest.raises(ShapeError, match=r"same number of rows; got .*argument 0.*argument 1"):
            inputs = [torch.ones(2, 3), torch.ones(4, 3)]
            assert_equivariant(lambda x, y: x, ["1o", "1o"], "1o", permutation=([0, 1], [0]), inputs=inputs)
        with pytest.raises(ConfigError, match=r"permutation needs two rows or more to exchange; got 1\. Give inputs"):
            assert_equivariant(lambda x: x, "1o", "1o", permutation=([0], [0]), inputs=[torch.ones(1, 3)])
        with pytest.raises(ShapeError, match=r"needs outputs of 5 rows; output 0 is \[1, 3\]"):
            assert_equivariant(lambda x: x.sum(0, keepdim=True), "1o", "1o", permutation=([0], [0]))

    def test_dtype_without_a_default(self):
        with pytest.raises(DtypeError, match=r"needs tol for torch.bfloat16"):
            assert_equivariant(lambda x: x, "1o", "1o", dtype=torch.bfloat16)
        assert_equivariant(lambda x: x, "1o", "1o", dtype=torch.bfloat16, tol=0.05)
