"""A study's folder: renewed as a whole, and nothing of anybody else's in it is ever lost."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from command import Here

from dmd_repro.errors import SpecError
from dmd_repro.papers.folders import table_names
from dmd_repro.papers.reruns import load_reruns
from dmd_repro.render.study import book as book_module
from dmd_repro.render.study.book import to_pdf
from dmd_repro.render.study.gather import gather
from dmd_repro.render.study.own_folder import LIST, put_folder
from dmd_repro.render.study.write import write_study

FILES = {"index.html": b"one", "files/table1.csv": b"two"}


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder of ours."""
    put_folder(tmp_path / "study", FILES)
    return tmp_path / "study"


def test_a_new_and_an_empty_folder_are_filled(tmp_path: Path) -> None:
    """The folder holds the files and their list, and nothing is left beside it."""
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new", "deep/below"):
        put_folder(tmp_path / name, FILES)
        assert set(contents(tmp_path / name)) == {*FILES, LIST}
    assert {p.name for p in tmp_path.iterdir()} == {"empty", "new", "deep"}


def test_a_study_of_before_is_renewed(study: Path) -> None:
    """What the new one has not is gone, what it has is there, and the old folder is nowhere."""
    put_folder(study, {"index.html": b"three", "audit.html": b"four"})
    assert {name: text for name, text in contents(study).items() if name != LIST} == {
        "index.html": b"three",
        "audit.html": b"four",
    }
    assert [p.name for p in study.parent.iterdir()] == ["study"]


@pytest.mark.parametrize("name", ["notes.txt", "files/mine.csv", "deep/er/x", ".hidden"])
def test_a_file_of_somebody_else_stops_it(study: Path, name: str) -> None:
    """The study is refused with the file's name, and every byte stays."""
    (study / name).parent.mkdir(parents=True, exist_ok=True)
    (study / name).write_text("mine")
    before = contents(study)
    with pytest.raises(SpecError, match=f"'{name}' among them"):
        put_folder(study, FILES)
    assert contents(study) == before
    assert [p.name for p in study.parent.iterdir()] == ["study"]


def test_a_page_that_was_changed_is_kept(study: Path) -> None:
    """Who wrote into a page of a study does not lose it to the next one."""
    (study / "index.html").write_text("edited")
    before = contents(study)
    with pytest.raises(SpecError, match="changed since"):
        put_folder(study, FILES)
    assert contents(study) == before


@pytest.mark.parametrize(
    "listed",
    [None, "{", "[]", '{"kind": "dmd study", "version": 1, "files": {"../a": "x"}}', '{"kind": "other", "files": {}}',
     '{"kind": "dmd study", "version": 1, "files": {"/etc/passwd": "x"}}', '{"kind": "dmd study", "version": 9}'],
)  # fmt: skip
def test_a_foreign_folder_is_refused_and_untouched(tmp_path: Path, listed: str | None) -> None:
    """A folder with other things in it, or with a list that is not ours or leads out of it, is left as it is."""
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter1.tex").write_text("years of work")
    (tmp_path / "a").write_text("beside")
    if listed is not None:
        (folder / LIST).write_text(listed)
    before = contents(tmp_path)
    with pytest.raises(SpecError, match="a folder with other things in it"):
        put_folder(folder, FILES)
    assert contents(tmp_path) == before


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    """A file named so is kept."""
    (tmp_path / "study").write_text("a file")
    with pytest.raises(SpecError, match="got a file"):
        put_folder(tmp_path / "study", FILES)
    assert (tmp_path / "study").read_text() == "a file"


def test_a_link_is_followed_and_stays_one(study: Path) -> None:
    """A link to a study renews the study; a link inside to elsewhere is a stranger's."""
    link = study.with_name("link")
    link.symlink_to(study)
    put_folder(link, {"index.html": b"three"})
    assert link.is_symlink()
    assert (study / "index.html").read_bytes() == b"three"
    (study / "away").symlink_to("/")
    with pytest.raises(SpecError, match="'away' among them"):
        put_folder(study, FILES)


@pytest.mark.parametrize("at", range(2))
def test_a_swap_that_fails_leaves_the_old_study(study: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Whichever rename fails, the old folder is back and no other is left."""
    rename, calls = Path.rename, []

    def fail(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == at + 1:
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    before = contents(study)
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(SpecError, match="Permission denied"):
        put_folder(study, {"index.html": b"three"})
    assert contents(study) == before
    assert [p.name for p in study.parent.iterdir()] == ["study"]


def test_what_a_killed_process_left_is_taken_up(study: Path) -> None:
    """Killed between the renames, the old study is put back and renewed; killed after them, its rest is removed."""
    old = study.with_name(".study.1.old")
    study.rename(old)
    put_folder(study, {"index.html": b"three"})
    shutil.copytree(study, old)
    (old / "mine").write_text("a stranger's")
    put_folder(study, {"index.html": b"four"})
    assert (study / "index.html").read_bytes() == b"four"
    assert contents(study.parent).keys() == {"study/index.html", f"study/{LIST}", ".study.1.old/mine"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    """No traceback, and nothing half written."""
    tmp_path.chmod(0o500)
    with pytest.raises(SpecError, match="expected a folder that can be written"):
        put_folder(tmp_path / "study", FILES)
    tmp_path.chmod(0o700)


def test_without_latex_one_sentence_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    """The source is there all the same, and the sentence names the command."""
    monkeypatch.setattr(book_module.shutil, "which", lambda name: None)
    made, why = to_pdf("x")
    assert made is None
    assert why == "no pdflatex is installed here: pdflatex study.tex, twice, makes study.pdf of it"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_the_pdf_compiles_and_a_broken_one_says_so(tmp_path: Path) -> None:
    """The document of a study without runs is a PDF, twice the same; an error of LaTeX is told by its own words."""
    found = gather(tmp_path / "none", table_names(), reruns=load_reruns())
    source = book_module.book(found)
    (first, why), (second, _) = to_pdf(source), to_pdf(source)
    assert first is not None, why
    assert first.startswith(b"%PDF")
    assert first == second
    made, why = to_pdf("\\documentclass{article}\\begin{document}\\nonsense\\end{document}")
    assert made is None
    assert "Undefined control sequence" in why


def test_a_study_is_written_whole(tmp_path: Path) -> None:
    """Pages, every table in every format, the LaTeX, and a list that names each with its hash."""
    found = gather(tmp_path / "none", ["table1", "table5"], reruns=load_reruns(), whole=False)
    made = write_study(found, tmp_path / "out", pdf=False)
    there = contents(tmp_path / "out")
    assert made.files == len(there)
    assert made.pages == sum(name.endswith(".html") and "/" not in name for name in there)
    assert {f"files/table1.{ending}" for ending in ("txt", "md", "tex", "html", "csv", "json")} <= set(there)
    assert set(json.loads(there[LIST])["files"]) == set(there) - {LIST}
    assert b"makes study.pdf of it" in there["index.html"]


def test_the_command_refuses_before_it_reads_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`dmd report --all -o FOLDER`: exit 2 and one sentence for a foreign folder, and for the working folder."""
    dmd = Here(tmp_path, monkeypatch, capsys)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    for place in ("home", ".", "/"):
        said = dmd("report", "--all", "-o", place)
        assert said.code == 2, place
        assert said.err.count("\n") == 1
    assert contents(tmp_path) == {"home/letter": b"dear"}
