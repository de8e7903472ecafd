"""Bring the bytes of one address into a ``.part`` file, over broken connections, by HTTP ranges."""

from __future__ import annotations

import http.client
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import irrepnet

__all__ = ["Transfer", "TransferError", "transfer"]

_CHUNK = 1 << 20
_TRIES = 5  # without progress
_PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be another one a moment later


class TransferError(Exception):
    """An address that does not serve the file; the text says why."""


class _Interrupted(Exception):
    """A passing failure: worth another try."""


class _Discarded(_Interrupted):
    """What was there cannot be built upon; worth another try, but not time after time."""


@dataclass(frozen=True)
class Transfer:
    """One address and where its bytes go.

    Args:
        address: http or https.
        target: The name that the file will have; the bytes go to ``<target>.part``.
        size: What it has to measure, bytes; None if not known.
        checksum_known: Whether a checksum will tell right bytes from wrong ones. Without one the server has to say how
            long the file is and, to go on with a part, that the file is still the same; and it may not be a web page.
        ready: Makes folder and lock, once the server begins to deliver, and tells whether what was there before still
            is; ``wait=True``: waits for another process at work.
    """

    address: str
    target: Path
    size: int | None
    checksum_known: bool
    ready: Callable[[bool], bool] = lambda wait: True

    @property
    def part(self) -> Path:
        """Where the bytes go."""
        return self.part_of(self.target)

    @staticmethod
    def part_of(target: Path) -> Path:
        """Return where the bytes of a file go."""
        return target.with_name(f"{target.name}.part")

    @staticmethod
    def note_of(part: Path) -> Path:
        """Return the file that says where a part is from."""
        return part.with_name(f"{part.name}.json")

    def discard(self) -> None:
        """Remove what there is, to begin anew."""
        self.part.unlink(missing_ok=True)
        self.note_of(self.part).unlink(missing_ok=True)

    def begun(self) -> tuple[int, str | None]:
        """Return how many bytes can be built upon, and the server's mark of the file that they are from."""
        try:
            note = json.loads(self.note_of(self.part).read_text(encoding="utf-8"))
            size = self.part.stat().st_size
        except (OSError, ValueError):
            return 0, None
        mark = note.get("mark") if isinstance(note, dict) and note.get("address") == self.address else None
        return (size, mark) if mark or self.checksum_known else (0, None)

    def note(self, mark: str | None) -> None:
        """Write down where the part is from."""
        text = json.dumps({"address": self.address, "mark": mark})
        self.note_of(self.part).write_text(text, encoding="utf-8")


def transfer(plan: Transfer, *, timeout: float, pause: float) -> Path:
    """Return the part file, with all bytes that the address serves; the target if another process has made it.

    Args:
        plan: What to bring.
        timeout: Of a silent connection, s.
        pause: Before the second try, s; doubled from try to try.

    Raises:
        TransferError: If the address does not serve the file, or breaks off time after time.
        OSError: If the part cannot be written.
    """
    failures, discarded = 0, 0
    with _progress(plan) as show:
        while not plan.target.exists():
            before, _ = plan.begun()
            try:
                if _receive(plan, timeout, show):
                    return plan.part
                plan.ready(True)
            except _Interrupted as error:
                progress = plan.begun()[0] - before
                failures = 1 if progress >= _CHUNK else failures + 1
                discarded += isinstance(error, _Discarded)
                if max(failures, discarded) >= _TRIES:
                    raise TransferError(f"{error}, {_TRIES} times in a row") from error
                time.sleep(pause * 2 ** (failures - 1))
    return plan.target


def _receive(plan: Transfer, timeout: float, show: Callable[[int, int | None], None]) -> bool:
    """Receive once, from where the part ends; False if another process is at it."""
    have, mark = plan.begun()
    if plan.size is not None and have == plan.size:
        return True
    with _open(plan, have, mark, timeout) as answer:
        if answer.status == 200:  # the server knows no ranges, or has another file now
            have = 0
        elif answer.status != 206 or _range_start(answer) != have:
            plan.discard()
            raise _Discarded(f"answered {answer.status} with another range than bytes from {have} on")
        elif not _same_version(plan, mark, answer):
            plan.discard()
            raise _Discarded("goes on with another version of the file")
        total = _total(answer, have)
        if plan.size is not None and total is not None and total != plan.size:
            plan.discard()
            raise TransferError(f"serves {total} bytes; needed {plan.size}")
        if not plan.checksum_known:
            _check_kind(answer, total)
        if not plan.ready(False):
            return False
        plan.note(_mark(answer))
        with plan.part.open("ab" if have else "wb") as stream:
            total = total if total is not None else plan.size
            have = _copy(plan, answer, stream, have, total, show)
    if total is not None and have < total:
        raise _Interrupted(f"broke off after {have} of {total} bytes")
    return True


