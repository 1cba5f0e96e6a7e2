"""The verdicts of a table from recorded runs: one word a cell, its premises, and the readings beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_records import LABELS, plan_rows, predictions_with, spec_for, stamp_for, write_record
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from verdict_cases import AT, KEY, measured_table, near, write_scores

from dmd_repro.metrics.registry import METRICS
from dmd_repro.papers.tables import Printed, load_table
from dmd_repro.planning.looks import read_looks
from dmd_repro.planning.plans import load_plan
from dmd_repro.records.folder import Records
from dmd_repro.results.power import power_lines
from dmd_repro.results.runs import Measured
from dmd_repro.results.tables import compare, compare_tables, with_looks
from dmd_repro.results.types import Cell, ComparisonTable
from dmd_repro.results.verdict import judge
from dmd_repro.stats.stages import Stage
from dmd_repro.stats.verdict import power_of_row


def _acc2(table: ComparisonTable) -> Cell:
    return next(row for row in table.rows if row.row.key == KEY).cells[1]


@pytest.mark.parametrize(
    ("rights", "word"),
    [
        ([AT, AT + 1, AT - 1, AT + 2, AT - 2, AT], "within"),
        ([AT - 20, AT - 22, AT - 19, AT - 21, AT - 20], "worse"),
        ([AT + 20, AT + 22, AT + 19, AT + 21, AT + 20], "better"),
        ([AT - 12, AT + 12, AT - 9, AT + 9, AT], "straddles"),
        ([AT, AT + 1, AT - 1, AT + 2, None], "inconclusive"),
        ([AT, AT + 1, AT - 1, AT + 2], "interval only"),
        ([AT], "value only"),
        ([AT] * 5, "no verdict"),
    ],
)
def test_the_word(tmp_path: Path, rights: list[int | None], word: str) -> None:
    """Where one number lies, and the premises of that, from predictions on disk to the table."""
    table = measured_table(tmp_path, rights)
    cell = _acc2(table)
    assert cell.judged.word == word
    if None in rights:
        row = next(row for row in table.rows if row.row.key == KEY)
        assert row.n == "4/5"
        assert cell.judged.why is not None
        assert "1 of 5 runs failed" in cell.judged.why
    if word == "no verdict":
        assert cell.summary.interval is None
        assert cell.judged.why == "all runs give the same value"


@pytest.mark.parametrize(
    ("stamp", "word"),
    [
        ({}, "inconclusive"),
        ({"standing": "synthetic", "dataset": "synthetic"}, "not comparable"),
        ({"standing": "partial"}, "not comparable"),
        ({"text": "hidden"}, "not comparable"),
    ],
)
def test_failed_runs_alone_give_no_headline_on_other_data(tmp_path: Path, stamp: dict[str, object], word: str) -> None:
    """When every run diverged, the word is still 'not comparable' wherever the data bar a comparison."""
    assert _acc2(measured_table(tmp_path, [None] * 5, **stamp)).judged.word == word


def test_numbers_of_a_row_equal_scipy(tmp_path: Path) -> None:
    """Intervals at the stage's level, p-values, the interval of one run: computed directly, to 1e-9."""
    rights = [AT - 3, AT + 2, AT - 6, AT + 1, AT - 1]
    table = measured_table(tmp_path, rights)  # type: ignore[arg-type]
    row = next(row for row in table.rows if row.row.key == KEY)
    past = []
    for cell in row.cells:
        values = np.array(list(cell.values.values()))
        d = cell.judged.difference
        assert d is not None
        error, gap = values.std(ddof=1) / np.sqrt(5), values.mean() - float(cell.printed.value)
        half = scipy_stats.t.ppf(0.98, 4) * error + 0.05
        assert d.interval == pytest.approx((gap - half, gap + half), abs=1e-9)
        lower = scipy_stats.t.sf((gap - 0.05 + 1) / error, 4)
        upper = scipy_stats.t.cdf((gap + 0.05 - 1) / error, 4)
        assert d.p_equivalence == pytest.approx(max(lower, upper), abs=1e-9)
        below = scipy_stats.t.cdf((gap + 0.05 + 1) / error, 4)
        above = scipy_stats.t.sf((gap - 0.05 - 1) / error, 4)
        past.append(min(below, above))
        one = scipy_stats.t.interval(1 - 0.05 / 3, 4, values.mean(), error * np.sqrt(6))
        assert cell.judged.one_run_interval == pytest.approx((one[0] - 0.05, one[1] + 0.05), abs=1e-9)
    for cell, want in zip(row.cells, multipletests(past, method="holm")[1], strict=True):
        assert cell.judged.p_difference == pytest.approx(want, abs=1e-12)
    assert (row.words.stage, row.words.one_run_level) == (Stage(5, 0.020), 1 - 0.05 / 3)
    assert table.to_json()["false_words_expected"] == 0.020


