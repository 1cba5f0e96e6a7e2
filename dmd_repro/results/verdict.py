"""What the runs say of each printed number: one headline word per cell, and the other readings beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dmd_repro.metrics.registry import METRICS, readings
from dmd_repro.papers.tables import Printed, Row
from dmd_repro.results.runs import Measured
from dmd_repro.stats.clips import clips_share
from dmd_repro.stats.paired import Crossed
from dmd_repro.stats.summary import CONSTANT, prediction_interval
from dmd_repro.stats.verdict import FEWEST, Difference, Verdict, half_cell, verdicts

HEADLINES = ("reproduced", "below", "above", "inconclusive")  # the words that need the rule; the others need none
VERDICT_MARKS = {"reproduced": "✓", "below": "↓", "above": "↑", "inconclusive": "?"}
NOT_PRINTED = "not printed"
NOT_RUN, NOT_PUBLIC, NOT_COMPARABLE = "not run", "not reproducible from public data", "not comparable"
VALUE_ONLY, INTERVAL_ONLY, NO_VERDICT = "value only", "interval only", "no verdict"


@dataclass(frozen=True, slots=True)
class Judged:
    """The word on one cell, and what it rests on."""

    word: str
    why: str | None = None  # why there is no other word, where that is not the data's doing
    difference: Difference | None = None  # its 90 % interval, raw p-values; None: may not be compared
    p_equivalence: float | None = None  # Holm-adjusted over the table's family
    p_difference: float | None = None
    prediction: tuple[float, float] | None = None  # 95 %, for one more run
    one_run: str | None = None  # compatible | not compatible
    clips: Crossed | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the judgement as plain JSON values."""
        d, clips = self.difference, self.clips
        return {
            "verdict": self.word,
            "verdict_why": self.why,
            "d_interval": list(d.interval) if d else None,
            "p_equivalence": self.p_equivalence,
            "p_difference": self.p_difference,
            "p_equivalence_raw": d.p_equivalence if d else None,
            "p_difference_raw": d.p_difference if d else None,
            "prediction_interval": list(self.prediction) if self.prediction else None,
            "one_run": self.one_run,
            "error_seeds": clips.error_seeds if clips else None,
            "error_clips": clips.error_clips if clips else None,
            "error_both": clips.error if clips else None,
        }


def judge(
    rows: Sequence[Row], measured: Mapping[str, Measured], margin: float
) -> tuple[dict[tuple[str, str], Judged], int]:
    """Return the judgement of every cell by (row key, column), and how many cells Holm's family has.

    The family: the cells of the table that the rule decides, five runs or more, none failed, not all equal.
    """
    cells = [(row, column, printed) for row in rows for column, printed in row.cells.items()]
    ruled = [(row, column, printed) for row, column, printed in cells if _comparable(measured[row.key], column)]
    # the margin is in points: a column that is printed on its own scale (MAE, Corr) is judged in hundredths of it
    points = [METRICS[row.metric_id(column)].point for row, column, _ in ruled]
    values = [
        [value / point for value in measured[row.key].values[column].values()]
        for (row, column, _), point in zip(ruled, points, strict=True)
    ]
    found = verdicts(
        values,
        [float(printed.value) / point for (*_, printed), point in zip(ruled, points, strict=True)],
        cells=[half_cell(printed.decimals) / point for (*_, printed), point in zip(ruled, points, strict=True)],
        failed=[len(measured[row.key].failed) for row, *_ in ruled],
        margin=margin,
    )
    by_cell = {
        (row.key, column): _in_unit(verdict, point)
        for (row, column, _), verdict, point in zip(ruled, found, points, strict=True)
    }
    judged = {
        (row.key, column): _judge(row, column, printed, measured[row.key], by_cell.get((row.key, column)))
        for row, column, printed in cells
    }
    return judged, sum(verdict.p_equivalence is not None for verdict in found)


def _in_unit(verdict: Verdict, point: float) -> Verdict:
    """Return a verdict reached in points with its difference in the printed unit."""
    d = verdict.difference
    if d is None:
        return verdict
    low, high = d.interval
    return replace(verdict, difference=replace(d, d=d.d * point, interval=(low * point, high * point)))


def _comparable(measured: Measured, column: str) -> bool:
    return bool(measured.values.get(column)) and measured.not_comparable is None


def _judge(row: Row, column: str, printed: Printed, measured: Measured, verdict: Verdict | None) -> Judged:
    values = list(measured.values.get(column, {}).values())
    clips = _clips(row.metric_id(column), measured)
    if not values:
        if measured.failed and measured.not_comparable:
            return Judged(NOT_COMPARABLE, measured.not_comparable)
        if measured.failed:
            return Judged("inconclusive", f"all {len(measured.failed)} finished runs failed")
        if measured.runs:
            return Judged(NO_VERDICT, "the measure is not defined on these clips")
        return Judged(NOT_PUBLIC, row.unavailable) if row.unavailable else Judged(NOT_RUN)
    prediction = prediction_interval(values)
    if verdict is None:
        return Judged(NOT_COMPARABLE, measured.not_comparable, prediction=prediction, clips=clips)
    half = half_cell(printed.decimals)
    one_run = None
    if prediction:
        inside = prediction[0] - half <= float(printed.value) <= prediction[1] + half
        one_run = "compatible" if inside else "not compatible"
    word: str = verdict.word
    if measured.not_learned and not measured.failed and len(values) >= FEWEST:
        why = f"{len(measured.not_learned)} of {len(values)} runs did not learn"
        return Judged("inconclusive", why, verdict.difference, prediction=None, clips=clips)
    if not measured.failed:
        if verdict.why == CONSTANT:
            word = NO_VERDICT
        elif len(values) < FEWEST:
            word = VALUE_ONLY if len(values) == 1 else INTERVAL_ONLY
    return Judged(
        word, verdict.why, verdict.difference, verdict.p_equivalence, verdict.p_difference, prediction, one_run, clips
    )


def _clips(metric: str, measured: Measured) -> Crossed | None:
    """Seeds and clips are crossed: one draw of clips is shared by all seeds. None where seeds saw different ones."""
    scores = list(measured.scores.values())
    if len(scores) < 2 or any(not np.array_equal(truth, scores[0][0]) for truth, _ in scores):
        return None
    return clips_share(metric, scores[0][0], [score for _, score in scores])


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
