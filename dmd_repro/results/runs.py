"""What the runs of one row say: each run of the plan scored by the row's metrics, or left out by name.

Metrics are computed from stored predictions, under the row's own convention. A run that diverged is counted as failed,
never dropped in silence: leaving it out would flatter the mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import fmean, pstdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmd_repro.data.clip_names import clip_names
from dmd_repro.datasets import dataset_title
from dmd_repro.errors import DmdError
from dmd_repro.metrics.registry import COLUMNS, METRICS, always_shown, same_range
from dmd_repro.papers.tables import Derived, Row
from dmd_repro.planning.plans import PlannedRow
from dmd_repro.records.folder import Predictions, Records, RunRecord
from dmd_repro.results.evidence import why_no_word
from dmd_repro.results.learned import learned
from dmd_repro.results.settings import changed_settings
from dmd_repro.systems.bert import BERT_BASE

TEXT_WORDS = {"glove": "GloVe", "hidden": "BERT hidden states", "bert": "BERT"}


Scores = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass
class Measured:
    """What the runs of one row say, before it is set beside the printed numbers."""

    planned: tuple[int, ...] = ()
    order: tuple[int, ...] = ()  # seeds in the order they were planned, those that a later plan left out too
    runs: dict[int, str] = field(default_factory=dict)
    failed: list[int] = field(default_factory=list)
    not_learned: list[int] = field(default_factory=list)  # seeds whose run predicts no better than a constant
    values: dict[str, dict[int, float]] = field(default_factory=dict)  # column -> seed -> value
    scores: dict[int, Scores] = field(
        default_factory=dict
    )  # seed -> labels and predictions of the test clips, (B,) each
    videos: tuple[str, ...] | None = None  # (B,) of the test clips; None: no video has two, or they are not known
    selection: dict[int, float] = field(default_factory=dict)  # seed -> MAE on validation at the selected epoch
    not_comparable: str | None = None  # why these runs may not be compared with the printed row
    notes: list[str] = field(default_factory=list)
    features: Mapping[str, Any] | None = None


class Runs:
    """The records a table needs, each read once: Table 4 scores three heads of the same run."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self._read: dict[str, tuple[RunRecord, Predictions] | str] = {}
        self.executions: list[Mapping[str, Any] | None] = []  # how each record read was computed
        self.seen: dict[str, RunRecord] = {}  # every record read, for the provenance

    def get(self, run_id: str) -> tuple[RunRecord, Predictions] | str:
        """Return a record with its test predictions, or its status in one word."""
        if run_id not in self._read:
            self._read[run_id] = self._load(run_id)
        return self._read[run_id]

    def _load(self, run_id: str) -> tuple[RunRecord, Predictions] | str:
        status, record, _ = self.records.look(run_id)
        if status != "done" or record is None:
            return status
        try:
            found = record.alone(), record.predictions("test")
        except DmdError:
            return "damaged"
        self.seen[run_id] = found[0]
        self.executions.append(record.provenance.get("execution"))
        return found


def measure(row: Row, planned: PlannedRow | None, runs: Runs) -> Measured:
    """Score the runs of a row, leaving out by name those that are not what the plan says."""
    if planned is None or planned.status == "skipped" or row.recipe is None:
        return Measured()
    out = Measured(planned=tuple(planned.runs), order=planned.in_order, features=planned.features)
    digest, configurations = (planned.features or {}).get("digest"), set()
    for seed, run_id in planned.runs.items():
        found = runs.get(run_id)
        if isinstance(found, str):
            if found == "failed":
                out.failed.append(seed)
                out.notes.append(f"run {run_id} (seed {seed}) failed")
            elif found == "damaged":
                out.notes.append(f"run {run_id} (seed {seed}) is left out: its record is damaged or foreign")
            elif found == "unreadable":
                out.notes.append(f"run {run_id} (seed {seed}) is left out: its record is there and cannot be read")
            continue
        record, predictions = found
        if problem := _mismatch(row, record, seed, digest):
            out.notes.append(f"run {run_id} (seed {seed}) is left out: {problem}")
            continue
        score = predictions.y_pred if row.recipe.head is None else predictions.heads.get(row.recipe.head)
        if score is None:
            out.notes.append(f"run {run_id} (seed {seed}) is left out: it has no head '{row.recipe.head}'")
            continue
        if not np.isfinite(score).all():
            out.failed.append(seed)
            out.notes.append(f"run {run_id} (seed {seed}) diverged: its predictions are not numbers")
            continue
        if not out.runs:
            out.videos = videos_of(predictions.ids)
        out.runs[seed] = run_id
        out.scores[seed] = predictions.y_true, score
        out.selection[seed] = METRICS["mae"](*record.scores("valid"))
        if row.recipe.head is None and (verdict := learned(record)).outcome == "not learned":
            out.not_learned.append(seed)
            out.notes.append(f"run {run_id} (seed {seed}) did not learn: {verdict.reason}")
        configurations.add(record.configuration_id)
        out.not_comparable = out.not_comparable or _why_not_comparable(row, record, planned)
        wanted = {row.metric_id(column): column for column in row.cells} | unprinted_columns(row)
        for metric, column in wanted.items():
            if not same_range(METRICS[metric], record.data["dataset"]):
                continue  # an ACC7 of labels in [-1, 1] would be another metric under its name
            value = METRICS[metric].shown(predictions.y_true, score)
            if np.isfinite(value):  # else it does not exist on these clips, and the cell says so
                out.values.setdefault(column, {})[seed] = value
    if out.not_learned:
        out.notes.insert(0, _share_learned(out))
    if not out.runs and out.failed:  # no record counts, but what was planned says whether it could have been compared
        misfit = _data_not_comparable(row, planned.features) if planned.features else None
        out.not_comparable = misfit or why_no_word(row)
    if planned.overrides and not out.runs:  # no record is there to tell
        out.not_comparable = out.not_comparable or _changed(planned.overrides)
    if len(configurations) > 1:
        out.not_comparable = out.not_comparable or "its runs mix several configurations"
    return out


