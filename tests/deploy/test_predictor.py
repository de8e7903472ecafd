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
