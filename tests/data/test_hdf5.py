import builtins
import multiprocessing
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from data import hdf5_case

from irrepnet.data import Frame, Hdf5Frames, Keys, Units, read_frames, validate_frames, write_hdf5
from irrepnet.data.checked_file import seal
from irrepnet.data.hdf5 import read_hdf5
from irrepnet.data.subset import FrameSubset
from irrepnet.errors import DataError

h5py = pytest.importorskip("h5py")
FRAMES = hdf5_case.frames(60)


@pytest.fixture
def path(tmp_path):
    write_hdf5(FRAMES, tmp_path / "a.h5")
    return tmp_path / "a.h5"


@pytest.fixture
def lazy(path):
    return Hdf5Frames(path, "a.h5")


def test_is_a_sequence(lazy):
    assert len(lazy) == 60
    for index in (0, 7, -1, np.int64(59)):
        assert hdf5_case.same(lazy[index], FRAMES[index])
    for cut in (slice(None), slice(5, 9), slice(50, 2, -7), slice(3, 3), slice(-4, None)):
        assert isinstance(lazy[cut], FrameSubset)
        assert all(map(hdf5_case.same, lazy[cut], FRAMES[cut])) and len(lazy[cut]) == len(FRAMES[cut])
    for index in (60, -61):
        with pytest.raises(IndexError):
            lazy[index]
    assert (lazy[3].source, lazy[-1].source) == ("a.h5 frame 3", "a.h5 frame 59")
    assert {"pos", "energy", "properties/dipole"} <= set(lazy[0].available)


@pytest.mark.parametrize("page", [1, 10, 2**13])  # atoms
@pytest.mark.parametrize("indices", [range(60), [3, 1, 2, 2], [59, 0, 30], []])
def test_iterates_in_the_order_that_is_asked_for(lazy, indices, page, monkeypatch):
    monkeypatch.setattr("irrepnet.data.hdf5._PAGE_ATOMS", page)
    found = list(lazy.iterate(np.array(indices, dtype=np.int64)))
    assert len(found) == len(indices)
    assert all(hdf5_case.same(frame, FRAMES[index]) for frame, index in zip(found, indices, strict=True))


def test_read_frames_gives_a_lazy_set(path):
    frames = read_frames(path)
    assert isinstance(frames, Hdf5Frames)
    assert len(read_frames(path, units=Units())) == 60
    with pytest.raises(DataError, match=r"a.h5: energy unit was declared 'Hartree'; found 'eV' in the file"):
        read_frames(path, units=Units(energy="Hartree"))


@pytest.mark.parametrize("unit", [{"energy_unit": "kcal/mol"}, {"length_unit": "bohr"}, {"stress_unit": "GPa"}])
def test_units_of_a_file_are_checked(path, unit):
    read = edited(path, lambda root: root.attrs.update(unit))
    with pytest.raises(
        DataError, match=r"a.h5: irrepnet's HDF5 files are in eV, .*; found other units \(in the file\)"
    ):
        read()


def test_units_that_are_declared_are_checked(path):
    with pytest.raises(DataError, match=r"a.h5: irrepnet's HDF5 files are in eV, .*; found other units \(declared\)"):
        read_frames(path, units=Units(stress="GPa"))


def test_texts_and_sizes_without_reading_frames(lazy, monkeypatch):
    monkeypatch.setattr(Hdf5Frames, "_read", None)
    assert lazy.texts("id") == [frame.id for frame in FRAMES]
    assert lazy[::5].texts("group") == [frame.group for frame in FRAMES[::5]]
    assert lazy.num_atoms.tolist() == [len(frame) for frame in FRAMES]


def test_texts_of_a_file_that_has_none(tmp_path):
    write_hdf5([Frame(species=[1], pos=[[0, 0, 0]])], tmp_path / "a.h5")
    assert Hdf5Frames(tmp_path / "a.h5", "a.h5").texts("group") == [None]


