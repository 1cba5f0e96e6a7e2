"""What the runs of a row say of its printed numbers: the words on the row, and where each number lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dmd_repro.metrics.registry import COLUMNS, METRICS, readings
from dmd_repro.papers.tables import Row
from dmd_repro.results.rule import points_of
from dmd_repro.results.runs import Measured
from dmd_repro.results.words import EvenBet, Kind, OneRun, Words, ranking_metric
from dmd_repro.stats.clips import clips_share
from dmd_repro.stats.lottery import even_bet
from dmd_repro.stats.paired import Crossed
from dmd_repro.stats.stages import ALPHA, STAGES, Stage, next_stage, reached
from dmd_repro.stats.summary import CONSTANT, clipped, prediction_interval
from dmd_repro.stats.verdict import (
    FEWEST,
    MARGIN,
    Compared,
    Difference,
    Placed,
    half_cell,
    in_unit,
    judge_row,
    one_run_interval,
    runs_to_tell,
)

NOT_PRINTED = "not printed"
NOT_RUN, NOT_PUBLIC, NOT_COMPARABLE = "not run", "not reproducible from public data", "not comparable"
VALUE_ONLY, INTERVAL_ONLY, NO_VERDICT = "value only", "interval only", "no verdict"
MARKS = {"worse": "↓", "better": "↑"}
ONE_RUN_MARK = "°"  # past the margin of a mean, and yet compatible with one run


@dataclass(frozen=True, slots=True)
class Terms:
    """What a plan sealed, and the margin that was asked for."""

    margin: float = MARGIN
    sealed: float = MARGIN
    stages: tuple[Stage, ...] = STAGES


@dataclass(frozen=True, slots=True)
class Judged:
    """Where one printed number lies, and what that rests on."""

    word: str  # within, worse, better, straddles; or why there is none (not run, not comparable ...)
    why: str | None = None  # why there is no other word, where that is not the data's doing
    difference: Difference | None = None  # its interval, raw p-values; None: may not be compared, or no normal model
    p_difference: float | None = None  # Holm-adjusted within the row
    prediction: tuple[float, float] | None = None  # 95 %, for one more run
    one_run: OneRun | None = None  # by the row's own interval, which allows for all its cells
    one_run_interval: tuple[float, float] | None = None
    best: EvenBet | None = None
    clips: Crossed | None = None
    videos: bool = False  # whether clips of one video were drawn together for `clips`
    mark: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the judgement as plain JSON values; p-values under their names."""
        d, clips, best = self.difference, self.clips, self.best
        return {
            "place": self.word,
            "place_why": self.why,
            "mark": self.mark,
            "d_interval": list(d.interval) if d else None,
            "d_level": 1 - 2 * d.level if d else None,
            "d_runs": d.n if d else None,
            "smallest_margin": d.smallest_margin if d else None,
            "p_equivalence": d.p_equivalence if d else None,
            "p_difference": self.p_difference,
            "p_difference_raw": d.p_difference if d else None,
            "prediction_interval": list(self.prediction) if self.prediction else None,
            "one_run": self.one_run,
            "one_run_interval": list(self.one_run_interval) if self.one_run_interval else None,
            "even_bet": None if best is None else {"k": best.k, "exact": best.exact},
            "error_seeds": clips.error_seeds if clips else None,
            "error_clips": clips.error_clips if clips else None,
            "error_both": clips.error if clips else None,
            "drawn": None if clips is None else "videos" if self.videos else "clips",
        }


@dataclass(frozen=True, slots=True)
class RowJudged:
    """The words on a row, and its numbers by column."""

    words: Words
    cells: Mapping[str, Judged] = field(default_factory=dict)


def judge(rows: Sequence[Row], measured: Mapping[str, Measured], terms: Terms = Terms()) -> dict[str, RowJudged]:
    """Return the judgement of every row by its key."""
    return {row.key: judge_one(row, measured[row.key], terms) for row in rows}


def judge_one(row: Row, measured: Measured, terms: Terms) -> RowJudged:
    """Return the words on a row and where each of its numbers lies."""
    columns = tuple(c for c in row.cells if measured.values.get(c)) if measured.not_comparable is None else ()
    base = {column: _apart(row, column, measured) for column in row.cells}
    if not columns:
        first = next((judged for judged in base.values() if judged.why), None) or next(iter(base.values()), None)
        return RowJudged(Words(first.word, why=first.why) if first else Words(NOT_PRINTED), base)
    stage, history = _stages(row, columns, measured, terms)
    words, placed = _words(row, columns, measured, terms, stage)
    last = terms.stages[-1].n
    waiting = set(measured.planned) - set(measured.runs) - set(measured.failed)
    open_ = stage is not None and stage.n < last and (bool(waiting) or len(measured.order) > stage.n)
    words = replace(words, provisional=open_, history=history, cells=len(columns))
    cells = dict(base)
    for column, one in zip(columns, placed, strict=True):
        cells[column] = _cell(row, column, base[column], one, words, measured)
    past = [(COLUMNS[column], cells[column].word) for column in columns if cells[column].word in MARKS]
    named = [f"{name} {word}" if words.mean == "mixed" else name for name, word in past]
    return RowJudged(replace(words, past=tuple(named) if words.mean in (*MARKS, "mixed") else ()), cells)