def _same_version(plan: Transfer, mark: str | None, answer: http.client.HTTPResponse) -> bool:
    """Tell whether a range continues the part that is there: a server may take no notice of If-Range."""
    now = _mark(answer)
    return now == mark if mark and now else plan.checksum_known


def _check_kind(answer: http.client.HTTPResponse, total: int | None) -> None:
    """Raise an error for what no checksum would find: a page about the file, or a part of it that looks whole."""
    kind = answer.headers.get_content_type()
    if kind in ("text/html", "application/xhtml+xml"):
        raise TransferError(f"serves a web page ({kind}) instead of the file")
    if total is None and not answer.chunked:
        raise TransferError("does not say how long the file is, so that a part of it could pass for all of it")


def _copy(
    plan: Transfer,
    answer: http.client.HTTPResponse,
    stream: IO[bytes],
    have: int,
    most: int | None,
    show: Callable[[int, int | None], None],
) -> int:
    while True:
        try:
            chunk = answer.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:  # time-out, reset, a chunk cut short
            raise _Interrupted(f"broke off after {have} bytes ({_reason(error)})") from error
        if not chunk:
            return have
        have += len(chunk)
        if most is not None and have > most:
            plan.discard()
            raise TransferError(f"serves more than the {most} bytes that were needed or announced")
        stream.write(chunk)
        show(have, most)


def _open(plan: Transfer, have: int, mark: str | None, timeout: float) -> Any:
    # Some hosts turn away Python's own user agent.
    headers = {
        "User-Agent": f"Mozilla/5.0 (compatible; irrepnet/{irrepnet.__version__})",
        "Accept-Encoding": "identity",
    }
    if have:
        headers["Range"] = f"bytes={have}-"
        if mark:
            headers["If-Range"] = mark
    request = urllib.request.Request(plan.address, headers=headers)
    try:
        answer = urllib.request.build_opener(_OnlyHttp).open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the part is longer than the file is now
            plan.discard()
            raise _Discarded("has a shorter file than before") from error
        kind = _Interrupted if error.code in _PASSING else TransferError
        raise kind(f"answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        offline = isinstance(getattr(error, "reason", None), socket.gaierror)
        raise (TransferError if offline else _Interrupted)(_reason(error)) from error
    if answer.status not in (200, 206):  # figshare's guard answers 202 with nothing
        answer.close()
        raise TransferError(f"answered {answer.status} {answer.reason} instead of the file")
    return answer


class _OnlyHttp(urllib.request.HTTPRedirectHandler):
    """Follow redirections to http and https only, and never from https to http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        allowed = ("https://",) if req.full_url.startswith("https://") else ("https://", "http://")
        if not newurl.startswith(allowed):
            raise TransferError(f"redirects to {newurl:.200}, which is not {' or '.join(allowed)}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _range_start(answer: http.client.HTTPResponse) -> int | None:
    unit, _, span = (answer.headers.get("Content-Range") or "").partition(" ")
    start = span.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdigit() else None


def _total(answer: http.client.HTTPResponse, have: int) -> int | None:
    """Return the size of the whole file as the server says it."""
    whole = (answer.headers.get("Content-Range") or "").rpartition("/")[2]
    if answer.status == 206 and whole.isdigit():
        return int(whole)
    length = answer.headers.get("Content-Length") or ""
    return have + int(length) if length.isdigit() else None


def _mark(answer: http.client.HTTPResponse) -> str | None:
    """Return what tells one version of a file from another: an ETag that is not weak, or the date."""
    tag = answer.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified")


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason) or type(error).__name__


@contextmanager
def _progress(plan: Transfer) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar on a terminal; nothing where there is none."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn(plan.target.name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(plan.target.name, total=plan.size)

        def show(have: int, total: int | None) -> None:
            bar.update(task, completed=have, total=total)

        yield show
