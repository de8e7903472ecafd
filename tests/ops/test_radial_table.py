"""Radial tables: the op and its twin, and the splines that are read with it."""

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from irrepnet.errors import BackendError, ConfigError, DtypeError, ShapeError
from irrepnet.ops import radial_table, spline_matrix, spline_places
from tests.ops.twin import TwinTests

ROWS, WIDTH = 7, 37  # 37 columns: wide packs, single registers and single numbers


class TestRadialTable(TwinTests):
    differentiable = (0, 2)
    dynamic = ({0: "edges"}, {0: "edges"}, None)

    def op(self, b, row, table, *, backend):
        return radial_table(b, row, table, backend=backend)

    def example(self, size):
        random = torch.Generator().manual_seed(size)
        b = torch.randn(size, 4, generator=random, dtype=torch.float64)
        row = torch.randint(0, ROWS - 3, (size,), generator=random)
        return b, row, torch.randn(ROWS, WIDTH, generator=random, dtype=torch.float64)

    def oracle(self, b, row, table):
        matrix = torch.zeros(len(b), len(table), dtype=torch.float64)
        for e in range(len(b)):
            matrix[e, row[e] : row[e] + 4] = b[e]
        return matrix @ table

    def kernels(self):
        b, row, table = self.example(5)
        g = torch.randn(5, WIDTH, dtype=torch.float64)
        return [
            ("radial_table", (b, row, table)),
            ("radial_table_gradient_b", (g, row, table)),
            ("radial_table_gradient_table", (g, b, row, ROWS)),
        ]

    def bad_inputs(self):
        b, row, table = self.example(3)
        return [
            ((b[:, :3], row, table), ShapeError, r"b \[E, 4\], row \[E\] and table \[rows, W\]; got \[3, 3\], \[3\]"),
            ((b, row[:2], table), ShapeError, r"got \[3, 4\], \[2\]"),
            ((b, row, table.flatten()), ShapeError, "got"),
            ((b.float(), row, table), DtypeError, "one floating-point dtype; got float32, float64"),
            ((b, row.int(), table), DtypeError, "row in int64; got int32"),
        ]

    def test_bad_backend_and_rows_outside_the_table(self):
        b, row, table = self.example(3)
        with pytest.raises(BackendError, match="backend 'auto', 'reference' or 'fused'"):
            radial_table(b, row, table, backend="fast")
        for bad in (-1, ROWS - 3):
            with pytest.raises((RuntimeError, IndexError), match=r"row in 0..3; got|out of range|must be in"):
                radial_table(b, torch.full_like(row, bad), table)


def test_splines_are_those_of_scipy():
    x = np.linspace(0, 5.0, 24)
    values = np.stack([np.sin(3 * x), np.exp(-x) * x, x**3 - 2 * x], axis=1)
    expected = CubicSpline(x, values, bc_type="not-a-knot")
    table = spline_matrix(24, torch.empty(0, dtype=torch.float64)) @ torch.from_numpy(values)
    r = torch.cat([torch.rand(200, dtype=torch.float64) * 5, torch.from_numpy(x)]).requires_grad_()
    places = spline_places(r, 5.0, 24)
    found = radial_table(*places, table)
    np.testing.assert_allclose(found.detach(), expected(r.detach()), rtol=0, atol=1e-10)
    for column in range(3):
        (slope,) = torch.autograd.grad(found[:, column].sum(), r, create_graph=True)
        np.testing.assert_allclose(slope.detach(), expected(r.detach(), 1)[:, column], rtol=0, atol=1e-9)
        (curvature,) = torch.autograd.grad(slope.sum(), r, create_graph=True)
        np.testing.assert_allclose(curvature.detach(), expected(r.detach(), 2)[:, column], rtol=0, atol=1e-7)


def test_value_slope_and_curvature_go_through_knots():
    table = torch.randn(10, 3, dtype=torch.float64)  # any: smooth by construction
    for knot in (1.0, 3.0, 6.0):
        sides = torch.tensor([knot - 1e-9, knot + 1e-9], dtype=torch.float64, requires_grad=True)
        value = radial_table(*spline_places(sides, 7.0, 8), table).sum(1)
        (slope,) = torch.autograd.grad(value.sum(), sides, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), sides, create_graph=True)
        for quantity in (value, slope, curvature):
            assert (quantity[0] - quantity[1]).abs() < 1e-7


def test_ends_and_beyond():
    table = spline_matrix(6, torch.empty(0, dtype=torch.float64)) @ torch.arange(6.0).double()[:, None]
    r = torch.tensor([0.0, 5.0, 7.0, 1e30], dtype=torch.float64)
    places = spline_places(r, 5.0, 6)
    assert places.row.tolist() == [0, 4, 4, 4]
    torch.testing.assert_close(radial_table(*places, table)[:, 0], torch.tensor([0.0, 5.0, 5.0, 5.0]).double())
    places = spline_places(torch.zeros(0), 5.0, 6)
    assert radial_table(*places, table.float()).shape == (0, 1)


def test_differentiable_in_lengths_and_table():
    r = (torch.rand(6, dtype=torch.float64) * 2.9).requires_grad_()
    values = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    matrix = spline_matrix(5, values)
    f = lambda r, v: radial_table(*spline_places(r, 3.0, 5), matrix @ v)
    assert torch.autograd.gradcheck(f, (r, values))
    assert torch.autograd.gradgradcheck(f, (r, values))


@pytest.mark.parametrize("num_knots", [4, 5, 64, 1024])
def test_the_solve_is_well_conditioned(num_knots):
    matrix = spline_matrix(num_knots, torch.empty(0, dtype=torch.float64))
    assert matrix.abs().sum(1).max() < 16  # largest coefficient for values of at most 1; 3 inside
    assert matrix.dtype == torch.float64 and matrix.shape == (num_knots + 2, num_knots)


def test_errors():
    for wrong in (3, 4097, 8.0, True):
        with pytest.raises(ConfigError, match="a radial table needs 4 to 4096 knots; got"):
            spline_matrix(wrong, torch.empty(0))
    with pytest.raises(ShapeError, match=r"spline_places needs edge_len \[E\]; got \[2, 1\]"):
        spline_places(torch.ones(2, 1), 3.0, 8)
