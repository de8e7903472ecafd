import hashlib
import socket

import pytest
from data.web import Web

from irrepnet.cli import main
from irrepnet.data import Frame
from irrepnet.data.download import Checksum, RemoteFile
from irrepnet.data.sets import registry
from irrepnet.data.sets.data_set import DataSet

CONTENT = b"a table of molecules\n" * 1000


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Only this machine may be reached here."""

    def refuse(self, address, *args):
        if self.family != socket.AF_UNIX and address[0] != "127.0.0.1":
            raise AssertionError(f"a test tried to connect to {address}")
        return connect(self, address, *args)

    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def web(monkeypatch):
    """A web server with one registered set, ``toy``, of two members that share a file."""
    web = Web()
    checksum = Checksum("sha256", hashlib.sha256(CONTENT).hexdigest())
    shared = RemoteFile("toy/shared.txt", (web.address("/shared"),), len(CONTENT), checksum)
    extra = RemoteFile("toy/extra.txt", (web.address("/extra"),))
    web.put("/shared", CONTENT)
    web.put("/extra", b"no checksum is published\n")
    toy = DataSet(
        name="toy",
        description="a toy",
        structures="one",
        units={"energy": "eV"},
        licence="CC0",
        citation="Nobody (2020)",
        members={"": (shared,), "all": (shared, extra)},
        read=lambda folder, member: [Frame(species=[1], pos=[[0, 0, 0]])],
    )
    monkeypatch.setitem(registry.SETS, "toy", toy)
    yield web
    web.close()


def test_the_files_of_a_member_are_downloaded_and_verified(web, tmp_path, capsys):
    assert main(["download", "toy/all", "--data-dir", str(tmp_path)]) == 0
    assert (tmp_path / "toy" / "shared.txt").read_bytes() == CONTENT
    out = capsys.readouterr().out
    assert "shared.txt  0.0 MB, verified by its sha256" in out
    assert "extra.txt  0.0 MB, verified by its sha256 of the first download" in out
    assert "licence: CC0" in out
    assert f"data.train: set:toy/all and data_dir: {tmp_path}" in out


def test_what_is_there_is_not_downloaded_again(web, tmp_path, capsys):
    page = web.put("/shared", CONTENT)
    for _ in range(2):
        assert main(["download", "set:toy", "--data-dir", str(tmp_path)]) == 0
    assert len(page.requests) == 1
    assert not (tmp_path / "toy" / "extra.txt").exists()


def test_the_folder_of_the_environment_is_used(web, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("IRREPNET_DATA", str(tmp_path / "sets"))
    assert main(["download", "toy"]) == 0
    assert (tmp_path / "sets" / "toy" / "shared.txt").exists()
    assert capsys.readouterr().out.endswith("in a configuration: data.train: set:toy\n")


def test_another_file_than_was_published_is_refused(web, tmp_path, capsys):
    web.put("/shared", CONTENT[:-1] + b"?")
    assert main(["download", "toy", "--data-dir", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "toy/shared.txt: needed this file" in err
    assert "needed sha256" in err
    assert not (tmp_path / "toy" / "shared.txt").exists()


@pytest.mark.parametrize("arguments", [["--list"], [], ["toy", "--list"]])
def test_the_list_says_labels_with_units_and_licences(web, capsys, arguments):
    assert main(["download", *arguments]) == 0
    out = capsys.readouterr().out
    for words in ("qm9", "rmd17", "CC0", "gap (eV)", "data.train: set:NAME"):
        assert words in out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("qm8", "found 'qm8'. Did you mean 'qm9'?"),
        ("rmd17", "needed rmd17/ and one of aspirin"),
        ("rmd17/etanol", "Did you mean 'ethanol'?"),
    ],
)
def test_unknown_names_are_one_line_and_exit_code_2(capsys, name, words):
    assert main(["download", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
