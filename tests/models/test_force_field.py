import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.strategies import integers
from models.toys import FRAMES, energies, graph_of, moved, slope, toy_frame, toy_model

from irrepnet.data import Frame, Graph
from irrepnet.errors import DataError, DtypeError
from irrepnet.o3 import rand_matrix
from irrepnet.testing import assert_equivariant, strategies
from irrepnet.testing.signature import Permutation

STEPS = (-2, -1, 1, 2)
EVERY_FRAME = pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)


class TestDerivatives:
    @EVERY_FRAME
    def test_forces_are_minus_the_slope_of_the_energy(self, frame):
        model, h = toy_model(), 1e-3
        forces = model(graph_of(frame)).forces.numpy()
        for atom, axis in np.ndindex(*frame.pos.shape):
            shift = np.zeros_like(frame.pos)
            shift[atom, axis] = h
            variants = [moved(frame, frame.pos + k * shift) for k in STEPS]
            assert forces[atom, axis] == pytest.approx(-slope(model, variants, h), abs=1e-6)
        assert np.abs(forces).max() > 0.1

    @pytest.mark.parametrize("frame", [FRAMES["periodic"], FRAMES["small cell"], FRAMES["slab"]])
    def test_stress_is_the_slope_under_strain(self, frame):
        model, h = toy_model(), 1e-3
        stress = model(graph_of(frame), compute_stress=True).stress[0].numpy()
        volume = abs(np.linalg.det(frame.cell))
        for a, b in np.ndindex(3, 3):
            strain = np.zeros((3, 3))
            strain[a, b] = h
            strains = [np.eye(3) + k * strain for k in STEPS]
            variants = [moved(frame, frame.pos @ s.T, frame.cell @ s.T) for s in strains]
            assert stress[a, b] == pytest.approx(slope(model, variants, h) / volume, abs=1e-8)
        assert np.abs(stress).max() > 1e-3
        assert np.array_equal(stress, stress.T)

    @EVERY_FRAME
    def test_forces_and_torques_add_up_to_zero(self, frame):
        forces = toy_model()(graph_of(frame)).forces.numpy()
        assert np.abs(forces.sum(axis=0)).max() < 1e-12
        if not frame.pbc.any():
            assert np.abs(np.cross(frame.pos, forces).sum(axis=0)).max() < 1e-10

    def test_forces_have_no_curl(self):
        graph = graph_of(FRAMES["periodic"])
        model = toy_model()

        def forces(pos):
            return model(replace(graph, pos=pos)).forces

        jacobian = torch.autograd.functional.jacobian(forces, graph.pos).reshape(18, 18)
        assert jacobian.abs().max() > 0.1
        assert (jacobian - jacobian.T).abs().max() < 1e-12

    def test_forces_in_training_carry_their_gradient(self):
        model = toy_model(species_shifts=()).train()
        graph = graph_of(FRAMES["periodic"])
        weight = model.trunk.layers[0].linear.weight

        def loss():
            prediction = model(graph, compute_stress=True)
            return prediction.forces.square().sum() + prediction.energy.sum() + prediction.stress.square().sum()

        (gradient,) = torch.autograd.grad(loss(), weight)
        direction, h = torch.randn_like(weight), 1e-4
        with torch.no_grad():
            values = []
            for k in (1, -2):
                weight += k * h * direction
                values.append(loss())
        assert (gradient * direction).sum().item() == pytest.approx(
            ((values[0] - values[1]) / (2 * h)).item(), rel=1e-6
        )

    def test_every_weight_is_of_use(self):
        model = toy_model(irreps_hidden="4x0e+2x0o+4x1o+2x1e+2x2e", lmax=2, num_layers=3).train()
        model(graph_of(FRAMES["periodic"])).forces.square().sum().backward()
        idle = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
        assert [name for name in idle if "readout" not in name] == []  # a bias of the readout cancels in forces

    @pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
    def test_prediction_in_evaluation_mode_has_no_graph(self, context):
        model, graph = toy_model(), graph_of(FRAMES["periodic"])
        expected = model(graph, compute_stress=True)
        with context():
            found = model(graph, compute_stress=True)
        for a, b in zip(found, expected, strict=True):
            assert not a.requires_grad
            assert torch.equal(a, b)


