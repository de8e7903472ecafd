"""One process per run: two that trained in one folder would write each other's files."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from irrepnet.errors import ConfigError

__all__ = ["RunLock"]


class RunLock:
    """Context in which :meth:`acquire` keeps other processes out of a run's folder.

    The lock is one of the operating system on a file ``.lock``: it ends with the process, however that ends. Where
    there are no such locks (Windows, some network file systems) nobody is kept out.

    Args:
        folder: Of the run; :meth:`acquire` makes it.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with RunLock(folder) as mine, RunLock(folder) as other:
        ...     mine.acquire()
        ...     other.acquire()
        Traceback (most recent call last):
        irrepnet.errors.ConfigError: ...: needed a run of its own; another process is training in this folder; ...
    """

    def __init__(self, folder: str | Path) -> None:
        self._path = Path(folder) / ".lock"
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock; keep it until the context ends.

        Raises:
            ConfigError: If another process has it.
        """
        try:
            import fcntl
        except ImportError:  # Windows
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        while self._file is None:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                raise ConfigError(
                    f"{self._path.parent}: needed a run of its own; another process is training in this folder; wait "
                    "for it, stop it, or choose another --out"
                ) from None
            except OSError:  # the file system has no locks
                os.close(file)
                return
            if _is_at(self._path, file):
                self._file = file
            else:  # its last owner removed it between our two steps
                os.close(file)

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._path.unlink(missing_ok=True)  # while it is still ours
            os.close(self._file)
            self._file = None


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False
