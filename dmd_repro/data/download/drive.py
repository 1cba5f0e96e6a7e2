"""Files of Google Drive: a page that asks whether one is sure is answered, a folder is looked at one level at a time.

Drive answers a request for a large file with a page that holds a token, and only with that token the file. A folder's
page lists what lies directly in it; a release of thousands of videos is never walked through.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from dmd_repro.data.download.http import Policy, WebPage, fetch, read_page
from dmd_repro.data.download.part import Part
from dmd_repro.data.download.sources import Mirror, plain_name
from dmd_repro.errors import DataError

FILES = "https://drive.usercontent.google.com/download"
FOLDERS = "https://drive.google.com/embeddedfolderview"
HOSTS = ("google.com", "googleusercontent.com")
PAGES, LEVELS = 12, 3  # folder pages asked for at most, and how deep
_WAYS = {"processed", "features", "data", "dataset", "datasets"}  # folders that may lead to a file of features
_FILE = re.compile(r"/file/d/([\w-]{5,})")
_FOLDER = re.compile(r"/folders/([\w-]{5,})")


@dataclass(frozen=True, slots=True)
class DriveFile:
    """One file in a folder."""

    id: str
    path: str  # in the folder, with /


def listing(folder: str, policy: Policy, within: str | None = None) -> list[DriveFile]:
    """List a public folder and those below that can hold what is wanted; DataError if it cannot be seen.

    `within` None: every folder below, or DataError. At most `PAGES` pages are asked for, `LEVELS` deep.
    """
    files: list[DriveFile] = []
    ahead, pages, lost = [("", folder, 1)], 0, None
    while ahead and pages < PAGES:
        path, at, level = ahead.pop(0)
        pages += 1
        try:
            links = _links(at, policy)
        except DataError as error:
            if within is None or level == 1:
                raise
            lost = error  # perhaps not on the way to the file
            continue
        for link, name in links:
            if found := _FILE.search(link):
                files.append(DriveFile(found[1], f"{path}{name}"))
            elif (found := _FOLDER.search(link)) and level < LEVELS and _leads_on(name, within):
                ahead.append((f"{path}{name}/", found[1], level + 1))
    if ahead and within is None:
        raise unreachable(f"folder {folder}", f"more than {PAGES} folders")
    if not files:
        raise lost or unreachable(f"folder {folder}", "no file in it that could be the one")
    return files


def _links(folder: str, policy: Policy) -> list[tuple[str, str]]:
    page = _Page()
    page.feed(read_page(Mirror("url", f"{FOLDERS}?id={folder}", HOSTS), policy).decode(errors="replace"))
    if not page.links:
        raise unreachable(f"folder {folder}", page.title or "a page without files")
    return page.links


def _leads_on(folder: str, within: str | None) -> bool:
    words = set(_words(folder))
    return within is None or within in words or bool(words & _WAYS)


def _words(name: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in name.lower()).split()


def choose(files: Sequence[DriveFile], file: str, within: str | None, folder: str) -> DriveFile:
    """Return the file of that name, `within` being a part of its path where one name stands in several folders.

    DataError naming what is there if it is not exactly one.
    """
    named = [f for f in files if PurePosixPath(f.path).name == file]
    fitting = [f for f in named if within is None or _parts_hold(f.path, within)]
    fitting = fitting or (named if len(named) == 1 else [])
    if len(fitting) == 1:
        return fitting[0]
    seen = [f.path for f in fitting or named or files]
    raise DataError.at(
        f"Drive folder {folder}",
        expected=f"one file {file}" + (f" of {within}" if within else ""),
        got=f"{len(fitting)}; it holds {', '.join(seen[:8])}"[:300],
        do="Download it in a browser and import it",
    )


def _parts_hold(path: str, word: str) -> bool:
    """Whether a folder on the path is called by a word: `mosi` is not found in `MOSEI`."""
    return any(word in _words(part) for part in PurePosixPath(path).parts[:-1])


def safe_path(path: str) -> Path:
    """Return a path of the listing as one below a folder; DataError if it would climb out."""
    return Path(*(plain_name(part) for part in path.split("/") if part))


def get(file: DriveFile, part: Part, policy: Policy, *, size: int | None = None, known: bool = False) -> None:
    """Bring a file to its end, going on with what has arrived; a page with a token is answered once an attempt.

    Raises DataError if Drive does not give it. OSError of the disk is the caller's.
    """
    url, same = f"{FILES}?{urlencode({'id': file.id, 'export': 'download', 'confirm': 't'})}", f"drive:{file.id}"
    try:
        fetch(Mirror("url", url, HOSTS), part, policy, size=size, known=known, same=same)
    except WebPage as first:
        page = _Page()
        page.feed(first.body.decode(errors="replace"))
        if not page.action:
            raise unreachable(file.path, page.error or page.title or "a web page") from first
        parts = urlsplit(urljoin(url, page.action))
        asked = urlencode({**dict(parse_qsl(parts.query)), **page.inputs})
        again = Mirror("url", urlunsplit(parts._replace(query=asked)), HOSTS)
        try:
            _same_service(url, again.value)
            fetch(again, part, policy, size=size, known=known, same=same)
        except WebPage as second:
            page = _Page()
            page.feed(second.body.decode(errors="replace"))
            raise unreachable(file.path, page.error or page.title or "a second web page") from second


def _same_service(old: str, new: str) -> None:
    was, now = urlsplit(old), urlsplit(new)
    if now.scheme != was.scheme or not (
        now.hostname == was.hostname or any((now.hostname or "").endswith(f".{h}") for h in HOSTS)
    ):
        raise DataError.at(
            old[:100], expected="Drive's own form", got=f"one that leads to {now.hostname}",
            do="Look at the page in a browser; import what you download there",
        )  # fmt: skip


def unreachable(what: str, said: str) -> DataError:
    """Return what to say of a file or folder that Drive does not give, in its own words."""
    return DataError.at(
        f"Drive: {what}", expected="a public folder or file", got=f"'{' '.join(said.split())[:160]}'",
        do="It may be over its quota for today, or have moved: open its page in a browser",
    )  # fmt: skip


class _Page(HTMLParser):
    """What matters of Drive's pages: links with their texts, the form with a token, what went wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.inputs: dict[str, str] = {}
        self.action, self.title, self.error = "", "", ""
        self._into = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a link, a form and its hidden fields."""
        told = {key: value or "" for key, value in attrs}
        if tag == "a" and (_FILE.search(told.get("href", "")) or _FOLDER.search(told.get("href", ""))):
            self.links.append((told["href"], ""))
            self._into = "link"
        elif tag == "form" and "download" in told.get("id", "") + told.get("action", ""):
            self.action = told.get("action", "")
        elif tag == "input" and told.get("type") == "hidden" and self.action and told.get("name"):
            self.inputs[told["name"]] = told.get("value", "")
        elif tag == "title":
            self._into = "title"
        elif "uc-error-caption" in told.get("class", "") or "uc-error-subcaption" in told.get("class", ""):
            self._into = "error"

    def handle_endtag(self, tag: str) -> None:
        """Stop where what was being read ends."""
        if tag in ("a", "title", "p"):
            self._into = ""

    def handle_data(self, data: str) -> None:
        """Collect the text of what is being read: the first line of a link is the file's name."""
        if self._into == "link" and data.strip() and not self.links[-1][1]:
            self.links[-1] = (self.links[-1][0], data.strip())
        elif self._into == "title":
            self.title += data
        elif self._into == "error":
            self.error += data
