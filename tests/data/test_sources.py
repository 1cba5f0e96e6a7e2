"""From a name to a verified feature set: sources, places in order, trust on first use, Drive and Dropbox folders."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bad_server import QUICK, BadServer, serving
from command import Here
from toy_files import mmsa, mult, save

from dmd_repro.data.download import drive as download_drive
from dmd_repro.data.download.get import DownloadOptions, download
from dmd_repro.data.download.manual import by_hand
from dmd_repro.data.download.sources import FeatureSource, load_sources, make_place
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import ClaimError, DataError


@pytest.fixture
def source(server: BadServer, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[FeatureSource]:
    body = save(tmp_path / "made.pkl", mmsa(aligned=True, text=768)).read_bytes()
    with serving(body) as own:
        base = load_sources()["mosi-aligned-bert"]
        yield replace(base, places=(make_place("url", own.url("good")),), sha256=None, size=None)


def with_place(source: FeatureSource, *hows: str, sha256: str | None = None) -> FeatureSource:
    base = source.places[0].value
    places = tuple(make_place("url", base.replace("/good/", f"/{how}/")) for how in hows)
    return replace(source, places=places, sha256=sha256)


def test_a_source_is_fetched_imported_and_checked_once(source, tmp_path):
    """One call; the second finds it there; the hash is remembered; the file is gone unless kept."""
    store, said = Store(tmp_path / "data"), []
    options = DownloadOptions(QUICK, say=said.append)
    done = download(source, store, options)
    assert (done.name, done.new, done.report.name) == ("mosi-aligned-bert", True, "mosi-aligned-bert")
    assert "trusted on first use" in said[0]
    known = json.loads((store.root / ".downloads" / "known.json").read_text())
    assert known["mosi-aligned-bert/aligned_50.pkl"]["sha256"] == done.manifest.source["sha256"]
    assert not list((store.root / ".downloads" / "mmsa").glob("[!.]*.pkl*"))
    assert not download(source, store, options).new
    kept = download(source, store, replace(options, force=True, keep=True))
    assert "first downloaded on" in said[-1]
    assert kept.files[0].is_file()
    assert store.names() == ["mosi-aligned-bert"]


def test_a_change_since_the_first_download_is_reported(source, tmp_path, monkeypatch):
    """Trust on first use: the second content needs the user's word; the right one is taken again without."""
    store = Store(tmp_path / "data")
    options = DownloadOptions(QUICK, force=True)
    download(source, store, options)
    with serving(save(tmp_path / "b.pkl", mmsa(aligned=True, text=768, v=21), 3).read_bytes()) as other:
        changed = replace(source, places=(make_place("url", other.url("good")),))
        before = store.manifest("mosi-aligned-bert").digest
        for _ in range(2):
            with pytest.raises(DataError, match=r"first downloaded on .*other content.*--accept-change"):
                download(changed, store, options)
        assert store.manifest("mosi-aligned-bert").digest == before
        assert download(changed, store, replace(options, accept=True)).manifest.digest != before
        assert download(changed, store, options).new
    with pytest.raises(DataError, match="--accept-change"):
        download(source, store, options)
    (store.root / ".downloads" / "known.json").write_text("{")
    with pytest.raises(DataError, match="hashes of earlier downloads"):
        download(source, store, options)


def test_places_are_tried_in_order(source, tmp_path):
    """A dead link, a web page, a wrong hash: the next place; if none is left, every reason and the manual way."""
    store, said = Store(tmp_path / "data"), []
    with_three = with_place(source, "404", "html", "good")
    assert download(with_three, store, DownloadOptions(QUICK, say=said.append)).new
    assert len([t for t in said if "next place" in t]) == 2
    right = store.manifest("mosi-aligned-bert").source["sha256"]
    hashed = with_place(source, "other", "good", sha256=right)
    assert download(hashed, store, DownloadOptions(QUICK, force=True, say=said.append)).new
    assert "published sha256" in said[-1]
    with pytest.raises(DataError, match=r"2 places.*404.*web page.*--how"):
        download(with_place(source, "404", "html"), store, DownloadOptions(QUICK, force=True))
    with pytest.raises(DataError, match="published sha256"):
        download(with_place(source, "other", sha256=right), store, DownloadOptions(QUICK, force=True))


