"""A crystal and the many ways to write it down."""

import math

import numpy as np
import pytest
import torch

from irrepnet.data import Frame, neighbor_list
from irrepnet.deploy import Predictor
from irrepnet.errors import ConfigError, DataError, DtypeError, ShapeError
from irrepnet.models import ForceField, ForceFieldConfig
from irrepnet.testing import assert_periodic

CUTOFF = 2.5
FCC = torch.tensor([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=torch.float64)


@pytest.fixture
def crystal():
    """Five atoms in a skew cell, of kinds 0 and 1; no two are close to each other."""
    cell = torch.tensor([[4.0, 0.3, 0], [-0.5, 3.8, 0.2], [0.1, 0.7, 4.2]], dtype=torch.float64)
    frac = torch.tensor([[0.1, 0.2, 0.0], [0.6, 0.1, 0.4], [0.2, 0.7, 0.5], [0.7, 0.7, 0.1], [0.9, 0.4, 0.8]])
    return frac.double() @ cell, cell, torch.tensor([0, 1, 0, 1, 1])


def pair_energy(pos, cell, species, *, pbc=True):
    """Energy, forces and stress of smooth pair repulsions; the pair of kinds decides the strength."""
    edge_index, edge_shift = neighbor_list(pos, cell, pbc, cutoff=CUTOFF)
    src, dst = edge_index
    strain = torch.zeros(3, 3, dtype=pos.dtype, requires_grad=True)
    leaf = pos.clone().requires_grad_()
    vec = (leaf[dst] - leaf[src] + edge_shift.to(pos) @ cell) @ (torch.eye(3, dtype=pos.dtype) + strain)
    strength = 1.0 + species[src] + species[dst]
    energies = strength * (1 - vec.norm(dim=1) / CUTOFF) ** 3
    slope, virial = torch.autograd.grad(energies.sum(), (leaf, strain))
    return energies.sum(), -slope, virial / cell.det().abs()


ALL = ["extensive", "per_atom", "intensive"]


def test_energy_forces_and_stress_of_pairs(crystal):
    assert_periodic(pair_energy, *crystal, outputs=ALL)


@pytest.mark.parametrize("pbc", [(True, True, False), (False, True, False), (True, False, True)])
def test_slabs_and_wires(crystal, pbc):
    def f(pos, cell, species):
        energy, forces, _ = pair_energy(pos, cell, species, pbc=pbc)
        return energy, forces

    assert_periodic(f, *crystal, outputs=ALL[:2], pbc=pbc)
    with pytest.raises(AssertionError):
        assert_periodic(f, *crystal, outputs=ALL[:2], pbc=True)


def test_cell_whose_other_rows_are_zero(crystal):
    pos, cell, species = crystal
    cell = torch.cat([cell[:2], torch.zeros(1, 3, dtype=cell.dtype)])
    f = lambda *args: pair_energy(*args, pbc=(True, True, False))[1]
    assert_periodic(f, pos, cell, species, pbc=(True, True, False))


def test_float32(crystal):
    pos, cell, species = crystal
    assert_periodic(lambda *args: pair_energy(*args)[1], pos.float(), cell.float(), species)


def test_force_field_sees_the_lattice_alone():
    model = ForceField(
        ForceFieldConfig(species=("Si", "C"), irreps_hidden="4x0e+4x1o", num_layers=2, cutoff=3.0)
    ).double()
    model.requires_grad_(False)
    predict = Predictor(model)
    frame = Frame(species=[14, 6], pos=[[0, 0, 0], [1.1, 1.0, 1.2]], cell=(2.18 * FCC).numpy(), pbc=[True] * 3)

    def f(pos, cell, species):
        prediction = predict(species.numpy(), pos.numpy(), cell.numpy(), np.ones(3, bool))
        return prediction.energy, prediction.forces

    assert_periodic(f, torch.tensor(frame.pos), torch.tensor(frame.cell), torch.tensor(frame.species), outputs=ALL[:2])


@pytest.mark.parametrize(
    "pos,cell,cutoff,number",
    [
        ([[0.0, 0, 0]], 3.34 * torch.eye(3, dtype=torch.float64), 3.5, 6),  # simple cubic
        ([[0.0, 0, 0], [1.3575, 1.3575, 1.3575]], 2.715 * FCC, 2.5, 4),  # silicon, the primitive cell
        ([[0.0, 0, 0]], 1.8 * FCC, 2.6, 12),  # face-centred cubic
    ],
)
def test_numbers_of_neighbours_of_known_lattices(pos, cell, cutoff, number):
    def f(pos, cell):
        edge_index, _ = neighbor_list(pos, cell, True, cutoff=cutoff)
        return torch.bincount(edge_index[1], minlength=len(pos)).double()

    pos = torch.tensor(pos, dtype=torch.float64)
    assert f(pos, cell).tolist() == [number] * len(pos)
    assert_periodic(f, pos, cell)


class TestFaults:
    def check(self, f, crystal, change, **options):
        with pytest.raises(AssertionError, match=rf"{f.__name__} sees more than the lattice: with {change}, output 0"):
            assert_periodic(f, *crystal, **options)

    def test_no_periods(self, crystal):
        def no_cell(pos, cell, species):
            return (pos[:, None] - pos).square().sum((1, 2))

        self.check(no_cell, crystal, "atoms moved by lattice vectors")

    def test_nearest_image_only(self, crystal):
        """The minimum image by rounding is right for cells that are not too skew and not too small."""

        def minimum_image(pos, cell, species):
            frac = (pos[:, None] - pos) @ cell.inverse()
            distances = ((frac - frac.round()) @ cell).norm(dim=-1)
            return (1 - distances / CUTOFF).clamp(min=0).pow(3).sum(1)

        self.check(minimum_image, crystal, "another cell of the same lattice")

    def test_box_of_lengths_only(self, crystal):
        """A diagonal cell assumed: right until the cell is written in another way."""
        pos, _, species = crystal
        cell = 4.0 * torch.eye(3, dtype=torch.float64)

        def diagonal_cell(pos, cell, species):
            return pair_energy(pos, torch.diag(cell.diagonal().abs() + 1e-3), species)[1]

        with pytest.raises(AssertionError, match="sees more than the lattice"):
            assert_periodic(diagonal_cell, pos, cell, species)

    def test_positions_in_the_cell(self, crystal):
        def field(pos, cell, species):
            return torch.cos(2 * math.pi * pos @ cell.inverse())

        self.check(field, crystal, "another origin")

    def test_cell_transposed(self, crystal):
        def transposed(pos, cell, species):
            return pair_energy(pos, cell.T.contiguous(), species)[1]

        with pytest.raises(AssertionError, match="sees more than the lattice"):
            assert_periodic(transposed, *crystal)

    def test_order_of_the_lattice_vectors(self, crystal):
        def first_axis(pos, cell, species):
            return torch.cat([cell[0]]) / cell[0].norm()

        self.check(first_axis, crystal, "the lattice vectors in another order", outputs="intensive")

    def test_energy_that_does_not_scale(self, crystal):
        def mean_energy(pos, cell, species):
            return pair_energy(pos, cell, species)[0] / len(pos)

        self.check(mean_energy, crystal, "a supercell, doubled along each period", outputs="extensive")
        assert_periodic(mean_energy, *crystal, outputs="intensive")

    def test_left_handed_cell(self, crystal):
        def signed_volume(pos, cell, species):
            return cell.det()

        self.check(signed_volume, crystal, "the lattice vectors in another order", outputs="extensive")

    def test_second_output_is_named(self, crystal):
        with pytest.raises(AssertionError, match=r"output 1 \(extensive\) has error \d"):
            assert_periodic(lambda *a: (None, pair_energy(*a)[0] ** 2), *crystal, outputs=[None, "extensive"])

    def test_zero_and_nan(self, crystal):
        with pytest.raises(AssertionError, match="returns zero in output 0, which proves nothing"):
            assert_periodic(lambda pos, cell, species: 0 * pos, *crystal)
        with pytest.raises(AssertionError, match="has error inf"):
            assert_periodic(lambda pos, cell, species: pos / 0, *crystal)


def test_global_state_and_arguments_are_left_alone(crystal):
    pos, cell, species = crystal
    before, state = pos.clone(), torch.get_rng_state()

    def f(pos, cell, species):
        forces = pair_energy(pos, cell, species)[1]
        pos.zero_()
        return forces + 0 * torch.randn(1)

    assert_periodic(f, pos.requires_grad_(), cell, species)
    assert torch.equal(pos, before) and torch.equal(torch.get_rng_state(), state)


def test_errors(crystal):
    pos, cell, species = crystal
    f = lambda pos, cell, *rest: pos - pos
    with pytest.raises(ConfigError, match=r"outputs needs 'per_atom', .*; got 'extensiv'\. Did you mean 'extensive'"):
        assert_periodic(f, pos, cell, outputs="extensiv")
    with pytest.raises(ConfigError, match="got only None"):
        assert_periodic(f, pos, cell, outputs=None)
    with pytest.raises(ConfigError, match="needs a period; got pbc=False"):
        assert_periodic(f, pos, cell, pbc=False)
    with pytest.raises(ShapeError, match=r"pbc needs one bool or three; got shape \[2\]"):
        assert_periodic(f, pos, cell, pbc=[True, True])
    with pytest.raises(ShapeError, match=r"needs tensors pos \[N, 3\] and cell \[3, 3\]; got \[5, 3\], \[1, 3, 3\]"):
        assert_periodic(f, pos, cell[None])
    with pytest.raises(
        DtypeError, match=r"pos and cell need one floating dtype; got torch\.float64 and torch\.float32"
    ):
        assert_periodic(f, pos, cell.float())
    with pytest.raises(ShapeError, match=r"argument 2 needs a tensor of 5 rows, one per atom; got \[4\]"):
        assert_periodic(f, pos, cell, species[1:])
    with pytest.raises(DataError, match="needs a cell with a volume; got 0"):
        assert_periodic(f, pos, torch.zeros_like(cell))
    with pytest.raises(ShapeError, match="outputs declares 2; <lambda> returned 1"):
        assert_periodic(f, pos, cell, outputs=["per_atom", "per_atom"])
    with pytest.raises(ShapeError, match=r"needs 5 rows, one per atom; got \[3\]"):
        assert_periodic(lambda pos, cell: pos.sum(0), pos, cell)
    with pytest.raises(DtypeError, match=r"output 0 of <lambda> needs a floating-point tensor; got torch\.int64"):
        assert_periodic(lambda pos, cell: pos.long(), pos, cell)
    with pytest.raises(ShapeError, match="one shape however the crystal is written"):
        assert_periodic(lambda pos, cell: pos[pos[:, 0] > 0], pos, cell, outputs="intensive")
    with pytest.raises(DtypeError, match=r"needs tol for torch\.float16"):
        assert_periodic(lambda pos, cell: pos.half(), pos, cell)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_small_results_are_measured_by_their_own_size(crystal, dtype):
    pos, cell = (x.to(dtype) for x in crystal[:2])
    assert_periodic(lambda pos, cell: 1e-5 * cell.det().abs(), pos, cell, outputs="extensive")
    with pytest.raises(AssertionError, match="with the lattice vectors in another order"):
        assert_periodic(lambda pos, cell: 1e-5 * cell[0].norm(), pos, cell, outputs="intensive")


def test_default_device_does_not_matter(crystal):
    with torch.device("meta"):
        assert_periodic(lambda pos, cell: cell.det().abs(), *crystal[:2], outputs="extensive")
