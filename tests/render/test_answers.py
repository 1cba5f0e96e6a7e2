"""What a reader must not miss stands first and in every format: collapsed, failed, unfinished, looked at again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_records import plan_rows, spec_for, stamp_for
from printed_text import flat
from scipy import stats
from verdict_cases import AT, CLIPS, KEY, near, write_scores

from dmd_repro.papers.tables import load_table
from dmd_repro.planning.plans import load_plan
from dmd_repro.records.folder import Records
from dmd_repro.render.drawing import ticks
from dmd_repro.render.figures import axes, figure
from dmd_repro.render.formats import FORMATS, render
from dmd_repro.render.layout import percent
from dmd_repro.render.sentences import NOTHING, answers
from dmd_repro.results.tables import compare
from dmd_repro.results.types import ComparisonTable

OTHERS = ("mosi-unaligned-glove-dmd", "mosi-aligned-glove-mult", "mosi-unaligned-glove-mult")
ONE_CALL = np.linspace(0.1, 0.4, CLIPS, dtype=np.float32)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ComparisonTable:
    """Table 1 with a row that learned, one all of whose runs collapsed, one partly, and one unfinished."""
    runs = tmp_path_factory.mktemp("runs")
    good = [near(AT + 2 * i - 4, i) for i in range(5)]
    rows = {KEY: good, OTHERS[0]: [ONE_CALL] * 5, OTHERS[1]: [ONE_CALL, *good[1:]], OTHERS[2]: good[:3]}
    planned = {}
    for at, (key, scores) in enumerate(rows.items()):
        row = load_table("table1").row(key)
        data = stamp_for(row, digest=f"{at}" * 64)
        specs = [spec_for(row, 1111 + i) for i in range(10 if key == OTHERS[2] else 5)]
        for spec, said in zip(specs, scores, strict=False):
            write_scores(runs, spec, data, said)
        planned[key] = (data, specs)
    plan_rows(runs, "table1", planned)
    found = compare(load_table("table1"), load_plan(runs, "table1"), Records(runs))
    return replace(found, looks=("n = 5", "n = 10", "n = 20", "n = 50"))


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_says_what_happened(table: ComparisonTable, format_: str) -> None:
    """All collapsed, partly collapsed, not finished, and looked at four times: none of it is left to JSON alone."""
    text = flat(render([table], format_), format_)  # type: ignore[arg-type]
    wanted = ["0 of 5 runs learned", "4 of 5 runs learned", "3 of the first 5 planned runs have ended"]
    if format_ == "csv":
        lines = {line.split(",")[3]: line for line in render([table], "csv").splitlines()[1:]}
        assert ",5,0,5,4," in lines[OTHERS[0]]  # planned, failed, not learned, looks
        assert ",5,0,1,4," in lines[OTHERS[1]]
        assert "unfinished" in lines[OTHERS[2]]
        return
    wanted.append("4 times" if format_ != "json" else '"n = 50"')
    assert [words for words in wanted if words not in text] == []


def test_the_answer_stands_before_the_table(table: ComparisonTable) -> None:
    """A sentence a row, above the first grid, with the number, the runs and a word for each thing it may be."""
    said = answers(table)
    assert len(said) == 1 + 4  # others' re-runs of DMD*, and the rows that were run
    mine = next(one for one in said if one.startswith("DMD on CMU-MOSI, aligned"))
    assert "ACC2 printed 84.5, measured 84.45 ± " in mine
    assert "If a mean, " in mine
    assert "if one run, " in mine
    lines = render([table], "terminal").splitlines()
    first = next(i for i, line in enumerate(lines) if "printed" in line and "method" in line)
    assert next(i for i, line in enumerate(lines) if "DMD on CMU-MOSI, aligned" in line) < first


def test_the_chances_beside_the_margin_are_student_s(table: ComparisonTable) -> None:
    """Known answer: t(n - 1) around the mean, to 1e-9; they sum to 1, and a chance that is not 0 is not printed so."""
    row = next(row for row in table.rows if row.row.key == KEY)
    for cell in row.cells:
        values = list(cell.values.values())
        t = stats.t(len(values) - 1, np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values)))
        printed = float(cell.printed.value)
        want = (t.cdf(printed - 1), t.cdf(printed + 1) - t.cdf(printed - 1), t.sf(printed + 1))
        assert cell.beside is not None
        assert (cell.beside.below, cell.beside.within, cell.beside.above) == pytest.approx(want, abs=1e-9)
    assert [percent(x) for x in (0.0, 0.001, 0.5, 0.999, 1.0)] == ["0 %", "<1 %", "50 %", ">99 %", "100 %"]
    for key in OTHERS[:2]:  # no normal model over runs of two kinds
        assert all(cell.beside is None for row in table.rows if row.row.key == key for cell in row.cells)


def test_seed_figures_share_one_axis_a_column(table: ComparisonTable) -> None:
    """The same value stands at the same place in every drawing of a column, with round numbers below."""
    shared = axes(table)
    assert set(shared) == {("acc7", False), ("acc2", False), ("f1", False)}
    for (column, _), (low, high) in shared.items():
        values = [v for row in table.rows for cell in row.cells if cell.column == column for v in cell.values.values()]
        assert low <= min(values) <= max(values) <= high
    drawn = figure(table)
    assert drawn is not None
    assert drawn.count('class="name"') == 1 + 3
    assert ticks(0.0, 1.0) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(40.1, 87.3) == [50.0, 60.0, 70.0, 80.0]


def test_latex_keeps_a_spread_of_zero_and_marks_stand_at_their_number(table: ComparisonTable) -> None:
    """Five equal runs have an STD of 0.00, which siunitx would drop; nothing stands between a number and its mark."""
    text = render([table], "latex", standalone=True)
    assert r"$\pm$\,0.00" in text or r"$\pm$\,\phantom{0}0.00" in text
    marked = [at for at in range(len(text)) if text.startswith(r"\rlap{\textsuperscript", at)]
    assert marked
    assert all(text[at - 1].isdigit() for at in marked)


def test_a_table_longer_than_a_page_breaks(table: ComparisonTable) -> None:
    """What fits a page is a float, what does not is a longtable that repeats its heading."""
    many = replace(table, blocks=table.blocks * 3)
    text = render([many], "latex")
    assert r"\begin{longtable}" in text
    assert text.count(r"\endhead") == text.count(r"\begin{longtable}")
    assert r"\begin{longtable}" not in render([replace(table, blocks=table.blocks[1:2])], "latex")


def test_a_row_all_of_whose_runs_failed_is_answered_too(tmp_path: Path) -> None:
    """Nothing measured is an answer too, in every format, and a row without a word can hold no false one."""
    row = load_table("table1").row(KEY)
    data = stamp_for(row)
    specs = [spec_for(row, 1111 + i) for i in range(5)]
    for spec in specs:
        write_scores(tmp_path, spec, data, np.full(CLIPS, np.nan, np.float32))
    plan_rows(tmp_path, "table1", {KEY: (data, specs)})
    found = compare(load_table("table1"), load_plan(tmp_path, "table1"), Records(tmp_path))
    said = "DMD on CMU-MOSI, aligned: ACC2 printed 84.5, nothing measured: 5 of 5 planned runs failed."
    assert said in answers(found)
    assert [f for f in FORMATS if f != "csv" and said not in flat(render([found], f), f)] == []
    assert found.decided == ()


def test_runs_that_may_not_be_compared_and_nothing_at_all_are_answers(tmp_path: Path) -> None:
    """Synthetic runs: which rows, and why, without a printed number beside them; and a table nobody ran."""
    row = load_table("table1").row(KEY)
    data = stamp_for(row, standing="synthetic")
    specs = [spec_for(row, 1111 + i) for i in range(2)]
    for i, spec in enumerate(specs):
        write_scores(tmp_path, spec, data, near(AT + i, i))
    plan_rows(tmp_path, "table1", {KEY: (data, specs)})
    found = compare(load_table("table1"), load_plan(tmp_path, "table1"), Records(tmp_path))
    said = "DMD (MOSI, aligned): synthetic data are never compared with printed numbers."
    assert answers(found)[1:] == [f"Run, and not comparable with what is printed: {said}"]
    assert [f for f in FORMATS if f not in ("csv", "json") and said not in flat(render([found], f), f)] == []
    assert answers(compare(load_table("table5"), None, Records(tmp_path))) == [NOTHING]


def test_what_may_be_false_counts_judged_rows_alone(table: ComparisonTable) -> None:
    """Of four rows one learned in all its runs and reached a stage: one level is expected, not three."""
    assert [stage.level for stage in table.decided] == [0.02]
    text = flat(render([table], "terminal"), "terminal")
    assert "1 row is judged: expect at most 0.02 false words of each kind." in text
    assert "which the word is read from (96 % at 5 runs) or without a word (90 % at 3 runs)" in text


def test_notes_take_no_grid_of_their_own_at_80_columns(table: ComparisonTable) -> None:
    """A column of note numbers that does not fit stands behind the names instead."""
    lines = render([table], "terminal").splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert not [line for line in lines if line.split() == ["method", "notes"]]
    wide = [replace(row, runs=dict.fromkeys(range(10), "r"), planned=(*range(10),)) for row in table.rows]
    at = {row.row.key: row for row in wide}
    blocks = tuple(replace(block, rows=tuple(at[row.row.key] for row in block.rows)) for block in table.blocks)
    lines = render([replace(table, blocks=blocks)], "terminal").splitlines()
    assert not [line for line in lines if line.split() == ["method", "notes"]]
    assert any(line.startswith("MulT (") for line in lines)
