"""Reading a file that says neither its units nor our names: DFT water of DeePMD-kit, where it is at hand."""

from pathlib import Path

import numpy as np
import pytest

from irrepnet.data import Keys, Units, build_graph, force_rms, read_frames, select_groups, validate_frames
from irrepnet.errors import DataError

FILE = Path(__file__).parents[3] / "shared" / "data" / "water_deepmd" / "water_train320.npz"
KEYS = Keys(species="z", cell="cell", group="source")

pytestmark = pytest.mark.skipif(not FILE.exists(), reason=f"{FILE} is not on this machine")


def test_is_read_with_declared_names_and_units():
    frames = read_frames(FILE, keys=KEYS, units=Units(energy="eV", length="angstrom"))
    assert len(frames) == 320
    assert validate_frames(frames) == []
    frame = frames[0]
    assert len(frame) == 192
    assert frame.pbc.all()
    assert frame.cell == pytest.approx(12.444661 * np.eye(3), abs=1e-5)
    assert force_rms(frames) == pytest.approx(0.8133, abs=1e-4)
    assert np.mean([frame.energy for frame in frames]) == pytest.approx(-29943.9, abs=1.0)
    groups = sorted({frame.group for frame in frames})
    assert [len(select_groups(frames, [group])) for group in groups] == [80] * 4
    assert 20 < build_graph(frame, 4.0).num_edges / 192 < 35


def test_says_what_is_missing():
    with pytest.raises(DataError, match="needed the units of energy and length; found none in the file"):
        read_frames(FILE, keys=KEYS)
    with pytest.raises(DataError, match=r"water_train320.npz: needed key 'species'; found z, .*Set keys.species"):
        read_frames(FILE, units=Units())
