"""rMD17 and MD17: units, ids, groups and the official splits."""

import io

import numpy as np
import pytest
from data.sets.published import COPIES, put

from irrepnet.data import force_rms, validate_frames
from irrepnet.data.sets import md17, rmd17
from irrepnet.data.sets.registry import read_set
from irrepnet.errors import DataError

KCAL = 4184 / 96485.33212331002  # eV per kcal/mol
HCN = np.array([1, 6, 7], dtype=np.uint8)


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def arrays_of(count):
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 3, 3)), -58_000 + rng.normal(size=count), rng.normal(size=(count, 3, 3))


@pytest.fixture
def published(tmp_path, monkeypatch):
    coords, energies, forces = arrays_of(6)
    content = npz(
        nuclear_charges=HCN, coords=coords, energies=energies, forces=forces, old_indices=np.arange(100, 106),
        old_energies=0 * energies, old_forces=0 * forces,
    )  # fmt: skip
    molecule = put(tmp_path, rmd17._molecule_file("ethanol"), content)
    split = put(tmp_path, rmd17._split_file("train_02"), "4\n0\n5\n")
    monkeypatch.setattr(rmd17, "_molecule_file", lambda name: molecule)
    monkeypatch.setattr(rmd17, "_split_file", lambda name: split)
    return tmp_path


def test_rmd17_is_in_ev_with_ids_of_md17(published):
    frames = read_set("rmd17/ethanol", published)
    coords, energies, forces = arrays_of(6)
    assert [frame.id for frame in frames] == ["100", "101", "102", "103", "104", "105"]
    assert {frame.group for frame in frames} == {"ethanol"}
    assert frames[3].energy == pytest.approx(energies[3] * KCAL, rel=1e-10)
    assert frames[3].forces == pytest.approx(forces[3] * KCAL, rel=1e-10)
    assert (frames[3].pos == coords[3]).all()
    assert frames[3].cell is None
    assert validate_frames(frames, require=("energy", "forces")) == []


def test_official_splits_are_rows_of_the_file(published):
    frames = read_set("rmd17/ethanol/train_02", published)
    assert [frame.id for frame in frames] == ["104", "100", "105"]
    assert [frame.source for frame in frames] == [f"rmd17_ethanol.npz frame {place}" for place in (4, 0, 5)]
    assert (frames[0].pos == arrays_of(6)[0][4]).all()


def test_a_split_beyond_the_file_is_refused(published, monkeypatch):
    split = put(published, rmd17._split_file("train_02"), "1\n6\n")
    monkeypatch.setattr(rmd17, "_split_file", lambda name: split)
    with pytest.raises(DataError, match=r"index_train_02.csv: needed rows 0 to 5 of rmd17_ethanol.npz; found 6"):
        read_set("rmd17/ethanol/train_02", published)


def test_md17_is_in_ev(tmp_path, monkeypatch):
    coords, energies, forces = arrays_of(2)
    content = npz(z=HCN, R=coords, E=energies[:, None], F=forces, name=np.array(b"hcn"), e_unit=np.array("kcal/mol"))
    put(tmp_path, md17._file("uracil"), content)
    with pytest.raises(DataError, match="set:md17/uracil: needed the 133770 structures that were published; found 2"):
        read_set("md17/uracil", tmp_path)
    monkeypatch.setitem(md17._MOLECULES, "uracil", ("md17_uracil", 2))
    frames = read_set("md17/uracil", tmp_path)
    assert frames[1].energy == pytest.approx(energies[1] * KCAL)
    assert frames[1].forces == pytest.approx(forces[1] * KCAL)
    assert (frames[1].id, frames[1].group) == ("1", "uracil")
    assert (tmp_path / "md17" / "md17_uracil.npz.sha256").exists()


@pytest.mark.skipif(not (COPIES / "rmd17").is_dir(), reason=f"{COPIES / 'rmd17'} is not on this machine")
@pytest.mark.parametrize(
    ("molecule", "size", "rms", "first", "last"),
    [
        ("ethanol", 9, 1.1954, (-97079.92222178938, "124158"), (-97080.29282622099, "478006")),
        ("aspirin", 21, 1.2608, (-406273.7455991767, "179251"), (-406281.0254567251, "14298")),
    ],
)
def test_copies_of_official_splits(molecule, size, rms, first, last):
    frames = read_set(f"rmd17/{molecule}/train_01", COPIES)
    assert len(frames) == len({frame.id for frame in frames}) == 1000
    assert {len(frame) for frame in frames} == {size}
    assert force_rms(frames) == pytest.approx(rms, abs=1e-3)
    for frame, (energy, name) in ((frames[0], first), (frames[-1], last)):
        assert frame.energy == pytest.approx(energy * KCAL, rel=1e-9)
        assert frame.id == name
    assert max(np.abs(frame.forces.sum(axis=0)).max() for frame in frames) < 1e-5
