"""Download a public file once: resumed, from several addresses, checked, and never half there under its name."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from irrepnet.data.atomic_file import atomic_file
from irrepnet.data.transfer import Transfer, TransferError, transfer
from irrepnet.errors import ConfigError, DataError, did_you_mean

__all__ = ["Checksum", "RemoteFile", "data_folder", "fetch"]

_LENGTHS = {"sha256": 64, "md5": 32, "git": 40}
_CHUNK = 1 << 20
_LOCK_MODE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
_ZIP = b"PK\x03\x04"
_MAGIC = {
    ".npz": _ZIP, ".zip": _ZIP, ".npy": b"\x93NUMPY", ".bz2": b"BZh", ".gz": b"\x1f\x8b", ".xz": b"\xfd7zXZ\0",
    ".h5": b"\x89HDF\r\n\x1a\n", ".hdf5": b"\x89HDF\r\n\x1a\n",
}  # fmt: skip


@dataclass(frozen=True)
class Checksum:
    """A published checksum of a file.

    Args:
        kind: ``"sha256"``, ``"md5"`` or ``"git"``: the id that git gives a file, the SHA-1 of ``blob <size>``, a zero
            byte and the file.
        hex: Its digits.

    Raises:
        ConfigError: If the kind is unknown or the digits are not of its length.

    Example:
        >>> Checksum("git", "ce013625030ba8dba906f756967f9e9ca394464a").found_in(b"hello\\n")
        True
    """

    kind: str
    hex: str

    def __post_init__(self) -> None:
        if self.kind not in _LENGTHS:
            raise ConfigError(
                f"checksum needs one of {', '.join(_LENGTHS)}; found {self.kind!r}.{did_you_mean(self.kind, _LENGTHS)}"
            )
        if not re.fullmatch(f"[0-9a-f]{{{_LENGTHS[self.kind]}}}", self.hex):
            raise ConfigError(f"a {self.kind} needs {_LENGTHS[self.kind]} digits 0-9a-f; found {self.hex!r}")

    def __str__(self) -> str:
        return f"{self.kind} {self.hex}"

    def found_in(self, content: bytes | Path) -> bool:
        """Tell whether some bytes, or those of a file, have this checksum."""
        return _digest(self.kind, content) == self.hex


@dataclass(frozen=True)
class RemoteFile:
    """A file that the public can download.

    Args:
        path: Where it belongs below the data folder: ``"qm9/atomref.txt"``.
        addresses: Where it is, http or https, in the order in which they are tried.
        size: In bytes; None if not published.
        checksum: None if none is published: the SHA-256 of the first download is then kept beside the file,
            ``<name>.sha256``, and verified from then on.

    Raises:
        ConfigError: If an address is not http or https, or the path leaves the data folder.

    Example:
        >>> file = RemoteFile("qm9/atomref.txt", ("https://ndownloader.figshare.com/files/3195395",), 964)
        >>> file.name
        'atomref.txt'
    """

    path: str
    addresses: tuple[str, ...]
    size: int | None = None
    checksum: Checksum | None = None

    def __post_init__(self) -> None:
        for address in self.addresses:
            if not address.startswith(("https://", "http://")):
                raise ConfigError(f"{self.path}: needed addresses of http or https; found {address!r}")
        if not self.addresses:
            raise ConfigError(f"{self.path}: needed an address; found none")
        if Path(self.path).is_absolute() or ".." in Path(self.path).parts:
            raise ConfigError(f"{self.path}: needed a path below the data folder")

    @property
    def name(self) -> str:
        """The file's own name."""
        return Path(self.path).name


