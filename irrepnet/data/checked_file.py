"""Files of any size in which every byte is checked before it is used, without reading all of them first.

A sealed file is its content, then the SHA-256 of every block of the content, then a footer::

    content | 32 bytes for each block | magic 16, block size 4, content size 8, digest 32

Numbers are little endian. The digest is the SHA-256 of all that follows the content, itself left out, so it stands for
the whole file. Software that reads the content by its own length (HDF5) is not disturbed by what follows it.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from collections import OrderedDict

from irrepnet.errors import DataError

__all__ = ["CheckedFile", "seal"]

_MAGIC = b"irrepnet sealed\x01"
_BLOCK = 2**13  # small enough to be hashed for one frame (5 µs), large enough for a table of 0.4 % of the file
_LARGEST_BLOCK = 2**24
_PIECE = 2**20  # bytes read at a time
_FIELDS = struct.Struct("<16sIQ")
_DIGEST = hashlib.sha256().digest_size
_FOOTER = _FIELDS.size + _DIGEST
_KEPT = 256  # blocks, 2 MiB
_AGAIN = "copy it again from where it was made, or write it anew"


def seal(path: str | os.PathLike[str]) -> None:
    """Append the checksums to a file whose content is complete.

    Args:
        path: The file; nobody else may write to it.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.bin")
        ...     _ = file.write_bytes(b"content")
        ...     seal(file)
        ...     CheckedFile(file, "a.bin").bytes_at(3, 4)
        b'tent'
    """
    with open(path, "r+b") as file:
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size
        mark, end = hashlib.sha256(), size
        for start in range(0, size, _PIECE):
            piece = _read_at(descriptor, start, min(_PIECE, size - start))
            blocks = (piece[place : place + _BLOCK] for place in range(0, len(piece), _BLOCK))
            table = b"".join(hashlib.sha256(block).digest() for block in blocks)
            mark.update(table)
            file.seek(end)
            end += file.write(table)
        fields = _FIELDS.pack(_MAGIC, _BLOCK, size)
        mark.update(fields)
        file.seek(end)
        file.write(fields + mark.digest())


class CheckedFile(io.RawIOBase):
    """The content of a sealed file, read-only; a block is checked each time it comes from the disk.

    It reads at given places and keeps no shared position on disk, so forked processes may use one descriptor.

    Args:
        path: The file.
        label: Its name in messages.

    Raises:
        DataError: If the file is missing, was never sealed, is cut short, or its footer or table is damaged. A damaged
            block raises when it is read.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.bin")
        ...     _ = file.write_bytes(b"content")
        ...     CheckedFile(file, "a.bin")
        Traceback (most recent call last):
        irrepnet.errors.DataError: a.bin: needed a whole file with checksums; found no footer; it is cut short or ...
    """

    def __init__(self, path: str | os.PathLike[str], label: str) -> None:
        self.label, self.damage = label, ""
        self._place = 0
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
            self.content_size, self._block, self.digest = self._footer()
        except OSError as error:
            self.close()
            raise DataError(f"{label}: needed a file; found none that can be read ({error.strerror})") from error
        except DataError:
            self.close()
            raise

    def _footer(self) -> tuple[int, int, str]:
        """Return size of the content, block size and digest of a file whose table is whole."""
        total = os.fstat(self._descriptor).st_size
        raw = _read_at(self._descriptor, max(0, total - _FOOTER), _FOOTER)
        if len(raw) < _FOOTER or raw[: len(_MAGIC)] != _MAGIC:
            raise DataError(
                f"{self.label}: needed a whole file with checksums; found no footer; it is cut short or not written by "
                f"irrepnet; {_AGAIN}"
            )
        _, block, size = _FIELDS.unpack(raw[: _FIELDS.size])
        length = _DIGEST * -(-size // block) if 0 < block <= _LARGEST_BLOCK else total
        if size + length + _FOOTER != total:
            self._refuse("its footer does not fit its size")
        mark = hashlib.sha256()
        for start in range(size, size + length, _PIECE):
            mark.update(_read_at(self._descriptor, start, min(_PIECE, size + length - start)))
        mark.update(raw[: _FIELDS.size])
        if mark.digest() != raw[_FIELDS.size :]:
            self._refuse("the SHA-256 of its checksums is not the one it was written with")
        return size, block, raw[_FIELDS.size :].hex()

    def _refuse(self, what: str) -> None:
        self.damage = what
        raise DataError(f"{self.label} is damaged: {what}; {_AGAIN}")

    def bytes_at(self, start: int, size: int) -> bytes:
        """Return some bytes of the content, checked.

        Args:
            start: Place of the first.
            size: How many.

        Raises:
            DataError: If the place is not in the file or a block is damaged.
        """
        if start < 0 or size < 0 or start + size > self.content_size:
            self._refuse(f"it needs bytes {start} to {start + size} of its content; found {self.content_size} bytes")
        first, last = start // self._block, -(-(start + size) // self._block)
        joined = b"".join(self._checked(number) for number in range(first, last))
        start -= first * self._block
        return joined[start : start + size]

    def check(self) -> None:
        """Read all of the content.

        Raises:
            DataError: If a block is damaged.
        """
        for number in range(-(-self.content_size // self._block)):
            self._checked(number, keep=False)

    def _checked(self, number: int, *, keep: bool = True) -> bytes:
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        start = number * self._block
        block = _read_at(self._descriptor, start, min(self._block, self.content_size - start))
        # Not kept in memory, where it could be large; if it were changed by now, the block would be refused.
        wanted = _read_at(self._descriptor, self.content_size + number * _DIGEST, _DIGEST)
        if hashlib.sha256(block).digest() != wanted:
            self._refuse(f"the SHA-256 of bytes {start} to {start + len(block)} is not the one they were written with")
        if keep:
            self._kept[number] = block
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return block

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it has places."""
        return True

    def tell(self) -> int:
        """Return the place at which the next read begins."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the place at which the next read begins."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self.content_size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer from the place on, as far as the content goes.

        Raises:
            DataError: If a block is damaged.
        """
        view = memoryview(buffer).cast("B")
        size = max(0, min(len(view), self.content_size - self._place))
        view[:size] = self.bytes_at(self._place, size) if size else b""
        self._place += size
        return size

    def close(self) -> None:
        """Give the descriptor back."""
        if not self.closed and hasattr(self, "_descriptor"):
            os.close(self._descriptor)
        super().close()


def _read_at(descriptor: int, start: int, size: int) -> bytes:
    parts = []
    while size > 0 and (part := os.pread(descriptor, size, start)):
        parts.append(part)
        start, size = start + len(part), size - len(part)
    return b"".join(parts)
