"""A web server on 127.0.0.1 that misbehaves on demand: what a download must survive."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from dmd_repro.data.download.http import Policy

BODY = np.random.Generator(np.random.PCG64(1)).bytes(1_000_000)
WAITED: list[float] = []
QUICK = Policy(timeout=0.4, slowest=20_000, attempts=3, sleep=WAITED.append)
HTML = b"<!DOCTYPE html><html><title>Quota exceeded</title>Too many users have viewed this file.</html>"


class BadServer(ThreadingHTTPServer):
    """Serves `body` under every path; the path's first part says how: /good/x.pkl, /cut/x.pkl, ...

    A count in the path limits the misbehaviour: /cut:2/x.pkl cuts the first two answers only.
    """

    daemon_threads = True

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body, self.other, self.asked = body, bytes(reversed(body)), Counter[str]()
        self.ranges: list[str | None] = []
        self.stop = threading.Event()

    def url(self, how: str, name: str = "x.pkl") -> str:
        """Return the address that behaves so."""
        return f"http://127.0.0.1:{self.server_address[1]}/{how}/{name}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are the point."""


@contextmanager
def serving(body: bytes) -> Iterator[BadServer]:
    """Serve in the background."""
    server = BadServer(body)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.stop.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: BadServer

    def log_message(self, format: str, *args: Any) -> None: ...

    def do_GET(self) -> None:
        server, how = self.server, self.path.split("/")[1]
        server.asked[how] += 1
        server.ranges.append(self.headers.get("Range"))
        kind, _, limit = how.partition(":")
        if limit and server.asked[how] > int(limit):
            kind = {"cutnotag": "notag"}.get(kind, "good")
        self.close_connection = True
        with suppress(ConnectionError):
            getattr(self, f"be_{kind.replace('-', '_')}")(server.asked[how])

    def answer(self, status: int, headers: dict[str, Any]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, str(value))
        self.end_headers()

    def give(
        self,
        body: bytes,
        *,
        tag: str = '"one"',
        length: int | None = None,
        end: int | None = None,
        ranges: bool = True,
        **headers: Any,
    ) -> None:
        """Answer with a body or the asked part of it; `end` cuts it, `length` lies about it."""
        start, status = 0, 200
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if ranges and asked and self.headers.get("If-Range") in (None, tag):
            start, status = int(asked[1]), 206
            if start >= len(body):
                self.answer(416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": 0})
                return
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        part = body[start:]
        told = {"Content-Type": "application/octet-stream", "Content-Length": len(part) if length is None else length}
        self.answer(
            status, {**told, **({"ETag": tag} if tag else {}), **{k.replace("_", "-"): v for k, v in headers.items()}}
        )
        self.wfile.write(part if end is None else part[:end])

    def be_good(self, n: int) -> None:
        self.give(self.server.body)

    def be_notag(self, n: int) -> None:
        self.give(self.server.body, tag="")

    def be_cut(self, n: int) -> None:
        self.give(self.server.body, end=len(self.server.body) // 4)

    def be_cutnotag(self, n: int) -> None:
        self.give(self.server.body, end=len(self.server.body) // 4, tag="")

    def be_nothing(self, n: int) -> None:
        self.give(self.server.body, end=0)

    def be_stall(self, n: int) -> None:
        self.give(self.server.body, end=len(self.server.body) // 3)
        self.wfile.flush()
        self.server.stop.wait(20)

    def be_drip(self, n: int) -> None:
        self.give(self.server.body, end=1000)
        for byte in self.server.body[1000:]:
            self.wfile.write(bytes([byte]))
            if self.server.stop.wait(0.05):
                return

    def be_slow(self, n: int) -> None:
        """Whole, but over some seconds: so that a kill falls into it."""
        self.answer(200, {"Content-Length": len(self.server.body), "ETag": '"one"'})
        step = max(1, len(self.server.body) // 200)
        for start in range(0, len(self.server.body), step):
            self.wfile.write(self.server.body[start : start + step])
            time.sleep(0.01)

    def be_norange(self, n: int) -> None:
        self.give(self.server.body, ranges=False, end=len(self.server.body) // 2 if n == 1 else None)

    def be_wrongrange(self, n: int) -> None:
        if self.headers.get("Range"):
            rest = self.server.body[7:]
            size = len(self.server.body)
            self.answer(
                206, {"Content-Length": len(rest), "Content-Range": f"bytes 7-{size - 1}/{size}", "ETag": '"one"'}
            )
            self.wfile.write(rest)
        else:
            self.give(self.server.body, end=len(self.server.body) // 2 if n == 1 else None)

    def be_long(self, n: int) -> None:
        self.give(self.server.body, length=len(self.server.body) + 5000)

    def be_short(self, n: int) -> None:
        self.give(self.server.body, length=len(self.server.body) - 5000)

    def be_change(self, n: int) -> None:
        if n == 1:
            self.give(self.server.body, end=len(self.server.body) // 2)
        else:
            self.give(self.server.other, tag='"two"')

    def be_other(self, n: int) -> None:
        self.give(self.server.other, tag='"two"')

    def be_changesilent(self, n: int) -> None:
        """Another content of another size under the same tag, and it honours the range."""
        if n == 1:
            self.give(self.server.body, end=len(self.server.body) // 2)
        else:
            self.give(self.server.other + b"more")

    def be_chunked(self, n: int) -> None:
        self.answer(200, {"Transfer-Encoding": "chunked"})
        body = self.server.body if n > 1 else self.server.body[: len(self.server.body) // 2]
        for start in range(0, len(body), 100_000):
            piece = body[start : start + 100_000]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if n > 1:
            self.wfile.write(b"0\r\n\r\n")

    def be_gzip(self, n: int) -> None:
        self.give(self.server.body, Content_Encoding="gzip")

    def be_html(self, n: int) -> None:
        self.answer(200, {"Content-Type": "text/html; charset=utf-8", "Content-Length": len(HTML)})
        self.wfile.write(HTML)

    def be_hiddenhtml(self, n: int) -> None:
        self.give(b"\n  " + HTML)

    def be_empty(self, n: int) -> None:
        self.give(b"")

    def be_404(self, n: int) -> None:
        self.answer(404, {"Content-Length": 0})

    def be_503(self, n: int) -> None:
        self.answer(503, {"Content-Length": 0, "Retry-After": "7"})

    def be_tohost(self, n: int) -> None:
        self.answer(
            302, {"Location": f"http://localhost:{self.server.server_address[1]}/good/x.pkl", "Content-Length": 0}
        )

    def be_tosame(self, n: int) -> None:
        self.answer(302, {"Location": "/good/x.pkl", "Content-Length": 0})

    def be_tofile(self, n: int) -> None:
        self.answer(302, {"Location": "file:///etc/hostname", "Content-Length": 0})

    def be_toftp(self, n: int) -> None:
        self.answer(302, {"Location": "ftp://127.0.0.1/x", "Content-Length": 0})

    def be_toloop(self, n: int) -> None:
        self.answer(302, {"Location": self.path + "x", "Content-Length": 0})

    def be_garbage(self, n: int) -> None:
        self.wfile.write(b"\x00\xff not HTTP at all\r\n\r\n")

    def be_huge(self, n: int) -> None:
        self.give(self.server.body, length=10**15)
