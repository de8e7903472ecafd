"""Read members of an archive without unpacking it to disk, refusing what no data set has a reason to hold."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from irrepnet.errors import DataError

__all__ = ["read_members"]

_HEADERS = 2**20  # bytes before a member; a name takes 512
_PIECE = 2**16
_OPENERS: dict[bytes, Callable[..., Any]] = {b"BZh": bz2.open, b"\x1f\x8b": gzip.open, b"\xfd7zXZ\0": lzma.open}
_MEMBER = 2**30  # bytes, 1 GiB
_TOTAL = 2**34  # 16 GiB


def read_members(
    archive: Path, wanted: Callable[[str], bool], *, most_of_member: int = _MEMBER, most_in_all: int = _TOTAL
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each wanted file of a tar (also compressed) or zip archive, in its order.

    Nothing is written to disk. Still no member may climb out of a folder, be a link or a device, or unfold into more
    than a limit: an archive that holds such a thing is not the one that was meant.

    Args:
        archive: The file.
        wanted: Whether a member of this name is wanted.
        most_of_member: Size of a member, bytes.
        most_in_all: Size of all members together, also those not wanted, bytes; of a tar file with its headers.

    Raises:
        DataError: If it is no archive, damaged, or holds one of these.

    Example:
        >>> import io, tempfile, zipfile
        >>> path = Path(tempfile.mkdtemp(), "a.zip")
        >>> with zipfile.ZipFile(path, "w") as archive:
        ...     archive.writestr("splits/train.csv", "1\\n2\\n")
        ...     archive.writestr("readme.txt", "")
        >>> list(read_members(path, lambda name: name.endswith(".csv")))
        [('splits/train.csv', b'1\\n2\\n')]
    """
    reader = _zip_members if zipfile.is_zipfile(archive) else _tar_members
    total = 0
    try:
        for name, size, read in reader(archive, most_in_all):
            _check_name(archive, name)
            total += size
            if size > most_of_member or total > most_in_all:
                raise DataError(
                    f"{archive}: needed at most {most_of_member} bytes in a file and {most_in_all} in all; found "
                    f"{name!r} of {size} bytes, {total} so far; it is not unpacked"
                )
            if not wanted(name):
                continue
            content = read(size + 1)  # what a zip says of its sizes need not be true
            if len(content) != size:
                raise DataError(f"{archive}: {name!r} needs the {size} bytes that the archive says; found others")
            yield name, content
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError) as error:
        raise DataError(f"{archive}: needed a whole tar or zip archive; found it unreadable ({error})") from error


_Member = tuple[str, int, Callable[[int], bytes]]


class _Counted(io.RawIOBase):
    """What a file unfolds into, up to a place that is moved on as members are found."""

    def __init__(self, stream: Any, archive: Path, most: int) -> None:
        self._stream, self._archive, self._most = stream, archive, most + _HEADERS
        self._place, self._allowed = 0, _HEADERS

    def allow(self, place: int) -> None:
        """Let the next header begin at a place."""
        self._allowed = min(place + _HEADERS, self._most)

    def read(self, size: int = -1) -> bytes:
        """Return some bytes."""
        piece: bytes = self._stream.read(min(size, _PIECE) if size >= 0 else _PIECE)
        self._place += len(piece)
        if self._place > self._allowed:
            raise DataError(
                f"{self._archive}: needed the next file within {self._allowed} bytes; found none; it is not unpacked"
            )
        return piece


class _Header(tarfile.TarInfo):
    """A header of a tar file; only the block of zeros that ends the file may be none."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:  # else tarfile would take what is cut or damaged for the end
            raise tarfile.ReadError(f"{error} where a file or the end should be") from error


def _tar_members(archive: Path, most: int) -> Iterator[_Member]:
    with archive.open("rb") as raw:
        start = raw.read(8)
    opener: Any = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), open)
    with opener(archive, "rb") as unfolded:
        counted = _Counted(unfolded, archive, most)
        # A stream: read once, from front to end.
        with tarfile.open(fileobj=counted, mode="r|", tarinfo=_Header) as tar:
            for member in tar:
                counted.allow(member.offset_data + member.size)
                if member.isdir():
                    continue
                stream = tar.extractfile(member) if member.isfile() else None
                if stream is None:
                    kind = "link" if member.islnk() or member.issym() else "device"
                    raise DataError(f"{archive}: needed files and folders only; found the {kind} {member.name!r}")
                yield member.name, member.size, stream.read
        while counted.read(_PIECE):  # to the checksum of a gzip file
            pass


def _zip_members(archive: Path, most: int) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            if member.is_dir():
                continue
            mode = member.external_attr >> 16
            if mode & 0o170000 == 0o120000:
                raise DataError(f"{archive}: needed files and folders only; found the link {member.filename!r}")
            with opened.open(member) as stream:
                yield member.filename, member.file_size, stream.read


def _check_name(archive: Path, name: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]):  # C:name
        raise DataError(f"{archive}: names of members need to stay inside the archive; found {name!r}")
