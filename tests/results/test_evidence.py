"""A reconstruction asked for a verdict: at every door it gets its numbers, the reason, and no word."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_records import plan_rows, spec_for, stamp_for
from verdict_cases import CLIPS, near, write_scores

from dmd_repro.papers.tables import load_table
from dmd_repro.planning.plans import PlannedRow, TablePlan, load_plan
from dmd_repro.records.folder import Predictions, Records
from dmd_repro.results.lottery import lottery_sheet
from dmd_repro.results.pairs import pair_sheet
from dmd_repro.results.power import power_lines
from dmd_repro.results.sides import row_side
from dmd_repro.results.single import Subject, beside, score_predictions
from dmd_repro.results.tables import compare
from dmd_repro.results.words import HEADLINES

TABLE = load_table("table1")
ROWS = ("mosi-aligned-glove-pmr", "mosi-aligned-bert-fdmer")


def made(runs: Path, key: str, rights: list[int | None]) -> TablePlan:
    """Write runs of a row on official data, None for one that diverged; return their plan."""
    row, data = TABLE.row(key), stamp_for(TABLE.row(key))
    specs = [spec_for(row, 1111 + i) for i in range(len(rights))]
    for i, (spec, right) in enumerate(zip(specs, rights, strict=True)):
        write_scores(runs, spec, data, np.full(CLIPS, np.nan, np.float32) if right is None else near(right, i))
    plan_rows(runs, "table1", {key: (data, specs)})
    plan = load_plan(runs, "table1")
    assert plan is not None
    return plan


@pytest.mark.parametrize("key", ROWS)
@pytest.mark.parametrize("rights", [[548, 549, 547, 550, 548], [None] * 5, [548]])
def test_a_table_has_no_word_for_it(key: str, rights: list[int | None], tmp_path: Path) -> None:
    """Protects: five runs at the printed number, all failed, one alone: no word, difference, p-value or chance."""
    plan = made(tmp_path, key, rights)
    found = compare(TABLE, plan, Records(tmp_path))
    row = next(row for row in found.rows if row.row.key == key)
    for cell in row.cells:
        said = cell.to_json()
        assert said["place"] == "not comparable"
        assert said["place_why"].startswith("reconstructed; net: ")
        assert said["place_why"].endswith("numbers, and no word on the printed ones")
        bare = ("difference", "p", "p_equivalence", "p_difference", "d_interval", "one_run")
        assert [said[name] for name in bare] == [None] * len(bare)
        assert said["chances"] == []
    assert found.decided == ()
    assert row.words.mean == "not comparable"
    assert (row.words.one_run, row.words.best, row.words.smallest_margin) == (None, None, None)
    assert not any(word in found.prose for word in HEADLINES)
    assert row.to_json()["grade"] == "reconstructed"
    if None not in rights:
        assert all(cell.summary.mean is not None for cell in row.cells)


def test_no_other_door_has_one(tmp_path: Path) -> None:
    """Protects: the lottery, a checkpoint's scores and `dmd compare` say reconstructed, and compare with no print."""
    key = ROWS[0]
    plan, row = made(tmp_path, key, [548, 549, 547, 550, 546]), TABLE.row(key)
    sheet = lottery_sheet(TABLE, plan, Records(tmp_path))
    assert all(not cell["comparable"] and cell["chance"] is None for cell in sheet.document["cells"])
    assert any("reconstructed" in note for note in sheet.notes)
    truth = np.array([-1.0, 1.0] * 5, np.float32)
    scores = score_predictions(Predictions(tuple("abcdefghij"), truth, truth), "mosi", resamples=0)
    spec = spec_for(row, 1)
    subject = Subject("pmr", spec.mask, "official", "mosi", True, "glove", "official", "test")
    printed, _ = beside(subject, scores)
    assert printed is not None
    assert not printed.comparable
    assert printed.verdict.startswith("not comparable: reconstructed; net: ")
    assert all(cell.difference is None and cell.value is not None for cell in printed.cells)
    side = row_side(key, tmp_path)
    assert any("evidence: reconstructed" in note for note in pair_sheet(side, side).notes)


def test_power_counts_no_row_without_a_word(tmp_path: Path) -> None:
    """Protects: a plan says which rows cannot earn a word, and counts none of theirs."""
    facts = {"standing": "official"}
    five = {1111 + i: f"{i:012x}" for i in range(5)}

    def lines(*keys: str) -> str:
        rows = {key: PlannedRow("planned", features=facts, runs=five) for key in keys}
        return json.dumps(power_lines(TABLE, TablePlan("table1", (), tuple(five), rows), Records(tmp_path)))

    both = lines(*ROWS, "mosi-aligned-glove-dmd")
    assert "words: none for PMR, FDMER*, whose evidence is ours or second-hand" in both
    assert "3 numbers" in both
    assert "mosi-aligned-bert-fdmer" not in both
    assert "power" not in lines(*ROWS)
    assert "words: none" not in lines("mosi-aligned-glove-dmd")
