import numpy as np
import pytest
from data import hdf5_case

from irrepnet.data import Frame, Keys, fit_species_shifts, force_rms, read_frames, summarize_frames, write_hdf5
from irrepnet.data.checked_file import seal
from irrepnet.errors import DataError


def molecules(count=50, noise=0.1):
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        species = rng.choice([1, 6, 8], size=int(rng.integers(1, 9)))
        energy = sum({1: -13.6, 6: -1030.0, 8: -2040.0}[z] for z in species.tolist()) + rng.normal(scale=noise)
        forces = rng.normal(size=(len(species), 3))
        made.append(Frame(species=species, pos=rng.normal(size=(len(species), 3)), energy=energy, forces=forces))
    return made


def test_the_numbers_are_those_of_all_frames_together():
    frames = molecules()
    summary = summarize_frames(iter(frames))
    assert (summary.num_frames, summary.species) == (50, (1, 6, 8))
    assert summary.num_atoms == sum(map(len, frames))
    assert summary.force_rms == pytest.approx(force_rms(frames), rel=1e-14)
    assert summary.species_shifts([1, 6, 8]) == pytest.approx(fit_species_shifts(frames, [1, 6, 8]), rel=1e-12)
    assert summary.species_shifts(["O", "H", "C"])[[1, 2, 0]] == pytest.approx(summary.species_shifts([1, 6, 8]))
    assert summary.all_have("energy") and summary.all_have("forces") and not summary.all_have("stress")


def test_compositions_that_do_not_tell_species_apart():
    water = [Frame(species=[8, 1, 1], pos=np.eye(3), energy=-2056.0 - i) for i in range(3)]
    found = summarize_frames(water).species_shifts([1, 8, 9])
    assert found == pytest.approx(fit_species_shifts(water, [1, 8, 9]))
    assert found[2] == 0


def test_fixed_energies_are_kept():
    frames = molecules(noise=0.0)
    found = summarize_frames(frames).species_shifts([1, 6, 8], fixed={1: -10.0})
    assert found[0] == -10.0
    assert found != pytest.approx(summarize_frames(frames).species_shifts([1, 6, 8]))
    exact = summarize_frames(frames).species_shifts([1, 6, 8], fixed={1: -13.6})
    assert exact == pytest.approx([-13.6, -1030.0, -2040.0])
    assert summarize_frames(frames).species_shifts([1, 6, 8], fixed={1: 0.0, 6: 0.0, 8: 1.0}).tolist() == [0, 0, 1]


def test_what_only_some_frames_have():
    frames = hdf5_case.frames(30)
    summary = summarize_frames(frames)
    for label in ("energy", "forces", "stress"):
        assert summary.num_known.get(label, 0) == sum(getattr(frame, label) is not None for frame in frames) > 0
    assert summary.num_known["dipole"] == sum("dipole" in frame.properties for frame in frames)
    assert summary.num_known["charge"] == sum("charge" in frame.atom_properties for frame in frames)
    assert not summary.all_have("energy")


def test_nothing_and_what_cannot_be_fitted():
    empty = summarize_frames([])
    assert (empty.num_frames, empty.force_rms, empty.species) == (0, None, ())
    assert not empty.all_have("energy")
    with pytest.raises(DataError, match=r"needed energies of H; found no frame with an energy"):
        empty.species_shifts(["H"])
    with pytest.raises(DataError, match=r"needed energies of H, O; found C too"):
        summarize_frames(molecules()).species_shifts(["H", "O"])


def test_the_summary_of_a_file_is_kept_and_checked(tmp_path, monkeypatch):
    write_hdf5(molecules(), tmp_path / "a.h5")
    lazy, cache = read_frames(tmp_path / "a.h5"), tmp_path / "cache"
    first = summarize_frames(lazy, cache=cache)
    assert first == summarize_frames(molecules())
    (entry,) = cache.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr("irrepnet.data.frame_summary._summarize", None)
        assert summarize_frames(lazy, cache=cache) == first
    notes = []
    for place in (5, -5):
        data = bytearray(entry.read_bytes())
        data[place] ^= 1
        entry.write_bytes(data)
        assert summarize_frames(lazy, cache=cache, say=notes.append) == first
    assert len(notes) == 2 and all(note.endswith("It is made anew") for note in notes)
    assert summarize_frames(lazy[:10], cache=cache) == summarize_frames(molecules()[:10])
    assert len(list(cache.iterdir())) == 2


def test_other_properties_of_the_same_file_are_another_summary(tmp_path):
    frames = [Frame(species=[1], pos=[[0, 0, 0]], properties={"a": 1.0, "b": 2.0})] * 3
    write_hdf5(frames, tmp_path / "a.h5")
    for name in "ab":
        lazy = read_frames(tmp_path / "a.h5", keys=Keys(properties={name: name}))
        for part in (lazy, lazy[:2]):
            assert summarize_frames(part, cache=tmp_path / "cache").num_known == {name: len(part)}


def test_a_sealed_entry_that_is_no_summary(tmp_path):
    write_hdf5(molecules(), tmp_path / "a.h5")
    lazy, cache, notes = read_frames(tmp_path / "a.h5"), tmp_path / "cache", []
    first = summarize_frames(lazy, cache=cache)
    (entry,) = cache.iterdir()
    for text in ("", "[]", "{}", '{"species": 1}', '{"species": [1], "compositions": [[1]]}', "\xff", "[" * 100_000):
        entry.write_text(text, encoding="latin-1")
        seal(entry)
        assert summarize_frames(lazy, cache=cache, say=notes.append) == first
    assert len(notes) == 7
    assert all("needed a summary of frames; found something else" in note for note in notes)


def test_a_list_leaves_nothing_on_disk(tmp_path):
    summarize_frames(molecules(), cache=tmp_path)
    assert list(tmp_path.iterdir()) == []
