import numpy as np
import pytest
import torch

from irrepnet.data import Frame
from irrepnet.errors import DataError, ShapeError


def test_holds_float64_and_int64_whatever_it_was_given():
    frame = Frame(
        species=np.array([8, 1], dtype=np.uint8), pos=np.zeros((2, 3), dtype=np.float32),
        cell=[[1, 0, 0], [0, 1, 0], [0, 0, 1]], pbc=True, energy=np.float32(-1.5), forces=[[0, 0, 1], [0, 0, -1]],
    )  # fmt: skip
    assert frame.species.dtype == np.int64
    assert frame.pos.dtype == frame.cell.dtype == frame.forces.dtype == np.float64
    assert frame.pbc.tolist() == [True] * 3
    assert (type(frame.energy), frame.energy) == (float, -1.5)
    assert len(frame) == 2


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"pos": np.zeros((3, 3))}, ShapeError, r"a.npz frame 7: pos needs shape \[2, 3\]; found \[3, 3\]"),
        ({"pos": np.zeros(6)}, ShapeError, r"pos needs shape \[2, 3\]; found \[6\]"),
        ({"species": [[8, 1]]}, ShapeError, r"species needs shape \[N\]; found \[1, 2\]"),
        ({"forces": np.zeros((3, 2))}, ShapeError, r"forces needs shape \[2, 3\]; found \[3, 2\]"),
        ({"cell": np.eye(2)}, ShapeError, r"cell needs shape \[3, 3\]; found \[2, 2\]"),
        ({"stress": np.zeros(6)}, ShapeError, r"stress needs shape \[3, 3\]; found \[6\]"),
        ({"energy": [1.0, 2.0]}, ShapeError, r"energy needs shape \[\]; found \[2\]"),
        ({"species": [8.0, 1.5]}, DataError, r"species needs integers \(atomic numbers\); found dtype float64"),
        ({"pos": [["a", "b", "c"]] * 2}, DataError, "pos needs numbers; found"),
        ({"pos": [["0", "1", "2"]] * 2}, DataError, "pos needs numbers; found .* of dtype <U1"),
        ({"pos": np.full((2, 3), 1j)}, DataError, "pos needs numbers; found (?s:.)* of dtype complex128"),
        ({"energy": 1j}, DataError, "energy needs numbers; found 1j of dtype complex128"),
        ({"pbc": "TTF"}, DataError, "a.npz frame 7: pbc needs one bool or three; found 'TTF' of dtype <U3"),
        ({"pbc": 0.5}, DataError, "pbc needs one bool or three; found 0.5 of dtype float64"),
        ({"pbc": [2, 0, 0]}, DataError, r"pbc needs one bool or three; found \[2, 0, 0\]"),
        ({"pbc": [True, False]}, ShapeError, r"pbc needs one bool or three; found shape \[2\]"),
        ({"cell": np.full((3, 3), np.nan)}, DataError, "a.npz frame 7: cell needs finite numbers; found .*nan"),
        ({"cell": np.diag([1, 1, np.inf]), "pbc": [1, 1, 0]}, DataError, "cell needs finite numbers; found"),
        ({"pbc": True}, DataError, r"pbc \[True, True, True\] needs a cell; found None"),
    ],
)
def test_misfits_name_frame_and_part(changes, error, match):
    with pytest.raises(error, match=match):
        Frame(**{"species": [8, 1], "pos": np.zeros((2, 3)), "source": "a.npz frame 7", **changes})


def test_tensors_are_detached_and_copied():
    pos = torch.zeros(2, 3, requires_grad=True)
    frame = Frame(species=torch.tensor([8, 1]), pos=pos, cell=torch.eye(3), pbc=torch.tensor([True, False, True]))
    assert frame.pos.tolist() == [[0.0] * 3] * 2
    assert frame.pbc.tolist() == [True, False, True]
    with torch.no_grad():
        pos += 1
    assert not frame.pos.any()


def test_numbers_beyond_int64_are_refused():
    with pytest.raises(DataError, match=r"species needs integers \(atomic numbers\); found 9223372036854775809"):
        Frame(species=np.array([2**63 + 1], dtype=np.uint64), pos=[[0, 0, 0]])
    assert Frame(species=np.array([8], dtype=np.uint64), pos=[[0, 0, 0]]).species.tolist() == [8]
