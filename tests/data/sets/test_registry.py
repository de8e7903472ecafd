"""Names, facts and addresses of the registered sets."""

import socket

import pytest

from irrepnet.data import read_frames
from irrepnet.data.sets.registry import SETS, describe_sets, find_set, read_set
from irrepnet.errors import DataError

FILES = [file for data_set in SETS.values() for file in data_set.files]


def test_names_mean_sets_and_members():
    for name in ("qm9", "qm9/train", "rmd17/ethanol", "set:rmd17/ethanol/train_01", "water_dft/train", "gete"):
        data_set, member = find_set(name)
        assert name.removeprefix("set:") == f"{data_set.name}/{member}".strip("/")
    assert find_set("threebpa/train_300K")[1] == "train_300K"
    assert find_set("water_tensors/monomer/")[1] == "monomer"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rmd71/ethanol", r"set:rmd71/ethanol: needed one of qm9, rmd17, .*; found 'rmd71'. Did you mean 'rmd17'\?"),
        (
            "rmd17/etanol",
            r"needed rmd17/ and one of aspirin, .*110 in all.* found 'etanol'. Did you mean 'ethanol'",
        ),
        ("water_dft", r"needed water_dft/ and one of train, valid; found the name of the set alone"),
        ("gete/train", r"set:gete/train: needed gete alone; found 'train'"),
        ("acac/train_30K", r"found 'train_30K'. Did you mean 'train_300K'\?"),
    ],
)
def test_slips_are_named_with_the_nearest_name(name, message):
    with pytest.raises(DataError, match=message):
        read_set(name)


def test_a_path_may_be_the_name_of_a_set(tmp_path):
    with pytest.raises(DataError, match=r"Did you mean 'qm9'\?"):
        read_frames("set:qm8", data_dir=tmp_path)


def test_offline_the_message_says_what_to_put_where(tmp_path, monkeypatch):
    def unknown(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DataError) as caught:
        read_set("qm9", tmp_path)
    text = str(caught.value)
    assert "https://ndownloader.figshare.com/files/3195389: [Errno -2] Name or service not known" in text
    assert f"put it there by hand as {tmp_path}/qm9/dsgdb9nsd.xyz.tar.bz2 (86144227 bytes, md5 ad1ebd51ee7f5b3a" in text
    with pytest.raises(DataError, match=r"mlearn/Si/training.json .*no checksum is published"):
        read_set("mlearn/Si/train", tmp_path)


def test_every_set_says_what_it_is():
    for name, data_set in SETS.items():
        assert name == data_set.name
        assert data_set.members
        for fact in (data_set.description, data_set.structures, data_set.licence, data_set.citation, data_set.units):
            assert fact
    assert SETS["qm9"].units["mu"] == "D"
    assert SETS["mlearn"].units["stress"] == "eV/Å^3"


def test_every_file_has_a_place_of_its_own():
    assert len({file.path for file in FILES}) == len(FILES)
    addresses = [address for file in FILES for address in file.addresses]
    assert len(set(addresses)) == len(addresses)
    plain = [address for address in addresses if not address.startswith("https://")]
    assert all(address.startswith("http://www.quantum-machine.org/") for address in plain)  # has no https


def test_files_on_github_are_pinned_to_a_commit():
    raw = [address for file in FILES for address in file.addresses if "githubusercontent" in address]
    assert raw
    assert all(len(address.split("/")[5]) == 40 for address in raw)


def test_which_sets_have_published_checksums():
    assert {name for name, data_set in SETS.items() if data_set.has_checksums} == {"qm9", "rmd17"}


def test_the_table_names_every_set_label_and_unit():
    text = describe_sets()
    for name, data_set in SETS.items():
        assert f"│{name}" in text
        for label in data_set.units:
            assert label in text
    assert "no published checksums" in text