def test_what_is_no_feature_file_is_not_trusted(source, tmp_path):
    """A truncated file must not be remembered as the right one, nor stand in the way of the next attempt."""
    store = Store(tmp_path / "data")
    with pytest.raises(DataError, match=r"truncated.*kept as .*refused"):
        download(with_place(source, "short"), store, DownloadOptions(QUICK))
    assert not (store.root / ".downloads" / "known.json").exists()
    assert download(source, store, DownloadOptions(QUICK)).new


def test_a_dropbox_folder_is_fetched_once_for_all_its_files(tmp_path, monkeypatch):
    """The folder comes as one archive: both feature sets from one download."""
    pack = tmp_path / "folder.zip"
    with zipfile.ZipFile(pack, "w") as made:
        for file in ("mosi_data.pkl", "mosi_data_noalign.pkl"):
            made.writestr(f"data/{file}", save(tmp_path / file, mult(a=5, v=20)).read_bytes())
    store = Store(tmp_path / "store")
    with serving(pack.read_bytes()) as server:
        place = replace(make_place("archive", server.url("notag", "folder")), hosts=())
        sources = [replace(load_sources()[n], places=(place,)) for n in ("mosi-aligned-glove", "mosi-unaligned-glove")]
        for source in sources:
            assert download(source, store, DownloadOptions(QUICK), siblings=sources).new
        assert server.asked["notag"] == 1
        missing = replace(sources[0], name="other", file="absent.pkl")
        with pytest.raises(DataError, match="archive without it"):
            download(missing, store, DownloadOptions(QUICK))
    assert store.names() == ["mosi-aligned-glove", "mosi-unaligned-glove"]


# ---- Drive


@pytest.fixture
def at_drive(monkeypatch: pytest.MonkeyPatch) -> Iterator[BadServer]:
    """A server in the place of Google's."""
    with serving(b"") as server:
        monkeypatch.setattr(download_drive, "FILES", server.url("drive", "download"))
        monkeypatch.setattr(download_drive, "FOLDERS", server.url("folder", "embeddedfolderview"))
        yield server


def test_a_drive_folder_gives_the_right_one_of_two_files(at_drive, tmp_path):
    """Both data sets have an aligned_50.pkl: the folder tells; an odd layout is one sentence."""
    at_drive.body = save(tmp_path / "a.pkl", mmsa(aligned=True, text=768)).read_bytes()
    top = "0" * 12
    at_drive.folders = {
        top: [("1" * 12, "MOSEI", True), ("2" * 12, "MOSI", True), ("3" * 12, "readme.txt", False)],
        "1" * 12: [("4" * 12, "aligned_50.pkl", False)],
        "2" * 12: [("5" * 12, "aligned_50.pkl", False)],
    }
    base = load_sources()["mosi-aligned-bert"]
    source = replace(base, places=(make_place("drive_folder", top),), sha256=None, size=None)
    store = Store(tmp_path / "store")
    assert download(source, store, DownloadOptions(QUICK)).new
    assert at_drive.asked["good /drive/download"] == 1
    with pytest.raises(DataError, match=r"0; it holds .*readme"):
        download_drive.choose(download_drive.listing(top, QUICK), "absent.pkl", "mosi", "f")
    at_drive.folders[top].append(("2" * 12, "CMU-MOSI", True))
    with pytest.raises(DataError, match="got 2; it holds"):
        download(source, store, DownloadOptions(QUICK, force=True))
    at_drive.folders[top] = []
    with pytest.raises(DataError, match="public folder"):
        download_drive.listing(top, QUICK)


def test_checkpoints_are_a_folder_of_files(at_drive, tmp_path):
    """Fetched with their paths, remembered each; a path that climbs out is refused."""
    store, base = Store(tmp_path / "store"), load_sources()["checkpoints"]
    at_drive.body, top = b"weights", "0" * 12
    source = replace(base, places=(make_place("drive_folder", top),))
    at_drive.folders = {
        top: [("1" * 12, "mosi", True), ("2" * 12, "a.pth", False)], "1" * 12: [("3" * 12, "b.pth", False)]
    }  # fmt: skip
    done = download(source, store, DownloadOptions(QUICK))
    assert [p.relative_to(store.root / "checkpoints").as_posix() for p in done.files] == ["a.pth", "mosi/b.pth"]
    assert not download(source, store, DownloadOptions(QUICK)).new
    done.files[0].unlink()
    at_drive.body = b"changed"
    with pytest.raises(DataError, match="--accept-change"):
        download(source, store, DownloadOptions(QUICK))
    at_drive.folders[top] = [("4" * 12, "../../evil.pth", False)]
    with pytest.raises(DataError, match="plain file name"):
        download(source, store, DownloadOptions(QUICK, accept=True))
    assert not (tmp_path / "evil.pth").exists()


