import sys

import numpy as np
import pytest

from irrepnet.data import Keys, Units, read_frames, validate_frames
from irrepnet.errors import DataError, ShapeError

pytest.importorskip("ase", reason="ase is not installed")

FRAME = """3
Lattice="5.0 0.0 0.0 0.0 6.0 0.0 0.0 0.0 7.0" Properties=species:S:1:pos:R:3:forces:R:3 energy={} pbc="T T F" group=g{}
O 0.00 0.00 0.00 0.1 0.2 0.3
H 0.96 0.00 0.00 0.0 0.5 0.0
H -0.24 0.93 0.00 -0.1 -0.7 -0.3
"""
GOOD = "".join(FRAME.format(energy, energy) for energy in (-3, -2, -1))


@pytest.fixture
def save(tmp_path):
    def save(text, name="water.xyz"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return save


def test_reads_what_is_there(save):
    frames = read_frames(save(GOOD), units=Units())
    assert [frame.energy for frame in frames] == [-3, -2, -1]
    frame = frames[1]
    assert frame.species.tolist() == [8, 1, 1]
    assert frame.pos[2].tolist() == [-0.24, 0.93, 0.0]
    assert frame.forces[0].tolist() == [0.1, 0.2, 0.3]
    assert np.diag(frame.cell).tolist() == [5, 6, 7]
    assert frame.pbc.tolist() == [True, True, False]
    assert frame.group == "g-2"
    assert frame.stress is None
    assert frame.source.endswith("water.xyz frame 1")


def test_units_from_the_file_or_declared(save):
    text = GOOD.replace("energy=-3", "energy=-3 energy_unit=kcal/mol length_unit=bohr")
    frame = read_frames(save(text))[0]
    assert frame.energy == pytest.approx(-3 * 0.0433641, rel=1e-6)
    assert frame.pos[1, 0] == pytest.approx(0.96 * 0.529177, rel=1e-6)
    assert frame.cell[0, 0] == pytest.approx(5 * 0.529177, rel=1e-6)
    with pytest.raises(DataError, match=r"water.xyz: needed the units of energy and length; found none in the file"):
        read_frames(save(GOOD))
    with pytest.raises(DataError, match="declared 'eV'; found 'kcal/mol' in the file"):
        read_frames(save(text), units=Units(length="bohr"))


def test_units_are_the_same_in_every_frame(save):
    text = GOOD.replace("energy=-3", "energy=-3 energy_unit=Hartree length_unit=bohr")
    assert len(read_frames(save(text.replace("energy=-2", "energy=-2 energy_unit=Ha")))) == 3
    other = text.replace("energy=-2", "energy=-2 energy_unit=kcal/mol")
    with pytest.raises(DataError, match=r"frame 1: energy unit was .* frame 0 as 'Hartree'; found 'kcal/mol' in the"):
        read_frames(save(other))
    late = GOOD.replace("energy=-1", "energy=-1 energy_unit=kcal/mol")
    with pytest.raises(DataError, match=r"frame 2: energy unit was declared .* 'eV'; found 'kcal/mol' in the file"):
        read_frames(save(late), units=Units())
    slip = GOOD.replace("energy=-1", "energy=-1 energy_units=kcal/mol")
    with pytest.raises(DataError, match=r"frame 2: units need .*; found 'energy_units'\. Did you mean 'energy_unit'\?"):
        read_frames(save(slip), units=Units())


def test_declared_keys(save):
    text = GOOD.replace("energy=", "REF_energy=").replace("forces:", "REF_forces:").replace("group=", "config=")
    keys = Keys(energy="REF_energy", forces="REF_forces", group="config")
    frame = read_frames(save(text), keys=keys, units=Units())[2]
    assert (frame.energy, frame.forces[0, 2], frame.group) == (-1, 0.3, "g-1")
    with pytest.raises(DataError, match=r"frame 0: needed energy; found .*REF_energy.*; set keys.energy"):
        validate_frames(read_frames(save(text), units=Units()))
    with pytest.raises(DataError, match=r"frame 0: needed key 'dft_forces' \(keys.forces\); found .*REF_forces"):
        read_frames(save(text), keys=Keys(forces="dft_forces"), units=Units())
    with pytest.raises(DataError, match="ase has its own names for positions, species and cell; found keys"):
        read_frames(save(GOOD), keys=Keys(pos="R"), units=Units())


def test_stress_has_the_sign_of_the_energy_slope(save, tmp_path):
    from ase import Atoms
    from ase.calculators.lj import LennardJones
    from ase.io import write

    def crystal(strain):
        atoms = Atoms("Ar4", [[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0.1]], cell=4 * np.eye(3), pbc=True)
        atoms.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
        atoms.calc = LennardJones(sigma=2.5, epsilon=0.1, rc=6.0, smooth=True)
        return atoms

    atoms = crystal(np.zeros((3, 3)))
    atoms.get_stress()
    write(tmp_path / "argon.xyz", atoms, format="extxyz")
    stress = read_frames(tmp_path / "argon.xyz", units=Units())[0].stress
    for row, column in ((0, 0), (1, 1), (1, 2), (0, 2)):
        strain = np.zeros((3, 3))
        strain[row, column] = strain[column, row] = 1e-5
        slope = (crystal(strain).get_potential_energy() - crystal(-strain).get_potential_energy()) / 2e-5
        components = stress[row, column] * (1 if row == column else 2)
        assert components == pytest.approx(slope / atoms.get_volume(), abs=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("Lattice", "Lxttice", "frame 1: needed Lattice, Properties or pbc; found 'Lxttice'"),
        ("Lattice", "lattice", "frame 1: needed Lattice, Properties or pbc; found 'lattice'"),
        ("pbc", "pbz", "frame 1: needed Lattice, Properties or pbc; found 'pbz'"),
        ("Properties", "Propertiez", r"frame 1: line 8 needs 4 columns \(species:S:1:pos:R:3\); found 7"),
        ("energy", "enxrgy", r"frame 1: needed key 'energy'; found .*If 'enxrgy' is meant, set keys.energy"),
        ("forces", "forcez", r"frame 1: needed key 'forces'; found .*If 'forcez' is meant, set keys.forces"),
        ("H 0.96 0.00", "H 0.96 0.00 0.00", "frame 1: line 9 needs 7 columns .* found 8"),
        ("H 0.96 0.00", "H 0.96", "frame 1: line 9 needs 7 columns .* found 6"),
        ("H 0.96", "Q 0.96", "water.xyz: needed an extended XYZ file; found it unreadable"),
        ("H 0.96", "H 0.9x6", "water.xyz: needed an extended XYZ file; found it unreadable"),
        ("3\nL", "2\nL", "frame 2: line 10 needs the number of atoms; found 'H -0.24"),
        ("3\nL", "\n3\nL", "frame 1: line 6 needs the number of atoms; found ''"),
        ("3\nL", "9\nL", "frame 1: needed 9 atoms; found the end of the file after 8"),
    ],
)
def test_a_damaged_second_frame_is_named(save, old, new, match):
    first, second, third = (FRAME.format(energy, energy) for energy in (-3, -2, -1))
    assert old in second
    with pytest.raises(DataError, match=match):
        read_frames(save(first + second.replace(old, new, 1) + third), units=Units())


