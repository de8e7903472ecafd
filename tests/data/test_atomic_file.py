import fcntl
import multiprocessing
import os
import signal
import stat
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


def test_a_writer_whose_file_is_taken_for_a_leftover_makes_another(tmp_path, monkeypatch):
    real, target = fcntl.flock, tmp_path / "a.bin"

    def lock(descriptor, how):
        monkeypatch.setattr(fcntl, "flock", real)
        (beside,) = tmp_path.glob(".a.bin.*.tmp")
        with beside.open("rb") as other:  # as another writer looks for leftovers
            real(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            beside.unlink()
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", lock)
    with atomic_file(target) as beside:
        beside.write_bytes(b"mine")
    assert target.read_bytes() == b"mine"
    assert os.listdir(tmp_path) == ["a.bin"]


def write_often(path):
    for number in range(40):
        with atomic_file(path) as beside:
            beside.write_text(f"{os.getpid()} {number}")


def test_many_writers_of_one_file(tmp_path):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.map(write_often, [tmp_path / "a.bin"] * 8)
    assert (tmp_path / "a.bin").read_text().endswith(" 39")
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("mode", [0o664, 0o600, 0o440, 0o777])
def test_permissions_are_kept_whatever_the_umask(tmp_path, mode):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    target.chmod(mode)
    with atomic_file(target) as beside:
        beside.write_bytes(b"new")
    assert stat.S_IMODE(target.stat().st_mode) == mode
