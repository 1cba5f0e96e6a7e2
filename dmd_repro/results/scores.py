"""Runs of one configuration scored by the measures that ablations are read in: any head, any seeds.

What a report on masks, switches and heads is made of. Measures are computed from stored predictions; a run that failed
or diverged is named, never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dmd_repro.metrics.registry import METRICS, shown_in
from dmd_repro.records.folder import RunRecord
from dmd_repro.results.learned import learned
from dmd_repro.results.runs import Runs
from dmd_repro.results.sheet import NONE
from dmd_repro.stats.summary import Summary

MEASURES = tuple(shown_in("comparison"))
HEADINGS = {name: metric.name for name, metric in METRICS.items()}
DATA_MARKS = {"synthetic": "SYNTHETIC DATA", "partial": "PARTIAL DATA"}


@dataclass
class Scored:
    """The runs of one configuration: which count, which failed, and every measure by seed."""

    planned: tuple[int, ...]
    runs: dict[int, str] = field(default_factory=dict)
    failed: list[int] = field(default_factory=list)
    not_learned: list[int] = field(default_factory=list)  # counted, and said: they predict no better than a constant
    values: dict[str, dict[int, float]] = field(default_factory=dict)  # measure -> seed -> value, as tables print it
    notes: list[str] = field(default_factory=list)

    @property
    def n(self) -> str:
        """Runs counted of runs planned."""
        return f"{len(self.runs)}/{len(self.planned)}"

    @property
    def learned(self) -> str:
        """How many of the runs counted learned: "4 of 5 learned"."""
        return f"{len(self.runs) - len(self.not_learned)} of {len(self.runs)} learned"

    def of_learned(self, measure: str) -> list[float]:
        """Return the values of a measure over the runs that learned."""
        return [value for seed, value in self.values[measure].items() if seed not in self.not_learned]


def score_runs(
    planned: Mapping[int, str],
    runs: Runs,
    *,
    head: str | None = None,
    digest: str | None = None,
    measures: Sequence[str] = MEASURES,
) -> Scored:
    """Score runs by seed; `head` names a side output (None: the final one), `digest` the data they must be on."""
    out = Scored(planned=tuple(planned), values={name: {} for name in measures})
    for seed, run_id in planned.items():
        found = runs.get(run_id)
        if isinstance(found, str):
            if found == "failed":
                out.failed.append(seed)
            if found in ("failed", "damaged", "unreadable"):
                out.notes.append(f"run {run_id} (seed {seed}) is left out: {found}")
            continue
        record, said = found
        scores = said.y_pred if head is None else said.heads.get(head)
        if digest is not None and record.data["digest"] != digest:
            out.notes.append(f"run {run_id} (seed {seed}) is left out: it is on other data")
        elif scores is None:
            out.notes.append(f"run {run_id} (seed {seed}) is left out: it has no head '{head}'")
        elif not np.isfinite(scores).all():
            out.failed.append(seed)
            out.notes.append(f"run {run_id} (seed {seed}) diverged: its predictions are not numbers")
        else:
            out.runs[seed] = run_id
            if head is None and (judged := learned(record)).outcome == "not learned":
                out.not_learned.append(seed)
                out.notes.append(f"run {run_id} (seed {seed}) did not learn: {judged.reason}")
            for name in measures:
                value = METRICS[name].shown(said.y_true, scores)
                if np.isfinite(value):  # else the measure does not exist on these clips
                    out.values[name][seed] = value
    return out


def mark_of(standings: Sequence[str]) -> str | None:
    """Return the mark of results on data of these standings."""
    return next((words for standing, words in DATA_MARKS.items() if standing in standings), None)


def data_line(record: RunRecord) -> str:
    """Return the label of a run's data and the digest of its content."""
    return f"{record.data['label']}, digest {str(record.data['digest'])[:12]}"


def number(value: float | None, measure: str, *, signed: bool = False) -> str:
    """Print a value of a measure: percent with two decimals, others with four; a dash for None."""
    if value is None:
        return NONE
    return f"{value:{'+' if signed else ''}.{METRICS[measure].digits}f}".replace("-", "−")


def spread(summary: Summary, measure: str, *, signed: bool = False) -> str:
    """Print `mean ± STD`, the mean alone for one run, a dash for none."""
    mean = number(summary.mean, measure, signed=signed)
    return mean if summary.std is None else f"{mean} ± {number(summary.std, measure)}"


def ends(interval: tuple[float, float] | None, measure: str) -> str:
    """Print an interval, or a dash."""
    if interval is None:
        return NONE
    low, high = (number(end, measure, signed=True) for end in interval)
    return f"[{low}, {high}]"