def test_one_run_is_compatible_never_reproduced(tmp_path: Path) -> None:
    """The prediction interval is its own reading, in its own words."""
    cell = _acc2(measured_table(tmp_path, [AT - 12, AT + 12, AT - 9, AT + 9, AT]))
    assert (cell.judged.word, cell.judged.one_run) == ("straddles", "compatible")
    assert cell.judged.prediction is not None
    assert cell.judged.prediction[0] < 84.5 < cell.judged.prediction[1]


def test_a_margin_chosen_after_looking_gives_intervals_and_no_word(tmp_path: Path) -> None:
    """Another margin than the sealed one may not turn a word; the smallest margin that would do is said at either."""
    rights = [AT - 12, AT + 12, AT - 9, AT + 9, AT]
    table = measured_table(tmp_path, rights, margin=3.0)  # type: ignore[arg-type]
    words = next(row for row in table.rows if row.row.key == KEY).words
    assert (words.mean, words.kind, words.headline) == ("interval only", "margin chosen after looking", False)
    assert words.why == "margin chosen after looking: the plan's is 1 point"
    judged = _acc2(table).judged
    assert (judged.word, judged.mark) == ("interval only", "")
    assert judged.difference is not None
    assert words.smallest_margin is not None
    plan = load_plan(tmp_path, "table1")
    assert plan is not None
    sealed = replace(plan, margin=words.smallest_margin + 1e-6)
    again = compare(load_table("table1"), sealed, Records(tmp_path))
    assert next(row for row in again.rows if row.row.key == KEY).words.mean == "reproduced"


def test_other_data_are_not_comparable_and_the_rest_is_not_run(tmp_path: Path) -> None:
    """No verdict on synthetic or partial data; rows without runs say not run."""
    table = measured_table(tmp_path, [AT, AT + 1, AT - 1, AT, AT], standing="partial")
    words = {row.row.key: {cell.judged.word for cell in row.cells} for row in table.rows}
    assert words.pop(KEY) == {"not comparable"}
    assert set().union(*words.values()) == {"not run"}
    cell = _acc2(table)
    assert cell.judged.why == "partial data: not the official split, so not comparable"
    assert cell.judged.difference is None


def test_a_row_public_data_cannot_reach_says_so(tmp_path: Path) -> None:
    """A row marked unavailable in its YAML is not merely 'not run'."""
    from dmd_repro.papers.folders import tables_folder

    text = (tables_folder() / "table1.yaml").read_text(encoding="utf-8")
    recipe = "        recipe: {model: ef-lstm, protocol: official, features: mosi-aligned-glove}\n"
    lost = "        recipe: null\n        reason: abstract-only\n        unavailable: features lost\n"
    text = text.replace(recipe, lost, 1)
    (tmp_path / "table1.yaml").write_text(text, encoding="utf-8")
    table = compare(load_table("table1", tmp_path), None, Records(tmp_path))
    assert table.rows[0].cells[0].judged.word == "not reproducible from public data"
    assert table.rows[0].cells[0].judged.why == "features lost"


def test_conventions_move_the_same_runs(tmp_path: Path) -> None:
    """Both ACC2 readings and all four F1s of the very same predictions, and the span between them."""
    row = load_table("table1").row(KEY)
    data, specs = stamp_for(row), [spec_for(row, seed) for seed in (1111, 1112)]
    for n, spec in enumerate(specs, start=1):
        write_record(tmp_path, spec, data, predictions_with(n))
    plan_rows(tmp_path, "table1", {KEY: (data, specs)})
    cell = _acc2(compare(load_table("table1"), load_plan(tmp_path, "table1"), Records(tmp_path)))
    want = {
        name: np.mean([METRICS[name].shown(LABELS, predictions_with(n)) for n in (1, 2)])
        for name in ("acc2_non0", "acc2_has0")
    }
    assert dict(cell.conventions) == pytest.approx(want)
    assert cell.convention_moves == pytest.approx(abs(want["acc2_non0"] - want["acc2_has0"]))


def test_looks_are_counted_once_per_set_of_runs(tmp_path: Path) -> None:
    """Printing twice is one look; a sixth seed makes a second one, which leaves the word of the first five standing."""

    def look(rights: list[int | None]) -> ComparisonTable:
        measured_table(tmp_path, rights)
        return with_looks(compare_tables(tmp_path, ["table1"]), tmp_path, None)[0]

    five: list[int | None] = [AT - 2, AT + 2, AT - 1, AT + 1, AT]
    assert look(five).looks == ("n = 5",)
    assert len(read_looks(tmp_path, "table1", ("mosi-aligned-glove",))) == 1
    row = load_table("table1").row(KEY)
    data, spec = stamp_for(row), spec_for(row, 1116)
    write_scores(tmp_path, spec, data, near(AT, 9))
    plan_rows(tmp_path, "table1", {KEY: (data, [spec_for(row, 1111 + i) for i in range(6)])})
    table = with_looks(compare_tables(tmp_path, ["table1"]), tmp_path, None)[0]
    assert table.looks == ("n = 5", "n = 5")
    words = next(row for row in table.rows if row.row.key == KEY).words
    assert (words.stage, words.provisional) == (Stage(5, 0.020), True)
    assert "printed 2 times" in " ".join(table.rule)
    damaged = next((tmp_path / "plans").glob("*.looks"))
    damaged.write_text("not json\n" + damaged.read_text())
    assert with_looks(compare_tables(tmp_path, ["table1"]), tmp_path, None)[0].looks == ("n = 5", "n = 5")


