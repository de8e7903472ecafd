"""Property models: each readout, its symmetries and its exact cases."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from models.target_toys import PROPERTIES, atom, molecules, predict, property_model
from models.toys import FRAMES, graph_of, moved
from pydantic import ValidationError

from irrepnet.data import Frame, Graph
from irrepnet.errors import DataError, IrrepsError
from irrepnet.models import PropertyConfig, PropertyModel, kind_of, load_model, save_model
from irrepnet.models.property_readouts import softmax_pool
from irrepnet.testing import assert_equivariant
from irrepnet.testing.signature import Permutation

SCALARS = PROPERTIES[:2]  # those that periodic structures have too


class TestSymmetry:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_open_structure(self, dtype):
        model, graph = property_model().to(dtype), graph_of(FRAMES["open"], dtype=dtype)
        shifts = [-13.6 * 4 - 2000.0 * 2, -6.0]

        def predicted(pos, species, edge_index):
            u0, homo, mu, length, r2 = model(replace(graph, pos=pos, species=species, edge_index=edge_index)).values()
            rest = [value[:, None] for value in (u0 - shifts[0], homo - shifts[1], length, r2)]
            return (*rest, mu)

        assert_equivariant(
            predicted,
            ["cartesian_points", None, None],
            ["0e", "0e", "0e", "0e", "1o"],
            permutation=Permutation(inputs=[0, 1], indices=[2]),
            inputs=[graph.pos, graph.species, graph.edge_index],
            trials=3,
        )

    @pytest.mark.parametrize("frame", [FRAMES["periodic"], FRAMES["small cell"], FRAMES["slab"]])
    def test_periodic_structure(self, frame):
        model, graph = property_model(SCALARS), graph_of(frame)
        before = predict(model, [frame])
        rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0].numpy()
        after = predict(model, [moved(frame, frame.pos @ rotation.T, frame.cell @ rotation.T)])
        supercell = Graph.collate([graph, graph])
        for name, value in before.items():
            assert torch.allclose(after[name], value, rtol=0, atol=1e-9)
            assert torch.allclose(model(supercell)[name], value.expand(2), rtol=0, atol=1e-9)

    def test_a_batch_is_its_structures(self):
        model, frames = property_model(), molecules(5)
        together = predict(model, frames)
        for i, frame in enumerate(frames):
            for name, value in predict(model, [frame]).items():
                assert (together[name][i] - value[0]).abs().max() < 1e-12 * max(1, value.abs().max())


class TestReadouts:
    def test_results_are_float64_whatever_the_network(self):
        results = predict(property_model().float(), molecules(2))
        assert {name: (value.dtype, tuple(value.shape)) for name, value in results.items()} == {
            "U0": (torch.float64, (2,)),
            "homo": (torch.float64, (2,)),
            "mu": (torch.float64, (2, 3)),
            "length": (torch.float64, (2,)),
            "r2": (torch.float64, (2,)),
        }

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_isolated_atoms(self, dtype):
        far = Frame(species=[8, 1], pos=[[0, 0, 0], [50.0, 0, 0]])
        results = predict(property_model().to(dtype), [atom("O"), atom("H"), far])
        assert results["r2"][:2].tolist() == pytest.approx([10.0, 3.6], abs=1e-5)
        assert results["U0"].tolist() == pytest.approx([-2000.0, -13.6, -2013.6], abs=1e-6, rel=0)
        assert results["mu"][:2].tolist() == [[0.0] * 3] * 2
        assert results["length"][:2].tolist() == [0.0, 0.0]

    def test_extensive_values_add_up_and_intensive_ones_do_not(self):
        model, one = property_model(), FRAMES["open"]
        two = Frame(species=np.tile(one.species, 2), pos=np.vstack([one.pos, one.pos + np.array([100.0, 0, 0])]))
        alone, both = predict(model, [one]), predict(model, [two])
        assert both["U0"].item() == pytest.approx(2 * alone["U0"].item(), abs=1e-9)
        assert both["homo"].item() == pytest.approx(alone["homo"].item(), abs=1e-12)
        assert (both["mu"] - 2 * alone["mu"]).abs().max() < 1e-10
        assert alone["homo"].item() != pytest.approx(-6.0, abs=1e-3)

    def test_dipoles_of_different_molecules_far_apart_add_up(self):
        model, one, other = property_model([PROPERTIES[2]]), *molecules(2, num_atoms=(6, 5))
        apart = [predict(model, [frame])["mu"] for frame in (one, other)]
        assert min(dipole.norm() for dipole in apart) > 0.01
        for distance in (30.0, 300.0):
            away = other.pos + np.array([distance, 0, 0])
            both = Frame(species=np.concatenate([one.species, other.species]), pos=np.vstack([one.pos, away]))
            assert (predict(model, [both])["mu"] - sum(apart)).abs().max() < 1e-10

    def test_charges_are_exchanged_smoothly_up_to_the_cutoff(self):
        model = property_model([PROPERTIES[2]])
        lengths = 3.0 + np.array([-1e-3, -1e-6, 1e-6, 1.0])
        pairs = [Frame(species=[8, 1], pos=[[0, 0, 0], [length, 0, 0]]) for length in lengths]
        graphs = Graph.collate([graph_of(pair, cutoff=5.0) for pair in pairs])  # a longer list changes nothing
        dipoles = model(graphs)["mu"][:, 0]
        assert dipoles[2:].tolist() == [0.0, 0.0]
        assert dipoles[:2].abs().max() < 1e-6
        assert predict(model, [Frame(species=[8, 1], pos=[[0, 0, 0], [1.5, 0, 0]])])["mu"][0, 0].abs() > 0.01

    def test_dipole_of_an_ion_grows_by_its_charge(self):
        targets = [PROPERTIES[2] | {"total_charge": charge} for charge in (0.0, 2.0)]
        neutral, ion = (predict(property_model([target]), molecules(3))["mu"] for target in targets)
        centres = []
        for frame in molecules(3):
            weights = frame.species / frame.species.sum()
            centres.append(frame.pos.mean(axis=0) - weights @ frame.pos)  # the charge is spread over all atoms alike
        assert (ion - neutral - 2.0 * torch.tensor(np.array(centres))).abs().max() < 1e-12

    def test_length_is_that_of_the_vector(self):
        model = property_model()
        model.readouts[3].load_state_dict(model.readouts[2].state_dict())
        results = predict(model, molecules(3, num_atoms=(6,)))
        assert torch.equal(results["length"], results["mu"].norm(dim=1))
        assert results["length"].min() > 0.01

    def test_slope_of_a_length_of_zero_is_finite(self):
        model = property_model([PROPERTIES[3]])
        square = Frame(species=[1] * 4, pos=np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]) * 0.8)
        graph = graph_of(square)
        graph.pos.requires_grad_()
        length = model(graph)["length"]
        assert length.item() < 1e-12
        length.sum().backward()
        assert graph.pos.grad.isfinite().all()
        exact = graph_of(atom())
        exact.pos.requires_grad_()
        length = model.train()(exact)["length"]
        assert length.item() == 0.0
        length.sum().backward()
        assert exact.pos.grad.tolist() == [[0.0] * 3]
        assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())

    def test_second_moment_without_a_network_is_that_of_charges(self):
        model = property_model([PROPERTIES[4]])
        with torch.no_grad():
            for weight in model.readouts.parameters():
                weight.zero_()
        water = Frame(species=[8, 1, 1], pos=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
        centre = np.array([0.72, 0.93, 0]) / 10
        squared = ((water.pos - centre) ** 2).sum(axis=1)
        expected = 29.0 * squared[0] + 3.3 * squared[1:].sum() + 10.0 + 2 * 3.6
        assert predict(model, [water])["r2"].item() == pytest.approx(expected, rel=1e-12)

    def test_far_from_the_origin(self):
        frame = FRAMES["open"]
        there = replace(frame, pos=frame.pos + np.array([300.0, -200.0, 100.0]))
        for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 2e-3)):
            a, b = (predict(property_model().to(dtype), [f]) for f in (frame, there))
            for name, value in a.items():
                assert (value - b[name]).abs().max() < tolerance, name

    def test_softmax_pool(self):
        values, logits = torch.tensor([1.0, 3.0, 7.0]).double(), torch.tensor([1e4, 1e4, -1e4]).double()
        found = softmax_pool(values, logits, torch.tensor([0, 0, 2]), 3)
        assert found.tolist() == [2.0, 0.0, 7.0]
        skewed = softmax_pool(values[:2], torch.tensor([0.0, np.log(3)]), torch.tensor([0, 0]), 1)
        assert skewed.item() == pytest.approx(0.25 * 1 + 0.75 * 3)

    def test_slopes_by_finite_differences(self):
        model, frame, h = property_model(), FRAMES["open"], 1e-4
        graph = graph_of(frame)
        graph.pos.requires_grad_()
        results = model(graph)
        for name, value in results.items():
            (slope,) = torch.autograd.grad(value.sum(), graph.pos, retain_graph=True)
            shift = np.zeros_like(frame.pos)
            shift[2, 1] = h
            ahead, behind = (predict(model, [moved(frame, frame.pos + sign * shift)])[name].sum() for sign in (1, -1))
            assert slope[2, 1].item() == pytest.approx((ahead - behind).item() / (2 * h), abs=1e-5), name
            assert slope.abs().max() > 1e-3

    def test_every_weight_is_of_use(self):
        model = property_model().train()
        sum(value.square().sum() for value in predict(model, molecules(3)).values()).backward()
        assert [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()] == []


class TestRefusal:
    @pytest.mark.parametrize("target", PROPERTIES[2:])
    def test_periodic_structures_have_no_dipole(self, target):
        model = property_model([target])
        graphs = Graph.collate([graph_of(FRAMES["open"]), graph_of(FRAMES["slab"])])
        with pytest.raises(DataError, match=r"needs open structures, .* graph 1 is periodic; set pbc=False, or"):
            model(graphs)

    def test_unknown_element(self):
        with pytest.raises(DataError, match="the model knows the elements H, O; found C at atom 1; train with it"):
            predict(property_model(), [Frame(species=[1, 6], pos=[[0, 0, 0], [1.1, 0, 0]])])

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"irreps_hidden": "6x0e"},
                r"target 'mu' needs 0e, 1o after the last layer; irreps_hidden = '6x0e' with lmax = 1 and "
                r"num_layers = 2 makes 0e, without 1o; add 6x1o to irreps_hidden",
            ),
            ({"lmax": 0}, r"without 1o; set lmax: 1$"),
        ],
    )
    def test_a_dipole_needs_vectors(self, changes, message):
        with pytest.raises(IrrepsError, match=message):
            property_model(**changes)

    @pytest.mark.parametrize(
        ("targets", "message"),
        [
            ([], "targets needs at least one target; found none"),
            (
                [{"name": "energy", "readout": "extensive"}],
                "targets needs names other than energy, forces, stress, .*; found 'energy'; call it for example",
            ),
            ([{"name": "a", "readout": "extensive"}] * 2, "targets needs each name once; found 'a' twice; rename one"),
            ([{"name": "a", "readout": "extensve"}], "'extensve' found using 'readout' does not match"),
            ([{"name": "a", "readout": "extensive", "norm": True}], "(?s)norm.*Extra inputs are not permitted"),
            (
                [{"name": "a", "readout": "extensive", "shift": {"H": 1.0}}],
                "shift of 'a' .* for each of H, O",
            ),
            ([{"name": f"a{i}", "readout": "extensive"} for i in range(257)], "at most 256 items"),
            ([{"name": "a", "readout": "intensive", "scale": 0.0}], "greater than 0"),
            ([{"name": "a", "readout": "intensive", "shift": float("nan")}], "finite"),
            ([{"name": "a", "readout": "second_moment", "charges": {"O": 1.0}}], "charges of 'a' .* found none for H"),
        ],
    )
    def test_mistakes_in_targets(self, targets, message):
        with pytest.raises(ValidationError, match=message):
            PropertyConfig(species=("H", "O"), targets=targets)


class TestCopies:
    def test_file(self, tmp_path):
        model = property_model()
        save_model(model, tmp_path / "a.model", extra={"data": "toy"})
        loaded = load_model(tmp_path / "a.model")
        assert (kind_of(loaded), loaded.config, loaded.metadata["data"]) == ("property", model.config, "toy")
        frames = molecules(3)
        for name, value in predict(model, frames).items():
            assert torch.equal(value, predict(loaded, frames)[name])
            assert torch.equal(value, predict(copy.deepcopy(model), frames)[name])

    def test_shifts_survive_casts(self):
        targets = [{"name": "U0", "readout": "extensive", "shift": {"H": -13.605693122994, "O": -2042.6104112358}}]
        model = property_model(targets).float().double()
        assert predict(model, [atom("O")])["U0"].item() == pytest.approx(-2042.6104112358, abs=1e-12)
        assert [name for name in model.state_dict() if "shift" in name or "scale" in name] == []

    def test_what_a_model_says_of_itself(self):
        model = property_model()
        assert (model.cutoff, model.atomic_numbers, model.dtype, model.metadata) == (3.0, (1, 8), torch.float64, {})
        assert [len(model.irreps_layers), len(model.radial_networks)] == [2, 2]
        assert property_model(dtype="float32").dtype == torch.float32

    def test_a_new_model_says_the_shifts(self):
        config = PropertyConfig(species=("H", "O"), targets=PROPERTIES)
        found = predict(PropertyModel(config), molecules(3))
        assert (found["homo"] + 6.0).abs().max() < 0.6
        assert (found["homo"] + 6.0).abs().max() > 1e-4
