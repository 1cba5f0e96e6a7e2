"""A web server on 127.0.0.1 that misbehaves on demand: what a download must survive."""

from __future__ import annotations

import json
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
        self.files: dict[str, bytes] = {}  # other bodies, by the last part of the path
        self.folders: dict[str, list[tuple[str, str, bool]]] = {}  # Drive folders: (id, name, whether a folder)
        self.after = "good"  # how a service's files behave, behind its pages

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

    @property
    def body(self) -> bytes:
        """What this path holds."""
        name = self.path.partition("?")[0].rpartition("/")[2]
        return self.server.files.get(name, self.server.body)

    def behave(self) -> None:
        """Answer as `server.after` says, counted by itself and the path."""
        server, (kind, _, limit) = self.server, self.server.after.partition(":")
        key = f"{server.after} {self.path.partition('?')[0]}"
        server.asked[key] += 1
        kind = "good" if limit and server.asked[key] > int(limit) else kind
        getattr(self, f"be_{kind}")(server.asked[key])

    def page(self, text: str) -> None:
        """Answer with a web page."""
        self.answer(200, {"Content-Type": "text/html; charset=utf-8", "Content-Length": len(text.encode())})
        self.wfile.write(text.encode())

    def be_drive(self, n: int) -> None:
        """A file of Drive that is given at once."""
        self.behave()

    def be_token(self, n: int) -> None:
        """A large file of Drive: first a page whose form holds a token, a new one each time."""
        if "uuid=" in self.path:
            self.behave()
            return
        fields = {"id": "1" * 12, "export": "download", "confirm": "t", "uuid": f"token-{n}"}
        inputs = "".join(f'<input type="hidden" name="{k}" value="{v}">' for k, v in fields.items())
        self.page(
            "<!DOCTYPE html><html><title>Google Drive - Virus scan warning</title><form id='download-form' "
            f"action='/token/download' method='get'><input type='submit' value='Download anyway'>{inputs}</form></html>"
        )

    def be_folder(self, n: int) -> None:
        """A page of a Drive folder: what lies directly in it."""
        listed = self.server.folders.get(self.path.partition("id=")[2])
        if listed is None:
            self.answer(404, {"Content-Length": 0})
            return
        links = "".join(
            f'<div class="flip-entry"><a href="https://drive.google.com/{"drive/folders" if folder else "file/d"}/{id_}'
            f'{"" if folder else "/view?usp=drive_web"}" target="_blank"><div class="flip-entry-info">'
            f'<img src="x.png" alt=""/><div class="flip-entry-title">{name}</div></div></a></div>'
            for id_, name, folder in listed
        )
        self.page(f"<html><head><title>a folder</title></head><body>{links}</body></html>")

    def be_hub(self, n: int) -> None:
        """A data set of a hub: its listing, and its files."""
        if "/api/" not in self.path:
            self.behave()
            return
        folder = self.path.partition("/tree/main")[2].partition("?")[0].strip("/")
        found = [
            {"type": "file", "oid": "0" * 40, "size": len(body), "path": f"{folder}/{name}".strip("/")}
            for name, body in self.server.files.items()
        ]
        body = json.dumps(found).encode()
        self.answer(200, {"Content-Type": "application/json", "Content-Length": len(body)})
        self.wfile.write(body)

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
        self.give(self.body)

    def be_notag(self, n: int) -> None:
        self.give(self.body, tag="")

    def be_cut(self, n: int) -> None:
        self.give(self.body, end=len(self.body) // 4)

    def be_cutnotag(self, n: int) -> None:
        self.give(self.body, end=len(self.body) // 4, tag="")

    def be_nothing(self, n: int) -> None:
        self.give(self.body, end=0)

    def be_stall(self, n: int) -> None:
        self.give(self.body, end=len(self.body) // 3)
        self.wfile.flush()
        self.server.stop.wait(20)

    def be_drip(self, n: int) -> None:
        self.give(self.body, end=1000)
        for byte in self.body[1000:]:
            self.wfile.write(bytes([byte]))
            if self.server.stop.wait(0.05):
                return

    def be_slow(self, n: int) -> None:
        """Whole, but over some seconds: so that a kill falls into it."""
        self.answer(200, {"Content-Length": len(self.body), "ETag": '"one"'})
        step = max(1, len(self.body) // 200)
        for start in range(0, len(self.body), step):
            self.wfile.write(self.body[start : start + step])
            time.sleep(0.01)

    def be_norange(self, n: int) -> None:
        self.give(self.body, ranges=False, end=len(self.body) // 2 if n == 1 else None)

    def be_wrongrange(self, n: int) -> None:
        if self.headers.get("Range"):
            rest = self.body[7:]
            size = len(self.body)
            self.answer(
                206, {"Content-Length": len(rest), "Content-Range": f"bytes 7-{size - 1}/{size}", "ETag": '"one"'}
            )
            self.wfile.write(rest)
        else:
            self.give(self.body, end=len(self.body) // 2 if n == 1 else None)

    def be_long(self, n: int) -> None:
        self.give(self.body, length=len(self.body) + 5000)

    def be_short(self, n: int) -> None:
        self.give(self.body, length=len(self.body) - 5000)

    def be_change(self, n: int) -> None:
        if n == 1:
            self.give(self.body, end=len(self.body) // 2)
        else:
            self.give(self.server.other, tag='"two"')

    def be_other(self, n: int) -> None:
        self.give(self.server.other, tag='"two"')

    def be_changesilent(self, n: int) -> None:
        """Another content of another size under the same tag, and it honours the range."""
        if n == 1:
            self.give(self.body, end=len(self.body) // 2)
        else:
            self.give(self.server.other + b"more")

    def be_chunked(self, n: int) -> None:
        self.answer(200, {"Transfer-Encoding": "chunked"})
        body = self.body if n > 1 else self.body[: len(self.body) // 2]
        for start in range(0, len(body), 100_000):
            piece = body[start : start + 100_000]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if n > 1:
            self.wfile.write(b"0\r\n\r\n")

    def be_gzip(self, n: int) -> None:
        self.give(self.body, Content_Encoding="gzip")

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
        self.give(self.body, length=10**15)
