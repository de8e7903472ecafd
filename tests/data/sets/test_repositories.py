"""Sets in GitHub repositories: DeePMD water and GeTe, 3BPA and acetylacetone, in their published form."""

import numpy as np
import pytest
from data.sets.published import COPIES, put

from irrepnet.data import force_rms, validate_frames
from irrepnet.data.sets import botnet, deepmd_kit
from irrepnet.data.sets.registry import SETS, read_set
from irrepnet.errors import DataError


def needs(folder):
    return pytest.mark.skipif(not (COPIES / folder).is_dir(), reason=f"{COPIES / folder} is not on this machine")


def put_arrays(data_dir, files, num_frames, num_atoms, energy):
    """Write box, coord, energy and force of systems as npy or raw, numbering frames by their energy."""
    rng = np.random.default_rng(0)
    for file in files:
        path = data_dir / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        width = {"box": 9, "energy": 1}.get(path.stem, 3 * num_atoms)
        values = rng.normal(size=(num_frames, width)).astype(np.float32)
        values = {"box": np.tile(12.0 * np.eye(3).ravel(), (num_frames, 1))}.get(path.stem, values)
        if path.stem == "energy":
            values = (energy + np.arange(num_frames)).astype(np.float32)
        np.savetxt(path, values) if path.suffix == ".raw" else np.save(path, values)


def test_water_is_read_from_the_folders_of_the_repository(tmp_path):
    for member in ("train", "valid"):
        put_arrays(tmp_path, SETS["water_dft"].members[member], 80, 192, -29944.0)
    frames = read_set("water_dft/train", tmp_path)
    assert len(frames) == 320
    assert (frames[0].species[:64] == 8).all() and (frames[0].species[64:] == 1).all()
    assert [frames[place].id for place in (0, 80, 239, 240)] == ["data_0/0", "data_1/0", "data_1/159", "data_2/0"]
    assert [frames[place].energy for place in (79, 80)] == [-29865.0, -29944.0]
    assert frames[0].pbc.all() and frames[0].cell[0, 0] == 12.0
    assert [frame.id for frame in read_set("water_dft/valid", tmp_path)][-1] == "data_3/79"


def test_another_number_of_structures_is_refused(tmp_path):
    put_arrays(tmp_path, SETS["water_dft"].members["valid"], 79, 192, -29944.0)
    with pytest.raises(DataError, match="set:water_dft/valid: needed the 80 structures that were published; found 79"):
        read_set("water_dft/valid", tmp_path)


def test_gete_is_read_from_texts(tmp_path, monkeypatch):
    monkeypatch.setattr(deepmd_kit, "_GETE_STRUCTURES", 70)
    put_arrays(tmp_path, SETS["gete"].files, 2, 64, -10532.5)
    frames = read_set("gete", tmp_path)
    assert len({frame.group for frame in frames}) == 35
    assert frames[-1].id == "data.037/1"
    assert (frames[0].species == np.repeat([32, 52], 32)).all()
    assert frames[1].energy == pytest.approx(-10531.5)


@needs("water_deepmd")
def test_copies_of_water():
    frames = read_set("water_dft/train", COPIES)
    assert len(frames) == len({frame.id for frame in frames}) == 320
    assert [frame.group for frame in frames[::80]] == ["data_0", "data_1", "data_1", "data_2"]
    assert (frames[80].id, frames[160].id) == ("data_1/0", "data_1/80")
    assert frames[0].energy == -29943.90625
    assert force_rms(frames) == pytest.approx(0.8133, abs=1e-4)


@needs("gete")
def test_copies_of_gete():
    frames = read_set("gete", COPIES)
    assert len(frames) == 2000
    assert len({frame.group for frame in frames}) == 26
    assert frames[0].energy == pytest.approx(-10532.921759774834)
    assert force_rms(frames) == pytest.approx(1.06, abs=0.01)


# The first structure of train_600K.xyz, cut to two atoms, and isolated_atoms.xyz.
ACAC = """2
Lattice="50.0 0.0 0.0 0.0 50.0 0.0 0.0 0.0 50.0" Properties=species:S:1:pos:R:3:forces:R:3 dihedral_angle=5.728198750189656 config_type=600K_MD energy=-9390.791202754173 pbc="F F F"
C       -0.95565085      -0.43663073       0.52263067      -0.12091059      -1.67741573       2.16469378
O        1.56608505       1.12298993       0.64381158      -1.25819590      -0.38874545       1.77254939
"""  # noqa: E501
ATOMS = """1
Properties=species:S:1:pos:R:3 config_type=isolated_atom energy=-13.568422178253735 pbc="F F F"
H        0.00000000       0.00000000       0.00000000
1
Properties=species:S:1:pos:R:3 config_type=isolated_atom energy=-1026.8538996116154 pbc="F F F"
C        0.00000000       0.00000000       0.00000000
1
Properties=species:S:1:pos:R:3 config_type=isolated_atom energy=-2037.796869412825 pbc="F F F"
O        0.00000000       0.00000000       0.00000000
"""


def test_xyz_files_of_molecules_lose_the_box_that_is_no_period(tmp_path, monkeypatch):
    put(tmp_path, SETS["acac"].members["train_600K"][0], ACAC)
    monkeypatch.setitem(botnet._ACAC, "train_600K", ("train_600K.xyz", 1))
    (frame,) = read_set("acac/train_600K", tmp_path)
    assert frame.cell is None and not frame.pbc.any()
    assert frame.energy == -9390.791202754173
    assert frame.forces[1].tolist() == [-1.25819590, -0.38874545, 1.77254939]
    assert (frame.id, frame.group) == ("train_600K/0", "train_600K")


def test_isolated_atoms_are_structures_of_one_atom(tmp_path):
    put(tmp_path, SETS["acac"].members["isolated_atoms"][0], ATOMS)
    frames = read_set("acac/isolated_atoms", tmp_path)
    assert {int(frame.species[0]): frame.energy for frame in frames} == {
        1: -13.568422178253735, 6: -1026.8538996116154, 8: -2037.796869412825
    }  # fmt: skip


@needs("threebpa")
def test_copies_of_molecules():
    for name, energy in (("threebpa/train_300K", -17660.461737861464), ("acac/train_600K", -9390.791202754173)):
        frames = read_set(name, COPIES)
        assert len(frames) == 500
        assert frames[0].energy == energy
        assert validate_frames(frames, require=("energy", "forces")) == []
    atoms = {int(frame.species[0]): frame.energy for frame in read_set("threebpa/isolated_atoms", COPIES)}
    assert atoms[1] == -13.587222780835477 and len(atoms) == 4


def test_damaged_energies_of_atoms_are_named(tmp_path):
    (tmp_path / "acac").mkdir()
    (tmp_path / "acac" / "isolated_atoms_eV.json").write_text("[1, 2]")
    with pytest.raises(DataError, match=r"isolated_atoms_eV.json: needed energies of atoms by symbol"):
        read_set("acac/isolated_atoms", tmp_path)
