"""The formats: one content in four shapes, readable, whole, and safe for what reads them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import LABELS, plan_rows, predictions_with, spec_for, stamp_for, write_record
from printed_text import flat

from dmd_repro.papers.folders import table_names
from dmd_repro.papers.tables import load_table
from dmd_repro.planning.plans import load_plan
from dmd_repro.records.folder import Records
from dmd_repro.render.formats import FORMATS, render
from dmd_repro.render.latex_grid import escape
from dmd_repro.render.layout import details, ends_of, interval, measured, number, signed
from dmd_repro.render.sentences import ALL, Ink
from dmd_repro.results.tables import compare, compare_tables
from dmd_repro.results.types import ComparisonTable

NASTY = "50%_a & b|c*d ~ ünï→☃"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[ComparisonTable]:
    """Every table; Table 1 with two measured rows, one official and one on data with an awkward name."""
    runs = tmp_path_factory.mktemp("runs")
    rows = {}
    for key, changes in (
        ("mosi-aligned-glove-dmd", {}),
        ("mosi-unaligned-glove-dmd", {"standing": "partial", "label": f"{NASTY} (glove text)", "digest": "e" * 64}),
    ):
        row = load_table("table1").row(key)
        data, specs = stamp_for(row, **changes), [spec_for(row, seed) for seed in (1111, 1112)]
        for n, one in enumerate(specs, start=1):
            write_record(runs, one, data, predictions_with(n))
        rows[key] = (data, specs)
    plan_rows(runs, "table1", rows, notes=("a note of the planner: 100 % _sure_",))
    return [compare(load_table(name), load_plan(runs, name), Records(runs)) for name in table_names()]


@pytest.mark.parametrize("format_", FORMATS)
def test_every_number_of_the_json_stands_in_every_format(tables: list[ComparisonTable], format_: str) -> None:
    """The formats are views of one content: no printed or measured number may be missing from one of them."""
    text = flat(render(tables, format_, ink=ALL), format_)  # type: ignore[arg-type]
    for table in tables:
        for row in table.rows:
            for cell in row.cells:
                assert cell.printed.text in text
                if cell.summary.mean is None:
                    continue
                if format_ in ("json", "csv"):
                    assert str(cell.summary.mean) in text
                    continue
                assert measured(row, cell).replace(" ± ", "±") in text
                assert interval(cell) in text
                assert ends_of(cell.judged.prediction, cell) in text
                if cell.difference is not None:
                    assert signed(cell.difference, cell) in text
                for value in cell.conventions.values():
                    assert number(value, cell) in text


@pytest.mark.parametrize("format_", FORMATS)
def test_the_mark_the_rule_and_the_digest_stand_in_every_format(tables: list[ComparisonTable], format_: str) -> None:
    """Whoever sees only the exported table still learns that its data are partial; the rules come when asked for."""
    brief, whole = (flat(render(tables[:1], format_, ink=ink), format_) for ink in (Ink(), ALL))  # type: ignore[arg-type]
    for text in (brief, whole):
        assert "PARTIAL DATA" in text
        assert "eeeeeeeeeeee" in text
    assert "Student t interval" in whole or format_ == "csv"  # a table of data alone: the rule is in the other files
    assert ("Student t interval" in brief) == (format_ in ("html", "json"))


def test_json_is_strict(tables: list[ComparisonTable]) -> None:
    """No NaN and no Infinity: other programs must be able to read it."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    document = json.loads(render(tables, "json"), parse_constant=refuse)
    assert [table["table"] for table in document["tables"]] == table_names()
    cell = document["tables"][0]["blocks"][0]["rows"][-1]["cells"][0]
    assert cell["printed"] == "41.4"
    assert set(cell["values"]) == {"1111", "1112"}


