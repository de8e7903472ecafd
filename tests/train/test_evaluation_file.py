import dataclasses
import json

import numpy as np
import pytest

from irrepnet.errors import DataError
from irrepnet.train import Evaluation, load_evaluation, save_evaluation


def evaluation():
    rng = np.random.default_rng(0)
    columns = [
        {"energy": rng.normal(size=2), "forces": rng.normal(size=(3, 3)), "a/b": np.array([[np.nan], [1.0]])}
        for _ in range(2)
    ]
    return Evaluation(
        num_frames=2, loss=0.1, metrics={"energy_mae": 1.25}, reference=columns[0], predicted=columns[1],
        species=np.array([8, 1, 1]), not_finite=("x frame 1",),
        units={"energy": "eV/atom", "forces": "eV/Å", "a/b": ""},
        per_atom=frozenset({"forces"}), formulas={"forces": "i"}, atom_counts=np.array([2, 1]),
        sources=("x frame 0", "x frame 1"), groups=(None, "run 1"),
    )  # fmt: skip


def test_every_field_comes_back(tmp_path):
    before = evaluation()
    save_evaluation(before, tmp_path / "evaluation.npz")
    after = load_evaluation(tmp_path / "evaluation.npz")
    for field in dataclasses.fields(Evaluation):
        one, other = getattr(before, field.name), getattr(after, field.name)
        if field.name in ("reference", "predicted"):
            assert one.keys() == other.keys()
            assert all(np.array_equal(one[label], other[label], equal_nan=True) for label in one)
        else:
            assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other, field.name


def test_the_file_is_plain_arrays_and_json(tmp_path):
    save_evaluation(evaluation(), tmp_path / "evaluation.npz")
    with np.load(tmp_path / "evaluation.npz", allow_pickle=False) as file:
        assert file["reference/forces"].shape == (3, 3)
        assert json.loads(str(file["facts"]))["units"]["forces"] == "eV/Å"


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "pickle"])
def test_damaged_and_other_files_are_refused(tmp_path, damage):
    path = tmp_path / "evaluation.npz"
    save_evaluation(evaluation(), path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "other":
        np.savez(path, pos=np.zeros(3))
    else:
        np.savez(path, facts=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"needed the evaluation of a run; found a damaged or other file"):
        load_evaluation(path)


def test_a_newer_format_is_refused(tmp_path):
    np.savez(tmp_path / "e.npz", facts=np.array(json.dumps({"format": 9})))
    with pytest.raises(DataError, match="needed an evaluation of format 1; found 9; update irrepnet"):
        load_evaluation(tmp_path / "e.npz")
