"""QM9: units and atom references pinned on methane, ammonia and water as published; exclusions, splits, faults."""

import numpy as np
import pytest
from data.sets.published import AMMONIA, COPIES, METHANE, WATER, archive, put
from hypothesis import given
from hypothesis import strategies as st

from irrepnet.data.sets import qm9
from irrepnet.data.sets.registry import read_set
from irrepnet.errors import DataError

HARTREE = 27.211386245981  # eV
KCAL = 4184 / 96485.33212331002  # eV per kcal/mol

UNCHARACTERISED = """==========================
 Molecules that failed
 a check, in 2014.
--------------------------
 Index   SMILES  InChI
 ======
     2   N  N
==========================
"""


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A data folder with an archive of three molecules, of which the second is not characterised."""
    files = {f"dsgdb9nsd_{n:06d}.xyz": text for n, text in ((1, METHANE), (3, WATER), (2, AMMONIA))}
    monkeypatch.setattr(qm9, "_ARCHIVE", put(tmp_path, qm9._ARCHIVE, archive(files)))
    monkeypatch.setattr(qm9, "_UNCHARACTERISED", put(tmp_path, qm9._UNCHARACTERISED, UNCHARACTERISED))
    monkeypatch.setattr(qm9, "_NUM_MOLECULES", 3)
    monkeypatch.setattr(qm9, "_NUM_UNCHARACTERISED", 1)
    return tmp_path


def test_energies_are_in_ev_and_say_whether_they_are_total(published):
    methane, ammonia, water = read_set("qm9/all", published)
    assert [methane.properties["u0"], ammonia.properties["u0"], water.properties["u0"]] == pytest.approx(
        [-1101.48780, -1538.14774, -2079.07785], abs=2e-4
    )
    assert methane.properties["u0"] == pytest.approx(-40.47893 * HARTREE, rel=1e-12)
    assert methane.properties["homo"] == pytest.approx(-0.3877 * HARTREE, rel=1e-12)
    assert water.properties["zpve"] == pytest.approx(0.021375 * HARTREE, rel=1e-12)
    # MoleculeNet's table, kcal/mol.
    names = ("u0_atom", "u298_atom", "h298_atom", "g298_atom")
    tabulated = {1: (-395.999595, -398.643290, -401.014647, -372.471772)}
    tabulated |= {2: (-276.861363, -278.620271, -280.399259, -259.338802)}
    for frame, row in zip((methane, ammonia), tabulated.values(), strict=True):
        assert [frame.properties[name] for name in names] == pytest.approx([KCAL * kcal for kcal in row], abs=1e-4)
    assert all(frame.energy is None for frame in (methane, ammonia, water))


def test_other_properties_keep_their_units(published):
    water = read_set("qm9/all", published)[2]
    assert water.id == "3"
    assert water.source == "qm9 gdb 3"
    assert water.species.tolist() == [8, 1, 1]
    assert water.pos[2].tolist() == [0.8717903737, 1.3007924048, 0.0006931336]
    assert {name: float(water.properties[name]) for name in ("A", "mu", "alpha", "r2", "cv")} == {
        "A": 799.58812, "mu": 1.8511, "alpha": 6.31, "r2": 19.0002, "cv": 6.002
    }  # fmt: skip
    assert water.atom_properties["mulliken"].tolist() == [-0.589706, 0.294853, 0.294853]
    assert set(water.properties) | set(water.atom_properties) == set(qm9.SET.units)


def test_what_failed_the_publishers_check_is_left_out(published):
    assert [frame.id for frame in read_set("qm9", published)] == ["1", "3"]
    assert [frame.id for frame in read_set("qm9/all", published)] == ["1", "2", "3"]
    (methane, _) = read_set("qm9/orbitals", published)
    assert set(methane.properties) == {"homo", "lumo", "gap"}


def test_the_archive_is_parsed_once(published, monkeypatch):
    first = read_set("qm9", published)
    monkeypatch.setattr(qm9, "read_members", None)
    again = read_set("qm9", published)
    for one, other in zip(first, again, strict=True):
        assert (one.pos == other.pos).all()
        assert one.properties == other.properties
    (published / "qm9" / "dsgdb9nsd.npz").write_bytes(b"PK\3\4 damaged")
    with pytest.raises(DataError, match=r"dsgdb9nsd.npz: needed a whole npz file"):
        read_set("qm9", published)


def test_what_was_parsed_from_another_archive_is_not_used(published, monkeypatch):
    read_set("qm9", published)
    files = {f"{n}.xyz": text for n, text in enumerate((METHANE, WATER.replace("-76.404702", "-76.5"), AMMONIA))}
    monkeypatch.setattr(qm9, "_ARCHIVE", put(published, qm9._ARCHIVE, archive(files)))
    assert read_set("qm9", published)[1].properties["u0"] == pytest.approx(-76.5 * HARTREE)


def test_exponents_of_the_files_are_read():
    text = WATER.replace("0.0015346341", "1.5346341*^-3").replace("1.8511", "2.1997*^-6")
    _, properties, _, rows = qm9.parse_molecule(text, "3.xyz")
    assert rows[1, 2] == pytest.approx(0.0015346341)
    assert properties[3] == 2.1997e-6


@pytest.mark.parametrize(
    ("old", "new"),
    [("gdb 3", "gdb"), ("\t6.002", ""), ("3\n", "4\n"), ("O\t-0.03", "Q\t-0.03"), ("1.8511", "nan"), ("3\n", "-1\n")],
)
def test_damaged_molecules_are_named(old, new):
    with pytest.raises(DataError, match=r"3.xyz: needed a molecule in the format of QM9; found it unreadable"):
        qm9.parse_molecule(WATER.replace(old, new, 1), "3.xyz")


@given(st.integers(0, len(METHANE) - 1), st.text(max_size=3))
def test_a_damaged_molecule_is_an_error_or_as_good_as_whole(place, text):
    try:
        _, properties, species, rows = qm9.parse_molecule(METHANE[:place] + text + METHANE[place + 1 :], "1.xyz")
    except DataError:
        return
    assert len(properties) == 15
    assert rows.shape == (len(species), 4)


def test_an_archive_without_some_molecules_is_refused(published, monkeypatch):
    monkeypatch.setattr(qm9, "_ARCHIVE", put(published, qm9._ARCHIVE, archive({"1.xyz": METHANE, "3.xyz": WATER})))
    with pytest.raises(DataError, match=r"needed the molecules 1 to 3; found 2, others"):
        read_set("qm9", published)


def test_another_list_of_exclusions_is_refused(published, monkeypatch):
    monkeypatch.setattr(qm9, "_UNCHARACTERISED", put(published, qm9._UNCHARACTERISED, "1 C\n2 N\n"))
    with pytest.raises(DataError, match="needed 1 numbers of molecules; found 2"):
        read_set("qm9", published)


def test_the_usual_split_has_the_usual_sizes():
    numbers = np.arange(130_831) * 2
    parts = {name: qm9._split(numbers, name) for name in ("train", "valid", "test")}
    assert [len(part) for part in parts.values()] == [100_000, 17_748, 13_083]
    assert len(np.unique(np.concatenate(list(parts.values())))) == 130_831
    order = np.random.RandomState(0).permutation(130_831)
    assert (parts["train"] == 2 * order[:100_000]).all()


@pytest.mark.skipif(not (COPIES / "qm9").is_dir(), reason=f"{COPIES / 'qm9'} is not on this machine")
def test_copies_agree_with_the_published_molecules():
    frames = read_set("qm9", COPIES)
    assert len(frames) == 18_802
    methane, last = frames[0], frames[-1]
    _, _, species, rows = qm9.parse_molecule(METHANE, "1.xyz")
    assert (methane.id, last.id) == ("1", "133884")
    assert methane.species.tolist() == species.tolist()
    assert methane.pos == pytest.approx(rows[:, :3], abs=2e-7)  # float32
    assert methane.properties["u0"] == pytest.approx(-1101.4878, abs=1e-4)
    assert methane.properties["u0_atom"] == pytest.approx(-395.999595 * KCAL, abs=1e-4)
    assert last.properties["cv"] == 24.796
    assert last.properties["homo"] == pytest.approx(-0.2122 * HARTREE)
    bound = np.array([frame.properties["u0_atom"] for frame in frames])
    assert (bound < -5).all()
