"""One checkpoint's predictions, scored: every metric with its interval over clips, beside the row the paper prints.

One run settles nothing, so there is no verdict here: the value, the printed number, and what keeps them apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from dmd_repro.datasets import dataset_title
from dmd_repro.metrics.registry import COLUMNS, metrics_of
from dmd_repro.papers.folders import all_table_names
from dmd_repro.papers.tables import Row, load_table
from dmd_repro.records.folder import Predictions
from dmd_repro.results.evidence import why_no_word
from dmd_repro.results.runs import TEXT_WORDS, bert_not_comparable, videos_of
from dmd_repro.seeds import seed_for
from dmd_repro.spec import AblationMask
from dmd_repro.stats.bootstrap import LEVEL, RESAMPLES, intervals

ONE_RUN = "one run: value only, no verdict"


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of the checkpoint, in the unit tables print (percent, or the metric's own scale)."""

    metric: str
    title: str
    counted: str
    unit: str
    value: float | None  # None: it does not exist on these clips
    low: float | None
    high: float | None
    drawn: str = "clips"  # what the interval draws anew: clips, or videos with all their clips


@dataclass(frozen=True, slots=True)
class PrintedCell:
    """A printed number beside the checkpoint's value of the same metric."""

    column: str
    metric: str
    printed: str
    value: float | None
    difference: float | None  # value - printed; None where the two may not be compared


@dataclass(frozen=True, slots=True)
class PrintedRow:
    """The row of the paper that a checkpoint stands beside."""

    table: str
    key: str
    label: str
    cells: tuple[PrintedCell, ...]
    convention: str
    comparable: bool
    verdict: str  # "one run: value only, no verdict", or "not comparable: " and why


@dataclass(frozen=True, slots=True)
class Subject:
    """What was scored, in the words that decide whether a printed row is its own."""

    model: str
    mask: AblationMask
    protocol: str
    dataset: str
    aligned: bool
    text: str
    standing: str
    split: str
    bert: str = ""  # fingerprint of the BERT that read the token ids
    finetuned: bool = True
    changed: Mapping[str, Any] = field(default_factory=dict)  # settings that are not the preset's


def score_predictions(
    said: Predictions, dataset: str, *, resamples: int = RESAMPLES, level: float = LEVEL
) -> tuple[Score, ...]:
    """Score predictions by every metric of a data set, with percentile intervals over `resamples` draws of clips.

    Clips of one video are drawn together where the ids name it. The draws depend on the clips alone, so two checkpoints
    on one split share theirs.
    """
    stream = np.random.Generator(np.random.PCG64(seed_for(0, "bootstrap", *said.ids)))
    metrics = metrics_of(dataset)
    found = (
        intervals(
            said.y_true,
            said.y_pred,
            stream,
            resamples=resamples,
            level=level,
            metrics=metrics,
            videos=videos_of(said.ids),
        )
        if resamples
        else {}
    )
    scores, drawn = [], "videos" if videos_of(said.ids) else "clips"
    for name, metric in metrics.items():
        scale = metric.scale
        value, between = metric.shown(said.y_true, said.y_pred), found.get(name)
        low, high = (None, None) if between is None or between.low is None else (between.low, between.high)
        scores.append(
            Score(
                metric=name,
                title=metric.heading,
                counted=metric.convention,
                unit=metric.unit or "",
                value=value if math.isfinite(value) else None,
                low=None if low is None else low * scale,
                high=None if high is None else high * scale,
                drawn=drawn,
            )
        )
    return tuple(scores)


def beside(subject: Subject, scores: Sequence[Score]) -> tuple[PrintedRow | None, str]:
    """Return the printed row a checkpoint stands beside, and why there is none."""
    if subject.standing == "synthetic":
        return None, "synthetic data compare with nothing printed"
    setting = "aligned" if subject.aligned else "unaligned"
    kind = "bert" if subject.text == "hidden" else subject.text
    for table, row in _candidates(subject, setting):
        if row.text != kind:
            continue
        values = {one.metric: one.value for one in scores}
        bar = _why_not_comparable(row, subject)
        cells = []
        for column, printed in row.cells.items():
            value = values[row.metric_id(column)]
            gap = None if bar or value is None else value - float(printed.value)
            cells.append(PrintedCell(COLUMNS[column], row.metric_id(column), printed.text, value, gap))
        verdict = f"not comparable: {bar}" if bar else ONE_RUN
        return PrintedRow(table, row.key, row.label, tuple(cells), row.certainty, not bar, verdict), ""
    where = f"{dataset_title(subject.dataset)}, {setting}, {TEXT_WORDS.get(kind, kind)} text"
    return None, f"the paper prints no row of {subject.model} ({subject.mask.label}) on {where}"


def _candidates(subject: Subject, setting: str) -> Iterator[tuple[str, Row]]:
    found = []
    for name in all_table_names():
        for row in load_table(name).rows:
            recipe = row.recipe
            if recipe is None or recipe.head or row.derived:
                continue
            same = (recipe.model, recipe.mask, row.dataset, row.setting)
            set_so = all(subject.changed.get(k) == v for k, v in recipe.overrides.items())
            if set_so and same == (subject.model, subject.mask, subject.dataset, setting):
                found.append((name, row))
    # a row that asks for a setting of this checkpoint is more its own than one that does not
    return iter(sorted(found, key=lambda pair: -len(pair[1].recipe.overrides if pair[1].recipe else ())))


def _why_not_comparable(row: Row, subject: Subject) -> str | None:
    """Say why a value may not be held against a printed row, None if it may."""
    assert row.recipe is not None
    if subject.standing != "official":
        return "partial data, not the official split"
    if subject.split != "test":
        return f"scored on {subject.split}, printed for test"
    if subject.text != row.text:
        return f"read {TEXT_WORDS[subject.text]} text, printed for {TEXT_WORDS[row.text]}"
    if why := bert_not_comparable(subject.bert, subject.finetuned):
        return why
    if subject.protocol != row.recipe.protocol:
        return f"trained under protocol '{subject.protocol}', printed for '{row.recipe.protocol}'"
    if changed := [f"{k}={v}" for k, v in subject.changed.items() if k not in row.recipe.overrides]:
        return f"settings were changed ({', '.join(changed)})"
    return why_no_word(row)


def to_json(scores: Sequence[Score], row: PrintedRow | None, why: str) -> Mapping[str, Any]:
    """Return the scores and the printed row as plain JSON values."""
    return {
        "metrics": {s.metric: {k: v for k, v in asdict(s).items() if k != "metric"} for s in scores},
        "printed": asdict(row) if row else None,
        "verdict": row.verdict if row else why,
    }
