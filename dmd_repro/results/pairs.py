"""Two sets of predictions on the same clips: `dmd compare`. Each side is a file of predictions or the runs of a row.

Both sides are scored by the same measures on the same labels; the interval draws clips anew, those of one video
together, and the same clips for both sides. Runs of one seed are paired; nothing here is held against printed numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmd_repro.data.checks.report import some, video_of
from dmd_repro.errors import ClaimError, RunError, nearest
from dmd_repro.metrics.registry import METRICS, shown_in
from dmd_repro.papers.folders import table_names
from dmd_repro.papers.rerun_csv import read_csv_lines
from dmd_repro.papers.tables import load_table
from dmd_repro.planning.plans import load_plan
from dmd_repro.records.folder import Records
from dmd_repro.results.runs import Runs, measure
from dmd_repro.results.sheet import NONE, Sheet, TextGrid, p_value
from dmd_repro.results.tables import DATA_MARKS
from dmd_repro.seeds import seed_for
from dmd_repro.stats.clips import per_clip
from dmd_repro.stats.paired import McNemar, Paired, mcnemar, paired

MEASURES = tuple(shown_in("comparison"))
RIGHT = tuple(name for name in MEASURES if METRICS[name].is_accuracy)  # measures with right and wrong clips
RESAMPLES, CHUNK = 2000, 100
LABEL_SLACK = 1e-3  # labels are written with a few digits; the nearest two labels differ by far more
ONE = -1  # the seed of a run that names none
RULE = (
    "difference: first minus second, in points (MAE and Corr: their own scale). 95 % clips: percentile interval over "
    f"{RESAMPLES} draws of clips, the same for both sides, clips of one video together; the runs stay as they are.",
    "95 % seeds, p: Student t over the differences of runs with one seed. McNemar: exact, on the clips one pair of "
    "runs disagrees on; in brackets the clips the first alone and the second alone gets right. p-values of several "
    "pairs share their clips and are never pooled.",
)
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Side:
    """One set of predictions: labels, and the predictions of one run or several."""

    name: str
    ids: tuple[str, ...]  # B
    y_true: Floats  # (B,)
    runs: Mapping[int, Floats]  # seed -> (B,)
    mark: str | None = None  # SYNTHETIC DATA, PARTIAL DATA


def read_predictions(path: Path) -> Side:
    """Read `id,y_true,y_pred` (optional `seed`: several runs in one file).

    Raises ClaimError naming the line: a missing column, a number that is none, an id twice in one run, a run with
    other clips or labels than the first.
    """
    names, lines = read_csv_lines(path)
    for name in ("id", "y_true", "y_pred"):
        if name not in names:
            got = f"columns {', '.join(names)}"
            raise ClaimError.at(
                path.name, expected=f"a column '{name}'", got=got, do="Write id,y_true,y_pred (and seed)"
            )
    for name in names:
        if name not in ("id", "y_true", "y_pred", "seed"):
            raise ClaimError.at(
                f"{path.name}, column '{name}'",
                expected="id, y_true, y_pred or seed",
                got="another",
                do="Leave it out",
            )
    found: dict[int, dict[str, tuple[float, float]]] = {}
    places: dict[tuple[int, str], int] = {}
    for number, line in lines:
        seed = _seed(path, number, line["seed"]) if "seed" in line else ONE
        clip = line["id"]
        if not clip:
            raise ClaimError.at(
                f"{path.name}, line {number}", expected="a clip's id", got="nothing", do="Correct the file"
            )
        if (seed, clip) in places:
            of = "" if seed == ONE else f" of seed {seed}"
            raise ClaimError.at(
                f"{path.name}, line {number}",
                expected=f"each clip{of} once",
                got=f"'{clip}', which line {places[seed, clip]} has too",
                do="Leave one out",
            )
        places[seed, clip] = number
        found.setdefault(seed, {})[clip] = (
            _number(path, number, "y_true", line["y_true"]),
            _number(path, number, "y_pred", line["y_pred"]),
        )
    first_seed, first = next(iter(found.items()))
    for seed, clips in found.items():
        _same_clips(f"{path.name}, seed {seed}", clips.keys(), f"seed {first_seed}", first.keys())
        _same_labels(
            f"{path.name}, seed {seed}", {c: t for c, (t, _) in clips.items()}, {c: t for c, (t, _) in first.items()}
        )
    ids = tuple(first)
    truth = np.array([first[clip][0] for clip in ids])
    runs = {seed: np.array([clips[clip][1] for clip in ids]) for seed, clips in found.items()}
    return Side(path.name, ids, truth, runs)


def row_side(key: str, runs_dir: Path, data: Sequence[str] | None = None) -> Side:
    """Return the finished runs of a printed row, by its key, from its plan on `data` or the most recent one.

    Raises ClaimError for an unknown key (with the nearest), RunError if none of its runs is finished.
    """
    tables = [load_table(name) for name in table_names()]
    keys = {row.key for table in tables for row in table.rows if row.derived is None}
    if key not in keys:
        close = nearest(key, keys)
        do = close if close.startswith("Did") else "`dmd report table1 --json` names the rows; a file ends in .csv"
        raise ClaimError.at(f"dmd compare {key}", expected="a row's key or a CSV file", got="neither", do=do)
    runs = Runs(Records(runs_dir))
    for table in tables:
        plan = load_plan(runs_dir, table.name, data)
        planned = plan.rows.get(key) if plan else None
        if planned is None or not any(row.key == key for row in table.rows):
            continue
        measured = measure(table.row(key), planned, runs)
        if not measured.runs:
            continue
        ids = {}
        for seed, run_id in measured.runs.items():
            found = runs.get(run_id)
            assert not isinstance(found, str)
            ids[seed] = found[1].ids
        first = next(iter(ids))
        if any(one != ids[first] for one in ids.values()):  # one digest, so one order of clips: never in whole records
            raise RunError.at(key, expected="runs on the same clips", got="others", do="Verify them: dmd runs verify")
        standing = str((planned.features or {}).get("standing"))
        return Side(
            key,
            ids[first],
            measured.scores[first][0].astype(np.float64),
            {seed: score.astype(np.float64) for seed, (_, score) in measured.scores.items()},
            DATA_MARKS.get(standing),
        )
    do = "Train it: dmd reproduce TABLE --rows ROW"
    raise RunError.at(f"row '{key}'", expected=f"finished runs of it in {runs_dir}", got="none", do=do)


def _seed(path: Path, number: int, text: str) -> int:
    if not text.isdigit():
        raise ClaimError.at(
            f"{path.name}, line {number}, seed", expected="a whole number", got=repr(text), do="Correct the file"
        )
    return int(text)


def _number(path: Path, number: int, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ClaimError.at(
            f"{path.name}, line {number}, {column}", expected="a number", got=repr(text), do="Correct the file"
        )
    return value


def _same_clips(name: str, ids: Any, other_name: str, others: Any) -> None:
    mine, theirs = set(ids), set(others)
    if mine != theirs:
        extra, missing = sorted(mine - theirs), sorted(theirs - mine)
        said = [f"{len(extra)} others ({some(extra, 2)})"] if extra else []
        said += [f"{len(missing)} missing ({some(missing, 2)})"] if missing else []
        raise ClaimError.at(
            name,
            expected=f"the {len(theirs)} clips of {other_name}",
            got=" and ".join(said),
            do="Compare predictions of one split, with ids written alike",
        )


def _same_labels(name: str, mine: Mapping[str, float], theirs: Mapping[str, float]) -> None:
    wrong = [clip for clip in theirs if abs(mine[clip] - theirs[clip]) > LABEL_SLACK]
    if wrong:
        clip = wrong[0]
        raise ClaimError.at(
            name,
            expected=f"the labels of the other side ({clip}: {theirs[clip]:g})",
            got=f"{mine[clip]:g}, and {len(wrong)} of {len(theirs)} labels differ",
            do="Write each prediction beside its own clip and label",
        )


@dataclass(frozen=True, slots=True)
class Gap:
    """One measure of the first side minus the second, in the unit tables print."""

    metric: str
    first: float  # mean over its runs
    second: float
    interval: tuple[float, float] | None  # over clips
    seeds: Paired | None  # over common seeds
    mcnemar: Mapping[tuple[int, int], McNemar]


def compare_sides(a: Side, b: Side) -> tuple[list[Gap], list[str]]:
    """Return the gap in every measure, and what must be said beside them.

    Raises ClaimError for other clips or labels.
    """
    _same_clips(b.name, b.ids, a.name, a.ids)
    at = {clip: i for i, clip in enumerate(b.ids)}
    order = np.array([at[clip] for clip in a.ids])
    theirs = {seed: run[order] for seed, run in b.runs.items()}
    _same_labels(
        b.name, dict(zip(b.ids, b.y_true.tolist(), strict=True)), dict(zip(a.ids, a.y_true.tolist(), strict=True))
    )
    common = sorted(set(a.runs) & set(theirs) - {ONE})
    notes = []
    if common:
        pairs = [(seed, seed) for seed in common]
        if len(common) < max(len(a.runs), len(theirs)):
            notes.append(f"paired over the {len(common)} seeds both sides have; means are of all runs of a side")
    elif len(a.runs) == 1 or len(theirs) == 1:
        pairs = [(s, t) for s in a.runs for t in theirs]
        notes.append("one side is one run: how another seed would have ended is not in the interval")
    else:
        pairs = []
        notes.append("no seed in common: runs are not paired, and the interval is over clips alone")
    videos = [video_of(clip) for clip in a.ids]
    if len(set(videos)) == len(videos):
        notes.append("ids name no videos of several clips: clips are drawn alone")
    drawn = _draws(a.ids, videos)
    first, second = (_bootstrap(a.y_true, list(runs.values()), drawn) for runs in (a.runs, theirs))
    out = []
    for metric in MEASURES:
        values = [
            {seed: METRICS[metric].shown(a.y_true, run) for seed, run in runs.items()} for runs in (a.runs, theirs)
        ]
        means = [float(np.mean(list(side.values()))) for side in values]
        scale = 100.0 if METRICS[metric].unit == "%" else 1.0
        gaps = scale * (first[metric] - second[metric])
        gaps = gaps[np.isfinite(gaps)]
        ends = np.quantile(gaps, [0.025, 0.975]) if len(gaps) >= 0.9 * RESAMPLES else None
        interval = None if ends is None else (float(ends[0]), float(ends[1]))
        over = paired({s: values[0][s] for s in common}, {s: values[1][s] for s in common}) if len(common) > 1 else None
        tests = {}
        for s, t in pairs if metric in RIGHT else ():
            right = [per_clip(metric, a.y_true, run) for run in (a.runs[s], theirs[t])]
            if right[0] is not None and right[1] is not None:
                tests[s, t] = mcnemar(right[0] > 0, right[1] > 0)
        out.append(Gap(metric, means[0], means[1], interval, over, tests))
    return out, notes


def _draws(ids: Sequence[str], videos: Sequence[str]) -> list[Floats]:
    """Return counts (CHUNK, B) of how often each clip was drawn; a function of the ids alone."""
    stream = np.random.Generator(np.random.PCG64(seed_for(0, "bootstrap", *sorted(ids))))
    _, group = np.unique(np.array(videos), return_inverse=True)
    v = int(group.max()) + 1
    return [
        stream.multinomial(v, np.full(v, 1 / v), size=CHUNK)[:, group].astype(np.float64)
        for _ in range(RESAMPLES // CHUNK)
    ]


def _bootstrap(truth: Floats, runs: Sequence[Floats], drawn: Sequence[Floats]) -> dict[str, Floats]:
    """Return each measure's mean over runs, by resample."""
    true = truth.astype(np.float32).astype(np.float64)
    preds = [run.astype(np.float32).astype(np.float64) for run in runs]
    out = {}
    for name in MEASURES:
        parts = [np.mean([METRICS[name].resampled(true, p, counts) for p in preds], axis=0) for counts in drawn]
        out[name] = np.concatenate(parts)
    return out