def _apart(row: Row, column: str, measured: Measured) -> Judged:
    """What is to be said of a number before the rule is asked."""
    values = list(measured.values.get(column, {}).values())
    if not values:
        if measured.failed and measured.not_comparable:
            return Judged(NOT_COMPARABLE, measured.not_comparable)
        if measured.failed:
            return Judged("inconclusive", f"all {len(measured.failed)} finished runs failed")
        if measured.runs:
            return Judged(NO_VERDICT, "the measure is not defined on these clips")
        return Judged(NOT_PUBLIC, row.unavailable) if row.unavailable else Judged(NOT_RUN)
    metric = METRICS[row.metric_id(column)]
    prediction = None if measured.not_learned else prediction_interval(values, bounds=metric.bounds)
    clips = clips_of(metric.id, measured)
    word = NOT_COMPARABLE if measured.not_comparable else VALUE_ONLY if len(values) == 1 else INTERVAL_ONLY
    why = measured.not_comparable
    if not why and len(values) > 1 and min(values) == max(values):
        word, why = NO_VERDICT, CONSTANT
    return Judged(word, why, prediction=prediction, clips=clips, videos=measured.videos is not None)


def _stages(
    row: Row, columns: Sequence[str], measured: Measured, terms: Terms
) -> tuple[Stage | None, tuple[tuple[Stage, str], ...]]:
    """Return the last stage whose seeds have all ended, and the word at each that has."""
    ended = 0
    for seed in measured.order:
        if seed not in measured.runs and seed not in measured.failed:
            break
        ended += 1
    found = reached(terms.stages, ended)
    history = tuple((stage, _words(row, columns, measured, terms, stage, brief=True)[0].mean) for stage in found)
    return (found[-1] if found else None), history


def _words(
    row: Row, columns: Sequence[str], measured: Measured, terms: Terms, stage: Stage | None, *, brief: bool = False
) -> tuple[Words, list[Placed]]:
    """Return the words at a stage, and its cells in the printed unit; without a stage, the intervals alone.

    `brief`: the word of a mean alone.
    """
    if stage is None:
        first, level = tuple(measured.runs), ALPHA
    else:
        first, level = measured.order[: stage.n], stage.level
    cells = [compared(row, column, measured, first) for column in columns]
    points = [METRICS[row.metric_id(column)].point for column in columns]
    failed = [seed for seed in first if seed in measured.failed] if stage else measured.failed
    collapsed = [seed for seed in first if seed in measured.not_learned]
    if collapsed:  # no normal model over runs of two kinds: no interval, no test
        placed = [Placed(None, None, None) for _ in cells]
    else:
        found = judge_row(cells, margin=terms.margin, alpha=level)
        placed = [in_unit(one, point) for one, point in zip(found.cells, points, strict=True)]
    best = None if brief else _best(row, measured)
    n = len(measured.runs)
    if stage is None:
        return _too_early(measured, terms, n, best), placed
    kind: Kind | None = None
    why = None
    if failed:
        kind, why = "failed", f"{len(failed)} of {len(first)} runs failed, and leaving them out would flatter the mean"
    elif collapsed:
        kind, why = "not learned", f"{len(collapsed)} of {len(first)} runs did not learn"
    if kind:
        return Words("inconclusive", kind, why, best=best, stage=stage), placed
    inside = [one_run_interval(cell, len(cells)) for cell in cells]
    outside = [
        COLUMNS[column]
        for column, cell, ends in zip(columns, cells, inside, strict=True)
        if ends and not ends[0] <= cell.printed <= ends[1]
    ]
    one_run: OneRun | None = None if None in inside else "not compatible" if outside else "compatible"
    words = Words(
        found.word, found.kind, one_run=one_run, outside=tuple(outside), one_run_level=1 - ALPHA / len(cells),
        best=best, margin=terms.margin, smallest_margin=found.smallest_margin, stage=stage,
    )  # fmt: skip
    if terms.margin != terms.sealed:
        why = f"margin chosen after looking: the plan's is {points_of(terms.sealed)}"
        return replace(words, mean=INTERVAL_ONLY, kind="margin chosen after looking", why=why), placed
    if found.word != "inconclusive" or brief:
        return words, placed
    more = runs_to_tell(cells, terms.stages, terms.margin)
    return replace(words, why=_why(words, more, terms.stages), runs_to_tell=more), placed


def _too_early(measured: Measured, terms: Terms, n: int, best: EvenBet | None) -> Words:
    """What is said before the first stage has ended."""
    least = terms.stages[0].n
    missing = [seed for seed in measured.order[:least] if seed not in measured.runs and seed not in measured.failed]
    gone = [seed for seed in missing if seed not in measured.planned]
    if gone:
        named = ", ".join(map(str, gone[:3])) + (" ..." if len(gone) > 3 else "")
        why = f"seeds {named} were planned first and begun, and this plan leaves them out"
        return Words("inconclusive", "unfinished", why)
    if n < FEWEST and not missing:
        why = f"{n} run{'s' if n > 1 else ''}: a word needs {least}"
        return Words(VALUE_ONLY if n == 1 else INTERVAL_ONLY, why=why)
    ended = min(least, len(measured.order)) - len(missing)
    why = f"{ended} of the first {least} planned runs have ended"
    return Words("inconclusive", "unfinished", why, best=best, provisional=True)


