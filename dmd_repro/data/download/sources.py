"""Where files come from (`sources.yaml`): checked when it is read, so that no later step meets an odd URL or name."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

from dmd_repro.errors import DataError, nearest
from dmd_repro.papers.yaml import Entry, read_entry

MirrorKind = Literal["url", "drive_file", "drive_folder", "hub", "archive"]
_KINDS: tuple[MirrorKind, ...] = ("url", "drive_file", "drive_folder", "hub", "archive")
_DRIVE_ID = re.compile(r"[A-Za-z0-9_-]{10,100}")
# where a service's own links lead: a redirect to any other host is refused
_DROPBOX = ("dropbox.com", "dropboxusercontent.com")
_HUB_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")


SourceKind = Literal["features", "labels", "folder"]


@dataclass(frozen=True, slots=True)
class Mirror:
    """One place a file may be fetched from."""

    kind: MirrorKind
    value: str  # a URL, the id of a file or folder, or OWNER/NAME
    hosts: tuple[str, ...] = ()  # hosts (and their subdomains) a redirect may lead to, besides its own
    file: str | None = None  # its path on the hub; one with * stands for parts to be joined
    may_differ: bool = False  # not known to hold the published file: another hash is a warning, not a refusal

    @property
    def shown(self) -> str:
        """How a reader is told of it."""
        names = {"drive_file": "Drive file", "drive_folder": "Drive folder", "hub": "Hugging Face data set"}
        return f"{names[self.kind]} {self.value}" if self.kind in names else self.value


@dataclass(frozen=True, slots=True)
class FeatureSource:
    """One thing that can be downloaded by name."""

    name: str
    kind: SourceKind
    title: str
    file: str  # the published file's name
    places: tuple[Mirror, ...]
    page: str
    licence: str
    cite: str
    group: str
    dataset: str | None = None
    setting: str | None = None
    within: str | None = None
    size: int | None = None  # bytes, where published
    about: str | None = None  # the size in words, where only that is
    sha256: str | None = None  # where published
    see_also: tuple[str, ...] = ()

    @property
    def bytes_about(self) -> int | None:
        """How much there is to download, as far as that is published."""
        return self.size or (int(float(self.about.split()[0]) * 1e9) if self.about else None)


def load_sources(path: Path | None = None) -> dict[str, FeatureSource]:
    """Read the sources that come with the package, or another file of that form.

    Raises ClaimError naming file and key if it is malformed, DataError on a URL or a name that may not be.
    """
    root = read_entry(path or Path(__file__).with_name("sources.yaml"))
    root.choice("version", ("1",))
    groups, listed = root.entry("groups"), root.entry("sources")
    found = {name: _source(name, listed.entry(name), groups) for name in listed.data}
    listed.done()
    root.done()
    return found


def label_file(root: Path, dataset: str) -> Path:
    """Return where the official list of clips of a data set is kept: `<data>/labels/MOSI-label.csv`."""
    return root / "labels" / f"{dataset.upper()}-label.csv"


def find_source(name: str, sources: dict[str, FeatureSource]) -> FeatureSource:
    """Return a source by name; DataError with the nearest."""
    if name not in sources:
        low = name.lower().replace("_", "-").removeprefix("cmu-")
        family = [known for known in sources if known.startswith(f"{low}-")]
        raise DataError.at(
            f"'{name}'", expected="something that can be downloaded", got="an unknown name",
            do=f"Name one of {', '.join(family)}" if family else nearest(name, [*sources, "all"]),
        )  # fmt: skip
    return sources[name]


def _source(name: str, entry: Entry, groups: Entry) -> FeatureSource:
    group_name = entry.text("group")
    group = groups.entry(group_name)
    size = entry.maybe("size")
    if size is not None and not size.isdigit():
        entry.fail("size", "a quoted number of bytes", repr(size))
    sha256 = entry.maybe("sha256")
    if sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        entry.fail("sha256", "64 hexadecimal digits", repr(sha256))
    about = entry.maybe("about")
    if about is not None and not re.fullmatch(r"\d+(\.\d+)? GB", about):
        entry.fail("about", 'a size such as "0.6 GB"', repr(about))
    own = entry.entries("places") if entry.has("places") else group.entries("places")
    kind: SourceKind = entry.choice("kind", ("features", "labels", "folder"))
    source = FeatureSource(
        name=plain_name(name),
        kind=kind,
        title=group.text("title"),
        file=entry.text("file") if kind == "folder" else plain_name(entry.text("file")),
        places=tuple(_place(place) for place in own),
        page=group.text("page"),
        licence=group.text("licence"),
        cite=group.text("cite"),
        group=group_name,
        dataset=entry.choice("dataset", ("mosi", "mosei")) if kind != "folder" else None,
        setting=entry.choice("setting", ("aligned", "unaligned")) if kind == "features" else None,
        within=entry.maybe("within"),
        size=int(size) if size else None,
        about=about,
        sha256=sha256,
        see_also=tuple(group.texts("see_also")),
    )
    entry.done()
    return source


def _place(entry: Entry) -> Mirror:
    kinds = [kind for kind in _KINDS if entry.has(kind)]
    if len(kinds) != 1:
        entry.fail("place", f"one of {', '.join(_KINDS)}", f"{len(kinds)} of them")
    differs = entry.has("may_differ") and entry.choice("may_differ", ("yes", "no")) == "yes"
    place = make_place(kinds[0], entry.text(kinds[0]), tuple(entry.texts("hosts")), entry.maybe("file"))
    entry.done()
    return replace(place, may_differ=differs)


def make_place(kind: MirrorKind, value: str, hosts: tuple[str, ...] = (), file: str | None = None) -> Mirror:
    """Return a place; DataError on a URL of another scheme than HTTP(S), or an id that is none."""
    if kind == "hub" and (not _HUB_ID.fullmatch(value) or file is None or ".." in file or file.startswith("/")):
        raise DataError.at(
            f"Hugging Face data set {value!r}", expected="OWNER/NAME and a file in it", got=f"file {file!r}",
            do="Correct the place",
        )  # fmt: skip
    if kind in ("drive_file", "drive_folder") and not _DRIVE_ID.fullmatch(value):
        what = kind.removeprefix("drive_")
        raise DataError.at(
            f"Drive {what} {value!r}", expected=f"the id of a {what}", got="something else", do="Correct the id"
        )
    if kind in ("url", "archive"):
        check_url(value)
        host = urlsplit(value).hostname or ""
        if host == "dropbox.com" or host.endswith(".dropbox.com"):
            hosts = (*hosts, *_DROPBOX)
    return Mirror(kind, value, hosts, file)


def check_url(url: str) -> None:
    """Raise DataError unless this is an HTTP(S) URL with a host and without a password."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.username is None and url.isprintable()
        got = f"the scheme '{parts.scheme}'" if parts.scheme not in ("http", "https") else "no plain address"
        _ = parts.port
    except ValueError:
        good, got = False, "no address"
    if not good or " " in url:
        raise DataError.at(
            f"URL {url!r}"[:200], expected="http:// or https:// and a host", got=got, do="Give the address of the file"
        )


def plain_name(name: str) -> str:
    """Return a file name if it is one in any folder on any system; DataError if it would climb out of its folder."""
    if name in (".", "..") or PurePosixPath(name).name != name or re.search(r'[\\/:*?"<>|\x00-\x1f]', name) or not name:
        raise DataError.at(
            f"file name {name!r}"[:200],
            expected="a plain file name",
            got="one that leads elsewhere",
            do="Do not use this source",
        )
    return name
