"""Every kind of place against every fault of a server: a whole file or a sentence. Only 127.0.0.1 is asked."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bad_server import QUICK, BadServer, serving
from command import Here
from toy_files import mmsa, save

from dmd_repro.data.download import drive, hub
from dmd_repro.data.download.get import DownloadOptions, download
from dmd_repro.data.download.part import Part, sweep
from dmd_repro.data.download.places import from_place
from dmd_repro.data.download.sources import FeatureSource, Mirror, load_sources, make_place
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import DataError

BODY = bytes(range(256)) * 500
ID = "1" * 12
KINDS = ("drive_file", "token", "drive_folder", "hub", "parts", "archive")


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[BadServer]:
    """A server that stands for all services."""
    with serving(BODY) as server:
        at_hub = server.url("hub", "").rstrip("/")
        monkeypatch.setattr(drive, "FILES", server.url("drive", "download"))
        monkeypatch.setattr(drive, "FOLDERS", server.url("folder", "embeddedfolderview"))
        monkeypatch.setattr(hub, "ENDPOINT", at_hub)
        yield server


def place_of(kind: str, server: BadServer, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """Make the server hold the file as this kind of place does."""
    if kind == "archive":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as made:
            made.writestr("data/x.pkl", BODY)
        server.files["Archive.zip"] = buffer.getvalue()
        return make_place("archive", server.url(server.after, "Archive.zip"))
    if kind == "hub":
        server.files["x.pkl"] = BODY
        return make_place("hub", "owner/name", file="x.pkl")
    if kind == "parts":
        server.files |= {f"x.pkl.part{i:02}": BODY[i * 50_000 : (i + 1) * 50_000] for i in range(3)}
        return make_place("hub", "owner/name", file="sub/x.pkl.part*")
    if kind == "token":
        monkeypatch.setattr(drive, "FILES", server.url("token", "download"))
    server.folders[ID] = [("2" * 12, "MOSI", True), ("3" * 12, "Raw videos", True)]
    server.folders["2" * 12] = [("4" * 12, "x.pkl", False)]
    return make_place("drive_folder" if kind == "drive_folder" else "drive_file", ID)


def take(place: Mirror, folder: Path) -> bytes:
    """Fetch x.pkl from a place; the hash must be the file's."""
    source = replace(load_sources()["mosi-aligned-bert"], file="x.pkl", sha256=None, size=None)
    sha256 = from_place(source, place, folder / "x.pkl", QUICK, lambda stage, done, total: None, ())
    body = (folder / "x.pkl").read_bytes()
    assert hashlib.sha256(body).hexdigest() == sha256
    assert [p.name for p in folder.iterdir()] == ["x.pkl"]
    return body


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "how",
    [
        "good",
        "cut",
        "cut:2",
        "cutnotag:2",
        "stall:1",
        "drip:1",
        "norange",
        "wrongrange",
        "chunked",
        "503:2",
        "garbage:1",
    ],
)
def test_what_can_be_overcome_is_overcome(services, tmp_path, monkeypatch, kind, how):
    """Whatever service a file comes from, a cut, a stall, a refusal for the moment and odd ranges are survived."""
    services.after = how
    assert take(place_of(kind, services, monkeypatch), tmp_path) == BODY


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("how", "word"),
    [
        ("404", "the answer 404"), ("html", "Quota exceeded|a web page"),
        ("hiddenhtml", "Quota exceeded|a web page|got one of 97"),
        ("gzip", "the coding 'gzip'"), ("empty", "an empty answer|got one of 0"),
        ("tohost", "redirect to another host, localhost"),
        ("huge", r"free space|one of 1,000,000,000,000,000"), ("503", "answered 503, 3 times"),
        ("nothing", "ended after 0 of"), ("toftp", "the scheme 'ftp'"), ("tofile", "not allowed"), ("toloop", "302"),
        ("long", "3 times in a row|got one of"),
    ],
)  # fmt: skip
def test_what_cannot_is_one_sentence_and_no_file(services, tmp_path, monkeypatch, kind, how, word):
    """Nothing that is not the file gets its name, and the reason is said in one line."""
    services.after = how
    with pytest.raises(DataError, match=word) as caught:
        take(place_of(kind, services, monkeypatch), tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "x.pkl").exists()
    assert all(p.stat().st_size for p in tmp_path.iterdir())  # where nothing came, nothing is left


