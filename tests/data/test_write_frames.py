"""What is written comes back: every number and text, in every format."""

import builtins

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irrepnet.data import Frame, Keys, read_frames, write_frames
from irrepnet.errors import DataError

KEYS = Keys(properties={"mu": "mu", "alpha": "alpha", "gap": "gap"}, atom_properties={"q": "q", "nmr": "nmr"})
SUFFIXES = (".npz", ".extxyz", ".h5")


def frame(num_atoms, seed=0, **changes):
    rng = np.random.default_rng(seed)
    parts = {
        "species": rng.integers(1, 90, num_atoms),
        "pos": rng.normal(size=(num_atoms, 3)),
        "cell": 5 * np.eye(3) + rng.normal(size=(3, 3)),
        "pbc": [True, False, True],
        "energy": -1000 * rng.random(),
        "forces": rng.normal(size=(num_atoms, 3)),
        "stress": rng.normal(size=(3, 3)),
        "properties": {"mu": rng.normal(size=3), "alpha": rng.normal(size=(3, 3)), "gap": rng.random()},
        "atom_properties": {"q": rng.normal(size=num_atoms), "nmr": rng.normal(size=(num_atoms, 3, 3))},
        "id": f"run/{seed:03d}",
        "group": "a b",
    }
    symmetric = parts["stress"] + parts["stress"].T
    return Frame(**{**parts, "stress": symmetric, **changes})


def written(frames, path, **reading):
    assert write_frames(iter(frames), path) == len(frames)
    return read_frames(path, **reading)


