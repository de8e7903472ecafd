"""Files that are whole or not there: written beside their place and renamed when they are done."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from irrepnet.errors import DataError

__all__ = ["atomic_file"]


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the path of an empty file to write to; at the end it is forced to disk and takes the name ``path``.

    Until then ``path`` keeps what it had; it keeps it for good when the writer raises or dies. What a killed writer
    left behind is removed by the next one.

    Args:
        path: The file to write. A symbolic link is followed. The permissions of a file that is there are kept.

    Yields:
        The path of the file to write to, in the same folder.

    Raises:
        DataError: If the folder does not exist, or something that is not a file has this name.
        OSError: If the disk is full or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     target = Path(folder, "big.bin")
        ...     with atomic_file(target) as beside:
        ...         _ = beside.write_bytes(b"all of it")
        ...         found = target.exists()
        ...     found, target.read_bytes()
        (False, b'all of it')
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise DataError(f"{path}: needed a folder to write into; found no {target.parent}; create it")
    if target.exists() and not target.is_file():
        raise DataError(f"{path}: needed the name of a file; found something else there; give another name")
    _remove_leftovers(target)
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    beside, descriptor = _new_file(target, mode)
    try:
        try:
            yield beside
            if mode is not None:
                with contextlib.suppress(OSError):  # a mount without permissions has no others to give
                    os.fchmod(descriptor, mode)
            os.fsync(descriptor)
            os.replace(beside, target)
        finally:
            os.close(descriptor)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _new_file(target: Path, mode: int | None) -> tuple[Path, int]:
    """Make an empty file beside the target, locked while its writer lives; return its path and descriptor."""
    while True:
        beside = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
        # For a new file the umask decides, as for any; no one else may read more of it than of the old one.
        allowed = 0o666 if mode is None else mode | stat.S_IRUSR | stat.S_IWUSR
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL, allowed)
        with contextlib.suppress(OSError):  # on a mount without locks leftovers stay, see there
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # tells a writer at work from a dead one
        if os.fstat(descriptor).st_nlink:
            return beside, descriptor
        os.close(descriptor)  # before it was locked, another writer took it for a leftover


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network mounts know no fsync of a folder
            raise
    finally:
        os.close(folder)


def _remove_leftovers(target: Path) -> None:
    """Remove files of writers that died; the kernel drops a dead process's lock. Without locks, none."""
    for leftover in target.parent.glob(f".{target.name}.{'[0-9a-f]' * 8}.tmp"):
        with contextlib.suppress(OSError), leftover.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()
