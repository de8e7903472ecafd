import os

import numpy as np
import pytest
from data import hdf5_case
from hypothesis import given
from hypothesis import strategies as st

from irrepnet.data import Frame, read_frames, write_hdf5
from irrepnet.data import write_hdf5 as _  # noqa: F401 - the name is the function, also after an import of its file
from irrepnet.data.hdf5 import read_hdf5
from irrepnet.data.units import Keys
from irrepnet.errors import DataError

h5py = pytest.importorskip("h5py")


def back(path):
    return list(read_hdf5(path, "a.h5", Keys(), None))


@pytest.mark.parametrize("compress", [False, True])
def test_everything_comes_back_bit_for_bit(tmp_path, compress):
    frames = hdf5_case.frames()
    assert write_hdf5(iter(frames), tmp_path / "a.h5", compress=compress) == 40
    found = back(tmp_path / "a.h5")
    assert len(found) == 40
    assert all(map(hdf5_case.same, frames, found))
    assert os.listdir(tmp_path) == ["a.h5"]


@given(seed=st.integers(0, 10**6), count=st.integers(0, 12), page=st.integers(1, 5))
def test_any_frames_in_any_pages(tmp_path_factory, seed, count, page):
    path, module = tmp_path_factory.mktemp("page") / "a.h5", __import__("sys").modules["irrepnet.data.write_hdf5"]
    frames = hdf5_case.frames(count, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MOST_FRAMES", page)
        write_hdf5(frames, path)
    found = back(path)
    assert len(found) == count
    assert all(map(hdf5_case.same, frames, found))


def test_no_frames_one_frame_and_a_frame_without_atoms(tmp_path):
    path = tmp_path / "a.h5"
    assert write_hdf5([], path) == 0
    assert back(path) == []
    write_hdf5([Frame(species=[8], pos=[[0, 0, 0]])], path)
    (frame,) = back(path)
    assert (frame.energy, frame.forces, frame.id, frame.properties) == (None, None, None, {})
    empty = Frame(species=np.zeros(0, int), pos=np.zeros((0, 3)), atom_properties={"charge": np.zeros(0)})
    write_hdf5([empty, frame, empty], path)
    assert [len(found) for found in back(path)] == [0, 1, 0]
    assert back(path)[2].atom_properties["charge"].shape == (0,)


def test_numbers_that_are_no_numbers_and_odd_names_survive(tmp_path):
    values = np.array([np.nan, np.inf, -0.0, 5e-324])
    frame = Frame(species=[1], pos=[[0, 0, 0]], properties={"ü. x": values, "..": 1.0}, group="a\0b", id="")
    write_hdf5([frame], tmp_path / "a.h5")
    (found,) = back(tmp_path / "a.h5")
    assert found.properties["ü. x"].tobytes() == values.tobytes()
    assert found.properties[".."] == 1.0
    assert (found.group, found.id) == ("a\0b", "")


def test_other_software_can_read_it(tmp_path):
    frames = hdf5_case.frames(5)
    write_hdf5(frames, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as root:
        assert dict(root.attrs) == {
            "format": "irrepnet frames", "version": 1, "energy_unit": "eV", "length_unit": "angstrom",
        }  # fmt: skip
        ptr = root["ptr"][:]
        assert np.array_equal(root["pos"][ptr[3] : ptr[4]], frames[3].pos)


def test_the_same_frames_give_the_same_file(tmp_path):
    for name in ("a.h5", "b.h5"):
        write_hdf5(hdf5_case.frames(), tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_set_can_be_written_over_the_file_it_is_read_from(tmp_path):
    write_hdf5(hdf5_case.frames(), tmp_path / "a.h5")
    lazy = read_frames(tmp_path / "a.h5")
    expected = list(lazy[::2])
    write_hdf5(lazy[::2], tmp_path / "a.h5")
    assert all(map(hdf5_case.same, expected, back(tmp_path / "a.h5")))


def test_what_cannot_be_written_is_named_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.h5"
    write_hdf5(hdf5_case.frames(3), path)
    before = path.read_bytes()

    def atom(i, **labels):
        return Frame(species=[1], pos=[[0, 0, 0]], source=f"b.npz frame {i}", **labels)

    for frames, match in [
        ([atom(0, properties={"x": 1.0}), atom(1, properties={"x": [1.0]})],
         r"b.npz frame 1: properties/x needs shape \[\] in every frame of a file; found \[1\]; rename one"),
        ([atom(0, atom_properties={"x": [1.0]}), atom(1, atom_properties={"x": [[1.0]]})],
         r"b.npz frame 1: atom_properties/x needs shape \[\] in every frame of a file \(per atom\); found \[1\]"),
        ([atom(0, properties={"a/b": 1.0})], r"b.npz frame 0: a property needs a name without slash .* found 'a/b'"),
        ([atom(0, properties={".": 1.0})], r"found '\.'; rename it"),
        ([atom(0, properties={"x": []})], r"frame 0: properties/x needs numbers; found none, its shape is \[0\]"),
        ([Frame(species=[40_000], pos=[[0, 0, 0]])], "frame: species needs atomic numbers; found 40000 to 40000"),
    ]:  # fmt: skip
        with pytest.raises(DataError, match=match):
            write_hdf5(frames, path)
        assert path.read_bytes() == before
    with pytest.raises(DataError, match=r"needed a folder to write into"):
        write_hdf5([], tmp_path / "nowhere" / "a.h5")
    assert os.listdir(tmp_path) == ["a.h5"]
