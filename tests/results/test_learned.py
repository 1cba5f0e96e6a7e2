"""A run that learned nothing is named wherever its number goes: never silently a part of a mean, never of a word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_records import plan_rows, spec_for, stamp_for
from verdict_cases import AT, CLIPS, KEY, near, write_scores

from dmd_repro.papers.tables import load_table
from dmd_repro.planning.plans import load_plan
from dmd_repro.records.folder import Records
from dmd_repro.render.formats import FORMATS, render
from dmd_repro.results.tables import compare
from dmd_repro.results.types import ComparisonTable

ONE_CALL = np.full(CLIPS, 0.3, np.float32) + np.linspace(0, 0.2, CLIPS, dtype=np.float32)


def table(runs: Path, scores: list[np.ndarray]) -> ComparisonTable:
    """Return Table 1 with one measured row, a run for each of these predictions."""
    row = load_table("table1").row(KEY)
    data, specs = stamp_for(row), [spec_for(row, 1111 + i) for i in range(len(scores))]
    for spec, said in zip(specs, scores, strict=True):
        write_scores(runs, spec, data, said)
    plan_rows(runs, "table1", {KEY: (data, specs)})
    return compare(load_table("table1"), load_plan(runs, "table1"), Records(runs))


@pytest.mark.parametrize(
    ("collapsed", "words"),
    [(1, "4 of 5 runs learned"), (5, "0 of 5 runs learned"), (0, "")],
    ids=["one", "all", "none"],
)
def test_collapsed_seeds_are_counted_by_name(tmp_path: Path, collapsed: int, words: str) -> None:
    """Protects: every format says how many runs learned; with one that did not, no cell of the row gets a word."""
    scores = [ONE_CALL] * collapsed + [near(AT + i, i) for i in range(5 - collapsed)]
    found = table(tmp_path, scores)
    row = next(row for row in found.rows if row.row.key == KEY)
    assert len(row.not_learned) == collapsed
    for format_ in FORMATS:
        if format_ != "csv":
            flat = " ".join(render([found], format_).split())
            assert (words or "runs learned") in flat if words else "runs learned" not in flat, format_
    judged = {cell.judged.word for cell in row.cells}
    assert judged == {"inconclusive"} if collapsed else "inconclusive" not in judged
    assert row.words.kind == ("not learned" if collapsed else None)
    if collapsed:
        assert all(cell.summary.interval is None for cell in row.cells)  # no normal model over two kinds of runs
        assert all(cell.judged.difference is None and cell.judged.prediction is None for cell in row.cells)
        assert all(cell.learned is not None and cell.learned.n == 5 - collapsed for cell in row.cells)
    if collapsed == 1:
        note = next(note for note in row.notes if words in note)
        assert "mean of those that did: ACC7" in note
        assert row.to_json()["not_learned_seeds"] == [1111]
