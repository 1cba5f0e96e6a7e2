"""Strangers' text in every format: it is shown, and nothing acts on it."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from command import Here
from hostile_runs import hostile_runs

from dmd_repro.render.html import Markup, grid_html
from dmd_repro.results.sheet import TextGrid

TAGS = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "small", "section", "p", "div", "table"),
    *("thead", "tbody", "tr", "th", "td", "details", "summary", "ol", "ul", "li", "span", "script"),
    *("svg", "rect", "path", "circle"),
}
ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Tags(HTMLParser):
    """Collects tags, attributes and the text of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: dict[str, set[str]] = {}
        self.script, self._in = "", ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in = tag
        self.tags.setdefault(tag, set()).update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.script += data if self._in == "script" else ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("foreign")
    hostile_runs(made / "runs")
    return made


@pytest.fixture
def dmd(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(folder, monkeypatch, capsys)


COMMANDS = {
    "report": ("report", "table1"), "lottery": ("report", "table1", "--lottery"),
    "prose": ("report", "table1", "--prose"),
    "compare": ("report", "table1", "--compare", "full"), "list": ("runs", "list"), "verify": ("runs", "verify"),
    "code": ("audit", "--code"),
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_the_terminal_is_told_nothing_but_text(dmd: Here, command: tuple[str, ...]) -> None:
    """Escape codes, carriage returns, turned directions and halves of characters are shown, and nothing is hidden."""
    said = dmd(*command)
    assert said.code in (0, 1), said.err
    assert not ACTS.search(said.out + said.err)


def test_showing_a_run_shows_its_codes(dmd: Here) -> None:
    """Every value of a record, and the error of a failed one."""
    for path in sorted((dmd.folder / "runs").iterdir()):
        if path.name[0] != "." and path.name != "plans":
            for extra in ((), ("--json",)):
                said = dmd("runs", "show", path.name, *extra)
                assert said.code == 0, said.err
                assert "ACTED" in said.out
                assert not ACTS.search(said.out + said.err)


@pytest.mark.parametrize("format_", ["terminal", "markdown", "latex", "html", "csv", "json"])
@pytest.mark.parametrize("view", [(), ("--lottery",), ("--compare", "full")], ids=["report", "lottery", "compare"])
def test_files_of_every_format_hold_no_control_characters(dmd: Here, view: tuple[str, ...], format_: str) -> None:
    """A file is looked at with `cat`, too."""
    said = dmd("report", "table1", *view, "-f", format_, "-o", "out")
    assert said.code == 0, said.err
    text = (dmd.folder / "out").read_text(encoding="utf-8")
    assert not ACTS.search(text)


def test_a_page_has_the_tags_of_ours_alone(dmd: Here) -> None:
    """No element, no handler, no script of a stranger."""
    for view in ((), ("--lottery",)):
        dmd("report", "table1", *view, "-f", "html", "-o", "out.html")
        page = Tags()
        page.feed((dmd.folder / "out.html").read_text(encoding="utf-8"))
        assert set(page.tags) <= TAGS, set(page.tags) - TAGS
        names = set().union(*page.tags.values())
        assert not {name for name in names if name.startswith("on") or name in ("href", "src", "style")}
        assert "ACTED" not in page.script
    assert "&lt;svg onload" in (dmd.folder / "out.html").read_text() or view


def test_markup_is_what_this_program_made() -> None:
    """A text that looks like a drawing is none."""
    grid = TextGrid("", ("a",), "l", (("<svg onload=x>",),))
    assert "<svg" not in grid_html(grid)
    assert isinstance(Markup("<svg>"), str)


@pytest.mark.parametrize("view", [(), ("--lottery",), ("--compare", "full")], ids=["report", "lottery", "compare"])
def test_no_cell_is_a_formula(dmd: Here, view: tuple[str, ...]) -> None:
    """A spreadsheet opens the CSV without computing or calling anything of a stranger's."""
    said = dmd("report", "table1", *view, "-f", "csv")
    for row in csv.reader(io.StringIO(said.out)):
        for cell in row:
            assert not cell.lstrip().startswith(("=", "@", "\uff1d")), cell
            assert cell[:1] not in ("+", "-") or not set(cell) & set("(|!"), cell


def test_markdown_keeps_to_its_lines(dmd: Here) -> None:
    """No heading, link, picture, formula or raw HTML of a stranger; every table keeps its columns."""
    text = dmd("report", "table1", "-f", "markdown").out
    bare = re.sub(r"\\.", "", text)
    assert "<" not in bare
    assert "[" not in bare
    assert "`dmd" not in bare
    assert "://" not in re.sub(r"\\:", "", text)
    headings = [line for line in bare.splitlines() if line.startswith("#")]
    assert not any("heading" in line and not line.startswith(("## Table", "### ")) for line in headings)


def test_latex_has_no_command_of_a_stranger(dmd: Here) -> None:
    """Nothing is read, written or run while it compiles."""
    text = dmd("report", "table1", "-f", "latex", "--standalone").out
    assert "\\input" not in text.replace("\\usepackage[utf8]{inputenc}", "")
    assert "\\write" not in text
    assert "\\immediate" not in text
    assert "textbackslash{}input" in text
