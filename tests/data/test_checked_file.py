import os

import numpy as np
import pytest

from irrepnet.data.checked_file import CheckedFile, seal
from irrepnet.errors import DataError

CONTENT = np.random.default_rng(0).bytes(200_000)  # 25 blocks, the last one not full


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(CONTENT)
    seal(path)
    return path


def test_any_part_comes_back(file):
    checked = CheckedFile(file, "a.bin")
    assert checked.content_size == len(CONTENT)
    for start, size in [(0, 0), (0, 1), (5, 100_000), (8191, 2), (199_999, 1), (0, 200_000), (200_000, 0)]:
        assert checked.bytes_at(start, size) == CONTENT[start : start + size]
    checked.check()
    for start, size in [(199_999, 2), (-40, 40)]:
        with pytest.raises(
            DataError, match=rf"needs bytes {start} to {start + size} of its content; found 200000 bytes"
        ):
            checked.bytes_at(start, size)


def test_reads_as_a_file_as_far_as_the_content_goes(file):
    with CheckedFile(file, "a.bin") as checked:
        assert checked.readable() and checked.seekable()
        assert checked.seek(-10, os.SEEK_END) == 199_990
        assert checked.read(100) == CONTENT[-10:]
        assert checked.read(100) == b""
        assert checked.seek(-4, os.SEEK_CUR) == checked.tell() == 199_996
        checked.seek(3)
        assert checked.read(4) == CONTENT[3:7]


def test_content_of_several_pieces(tmp_path):
    path, content = tmp_path / "large.bin", np.random.default_rng(0).bytes(2**20 + 5)
    path.write_bytes(content)
    seal(path)
    checked = CheckedFile(path, "large.bin")
    checked.check()
    assert checked.bytes_at(0, len(content)) == content


def test_an_empty_content(tmp_path):
    path = tmp_path / "empty.bin"
    path.write_bytes(b"")
    seal(path)
    checked = CheckedFile(path, "empty.bin")
    checked.check()
    assert checked.content_size == 0
    assert checked.read(5) == b""


def test_every_flipped_bit_is_found(file):
    whole, rng = file.read_bytes(), np.random.default_rng(1)
    footer = range(len(whole) - 60 - 25 * 32, len(whole))  # fields, digest and table, byte by byte
    for place in [*footer[::3], *footer[-60:], *rng.integers(len(CONTENT), size=40)]:
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(changed)
        with pytest.raises(DataError, match=r"a.bin( is damaged: .*(SHA-256|footer)|: needed a whole file)"):
            CheckedFile(file, "a.bin").check()


def test_only_the_damaged_block_is_refused(file):
    changed = bytearray(file.read_bytes())
    changed[40_000] ^= 1
    file.write_bytes(changed)
    checked = CheckedFile(file, "a.bin")
    assert checked.bytes_at(0, 32768) == CONTENT[:32768]
    with pytest.raises(DataError, match=r"a.bin is damaged: the SHA-256 of bytes 32768 to 40960 is not the one"):
        checked.bytes_at(32768, 1)
    assert checked.damage


@pytest.mark.parametrize("size", [0, 1, 50, 59, 60, 61, 200_000, 200_223])
def test_cut_files(file, size):
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(DataError, match=r"a.bin: needed a whole file with checksums; found no footer; it is cut short"):
        CheckedFile(file, "a.bin")


def test_bytes_that_are_missing_or_too_many_in_the_middle(file):
    whole = file.read_bytes()
    for data in (whole[100:], b"more" + whole):
        file.write_bytes(data)
        with pytest.raises(DataError, match=r"a.bin is damaged: its footer does not fit its size"):
            CheckedFile(file, "a.bin")


def test_a_footer_that_lies(file):
    whole = bytearray(file.read_bytes())
    whole[-44:-40] = (2**31).to_bytes(4, "little")  # the block size
    file.write_bytes(whole)
    with pytest.raises(DataError, match=r"a.bin is damaged"):
        CheckedFile(file, "a.bin")


def test_no_file(tmp_path):
    with pytest.raises(DataError, match=r"x.bin: needed a file; found none that can be read \(No such file"):
        CheckedFile(tmp_path / "x.bin", "x.bin")
    with pytest.raises(DataError, match=r"folder: needed a file; found none that can be read \(Is a directory"):
        CheckedFile(tmp_path, "folder")
