"""Tensor models: any rank, symmetries, parity, and the scales of irreps."""

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from models.target_toys import TENSORS, atom, molecules, predict, tensor_model
from models.toys import FRAMES, graph_of, moved
from pydantic import ValidationError

from irrepnet.data import Frame
from irrepnet.errors import DataError, IrrepsError
from irrepnet.io import CartesianTensor
from irrepnet.models import TensorConfig, TensorModel, kind_of, load_model, save_model
from irrepnet.o3 import rand_matrix
from irrepnet.testing import assert_equivariant
from irrepnet.testing.signature import Permutation

EVERY_FRAME = pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)


def rotated(tensor, matrix, rank):
    """Turn the last ``rank`` axes of a tensor."""
    for axis in range(tensor.dim() - rank, tensor.dim()):
        tensor = torch.tensordot(tensor, matrix, dims=([axis], [1])).movedim(-1, axis)
    return tensor


class TestSymmetry:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @EVERY_FRAME
    def test_irreps_of_every_target(self, frame, dtype):
        model, graph = tensor_model().to(dtype), graph_of(frame, dtype=dtype)
        cell = graph.cell if graph.cell is not None else torch.zeros(1, 3, 3, dtype=dtype)
        targets = model.config.targets

        def parts(pos, cell, species, edge_index):
            periodic = None if graph.cell is None else cell
            found = model(replace(graph, pos=pos, cell=periodic, species=species, edge_index=edge_index))
            return tuple(target.irreps.from_cartesian(found[target.name]) for target in targets)

        assert_equivariant(
            parts,
            ["cartesian_points", "1o", None, None],
            [str(target.irreps) for target in targets],
            permutation=Permutation(inputs=[0, 2], outputs=[3], indices=[3]),
            inputs=[graph.pos, cell, graph.species, graph.edge_index],
            trials=2,
        )

    @pytest.mark.parametrize("inversion", [1.0, -1.0])
    def test_cartesian_tensors_turn_with_the_structure(self, inversion):
        model, frame = tensor_model(), FRAMES["periodic"]
        matrix = inversion * rand_matrix(dtype=torch.float64)
        turn = matrix.numpy()
        before = predict(model, [frame])
        after = predict(model, [moved(frame, frame.pos @ turn.T, frame.cell @ turn.T)])
        for target in model.config.targets:
            rank = len(target.irreps.indices)
            found, expected = after[target.name], rotated(before[target.name], matrix, rank)
            assert (found - expected).abs().max() < 1e-10 * expected.abs().max(), target.name
            assert expected.abs().max() > 1e-3

    @pytest.mark.parametrize("formula", ["ijk", "ijk=-jik", "ijkl=jikl=ikjl=ijlk", "ijkl=-jikl"])
    def test_any_formula(self, formula):
        hidden = "4x0e+2x0o+3x1o+3x1e+3x2e+2x2o+2x3o+2x3e+2x4e"
        model = tensor_model([{"name": "t", "formula": formula}], irreps_hidden=hidden, lmax=3, num_layers=3)
        graph, tensor = graph_of(FRAMES["periodic"]), CartesianTensor(formula)

        def parts(pos, cell):
            return tensor.from_cartesian(model(replace(graph, pos=pos, cell=cell))["t"])

        inputs = [graph.pos, graph.cell]
        assert_equivariant(parts, ["cartesian_points", "1o"], str(tensor), inputs=inputs, trials=2)

    def test_a_pseudovector_keeps_its_sign(self):
        model = tensor_model([{"name": "twist", "formula": "ij=-ji"}])
        frame = FRAMES["open"]
        a, b = (predict(model, [moved(frame, sign * frame.pos)])["twist"] for sign in (1, -1))
        assert (a - b).abs().max() < 1e-12
        assert a.abs().max() > 1e-5

    def test_results_have_the_symmetries_of_their_formula(self):
        results = predict(tensor_model(), molecules(2))
        alpha, beta, elasticity = results["alpha"], results["beta"], results["elasticity"]
        assert torch.allclose(alpha, alpha.mT, rtol=0, atol=1e-12)
        for axes in itertools.permutations((1, 2, 3)):
            assert torch.allclose(beta, beta.permute(0, *axes), rtol=0, atol=1e-12)
        for axes in ((2, 1, 3, 4), (1, 2, 4, 3), (3, 4, 1, 2)):
            assert torch.allclose(elasticity, elasticity.permute(0, *axes), rtol=0, atol=1e-12)
        shielding = results["shielding"]
        assert (shielding - shielding.mT).abs().max() > 1e-3

    def test_a_crystal_has_the_symmetry_of_its_point_group(self):
        rocksalt = Frame(
            species=[8] * 4 + [1] * 4,
            pos=2.0
            * np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
            cell=4.0 * np.eye(3),
            pbc=True,
        )
        results = predict(tensor_model(), [rocksalt])
        c = results["elasticity"][0]
        for i, j in ((0, 1), (1, 2), (2, 0)):
            assert c[i, i, i, i].item() == pytest.approx(c[j, j, j, j].item(), abs=1e-10)
            assert c[i, i, j, j].item() == pytest.approx(c[0, 0, 1, 1].item(), abs=1e-10)
            assert c[i, j, i, j].item() == pytest.approx(c[0, 1, 0, 1].item(), abs=1e-10)
            assert c[i, i, i, j].abs().item() < 1e-10
        assert results["mu"].abs().max() < 1e-10
        assert results["beta"].abs().max() < 1e-10
        anisotropy = c[0, 0, 0, 0] - c[0, 0, 1, 1] - 2 * c[0, 1, 0, 1]
        assert abs(anisotropy.item()) > 1e-6

    def test_a_batch_is_its_structures(self):
        model, frames = tensor_model(), molecules(4)
        together = predict(model, frames)
        first = np.cumsum([0, *[len(frame) for frame in frames]])
        for i, frame in enumerate(frames):
            for name, value in predict(model, [frame]).items():
                rows = together[name][first[i] : first[i + 1]] if name == "shielding" else together[name][i : i + 1]
                assert (rows - value).abs().max() < 1e-12 * max(1.0, value.abs().max().item())