@pytest.mark.parametrize("kind", ["drive_file", "token", "drive_folder", "hub"])
def test_a_file_that_changes_midway_is_never_mixed(services, tmp_path, monkeypatch, kind):
    """Half of one version and half of another, of one size, would pass as neither."""
    services.after = "change"
    assert take(place_of(kind, services, monkeypatch), tmp_path) == services.other


def test_what_a_kill_leaves_beside_a_whole_file_is_swept(tmp_path):
    """A note of a part that got its name just before the kill goes with the next download; others' parts stay."""
    for name in ("a.pkl.part.json", "b.pkl.part.json", "b.pkl.part", "c.pkl"):
        (tmp_path / name).write_text("{}")
    sweep(tmp_path)
    sweep(tmp_path / "none")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.pkl.part", "b.pkl.part.json", "c.pkl"]


def test_a_new_token_each_time_goes_on_with_what_arrived(services, tmp_path, monkeypatch):
    """Protects: 13.7 GB behind a page whose token changes are resumed, not begun again at every attempt."""
    services.after = "cut:3"
    place = place_of("token", services, monkeypatch)
    with Part(tmp_path / "x.pkl") as part:
        with pytest.raises(DataError, match="the whole file"):
            drive.get(drive.DriveFile(ID, "x.pkl"), part, replace(QUICK, attempts=1))
        kept = part.size
    assert kept == len(BODY) // 4
    assert take(place, tmp_path) == BODY
    assert services.asked["token"] >= 4
    assert f"bytes={kept}-" in services.ranges


def test_the_form_of_a_page_leads_to_drive_only(services, tmp_path, monkeypatch):
    """Protects: a page that came from elsewhere cannot send the download there."""
    page = '<!DOCTYPE html><form id="download-form" action="http://evil.example/get"><input type="hidden" name="uuid">'
    services.after = "good"
    services.body = page.encode()
    with pytest.raises(DataError, match=r"leads to evil\.example"):
        take(make_place("drive_file", ID), tmp_path)


def test_a_release_is_never_walked_through(services, tmp_path, monkeypatch):
    """Protects: of MMSA's root, with thousands of videos, only the folders on the way to the file are asked for."""
    root = [("m" * 12, "MOSI", True), ("e" * 12, "MOSEI", True), *((f"{i:012}", f"Raw_{i}", True) for i in range(2000))]
    services.folders |= {
        ID: root,
        "m" * 12: [("r" * 12, "Raw", True), ("p" * 12, "Processed", True), ("q" * 12, "label.csv", False)],
        "p" * 12: [("4" * 12, "x.pkl", False), ("5" * 12, "deep", True)],
    }
    assert take(make_place("drive_folder", ID), tmp_path) == BODY
    assert services.asked["folder"] == 3
    services.folders["p" * 12] = services.folders["p" * 12][1:]
    (tmp_path / "x.pkl").unlink()
    with pytest.raises(DataError, match=r"0; it holds MOSI/label\.csv"):
        take(make_place("drive_folder", ID), tmp_path)
    with pytest.raises(DataError, match="the answer 404"):
        drive.listing("9" * 12, QUICK)
    services.folders |= {f"{i:012}": [("7" * 12, "v.mp4", False)] for i in range(2000)}
    services.folders["e" * 12] = services.folders["r" * 12] = [("8" * 12, "w.mp4", False)]
    services.folders["5" * 12] = [("8" * 12, "w.mp4", False)]
    services.asked.clear()
    with pytest.raises(DataError, match="more than 12 folders"):
        drive.listing(ID, QUICK)
    assert services.asked["folder"] == drive.PAGES


def test_parts_are_joined_in_order_and_gone_on_with(services, tmp_path, monkeypatch):
    """Protects: a kill between two parts costs one of them, a missing part is said, the tenth comes after the ninth."""
    place = place_of("parts", services, monkeypatch)
    services.after = "good"
    whole = services.files.pop("x.pkl.part02")
    services.files["x.pkl.part03"] = whole
    with pytest.raises(DataError, match="without a gap"):
        take(place, tmp_path)
    services.files["x.pkl.part02"] = services.files.pop("x.pkl.part03")
    seen = []
    append = hub._append

    def killed(*arguments):
        seen.append(1)
        if len(seen) == 2:
            raise KeyboardInterrupt
        append(*arguments)

    monkeypatch.setattr(hub, "_append", killed)
    with pytest.raises(KeyboardInterrupt):
        take(place, tmp_path)
    monkeypatch.setattr(hub, "_append", append)
    services.asked.clear()
    assert take(place, tmp_path) == BODY
    assert services.asked["hub"] == 3  # the listing and the two parts that were missing
    names = [f"p/x.part{i}" for i in (9, 10, 1)]
    assert sorted(names, key=hub._number) == ["p/x.part1", "p/x.part9", "p/x.part10"]
    assert hub._number("x.partab") < hub._number("x.partba")


