"""The comparison: what is compared, what is refused and why, and what a failed or foreign run does to a row."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_records import LABELS, plan_rows, predictions_with, spec_for, stamp_for, write_record

from dmd_repro.errors import RunError
from dmd_repro.metrics.registry import METRICS
from dmd_repro.papers.tables import load_table
from dmd_repro.planning.plans import load_plan
from dmd_repro.records.folder import Records
from dmd_repro.results.tables import compare, compare_tables
from dmd_repro.results.types import ComparedRow, ComparisonTable

KEY = "mosi-aligned-glove-dmd"
SEEDS = (1111, 1112, 1113)


def _table(runs: Path, name: str = "table1") -> ComparisonTable:
    return compare(load_table(name), load_plan(runs, name), Records(runs))


def _row(table: ComparisonTable, key: str = KEY) -> ComparedRow:
    return next(row for row in table.rows if row.row.key == key)


def _make(runs: Path, wrong: tuple[int, ...] = (1, 2, 3), key: str = KEY, spec: dict | None = None, **stamp: object):
    """Records and a plan for one row; `wrong`: clips of the wrong sign in each seed's predictions."""
    row = load_table("table1").row(key)
    data = stamp_for(row, **stamp)
    specs = [spec_for(row, seed, **(spec or {})) for seed, _ in zip(SEEDS, wrong, strict=False)]
    for one, n in zip(specs, wrong, strict=True):
        write_record(runs, one, data, predictions_with(n))
    plan_rows(runs, "table1", {key: (data, specs)})
    return specs


def test_official_runs_are_compared_and_tested(tmp_path: Path) -> None:
    """The whole point: mean, spread, difference and p from stored predictions, under the row's own convention."""
    _make(tmp_path)
    row = _row(_table(tmp_path))
    cell = row.cells[1]
    want = [METRICS["acc2_non0"].shown(LABELS, predictions_with(n)) for n in (1, 2, 3)]
    assert (row.state, row.n, cell.metric) == ("measured", "3/3", "acc2_non0")
    assert list(cell.values.values()) == pytest.approx(want)
    assert want == pytest.approx([87.5, 75.0, 62.5])
    assert cell.summary.mean == pytest.approx(75.0)
    assert cell.difference == pytest.approx(75.0 - 84.5)
    assert cell.test is not None
    assert cell.why_not is None


@pytest.mark.parametrize(
    ("stamp", "spec", "says"),
    [
        ({"standing": "synthetic", "dataset": "synthetic"}, {}, "synthetic data are never compared"),
        ({"standing": "partial"}, {}, "partial data"),
        ({"dataset": "mosei"}, {}, "run on CMU-MOSEI, printed for CMU-MOSI"),
        ({"aligned": False}, {}, "run on unaligned features"),
        ({"text": "hidden"}, {}, "run with BERT hidden states text, printed for GloVe"),
        ({}, {"protocol": "paper"}, "run under protocol 'paper'"),
    ],
)
def test_what_is_not_the_printed_setting_is_measured_but_not_compared(
    tmp_path: Path, stamp: dict, spec: dict, says: str
) -> None:
    """No difference and no p where data, setting, text or protocol are not the printed row's; the reason stands."""
    _make(tmp_path, spec=spec, **stamp)
    row = _row(_table(tmp_path))
    assert row.state == "measured"
    for cell in row.cells:
        assert cell.summary.mean is not None
        assert (cell.difference, cell.test) == (None, None)
        assert cell.why_not is not None
        assert says in cell.why_not
    assert any(says in note for note in row.notes)


@pytest.mark.parametrize(("standing", "mark"), [("synthetic", "SYNTHETIC DATA"), ("partial", "PARTIAL DATA")])
def test_stand_in_data_mark_the_title(tmp_path: Path, standing: str, mark: str) -> None:
    """Nobody may take a table of stand-in data for a result: the title says it."""
    _make(tmp_path, standing=standing)
    assert mark in _table(tmp_path).heading
    assert mark not in load_table("table1").title


def test_a_diverged_run_counts_as_failed(tmp_path: Path) -> None:
    """Leaving a diverged run out in silence would flatter the mean: it shows as 2/3 and no test is made."""
    row = load_table("table1").row(KEY)
    data, specs = stamp_for(row), [spec_for(row, seed) for seed in SEEDS]
    for one, scores in zip(
        specs, (predictions_with(1), predictions_with(2), np.full(len(LABELS), np.nan)), strict=True
    ):
        write_record(tmp_path, one, data, scores)
    plan_rows(tmp_path, "table1", {KEY: (data, specs)})
    found = _row(_table(tmp_path))
    assert (found.n, found.failed) == ("2/3", (1113,))
    assert found.cells[1].difference is not None
    assert found.cells[1].test is None
    assert "would flatter" in (found.cells[1].why_not or "")
    assert any("diverged" in note for note in found.notes)