def test_empty_one_frame_and_no_label_files(save):
    assert read_frames(save(""), units=Units()) == []
    assert len(read_frames(save(FRAME.format(-3, 1)), units=Units())) == 1
    (bare,) = read_frames(save("1\n\nH 0 0 0\n"), units=Units())
    assert (bare.energy, bare.forces, bare.cell, bare.group) == (None, None, None, None)
    assert not bare.pbc.any()
    assert validate_frames([bare], require=[]) == []


def test_labels_of_the_wrong_shape_or_kind(save):
    with pytest.raises(ShapeError, match=r"frame 0: forces needs shape \[3, 3\]; found \[3, 2\]"):
        text = FRAME.replace("forces:R:3", "forces:R:2:rest:R:1").format(-3, 1)
        read_frames(save(text), units=Units())
    with pytest.raises(DataError, match="frame 0: energy needs numbers; found 'low'"):
        read_frames(save(FRAME.format("low", 1)), units=Units())
    with pytest.raises(DataError, match=r"frame 0: energy needs finite numbers; found nan"):
        validate_frames(read_frames(save(FRAME.format("nan", 1)), units=Units()))


def test_without_ase(save, monkeypatch):
    monkeypatch.setitem(sys.modules, "ase.io", None)
    with pytest.raises(
        DataError, match=r"reading extxyz needs ase; found it not installed; pip install 'irrepnet\[md\]'"
    ):
        read_frames(save(GOOD), units=Units())


def test_fuzzed_files_lose_nothing_in_silence(save):
    rng = np.random.default_rng(0)
    letters = 'abcXYZ019-. "=:\n'
    refused = read = 0
    for _ in range(300):
        place, text = int(rng.integers(len(GOOD))), list(GOOD)
        text[place] = ["", letters[rng.integers(len(letters))], text[place] * 2][rng.integers(3)]
        try:
            frames = read_frames(save("".join(text)), units=Units())
            validate_frames(frames)
        except (DataError, ShapeError):
            refused += 1
            continue
        read += 1
        assert [len(frame) for frame in frames] == [3, 3, 3], "".join(text)
        assert all(frame.cell is not None for frame in frames), "".join(text)
        assert all(frame.forces is not None and frame.energy is not None for frame in frames)
    assert min(refused, read) > 30


