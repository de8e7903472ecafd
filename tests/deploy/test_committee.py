import numpy as np
import pytest
import torch
from models.target_toys import PROPERTIES, TENSORS, molecules, property_model, tensor_model
from models.toys import FRAMES, graph_of, moved, slope, toy_frame, toy_model

from irrepnet.data import Graph
from irrepnet.deploy import Committee, Factor, Predictor
from irrepnet.errors import CheckpointError, ConfigError, DataError
from irrepnet.models import save_model

MODELS = [toy_model(seed, energy_scale=0.1) for seed in range(4)]
FRAME = FRAMES["periodic"]


class TestForceFields:
    def test_means_and_standard_deviations(self):
        graph = Graph.collate([graph_of(frame) for frame in (FRAMES["periodic"], FRAMES["small cell"])])
        found = Committee(MODELS)(graph, compute_stress=True)
        energy, forces, stress = (
            torch.stack(labels).numpy()
            for labels in zip(*(model(graph, compute_stress=True) for model in MODELS), strict=True)
        )
        assert found.energy.numpy() == pytest.approx(energy.mean(axis=0), abs=1e-9)
        assert found.forces.numpy() == pytest.approx(forces.mean(axis=0), abs=1e-12)
        assert found.stress.numpy() == pytest.approx(stress.mean(axis=0), abs=1e-12)
        assert found.energy_spread.numpy() == pytest.approx(energy.std(axis=0, ddof=1), abs=1e-9)
        assert found.forces_spread.numpy() == pytest.approx(
            np.linalg.norm(forces.std(axis=0, ddof=1), axis=1), abs=1e-12
        )
        assert found.stress_spread.numpy() == pytest.approx(
            np.linalg.norm(stress.std(axis=0, ddof=1), axis=(1, 2)), abs=1e-12
        )
        assert found.energy_spread.shape == found.stress_spread.shape == (2,)
        assert found.forces_spread.min() > 1e-4

    def test_mean_forces_are_the_slope_of_the_mean_energy(self):
        committee, h = Committee(MODELS), 1e-4
        push = np.zeros_like(FRAME.pos)
        push[2, 1] = h
        variants = [moved(FRAME, FRAME.pos + steps * push) for steps in (-2, -1, 1, 2)]
        assert committee(graph_of(FRAME)).forces[2, 1] == pytest.approx(-slope(committee, variants, h), abs=1e-8)

    def test_no_stress_unless_asked_for(self):
        prediction = Committee(MODELS)(graph_of(FRAME))
        assert prediction.stress is None
        assert prediction.stress_spread is None

    def test_factors_scale_spreads_alone(self):
        plain = Committee(MODELS)(graph_of(FRAME))
        scaled = Committee(MODELS, calibration={"forces": Factor(2.5, 10)})(graph_of(FRAME))
        assert torch.equal(scaled.forces, plain.forces)
        assert scaled.forces_spread.numpy() == pytest.approx(2.5 * plain.forces_spread.numpy())
        assert torch.equal(scaled.energy_spread, plain.energy_spread)

    def test_members_of_other_cutoffs_elements_and_dtypes(self):
        wide = toy_model(1, cutoff=3.7, species=("C", "O", "H"), species_shifts=(), dtype="float32")
        committee = Committee([MODELS[0], wide])
        assert committee.cutoff == 3.7
        assert committee.atomic_numbers == (1, 8)
        found = committee(graph_of(FRAME, 3.7))
        one, two = MODELS[0](graph_of(FRAME)), wide(graph_of(FRAME, 3.7))
        assert found.energy.item() == pytest.approx((one.energy + two.energy).item() / 2, abs=1e-9)
        assert found.forces.numpy() == pytest.approx(((one.forces + two.forces) / 2).numpy(), abs=1e-12)
        assert found.forces.dtype == torch.float64

    def test_predictor_with_a_skin(self):
        kept, fresh = Predictor(Committee(MODELS), skin=0.8), Predictor(Committee(MODELS))
        pos = FRAME.pos.copy()
        for _ in range(3):
            pos[:, 0] += 0.05
            one, two = (predict(FRAME.species, pos, FRAME.cell, True) for predict in (kept, fresh))
            for a, b in zip(one, two, strict=True):
                assert (a - b).abs().max() < 1e-9
        assert kept.num_searches == 1