def test_a_run_that_raised_counts_as_failed(tmp_path: Path) -> None:
    """A FAILED record is planned, not counted, and named."""
    row = load_table("table1").row(KEY)
    data, specs = stamp_for(row), [spec_for(row, seed) for seed in SEEDS]
    for one in specs[:2]:
        write_record(tmp_path, one, data, predictions_with(one.seed % 3))
    with Records(tmp_path).begin(specs[2], data, {}) as writer:
        writer.fail("Traceback: boom")
    plan_rows(tmp_path, "table1", {KEY: (data, specs)})
    found = _row(_table(tmp_path))
    assert (found.n, found.failed) == ("2/3", (1113,))
    assert found.cells[0].test is None


def test_unfinished_seeds_show_in_n(tmp_path: Path) -> None:
    """After an interruption the table says how much of the plan it rests on."""
    specs = _make(tmp_path)
    row = load_table("table1").row(KEY)
    plan_rows(tmp_path, "table1", {KEY: (stamp_for(row), [*specs, spec_for(row, 1114), spec_for(row, 1115)])})
    found = _row(_table(tmp_path))
    assert found.n == "3/5"
    assert found.failed == ()


def test_one_run_has_a_difference_but_no_test(tmp_path: Path) -> None:
    """A single seed shows its value; a verdict from one replicate would be noise."""
    _make(tmp_path, wrong=(1,))
    cell = _row(_table(tmp_path)).cells[1]
    assert cell.difference is not None
    assert (cell.summary.std, cell.summary.interval, cell.test) == (None, None, None)
    assert cell.why_not == "no test: one run has no spread"


def test_equal_runs_have_no_test(tmp_path: Path) -> None:
    """Equal values have no spread to test with: the reason is given instead of a p of 0."""
    _make(tmp_path, wrong=(2, 2, 2))
    cell = _row(_table(tmp_path)).cells[1]
    assert cell.test is None
    assert cell.why_not == "no test: all runs give the same value"


def test_a_foreign_digest_is_named_and_left_out(tmp_path: Path) -> None:
    """A run on other data than the row's never enters its mean."""
    specs = _make(tmp_path, wrong=(1, 2))
    path = next((tmp_path / "plans").glob("*.json"))
    document = json.loads(path.read_text())
    document.pop("seal", None)  # what is read here is what a plan from before the seal may say
    row = load_table("table1").row(KEY)
    other = write_record(tmp_path, spec_for(row, 1113), stamp_for(row, digest="e" * 64), predictions_with(0))
    document["rows"][KEY]["runs"]["1113"] = other
    path.write_text(json.dumps(document))
    found = _row(_table(tmp_path))
    assert set(found.runs) == {spec.seed for spec in specs}
    assert any(
        other in note and "its data (eeeeeeeeeeee) are not the row's (dddddddddddd)" in note for note in found.notes
    )


def test_another_model_or_seed_is_named_and_left_out(tmp_path: Path) -> None:
    """A plan that points a seed at the wrong run does not count that run twice."""
    _make(tmp_path, wrong=(1, 2))
    path = next((tmp_path / "plans").glob("*.json"))
    document = json.loads(path.read_text())
    document.pop("seal", None)  # what is read here is what a plan from before the seal may say
    document["rows"][KEY]["runs"]["1113"] = document["rows"][KEY]["runs"]["1111"]
    path.write_text(json.dumps(document))
    found = _row(_table(tmp_path))
    assert set(found.runs) == {1111, 1112}
    assert any("it is dmd full with seed 1111" in note for note in found.notes)


def test_a_damaged_record_is_named_and_left_out(tmp_path: Path) -> None:
    """A record that no longer agrees with its hashes does not count."""
    specs = _make(tmp_path)
    plan = load_plan(tmp_path, "table1")
    assert plan is not None
    victim = plan.rows[KEY].runs[specs[0].seed]
    with (tmp_path / victim / "predictions.safetensors").open("ab") as file:
        file.write(b"x")
    found = _row(_table(tmp_path))
    assert found.n == "2/3"
    assert any(victim in note and "damaged" in note for note in found.notes)


def test_changed_settings_and_mixed_configurations_are_not_compared(tmp_path: Path) -> None:
    """--set makes another experiment than the printed one; seeds of two configurations are no replicates."""
    row = load_table("table1").row(KEY)
    data = stamp_for(row)
    changed = {**spec_for(row, 1).config, "max_epochs": 1}
    versions, settings = ([spec_for(row, 1111), other] for other in (
        spec_for(row, 1112, training_version=2), spec_for(row, 1113, config=changed)
    ))  # fmt: skip
    for n, one in enumerate([*versions, settings[1]]):
        write_record(tmp_path, one, data, predictions_with(n))
    plan_rows(tmp_path, "table1", {KEY: (data, versions)})
    assert _row(_table(tmp_path)).cells[0].why_not == "its runs mix several configurations"
    plan_rows(tmp_path, "table1", {KEY: (data, settings)})  # the plan says nothing of it: the record does
    cell = _row(_table(tmp_path)).cells[0]
    assert cell.difference is None
    assert cell.why_not == "settings were changed (max_epochs=1), so not comparable"


