"""What a comparison is, once made: plain values that every format prints and JSON holds whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dmd_repro.metrics.registry import METRICS
from dmd_repro.papers.tables import Printed, Row
from dmd_repro.results.chances import MarginChances
from dmd_repro.results.chances import to_json as chances_json
from dmd_repro.results.evidence import evidence_of, grade_of
from dmd_repro.results.reruns import NotComparable, Reading
from dmd_repro.results.rule import rule_lines
from dmd_repro.results.sheet import marked
from dmd_repro.results.verdict import NOT_PRINTED, NOT_RUN, Judged
from dmd_repro.results.words import Words, answer, ranking_metric
from dmd_repro.stats.chances import Chance
from dmd_repro.stats.stages import STAGES, Stage
from dmd_repro.stats.summary import Summary, TTest
from dmd_repro.stats.verdict import MARGIN


@dataclass(frozen=True, slots=True)
class Cell:
    """One printed number and what was measured for it, in the unit it is printed in."""

    column: str  # as the table heads it: acc7, acc2, f1
    metric: str  # what the runs were scored by: acc2_non0, ...
    printed: Printed
    values: Mapping[int, float]  # by seed
    summary: Summary
    difference: float | None  # mean - printed; None where the two may not be compared
    test: TTest | None
    why_not: str | None  # why there is no difference, or no test
    judged: Judged = field(default_factory=lambda: Judged(NOT_RUN))
    conventions: Mapping[str, float] = field(default_factory=dict)  # metric -> mean over the runs, ACC2 and F1 only
    reruns: tuple[Reading, ...] = ()  # what others measured for the same number
    chances: tuple[Chance, ...] = ()  # of this number or better, or worse, by what it may be; () without a model
    learned: Summary | None = None  # of the runs that learned, where some did not; `summary` is of all
    beside: MarginChances | None = None  # where the method's mean lies beside the number and the margin

    @property
    def comparable(self) -> bool:
        """Whether its runs may stand beside the printed number: not of synthetic data, nor of another setting."""
        return self.difference is not None

    @property
    def convention_moves(self) -> float | None:
        """How far apart the conventions alone put the mean of the same runs."""
        return max(self.conventions.values()) - min(self.conventions.values()) if self.conventions else None

    def to_json(self) -> dict[str, Any]:
        """Return the cell as plain JSON values."""
        interval = self.summary.interval
        return {
            "column": self.column,
            "metric": self.metric,
            "printed": self.printed.text,
            "values": {str(seed): value for seed, value in self.values.items()},
            "n": self.summary.n,
            "mean": self.summary.mean,
            "std": self.summary.std,
            "interval": None if interval is None else list(interval),
            "level": self.summary.level,
            "difference": self.difference,
            "t": self.test.t if self.test else None,
            "df": self.test.df if self.test else None,
            "p": self.test.p if self.test else None,
            "why_not": self.why_not,
            **self.judged.to_json(),
            "conventions": dict(self.conventions),
            "convention_moves": self.convention_moves,
            "reruns": [reading.to_json() for reading in self.reruns],
            "chances": chances_json(self.chances),
            "margin_chances": None if self.beside is None else self.beside.to_json(),
            "learned": None if self.learned is None else _summary_json(self.learned),
        }


def _summary_json(summary: Summary) -> dict[str, Any]:
    ends = summary.interval
    return {"n": summary.n, "mean": summary.mean, "std": summary.std, "interval": list(ends) if ends else None}


@dataclass(frozen=True, slots=True)
class Unprinted:
    """What was measured and the paper does not print: no difference, no verdict."""

    heading: str
    metric: str
    values: Mapping[int, float]  # by seed
    summary: Summary
    learned: Summary | None = None  # of the runs that learned, where some did not

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values, under the names of a cell."""
        interval = self.summary.interval
        return {
            "column": METRICS[self.metric].column or self.metric,
            "metric": self.metric,
            "printed": None,
            "values": {str(seed): value for seed, value in self.values.items()},
            "n": self.summary.n,
            "mean": self.summary.mean,
            "std": self.summary.std,
            "interval": None if interval is None else list(interval),
            "level": self.summary.level,
            "place": NOT_PRINTED,
            "learned": None if self.learned is None else _summary_json(self.learned),
        }


