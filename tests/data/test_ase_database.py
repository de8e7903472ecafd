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