def _why(words: Words, more: int | None, stages: tuple[Stage, ...]) -> str:
    if words.kind == "no spread":
        return CONSTANT
    if words.kind == "not after Holm":
        past = "past the margin, but not after Holm over the cells of the row"
    else:
        past = "the interval straddles the margin"
    if more is None:
        return f"{past}; no number of runs would tell, the mean lies at the margin"
    new = next_stage(stages, more - 1) is None
    return f"{past}; about {more} runs would tell" + (" (a new plan, of one look)" if new else "")


def compared(row: Row, column: str, measured: Measured, seeds: Sequence[int]) -> Compared:
    """Return one printed number and the values of some seeds in points; a spread over rows is better when less."""
    metric = METRICS[row.metric_id(column)]
    printed, by_seed = row.cells[column], measured.values[column]
    spread = row.derived is not None and row.derived.statistic == "population_std"
    return Compared(
        values=tuple(by_seed[seed] / metric.point for seed in seeds if seed in by_seed),
        printed=float(printed.value) / metric.point,
        cell=half_cell(printed.decimals) / metric.point,
        higher_is_better=bool(metric.higher_is_better) != spread,
    )


def _best(row: Row, measured: Measured) -> EvenBet | None:
    metric = ranking_metric(row, measured.values)
    column = next((c for c in row.cells if c in measured.values and row.metric_id(c) == metric), None)
    return None if column is None else best_of_cell(row, column, measured)


def best_of_cell(row: Row, column: str, measured: Measured) -> EvenBet | None:
    """Return the even bet on the best of several by this number alone; None for fewer than five runs, or a spread."""
    values = list(measured.values[column].values())
    if len(values) < FEWEST or (row.derived is not None and row.derived.statistic == "population_std"):
        return None
    metric = METRICS[row.metric_id(column)]
    way = 1.0 if metric.higher_is_better else -1.0
    edge = way * float(row.cells[column].value) - half_cell(row.cells[column].decimals)
    k, exact = even_bet([way * value for value in values], edge, model=not measured.not_learned)
    return EvenBet(metric.id, k, exact, len(values) if measured.not_learned and k is None else None)


def _cell(row: Row, column: str, base: Judged, placed: Placed, words: Words, measured: Measured) -> Judged:
    """Return a number with its place: within, worse or better where the row has a word, straddles where not."""
    bounds, printed = METRICS[row.metric_id(column)].bounds, float(row.cells[column].value)
    d = placed.difference
    if d is not None:
        d = replace(d, interval=clipped(d.interval, (bounds[0] - printed, bounds[1] - printed)))
    judged = replace(base, difference=d, p_difference=placed.p_difference)
    if len(measured.values[column]) >= FEWEST:
        judged = replace(judged, best=best_of_cell(row, column, measured))
    if not words.headline or words.stage is None:
        return replace(judged, why=judged.why or words.why)
    if words.kind in ("failed", "not learned"):
        return replace(judged, word="inconclusive", why=words.why, mark="?")
    cell = compared(row, column, measured, measured.order[: words.stage.n])
    ends = one_run_interval(cell, words.cells)
    one_run: OneRun | None = None
    if ends:
        point = METRICS[row.metric_id(column)].point
        one_run = "compatible" if ends[0] <= cell.printed <= ends[1] else "not compatible"
        ends = clipped((ends[0] * point, ends[1] * point), bounds)
    if placed.place is None:
        return replace(judged, word=NO_VERDICT, why=CONSTANT, mark="?")
    mark = MARKS.get(placed.place, "✓" if words.mean == "reproduced" else "?" if words.mean == "inconclusive" else "")
    mark += ONE_RUN_MARK if placed.place in MARKS and one_run == "compatible" else ""
    return replace(judged, word=placed.place, one_run=one_run, one_run_interval=ends, mark=mark)


def clips_of(metric: str, measured: Measured) -> Crossed | None:
    """Seeds and clips are crossed: one draw of clips is shared by all seeds. None where seeds saw different ones."""
    scores = list(measured.scores.values())
    if len(scores) < 2 or any(not np.array_equal(truth, scores[0][0]) for truth, _ in scores):
        return None
    return clips_share(metric, scores[0][0], [score for _, score in scores], measured.videos)


def convention_means(column: str, dataset: str, measured: Measured) -> dict[str, float]:
    """Return the mean over runs under every convention of a column's measure; {} where there is but one."""
    found: dict[str, float] = {}
    ways = readings(column, dataset)
    for metric in ways if measured.scores and len(ways) > 1 else ():
        values = [metric.shown(truth, score) for truth, score in measured.scores.values()]
        mean = float(np.mean(values))
        if np.isfinite(mean):
            found[metric.id] = mean
    return found
