"""The words on a row: stages, plans that are not finished, runs that did not learn, and what a plan sealed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_records import plan_rows, spec_for, stamp_for
from scipy import stats
from verdict_cases import AT, CLIPS, KEY, near, write_scores

from dmd_repro.errors import SpecError
from dmd_repro.papers.tables import Printed, load_table
from dmd_repro.planning.looks import sealed
from dmd_repro.planning.plans import TablePlan, load_plan
from dmd_repro.records.folder import Records
from dmd_repro.results.runs import Measured
from dmd_repro.results.tables import compare, compare_tables, with_looks
from dmd_repro.results.verdict import Terms, judge_one
from dmd_repro.stats.stages import Stage, stages_of

ROW = load_table("table1").row(KEY)
DATA = stamp_for(ROW)
ONE_CALL = np.full(CLIPS, 0.3, np.float32) + np.linspace(0, 0.2, CLIPS, dtype=np.float32)
NEAR = (AT, AT + 2, AT - 2, AT + 1, AT - 1)


def _seeds(n: int) -> range:
    return range(1111, 1111 + n)


def _make(runs: Path, scores: dict[int, np.ndarray]) -> None:
    for seed, said in scores.items():
        write_scores(runs, spec_for(ROW, seed), DATA, said)


def _plan(runs: Path, seeds: Any, **changes: object) -> TablePlan:
    return plan_rows(runs, "table1", {KEY: (DATA, [spec_for(ROW, seed) for seed in seeds])}, **changes)


def _row(runs: Path, **options: object) -> dict[str, Any]:
    table = compare(load_table("table1"), load_plan(runs, "table1"), Records(runs), **options)  # type: ignore[arg-type]
    document = json.loads(json.dumps(table.to_json(), allow_nan=False))
    return next(row for block in document["blocks"] for row in block["rows"] if row["key"] == KEY)


def _measured(values: dict[str, list[float]], planned: int | None = None, **changes: Any) -> Measured:
    n = len(next(iter(values.values())))
    seeds = tuple(_seeds(planned or n))
    by = {column: dict(zip(seeds, numbers, strict=False)) for column, numbers in values.items()}
    return Measured(planned=seeds, order=seeds, runs=dict.fromkeys(seeds[:n], "r"), values=by, **changes)


ACC2 = replace(ROW, cells={"acc2": Printed.of("86.0")})


def test_a_plan_looked_at_four_times_says_so(tmp_path: Path) -> None:
    """Protects: each stage keeps its own level and word, the looks are counted, and none of them moves a word."""
    done = 0
    for n in (5, 6, 10, 20):
        _make(tmp_path, {seed: near(NEAR[seed % 5], seed) for seed in _seeds(n) if seed >= 1111 + done})
        done = n
        _plan(tmp_path, _seeds(n))
        (table,) = with_looks(compare_tables(tmp_path, ["table1"]), tmp_path, None)
    document = table.to_json()
    assert document["looks"] == ["n = 5", "n = 5", "n = 10", "n = 20"]  # of six runs the first five speak
    assert "printed 4 times" in " ".join(document["rule"])
    words = _row(tmp_path)["words"]
    assert [(s["runs"], s["level"]) for s in words["stages"]] == [(5, 0.02), (10, 0.015), (20, 0.01)]
    assert (words["runs"], words["level"], words["provisional"]) == (20, 0.01, False)


def test_an_unfinished_plan_is_provisional(tmp_path: Path) -> None:
    """Protects: 7 of 10: the word is of the first five, at their level, and provisional; 4 of 5 have none."""
    _make(tmp_path, {seed: near(NEAR[seed % 5], seed) for seed in _seeds(7)})
    _plan(tmp_path, _seeds(10))
    row = _row(tmp_path)
    words = row["words"]
    assert (words["runs"], words["level"], words["provisional"]) == (5, 0.02, True)
    assert "provisional, of the first 5 runs" in row["answer"]
    assert row["cells"][1]["n"] == 7  # the numbers are of all runs
    assert row["cells"][1]["d_runs"] == 5
    # a plan that names a later seed first changes no order
    _plan(tmp_path, [1118, *_seeds(7)])
    words = _row(tmp_path)["words"]
    assert (words["if_a_mean"], words["kind"], words["runs"]) == ("inconclusive", "unfinished", None) or words[
        "runs"
    ] == 5


def test_a_later_plan_does_not_choose_which_seeds_come_first(tmp_path: Path) -> None:
    """Protects: seeds planned and begun earlier stay in the plan, and first; those never begun do not."""
    _make(tmp_path, {seed: near(NEAR[seed % 5], seed) for seed in _seeds(10)})
    _plan(tmp_path, _seeds(5))
    for seeds in (range(1116, 1121), [*range(1116, 1121), *_seeds(5)]):  # the first leaves out what was begun
        _plan(tmp_path, seeds)
        plan = load_plan(tmp_path, "table1")
        assert plan is not None
        assert plan.rows[KEY].in_order == (*_seeds(5), *range(1116, 1121))
        assert _row(tmp_path)["words"]["runs"] == 10
    other = tmp_path / "other"
    _make(other, {seed: near(AT, seed) for seed in range(1116, 1121)})
    _plan(other, _seeds(5))  # never begun
    _plan(other, range(1116, 1121))
    assert _row(other)["words"]["runs"] == 5


def test_runs_of_two_kinds_have_no_normal_model(tmp_path: Path) -> None:
    """Protects: one of five collapsed: means with and without, no interval over both kinds, chances of the mixture."""
    _make(tmp_path, {seed: near(r, seed) for seed, r in zip(_seeds(4), NEAR, strict=False)} | {1115: ONE_CALL})
    _plan(tmp_path, _seeds(5))
    row = _row(tmp_path)
    assert (row["words"]["if_a_mean"], row["words"]["kind"], row["not_learned_seeds"]) == (
        "inconclusive", "not learned", [1115],
    )  # fmt: skip
    assert row["words"]["why"] == "1 of 5 runs did not learn"
    assert "4 of 5 runs learned" in row["answer"]
    for cell in row["cells"]:
        assert [cell[name] for name in ("interval", "d_interval", "prediction_interval", "p")] == [None] * 4
        kept = [cell["values"][str(seed)] for seed in _seeds(4)]
        assert cell["learned"]["mean"] == pytest.approx(np.mean(kept))
        assert cell["learned"]["interval"] == pytest.approx(stats.t.interval(0.95, 3, np.mean(kept), stats.sem(kept)))
        one = next(c for c in cell["chances"] if c["as"] == "one run" and c["or"] == "better")
        edge = (float(cell["printed"]) - 0.05 - np.mean(kept)) / (np.std(kept, ddof=1) * np.sqrt(1.25))
        collapsed = cell["values"]["1115"] >= float(cell["printed"]) - 0.05
        assert one["chance"] == pytest.approx(0.8 * stats.t.sf(edge, 3) + 0.2 * collapsed, abs=1e-9)


def test_five_constant_runs_decide_nothing(tmp_path: Path) -> None:
    """Protects: what once read "86.0 ... below, p < 0.001" is no word, no interval and no chance."""
    _make(tmp_path, dict.fromkeys(_seeds(5), ONE_CALL))
    _plan(tmp_path, _seeds(5))
    row = _row(tmp_path)
    assert (row["words"]["if_a_mean"], row["words"]["kind"]) == ("inconclusive", "not learned")
    assert row["words"]["why"] == "5 of 5 runs did not learn"
    assert all(cell["chances"] == [] and cell["p_difference"] is None for cell in row["cells"])


def test_a_failed_run_within_the_stage_bars_a_word_and_one_beyond_it_does_not(tmp_path: Path) -> None:
    """Protects: leaving a failed run out would flatter the mean of its stage; the stage before it stands."""
    scores = {seed: near(NEAR[seed % 5], seed) for seed in _seeds(6)}
    scores[1116] = np.full(CLIPS, np.nan, np.float32)
    _make(tmp_path, scores)
    _plan(tmp_path, _seeds(6))
    assert _row(tmp_path)["words"]["kind"] != "failed"
    _plan(tmp_path / "b", [1116, *_seeds(4)])
    _make(tmp_path / "b", {seed: scores[seed] for seed in [1116, *_seeds(4)]})
    words = _row(tmp_path / "b")["words"]
    assert (words["if_a_mean"], words["kind"], words["if_one_run"]) == ("inconclusive", "failed", None)


def test_intervals_of_percentages_end_at_100(tmp_path: Path) -> None:
    """Protects: an interval of up to 136 % is no interval."""
    _make(tmp_path, {seed: near(r, seed) for seed, r in zip(_seeds(5), (656, 600, 655, 650, 560), strict=True)})
    _plan(tmp_path, _seeds(5))
    for cell in _row(tmp_path)["cells"]:
        assert max(*cell["interval"], *cell["prediction_interval"], *cell["one_run_interval"]) <= 100
        assert cell["d_interval"][1] <= 100 - float(cell["printed"])
        assert cell["prediction_interval"][1] == 100


def test_an_arrow_compatible_with_one_run_has_a_mark() -> None:
    """Protects: past the margin of a mean and inside the interval of one run: never a bare arrow."""
    wide = [84.4 + x for x in (-1.6, -0.9, -0.2, 0.4, 1.1, 1.4, -1.2, 0.7, 0.2, 0.1)]
    found = judge_one(ACC2, _measured({"acc2": wide}), Terms())
    assert (found.words.mean, found.words.one_run) == ("inconclusive", "compatible")
    lower = [x - 0.5 for x in wide]
    found = judge_one(ACC2, _measured({"acc2": lower}), Terms())
    assert (found.words.mean, found.words.one_run) == ("worse", "compatible")
    assert found.cells["acc2"].mark == "↓°"
    found = judge_one(ACC2, _measured({"acc2": [x - 5 for x in wide]}), Terms())
    assert (found.words.one_run, found.words.outside, found.cells["acc2"].mark) == ("not compatible", ("ACC2",), "↓")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([84.5, 85.7, 86.4, 85.0, 86.9], "the interval straddles the margin; about "),
        ([85.0, 84.0, 86.0, 85.0, 85.0], "no number of runs would tell"),
        ([86.0] * 5, "all runs give the same value"),
    ],
)
def test_inconclusive_says_which_of_its_kinds(values: list[float], says: str) -> None:
    """Protects: a reader learns why, and how many runs would tell."""
    words = judge_one(ACC2, _measured({"acc2": values}), Terms()).words
    assert words.mean == "inconclusive"
    assert words.why is not None
    assert says in words.why
    assert (words.runs_to_tell is not None) == (" runs would tell" in words.why and "no number" not in words.why)


def test_a_spread_over_rows_is_better_when_less() -> None:
    """Protects: of Table 4's STD row more is worse, in the word and in its mark."""
    table = load_table("table4")
    row = next(r for r in table.rows if r.derived is not None and r.derived.statistic == "population_std")
    column = next(iter(row.cells))
    printed = float(row.cells[column].value)
    values = [printed + 9 + x for x in (-0.2, -0.1, 0.0, 0.1, 0.2)]
    found = judge_one(replace(row, cells={column: row.cells[column]}), _measured({column: values}), Terms())
    assert (found.words.mean, found.cells[column].mark, found.words.best) == ("worse", "↓", None)


