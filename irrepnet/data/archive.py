"""Read members of an archive without unpacking it to disk, refusing what no data set has a reason to hold."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from irrepnet.errors import DataError

__all__ = ["read_members"]

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
        most_in_all: Size of all members together, also those not wanted, bytes.

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
        for name, size, read in reader(archive):
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


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive, mode="r|*") as tar:  # a stream: read once, from front to end
        for member in tar:
            if member.isdir():
                continue
            stream = tar.extractfile(member) if member.isfile() else None
            if stream is None:
                kind = "link" if member.islnk() or member.issym() else "device"
                raise DataError(f"{archive}: needed files and folders only; found the {kind} {member.name!r}")
            yield member.name, member.size, stream.read


def _zip_members(archive: Path) -> Iterator[_Member]:
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