def assert_same(found, wanted, tolerance):
    for name in ("species", "pos", "cell", "pbc", "energy", "forces", "stress"):
        one, other = getattr(found, name), getattr(wanted, name)
        assert (one is None) == (other is None), name
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=0, atol=tolerance, err_msg=name)
    assert (found.id, found.group) == (wanted.id, wanted.group)
    for name, value in wanted.properties.items():
        np.testing.assert_allclose(found.properties[name], value, rtol=0, atol=tolerance)
    for name, value in wanted.atom_properties.items():
        np.testing.assert_allclose(found.atom_properties[name].ravel(), value.ravel(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("sizes", [(3, 3), (1, 4, 2), (1,)])
def test_everything_comes_back_without_being_declared(tmp_path, suffix, sizes):
    frames = [frame(size, seed) for seed, size in enumerate(sizes)]
    found = written(frames, tmp_path / f"a{suffix}", keys=KEYS)
    for one, other in zip(found, frames, strict=True):
        assert_same(one, other, 1e-8 if suffix == ".extxyz" else 0.0)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_not_known_stays_unknown(tmp_path, suffix):
    bare = Frame(species=[8, 1], pos=np.eye(3)[:2])
    (found,) = written([bare], tmp_path / f"a{suffix}")
    assert_same(found, bare, 0.0)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_open_and_periodic_frames_go_into_one_file(tmp_path, suffix):
    frames = [frame(2, 0), frame(3, 1, cell=None, pbc=False)]
    found = written(frames, tmp_path / f"a{suffix}", keys=KEYS)
    assert found[1].cell is None
    assert found[0].pbc.tolist() == [True, False, True]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_property_of_some_frames_is_unknown_in_the_others(tmp_path, suffix):
    frames = [frame(2, 0), frame(2, 1, properties={"gap": 1.0}, atom_properties={})]
    found = written(frames, tmp_path / f"a{suffix}", keys=KEYS)
    assert found[1].properties.keys() == {"gap"}


@given(st.text(min_size=1, max_size=8))
def test_any_id_comes_back_from_extxyz_or_is_refused(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("ids") / "a.extxyz"
    one = Frame(species=[1], pos=[[0, 0, 0]], id=text, group=text)
    try:
        (found,) = written([one], path)
    except DataError as error:
        assert "without line breaks and backslashes" in str(error)
        return
    assert (found.id, found.group) == (text, text)


@pytest.mark.parametrize("text", ["007", "1e5", "T", "a b", 'a"b', "data_0/12", "x=1", "[a]", "1 2", "å", "[1]"])
def test_ids_that_look_like_something_else_are_texts(tmp_path, text):
    (found,) = written([Frame(species=[1], pos=[[0, 0, 0]], id=text)], tmp_path / "a.extxyz")
    assert found.id == text


def test_stress_keeps_its_sign_and_ase_reads_the_labels(tmp_path):
    ase_io = pytest.importorskip("ase.io")
    one = frame(2)
    write_frames([one], tmp_path / "a.extxyz")
    atoms = ase_io.read(tmp_path / "a.extxyz")
    assert atoms.get_potential_energy() == one.energy
    np.testing.assert_allclose(atoms.get_forces(), one.forces, atol=1e-8)
    np.testing.assert_allclose(atoms.get_stress(voigt=False), one.stress, atol=1e-8)
    np.testing.assert_allclose(atoms.cell.array, one.cell, atol=1e-8)


def test_labels_of_some_frames_have_no_place_in_npz(tmp_path):
    frames = [frame(2, 0), frame(2, 1, energy=None, source="b.xyz frame 1")]
    with pytest.raises(DataError, match=r"b.xyz frame 1: npz files hold energy of all frames or of none; .*\.h5"):
        write_frames(frames, tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []
    found = written(frames, tmp_path / "a.extxyz")
    assert found[1].energy is None


@pytest.mark.parametrize("suffix", [".npz", ".extxyz"])
@pytest.mark.parametrize("name", ["energy", "pos", "mass_unit"])
def test_names_that_are_taken_are_refused(tmp_path, suffix, name):
    if suffix == ".extxyz" and name == "mass_unit":
        name = "length_unit"
    with pytest.raises(DataError, match=f"no other use for; found '{name}'; rename it"):
        write_frames([frame(2, properties={name: 1.0})], tmp_path / f"a{suffix}")


def test_a_column_that_ase_renames_is_refused(tmp_path):
    with pytest.raises(DataError, match="found 'charge'; rename it"):
        write_frames([frame(2, atom_properties={"charge": np.zeros(2)})], tmp_path / "a.extxyz")


def test_shapes_that_differ_are_refused_by_npz(tmp_path):
    frames = [frame(2, 0, properties={"gap": 1.0}), frame(2, 1, properties={"gap": [1.0, 2.0]})]
    with pytest.raises(DataError, match=r"property 'gap' needs shape \[\], as in the frames before; found \[2\]"):
        write_frames(frames, tmp_path / "a.npz")


def test_no_frames_are_refused_by_npz(tmp_path):
    with pytest.raises(DataError, match="needed at least one frame to write; found none"):
        write_frames([], tmp_path / "a.npz")


def test_an_unknown_end_of_the_name_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"ends in .npz, .extxyz, .*; found '.npy'. Did you mean '.npz'\?"):
        write_frames([frame(2)], tmp_path / "a.npy")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_writer_that_fails_leaves_what_was_there(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")

    def breaks_off():
        yield frame(2)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write_frames(breaks_off(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_extxyz_says_that_it_needs_ase(tmp_path, monkeypatch):
    real = builtins.__import__

    def without_ase(name, *args, **kwargs):
        if name.split(".")[0] == "ase":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_ase)
    with pytest.raises(DataError, match=r"needs ase; .*pip install 'irrepnet\[md\]'"):
        write_frames([frame(1)], tmp_path / "a.extxyz")


def test_npz_does_not_give_one_id_to_two_frames(tmp_path):
    atoms = {"species": [1], "pos": [[0, 0, 0]]}
    frames = [Frame(**atoms, id="1"), Frame(**atoms, source="b.xyz frame 7")]
    with pytest.raises(
        DataError, match=r"b.xyz frame 7: a frame without an id is called by its place, 1; found another"
    ):
        write_frames(frames, tmp_path / "a.npz")
    assert [one.id for one in written(frames[::-1], tmp_path / "a.npz")] == ["0", "1"]


@pytest.mark.parametrize("name", ["id", "group"])
def test_npz_refuses_texts_that_numpy_cuts(tmp_path, name):
    with pytest.raises(DataError, match=f"{name} needs a text without a zero at its end; found 'a.x00'"):
        write_frames([Frame(species=[1], pos=[[0, 0, 0]], **{name: "a\0"})], tmp_path / "a.npz")


@pytest.mark.parametrize("number", [300, -1, 0])
def test_extxyz_refuses_what_is_no_element(tmp_path, number):
    one = Frame(species=[number], pos=[[0, 0, 0]], source="a.npz frame 0")
    with pytest.raises(DataError, match=f"a.npz frame 0: extxyz needs atomic numbers 1 to 118; found {number}"):
        write_frames([one], tmp_path / "a.extxyz")


def test_extxyz_keeps_a_stress_that_is_not_symmetric(tmp_path):
    stress = np.arange(9.0).reshape(3, 3)
    one = Frame(species=[1], pos=[[0, 0, 0]], cell=np.eye(3), pbc=True, stress=stress)
    assert np.array_equal(written([one], tmp_path / "a.extxyz")[0].stress, stress)