def test_a_plan_cannot_make_a_record_what_it_is_not(tmp_path: Path) -> None:
    """A plan that says "changed" of an untouched run, or nothing of a changed one, moves no word of the table."""
    row = load_table("table1").row(KEY)
    data, specs = stamp_for(row), [spec_for(row, seed) for seed in (1111, 1112)]
    for n, one in enumerate(specs):
        write_record(tmp_path, one, data, predictions_with(n))
    plan_rows(tmp_path, "table1", {KEY: (data, specs)}, overrides={"max_epochs": 1})
    assert _row(_table(tmp_path)).cells[0].difference is not None
    mult, gd = (load_table("table5").row(f"mosi-unaligned-glove-mult{end}") for end in ("", "-gd"))
    stamp, plain = stamp_for(mult), spec_for(mult, 1111)
    write_record(tmp_path, plain, stamp, predictions_with(1))
    plan_rows(tmp_path, "table5", {gd.key: (stamp, [plain])})
    found = next(one for one in _table(tmp_path, "table5").rows if one.row.key == gd.key)
    assert not found.runs
    assert any("it has gd=False, which is another row" in note for note in found.notes)


def test_a_plan_without_its_seal_gets_no_verdict(tmp_path: Path) -> None:
    """Who can change a plan can count any run into any row: one line says how to plan again, the records stay."""
    row = load_table("table1").row(KEY)
    data, specs = stamp_for(row), [spec_for(row, seed) for seed in (1111, 1112)]
    for n, one in enumerate(specs):
        write_record(tmp_path, one, data, predictions_with(n))
    plan_rows(tmp_path, "table1", {KEY: (data, specs)})
    (path,) = (tmp_path / "plans").glob("*.json")
    document = json.loads(path.read_text())
    del document["seal"]
    path.write_text(json.dumps(document))
    found = _row(_table(tmp_path))
    assert found.n == "2/2"
    assert all(cell.difference is None and cell.judged.word == "not comparable" for cell in found.cells)
    assert any(f"dmd reproduce table1 --data {data.name}" in note for note in found.notes)


def test_table4_scores_heads_and_derives_mean_and_std_run_by_run(tmp_path: Path) -> None:
    """The rows of Table 4 read the unimodal heads, and their mean and STD are taken within a run, then over seeds."""
    table = load_table("table4")
    row = table.row("l-with-fd")
    data, specs = stamp_for(row), [spec_for(row, seed) for seed in SEEDS[:2]]
    for n, one in enumerate(specs):
        heads = {f"{m}_homo": predictions_with(i + n) for i, m in enumerate("lva")}
        write_record(tmp_path, one, data, predictions_with(0), heads)
    plan_rows(tmp_path, "table4", {f"{m}-with-fd": (data, specs) for m in "lva"})
    found = {one.row.key: one for one in _table(tmp_path, "table4").rows}
    acc2 = {key: list(found[key].cells[0].values.values()) for key in found}
    assert acc2["l-with-fd"] == pytest.approx([100.0, 87.5])
    assert acc2["a-with-fd"] == pytest.approx([75.0, 62.5])
    assert acc2["mean-with-fd"] == pytest.approx([87.5, 75.0])
    assert acc2["std-with-fd"] == pytest.approx([np.std([100, 87.5, 75])] * 2)
    assert found["mean-with-fd"].n == "2/2"
    assert found["mean-without-fd"].state == "skipped"


def test_without_runs_the_printed_column_stands(tmp_path: Path) -> None:
    """A report needs nothing but the package: every row is there, not run or with its reason."""
    for table in compare_tables(tmp_path / "nowhere", ["table1", "table4"]):
        for row in table.rows:
            assert row.state in ("not run", "skipped")
            assert all(cell.printed.text and cell.summary.mean is None for cell in row.cells)
    assert not (tmp_path / "nowhere").exists()


def test_an_unknown_plan_suggests_the_nearest(tmp_path: Path) -> None:
    """A slip in --data is answered with the plan that is there."""
    _make(tmp_path)
    with pytest.raises(RunError, match="Did you mean 'mosi-aligned-glove'"):
        compare_tables(tmp_path, ["table1"], ["mosi-aligned-glov"])


def test_rows_count_by_their_own_convention(tmp_path: Path) -> None:
    """A row printed as negative / non-negative says so, and an unknown convention is marked as taken."""
    notes = {row.row.key: " ".join(row.notes) for row in compare_tables(tmp_path, ["table1"])[0].rows}
    assert "negative / non-negative" in notes["mosi-aligned-glove-mfm"]
    assert "F1 with its arguments swapped" in notes["mosi-aligned-bert-misa"]
    assert "taken here as negative / positive" in notes["mosi-unaligned-glove-mica"]
    assert "counts negative / positive [not stated here; ALMT" in notes["mosi-aligned-glove-pmr"]
    assert "F1 with its arguments swapped [their code]" in notes["mosi-aligned-glove-mult"]
