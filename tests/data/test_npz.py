import io
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from irrepnet.data import Keys, Units, read_frames, validate_frames
from irrepnet.errors import DataError, ShapeError

WATER = np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
UNITS = {"energy_unit": "eV", "length_unit": "angstrom"}


def arrays(count=2):
    """A good file of water molecules."""
    rng = np.random.default_rng(0)
    return {
        "species": np.array([8, 1, 1]), "pos": WATER + rng.normal(0, 0.01, (count, 3, 3)), "cell": 5 * np.eye(3),
        "energy": np.arange(count) - 2056.0, "forces": rng.normal(0, 1, (count, 3, 3)),
        "group": np.array(["a", "b"] * count)[:count], **UNITS,
    }  # fmt: skip


@pytest.fixture
def save(tmp_path):
    def save(name="water.npz", without=(), **changes):
        path = tmp_path / name
        np.savez(path, **{key: value for key, value in {**arrays(), **changes}.items() if key not in without})
        return path

    return save


def test_reads_what_was_written(save):
    one, two = read_frames(save())
    expected = arrays()
    assert one.species.tolist() == [8, 1, 1]
    assert two.pos == pytest.approx(expected["pos"][1], abs=0)
    assert two.forces == pytest.approx(expected["forces"][1], abs=0)
    assert (one.energy, two.energy) == (-2056.0, -2055.0)
    assert (one.group, two.group) == ("a", "b")
    assert one.cell == pytest.approx(5 * np.eye(3))
    assert one.pbc.all()  # there is a cell and nothing says otherwise
    assert one.stress is None
    assert two.source.endswith("water.npz frame 1")
    assert validate_frames([one, two]) == []


def test_units_of_the_file_are_used(save):
    units = {"energy_unit": "kcal/mol", "length_unit": "nm", "stress_unit": "GPa"}
    frame = read_frames(save(**units, stress=np.ones((2, 3, 3)), pos=arrays()["pos"] / 10, cell=0.5 * np.eye(3)))[0]
    assert frame.energy == pytest.approx(-2056 * 0.0433641, rel=1e-6)
    assert frame.pos == pytest.approx(arrays()["pos"][0])
    assert frame.cell == pytest.approx(5 * np.eye(3))
    assert frame.forces == pytest.approx(arrays()["forces"][0] * 0.00433641, rel=1e-6)
    assert frame.stress == pytest.approx(np.full((3, 3), 1 / 160.2176634))


def test_declared_units_serve_a_file_that_says_nothing(save):
    path = save(without=UNITS)
    assert read_frames(path, units=Units(energy="Hartree"))[0].energy == pytest.approx(-2056 * 27.211386, rel=1e-7)
    with pytest.raises(DataError, match=r"needed the units of energy and length; found none in the file; declare them"):
        read_frames(path)
    with pytest.raises(DataError, match=r"needed the units of length; found none"):
        read_frames(save(without=["length_unit"]))


@pytest.mark.parametrize("text", [["kcal/mol"], b"kcal/mol", [b"kcal/mol"], [["kcal/mol"]]])
def test_units_in_other_arrays_are_seen(save, text):
    assert read_frames(save(energy_unit=text))[0].energy == read_frames(save(energy_unit="kcal/mol"))[0].energy
    with pytest.raises(DataError, match="energy unit was declared 'eV'; found 'kcal/mol' in the file"):
        read_frames(save(energy_unit=text), units=Units())


@pytest.mark.parametrize(("slip", "meant"), [("force_unit", "forces_unit"), ("Energy_units", "energy_unit")])
def test_slips_in_unit_names(save, slip, meant):
    with pytest.raises(DataError, match=rf"water.npz: units need .* found '{slip}'\. Did you mean '{meant}'\? Rename"):
        read_frames(save(**{slip: "kcal/mol"}), units=Units())


