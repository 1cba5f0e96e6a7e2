"""Fetch one file over HTTP(S) into a `Part`: resumed where the server can tell that the file is still the same.

Proxies come from the environment (http_proxy, https_proxy, no_proxy). A redirect may not lead from HTTPS to plain HTTP,
nor to a host the source does not name. What ends early, stalls or is refused for the moment is tried again, each time
after a longer wait.
"""

from __future__ import annotations

import errno
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

from dmd_repro import __version__
from dmd_repro.data.download.part import Part
from dmd_repro.data.download.sources import Mirror, check_url
from dmd_repro.errors import DataError

_PIECE = 1 << 18
_PAGE = 1 << 19  # bytes of a web page that are looked at
_PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be others in a moment
_LONGEST_WAIT = 60.0
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM}


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient a download is."""

    timeout: float = 30.0  # seconds without a byte
    slowest: float = 1000.0  # bytes a second, over that time
    attempts: int = 6  # in a row without a new byte
    wait: float = 1.0  # seconds before the second attempt; doubled each time
    sleep: Callable[[float], None] = time.sleep
    on_retry: Callable[[str], None] = lambda text: None


class _Again(Exception):
    """This attempt ended early: (what happened, seconds the server asks to wait or None)."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 8

    def __init__(self, place: Mirror) -> None:
        self._place = place

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        check_redirect(self._place, req.full_url, newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def check_redirect(place: Mirror, old: str, new: str) -> None:
    """Raise DataError if a redirect leads to plain HTTP or to a host that the source does not name."""
    check_url(new)
    was, now = urlsplit(old), urlsplit(new)
    if was.scheme == "https" and now.scheme == "http":
        raise _refused(old, "a secure address", f"a redirect to plain HTTP ({new[:100]})")
    first, host = urlsplit(place.value).hostname or "", now.hostname or ""
    if host != first and not any(host == h or host.endswith(f".{h}") for h in place.hosts):
        raise _refused(old, f"the file on {first}", f"a redirect to another host, {host}")


def _refused(url: str, expected: str, got: str) -> DataError:
    return DataError.at(
        url[:200], expected=expected, got=got, do="Look at the page in a browser; import what you download there"
    )


def fetch(
    place: Mirror, part: Part, policy: Policy, *, size: int | None = None, known: bool = False, same: str = ""
) -> None:
    """Bring a part to its end. `size` is the published one; `known`: the hash is, so any bytes may be gone on with.

    `same` names the file where its address changes from one request to the next.

    Raises DataError if the place does not have the file, gives something else, or fails too often; what has arrived is
    kept where it can be gone on with. OSError of the disk is the caller's.
    """
    opener = urllib.request.build_opener(_Redirects(place))
    tries, furthest = 0, part.size
    while True:
        try:
            return _attempt(opener, place.value, part, policy, size, known, same or place.value)
        except _Again as again:
            what, asked = again.args
            if part.size > furthest:
                tries, furthest = 0, part.size
            tries += 1
            if tries >= policy.attempts:
                kept = f"; {part.size / 1e6:.1f} MB are kept" if part.size else ""
                raise DataError.at(
                    place.value[:200],
                    expected="the whole file",
                    got=f"{what}, {tries} times in a row{kept}",
                    do="Run the same command again later: it resumes from there",
                ) from None
            pause = min(_LONGEST_WAIT, asked if asked is not None else policy.wait * 2 ** (tries - 1))
            policy.on_retry(f"{what}; trying again in {pause:.0f} s")
            policy.sleep(pause)


def _attempt(
    opener: urllib.request.OpenerDirector,
    url: str,
    part: Part,
    policy: Policy,
    size: int | None,
    known: bool,
    same: str,
) -> None:
    if part.size and (part.state.url != same or not (part.state.validator or known)):
        part.restart()  # nothing tells whether what the server has now continues it
    request = urllib.request.Request(
        url, headers={"User-Agent": f"dmd-repro/{__version__}", "Accept-Encoding": "identity"}
    )
    if part.size:
        request.add_header("Range", f"bytes={part.size}-")
        if part.state.validator:
            request.add_header("If-Range", part.state.validator)
    try:
        with opener.open(request, timeout=policy.timeout) as answer:
            _check_answer(url, answer, part, size, same)
            _take(url, answer, part, policy)
    except urllib.error.HTTPError as error:
        with error:
            _judge(url, error, part)
    except urllib.error.URLError as error:
        raise _Again(f"no connection ({error.reason})", None) from None
    except (http.client.HTTPException, OSError) as error:
        if isinstance(error, OSError) and error.errno in _DISK:
            raise
        raise _Again(f"the connection was lost ({type(error).__name__})", None) from None


def _judge(url: str, error: urllib.error.HTTPError, part: Part) -> None:
    """Handle an answer that is no success; returns only if the part turns out to be whole."""
    if error.code == 416 and part.size:
        total = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
        if total and int(total[1]) == part.size and part.state.total in (None, part.size):
            return
        part.restart()
        raise _Again("the server has another file now", 0.0)
    if error.code in _PASSING:
        asked = error.headers.get("Retry-After", "")
        raise _Again(f"the server answered {error.code}", float(asked) if asked.isdigit() else None)
    raise DataError.at(
        url[:200], expected="the file", got=f"the answer {error.code} {error.reason}"[:80],
        do="It may have moved: look at its page",
    )  # fmt: skip


def _check_answer(url: str, answer: Any, part: Part, size: int | None, same: str) -> None:
    """Set the part up for what the server sends: a continuation, or the whole."""
    headers: Message = answer.headers
    coding = headers.get("Content-Encoding", "identity")
    if coding != "identity":
        raise _refused(url, "the file's own bytes", f"them in the coding '{coding[:30]}'")
    if headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise web_page(url, answer.read(_PAGE))
    length = headers.get("Content-Length", "")
    total = int(length) if length.isdigit() else None
    if answer.status == 206:
        span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", headers.get("Content-Range", ""))
        if not span or int(span[1]) != part.size:
            part.restart()
            raise _Again("the server sent another part than was asked for", 0.0)
        total = int(span[3]) if span[3] != "*" else None
        changed = part.state.total is not None and total is not None and total != part.state.total
        if changed or _validator(headers) not in ("", part.state.validator):
            part.restart()
            raise _Again("the server has another file now", 0.0)
    elif part.size:
        part.restart()  # it ignores Range, or the file has changed
    if size is not None and total is not None and total != size:
        part.restart()
        raise _refused(url, f"a file of {size:,} bytes", f"one of {total:,}")
    part.begin(same, _validator(headers), total)


def _validator(headers: Message) -> str:
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")


def _take(url: str, answer: Any, part: Part, policy: Policy) -> None:
    total, first = part.state.total, not part.size
    since, before = time.monotonic(), part.size
    while piece := answer.read1(_PIECE):
        if first and re.match(rb"\s*<(!doctype|html|\?xml)", piece[:100], re.IGNORECASE):
            raise web_page(url, piece[:_PAGE])
        first = False
        if total is not None and part.size + len(piece) > total:
            part.restart()
            raise _Again("the server sent more than it said", None)
        part.add(piece)
        if time.monotonic() - since > policy.timeout:
            if part.size - before < policy.slowest * policy.timeout:
                raise _Again("the server sends next to nothing", None)
            since, before = time.monotonic(), part.size
    if total is not None and part.size < total:
        raise _Again(f"it ended after {part.size:,} of {total:,} bytes", None)
    if not part.size:
        raise _refused(url, "the file", "an empty answer")


class WebPage(DataError):
    """A web page came in place of a file; `body` is what it says."""

    body: bytes = b""


def web_page(url: str, body: bytes = b"") -> WebPage:
    """Return what to say of a web page in place of a file: a full quota, a sign-in, a proxy's notice."""
    error = WebPage.at(
        url[:200],
        expected="the file",
        got="a web page (a quota used up, or a sign-in)",
        do="Open its page in a browser, download the file there, and import it",
    )
    error.body = body
    return error


def read_page(place: Mirror, policy: Policy) -> bytes:
    """Return a web page's bytes, the first megabytes of it; DataError if it cannot be had."""
    opener = urllib.request.build_opener(_Redirects(place))
    request = urllib.request.Request(place.value, headers={"User-Agent": f"dmd-repro/{__version__}"})
    said = ""
    for attempt in range(policy.attempts):
        if attempt:
            policy.sleep(min(_LONGEST_WAIT, policy.wait * 2 ** (attempt - 1)))
        try:
            with opener.open(request, timeout=policy.timeout) as answer:
                return bytes(answer.read(8 * _PAGE))
        except urllib.error.HTTPError as error:
            with error:
                said = f"the answer {error.code} {error.reason}"[:80]
            if error.code not in _PASSING:
                break
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            said = f"no connection ({getattr(error, 'reason', None) or type(error).__name__})"
    raise DataError.at(place.value[:200], expected="a public folder's page", got=said, do="Look at it in a browser")