class TestReadout:
    def test_shapes_and_dtype(self):
        results = predict(tensor_model().float(), molecules(2, num_atoms=(3, 4)))
        assert {name: tuple(value.shape) for name, value in results.items()} == {
            "mu": (2, 3),
            "alpha": (2, 3, 3),
            "beta": (2, 3, 3, 3),
            "shielding": (7, 3, 3),
            "elasticity": (2, 3, 3, 3, 3),
        }
        assert {value.dtype for value in results.values()} == {torch.float64}

    def test_sums_and_means(self):
        model, one = tensor_model(), FRAMES["open"]
        two = Frame(species=np.tile(one.species, 2), pos=np.vstack([one.pos, one.pos + np.array([100.0, 0, 0])]))
        alone, both = predict(model, [one]), predict(model, [two])
        assert (both["alpha"] - 2 * alone["alpha"]).abs().max() < 1e-10
        assert (both["elasticity"] - alone["elasticity"]).abs().max() < 1e-10

    def test_an_isolated_atom_is_isotropic(self):
        results = predict(tensor_model(), [atom()])
        alpha = results["alpha"][0]
        assert (alpha - alpha[0, 0] * torch.eye(3).double()).abs().max() < 1e-12
        assert results["mu"].abs().max() < 1e-12
        assert results["beta"].abs().max() < 1e-12

    def test_means_and_scales(self):
        model = tensor_model([TENSORS[1]])
        frame, graph = FRAMES["open"], graph_of(FRAMES["open"])
        with torch.no_grad():
            model.readouts[0].out.weight.zero_()
        trace = 4 * 3.0 + 2 * 9.0  # over the square root of three, of 4 H and 2 O
        assert torch.allclose(model(graph)["alpha"][0], trace / 3**0.5 * torch.eye(3).double(), rtol=0, atol=1e-12)
        silent = tensor_model([TENSORS[1] | {"irrep_scales": [2.0, 0.0]}])
        irreps = CartesianTensor("ij=ji").from_cartesian(predict(silent, [frame])["alpha"])
        assert irreps[0, 1:].abs().max() < 1e-12
        assert abs(irreps[0, 0].item() - trace) > 1e-3

    def test_a_loss_of_components_is_one_of_irreps(self):
        for target in tensor_model().config.targets:
            irreps, rank = target.irreps, len(target.irreps.indices)
            error = irreps.to_cartesian(torch.randn(5, irreps.dim, dtype=torch.float64))
            assert irreps.from_cartesian(error).square().sum().item() == pytest.approx(error.square().sum().item())
            other = torch.randn(5, *[3] * rank, dtype=torch.float64)  # without the symmetries: its rest is orthogonal
            kept = irreps.to_cartesian(irreps.from_cartesian(other))
            total = (error - kept).square().sum() + (other - kept).square().sum()
            assert (error - other).square().sum().item() == pytest.approx(total.item())

    def test_slopes_by_finite_differences(self):
        model, frame, h = tensor_model(), FRAMES["open"], 1e-4
        graph = graph_of(frame)
        graph.pos.requires_grad_()
        shift = np.zeros_like(frame.pos)
        shift[2, 1] = h
        ahead, behind = (predict(model, [moved(frame, frame.pos + sign * shift)]) for sign in (1, -1))
        for name, value in model(graph).items():
            (slope,) = torch.autograd.grad(value.sum(), graph.pos, retain_graph=True)
            expected = (ahead[name] - behind[name]).sum().item() / (2 * h)
            assert slope[2, 1].item() == pytest.approx(expected, abs=1e-5 * max(1, abs(expected))), name

    def test_every_weight_is_of_use(self):
        model = tensor_model().train()
        sum(value.square().sum() for value in predict(model, molecules(3)).values()).backward()
        assert [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()] == []

    def test_file(self, tmp_path):
        model = tensor_model()
        save_model(model, tmp_path / "a.model")
        loaded = load_model(tmp_path / "a.model")
        assert (kind_of(loaded), loaded.config) == ("tensor", model.config)
        for name, value in predict(model, molecules(2)).items():
            assert torch.equal(value, predict(loaded, molecules(2))[name])
            assert torch.equal(value, predict(copy.deepcopy(model), molecules(2))[name])

    def test_a_new_model_says_the_means(self):
        model = TensorModel(TensorConfig(species=("H", "O"), lmax=2, irreps_hidden="8x0e+8x2e", targets=[TENSORS[1]]))
        (alpha,) = predict(model, [FRAMES["open"]]).values()
        trace = alpha[0].trace().item()
        assert trace == pytest.approx(30.0 * 3**0.5, abs=5.0)
        assert abs(trace - 30.0 * 3**0.5) > 1e-4