def test_contradicting_and_unknown_units(save):
    match = r"water.npz: energy unit was declared 'eV'; found 'kcal/mol' in the file; declare what the file says"
    with pytest.raises(DataError, match=match):
        read_frames(save(energy_unit="kcal/mol"), units=Units())
    with pytest.raises(DataError, match="length unit was declared 'angstrom'; found 'bohr' in the file"):
        read_frames(save(length_unit="bohr"), units=Units())
    with pytest.raises(DataError, match="stress unit was declared 'by energy and length'; found 'GPa'"):
        read_frames(save(stress_unit="GPa"), units=Units())
    assert len(read_frames(save(energy_unit="Hartree"), units=Units(energy="Ha"))) == 2
    with pytest.raises(DataError, match=r"water.npz: energy unit: .* found 'kcal/mole'\. Did you mean 'kcal/mol'"):
        read_frames(save(energy_unit="kcal/mole"))


def test_declared_keys(save):
    made = arrays()
    renamed = {
        "z": made["species"],
        "R": made["pos"],
        "E": made["energy"],
        "F": made["forces"],
        "source": made["group"],
    }
    path = save(without=["species", "pos", "energy", "forces", "group"], **renamed)
    frames = read_frames(path, keys=Keys(species="z", pos="R", energy="E", forces="F", group="source"))
    assert frames[1].energy == -2055.0
    assert frames[1].group == "b"
    with pytest.raises(DataError, match=r"water.npz: needed key 'pos'; found .*E, F.* Set keys.pos"):
        read_frames(path)


def test_a_wrong_key_is_named_with_what_is_there(save):
    with pytest.raises(DataError, match=r"water.npz: needed key 'REF_forces' \(keys.forces\); found .*pos.*forces"):
        read_frames(save(), keys=Keys(forces="REF_forces"))
    with pytest.raises(DataError, match=r"needed key 'force' .*; found .*\. Did you mean 'forces'\?"):
        read_frames(save(), keys=Keys(forces="force"))
    with pytest.raises(DataError, match=r"needed key 'forces'; found .*If 'force' is meant, set keys.forces"):
        read_frames(save(without=["forces"], force=arrays()["forces"]))
    with pytest.raises(DataError, match=r"frame 0: needed forces; found .*gradient.*; set keys.forces"):
        validate_frames(read_frames(save(without=["forces"], gradient=arrays()["forces"])))


def test_no_forces_one_frame_and_no_frames(save):
    frames = read_frames(save(without=["forces"]))
    assert frames[0].forces is None
    assert validate_frames(frames, require=["energy"]) == []
    single = read_frames(save(pos=WATER, energy=np.array(-1.0), forces=np.zeros((3, 3)), group=np.array("a")))
    assert [frame.energy for frame in single] == [-1.0]
    empty = {key: value[:0] for key, value in arrays().items() if key in ("pos", "energy", "forces", "group")}
    assert read_frames(save(**empty)) == []
    with pytest.raises(DataError, match="at least one frame; found none"):
        validate_frames(read_frames(save(**empty)))