def test_keys_choose_and_rename_properties(path):
    keys = Keys(properties={"mu": "dipole"}, atom_properties={"q": "charge"})
    for found, frame in zip(read_frames(path, keys=keys), FRAMES, strict=True):
        assert found.properties.keys() == {"mu"} & ({"mu"} if "dipole" in frame.properties else set())
        assert found.atom_properties.keys() <= {"q"}
    with pytest.raises(DataError, match=r"needed 'dipol' \(keys.properties.mu\); found dipole, gap.*Did you mean 'dip"):
        read_frames(path, keys=Keys(properties={"mu": "dipol"}))
    with pytest.raises(DataError, match=r"HDF5 files have fixed names; found keys.energy = 'E'; leave it out"):
        read_frames(path, keys=Keys(energy="E"))


def test_is_pickled_and_serves_other_processes(lazy):
    assert hdf5_case.same(lazy[4], FRAMES[4])  # open before
    copy = pickle.loads(pickle.dumps(lazy[4:6]))
    assert hdf5_case.same(copy[0], FRAMES[4])
    assert len(pickle.dumps(lazy)) < 2000
    torch.ones(300, 300) @ torch.ones(300, 300)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map(lazy.__getitem__, range(60))
    assert all(map(hdf5_case.same, found, FRAMES))
    assert hdf5_case.same(lazy[5], FRAMES[5])


def test_a_file_that_is_replaced_while_in_use(path, lazy):
    copy = pickle.dumps(lazy)
    write_hdf5(FRAMES[:-1], path)
    assert hdf5_case.same(lazy[-1], FRAMES[-1])  # still the one that was opened
    other = pickle.loads(copy)
    for _ in range(2):
        with pytest.raises(DataError, match=r"a.h5: the file was replaced by another while it was in use; start again"):
            other[0]


def test_the_digest_is_that_of_the_content(path, lazy, tmp_path):
    write_hdf5(FRAMES, tmp_path / "b.h5")
    assert Hdf5Frames(tmp_path / "b.h5", "b.h5").content_digest == lazy.content_digest
    write_hdf5(FRAMES[::-1], tmp_path / "b.h5")
    assert Hdf5Frames(tmp_path / "b.h5", "b.h5").content_digest != lazy.content_digest


def test_the_digest_tells_what_is_read_as_what(path, lazy):
    def digest(**keys):
        return read_frames(path, keys=Keys(**keys)).content_digest

    choices = [{"a": "dipole"}, {"b": "dipole"}, {"a": "gap, eV"}]
    digests = [digest(properties=names) for names in choices] + [digest(atom_properties={"a": "charge"})]
    assert len({lazy.content_digest, *digests}) == 5
    assert digest(properties=choices[0]) == digests[0]


def mutations(whole, rng, count):
    """Damaged copies: flipped bits, bytes, zeroed and moved stretches, cut ends."""
    for _ in range(count):
        data, place = bytearray(whole), int(rng.integers(len(whole)))
        kind, size = rng.integers(5), int(rng.integers(1, 600))
        if kind == 0:
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[place] = int(rng.integers(256))
        elif kind == 2:
            data[place : place + size] = bytes(len(data[place : place + size]))
        elif kind == 3:
            del data[place : place + size]
        else:
            data = data[:place]
        yield bytes(data)


def test_mutated_files_are_read_right_or_refused(path, tmp_path):
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    expected, refused = list(Hdf5Frames(path, "a.h5")), 0
    for data in mutations(whole, rng, 200):
        (tmp_path / "fuzz.h5").write_bytes(data)
        try:
            found = list(Hdf5Frames(tmp_path / "fuzz.h5", "fuzz.h5"))
        except DataError as error:
            assert "fuzz.h5" in str(error)
            refused += data != whole
            continue
        assert len(found) == len(expected) and all(map(hdf5_case.same, found, expected))
    assert refused > 110


def test_the_whole_file_can_be_checked(path, lazy):
    lazy.check()
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a.h5 is damaged: the SHA-256 of bytes \d+ to \d+ is not the one"):
        Hdf5Frames(path, "a.h5").check()