class TestOtherModels:
    def test_properties(self):
        members = [property_model(seed=seed) for seed in range(3)]
        graph = Graph.collate([graph_of(frame) for frame in molecules(3)])
        found = Committee(members)(graph)
        said = [member(graph) for member in members]
        for name in (target["name"] for target in PROPERTIES):
            values = torch.stack([labels[name] for labels in said]).detach().numpy()
            spread = values.std(axis=0, ddof=1)
            spread = np.linalg.norm(spread, axis=1) if spread.ndim > 1 else spread
            assert found[name].detach().numpy() == pytest.approx(values.mean(axis=0), abs=1e-9)
            assert found[f"{name}_spread"].detach().numpy() == pytest.approx(spread, abs=1e-9)

    def test_tensors(self):
        graph = graph_of(FRAME)
        found = Committee([tensor_model(seed=seed) for seed in range(2)])(graph)
        for target in TENSORS:
            rows = len(FRAME) if target.get("level") == "atom" else 1
            assert found[f"{target['name']}_spread"].shape == (rows,)

    def test_a_predictor_wants_energy_and_forces(self):
        for model in (property_model(), Committee([property_model(seed=seed) for seed in range(2)])):
            message = r"energy and forces; found (PropertyModel|Committee) of U0, homo, .*; use predict_frames"
            with pytest.raises(ConfigError, match=message):
                Predictor(model)


class TestErrors:
    @pytest.mark.parametrize(
        ("models", "message"),
        [
            (lambda: MODELS[:1], "two models or more; found 1; train with other seeds"),
            (lambda: [MODELS[0], MODELS[1], MODELS[0]], "found members 0 and 2 to be the same; train"),
            (lambda: [MODELS[0], property_model()], "models of one kind; found force_field, property; make"),
            (
                lambda: [toy_model(species=("H",), species_shifts=()), toy_model(species=("O",), species_shifts=())],
                "an element that all members know; found the elements H; O$",
            ),
            (
                lambda: [property_model(), property_model((PROPERTIES[0], PROPERTIES[2]))],
                r"same targets in the same order; found .*'homo'.* in member 0 and .*'mu'.* in member 1; leave one out",
            ),
            (
                lambda: [property_model(), property_model(PROPERTIES[:4])],
                "found .*'r2'.* in member 0 and no more in member 1",
            ),
        ],
    )
    def test_members(self, models, message):
        with pytest.raises(ConfigError, match=message):
            Committee(models())

    def test_other_scales_and_shifts_are_no_other_target(self):
        other = tuple(target | {"scale": 0.7} for target in PROPERTIES)
        assert len(Committee([property_model(), property_model(other, seed=1)]).targets) == len(PROPERTIES)

    def test_the_same_file(self, tmp_path):
        for name in "ab":
            save_model(MODELS[0], tmp_path / f"{name}.model")
        with pytest.raises(ConfigError, match=r"members 0 and 1 to be the same \(.*b\.model\)"):
            Committee([tmp_path / "a.model", tmp_path / "b.model"])

    def test_a_file_that_is_no_model(self, tmp_path):
        (tmp_path / "a.model").write_bytes(b"")
        with pytest.raises(CheckpointError, match=r"a\.model is empty"):
            Committee([tmp_path / "a.model", MODELS[0]])

    def test_an_element_that_one_member_does_not_know(self):
        committee = Committee([MODELS[0], toy_model(1, species=("H",), species_shifts=())])
        message = "all members of the committee know the elements H; found O at atom 0; leave out the members"
        with pytest.raises(DataError, match=message):
            committee(graph_of(toy_frame()))
