import sqlite3
from contextlib import closing

import numpy as np
import pytest

from irrepnet.data import Keys, Units, read_frames
from irrepnet.errors import DataError

pytest.importorskip("ase", reason="ase is not installed")


@pytest.fixture(params=["db", "json"])
def database(request, tmp_path):
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.db import connect

    path = tmp_path / f"water.{request.param}"
    with connect(path) as rows:
        for number in range(3):
            atoms = Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], cell=[5, 6, 7], pbc=[True, True, False])
            atoms.calc = SinglePointCalculator(
                atoms, energy=-14.0 - number, forces=np.full((3, 3), number), stress=[1, 2, 3, 4, 5, 6]
            )
            atoms.set_array("q", np.array([-0.8, 0.4, 0.4]))
            rows.write(atoms, key_value_pairs={"gap": 7.5, "run": f"r{number}"}, data={"mu": np.arange(3.0)})
    return path


def test_reads_what_is_there(database):
    keys = Keys(group="run", properties={"gap": "gap", "dipole": "mu"})
    frames = read_frames(database, keys=keys)
    assert [frame.energy for frame in frames] == [-14, -15, -16]
    frame = frames[1]
    assert frame.species.tolist() == [8, 1, 1]
    assert frame.forces.tolist() == [[1.0] * 3] * 3
    assert frame.stress.tolist() == [[1, 6, 5], [6, 2, 4], [5, 4, 3]]
    assert frame.properties["dipole"].tolist() == [0, 1, 2]
    assert float(frame.properties["gap"]) == 7.5
    assert (frame.id, frame.group, frame.pbc.tolist()) == ("2", "r1", [True, True, False])
    assert read_frames(database, units=Units(energy="Hartree"))[0].energy == pytest.approx(-14 * 27.211386)


def test_what_is_missing_is_named(database):
    with pytest.raises(DataError, match=r"row 1: needed key 'dipole' \(keys.properties\['dipole'\]\); found "):
        read_frames(database, keys=Keys(properties={"dipole": "dipole"}))
    with pytest.raises(DataError, match="ase has its own names for positions, species and cell"):
        read_frames(database, keys=Keys(pos="positions"))
    with pytest.raises(DataError, match=r"ase keeps stresses as xx yy zz yz xz xy; found units\.voigt"):
        read_frames(database, units=Units(voigt="xx yy zz xy yz xz"))
    database.write_bytes(database.read_bytes()[: database.stat().st_size // 2])
    with pytest.raises(DataError, match="needed an ASE database; found it unreadable"):
        read_frames(database)


def one_row(path, *, metadata=None, energy=None, **row):
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.db import connect

    with connect(path) as rows:
        atoms = Atoms("H2", [[0, 0, 0], [0.74, 0, 0]])
        if energy is not None:
            atoms.calc = SinglePointCalculator(atoms, energy=energy)
        rows.write(atoms, **row)
        if metadata:
            rows.metadata = metadata
    return path


KCAL = 0.0433641


@pytest.mark.parametrize("suffix", ["db", "json"])
def test_units_of_schnetpack_are_used(tmp_path, suffix):
    metadata = {
        "_property_unit_dict": {"energy": "kcal/mol", "forces": "kcal/mol/Ang", "mu": "Debye"},
        "_distance_unit": "Bohr",
        "atomrefs": {},
    }
    data = {"energy": np.array([-2.0]), "forces": np.ones((2, 3)), "mu": np.zeros(3)}
    path = one_row(tmp_path / f"a.{suffix}", metadata=metadata, data=data)
    (frame,) = read_frames(path, keys=Keys(properties={"mu": "mu"}))
    assert frame.energy == pytest.approx(-2 * KCAL, rel=1e-5)
    assert frame.pos[1, 0] == pytest.approx(0.74 * 0.529177, rel=1e-5)
    assert frame.forces == pytest.approx(np.full((2, 3), KCAL), rel=1e-5)
    with pytest.raises(DataError, match="energy unit was declared 'eV'; found 'kcal/mol' in the file"):
        read_frames(path, units=Units(length="bohr"))


@pytest.mark.parametrize("place", ["key_value_pairs", "data", "metadata"])
def test_units_that_the_file_says_are_used(tmp_path, place):
    path = one_row(tmp_path / "a.db", energy=-2.0, **{place: {"energy_unit": "kcal/mol"}})
    assert read_frames(path)[0].energy == pytest.approx(-2 * KCAL, rel=1e-5)
    one_row(path, energy=-2.0, key_value_pairs={"energy_unit": "Hartree"})
    with pytest.raises(DataError, match=r"row 2: energy unit was .* frame 0 as 'kcal/mol'; found 'Hartree'"):
        read_frames(path)
    slip = one_row(tmp_path / "slip.db", energy=-2.0, **{place: {"unit_energy": "kcal/mol"}})
    with pytest.raises(DataError, match=r"units need to be called energy_unit, .*; found 'unit_energy'"):
        read_frames(slip)


def test_two_values_of_one_label_have_to_agree(tmp_path):
    assert read_frames(one_row(tmp_path / "same.db", energy=-2.0, data={"energy": -2.0}))[0].energy == -2
    path = one_row(tmp_path / "a.db", energy=-2.0, data={"energy": -3.0})
    with pytest.raises(DataError, match=r"row 1: energy needs to be the same .*; found -2.0 and -3.0; remove one"):
        read_frames(path)


@pytest.mark.parametrize("suffix", ["db", "json"])
def test_reading_leaves_the_file_as_it_is(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.touch()
    with pytest.raises(DataError, match="needed an ASE database; found an empty file"):
        read_frames(path)
    assert path.read_bytes() == b""


def test_other_files_of_sqlite_are_not_touched(tmp_path):
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE mine (one)")
        other.commit()
    before = path.read_bytes()
    with pytest.raises(DataError, match="needed an ASE database; found it unreadable"):
        read_frames(path)
    assert path.read_bytes() == before
    path.write_bytes(b"no database at all")
    with pytest.raises(DataError, match="a file of SQLite; found it to begin with b'no database"):
        read_frames(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_database_that_cannot_be_written_is_read(tmp_path):
    path = one_row(tmp_path / "a b#c.db", energy=-2.0)
    path.chmod(0o444)
    assert read_frames(path)[0].energy == -2
