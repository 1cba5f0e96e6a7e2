"""Two sets of predictions on the same clips: `dmd compare`. Each side is a file of predictions or the runs of a row.

Both sides are scored by the same measures on the same labels; the interval draws clips anew, those of one video
together, and the same clips for both sides. Runs of one seed are paired; nothing here is held against printed numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmd_repro.data.clip_names import clip_names
from dmd_repro.metrics.registry import METRICS, shown_in
from dmd_repro.results.sheet import NONE, Sheet, TextGrid, p_value
from dmd_repro.results.sides import ONE, Floats, Side, same_clips, same_labels
from dmd_repro.seeds import seed_for
from dmd_repro.stats.bootstrap import draw_counts
from dmd_repro.stats.clips import per_clip
from dmd_repro.stats.paired import McNemar, Paired, mcnemar, paired

MEASURES = tuple(shown_in("comparison"))
RIGHT = tuple(name for name in MEASURES if METRICS[name].is_accuracy)  # measures with right and wrong clips
RESAMPLES, CHUNK = 2000, 100
RULE = (
    "difference: first minus second, in points (MAE and Corr: their own scale). 95 % clips: percentile interval over "
    f"{RESAMPLES} draws of clips, the same for both sides, clips of one video together; the runs stay as they are.",
    "95 % seeds, p: Student t over the differences of runs with one seed. McNemar: exact, on the clips a pair of runs "
    "disagrees on, those the first alone and those the second alone gets right. p-values of several pairs share their "
    "clips and are never pooled.",
)


@dataclass(frozen=True, slots=True)
class SideGap:
    """One measure of the first side minus the second, in the unit tables print."""

    metric: str
    first: float  # mean over its runs
    second: float
    interval: tuple[float, float] | None  # over clips
    seeds: Paired | None  # over common seeds; None where a run of them did not learn, or has no value
    mcnemar: Mapping[tuple[int, int], McNemar]


def compare_sides(a: Side, b: Side) -> tuple[list[SideGap], list[str]]:
    """Return the gap in every measure, and what must be said beside them.

    Raises ClaimError for other clips or labels.
    """
    same_clips(b.name, b.ids, a.name, a.ids)
    at = {clip: i for i, clip in enumerate(b.ids)}
    order = np.array([at[clip] for clip in a.ids])
    theirs = {seed: run[order] for seed, run in b.runs.items()}
    same_labels(
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
        which = "each side is" if len(a.runs) == len(theirs) else "one side is"
        notes.append(f"{which} one run: how another seed would have ended is not in the interval")
    else:
        pairs = []
        notes.append("no seed in common: runs are not paired, and the interval is over clips alone")
    lost = len({seed for seed in common if seed in a.not_learned or seed in b.not_learned})
    if lost and len(common) > 1:
        notes.append(f"in {lost} of {len(common)} pairs a run did not learn: no interval and no test over seeds")
    names = clip_names([a.ids])
    videos = [names.video(clip) for clip in a.ids]
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
        shared = [{s: side[s] for s in common} for side in values]
        normal = len(common) > 1 and not lost and all(math.isfinite(v) for side in shared for v in side.values())
        over = paired(shared[0], shared[1]) if normal else None
        tests = {}
        for s, t in pairs if metric in RIGHT else ():
            right = [per_clip(metric, a.y_true, run) for run in (a.runs[s], theirs[t])]
            if right[0] is not None and right[1] is not None:
                tests[s, t] = mcnemar(right[0] > 0, right[1] > 0)  # NaN, a clip that does not count, is no disagreement
        out.append(SideGap(metric, means[0], means[1], interval, over, tests))
    return out, notes


def _draws(ids: Sequence[str], videos: Sequence[str]) -> list[Floats]:
    """Return counts (CHUNK, B) of how often each clip was drawn; a function of the ids alone."""
    stream = np.random.Generator(np.random.PCG64(seed_for(0, "bootstrap", *sorted(ids))))
    return [draw_counts(len(ids), stream, CHUNK, videos).astype(np.float64) for _ in range(RESAMPLES // CHUNK)]


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
                METRICS[gap.metric].name,
                _value(gap.first, digits),
                _value(gap.second, digits),
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
            (METRICS[gap.metric].name, _pair(pair), str(one.only_a), str(one.only_b), p_value(one.p))
            for gap, pair, one in tests
        )
        grids.append(
            TextGrid("McNemar", ("measure", "seed", "right in first alone", "in second alone", "p"), "llrrr", lines)
        )
    marks = [side.mark for side in (a, b) if side.mark]
    about = [f"{side.name}: {len(side.runs)} run{'s' if len(side.runs) > 1 else ''}" for side in (a, b)]
    return Sheet(
        name="compare",
        title=f"{a.name} minus {b.name}, on {len(a.ids)} clips",
        grids=tuple(grids),
        answer=(answer(a, b, gaps), *(line for side in (a, b) if (line := _learned(side)))),
        notes=(*about, *notes, *a.notes, *b.notes),
        rule=RULE,
        mark=marks[0] if marks else None,
        document={
            "first": a.name,
            "second": b.name,
            "clips": len(a.ids),
            "not_learned": [[_pair((seed, seed)) for seed in side.not_learned] for side in (a, b)],
            "gaps": [_document(gap) for gap in gaps],
        },
    )


def answer(a: Side, b: Side, gaps: Sequence[SideGap]) -> str:
    """Say which side is better in ACC2, or the first measure there is, by how much, and what could turn it."""
    gap = next((gap for gap in gaps if math.isfinite(gap.first - gap.second)), None)
    if gap is None:
        return "No measure exists on these clips."
    metric, over, d = METRICS[gap.metric], gap.seeds, gap.first - gap.second
    digits = 2 if metric.unit == "%" else 3
    if d == 0:
        return f"{metric.name}: both {gap.first:.{digits}f}."
    one, other = (a.name, b.name) if (d > 0) == metric.higher_is_better else (b.name, a.name)
    ends = {"clips": gap.interval, "seeds": over.summary.interval if over else None}
    told = {what: sorted(at * math.copysign(1, d) for at in both) for what, both in ends.items() if both}
    said = [f"{low:.{digits}f} to {high:.{digits}f} over {what}" for what, (low, high) in told.items()]
    text = f"{metric.name}: {one} is better than {other} by {abs(d):.{digits}f}"
    text += f" (95 %: {', '.join(said)})".replace("-", "−") if said else " (no interval)"
    doubt = [what for what, (low, _) in told.items() if low <= 0]
    return f"{text}; other {' or '.join(doubt)} could turn it." if doubt else f"{text}."


def _learned(side: Side) -> str:
    """Say how many runs of a side learned; "" where all did."""
    n = len(side.runs)
    return (
        f"{side.name}: {n - len(side.not_learned)} of {n} run{'s' if n > 1 else ''} learned."
        if side.not_learned
        else ""
    )


def _pair(pair: tuple[int, int]) -> str:
    names = ["one run" if seed == ONE else str(seed) for seed in pair]
    return names[0] if names[0] == names[1] else " : ".join(names)


def _value(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else NONE


def _signed(value: float, digits: int) -> str:
    return NONE if not math.isfinite(value) else f"{value:+.{digits}f}".replace("-", "−")


def _ends(ends: tuple[float, float] | None, digits: int) -> str:
    return NONE if ends is None else f"[{_signed(ends[0], digits)}, {_signed(ends[1], digits)}]"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _document(gap: SideGap) -> dict[str, Any]:
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
