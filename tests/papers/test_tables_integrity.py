"""The five tables themselves: complete, equal to the paper's numbers, and consistent with one another."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, pstdev

import pytest
import yaml

from dmd_repro.papers.folders import table_names, tables_folder
from dmd_repro.papers.tables import Row, load_table

PARTS = {"fd", "homogd", "ca", "heterogd"}


def _rows() -> Iterator[tuple[str, Row]]:
    for name in table_names():
        for row in load_table(name).rows:
            yield ("text-4.2" if row.block == "section-4.2" else name), row


@pytest.mark.parametrize("name", table_names())
def test_table_loads(name: str) -> None:
    """Every packaged table is well formed, and every row can be run or says why not."""
    table = load_table(name)
    assert table.rows
    for row in table.rows:
        assert (row.recipe is None) != (row.reason is None)
        if row.recipe:
            assert row.recipe.features == f"{row.dataset}-{row.setting}-{row.text}"
            assert set(row.recipe.mask.off) <= PARTS
        if row.reason and not row.derived:
            assert row.source is not None, f"{row.key} is copied: from where?"


def test_every_printed_number_is_there_once(shared: Path) -> None:
    """All 191 numbers stand in the files exactly as printed, none missing, none invented."""
    ours = {
        (name, row.dataset, row.setting, row.text, row.method, column): printed.text
        for name, row in _rows()
        for column, printed in row.cells.items()
    }
    with (shared / "paper" / "published.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    paper = {(r["table"], r["dataset"], r["setting"], r["text"], r["method"], r["metric"]): r["value"] for r in lines}
    assert ours == paper
    assert len(lines) == len(ours) == 191


def test_the_files_hold_191_quoted_numbers() -> None:
    """The count holds without the paper at hand, and no number has slipped in as a float."""
    assert sum(len(row.cells) for _, row in _rows()) == 191
    for name in table_names():
        data = yaml.safe_load((tables_folder() / f"{name}.yaml").read_text(encoding="utf-8"))
        cells = [text for block in data["blocks"] for row in block["rows"] for text in row["printed"].values()]
        assert all(isinstance(text, str) for text in cells)


def test_equal_recipes_print_equal_numbers_across_tables() -> None:
    """The full DMD and MulT stand in several tables; a typing slip in one of them would show here."""
    seen: dict[tuple[str, str, str], str] = {}
    for _, row in _rows():
        if row.recipe is None or row.recipe.head or row.recipe.overrides:
            continue
        for column, printed in row.cells.items():
            key = (row.recipe.model + row.recipe.mask.label, row.recipe.features, column)
            assert seen.setdefault(key, printed.text) == printed.text, key


def test_table3_masks_are_the_complement_of_the_names() -> None:
    """Table 3 names what is on, a mask what is off; a mix-up would train the opposite rows."""
    for row in load_table("table3").rows:
        on = set(row.method[4:-1].split("+")) - {"none"}
        assert row.recipe is not None
        assert on | set(row.recipe.mask.off) == PARTS
        assert not on & set(row.recipe.mask.off)


def test_table4_derived_rows_recompute() -> None:
    """The printed means and STDs are the mean and the population STD of the three rows they name, to the last digit."""
    table = load_table("table4")
    for row in table.rows:
        if row.derived:
            statistic = fmean if row.derived.statistic == "mean" else pstdev
            for column, printed in row.cells.items():
                value = statistic([float(table.row(key).cells[column].value) for key in row.derived.rows])
                assert f"{value:.{printed.decimals}f}" == printed.text


def test_dmd_is_best_where_claimed() -> None:
    """The row marked as claimed best of its block does print the highest numbers."""
    for name in ("table1", "table2"):
        for block in load_table(name).blocks:
            assert block.claimed_best
            for column in block.columns:
                top = max(block.rows, key=lambda row: row.cells[column].value)
                assert top.key == block.claimed_best


def test_conventions_follow_what_is_known() -> None:
    """Rows known to count negative / non-negative are compared that way, the swapped F1 of MulT and MISA too."""
    rows = {row.key: row for _, row in _rows()}
    assert rows["mosi-aligned-glove-mfm"].metric_id("acc2") == "acc2_has0"
    assert rows["mosei-aligned-glove-graph-mfn"].metric_id("f1") == "f1_has0"
    assert rows["mosi-aligned-glove-mult"].metric_id("f1") == "f1_non0_swapped"
    assert rows["mosi-aligned-bert-misa"].metric_id("f1") == "f1_non0_swapped"
    assert rows["mosi-aligned-glove-dmd"].metric_id("f1") == "f1_non0"
    assert rows["mosi-aligned-glove-pmr"].metric_id("acc2") == "acc2_non0"  # second-hand: a later paper repeats it so