class TestSymmetry:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @EVERY_FRAME
    def test_prediction(self, frame, dtype):
        model = toy_model(irreps_hidden="4x0e+2x0o+4x1o+2x1e+2x2e", lmax=2, num_layers=3, species_shifts=()).to(dtype)
        graph = graph_of(frame, dtype=dtype)
        cell = graph.cell if graph.cell is not None else torch.zeros(1, 3, 3, dtype=dtype)

        def predict(pos, cell, species, edge_index):
            periodic = None if graph.cell is None else cell
            found = replace(graph, pos=pos, cell=periodic, species=species, edge_index=edge_index)
            energy, forces, stress = model(found, compute_stress=periodic is not None)
            outputs = energy[:, None], forces
            # A matrix is not of irreps; its products with the lattice vectors are vectors.
            return outputs if stress is None else (*outputs, cell[0].double() @ stress[0])

        assert_equivariant(
            predict,
            ["cartesian_points", "1o", None, None],
            ["0e", "1o", "1o"][: 3 if graph.cell is not None else 2],
            permutation=Permutation(inputs=[0, 2], outputs=[1], indices=[3]),
            inputs=[graph.pos, cell, graph.species, graph.edge_index],
            trials=3,
        )

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_features_of_every_layer(self, dtype):
        model = toy_model(irreps_hidden="4x0e+2x0o+4x1o+2x1e+2x2e+1x3o", lmax=3, num_layers=4).to(dtype)
        graph = graph_of(FRAMES["open"], dtype=dtype)
        assert_equivariant(
            lambda pos, species, edges: model.node_feats(replace(graph, pos=pos, species=species, edge_index=edges)),
            ["cartesian_points", None, None],
            model.irreps_layers,
            permutation=Permutation(inputs=[0, 1], outputs=[0, 1, 2, 3], indices=[2]),
            inputs=[graph.pos, graph.species, graph.edge_index],
            trials=3,
        )

    @settings(max_examples=8, deadline=None, derandomize=True)
    @given(hidden=strategies.irreps(lmax=6, max_mul=2), lmax=integers(0, 4), num_layers=integers(1, 2))
    def test_any_irreps(self, hidden, lmax, num_layers):
        model = toy_model(irreps_hidden=f"2x0e+{hidden}", lmax=lmax, num_layers=num_layers, species_shifts=())
        graph = graph_of(FRAMES["open"])
        assert_equivariant(
            lambda pos: (model(at := replace(graph, pos=pos)).energy[:, None], model(at).forces, *model.node_feats(at)),
            ["cartesian_points"],
            ["0e", "1o", *model.irreps_layers],
            inputs=[graph.pos],
            trials=2,
        )

    def test_a_wrong_parity_is_seen(self):
        model = toy_model()
        graph = graph_of(FRAMES["open"])
        with pytest.raises(AssertionError, match="not equivariant under inversion"):
            assert_equivariant(
                lambda pos: model(replace(graph, pos=pos)).forces, "cartesian_points", "1e", inputs=[graph.pos]
            )

    def test_energy_tells_the_hand_of_a_molecule_only_by_its_forces(self):
        frame = FRAMES["open"]
        rotation = rand_matrix(dtype=torch.float64).numpy()
        mirrored = moved(frame, -frame.pos @ rotation.T)
        a, b = energies(toy_model(), [frame, mirrored])
        assert a == pytest.approx(b, abs=1e-10)


class TestSmoothness:
    def test_energy_and_its_first_two_slopes_at_the_cutoff(self):
        model = toy_model()
        lengths = 3.0 + np.array([-2e-4, -1e-4, -1e-7, 1e-7, 1e-4])
        pairs = [Frame(species=[8, 1], pos=[[0, 0, 0], [x, 0, 0]]) for x in lengths]
        graph = Graph.collate([graph_of(pair, cutoff=3.5) for pair in pairs])  # a longer list changes nothing
        energy, forces, _ = model(graph)
        force = forces[1::2, 0].numpy()
        assert np.array_equal(energy.numpy()[3:], np.full(2, -2013.6))
        assert np.abs(energy.numpy() + 2013.6).max() < 1e-10
        assert np.abs(force).max() < 1e-6
        assert np.abs(np.diff(force) / np.diff(lengths)).max() < 1e-2  # the curvature goes to zero too, as x
        assert model(graph_of(Frame(species=[8, 1], pos=[[0, 0, 0], [1, 0, 0]]))).forces.abs().max() > 0.1

    @pytest.mark.parametrize("frame", [FRAMES["periodic"], FRAMES["small cell"]])
    def test_crossing_a_face_of_the_cell(self, frame):
        to_face = -(frame.pos @ np.linalg.inv(frame.cell))[0, 0] * frame.cell[0]  # moves atom 0 onto a face
        sides = [frame.pos + to_face + 1e-9 * side * frame.cell[0] for side in (-1, 1)]
        wrapped = [(pos @ np.linalg.inv(frame.cell)) % 1 @ frame.cell for pos in sides]
        assert np.abs(wrapped[0][0] - wrapped[1][0]).max() > 1  # they are at opposite faces
        a, b = (toy_model()(graph_of(moved(frame, pos)), compute_stress=True) for pos in wrapped)
        assert a.energy.item() == pytest.approx(b.energy.item(), abs=1e-9)
        assert (a.forces - b.forces).abs().max() < 1e-9
        assert (a.stress - b.stress).abs().max() < 1e-9

    def test_a_list_that_reaches_further_changes_nothing(self):
        frame = FRAMES["periodic"]
        a, b = (toy_model()(graph_of(frame, cutoff)) for cutoff in (3.0, 4.0))
        assert a.energy.item() == pytest.approx(b.energy.item(), abs=1e-12)
        assert (a.forces - b.forces).abs().max() < 1e-12