def test_a_table_without_verdicts_is_no_look(tmp_path: Path) -> None:
    """Four seeds give no verdict, so nothing is counted and nothing written."""
    measured_table(tmp_path, [AT, AT + 1, AT - 1, AT + 2])
    assert with_looks(compare_tables(tmp_path, ["table1"]), tmp_path, None)[0].looks == ()
    assert not list((tmp_path / "plans").glob("*.looks"))


def test_power_is_printed_before_training(tmp_path: Path) -> None:
    """A plan says what its seeds can settle: with an assumed spread, 5 cannot; with one measured, it is used."""
    row = load_table("table1").row(KEY)
    data, specs = stamp_for(row), [spec_for(row, 1111 + i) for i in range(5)]
    plan = plan_rows(tmp_path, "table1", {KEY: (data, specs)})
    power, recommended = power_lines(load_table("table1"), plan, Records(tmp_path))
    assert "level 0.02, margin 1 point, 3 numbers, spread 1.10 points (assumed" in power
    gaps = [(0.0, 1.1, 0.05)] * 3
    assert f"in at least {power_of_row(gaps, 5, alpha=0.02):.0%} of cases" in power
    assert power_of_row(gaps, 20, alpha=0.01) < 0.8 <= power_of_row(gaps, 50, alpha=0.005)
    assert recommended == "recommended runs a row, for 80% power: 50 for every row (18 with --one-look)"
    assert power_of_row(gaps, 18) >= 0.8 > power_of_row(gaps, 17)
    measured_table(tmp_path / "b", [AT, AT + 1, AT - 1, AT + 2, AT])
    plan_b = load_plan(tmp_path / "b", "table1")
    assert plan_b is not None
    assert "of its finished runs" in power_lines(load_table("table1"), plan_b, Records(tmp_path / "b"))[0]
    few = plan_rows(tmp_path / "c", "table1", {KEY: (data, specs[:2])})
    assert power_lines(load_table("table1"), few, Records(tmp_path / "c")) == [
        "power: 2 runs a row give no word; the first stage takes 5",
        recommended,
    ]
    once = power_lines(load_table("table1"), replace(few, one_look=2, margin=1.5), Records(tmp_path / "c"))
    n = int(once[-1].split(": ")[1].split()[0])
    assert power_of_row(gaps, n, margin=1.5) >= 0.8 > power_of_row(gaps, n - 1, margin=1.5)


def test_the_json_holds_verdict_and_provenance(tmp_path: Path) -> None:
    """All a reader of the JSON needs to recompute or repeat a cell is in it."""
    document = json.loads(
        json.dumps(measured_table(tmp_path, [AT - 2, AT + 2, AT - 1, AT + 1, AT]).to_json(), allow_nan=False)
    )
    row = next(r for b in document["blocks"] for r in b["rows"] if r["key"] == KEY)
    cell = row["cells"][1]
    assert {"place", "d_interval", "p_equivalence", "prediction_interval", "one_run", "error_clips"} <= set(cell)
    assert {"if_a_mean", "if_one_run", "if_best_of_k", "smallest_margin", "provisional"} <= set(row["words"])
    assert {run["run"] for run in document["provenance"]} == set(row["runs"].values())
    assert {run["digest"] for run in document["provenance"]} == {"d" * 64}
    assert document["prose"].startswith("Table 1 prints 63 numbers")


@pytest.mark.parametrize(("mean", "word"), [(0.711, "within"), (0.740, "worse"), (0.690, "better")])
def test_mae_is_judged_on_its_own_scale(mean: float, word: str) -> None:
    """A margin of one point is 0.01 of MAE: a margin of 1.0 would call every MAE reproduced."""
    row = replace(load_table("table1").row(KEY), cells={"mae": Printed.of("0.710"), "acc2": Printed.of("84.5")})
    seeds = range(1, 7)
    by_seed = {seed: mean + 0.0005 * (seed - 3.5) for seed in seeds}
    accuracies = {seed: 84.4 + 0.05 * seed for seed in seeds}
    measured = Measured(
        planned=tuple(seeds),
        order=tuple(seeds),
        runs=dict.fromkeys(seeds, "run"),
        values={"mae": by_seed, "acc2": accuracies},
    )
    judged = judge([row], {KEY: measured})[KEY]
    found = judged.cells["mae"]
    assert (found.word, judged.words.cells, judged.cells["acc2"].word) == (word, 2, "within")
    assert judged.words.mean == {"within": "reproduced"}.get(word, word)
    assert found.difference is not None
    assert found.difference.d == pytest.approx(mean - 0.00025 - 0.710)  # of the first five
    low, high = found.difference.interval
    assert 0.001 < high - low < 0.005  # in units of MAE, the rounding of the printed number included
