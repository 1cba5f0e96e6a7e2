"""Between rows, the lottery and the clips' share: from records, against direct computations."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import plan_rows, spec_for, stamp_for
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar as library_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower
from verdict_cases import AT, CLIPS, KEY, TRUTH, measured_table, near, write_scores

from dmd_repro.errors import ClaimError
from dmd_repro.metrics.registry import METRICS
from dmd_repro.papers.tables import load_table
from dmd_repro.planning.plans import load_plan
from dmd_repro.records.folder import Predictions, Records
from dmd_repro.render.formats import FORMATS
from dmd_repro.render.sheet import render_sheets
from dmd_repro.results.between import between_sheet
from dmd_repro.results.lottery import lottery_sheet
from dmd_repro.stats.clips import clips_share, drawn_table, per_clip
from dmd_repro.stats.paired import crossed, mcnemar_counts, most_discordant
from dmd_repro.stats.power import power_two_samples, seeds_for_gap

FULL, NO_CA = "mosi-unaligned-glove-dmd", "mosi-unaligned-glove-dmd-no-ca"
SEEDS = (1111, 1112, 1113)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two rows of Table 3, three seeds each."""
    rows = {}
    for key, right in ((FULL, 550), (NO_CA, 530)):
        row = load_table("table3").row(key)
        data, specs = stamp_for(row), [spec_for(row, seed) for seed in SEEDS]
        for i, spec in enumerate(specs):
            write_scores(tmp_path, spec, data, near(right + 3 * i + (key == FULL) * (i % 2), i))
        rows[key] = (data, specs)
    plan_rows(tmp_path, "table3", rows)
    return tmp_path


def test_full_over_masked_equals_direct_computations(runs: Path) -> None:
    """Paired t, Holm and each seed's McNemar are the libraries', from predictions on disk."""
    sheet = between_sheet(load_table("table3"), load_plan(runs, "table3"), Records(runs), "full")
    document = json.loads(json.dumps(sheet.to_json(), allow_nan=False))
    gaps = {gap["column"]: gap for gap in document["gaps"]}
    assert set(gaps) == {"acc7", "f1"}
    a = [near(550 + 3 * i + i % 2, i) for i in range(3)]
    b = [near(530 + 3 * i, i) for i in range(3)]
    f1 = [[METRICS["f1_non0"].shown(TRUTH, x) for x in side] for side in (a, b)]
    want = scipy_stats.ttest_rel(f1[0], f1[1])
    assert gaps["f1"]["gap"] == pytest.approx(np.mean(np.subtract(*f1)), abs=1e-9)
    assert gaps["f1"]["p"] == pytest.approx(want.pvalue, abs=1e-9)
    raw = [gaps[c]["p"] for c in ("acc7", "f1")]
    assert [gaps[c]["p_holm"] for c in ("acc7", "f1")] == pytest.approx(multipletests(raw, method="holm")[1], abs=1e-9)
    for i, seed in enumerate(SEEDS):
        right = [np.sign(x) == TRUTH for x in (a[i], b[i])]
        table = [[0, int((right[0] & ~right[1]).sum())], [int((right[1] & ~right[0]).sum()), 0]]
        assert gaps["f1"]["mcnemar"][str(seed)]["p"] == pytest.approx(
            library_mcnemar(table, exact=True).pvalue, abs=1e-9
        )
    assert gaps["f1"]["correlation"] == pytest.approx(np.corrcoef(*f1)[0, 1], abs=1e-9)


@pytest.mark.parametrize("format_", FORMATS)
def test_sheets_come_in_every_format(runs: Path, format_: str) -> None:
    """The gap stands in each format, and the rule with it."""
    table, plan, records = load_table("table3"), load_plan(runs, "table3"), Records(runs)
    sheets = [between_sheet(table, plan, records, "full"), lottery_sheet(table, plan, records)]
    text = render_sheets(sheets, format_)  # type: ignore[arg-type]
    gap = sheets[0].document["gaps"][1]["gap"]
    assert (repr(gap) if format_ == "json" else f"{gap:.2f}") in text.replace("\\", "")
    assert "never" in " ".join(text.split()) or format_ == "csv"


