import numpy as np
import pytest
import torch
from models.toys import FRAMES, graph_of, toy_frame, toy_model

from irrepnet.deploy import Predictor
from irrepnet.errors import ConfigError, DataError, ShapeError
from irrepnet.models import save_model


def ask(predict, frame, **changes):
    given = {"species": frame.species, "pos": frame.pos, "cell": frame.cell, "pbc": frame.pbc} | changes
    return predict(**given)


def close(a, b):
    return all((x is None and y is None) or (x - y).abs().max() < 1e-12 for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("skin", [0.0, 0.7])
def test_it_is_the_model(frame, skin):
    model = toy_model()
    expected = model(graph_of(frame), compute_stress=frame.cell is not None)
    assert close(ask(Predictor(model, skin=skin), frame), expected)


def test_model_file(tmp_path):
    save_model(toy_model(), tmp_path / "a.model")
    frame = FRAMES["periodic"]
    assert close(ask(Predictor(tmp_path / "a.model"), frame), ask(Predictor(toy_model()), frame))


def test_atoms_in_a_box_without_periods_have_no_stress():
    frame = FRAMES["open"]
    assert ask(Predictor(toy_model()), frame, cell=20 * np.eye(3)).stress is None


def test_a_training_model_is_put_into_evaluation_mode():
    model = toy_model().train()
    predict = Predictor(model)
    assert predict.model is model  # as its documentation says
    assert not model.training
    assert not ask(predict, FRAMES["open"]).energy.requires_grad


def test_positions_that_require_a_gradient():
    frame = FRAMES["periodic"]
    pos = torch.tensor(frame.pos, requires_grad=True)
    assert close(ask(Predictor(toy_model()), frame, pos=pos), ask(Predictor(toy_model()), frame))


class TestArrays:
    """What a simulation programme may hand over: anything with the right numbers gives the right answer."""

    @pytest.mark.parametrize("skin", [0.0, 0.7])
    @pytest.mark.parametrize(
        "changes",
        [
            lambda f: {"species": f.species.astype(np.int32), "pbc": np.array([1, 1, 1], dtype=np.int8)},
            lambda f: {"species": f.species.astype(np.uint8), "pbc": True},
            lambda f: {"species": f.species.tolist(), "pos": f.pos.tolist(), "cell": f.cell.tolist()},
            lambda f: {"species": torch.tensor(f.species, dtype=torch.int32), "pos": torch.tensor(f.pos)},
            lambda f: {"pos": np.asfortranarray(f.pos), "cell": np.asfortranarray(f.cell)},
            lambda f: {"pos": np.repeat(f.pos, 2, axis=0)[::2], "species": np.repeat(f.species, 3)[::3]},
            lambda f: {"pos": f.pos[::-1].copy()[::-1], "species": f.species[::-1].copy()[::-1]},
            lambda f: {"pos": torch.tensor(f.pos.T.copy()).T, "cell": torch.tensor(f.cell.T.copy()).mT},
            lambda f: {"pos": f.pos.astype(">f8"), "species": f.species.astype(">i8")},
            lambda f: {"pos": f.pos.astype(np.longdouble)},
        ],
    )
    def test_layout_and_dtype_do_not_matter(self, changes, skin):
        frame = FRAMES["periodic"]
        expected = toy_model()(graph_of(frame), compute_stress=True)
        assert close(ask(Predictor(toy_model(), skin=skin), frame, **changes(frame)), expected)

    def test_positions_in_float32_are_taken_as_they_are(self):
        frame = FRAMES["periodic"]
        rounded = frame.pos.astype(np.float32)
        predict = Predictor(toy_model())
        assert close(ask(predict, frame, pos=rounded), ask(predict, frame, pos=rounded.astype(np.float64)))

    def test_arrays_are_not_written_to(self):
        frame = FRAMES["periodic"]
        arrays = [frame.species.copy(), frame.pos + 7.0, frame.cell.copy(), frame.pbc.copy()]
        kept = [array.copy() for array in arrays]
        for array in arrays:
            array.flags.writeable = False
        for skin in (0.0, 0.7):
            Predictor(toy_model(), skin=skin)(*arrays)
        assert all(np.array_equal(a, b) for a, b in zip(arrays, kept, strict=True))

    @pytest.mark.parametrize(
        ("changes", "error", "message"),
        [
            ({"species": np.array([8.0, 1, 1, 8, 1, 1])}, DataError, r"species needs integers .*; found dtype float64"),
            ({"species": ["O", "H", "H", "O", "H", "H"]}, DataError, "species needs numbers; found"),
            ({"species": np.array([8, 1, 1, 8, 1, 300])}, DataError, "found atomic number 300 at atom 5"),
            ({"species": np.array([8, 1, 1, 8, 1, -1])}, DataError, "found atomic number -1 at atom 5"),
            ({"species": np.full(6, 2**63 + 5, dtype=np.uint64)}, DataError, "species needs integers"),
            ({"pos": np.full((6, 3), None)}, DataError, "pos needs numbers; found"),
            ({"pos": np.zeros((6, 2))}, ShapeError, r"pos needs shape \[6, 3\]; found \[6, 2\]"),
            ({"pos": torch.zeros(6, 3, device="meta")}, DataError, "pos needs numbers; found"),
            ({"cell": np.eye(3)[:2]}, ShapeError, r"cell needs shape \[3, 3\]; found \[2, 3\]"),
        ],
    )
    def test_what_cannot_be_used_is_named(self, changes, error, message):
        with pytest.raises(error, match=message):
            ask(Predictor(toy_model()), FRAMES["periodic"], **changes)

    def test_a_graph_on_another_device(self):
        graph = graph_of(FRAMES["periodic"])
        with pytest.raises(DataError, match=r"must be on cpu; found it on meta; use graph\.to\(device\)"):
            toy_model()(graph.to("meta"))


def test_stress_can_be_left_out():
    found = ask(Predictor(toy_model()), FRAMES["periodic"], compute_stress=False)
    assert found.stress is None
    assert close(found[:2], ask(Predictor(toy_model()), FRAMES["periodic"])[:2])


class TestSkin:
    def test_list_is_kept_while_atoms_move_little(self):
        kept, fresh = Predictor(toy_model(), skin=0.8), Predictor(toy_model())
        frame, random = toy_frame(8), np.random.default_rng(0)
        pos = frame.pos.copy()
        for _ in range(12):
            pos += 0.05 * random.standard_normal(pos.shape)
            assert close(ask(kept, frame, pos=pos), ask(fresh, frame, pos=pos))
        assert 1 < kept.num_searches < 6
        assert fresh.num_searches == 12

    @pytest.mark.parametrize(
        "changes",
        [
            {"cell": toy_frame().cell * 1.01},
            {"pbc": [True, True, False]},
            {"species": np.array([1, 8, 1, 1, 8, 1])},
            {"cell": None, "pbc": False},
            {"pos": toy_frame().pos + np.eye(6, 3) * 0.41},
        ],
    )
    def test_list_is_found_anew(self, changes):
        predict = Predictor(toy_model(), skin=0.8)
        before = ask(predict, FRAMES["periodic"])
        after = ask(predict, FRAMES["periodic"], **changes)
        assert predict.num_searches == 2
        assert abs(before.energy - after.energy) > 1e-6
        assert close(after, ask(Predictor(toy_model()), FRAMES["periodic"], **changes))

    def test_arrays_that_change_in_place(self):
        predict = Predictor(toy_model(), skin=0.8)
        species, pos, cell = (
            array.copy() for array in (FRAMES["periodic"].species, FRAMES["periodic"].pos, toy_frame().cell)
        )
        predict(species, pos, cell, True)
        species[:2] = species[:2][::-1]
        pos[0] += 1.0
        cell *= 1.02
        assert close(predict(species, pos, cell, True), Predictor(toy_model())(species, pos, cell, True))
        pbc = np.array([True, True, True])
        predict(species, pos, cell, pbc)
        pbc[1] = False
        assert close(predict(species, pos, cell, pbc), Predictor(toy_model())(species, pos, cell, pbc))


class TestErrors:
    @pytest.mark.parametrize("skin", [-0.1, float("nan"), float("inf")])
    def test_skin(self, skin):
        with pytest.raises(ConfigError, match="skin needs a length of 0 Å or more; found"):
            Predictor(toy_model(), skin=skin)

    @pytest.mark.parametrize("skin", [0.0, 0.5])
    def test_structures(self, skin):
        predict = Predictor(toy_model(), skin=skin)
        frame = FRAMES["periodic"]
        ask(predict, frame)
        nowhere = frame.pos.copy()
        nowhere[3, 1] = np.nan
        together = frame.pos.copy()
        together[1] = together[0]
        for changes, error, message in [
            ({"pos": nowhere}, DataError, "finite positions; found .*nan.* at atom 3"),
            ({"pos": together}, DataError, "found atoms [01] and [01] at one place"),
            ({"species": [6] * 6}, DataError, "the model knows the elements H, O; found C at atom 0"),
            ({"cell": np.zeros((3, 3))}, DataError, "singular"),
            ({"cell": np.full((3, 3), np.nan), "pbc": False}, DataError, "structure: cell needs finite numbers"),
            ({"cell": np.diag([9, 9, np.nan]), "pbc": [1, 1, 0]}, DataError, "structure: cell needs finite numbers"),
            ({"pbc": [True, False]}, ShapeError, r"pbc needs one bool or three; found shape \[2\]"),
            ({"pbc": "TTF"}, DataError, "pbc needs one bool or three; found 'TTF'"),
            ({"pos": frame.pos + 1j}, DataError, "pos needs numbers; found"),
            ({"species": [1]}, ShapeError, r"pos needs shape \[1, 3\]; found \[6, 3\]"),
            ({"cell": None}, DataError, "needs a cell; found None"),
        ]:
            with pytest.raises(error, match=message):
                ask(predict, frame, **changes)
        assert torch.isfinite(ask(predict, frame).energy).all()