class TestExtensivity:
    @pytest.mark.parametrize("frame", [FRAMES["periodic"], FRAMES["small cell"]])
    def test_supercell(self, frame):
        shifts = np.array(list(np.ndindex(2, 2, 2))) @ frame.cell
        large = Frame(
            species=np.tile(frame.species, 8),
            pos=(shifts[:, None] + frame.pos).reshape(-1, 3),
            cell=2 * frame.cell,
            pbc=True,
        )
        model = toy_model()
        one, eight = model(graph_of(frame), compute_stress=True), model(graph_of(large), compute_stress=True)
        assert eight.energy.item() / 8 == pytest.approx(one.energy.item(), abs=1e-10 * len(frame))
        assert (eight.forces - one.forces.repeat(8, 1)).abs().max() < 1e-10
        assert (eight.stress - one.stress).abs().max() < 1e-10

    def test_batch(self):
        model = toy_model()
        frames = [
            FRAMES["periodic"],
            toy_frame(1),
            FRAMES["small cell"],
            toy_frame(0),
            FRAMES["slab"],
            FRAMES["periodic"],
        ]
        graphs = [graph_of(frame) for frame in frames]
        together = model(Graph.collate(graphs), compute_stress=True)
        alone = [model(graph, compute_stress=True) for graph in graphs]
        for field, found in zip(together._fields, together, strict=True):
            expected = torch.cat([getattr(prediction, field) for prediction in alone])
            assert found.shape == expected.shape
            assert (found - expected).abs().max() < 1e-12

    def test_open_and_periodic_structures_in_one_batch(self):
        model = toy_model()
        graphs = [graph_of(FRAMES["open"]), graph_of(FRAMES["periodic"])]
        together = model(Graph.collate(graphs))
        assert (together.energy - torch.cat([model(graph).energy for graph in graphs])).abs().max() < 1e-12

    def test_molecules_far_apart_add_up(self):
        frame = FRAMES["open"]
        both = Frame(species=np.tile(frame.species, 2), pos=np.vstack([frame.pos, frame.pos + 50]))
        one, two = energies(toy_model(), [frame, both])
        assert two == pytest.approx(2 * one, abs=1e-10)

    @pytest.mark.parametrize("pbc", [True, False])
    @pytest.mark.parametrize("species", [[8], [1, 8, 8]])
    def test_isolated_atoms_have_their_shift(self, species, pbc):
        pos = 20.0 * np.arange(3 * len(species)).reshape(-1, 3)
        frame = Frame(species=species, pos=pos, cell=200 * np.eye(3) if pbc else None, pbc=pbc)
        prediction = toy_model()(graph_of(frame))
        assert prediction.energy.item() == pytest.approx({1: -2000.0, 3: -4013.6}[len(species)], abs=1e-12)
        assert torch.equal(prediction.forces, torch.zeros(len(species), 3, dtype=torch.float64))

    def test_no_atoms(self):
        prediction = toy_model()(graph_of(toy_frame(0)), compute_stress=True)
        assert prediction.energy.tolist() == [0.0]
        assert prediction.forces.shape == (0, 3)
        assert prediction.stress.abs().max() == 0