@lru_cache(maxsize=16)
def videos_of(ids: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the video of each clip, as the ids name them; None where they do not, or no video has two clips."""
    names = clip_names([ids])
    videos = tuple(names.video(clip) for clip in ids)
    return videos if len(set(videos)) < len(videos) else None


def _share_learned(measured: Measured) -> str:
    """Say how many runs learned, and what the mean is without the others."""
    few = len(measured.runs) - len(measured.not_learned)
    means = []
    for column, by_seed in measured.values.items():
        kept = [value for seed, value in by_seed.items() if seed not in measured.not_learned]
        if kept:
            means.append(f"{COLUMNS.get(column, column)} {fmean(kept):.2f}")
    without = f"; mean of those that did: {', '.join(means)}" if means else ""
    return f"{few} of {len(measured.runs)} runs learned{without}; the table's mean is over all"


def unprinted_columns(row: Row) -> dict[str, str]:
    """Return {metric: column} of what is shown of every measured row and not printed in this one."""
    always = {row.metric_id(column): column for column in row.ours}
    always |= {name: metric.column or name for name, metric in always_shown(row.dataset).items()}
    return {name: column for name, column in always.items() if column not in row.cells}


def _changed(settings: Mapping[str, Any]) -> str:
    changed = ", ".join(f"{name}={value}" for name, value in sorted(settings.items()))
    return f"settings were changed ({changed}), so not comparable"


def _mismatch(row: Row, record: RunRecord, seed: int, digest: str | None) -> str | None:
    """Say why a record is not the run its row needs, None if it is."""
    assert row.recipe is not None
    if record.data["digest"] != digest:
        return f"its data ({record.data['digest'][:12]}) are not the row's ({str(digest)[:12]})"
    spec = record.spec
    if (spec.model, spec.mask, spec.seed) != (row.recipe.model, row.recipe.mask, seed):
        return f"it is {spec.model} {spec.mask.label} with seed {spec.seed}"
    wrong = {
        name: spec.config.get(name) for name, value in row.recipe.overrides.items() if spec.config.get(name) != value
    }
    if wrong:
        return f"it has {', '.join(f'{name}={value}' for name, value in sorted(wrong.items()))}, which is another row"
    return None


def _why_not_comparable(row: Row, record: RunRecord, planned: PlannedRow) -> str | None:
    """Say why a run may not be compared with the printed row, None if it may."""
    recipe = row.recipe
    assert recipe is not None
    if why := _data_not_comparable(row, record.data):
        return why
    config = record.spec.config
    if why := bert_not_comparable(str(config.get("bert") or ""), bool(config.get("bert_finetune", True))):
        return why
    if record.spec.protocol != recipe.protocol:
        return f"run under protocol '{record.spec.protocol}', the row asks for '{recipe.protocol}'"
    changed = changed_settings(row, record.spec, aligned=bool(record.data["aligned"]))
    changed = dict(planned.overrides) if changed is None else changed
    return _changed(changed) if changed else why_no_word(row)


def _data_not_comparable(row: Row, data: Mapping[str, Any]) -> str | None:
    """Say why data may not be compared with the printed row, None if they may."""
    if data["standing"] == "synthetic":
        return "synthetic data are never compared with printed numbers"
    if data["dataset"] != row.dataset:
        return f"run on {dataset_title(data['dataset'])}, printed for {dataset_title(row.dataset)}"
    if data["standing"] != "official":
        return "partial data: not the official split, so not comparable"
    if data["aligned"] != (row.setting == "aligned"):
        return f"run on {'aligned' if data['aligned'] else 'unaligned'} features, printed for {row.setting} ones"
    if data["text"] != row.text:
        return f"run with {TEXT_WORDS.get(data['text'], data['text'])} text, printed for {TEXT_WORDS[row.text]}"
    return None


def bert_not_comparable(fingerprint: str, finetuned: bool) -> str | None:
    """Say why a BERT bars a comparison with a starred row, None if it does not (or if there is none)."""
    if fingerprint and not fingerprint.startswith(BERT_BASE):
        return f"read by the BERT {fingerprint}, printed for BERT-base"
    return "its BERT was frozen, the printed row's was fine-tuned" if fingerprint and not finetuned else None


def derive(derived: Derived, columns: tuple[str, ...], measured: Mapping[str, Measured]) -> Measured:
    """Compute a derived row run by run, from the seeds every row it rests on has."""
    parts = [measured[key] for key in derived.rows]
    out = Measured(
        planned=tuple(dict.fromkeys(seed for part in parts for seed in part.planned)),
        order=tuple(dict.fromkeys(seed for part in parts for seed in part.order)),
    )
    out.failed = sorted({seed for part in parts for seed in part.failed})
    out.not_learned = sorted({seed for part in parts for seed in part.not_learned})
    out.features = next((part.features for part in parts if part.features), None)
    out.not_comparable = next((part.not_comparable for part in parts if part.not_comparable), None)
    statistic = fmean if derived.statistic == "mean" else pstdev
    for seed in out.planned:
        if all(seed in part.runs for part in parts):
            out.runs[seed] = parts[0].runs[seed]
            for column in columns:
                values = [part.values.get(column, {}).get(seed) for part in parts]
                if None not in values:
                    out.values.setdefault(column, {})[seed] = statistic([v for v in values if v is not None])
    return out
