import numpy as np
import pytest

from irrepnet.data import Keys, Units
from irrepnet.data.raw_frame import frame_from_raw
from irrepnet.errors import DataError, ShapeError

STRESS = np.array([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]])


def frame(units=None, **raw):
    raw = {"species": [14], "pos": [[0, 0, 0]], "cell": 2 * np.eye(3), **raw}
    return frame_from_raw(raw, source="a.npz frame 3", keys=Keys(), units=units or Units())


@pytest.mark.parametrize(
    ("order", "six"),
    [
        ("xx yy zz yz xz xy", [1, 2, 3, 4, 5, 6]),
        ("xx yy zz xy yz xz", [1, 2, 3, 6, 4, 5]),
        ("zx zz yz xy yy xx", [5, 3, 4, 6, 2, 1]),
    ],
)
def test_six_numbers_need_their_order(order, six):
    assert np.array_equal(frame(Units(voigt=order), stress=six).stress, STRESS)
    with pytest.raises(DataError, match="stress has six numbers, whose order differs between programs; say it"):
        frame(stress=six)


def test_nine_numbers_and_wrong_shapes():
    assert np.array_equal(frame(stress=STRESS.ravel()).stress, STRESS)
    with pytest.raises(ShapeError, match=r"frame 3: stress needs shape \[3, 3\], \[9\] or \[6\]; found \[4\]"):
        frame(stress=np.zeros(4))
    with pytest.raises(DataError, match="voigt: needed each of xx yy zz yz xz xy once"):
        Units(voigt="xx yy zz yz xz")


def test_a_minus_before_the_unit_turns_the_sign():
    assert frame(Units(stress="-kbar"), stress=STRESS).stress == pytest.approx(-STRESS / 1602.176634)
    assert frame(Units(stress="-eV/angstrom^3"), stress=STRESS).stress == pytest.approx(-STRESS)
    with pytest.raises(DataError, match=r"stress unit: .* found '-kbr'\. Did you mean 'kbar'"):
        Units(stress="-kbr")


def test_a_virial_is_minus_the_stress_times_the_volume():
    assert frame(Units(energy="Hartree"), virial=STRESS).stress == pytest.approx(-STRESS * 27.211386 / 8)
    assert frame(virial=STRESS, stress=-STRESS / 8).stress == pytest.approx(-STRESS / 8)
    with pytest.raises(
        DataError, match=r"stress and virial need to agree .* found stress xx of 0\.125 and .* of -0.125"
    ):
        frame(virial=STRESS, stress=STRESS / 8)
    with pytest.raises(DataError, match="virial needs a cell with a volume"):
        frame(virial=STRESS, cell=None)


def test_properties_that_are_nan_throughout_are_not_known():
    found = frame(properties={"a": np.full((3, 3), np.nan), "b": [1.0, np.nan], "c": 2}, id=7, group=b"run")
    assert set(found.properties) == {"b", "c"}
    assert (found.id, found.group) == ("7", "run")