class TestRefusal:
    @pytest.mark.parametrize(
        ("formula", "changes", "message"),
        [
            (
                "ijk=jik=ikj",
                {"irreps_hidden": "16x0e+16x1o", "lmax": 1},
                r"target 't' needs 0e, 1o, 3o after the last layer; irreps_hidden = '16x0e\+16x1o' with lmax = 1 and "
                "num_layers = 2 makes 0e, 1o, without 3o; add 16x3o to irreps_hidden, set lmax: 2$",
            ),
            ("ij=ji", {"irreps_hidden": "8x0e+8x2e", "lmax": 1}, "without 2e; set lmax: 2$"),
            ("ij=ji", {"irreps_hidden": "8x0e+8x1o", "lmax": 2}, "without 2e; add 8x2e to irreps_hidden$"),
            ("ij=-ji", {"irreps_hidden": "8x0e", "lmax": 1}, r"without 1e; add 8x1o\+8x1e to irreps_hidden$"),
            (
                "ij",
                {"irreps_hidden": "8x0e+8x1o+8x1e+8x2e", "lmax": 2, "num_layers": 1},
                "makes 0e, 1o, 2e, without 1e; set num_layers: 2$",
            ),
            (
                "ijk=-jik=-ikj",
                {"irreps_hidden": "4x0e+4x1o", "lmax": 1},
                r"without 0o; add 4x0o\+4x1e .*, set num_layers: 3",
            ),
        ],
    )
    def test_features_that_cannot_become_the_tensor(self, formula, changes, message):
        with pytest.raises(IrrepsError, match=message):
            tensor_model([{"name": "t", "formula": formula}], **changes)

    def test_advice_is_right(self):
        better = {"irreps_hidden": "4x0e+4x1o+4x0o+4x1e", "lmax": 1, "num_layers": 3}
        found = predict(tensor_model([{"name": "t", "formula": "ijk=-jik=-ikj"}], **better), [FRAMES["periodic"]])["t"]
        assert found.abs().max() > 1e-4

    @pytest.mark.parametrize(
        ("target", "message"),
        [
            ({"formula": "ij=kl"}, "needs permutations of 'ij'; got 'kl'"),
            ({"formula": "ijklmno"}, "formula needs 1 to 6 indices, as 'ij=ji'; found 'ijklmno'"),
            ({"formula": ""}, "formula needs 1 to 6 indices"),
            (
                {"formula": "ij=ji", "irrep_scales": [1.0]},
                r"needs 2 values, one for each irrep of ij=ji \(1x0e\+1x2e\)",
            ),
            ({"formula": "ij=ji", "mean": {"H": [1.0, 2.0], "O": [1.0]}}, "mean needs 1 values for H, one for each 0e"),
            (
                {"formula": "ij=ji", "mean": {"H": [1.0]}},
                "mean of 't' needs a value for each of H, O",
            ),
            ({"formula": "ij=ji", "level": "molecule"}, "'structure' or 'atom'"),
            ({"formula": "ij=ji", "irrep_scales": [1.0, -1.0]}, "greater than or equal to 0"),
        ],
    )
    def test_mistakes_in_targets(self, target, message):
        with pytest.raises(ValidationError, match=message):
            TensorConfig(species=("H", "O"), targets=[{"name": "t"} | target])

    def test_unknown_element(self):
        with pytest.raises(DataError, match="the model knows the elements H, O; found He at atom 0; train with it"):
            predict(tensor_model(), [Frame(species=[2], pos=[[0, 0, 0]])])