def test_shapes_that_differ_by_frame(save):
    cells = np.stack([4 * np.eye(3), 6 * np.eye(3)])
    pbc = np.array([[True, True, False], [True] * 3])
    species = np.array([[8, 1, 1], [8, 1, 9]], dtype=np.uint8)
    one, two = read_frames(save(cell=cells, pbc=pbc, species=species, energy=arrays()["energy"][:, None]))
    assert one.cell[0, 0] == 4
    assert two.cell[0, 0] == 6
    assert one.pbc.tolist() == [True, True, False]
    assert two.species.tolist() == [8, 1, 9]
    assert two.energy == -2055.0


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"pos": np.zeros((2, 2, 3))}, ShapeError, r"species needs 2 atoms in each frame; found \[3\]"),
        ({"pos": np.zeros((2, 3, 2))}, ShapeError, r"pos needs shape \[F, N, 3\] or \[N, 3\]; found \[2, 3, 2\]"),
        ({"energy": np.zeros(3)}, ShapeError, r"energy needs 2 frames of 0 dimensions each; found shape \[3\]"),
        ({"energy": np.zeros(())}, ShapeError, r"energy needs 2 frames of 0 dimensions each; found shape \[\]"),
        ({"forces": np.zeros((3, 3))}, ShapeError, r"forces needs 2 frames of 2 dimensions each; found shape \[3, 3\]"),
        ({"forces": np.zeros((2, 3, 2))}, ShapeError, r"frame 0: forces needs shape \[3, 3\]; found \[3, 2\]"),
        ({"species": np.array([8.0, 1.0, 1.0])}, DataError, r"frame 0: species needs integers .* found dtype float64"),
        ({"energy": np.array(["a", "b"])}, DataError, "frame 0: energy needs numbers; found .* of dtype <U1"),
    ],
)
def test_misfits_are_named(save, changes, error, match):
    with pytest.raises(error, match=match):
        read_frames(save(**changes))


def test_without_pbc_zero_vectors_are_no_periods(save):
    frames = read_frames(save(cell=np.stack([np.diag([5.0, 5.0, 0.0]), np.zeros((3, 3))])))
    assert frames[0].pbc.tolist() == [True, True, False]
    assert frames[1].cell is None
    assert not frames[1].pbc.any()
    with pytest.raises(DataError, match=r"frame 1: pbc \[True, True, True\] needs a cell; found None"):
        read_frames(save(cell=np.stack([5 * np.eye(3), np.zeros((3, 3))]), pbc=np.ones(3, dtype=bool)))


def test_damaged_files(save, tmp_path):
    whole = save().read_bytes()
    for name, data in {
        "cut.npz": whole[: len(whole) // 2],
        "text.npz": b"hello",
        "nothing.npz": b"",
        "flipped.npz": whole[:500] + bytes([whole[500] ^ 1]) + whole[501:],
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(
            DataError, match=f"{name}: needed a whole npz file of plain arrays; found (it unreadable|no npz file)"
        ):
            read_frames(tmp_path / name)


def test_a_pickle_is_not_opened(save, tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    with pytest.raises(DataError, match="plain arrays; found Python objects in it, which are never loaded"):
        read_frames(save(energy=np.array([Trap()], dtype=object)))
    assert not (tmp_path / "sprung").exists()


def test_fuzzed_files_are_read_whole_or_refused(save, tmp_path):
    whole, rng = save().read_bytes(), np.random.default_rng(0)
    expected = read_frames(save())
    refused = 0
    for _ in range(150):
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        (tmp_path / "fuzz.npz").write_bytes(data)
        try:
            frames = read_frames(tmp_path / "fuzz.npz")
            validate_frames(frames)
        except (DataError, ShapeError):
            refused += 1
            continue
        assert [(len(f), f.energy) for f in frames] == [(len(f), f.energy) for f in expected]
        assert all(np.array_equal(f.forces, e.forces) for f, e in zip(frames, expected, strict=True))
    assert refused > 100


def test_two_arrays_of_one_name_are_refused(tmp_path):
    path = tmp_path / "twice.npz"
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the second
        for name, array in (*arrays().items(), ("energy", np.zeros(2))):
            content = io.BytesIO()
            np.save(content, array)
            archive.writestr(f"{name}.npy", content.getvalue())
    with pytest.raises(DataError, match=r"twice.npz: needed each array once; found 'energy' 2 times"):
        read_frames(path)


@pytest.mark.parametrize("name", ["units", "unit_energy", "Units", "unit_of_energy_unit", "units_length", "unit"])
def test_units_under_another_name_are_refused(save, name):
    with pytest.raises(DataError, match=f"units need to be called energy_unit, .*; found '{name}'"):
        read_frames(save(**{name: "kcal/mol"}))
    assert read_frames(save(unit_cell="conventional"))