def test_files_of_others(path, tmp_path):
    other = tmp_path / "other.h5"
    for data in (b"", b"hello", path.read_bytes()[:5000]):
        other.write_bytes(data)
        with pytest.raises(
            DataError, match=r"other.h5: needed a whole file with checksums; found no footer; it is cut"
        ):
            read_frames(other)
    other.write_bytes(b"hello")
    seal(other)
    with pytest.raises(DataError, match=r"other.h5: it is no HDF5 file \(.*\); write it anew"):
        read_frames(other)


def edited(path, change):
    """Change the HDF5 part of a file and seal it again, as a bug or a forger would."""
    with h5py.File(path, "r+", locking=False) as root:
        change(root)
    seal(path)
    return lambda: list(Hdf5Frames(path, "a.h5"))


def replace(name, data):
    def change(root):
        del root[name]
        root[name] = data

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda root: root.attrs.update(format="mine"), "needed an HDF5 file with format 'irrepnet frames'; found 'm"),
        (lambda root: root.attrs.update(version=2), "needed version 1 of the layout; found .*2.*; update irrepnet"),
        (lambda root: root.attrs.update(energy_unit="kcal/mole"), "a.h5: energy unit: needed one of .*'kcal/mole'"),
        (lambda root: root.__delitem__("pos"), "needed ptr, species, pos, pbc; found no pos"),
        (replace("ptr", np.arange(61, dtype=np.int32)), r"ptr needs int64 \[F \+ 1\]; found int32 \[61\]"),
        (replace("ptr", np.arange(61)[::-1]), r"\bptr needs to rise from 0; found otherwise"),
        (replace("energy", np.zeros(59)), r"energy needs float64 \[60\]; found float64 \[59\]"),
        (replace("energy", np.zeros(60, dtype="S8")), r"energy needs float64 \[60\]; found \|S8 \[60\]"),
        (replace("known/energy", np.zeros(3, np.uint8)), r"known/energy needs uint8 \[60\]; found uint8 \[3\]"),
        (replace("id/ptr", np.arange(61)), r"id/utf8 needs uint8 \[60\]; found uint8 \[\d+\]"),
        (replace("id/utf8", np.full(1, 255, np.uint8)), "id/utf8 needs uint8"),
        (replace("id/ptr", np.arange(61)[::-1]), "id/ptr needs to rise from 0; found otherwise"),
        (replace("id/ptr", np.zeros(1, np.int64)), r"id/ptr needs int64 \[61\]; found int64 \[1\]"),
        (replace("properties", h5py.ExternalLink("/nowhere", "/x")), "properties needs to be a plain .* a link"),
        (replace("known", h5py.SoftLink("/properties")), "known needs to be a plain data set .* found a link"),
        (lambda root: root.create_group("a/b/c/d"), "needed folders in the layout of irrepnet; found a/b/c"),
        (lambda root: root.__setitem__("properties/loop", root["properties"]), "needed folders in the layout"),
        (replace("energy", h5py.ExternalLink("/etc/passwd", "/x")), "its data sets cannot be read|plain data set"),
        (replace("energy", h5py.SoftLink("/stress")), "energy needs to be a plain data set of the file; found"),
    ],
)  # fmt: skip
def test_layouts_that_are_not_ours(path, change, match):
    with pytest.raises(DataError, match=match):
        edited(path, change)()


def test_data_that_lie_elsewhere_are_not_read(path, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(480))

    def external(root):
        del root["energy"]
        root.create_dataset("energy", shape=(60,), dtype="f8", external=[(str(tmp_path / "secret"), 0, 480)])

    def virtual(root):
        del root["energy"]
        layout = h5py.VirtualLayout(shape=(60,), dtype="f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", shape=(60,))
        root.create_virtual_dataset("energy", layout)

    for change in (external, virtual):
        with pytest.raises(DataError, match=r"energy needs to be a plain data set of the file; found something else"):
            edited(path, change)()


ABSURD = 10**9


