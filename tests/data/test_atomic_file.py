import os
import signal
import subprocess
import sys
import textwrap

import pytest

from irrepnet.data.atomic_file import atomic_file
from irrepnet.errors import DataError


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    target.chmod(0o640)
    with atomic_file(target) as beside:
        beside.write_bytes(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_writer_that_raises_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), atomic_file(tmp_path / "a.bin") as beside:
        beside.write_bytes(b"half")
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real.bin").write_bytes(b"old")
    (tmp_path / "link.bin").symlink_to("real.bin")
    with atomic_file(tmp_path / "link.bin") as beside:
        beside.write_bytes(b"new")
    assert (tmp_path / "link.bin").is_symlink()
    assert (tmp_path / "real.bin").read_bytes() == b"new"


def test_where_nothing_can_be_written(tmp_path):
    with pytest.raises(DataError, match=r"needed a folder to write into; found no .*nowhere; create it"):  # noqa: SIM117
        with atomic_file(tmp_path / "nowhere" / "a.bin"):
            pass
    with pytest.raises(DataError, match=r"needed the name of a file; found something else"), atomic_file(tmp_path):
        pass


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_has_is_not(tmp_path):
    code = textwrap.dedent(f"""
        import os, signal
        from irrepnet.data.atomic_file import atomic_file
        with atomic_file({str(tmp_path / "a.bin")!r}) as beside:
            beside.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    (leftover,) = tmp_path.iterdir()
    with atomic_file(tmp_path / "a.bin") as living:
        living.write_bytes(b"mine")
        assert not leftover.exists()
        with atomic_file(tmp_path / "a.bin") as other:
            other.write_bytes(b"other")
        assert living.exists()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]