def pair_sheet(a: Side, b: Side) -> Sheet:
    """Return two sides compared, for every format. Raises ClaimError as `compare_sides` does."""
    gaps, notes = compare_sides(a, b)
    heads = ("measure", "first", "second", "difference", "95 % clips", "95 % seeds", "p")
    rows = []
    for gap in gaps:
        digits = 2 if METRICS[gap.metric].unit == "%" else 3
        over, test = (gap.seeds.summary.interval, gap.seeds.test) if gap.seeds else (None, None)
        rows.append(
            (
                gap.metric,
                f"{gap.first:.{digits}f}",
                f"{gap.second:.{digits}f}",
                _signed(gap.first - gap.second, digits),
                _ends(gap.interval, digits),
                _ends(over, digits),
                p_value(test.p) if test else NONE,
            )
        )
    grids = [TextGrid("", heads, "lrrrrrr", tuple(rows))]
    tests = [(gap, pair, one) for gap in gaps for pair, one in gap.mcnemar.items()]
    if tests:
        lines = tuple(
            (gap.metric, _pair(pair), str(one.only_a), str(one.only_b), p_value(one.p)) for gap, pair, one in tests
        )
        grids.append(TextGrid("McNemar", ("measure", "runs", "first alone", "second alone", "p"), "llrrr", lines))
    marks = [side.mark for side in (a, b) if side.mark]
    about = [f"{side.name}: {len(side.runs)} run{'s' if len(side.runs) > 1 else ''}" for side in (a, b)]
    return Sheet(
        name="compare",
        title=f"{a.name} minus {b.name}, on {len(a.ids)} clips",
        grids=tuple(grids),
        notes=(*about, *notes),
        rule=RULE,
        mark=marks[0] if marks else None,
        document={"first": a.name, "second": b.name, "clips": len(a.ids), "gaps": [_document(gap) for gap in gaps]},
    )


def _pair(pair: tuple[int, int]) -> str:
    names = ["one run" if seed == ONE else str(seed) for seed in pair]
    return names[0] if names[0] == names[1] else " : ".join(names)


def _signed(value: float, digits: int) -> str:
    return NONE if not math.isfinite(value) else f"{value:+.{digits}f}".replace("-", "−")


def _ends(ends: tuple[float, float] | None, digits: int) -> str:
    return NONE if ends is None else f"[{_signed(ends[0], digits)}, {_signed(ends[1], digits)}]"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _document(gap: Gap) -> dict[str, Any]:
    over = gap.seeds
    return {
        "metric": gap.metric, "first": _finite(gap.first), "second": _finite(gap.second),
        "difference": _finite(gap.first - gap.second),
        "interval_clips": list(gap.interval) if gap.interval else None,
        "seeds": list(over.seeds) if over else [],
        "interval_seeds": list(over.summary.interval) if over and over.summary.interval else None,
        "p": over.test.p if over and over.test else None,
        "mcnemar": [
            {"first_run": _pair((s, s)), "second_run": _pair((t, t)), "only_first": m.only_a, "only_second": m.only_b,
             "p": m.p}
            for (s, t), m in gap.mcnemar.items()
        ],
    }  # fmt: skip