def test_rows_that_may_not_be_paired_are_named(runs: Path) -> None:
    """Other data or missing runs are a note, not a number; a wrong name is answered."""
    row = load_table("table3").row(NO_CA)
    other = stamp_for(row, digest="e" * 64)
    specs = [spec_for(row, seed) for seed in SEEDS]
    for i, spec in enumerate(specs):
        write_scores(runs, spec, other, near(500, i))
    full = load_table("table3").row(FULL)
    plan_rows(runs, "table3", {FULL: (stamp_for(full), [spec_for(full, s) for s in SEEDS]), NO_CA: (other, specs)})
    sheet = between_sheet(load_table("table3"), load_plan(runs, "table3"), Records(runs), "full")
    assert sheet.document["gaps"] == []
    assert any("different data" in note for note in sheet.notes)
    assert any("has no runs" in note for note in sheet.notes)
    with pytest.raises(ClaimError, match="Did you mean 'full'"):
        between_sheet(load_table("table3"), None, Records(runs), "ful")


def test_a_failed_run_leaves_a_gap_without_a_test(runs: Path) -> None:
    """A diverged run left out would flatter the mean: the gap stands, its p-values do not."""
    row, rows = load_table("table3").row(NO_CA), {}
    write_scores(runs, spec_for(row, 1114), stamp_for(row), np.full(CLIPS, np.nan, np.float32))
    for key in (FULL, NO_CA):
        one = load_table("table3").row(key)
        rows[key] = (stamp_for(one), [spec_for(one, seed) for seed in (*SEEDS, 1114)])
    plan_rows(runs, "table3", rows)
    sheet = between_sheet(load_table("table3"), load_plan(runs, "table3"), Records(runs), "full")
    for gap in sheet.document["gaps"]:
        assert gap["gap"] is not None
        assert gap["interval"] is not None
        assert gap["seeds_failed"] == 1
        assert gap["p"] is None
        assert gap["p_holm"] is None
    assert any("no test, for 1 seed failed" in note for note in sheet.notes)


