"""What a file is, which rows it serves, and removing a feature set: as a user types it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from command import Here
from toy_files import mmsa, save

from dmd_repro.cli import ask
from dmd_repro.data.download import sources as sources_module
from dmd_repro.data.download.identify import identify
from dmd_repro.data.download.sources import label_file
from dmd_repro.data.store.disk import alone
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import DataError


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    monkeypatch.setenv("COLUMNS", "80")
    return Here(tmp_path, monkeypatch, capsys)


def test_a_file_is_named_by_its_hash_or_by_its_arrays(dmd: Here, tmp_path: Path) -> None:
    """Protects: a published, an imported and a re-saved file are known; an unknown one says what it could stand for."""
    file = save(tmp_path / "a.pkl", mmsa(aligned=True, text=768))
    unknown = dmd("data", "identify", "a.pkl")
    assert unknown.code == 1
    assert "a.pkl: unknown; no published hash, and no stored set has its arrays" in unknown.out
    assert "could serve table1: mosi-aligned-bert" in unknown.out
    assert "partial: not the official split, never compared with printed numbers" in unknown.out
    assert "Name one of mosi-aligned-glove, " in dmd("data", "download", "mosi").err
    assert not list((tmp_path / "data").glob(".identify-*"))
    assert dmd("data", "import", "a.pkl", "--name", "mine", "--dataset", "mosi").code == 0
    known = dmd("data", "identify", "a.pkl")
    assert (known.code, "a.pkl: mine; it is the file that was imported" in known.out) == (0, True)
    again = save(tmp_path / "b.pkl", mmsa(aligned=True, text=768), 3)
    assert sha256(again) != sha256(file)
    told = json.loads(dmd("data", "identify", "b.pkl", "--json").out)
    assert (told["name"], told["serves"]) == ("mine", "mosi-aligned-bert")
    assert "its arrays are those stored" in told["how"]
    listed = sources_module.load_sources()
    published = {"x": replace(listed["mosei-aligned-bert"], name="x", sha256=sha256(again))}
    assert identify(again, Store(tmp_path / "none"), published).how == "it has the published sha256"
    (tmp_path / "notes.txt").write_text("hello")
    other = dmd("data", "identify", "notes.txt")
    assert (other.code, "it cannot be imported" in other.out) == (1, True)
    rows = "".join(f"v{i},{i},0.5,{split}\n" for i, split in enumerate(("train", "train", "valid", "test")))
    (tmp_path / "labels.csv").write_text(f"video_id,clip_id,label,mode\n{rows}")
    listed_clips = dmd("data", "identify", "labels.csv")
    assert "it is a list of 4 clips with labels, of no known data set's sizes" in listed_clips.words
    assert dmd("data", "identify", "absent.pkl").code == 2


def test_a_feature_set_is_removed_with_what_depends_on_it_in_view(
    dmd: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects: nothing goes unasked; the runs trained on it are named; a damaged set can go too."""
    save(tmp_path / "a.pkl", mmsa(aligned=True, text=768))
    for name in ("mine", "broken"):
        assert dmd("data", "import", "a.pkl", "--name", name, "--dataset", "mosi").code == 0
    asked = dmd("data", "rm", "mine")
    assert (asked.code, "Add --yes" in asked.err) == (2, True)
    monkeypatch.setattr(ask, "on_a_terminal", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda text: False)
    assert "Nothing was removed" in dmd("data", "rm", "mine").out
    assert (tmp_path / "data" / "mine").is_dir()
    digest = Store(tmp_path / "data").manifest("mine").digests["hidden"]
    rows = [{"run_id": "0123456789ab", "digest": digest}, {"run_id": "ffffffffffff", "digest": "x"}]
    monkeypatch.setattr("dmd_repro.records.folder.Records.rows", lambda self: iter(rows))
    gone = dmd("data", "rm", "mine", "--yes")
    assert (gone.code, "1 run was trained on it (0123456789ab)" in gone.out) == (0, True)
    assert not (tmp_path / "data" / "mine").exists()
    (tmp_path / "data" / "broken" / "manifest.json").write_text("{")
    assert "which is damaged" in dmd("data", "rm", "broken", "--yes").words
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == [".broken.lock", ".mine.lock"]
    assert "Get one: dmd data download NAME" in dmd("data", "rm", "mine", "--yes").err
    assert "generated data" in dmd("data", "rm", "synthetic", "--yes").err