class TestInputs:
    def test_order_of_edges_and_memory_layout_do_not_matter(self):
        model, graph = toy_model(), graph_of(FRAMES["periodic"])
        shuffled = torch.randperm(graph.num_edges)
        other = replace(
            graph,
            pos=graph.pos.t().contiguous().t(),
            edge_index=graph.edge_index[:, shuffled].t().contiguous().t(),
            edge_shift=graph.edge_shift[shuffled],
        )
        assert not other.pos.is_contiguous()
        a, b = model(graph, compute_stress=True), model(other, compute_stress=True)
        for x, y in zip(a, b, strict=True):
            assert (x - y).abs().max() < 1e-12

    @pytest.mark.parametrize("species", [[8, 6], [8, 0], [8, 119], [8, -1]])
    def test_unknown_element(self, species):
        graph = replace(graph_of(Frame(species=[8, 8], pos=[[0, 0, 0], [1, 0, 0]])), species=torch.tensor(species))
        name = {6: "C", 0: "atomic number 0", 119: "atomic number 119", -1: "atomic number -1"}[species[1]]
        with pytest.raises(DataError, match=f"the model knows the elements H, O; found {name} at atom 1"):
            toy_model()(graph)

    def test_zero_length_edge(self):
        graph = graph_of(Frame(species=[8, 1], pos=[[0, 0, 0], [1, 0, 0]]))
        with pytest.raises(DataError, match=r"found atoms 1 \(H\) and 0 \(O\) at one place; move one"):
            toy_model()(replace(graph, pos=torch.zeros(2, 3).double()))

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_position_that_is_not_finite(self, bad):
        graph = graph_of(Frame(species=[8, 1], pos=[[0, 0, 0], [9, 0, 0]]))
        graph.pos[1, 2] = bad
        with pytest.raises(DataError, match=rf"pos needs finite numbers; found \[9.0, 0.0, {bad}\] at atom 1"):
            toy_model()(graph)

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_cell_that_is_not_finite(self, bad):
        graph = graph_of(FRAMES["periodic"])
        graph.cell[0, 1, 2] = bad
        with pytest.raises(DataError, match=rf"cell needs finite numbers; found .*{bad}.* in graph 0"):
            toy_model()(graph)

    def test_stress_without_a_cell(self):
        with pytest.raises(DataError, match=r"stress needs a cell for its volume; found none; .*compute_stress=False"):
            toy_model()(graph_of(FRAMES["open"]), compute_stress=True)
        both = Graph.collate([graph_of(FRAMES["periodic"]), graph_of(FRAMES["open"])])
        with pytest.raises(DataError, match="stress needs cells with a volume; graph 1 has none"):
            toy_model()(both, compute_stress=True)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_is_refused(self, dtype):
        with pytest.raises(DtypeError, match=f"needs float32 or float64; found {dtype}"):
            toy_model().to(dtype)(graph_of(FRAMES["open"]))

    def test_autocast_is_refused(self):
        with torch.autocast("cpu"), pytest.raises(DtypeError, match="needs float32 or float64; found autocast"):
            toy_model(dtype="float32")(graph_of(FRAMES["open"]))

    def test_other_device(self):
        with pytest.raises(DataError, match="the graph must be on cpu; found it on meta"):
            toy_model()(graph_of(FRAMES["open"]).to("meta"))


class TestPrecision:
    @pytest.mark.parametrize("positions", [torch.float32, torch.float64])
    def test_float32_is_near_float64(self, positions):
        model = toy_model()
        exact = model(graph_of(FRAMES["periodic"]), compute_stress=True)
        found = model.float()(graph_of(FRAMES["periodic"], dtype=positions), compute_stress=True)
        assert {x.dtype for x in found} == {torch.float64}
        assert found.energy.item() == pytest.approx(exact.energy.item(), abs=1e-4)
        assert (found.forces - exact.forces).abs().max() < 1e-4
        assert (found.stress - exact.stress).abs().max() < 1e-5
        assert found.forces.sum(dim=0).abs().max() < 1e-12

    def test_shifts_keep_float64_through_casts(self):
        model = toy_model(species_shifts=(-13.6057, -2041.839131)).float().double().float()
        energy = model(graph_of(Frame(species=[8], pos=[[0, 0, 0]]))).energy
        assert energy.item() == -2041.839131

    def test_float64_positions_far_from_the_origin(self):
        model, frame = toy_model(dtype="float32"), FRAMES["open"]
        near, far = (model(graph_of(moved(frame, frame.pos + 2.0**k))).energy.item() for k in (1, 20))
        assert near == pytest.approx(far, abs=1e-5)

    def test_state_is_the_learned_weights_only(self):
        model = toy_model()
        assert model.state_dict().keys() == dict(model.named_parameters()).keys()

    def test_copies_are_independent(self):
        model = toy_model()
        other = copy.deepcopy(model).float()
        assert model.dtype == torch.float64
        assert other.scales.dtype == torch.float64


class TestScaleAndShift:
    def test_scale_multiplies_the_interaction(self):
        graph = graph_of(FRAMES["open"])
        one, two = (toy_model(energy_scale=scale, species_shifts=())(graph) for scale in (1.0, 2.0))
        assert two.energy.item() == pytest.approx(2 * one.energy.item(), abs=1e-12)
        assert (two.forces - 2 * one.forces).abs().max() < 1e-12

    def test_scale_per_species(self):
        graph = graph_of(FRAMES["open"])
        settings = [
            {"energy_scale": scale, "species_shifts": ()} for scale in ((1.0, 1.0), (3.0, 1.0), (1.0, 3.0), 3.0)
        ]
        e, hydrogen, oxygen, both = (toy_model(**setting)(graph).energy.item() for setting in settings)
        assert hydrogen + oxygen - e == pytest.approx(both, abs=1e-12)