def test_the_terminal_fits_and_never_cuts_a_number(tables: list[ComparisonTable]) -> None:
    """In a window of 50 columns text folds and columns go under each other, and no number is cut in two."""
    grid = details(tables[0].blocks[0])
    assert grid is not None
    narrow = render(tables, "terminal", width=50)
    assert max(map(len, narrow.splitlines())) <= 50
    for line in grid.rows:
        for text, side in zip(line, grid.align, strict=True):
            assert all(part in narrow for part in ([text.replace(" ± ", "±")] if side == "r" else text.split()))


def test_an_ordinary_window_folds_no_table(tables: list[ComparisonTable]) -> None:
    """At 80 columns headers break and columns close up before a line runs over."""
    lines = render(tables, "terminal").splitlines()
    assert max(map(len, lines)) <= 80


def test_how_to_read_it_is_said_once() -> None:
    """Under several tables only what differs is repeated."""
    text = render(compare_tables(Path("nowhere"), table_names()), "terminal", ink=ALL)
    assert text.count("measured: mean ± sample STD") == 1


def test_markdown_tables_are_whole(tables: list[ComparisonTable]) -> None:
    """Each row has as many cells as its header, so that GitHub renders a table; awkward names are escaped."""
    text = render(tables, "markdown")
    width = 0
    for line in text.splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        width = width or cells
        assert cells == width, line
    assert r"50%\_a & b\|c\*d \~ ünï→☃" in text
    assert r"MISA\*" in text


def test_notes_are_numbered_as_they_are_used(tables: list[ComparisonTable]) -> None:
    """Every number in the notes column leads to a note, and no note stands unused."""
    for table in tables:
        text = render([table], "markdown")
        written = [n for line in re.findall(r"^\|.* \| ([\d -]+) \|$", text, re.M) for n in line.split()]
        used = {i for n in written for i in range(int(n.split("-")[0]), int(n.split("-")[-1]) + 1)}
        assert used == set(range(1, len(table.footnotes) + 1))


@pytest.mark.parametrize("which", [slice(None), slice(0, 1)])
def test_standalone_latex_compiles(tables: list[ComparisonTable], tmp_path: Path, which: slice) -> None:
    """`--standalone` is a promise: the file goes through pdflatex as it is, whatever the names of the data."""
    if shutil.which("pdflatex") is None:
        pytest.skip("needs pdflatex")
    (tmp_path / "t.tex").write_text(render(tables[which], "latex", standalone=True), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "t.log").read_text(encoding="latin-1")
    assert "Overfull" not in log
    assert "Float too large" not in log


def test_a_latex_fragment_has_no_preamble(tables: list[ComparisonTable]) -> None:
    """Without --standalone the text goes into a paper: tables only."""
    text = render(tables, "latex")
    assert r"\documentclass" not in text
    assert r"\toprule" in text
    assert text.count(r"\begin{table}") == text.count(r"\end{table}")


@given(st.text(max_size=40))
def test_escaped_text_is_plain_ascii_without_live_markup(text: str) -> None:
    """Nothing a user can name a feature set leaves a live LaTeX character behind."""
    out = escape(text)
    assert out.isascii()
    bare = re.sub(r"\\text[a-z]+\{\}|\\[&%$#_{}]|\$\\?[a-z]*-?\$|\{[\[\]]\}", "", out)
    assert not set(bare) & set("\\&%$#_{}~^<>|`[]")


def test_a_failed_row_says_failed(tmp_path: Path) -> None:
    """A row all of whose runs diverged must not look like one nobody has run."""
    row = load_table("table1").row("mosi-aligned-glove-dmd")
    data, specs = stamp_for(row), [spec_for(row, 1111)]
    write_record(tmp_path, specs[0], data, np.full(len(LABELS), np.nan))
    plan_rows(tmp_path, "table1", {row.key: (data, specs)})
    line = next(x for x in render(compare_tables(tmp_path, ["table1"]), "markdown").splitlines() if "| 0/1 |" in x)
    assert line.count("failed") == 3
