"""A web server on 127.0.0.1 that behaves as badly as it is told to."""

import hashlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """What an address answers, and how it misbehaves."""

    content: bytes = b""
    status: int = 200
    ranges: bool = True
    drop_after: list = field(default_factory=list)  # bytes after which each of the first answers breaks off
    statuses: list = field(default_factory=list)  # of the first answers
    etag: str | None = "auto"
    announce: bool = True
    location: str | None = None
    if_range: bool = True  # whether it takes notice of If-Range
    kind: str | None = None  # Content-Type
    requests: list = field(default_factory=list)  # headers of each


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        page = self.server.pages.get(self.path, Page(status=404))
        page.requests.append(dict(self.headers))
        status = page.statuses.pop(0) if page.statuses else page.status
        if status not in (200, 206):
            self.send_response(status)
            if page.location:
                self.send_header("Location", page.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        etag = f'"{hashlib.md5(page.content).hexdigest()}"' if page.etag == "auto" else page.etag
        start = self.wanted_start(page, etag)
        body = page.content[start:]
        if start >= len(page.content) > 0:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(page.content) - 1}/{len(page.content)}")
        if page.announce:
            self.send_header("Content-Length", str(len(body)))
        if etag:
            self.send_header("ETag", etag)
        if page.kind:
            self.send_header("Content-Type", page.kind)
        self.end_headers()
        drop = page.drop_after.pop(0) if page.drop_after else None
        self.wfile.write(body[:drop])
        self.close_connection = True

    def wanted_start(self, page, etag):
        span = self.headers.get("Range")
        if not page.ranges or span is None or (page.if_range and self.headers.get("If-Range", etag) != etag):
            return 0
        return int(span.removeprefix("bytes=").removesuffix("-"))

    def log_message(self, *args):
        pass


class Web:
    def __init__(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.pages = {}
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def put(self, path, content=b"", **misbehaviour):
        page = self.server.pages[path] = Page(content, **misbehaviour)
        return page

    def address(self, path):
        return f"http://127.0.0.1:{self.server.server_port}{path}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