@dataclass(frozen=True, slots=True)
class ComparedRow:
    """One row of the paper and the runs that stand for it."""

    row: Row
    state: Literal["measured", "not run", "skipped"]
    cells: tuple[Cell, ...]
    planned: tuple[int, ...]  # seeds
    runs: Mapping[int, str]  # seed -> run id, of the runs that count
    failed: tuple[int, ...]  # seeds whose run failed or diverged: planned, never counted
    features: Mapping[str, Any] | None  # what the row was planned on
    notes: tuple[str, ...]  # footnotes, most telling first
    background: tuple[str, ...] = ()  # those of them on sources, evidence and missing tests, not on the runs
    unprinted: tuple[Unprinted, ...] = ()  # always shown, and not printed in this row
    not_learned: tuple[int, ...] = ()  # seeds whose run predicts no better than a constant: counted, and said
    words: Words = field(default_factory=lambda: Words(NOT_RUN))  # what may be said of the row, by what was printed

    def unprinted_in(self, column: str) -> Unprinted | None:
        """Return what was measured of a column that the row does not print."""
        return next((one for one in self.unprinted if METRICS[one.metric].column == column), None)

    @property
    def n(self) -> str:
        """Runs counted of runs planned, "" where none was planned."""
        return f"{len(self.runs)}/{len(self.planned)}" if self.planned else ""

    @property
    def telling(self) -> tuple[str, ...]:
        """The footnotes on the runs."""
        return tuple(note for note in self.notes if note not in self.background)

    @property
    def answer(self) -> str:
        """The row in a sentence: one number printed and measured, and the words; "" where nothing was measured.

        The number is the one that the best of several is ranked by; the others stand in the table.
        """
        metric = ranking_metric(self.row, {cell.column: cell for cell in self.cells if cell.summary.mean is not None})
        cell = next((cell for cell in self.cells if cell.metric == metric), None)
        if cell is None:
            return self._failed_answer()
        count = f"{len(self.runs)} run" + ("" if len(self.runs) == 1 else "s")
        if self.not_learned:
            count = f"{len(self.runs) - len(self.not_learned)} of {count} learned"
        if self.failed:
            count += f", {len(self.failed)} failed"
        said = f"{METRICS[cell.metric].heading} printed {cell.printed.text}, measured {_measured(cell)} ({count})"
        if cell.learned is not None and cell.learned.mean is not None:
            said += f", {_measured(replace(cell, summary=cell.learned))} over those that did"
        return answer(self.row, said, self.words)

    def _failed_answer(self) -> str:
        """The sentence of a row whose finished runs all failed; "" where none did."""
        printed = {cell.column: cell for cell in self.cells}
        metric = ranking_metric(self.row, printed)
        cell = next((cell for cell in printed.values() if cell.metric == metric), None)
        if cell is None or not self.failed or self.runs:
            return ""
        count = f"{len(self.failed)} of {len(self.planned)} planned runs failed"
        said = f"{METRICS[cell.metric].heading} printed {cell.printed.text}, nothing measured: {count}"
        return answer(self.row, said, Words(NOT_RUN))

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain JSON values."""
        row = self.row
        return {
            "key": row.key,
            "method": row.label,
            "dataset": row.dataset,
            "setting": row.setting,
            "text": row.text,
            "state": self.state,
            "planned_seeds": list(self.planned),
            "failed_seeds": list(self.failed),
            "not_learned_seeds": list(self.not_learned),
            "runs": {str(seed): run for seed, run in self.runs.items()},
            "features": dict(self.features) if self.features else None,
            "convention": {"acc2": row.convention, "f1": row.f1_order, "certainty": row.certainty},
            "ours": bool(row.ours),
            "source": {"text": row.source.text, "certainty": row.source.certainty} if row.source else None,
            "words": self.words.to_json(),
            "answer": self.answer,
            "cells": [cell.to_json() for cell in self.cells],
            "unprinted": [one.to_json() for one in self.unprinted],
            "grade": grade_of(row),
            "evidence": {k: {"grade": e.grade, "words": e.words} for k, e in evidence_of(row).items()},
            "notes": list(self.notes),
        }


def _measured(cell: Cell) -> str:
    digits, summary = cell.printed.decimals + 1, cell.summary
    spread = "" if summary.std is None else f" ± {summary.std:.{digits}f}"
    return f"{summary.mean:.{digits}f}{spread}".replace("-", "−")


@dataclass(frozen=True, slots=True)
class ComparedBlock:
    """Rows of one data set and setting."""

    key: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[ComparedRow, ...]


@dataclass(frozen=True, slots=True)
class ComparisonTable:
    """One table of the paper beside what was measured."""

    name: str
    title: str
    mark: str | None  # SYNTHETIC DATA, PARTIAL DATA
    blocks: tuple[ComparedBlock, ...]
    data: tuple[Mapping[str, Any], ...]  # name, label, digest, standing of every feature set planned on
    notes: tuple[str, ...]  # on the table as a whole
    planned: str | None  # when the plan was made (UTC, ISO 8601); None: no plan
    margin: float = MARGIN  # points
    sealed_margin: float = MARGIN  # the plan's: another gives intervals, and no word
    stages: tuple[Stage, ...] = STAGES  # at which words are read
    provenance: tuple[Mapping[str, Any], ...] = ()  # one entry a run
    prose: str = ""  # the results in words
    looks: tuple[str, ...] = ()  # the earlier verdicts on this plan at other numbers of runs, and this one
    answers: tuple[str, ...] = ()  # what others' runs say of its rows, a sentence each
    other_reruns: tuple[NotComparable, ...] = ()  # re-runs of its systems that stand beside none of its rows

    @property
    def heading(self) -> str:
        """The title with the mark."""
        return marked(self.title, self.mark)

    @property
    def rule(self) -> tuple[str, ...]:
        """How the numbers were made and what decides the verdicts: stands under every table."""
        printed = [METRICS[cell.metric] for row in self.rows for cell in row.cells]
        own = dict.fromkeys(metric.heading for metric in printed if metric.unit != "%")
        return rule_lines(self.margin, self.stages, self.decided, self.looks, tuple(own))

    @property
    def decided(self) -> tuple[Stage, ...]:
        """The stage of every row that the rule judged: their levels sum to the false words to expect, of a kind.

        A run that failed or did not learn leaves nothing to judge.
        """
        judged = [
            row.words for row in self.rows if row.words.headline and row.words.kind not in ("failed", "not learned")
        ]
        return tuple(words.stage for words in judged if words.stage)

    @property
    def rows(self) -> tuple[ComparedRow, ...]:
        """All rows, in the paper's order."""
        return tuple(row for block in self.blocks for row in block.rows)

    @property
    def footnotes(self) -> tuple[str, ...]:
        """Every note of a row once, in the order of first use: its place, from 1 on, is its number."""
        return tuple(dict.fromkeys(note for row in self.rows for note in row.notes))

    def to_json(self) -> dict[str, Any]:
        """Return the table as plain JSON values: everything the other formats show."""
        return {
            "table": self.name,
            "title": self.heading,
            "mark": self.mark,
            "planned": self.planned,
            "data": [dict(data) for data in self.data],
            "blocks": [
                {
                    "key": block.key,
                    "title": block.title,
                    "columns": list(block.columns),
                    "rows": [row.to_json() for row in block.rows],
                }
                for block in self.blocks
            ],
            "notes": list(self.notes),
            "margin": self.margin,
            "sealed_margin": self.sealed_margin,
            "stages": [{"runs": stage.n, "level": stage.level} for stage in self.stages],
            "rows_decided": len(self.decided),
            "false_words_expected": sum(stage.level for stage in self.decided),
            "looks": list(self.looks),
            "answers": list(self.answers),
            "other_reruns": [one.to_json() for one in self.other_reruns],
            "prose": self.prose,
            "provenance": [dict(run) for run in self.provenance],
            "rule": list(self.rule),
        }
