"""Two sets of predictions on the same clips: the numbers are independent recomputations, mismatches are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn.metrics import accuracy_score

from dmd_repro.errors import ClaimError
from dmd_repro.results.pairs import RESAMPLES, compare_sides, pair_sheet
from dmd_repro.results.sides import ONE, Side, read_predictions

GENERATOR = np.random.Generator(np.random.PCG64(3))
TRUTH = np.round(GENERATOR.uniform(-3, 3, 120), 1)
IDS = tuple(f"v{i // 4}$_${i}" for i in range(120))


def _side(name: str, seeds: list[int], noise: float) -> Side:
    return Side(name, IDS, TRUTH, {seed: TRUTH + GENERATOR.normal(0, noise, 120) for seed in seeds})


def _file(folder: Path, name: str, side: Side, order: np.ndarray | None = None) -> Path:
    lines = ["id,y_true,y_pred,seed"]
    for seed, run in side.runs.items():
        for i in order if order is not None else range(len(side.ids)):
            lines.append(f"{side.ids[i]},{side.y_true[i]},{float(run[i])!r},{seed}")
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_known_answers() -> None:
    """Difference, paired test over seeds and McNemar equal scipy's and scikit-learn's, to 1e-9."""
    a, b = _side("a", [1, 2, 3, 4, 5], 1.0), _side("b", [1, 2, 3, 4, 5], 1.6)
    gaps, notes = compare_sides(a, b)
    (acc2,) = [gap for gap in gaps if gap.metric == "acc2_non0"]
    kept = TRUTH != 0
    each = [[100 * accuracy_score(TRUTH[kept] > 0, run[kept] > 0) for run in side.runs.values()] for side in (a, b)]
    assert acc2.first - acc2.second == pytest.approx(np.mean(each[0]) - np.mean(each[1]), abs=1e-9)
    assert acc2.seeds is not None
    assert acc2.seeds.test is not None
    assert acc2.seeds.test.p == pytest.approx(scipy_stats.ttest_rel(*each).pvalue, abs=1e-9)
    right = [(side.runs[2][kept] > 0) == (TRUTH[kept] > 0) for side in (a, b)]
    only = [int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())]
    assert acc2.mcnemar[2, 2].p == pytest.approx(scipy_stats.binomtest(only[0], sum(only)).pvalue, abs=1e-9)
    assert acc2.interval is not None
    assert acc2.interval[0] < acc2.first - acc2.second < acc2.interval[1]
    assert notes == []


def test_clips_of_one_video_are_drawn_together() -> None:
    """With every clip of a video alike the interval is that of the videos: twice as wide for four clips each."""
    level = np.repeat(GENERATOR.normal(0, 1, 30), 4)
    truth, one, other = np.where(level > 0, 1.0, -1.0), np.ones(120), np.where(level > 0.5, 1.0, -1.0)
    together = compare_sides(Side("a", IDS, truth, {ONE: one}), Side("b", IDS, truth, {ONE: other}))[0]
    alone = tuple(f"w{i}$_$0" for i in range(120))
    apart = compare_sides(Side("a", alone, truth, {ONE: one}), Side("b", alone, truth, {ONE: other}))[0]
    widths = []
    for gaps in (together, apart):
        (gap,) = [g for g in gaps if g.metric == "acc2_non0"]
        assert gap.interval is not None
        widths.append(gap.interval[1] - gap.interval[0])
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.15)
    assert RESAMPLES >= 1000


def test_the_order_of_lines_changes_nothing(tmp_path: Path) -> None:
    """Ids join the two files, not the lines' numbers."""
    a, b = _side("a", [1, 2], 1.0), _side("b", [2, 1], 1.5)
    shuffled = _file(tmp_path, "b2.csv", b, GENERATOR.permutation(120))
    straight = _file(tmp_path, "b.csv", b)
    first = _file(tmp_path, "a.csv", a)
    docs = [pair_sheet(read_predictions(first), read_predictions(path)).document for path in (straight, shuffled)]
    assert docs[0]["gaps"] == docs[1]["gaps"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda lines: [*lines, lines[1]], "each clip of seed 1 once, got 'v0$_$0', which line 2 has too"),
        (lambda lines: [lines[0].replace("y_pred", "pred"), *lines[1:]], "expected a column 'y_pred'"),
        (lambda lines: [lines[0], lines[1].replace("v0$_$0,", ","), *lines[2:]], "a clip's id, got nothing"),
        (lambda lines: [lines[0], "v0$_$0,1.0,inf,1", *lines[2:]], "line 2, y_pred: expected a number, got 'inf'"),
    ],
)
def test_a_wrong_file_is_named_by_line(tmp_path: Path, change: object, says: str) -> None:
    """One sentence with the line."""
    path = _file(tmp_path, "a.csv", _side("a", [1], 1.0))
    lines = change(path.read_text(encoding="utf-8").splitlines())  # type: ignore[operator]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ClaimError) as caught:
        read_predictions(path)
    assert says in str(caught.value)


