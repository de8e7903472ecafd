import numpy as np
import pytest

from irrepnet.data import Keys, Units, read_frames
from irrepnet.errors import DataError, ShapeError

SPECIES = [8, 1, 1]


def arrays(num_frames=4, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "coord": np.tile([0, 0, 0, 0.96, 0, 0, -0.24, 0.93, 0], (num_frames, 1)) + rng.normal(0, 0.02, (num_frames, 9)),
        "force": rng.normal(size=(num_frames, 9)),
        "energy": rng.normal(-468, 0.1, num_frames),
        "box": np.tile(5 * np.eye(3).ravel(), (num_frames, 1)),
        "virial": np.tile(2.5 * np.eye(3).ravel(), (num_frames, 1)),
        "atomic_dipole": rng.normal(size=(num_frames, 9)),
        "polarizability": rng.normal(size=(num_frames, 9)),
    }


@pytest.fixture
def save(tmp_path):
    def save(folder="water", sets=None, text=False, types="0\n1\n1\n", elements="O\nH\n", **more):
        system = tmp_path / folder
        system.mkdir(parents=True)
        (system / "type.raw").write_text(types)
        if elements:
            (system / "type_map.raw").write_text(elements)
        for name, content in {"set.000": arrays(), **(sets or {})}.items():
            place = system if text else system / name
            place.mkdir(exist_ok=True)
            for key, array in {**content, **more}.items():
                if array is not None:
                    np.savetxt(place / f"{key}.raw", array) if text else np.save(place / f"{key}.npy", array)
        return system

    return save


@pytest.mark.parametrize("text", [False, True])
def test_arrays_and_texts_read_alike(save, text):
    keys = Keys(atom_properties={"dipole": "atomic_dipole"}, properties={"alpha": "polarizability"})
    frames, wanted = read_frames(save(text=text), keys=keys), arrays()
    assert [frame.energy for frame in frames] == pytest.approx(wanted["energy"].tolist())
    for index, frame in enumerate(frames):
        assert frame.species.tolist() == SPECIES
        assert frame.pos == pytest.approx(wanted["coord"][index].reshape(3, 3))
        assert frame.forces == pytest.approx(wanted["force"][index].reshape(3, 3))
        assert frame.stress == pytest.approx(-2.5 / 125 * np.eye(3))
        assert frame.atom_properties["dipole"] == pytest.approx(wanted["atomic_dipole"][index].reshape(3, 3))
        assert frame.properties["alpha"] == pytest.approx(wanted["polarizability"][index].reshape(3, 3))
        assert (frame.group, frame.pbc.all()) == ("water", True)
        assert frame.source.endswith(f"water frame {index}")


def test_sets_are_read_in_order_and_systems_are_groups(save, tmp_path):
    save("one/a", sets={"set.001": arrays(2, seed=1)})
    save("one/b")
    frames = read_frames(tmp_path / "one")
    assert [frame.group for frame in frames] == ["a"] * 6 + ["b"] * 4
    assert [frame.energy for frame in frames[4:6]] == pytest.approx(arrays(2, seed=1)["energy"].tolist())


def test_open_systems_and_padded_types(save):
    types = np.array([[0, 1, 1], [1, 1, -1], [0, 1, 1], [0, 0, 0]])
    system = save(box=None, virial=None, real_atom_types=types)
    with pytest.raises(DataError, match=r"needed box; found .*; an open system has a file called nopbc"):
        read_frames(system)
    (system / "nopbc").touch()
    frames = read_frames(system, keys=Keys(atom_properties={"dipole": "atomic_dipole"}))
    assert [frame.species.tolist() for frame in frames] == [[8, 1, 1], [1, 1], [8, 1, 1], [8, 8, 8]]
    assert frames[1].atom_properties["dipole"].shape == (2, 3)
    assert frames[1].cell is None


def test_units_may_be_declared(save):
    (frame, *_) = read_frames(save(), units=Units(energy="Hartree", length="bohr"))
    assert frame.energy == pytest.approx(arrays()["energy"][0] * 27.211386)
    assert frame.cell[0, 0] == pytest.approx(5 * 0.529177, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"coord": None}, DataError, "water/set.000: needed coord; found "),
        ({"force": np.zeros((4, 6))}, ShapeError, r"force needs 4 frames of 9 numbers; found shape \[4, 6\]"),
        ({"energy": np.zeros(3)}, ShapeError, "energy needs 4 frames of 1 numbers"),
        ({"energy": None, "enrgy": np.zeros(4)}, DataError, "needed key 'energy'; found .* 'enrgy' is meant"),
        ({"types": "0\n1\n2\n"}, DataError, "types need to be 0 to 1, as type_map.raw has; found 2"),
        ({"types": "0\n1\nH\n"}, DataError, "type.raw needs rows of numbers; found it unreadable"),
        ({"elements": ""}, DataError, "needed type_map.raw, the symbols of types 0, 1"),
        ({"elements": "O\nh\n"}, DataError, "type_map.raw needs chemical symbols; element: needed .* found 'h'"),
        ({"coord": np.zeros((4, 9), dtype=bool)}, DataError, "coord.npy needs an array of numbers and nothing else"),
        ({"sets": {"set.001": {"coord": np.zeros((1, 9))}}}, DataError, "the same files in every set"),
    ],
)  # fmt: skip
def test_faults_are_named(save, changes, error, match):
    system = save(**changes)
    with pytest.raises(error, match=match):
        read_frames(system)


def test_damaged_and_missing_files(save, tmp_path):
    system = save()
    file = system / "set.000" / "force.npy"
    whole = file.read_bytes()
    for data in (whole[:-1], whole[:20], b"", whole + b"\0"):
        file.write_bytes(data)
        with pytest.raises(DataError, match=r"water: force.npy needs an? (whole npy array|array of numbers)"):
            read_frames(system)
    with pytest.raises(DataError, match=r"needed a DeePMD folder with type\.raw; found none in it"):
        read_frames(tmp_path / "water" / "set.000", format="deepmd")
    with pytest.raises(DataError, match="needed a folder of DeePMD data; found nothing"):
        read_frames(tmp_path / "nowhere", format="deepmd")
    with pytest.raises(DataError, match=r"have no such thing; found keys.stress"):
        read_frames(system, keys=Keys(stress="stress"))


def test_arrays_beside_the_types_are_one_set(save):
    system = save()
    for file in (system / "set.000").iterdir():
        file.rename(system / file.name)
    (system / "set.000").rmdir()
    assert [frame.energy for frame in read_frames(system)] == pytest.approx(arrays()["energy"].tolist())


@pytest.mark.parametrize("name", ["set.000.bak", "set.test", "set."])
def test_folders_that_are_no_sets_are_named(save, name):
    system = save(sets={name: arrays()})
    with pytest.raises(DataError, match=f"needed folders of sets called set.000, .*; found {name}; rename it"):
        read_frames(system)


def test_axes_in_another_order_are_refused(save):
    right = arrays()["coord"].reshape(4, 3, 3)
    assert read_frames(save("right", coord=right))[1].pos == pytest.approx(right[1])
    four = np.zeros((4, 3, 4))
    with pytest.raises(ShapeError, match=r"coord needs 4 frames of 12 numbers; found shape \[4, 3, 4\]"):
        read_frames(save("wrong", coord=four, types="0\n1\n1\n1\n"))