def test_a_feature_set_in_use_or_half_gone_is_handled(
    dmd: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects: a set that a run trains on stays; a removal that was killed leaves no set, and its bytes go later."""
    save(tmp_path / "a.pkl", mmsa(aligned=True, text=768))
    make = ("data", "import", "a.pkl", "--name", "mine", "--dataset", "mosi")
    assert dmd(*make).code == 0
    store = Store(tmp_path / "data")
    rows = [{"run_id": "0123456789ab", "digest": store.manifest("mine").digests["hidden"]}]
    with monkeypatch.context() as patch:
        patch.setattr("dmd_repro.records.folder.Records.rows", lambda self: iter(rows))
        patch.setattr("dmd_repro.records.lock.writer_of", lambda root, run: "process 7 on here")
        busy = dmd("data", "rm", "mine", "--yes")
        assert (busy.code, "got run 0123456789ab (process 7 on here)" in busy.err) == (2, True)
    with alone(store.root / ".mine.lock"), pytest.raises(DataError, match="one at work"):
        store.remove("mine")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda path, **kw: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.remove("mine")
    assert store.names() == []
    assert (store.root / ".mine.removed").is_dir()
    assert dmd(*make).code == 0
    assert not (store.root / ".mine.removed").exists()


def test_labels_are_removed_by_the_name_they_came_by(dmd: Here, tmp_path: Path) -> None:
    """Protects: a list that `dmd data check` compares with by itself can be taken away again."""
    assert "nothing there" in dmd("data", "rm", "mosi-labels", "--yes").err
    path = label_file(tmp_path / "data", "mosi")
    path.parent.mkdir(parents=True)
    path.write_text("x")
    assert dmd("data", "rm", "mosi-labels").code == 2
    assert dmd("data", "rm", "mosi-labels", "--yes").code == 0
    assert not path.exists()


def test_the_lists_fit_80_columns(dmd: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: no head and no number is folded or cut; one's own sets stand in the matrix with what they serve."""
    save(tmp_path / "a.pkl", mmsa(aligned=True, text=768))
    assert "dmd data download NAME" in dmd("data", "list").out
    assert dmd("data", "import", "a.pkl", "--name", "mine", "--dataset", "mosi").code == 0
    shown = dmd("data", "list").out
    for words in ("clips: train/valid/test", "  mosi aligned, PARTIAL", "x768", "hidden bert"):
        assert words in shown
    matrix = dmd("data", "matrix").out
    assert "mosei-unaligned-glove" in matrix
    assert "yours (partial)" in matrix
    lines = [line for line in (matrix + shown).splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= 80
    largest = {
        "name": "mosei-unaligned-bert", "dataset": "mosei", "aligned": False, "standing": "partial",
        "texts": ["hidden", "bert"], "splits": {"train": 16326, "valid": 1871, "test": 4659},
        "lengths": {"l": 50, "a": 500, "v": 375}, "dims": {"l": 768, "a": 74, "v": 35},
    }  # fmt: skip
    monkeypatch.setattr(Store, "names", lambda self: ["mosei-unaligned-bert"])
    monkeypatch.setattr(Store, "manifest", lambda self, name: SimpleNamespace(summary=lambda: largest))
    out = dmd("data", "list").out.splitlines()
    row = next(line for line in out if "16326/1871/4659" in line)
    assert row.split() == ["mosei-unaligned-bert", "hidden", "bert", "16326/1871/4659", "50x768", "500x74", "375x35"]
    assert max(len(line) for line in out if str(tmp_path) not in line) <= 80


def test_what_downloads_left_is_listed(dmd: Here, tmp_path: Path) -> None:
    """Protects: gigabytes of an unfinished or refused download are not hidden; locks and notes are no files of it."""
    home = tmp_path / "data" / ".downloads" / "mmsa"
    home.mkdir(parents=True)
    for name in ("a.pkl.part", "a.pkl.part.json", ".a.pkl.lock", "b.pkl.refused"):
        (home / name).write_bytes(b"x" * 2_000_000)
    said = dmd("data", "list").words
    assert said.count("left by a download") == 2
    assert "a.pkl.part (2.0 MB; unfinished: dmd data download resumes it)" in said
    assert "b.pkl.refused (2.0 MB; delete it when you like)" in said


def test_own_sets_say_what_they_serve(dmd: Here, tmp_path: Path) -> None:
    """Protects: a set under a name of one's own is found, with the rows it can stand for."""
    save(tmp_path / "a.pkl", mmsa(aligned=True, text=768))
    assert dmd("data", "import", "a.pkl", "--name", "mine", "--dataset", "mosi").code == 0
    own = json.loads(dmd("data", "matrix", "--json").out)["own"]
    assert [(o["name"], o["serves"]) for o in own] == [("mine", "mosi-aligned-bert")]
