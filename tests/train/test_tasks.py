import pytest
import torch

from irrepnet.data import Frame
from irrepnet.errors import ShapeError
from irrepnet.models import ForceField, ForceFieldConfig
from irrepnet.train import LabelledGraphs, label_graphs
from irrepnet.train.config import LossConfig
from irrepnet.train.tasks import ForceFieldTask, TargetTask, task_of

TASK = TargetTask(
    units={"gap": "eV", "mu": "D", "shielding": "ppm"},
    scales={"gap": 2.0, "mu": 0.5, "shielding": 10.0},
    target_weights={"mu": 3.0},
    per_atom=frozenset({"shielding"}),
    formulas={"mu": "i"},
)
NAN = float("nan")


def frame(properties, shielding):
    return Frame(
        species=[8, 1], pos=[[0, 0, 0], [1, 0, 0]], properties=properties, atom_properties={"shielding": shielding}
    )


def batch():
    """Of three structures one lacks the gap and one the dipole; of six atoms two are labelled."""
    frames = [
        frame({"gap": 1.0, "mu": [0.0, 0, 1]}, [30.0, NAN]),
        frame({"mu": [1.0, 0, 0]}, [NAN, NAN]),
        frame({"gap": 4.0}, [NAN, 20.0]),
    ]
    return LabelledGraphs.collate(label_graphs(frames, 2.0))


def predicted():
    mu = torch.tensor([[0.0, 0, 2], [1, 0, 0], [9, 9, 9]]).double()
    return {"gap": torch.tensor([2.0, 7.0, 4.0]).double(), "mu": mu, "shielding": torch.full((6,), 25.0).double()}


def test_only_what_is_known_counts():
    errors = TASK.errors(predicted(), batch())
    assert errors["gap"].tolist() == [1.0, 0.0]
    assert errors["mu"].tolist() == [[0, 0, 1], [0, 0, 0]]
    assert errors["shielding"].tolist() == [-5.0, 5.0]
    assert TASK.counts(batch(), LossConfig()) == {"gap": 2, "mu": 6, "shielding": 2}


def test_the_loss_is_in_units_of_the_scales_and_a_mean_over_what_is_known():
    expected = (1 / 2) ** 2 / 2 + 3.0 * (1 / 0.5) ** 2 / 6 + (5 / 10) ** 2
    assert TASK.loss(predicted(), batch(), LossConfig(kind="mse")).item() == pytest.approx(expected)
    weights = LossConfig(targets={"mu": 0.0, "gap": 0.0}, kind="mae")
    assert TASK.loss(predicted(), batch(), weights).item() == pytest.approx(0.5)


def test_pieces_with_unequal_knowledge_add_up():
    pieces = [LabelledGraphs.collate(label_graphs([f], 2.0)) for f in (
        frame({"gap": 1.0, "mu": [0.0, 0, 1]}, [30.0, NAN]), frame({"mu": [1.0, 0, 0]}, [NAN, NAN]),
        frame({"gap": 4.0}, [NAN, 20.0]))]  # fmt: skip
    total = 0.0
    for place, piece in enumerate(pieces):
        said = {name: value[place : place + 1] for name, value in predicted().items() if name != "shielding"}
        said["shielding"] = predicted()["shielding"][2 * place : 2 * place + 2]
        total += TASK.loss(said, piece, LossConfig(), TASK.counts(batch(), LossConfig())).item()
    assert total == pytest.approx(TASK.loss(predicted(), batch(), LossConfig()).item())


def test_a_batch_in_which_nothing_is_known_has_no_gradient():
    bare = label_graphs([frame({}, [NAN, NAN])], 2.0)[0]
    assert TASK.labels_of(bare) == []
    assert not TASK.loss(predicted(), bare, LossConfig(), {"gap": 2, "mu": 6, "shielding": 2}).requires_grad


def test_a_row_with_one_unknown_component_is_unknown():
    half = label_graphs([frame({"mu": [0.0, NAN, 1]}, [NAN, NAN])], 2.0)[0]
    assert TASK.labels_of(half) == []


def test_the_class_of_a_model_says_its_task():
    model = ForceField(ForceFieldConfig(species=("H",), irreps_hidden="4x0e+4x1o"))
    assert isinstance(task_of(model), ForceFieldTask)


def test_a_label_of_another_shape_than_its_prediction_is_refused():
    frames = [Frame(species=[1], pos=[[0, 0, 0]], properties={"gap": [gap]}, source="a.npz") for gap in (1.0, 2.0)]
    batch = LabelledGraphs.collate(label_graphs(frames, 2.0))
    predicted = {"gap": torch.zeros(2)}
    for compare in (TASK.values, TASK.errors):
        with pytest.raises(
            ShapeError, match=r"a\.npz: target 'gap' needs shape \[\] per structure; found \[1\]; check"
        ):
            compare(predicted, batch)
