"""Archives are read without being unpacked; one that holds something odd is refused."""

import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc
import zipfile

import pytest

from irrepnet.data.archive import read_members
from irrepnet.errors import DataError

FILES = {"set/a.txt": b"one", "set/b.txt": b"two" * 100, "readme": b""}


def everything(name):
    return True


def tar(path, files=FILES, links=()):
    with tarfile.open(path, "w:bz2") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, kind, target in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
    return path


def zipped(path, files=FILES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(("make", "name"), [(tar, "a.tar.bz2"), (zipped, "a.zip")])
def test_only_wanted_members_are_read(tmp_path, make, name):
    path = make(tmp_path / name)
    assert dict(read_members(path, everything)) == FILES
    assert list(read_members(path, lambda name: name.endswith("a.txt"))) == [("set/a.txt", b"one")]


@pytest.mark.parametrize("name", ["../outside", "set/../../outside", "/etc/passwd", "C:outside", "..\\outside"])
@pytest.mark.parametrize("make", [tar, zipped])
def test_names_that_climb_out_are_refused(tmp_path, make, name):
    path = make(tmp_path / "a", {"fine": b"1", name: b"2"})
    with pytest.raises(DataError, match=r"names of members need to stay inside the archive; found "):
        list(read_members(path, everything))


@pytest.mark.parametrize(
    ("kind", "named"), [(tarfile.SYMTYPE, "link"), (tarfile.LNKTYPE, "link"), (tarfile.FIFOTYPE, "device")]
)
def test_links_and_devices_are_refused(tmp_path, kind, named):
    path = tar(tmp_path / "a.tar.bz2", links=[("set/odd", kind, "/etc/passwd")])
    with pytest.raises(DataError, match=f"needed files and folders only; found the {named} 'set/odd'"):
        list(read_members(path, everything))


def test_a_link_in_a_zip_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        member = zipfile.ZipInfo("odd")
        member.external_attr = 0o120777 << 16
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(DataError, match="needed files and folders only; found the link 'odd'"):
        list(read_members(path, everything))


@pytest.mark.parametrize("make", [tar, zipped])
def test_bombs_are_refused(tmp_path, make):
    path = make(tmp_path / "a", {"big": b"0" * 10_000_000})
    assert path.stat().st_size < 20_000
    with pytest.raises(DataError, match=r"needed at most 1000000 bytes in a file and .*'big' of 10000000 bytes"):
        list(read_members(path, everything, most_of_member=1_000_000))
    many = make(tmp_path / "b", {f"{number}": b"0" * 100_000 for number in range(20)})
    with pytest.raises(DataError, match="'10' of 100000 bytes, 1100000 so far; it is not unpacked"):
        list(read_members(many, lambda name: False, most_in_all=1_000_000))


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", {"big": b"0" * 1_000_000})
    raw = path.read_bytes()
    lied = raw.replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(lied)
    with pytest.raises(DataError, match=r"a.zip: "):
        list(read_members(path, everything))


@pytest.mark.parametrize(("make", "name"), [(tar, "a.tar.bz2"), (zipped, "a.zip")])
def test_damaged_archives_are_named(tmp_path, make, name):
    path = make(tmp_path / name, {"a": bytes(range(256)) * 1000})
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(DataError, match=f"{name}: needed a whole tar or zip archive; found it unreadable"):
        list(read_members(path, everything))


def three(path, mode="w"):
    with tarfile.open(path, mode, format=tarfile.USTAR_FORMAT) as archive:
        for name in "abc":
            member = tarfile.TarInfo(name)
            member.size = 5000
            archive.addfile(member, io.BytesIO(name.encode() * 5000))
    return path


ROW = 512 + 5120  # a header and 5000 bytes in blocks


@pytest.mark.parametrize("length", [ROW, ROW + 100, ROW + 512, ROW + 600, 2 * ROW, 3 * ROW, 3 * ROW + 100])
@pytest.mark.parametrize("opener", [open, gzip.open, bz2.open, lzma.open])
def test_a_tar_without_its_end_is_refused(tmp_path, opener, length):
    """Also where it is cut between two members, and where its compression is whole."""
    whole = three(tmp_path / "whole.tar").read_bytes()
    with opener(tmp_path / "a.tar", "wb") as file:
        file.write(whole[:length])
    with pytest.raises(DataError, match=r"a.tar: needed a whole tar or zip archive; found it unreadable"):
        list(read_members(tmp_path / "a.tar", everything))
    with opener(tmp_path / "a.tar", "wb") as file:
        file.write(whole)
    assert [name for name, _ in read_members(tmp_path / "a.tar", everything)] == ["a", "b", "c"]


@pytest.mark.parametrize("place", [148, 156 + 100, 0])
def test_a_damaged_header_in_the_middle_is_refused(tmp_path, place):
    raw = bytearray(three(tmp_path / "a.tar").read_bytes())
    raw[ROW + place] ^= 0x41
    (tmp_path / "a.tar").write_bytes(raw)
    with pytest.raises(DataError, match=r"a.tar: needed a whole .*bad checksum|invalid header"):
        list(read_members(tmp_path / "a.tar", everything))


@pytest.mark.parametrize("cut", [1, 4, 8])
def test_a_gzip_without_its_checksum_is_refused(tmp_path, cut):
    path = three(tmp_path / "a.tar.gz", "w:gz")
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DataError, match=r"a.tar.gz: needed a whole tar or zip archive"):
        list(read_members(path, everything))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_huge_header_is_not_read(tmp_path, kind):
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 50 * 2**20
    with bz2.open(tmp_path / "a.tar.bz2", "wb") as file:
        file.write(header.tobuf(tarfile.USTAR_FORMAT) + bytes(header.size + 10240))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"a.tar.bz2: needed the next file within 1048576 bytes; found none; it is not"):
        list(read_members(tmp_path / "a.tar.bz2", everything))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10 * 2**20


def test_many_empty_members_count_too(tmp_path):
    path = tar(tmp_path / "a.tar.bz2", {f"{number}": b"" for number in range(4000)})
    assert len(list(read_members(path, everything))) == 4000
    with pytest.raises(DataError, match=r"a.tar.bz2: needed the next file within 1148576 bytes"):
        list(read_members(path, everything, most_in_all=100_000))


def test_no_archive(tmp_path):
    (tmp_path / "a.txt").write_text("not an archive")
    with pytest.raises(DataError, match=r"a.txt: needed a whole tar or zip archive"):
        list(read_members(tmp_path / "a.txt", everything))