@pytest.mark.parametrize(
    ("name", "shape", "kind", "found"),
    [
        ("ptr", (ABSURD + 1,), "int64", "ptr of shape"),
        ("pos", (len(FRAMES), 3), "float64", "pos of shape"),
        ("properties/dipole", (60, ABSURD), "float64", "properties/dipole of shape"),
        ("id/ptr", (61,), "int64", "id/ptr of shape"),
    ],
)
@pytest.mark.parametrize("packed", [{}, {"compression": "gzip"}])
def test_rows_that_were_never_written_take_no_memory(path, name, shape, kind, found, packed):
    def change(root):
        rows = {"pos": int(root["ptr"][-1])}.get(name, shape[0])
        del root[name]
        root.create_dataset(name, shape=(rows, *shape[1:]), dtype=kind, chunks=(1, 2)[-len(shape) :], **packed)

    with pytest.raises(
        DataError, match=rf"a.h5: {found} .* needs \d+ bytes; found at most 0 in the file; write it anew"
    ):
        edited(path, change)()


@pytest.mark.parametrize("compress", [False, True])
def test_labels_that_only_the_last_frames_have(tmp_path, compress):
    plain = [Frame(species=[1] * 50, pos=np.zeros((50, 3)))] * 2000
    last = Frame(species=[1], pos=[[0, 0, 0]], forces=[[0, 0, 1]], id="last", properties={"mu": 1})
    write_hdf5([*plain, last], tmp_path / "a.h5", compress=compress)
    frames = read_frames(tmp_path / "a.h5")
    assert hdf5_case.same(frames[-1], last) and hdf5_case.same(frames[0], plain[0])
    assert frames.texts("id") == [None] * 2000 + ["last"]


def test_large_labels_are_read_in_small_pages(tmp_path, monkeypatch):
    monkeypatch.setattr("irrepnet.data.hdf5._PAGE_BYTES", 2**16)
    large = [Frame(species=[1], pos=[[0, 0, 0]], properties={"grid": np.full(2**12, i)}) for i in range(10)]
    write_hdf5(large, tmp_path / "a.h5")
    frames, pages, real = read_frames(tmp_path / "a.h5"), [], Hdf5Frames._read
    monkeypatch.setattr(Hdf5Frames, "_read", lambda self, *ends: pages.append(ends) or real(self, *ends))
    assert all(map(hdf5_case.same, frames, large))
    assert pages == [(i, i + 1) for i in range(10)]


def test_values_are_left_to_validation(tmp_path):
    water = Frame(species=[8, 1, 1], pos=np.eye(3), energy=np.nan, forces=np.zeros((3, 3)))
    write_hdf5([water], tmp_path / "a.h5")
    with pytest.raises(DataError, match=r"a.h5 frame 0: energy needs finite numbers; found \[nan\]|found nan"):
        validate_frames(read_frames(tmp_path / "a.h5"))


def test_without_h5py(path, monkeypatch):
    def refuse(name, *rest, **more):
        if name == "h5py":
            raise ImportError
        return real(name, *rest, **more)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(
        DataError, match=r"HDF5 files need h5py; found it not installed; pip install 'irrepnet\[data\]'"
    ):
        read_hdf5(path, "a.h5", Keys(), None)


MEMORY = """
import sys, numpy as np
from irrepnet.data import Frame, Hdf5Frames, write_hdf5
from irrepnet.data.write_hdf5 import _MOST_FRAMES
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
rng = np.random.default_rng(0)
def frames(count):
    for i in range(count // 100):
        pos = rng.normal(size=(18, 3))
        yield from [Frame(species=np.ones(18, int), pos=pos, forces=pos, id=str(i), properties={"mu": i})] * 100
path = sys.argv[1]
write_hdf5(frames(2000), path)
sum(frame.pos[0, 0] for frame in Hdf5Frames(path, "a.h5"))
start = rss()
write_hdf5(frames(20_000), path)
lazy = Hdf5Frames(path, "a.h5")
written = rss() - start
for frame in lazy: pass
for index in rng.permutation(20_000)[:1000]: lazy[int(index)]
print(written, rss() - start, lazy.path.stat().st_size / 2**20)
"""


def test_memory_stays_flat(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "a.h5")], capture_output=True, text=True, check=True
    )
    written, read, size = map(float, result.stdout.split())
    assert size > 16
    assert written < 6 and read < 10, (written, read)