def test_other_clips_and_other_labels_are_refused() -> None:
    """Another split's clips, or predictions beside labels that are not theirs, compare to nothing."""
    a = _side("a", [1], 1.0)
    other_clips = Side("b", tuple(f"x{i}" for i in range(120)), TRUTH, a.runs)
    with pytest.raises(ClaimError, match="expected the 120 clips of a, got 120 others"):
        compare_sides(a, other_clips)
    shifted = Side("b", IDS, np.roll(TRUTH, 1), a.runs)
    with pytest.raises(ClaimError, match="labels differ"):
        compare_sides(a, shifted)
    rounded = Side("b", IDS, TRUTH + 4e-4, a.runs)  # a label written with fewer digits is the same label
    assert compare_sides(a, rounded)[0][0].first == compare_sides(a, rounded)[0][0].second


def test_seeds_that_do_not_meet_are_not_paired() -> None:
    """No seed in common: no test over seeds, and the report says so; one run against several is said too."""
    gaps, notes = compare_sides(_side("a", [1, 2], 1.0), _side("b", [3, 4], 1.0))
    assert all(gap.seeds is None and not gap.mcnemar for gap in gaps)
    assert "no seed in common" in notes[0]
    gaps, notes = compare_sides(_side("a", [1, 2], 1.0), _side("b", [ONE], 1.0))
    assert "one side is one run" in notes[0]
    assert len(next(gap for gap in gaps if gap.metric == "acc7").mcnemar) == 2


def test_heads_of_evaluate_are_named_and_not_read(tmp_path: Path) -> None:
    """What `dmd evaluate --predictions` writes is taken as it is; the answer says which side is better."""
    path = _file(tmp_path, "a.csv", _side("a", [1, 2], 0.5))
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0] + ",l_homo", *(f"{line},0.5" for line in lines[1:])]), encoding="utf-8")
    found = read_predictions(path)
    assert found.notes == ("a.csv: not read: l_homo",)
    sheet = pair_sheet(_side("b", [1, 2], 3.0), found)
    assert sheet.answer[0].startswith("ACC2 non0: a.csv is better than b by ")
    assert "over clips" in sheet.answer[0]
    same = pair_sheet(found, found)
    assert "both" in same.answer[0]


@pytest.mark.parametrize("calls", [[2], [1, 2, 3, 4, 5]])
def test_a_run_that_did_not_learn_is_said_and_ends_the_test_over_seeds(tmp_path: Path, calls: list[int]) -> None:
    """A constant run has no Corr and no normal law beside the others: named first, its clips still compared."""
    b = _side("b", [1, 2, 3, 4, 5], 1.0)
    runs = {seed: np.full(120, 0.3) if seed in calls else run for seed, run in b.runs.items()}
    collapsed = read_predictions(_file(tmp_path, "a.csv", Side("a", IDS, TRUTH, runs)))
    assert collapsed.not_learned == tuple(calls)
    sheet = pair_sheet(collapsed, b)
    assert sheet.answer[1:] == (f"a.csv: {5 - len(calls)} of 5 runs learned.",)
    assert any(f"in {len(calls)} of 5 pairs a run did not learn" in note for note in sheet.notes)
    assert any("the run of seed 2 did not learn, by these clips: the predictions are a cons" in n for n in sheet.notes)
    assert all(gap["p"] is None and gap["interval_seeds"] is None for gap in sheet.document["gaps"])
    by = {gap["metric"]: gap for gap in sheet.document["gaps"]}
    assert by["corr"]["first"] is None
    assert by["acc2_non0"]["interval_clips"] is not None
    assert "nan" not in str(sheet.grids)