def test_a_data_set_that_is_not_there_is_said(services, tmp_path, monkeypatch):
    """Protects: a moved mirror, another file in it, the package missing: one sentence each."""
    services.files = {"other.pkl": BODY}
    with pytest.raises(DataError, match=r"expected x\.pkl, got other\.pkl"):
        take(make_place("hub", "owner/name", file="x.pkl"), tmp_path)
    monkeypatch.setattr(hub, "ENDPOINT", services.url("404", "").rstrip("/"))
    with pytest.raises(DataError, match=r"expected a public data set, got '.*404"):
        take(make_place("hub", "owner/name", file="x.pkl"), tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DataError, match=r"pip install 'dmd-repro\[download\]'"):
        take(make_place("hub", "owner/name", file="x.pkl"), tmp_path)


def features(server: BadServer, tmp_path: Path, sha256: str | None, **marks: bool) -> FeatureSource:
    """Return a source whose first place is the server's /other, with these marks, and no second."""
    server.body = save(tmp_path / "made.pkl", mmsa(aligned=True, text=768)).read_bytes()
    place = replace(make_place("url", server.url("good")), **marks)
    return replace(load_sources()["mosi-aligned-bert"], places=(place,), sha256=sha256, size=None)


def test_a_hash_that_differs_is_refused_or_a_warning_by_place(services, tmp_path):
    """Protects: MMSA's own places must hold the published file; the DMD authors' may be another, remembered."""
    store, said = Store(tmp_path / "data"), []
    options = DownloadOptions(QUICK, say=said.append)
    with pytest.raises(DataError, match="expected the published sha256 aaaaaaaaaaaa"):
        download(features(services, tmp_path, "a" * 64), store, options)
    assert store.names() == []
    copy = features(services, tmp_path, "a" * 64, may_differ=True)
    assert download(copy, store, options).new
    assert "WARNING: it is not the published file (sha256 aaaaaaaaaaaa" in said[-1]
    known = json.loads((store.root / ".downloads" / "known.json").read_text())
    assert "not the published file" in known["mosi-aligned-bert/aligned_50.pkl"]["note"]
    again = replace(options, force=True)
    assert download(copy, store, again).new
    assert "first downloaded on" in said[-1]
    services.body = save(tmp_path / "b.pkl", mmsa(aligned=True, text=768, v=21), 3).read_bytes()
    with pytest.raises(DataError, match="--accept-change"):
        download(copy, store, again)


def test_label_lists_are_downloaded_and_used(services, tmp_path, monkeypatch, capsys):
    """Protects: `data check` compares with the downloaded list without being told; a page in its place is not kept."""
    dmd = Here(tmp_path, monkeypatch, capsys)
    store = Store(tmp_path / "data")
    base = load_sources()["mosi-labels"]
    services.body = b"video_id,clip_id,text,label,annotation,mode,label_by\nv,1,A B,-0.5,Negative,train,0\n"
    source = replace(base, places=(replace(make_place("url", services.url("good")), may_differ=True),))
    done = download(source, store, DownloadOptions(QUICK))
    assert done.files == (store.root / "labels" / "MOSI-label.csv",)
    assert not download(source, store, DownloadOptions(QUICK)).new
    save(tmp_path / "x.pkl", mmsa(aligned=True, text=768))
    assert dmd("data", "import", "x.pkl", "--name", "mine", "--dataset", "mosi").code == 0
    checked = dmd("data", "check", "mine", "--json")
    assert "compared with the official list" in checked.err
    assert any("official" in f["message"] for f in json.loads(checked.out)["findings"])
    services.body = b"a,b\n1,2\n"
    with pytest.raises(DataError, match="the columns"):
        download(source, store, DownloadOptions(QUICK, force=True, accept=True))
    assert "video_id" in done.files[0].read_text()