LATTICE = 'Lattice="5 0 0 0 6 0 0 0 7"'
ONE = "1\nProperties=species:S:1:pos:R:3 {}\nH 0 0 0\n"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("t f f", [True, False, False]),
        ("f f f", [False] * 3),
        ("true FALSE True", [True, False, True]),
        ("1 1 0", [True, True, False]),
        ("F,T,F", [False, True, False]),
        ("F", [False] * 3),
        ("t", [True] * 3),
    ],
)
def test_periods_are_what_the_file_says(save, text, wanted):
    (frame,) = read_frames(save(ONE.format(f'{LATTICE} pbc="{text}"')), units=Units())
    assert frame.pbc.tolist() == wanted


@pytest.mark.parametrize("text", ["FFF", "no no no", "none", "T T", "2 0 0", "T T F F", "0.0 0 0"])
def test_other_texts_are_no_periods(save, text):
    with pytest.raises(DataError, match="frame 0: pbc needs one or three of T, F, True, False, 1, 0; found"):
        read_frames(save(ONE.format(f'{LATTICE} pbc="{text}"')), units=Units())
    with pytest.raises(DataError, match="needed Lattice, Properties or pbc; found 'PBC'"):
        read_frames(save(ONE.format(f'{LATTICE} PBC="{text}"')), units=Units())


@pytest.mark.parametrize("text", ["12_3", "1_23", "007", "1e5", "T", "false", "1_1", "11", "0x1", "-0", "nan"])
def test_ids_and_groups_stay_as_they_are_written(save, text):
    (frame,) = read_frames(save(ONE.format(f"id={text} group={text}")), units=Units())
    assert (frame.id, frame.group) == (text, text)
    keys = Keys(id="name", group="run")
    (frame,) = read_frames(save(ONE.format(f"name='{text}' run={text}")), units=Units(), keys=keys)
    assert (frame.id, frame.group) == (text, text)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (ONE.format("energy=1_0"), "frame 0: energy needs numbers; found '1_0'"),
        (ONE.format('Lattice="1_0 0 0 0 6 0 0 0 7"'), "frame 0: Lattice needs numbers; found '1_0 0"),
        (ONE.format("energy=1 energy=2"), "frame 0: needed 'energy' once; found '1' and '2'"),
        (ONE.format('config="" energy=2'), 'frame 0: needed entries such as name=value; found \'config=""'),
        (ONE.format("energy=1").replace("H 0 0", "H 0 1_0"), "frame 0: line 3 needs numbers; found '1_0'"),
        ("1\nProperties=species:S:1:pos:R:3:on:L:1\nH 0 0 0 1\n", "line 3 needs T, F, True, False; found '1'"),
    ],
)
def test_what_would_be_read_as_something_else_is_refused(save, text, match):
    with pytest.raises(DataError, match=match):
        read_frames(save(text), units=Units())


def test_what_is_not_read_may_have_any_form(save):
    assert read_frames(save(ONE.format("energy=1 config=1_0 unit_cell=conventional")), units=Units())[0].energy == 1


def test_a_stress_keeps_its_nine_numbers(save):
    (frame,) = read_frames(save(ONE.format(f'{LATTICE} stress="1 2 3 4 5 6 7 8 9"')), units=Units(stress="GPa"))
    assert frame.stress * 160.2176634 == pytest.approx(np.arange(1.0, 10).reshape(3, 3).T)


def test_a_mark_of_the_byte_order_is_no_text(save, tmp_path):
    path = tmp_path / "bom.xyz"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert len(read_frames(path, units=Units())) == 3


def test_a_property_of_some_frames_is_unknown_in_others(save):
    keys = Keys(properties={"gap": "gap"}, atom_properties={"q": "charges_dft"})
    full = "1\nProperties=species:S:1:pos:R:3:charges_dft:R:1 gap=2\nH 0 0 0 0.5\n"
    one, other = read_frames(save(full + ONE.format("")), units=Units(), keys=keys)
    assert one.properties["gap"] == 2
    assert one.atom_properties["q"].tolist() == [0.5]
    assert other.properties == other.atom_properties == {}
    with pytest.raises(DataError, match=r"frame 1: needed key 'gap' .*Did you mean 'gapp'"):
        read_frames(save(full + ONE.format("gapp=3")), units=Units(), keys=keys)