def test_a_spread_has_no_lottery(tmp_path: Path) -> None:
    """Table 4's STD rows: lower is better by the paper, so a highest of k would be read the wrong way round."""
    table = load_table("table4")
    row = table.row("l-with-fd")
    data, specs = stamp_for(row), [spec_for(row, seed) for seed in SEEDS]
    for seed, spec in zip(SEEDS, specs, strict=True):
        heads = {f"{m}_homo": near(500 + 9 * i + seed % 7, seed + i) for i, m in enumerate("lva")}
        said = Predictions(tuple(f"v{i}$_$0" for i in range(CLIPS)), TRUTH, heads["l_homo"], heads)
        with Records(tmp_path).begin(spec, data, {"execution": {}}) as writer:
            (writer.path / "history.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n')
            writer.finish(
                predictions={"valid": said, "test": said},
                epochs={"valid": said.y_pred[None], "test": said.y_pred[None]},
                checkpoint={"w": np.zeros(1, np.float32)},
                provenance={"best_epoch": 1},
            )
    plan_rows(tmp_path, "table4", {f"{m}-with-fd": (data, specs) for m in "lva"})
    sheet = lottery_sheet(table, load_plan(tmp_path, "table4"), Records(tmp_path))
    keys = {cell["row"] for cell in sheet.document["cells"]}
    assert keys == {"l-with-fd", "v-with-fd", "a-with-fd", "mean-with-fd"}
    assert any("a spread has no best run" in note for note in sheet.notes)


def test_the_lottery_of_a_table(tmp_path: Path) -> None:
    """Reached, best of k and the chance come from the cell's own values; k beyond n is the model's."""
    rights = [AT - 12, AT + 12, AT - 9, AT + 9, AT]
    measured_table(tmp_path, rights)  # type: ignore[arg-type]
    sheet = lottery_sheet(load_table("table1"), load_plan(tmp_path, "table1"), Records(tmp_path))
    cell = next(c for c in sheet.document["cells"] if c["column"] == "acc2")
    values = [100 * r / CLIPS for r in rights]
    assert cell["values"] == pytest.approx(values)
    assert cell["reached"] == sum(v >= 84.45 for v in values)
    for k in (1, 2, 3, 5):
        want = np.mean([max(some) for some in combinations(values, k)])
        assert cell["best_of"][k - 1]["value"] == pytest.approx(want, abs=1e-9)
        hit = np.mean([max(some) >= 84.45 for some in combinations(values, k)])
        assert cell["best_of"][k - 1]["chance"] == pytest.approx(hit, abs=1e-9)
    assert [entry["exact"] for entry in cell["best_of"]] == [k <= 5 for k in range(1, 21)]
    away = (84.45 - np.mean(values)) / np.std(values, ddof=1)
    assert cell["chance"] == pytest.approx(scipy_stats.t.sf(away / np.sqrt(1.2), 4))
    assert (cell["even_bet"], cell["even_bet_exact"]) == (1, True)  # three of five reach it
    assert any("not to be had together" in note for note in (*sheet.notes, *sheet.rule))


def test_the_optimism_of_picking_by_test(tmp_path: Path) -> None:
    """The best test epoch less the one validation chose, and the best seed less the one validation would pick."""
    row = load_table("table1").row(KEY)
    data, specs = stamp_for(row), [spec_for(row, 1111), spec_for(row, 1112)]
    for spec, (chosen, best, valid) in zip(specs, ((540, 556, 600), (548, 550, 500)), strict=True):
        test = np.stack([near(best, 1), near(chosen, 2)])
        said = [Predictions(tuple(map(str, range(CLIPS))), TRUTH, x, {}) for x in (near(valid, 3), test[1])]
        with Records(tmp_path).begin(spec, data, {"execution": {}}) as writer:
            (writer.path / "history.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n')
            writer.finish(
                predictions={"valid": said[0], "test": said[1]},
                epochs={"valid": np.stack([said[0].y_pred] * 2), "test": test},
                checkpoint={"w": np.zeros(1, np.float32)},
                provenance={"best_epoch": 2},
            )
    plan_rows(tmp_path, "table1", {KEY: (data, specs)})
    sheet = lottery_sheet(load_table("table1"), load_plan(tmp_path, "table1"), Records(tmp_path))
    cell = next(c for c in sheet.document["cells"] if c["column"] == "acc2")
    assert cell["picking_epoch_by_test"] == pytest.approx(100 * (16 + 2) / 2 / CLIPS)
    assert cell["picking_seed_by_test"] == pytest.approx(100 * (548 - 540) / CLIPS)  # validation prefers the first


def test_synthetic_runs_meet_no_printed_number(tmp_path: Path) -> None:
    """Best of k and picking are shown; where the printed number lies is not, for it may not be compared."""
    measured_table(tmp_path, [AT, AT + 1, AT - 1, AT + 2, AT], standing="synthetic", dataset="synthetic")
    sheet = lottery_sheet(load_table("table1"), load_plan(tmp_path, "table1"), Records(tmp_path))
    assert all(c["chance"] is None and not c["comparable"] for c in sheet.document["cells"])
    assert "Where the printed number lies" not in [grid.title for grid in sheet.grids]
    assert sheet.mark == "SYNTHETIC DATA"  # whoever sees only the exported sheet must learn it too


VECTORS = st.lists(st.floats(-3, 3, width=32), min_size=6, max_size=30)


@settings(max_examples=60, deadline=None)
@given(VECTORS, st.randoms(use_true_random=False), st.sampled_from(["acc7", "acc2_non0", "acc2_has0", "mae"]))
def test_values_per_clip_average_to_the_score(true: list[float], random: Random, metric: str) -> None:
    """The clips' share rests on values whose mean is the score itself."""
    pred = [random.uniform(-3, 3) for _ in true]
    values = per_clip(metric, true, pred)
    score = METRICS[metric].shown(true, pred)
    if values is not None and np.isfinite(score):
        assert np.nanmean(values) == pytest.approx(score, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(VECTORS, st.integers(0, 99), st.sampled_from(["f1_non0", "f1_has0", "f1_non0_swapped"]))
def test_f1_values_are_the_jackknife_s(true: list[float], seed: int, metric: str) -> None:
    """Each pseudo-value is n F1 - (n - 1) F1 without that clip, recomputed one clip at a time."""
    pred = np.random.Generator(np.random.PCG64(seed)).uniform(-3, 3, len(true))
    truth = np.array(true, dtype=np.float32)
    kept = np.flatnonzero(truth != 0) if "non0" in metric else np.arange(truth.size)
    values = per_clip(metric, truth, pred)
    if kept.size < 2 or values is None:
        return
    n, whole = kept.size, METRICS[metric].shown(truth, pred)
    for clip in kept:
        without = METRICS[metric].shown(np.delete(truth, clip), np.delete(pred, clip))
        assert values[clip] == pytest.approx(n * whole - (n - 1) * without, abs=1e-7)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.integers(2, 8))
def test_clips_of_one_video_are_drawn_together(seed: int, videos: int) -> None:
    """Row means stay the scores; a video a clip changes nothing; clips that are copies of each other count once."""
    draw = np.random.Generator(np.random.PCG64(seed))
    rows = list(draw.normal(size=(3, 20)))
    rows[0][4] = np.nan  # a clip that does not count
    names = [f"v{i}" for i in draw.integers(0, videos, 20)]
    kept = np.isfinite(np.stack(rows)).all(axis=0)
    alone, together = drawn_table(rows), drawn_table(rows, names)
    assert alone is not None
    if together is not None:
        assert together.mean(axis=1) == pytest.approx(np.stack(rows)[:, kept].mean(axis=1), abs=1e-12)
    twice = drawn_table([np.repeat(row, 2) for row in rows], list(np.repeat(np.arange(20).astype(str), 2)))
    assert twice is not None
    single = drawn_table(rows, list(map(str, range(20))))
    assert single is not None
    once = crossed(alone)
    for same in (twice, single):
        assert crossed(same).error == pytest.approx(once.error)
        assert crossed(same).error_clips == pytest.approx(once.error_clips)


def test_the_clips_share_is_the_binomial_error_where_seeds_agree() -> None:
    """Two runs that call every clip alike differ by clips alone: the textbook standard error of a proportion."""
    scores = near(AT, 0)
    share = clips_share("acc2_non0", TRUTH, [scores, scores])
    assert share is not None
    p = AT / CLIPS
    assert share.error_seeds == 0
    assert share.error_clips == pytest.approx(100 * np.sqrt(p * (1 - p) / (CLIPS - 1)), abs=1e-9)
    assert clips_share("acc2_non0", TRUTH, [scores]) is None
    assert per_clip("corr", TRUTH, scores) is None


@pytest.mark.parametrize(("n", "gap", "std"), [(5, 1.0, 1.1), (12, 0.3, 0.8), (3, 4.0, 2.0), (40, 0.9, 1.1)])
def test_power_of_two_samples_equals_statsmodels(n: int, gap: float, std: float) -> None:
    """The power the audit prints is the library's, and the number of runs is the fewest that has it."""
    want = TTestIndPower().power(effect_size=gap / std, nobs1=n, alpha=0.05, ratio=1.0)
    assert power_two_samples(n, gap, std) == pytest.approx(want, abs=1e-9)
    fewest = seeds_for_gap(gap, std)
    assert power_two_samples(fewest, gap, std) >= 0.8
    assert fewest == 2 or power_two_samples(fewest - 1, gap, std) < 0.8


@pytest.mark.parametrize("gap", [1, 5, 6, 9, 17, 40])
def test_most_discordant_equals_a_search(gap: int) -> None:
    """The largest number of discordant clips at which a gap is significant, by the exact test."""
    best, total = 0, gap
    while mcnemar_counts((total + gap) // 2, (total - gap) // 2).p <= 0.05:
        best, total = total, total + 2
    assert most_discordant(gap) == best
