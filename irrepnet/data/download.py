"""Download a public file once: resumed, from several addresses, checked, and never half there under its name."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from irrepnet.data.transfer import Transfer, TransferError, transfer
from irrepnet.errors import ConfigError, DataError, did_you_mean

__all__ = ["Checksum", "RemoteFile", "data_folder", "fetch"]

_LENGTHS = {"sha256": 64, "md5": 32, "git": 40}
_CHUNK = 1 << 20


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
        _verify_present(file, target)
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target):
            if not target.exists():  # else another process has fetched it while this one waited
                _download(file, target, timeout, pause)
    except OSError as error:
        raise DataError(
            f"{file.path}: to download it {target.parent} needs to be writable; found {error}; give another "
            "folder: --data-dir or $IRREPNET_DATA"
        ) from error
    _verify_present(file, target)
    return target


def _download(file: RemoteFile, target: Path, timeout: float, pause: float) -> None:
    failures = []
    for address in file.addresses:
        plan = Transfer(address, target, file.size, resumable_without_proof=file.checksum is not None)
        try:
            part = transfer(plan, timeout=timeout, pause=pause)
        except TransferError as error:
            failures.append(f"  {address}: {error}")
            continue
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


def _verify_present(file: RemoteFile, target: Path) -> None:
    """Raise a DataError if the file is not the published one or, where nothing is published, not the first one."""
    complaint = _complaint(file, target) if target.is_file() else "needed a file; found a folder or something else"
    if complaint is not None:
        raise DataError(f"{target} is damaged or another file: {complaint}; delete it to have it downloaded again")
    if file.checksum is not None:
        return
    record = target.with_name(f"{target.name}.sha256")  # as sha256sum writes and checks it
    found = _digest("sha256", target)
    if not record.exists():
        with contextlib.suppress(OSError):  # a folder that cannot be written does not change under our hands either
            record.write_text(f"{found}  {target.name}\n", encoding="utf-8")
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


@contextlib.contextmanager
def _lock(target: Path) -> Iterator[None]:
    """Keep other processes from downloading the same file; the kernel drops the lock of a dead one."""
    with target.with_name(f".{target.name}.lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                raise
            raise DataError(
                f"{target.parent} is on a mount without locks, where two downloads could mix; give a folder of a local "
                "disk: --data-dir or $IRREPNET_DATA"
            ) from error
        yield
