"""Large files that are whole or not there: written beside their place and renamed when they are done."""

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
    beside = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
    descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode)
    try:
        try:
            with contextlib.suppress(OSError):  # held while alive: tells a writer at work from a dead one
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield beside
            os.fsync(descriptor)
            os.replace(beside, target)
        finally:
            os.close(descriptor)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


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
    for leftover in target.parent.glob(f".{target.name}.{'[0-9a-f]' * 8}.tmp"):
        with contextlib.suppress(OSError), leftover.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()