def test_one_look_is_read_once_at_its_own_number_of_runs() -> None:
    """Protects: a plan of one look at 7 has no word at 5, the whole 0.05 at 7, and none of later runs."""
    values = [86.0 + x for x in (-0.4, 0.3, -0.1, 0.2, 0.0, 0.1, -0.1, 9.0, 9.0)]
    once = Terms(stages=stages_of(7))
    early = judge_one(ACC2, _measured({"acc2": values[:5]}, planned=7), once).words
    assert (early.mean, early.kind) == ("inconclusive", "unfinished")
    assert early.why == "5 of the first 7 planned runs have ended"
    for n in (7, 9):
        words = judge_one(ACC2, _measured({"acc2": values[:n]}), once).words
        assert (words.mean, words.stage, words.provisional) == ("reproduced", Stage(7, 0.05), False)


def test_a_plan_seals_margin_and_looks_with_its_first_run() -> None:
    """Protects: both are free while nothing has begun, kept by later plans, and refused in one sentence after that."""
    plan = TablePlan("table1", (), tuple(_seeds(13)), {})
    free = sealed(plan, None, 0, margin=0.5, one_look=True)
    assert (free.margin, free.one_look) == (0.5, 13)
    later = replace(plan, seeds=tuple(_seeds(20)))
    kept = sealed(later, free, 13)
    assert (kept.margin, kept.one_look) == (0.5, 13)
    assert sealed(plan, free, 13, margin=0.5, one_look=True) == free
    for asked in ({"margin": 2.0}, {"one_look": True}):
        with pytest.raises(SpecError, match="no run has begun"):
            sealed(later, free, 13, **asked)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="5 seeds or more"):
        sealed(replace(plan, seeds=(1, 2)), None, 0, one_look=True)


def test_sealed_terms_come_back_with_the_plan(tmp_path: Path) -> None:
    """Protects: margin and looks are in the sealed file, and a report follows them."""
    from dmd_repro.planning.plans import save_plan

    _make(tmp_path, {seed: near(NEAR[seed % 5], seed) for seed in _seeds(6)})
    save_plan(tmp_path, replace(_plan(tmp_path, _seeds(6)), margin=2.0, one_look=6))
    words = _row(tmp_path)["words"]
    assert (words["runs"], words["level"], words["margin"]) == (6, 0.05, 2.0)
    assert _row(tmp_path, margin=1.0)["words"]["kind"] == "margin chosen after looking"