# ---- the list of sources and the commands


def test_the_list_that_comes_with_the_package(tmp_path):
    """Every place is an address, nothing that is not known is stated, every recipe's features can be got by name."""
    sources = load_sources()
    assert set(sources) > {"mosi-aligned-bert", "mosei-unaligned-glove", "checkpoints"}
    published = {name for name, s in sources.items() if s.sha256}
    assert published == {f"{d}-{a}-bert" for d in ("mosi", "mosei") for a in ("aligned", "unaligned")} | {
        "mosi-labels", "mosei-labels"
    }  # fmt: skip
    assert len({s.sha256 for s in sources.values() if s.sha256}) == len(published)
    for source in sources.values():
        text = "\n".join(by_hand(source, ["table1"]))
        assert source.page in text
        if source.kind == "features":
            assert f"dmd data import {source.file} --name {source.name}" in text


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ('version: "1"', 'version: "2"', "version"),
        ("file: mosi_data.pkl", "file: ../mosi_data.pkl", "plain file name"),
        ("https://www.dropbox.com/sh/hyzpgx1hp9nj37s/AAB7FhBqJOFDw2hEyvv2ZXHxa?dl=1", "file:///etc/passwd", "http"),
        ("kind: features, dataset: mosi, setting: unaligned", "kind: stuff, dataset: mosi", "kind"),
        ("within: mosi\n", "withn: mosi\n", "unknown key"),
        ('drive_folder: "1BBadVSptOe4h8TWchkhWZRLJw8YG_aEi"', 'drive_folder: "a b"', "id of a folder"),
        ("group: mult, kind", "group: malt, kind", "malt"),
        ('about: "13.7 GB"', 'about: "a lot"', "about: expected a size such as"),
    ],
)
def test_a_malformed_list_is_named_by_its_key(tmp_path, old, new, word):
    """A list of one's own mirrors is read as strictly as ours."""
    text = (Path(download_drive.__file__).with_name("sources.yaml")).read_text()
    assert old in text
    (tmp_path / "s.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises((DataError, ClaimError), match=word):
        load_sources(tmp_path / "s.yaml")


def test_the_commands(server, tmp_path, monkeypatch, capsys):
    """--how, --url, all, JSON, exit codes: as a user types them."""
    monkeypatch.setenv("COLUMNS", "140")
    dmd = Here(tmp_path, monkeypatch, capsys)
    how = dmd("data", "download", "mosi-aligned-bert", "--how")
    assert how.code == 0
    assert "dmd data import aligned_50.pkl --name mosi-aligned-bert --dataset mosi" in how.out
    assert len(json.loads(dmd("data", "download", "all", "--how", "--json").out)) == 8
    slip = dmd("data", "download", "mosi-aligned-brt")
    assert (slip.code, "Did you mean 'mosi-aligned-bert'?" in slip.err) == (2, True)
    with serving(save(tmp_path / "a.pkl", mmsa(aligned=True, text=768)).read_bytes()) as own:
        good = ("--url", own.url("good"))
        assert "two names" not in dmd("data", "download", "all", *good).err
        assert dmd("data", "download", "mosi-aligned-bert", "--url", "file:///etc/passwd").code == 2
        page = dmd("data", "download", "mosi-aligned-bert", "--url", own.url("html"))
        assert (page.code, "a web page" in page.err, "--how" in page.err) == (2, True, True)
        got = dmd("data", "download", "mosi-aligned-bert", *good, "--json")
        assert got.code == 0, got.err
        assert json.loads(got.out)["done"][0]["standing"] == "partial"
        assert "already there" in dmd("data", "download", "mosi-aligned-bert", *good).out
    needs = {n["name"]: n for n in json.loads(dmd("data", "matrix", "--json").out)["needs"]}
    assert needs["mosi-aligned-bert"]["state"] == "here"
    assert needs["mosi-unaligned-glove"]["state"] == "missing"
    rows = needs["mosi-aligned-bert"]["rows"]["table1"]
    assert "mosi-aligned-bert-dmd" in rows
    assert all(row.startswith("mosi-aligned-bert-") for row in rows)
    shown = dmd("data", "matrix")
    assert "mosi-unaligned-glove" in shown.out
    assert "GloVe" in shown.out