def data_folder(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of downloaded data.

    Args:
        data_dir: The folder; None: ``$IRREPNET_DATA``, else ``$XDG_CACHE_HOME/irrepnet``, else ``~/.cache/irrepnet``.

    Example:
        >>> data_folder("/data").as_posix()
        '/data'
    """
    if data_dir is not None:
        return Path(data_dir).expanduser()
    if os.environ.get("IRREPNET_DATA"):
        return Path(os.environ["IRREPNET_DATA"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "irrepnet"


def fetch(
    file: RemoteFile, data_dir: str | os.PathLike[str] | None = None, *, timeout: float = 30.0, pause: float = 1.0
) -> Path:
    """Return the path of a file, downloading it first if it is not there.

    A file that is there is verified each time. A download that was interrupted goes on where it stopped, if the server
    can and still has the same file; a second process waits for the first. A progress bar is shown on a terminal.

    Args:
        file: What to have.
        data_dir: See :func:`data_folder`.
        timeout: For how long a silent server is waited for, s.
        pause: Before the second try, s; doubled from try to try.

    Returns:
        The path, ``data_dir / file.path``, of a file with the published size and checksum.

    Raises:
        DataError: If no address serves it (the message says where to put it by hand), what is there or served is not
            the published file, or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "note.txt").write_bytes(b"hello\\n")
        >>> checksum = Checksum("git", "ce013625030ba8dba906f756967f9e9ca394464a")
        >>> fetch(RemoteFile("note.txt", ("https://example.org/note.txt",), 6, checksum), folder).name
        'note.txt'
    """
    target = data_folder(data_dir) / file.path
    if target.exists():
        with _Place(target) as place:
            _verify_present(file, target, place)
        return target
    try:
        with _Place(target) as place:
            _download(file, target, place, timeout, pause)
            _verify_present(file, target, place)
    except OSError as error:
        raise DataError(
            f"{file.path}: to download it {target.parent} needs to be writable; found {error}; give another "
            "folder: --data-dir or $IRREPNET_DATA"
        ) from error
    return target


def _download(file: RemoteFile, target: Path, place: _Place, timeout: float, pause: float) -> None:
    failures = []
    for address in file.addresses:
        plan = Transfer(address, target, file.size, checksum_known=file.checksum is not None, ready=place.ready)
        if plan.part.exists():
            place.ready(True)
        try:
            part = transfer(plan, timeout=timeout, pause=pause)
        except TransferError as error:
            failures.append(f"  {address}: {error}")
            continue
        if part == target:  # another process has fetched it while this one waited
            return
        complaint = _complaint(file, part)
        if complaint is None:
            _keep(part, target)
            return
        plan.discard()
        failures.append(f"  {address}: {complaint}")
    raise DataError(_by_hand(file, target, failures))


def _by_hand(file: RemoteFile, target: Path, failures: Sequence[str]) -> str:
    facts = [] if file.size is None else [f"{file.size} bytes"]
    facts.append("no checksum is published" if file.checksum is None else str(file.checksum))
    return "\n".join(
        (
            f"{file.path}: needed this file; found none in {target.parent}, and no address serves it:",
            *failures,
            f"Without a network, put it there by hand as {target} ({', '.join(facts)}), or name the folder that holds "
            f"{file.path}: --data-dir or $IRREPNET_DATA",
        )
    )


def _keep(part: Path, target: Path) -> None:
    """Give a checked file its name in one step, forced to disk first."""
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    os.replace(part, target)
    Transfer.note_of(part).unlink(missing_ok=True)


def _verify_present(file: RemoteFile, target: Path, place: _Place) -> None:
    """Raise a DataError if the file is not the published one or, where nothing is published, not the first one."""
    complaint = _complaint(file, target) if target.is_file() else "needed a file; found a folder or something else"
    if complaint is not None:
        raise DataError(f"{target} is damaged or another file: {complaint}; delete it to have it downloaded again")
    if file.checksum is not None:
        return
    record = target.with_name(f"{target.name}.sha256")  # as sha256sum writes and checks it
    found = _digest("sha256", target)
    if not record.exists():
        with contextlib.suppress(
            OSError, DataError
        ):  # a folder that cannot be written does not change under our hands either
            place.ready(True)
            if not record.exists():  # else another process was first
                with atomic_file(record) as beside:
                    beside.write_text(f"{found}  {target.name}\n", encoding="utf-8")
                return
    if not record.exists():
        return
    first = record.read_text(encoding="utf-8").split()[:1]
    if first != [found]:
        raise DataError(
            f"{target} has changed since it was first seen: needed sha256 {first[0] if first else '(none)'} of "
            f"{record.name}; found {found}; delete both files to download it again"
        )


def _complaint(file: RemoteFile, path: Path) -> str | None:
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"needed {file.size} bytes; found {size}"
    if file.checksum is not None and not file.checksum.found_in(path):
        return f"needed {file.checksum}; found {file.checksum.kind} {_digest(file.checksum.kind, path)}"
    return None if file.checksum is not None else _wrong_kind(path, Path(file.path).suffix)


def _wrong_kind(path: Path, suffix: str) -> str | None:
    """Return why a file without a checksum cannot be one of its suffix; None if it can."""
    with path.open("rb") as stream:
        start = stream.read(512)
    if suffix in _MAGIC:
        needed = _MAGIC[suffix]
        if start.startswith(needed) and (needed != _ZIP or zipfile.is_zipfile(path)):
            return None
        return f"needed a {suffix} file, which begins with {needed!r}; found {start[:12]!r}, or no end"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "needed data; found a web page"
    return None


def _digest(kind: str, content: bytes | Path) -> str:
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    digest = hashlib.new({"git": "sha1"}.get(kind, kind), usedforsecurity=False)
    if kind == "git":
        digest.update(f"blob {size}\0".encode())
    if isinstance(content, bytes):
        digest.update(content)
        return digest.hexdigest()
    with content.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


class _Place:
    """Folder and lock of one file: made when there is something to put there, held to the end."""

    def __init__(self, target: Path) -> None:
        self._target, self._lock = target, -1

    def __enter__(self) -> _Place:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock >= 0:
            os.close(self._lock)  # which drops it, as the kernel does for a dead process

    def ready(self, wait: bool) -> bool:
        """Keep other processes out; tell whether nothing had begun before this one could."""
        if self._lock >= 0:
            return True
        self._target.parent.mkdir(parents=True, exist_ok=True)
        # Not emptied, and no link is followed: a lock has no content, and another file's is none of ours.
        lock = os.open(self._target.with_name(f".{self._target.name}.lock"), _LOCK_MODE, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if isinstance(error, BlockingIOError):
                return False
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                raise
            raise DataError(
                f"{self._target.parent} is on a mount without locks, where two downloads could mix; give a folder of a "
                "local disk: --data-dir or $IRREPNET_DATA"
            ) from error
        self._lock = lock
        return not self._target.exists() and not Transfer.part_of(self._target).exists()
