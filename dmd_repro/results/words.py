"""The words on a row, one for each thing a printed number may be: a mean, one run, or the best of several.

Words are per row: a table of many cells would hold a false one sooner or later. They rest on the first n planned seeds
of a stage; what was run beyond it moves the numbers and not the words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dmd_repro.datasets import dataset_title
from dmd_repro.metrics.registry import METRICS
from dmd_repro.papers.tables import Row
from dmd_repro.results.rule import points_of
from dmd_repro.stats.stages import Stage

HEADLINES = ("reproduced", "worse", "better", "mixed", "inconclusive")  # what the rule says; other words need none
Kind = Literal[
    "straddles", "not after Holm", "failed", "not learned", "unfinished", "no spread", "margin chosen after looking"
]
OneRun = Literal["compatible", "not compatible"]


@dataclass(frozen=True, slots=True)
class EvenBet:
    """The fewest runs whose best, by one metric, prints the number or better at even odds."""

    metric: str
    k: int | None  # None: no number of runs that anyone makes, or no model
    exact: bool  # counted over all ways to draw k of our runs; else the normal model, beyond them
    more_than: int | None = None  # where there is no model beyond the runs at hand: how many these are


@dataclass(frozen=True, slots=True)
class Words:
    """What may be said of a row, and what it rests on."""

    mean: str  # if the printed numbers are means: a headline, or why there is none (not run, interval only ...)
    kind: Kind | None = None  # of inconclusive
    why: str | None = None  # in words
    runs_to_tell: int | None = None  # about how many would give another word; None: not asked, or none would
    past: tuple[str, ...] = ()  # columns past the margin where the word is worse or better; mixed: each with its own
    one_run: OneRun | None = None  # if they are one run
    outside: tuple[str, ...] = ()  # columns outside the interval of one more run
    one_run_level: float | None = None
    best: EvenBet | None = None  # if they are of the best of several
    margin: float | None = None  # points
    smallest_margin: float | None = None  # points: beyond it the first word would be *reproduced*
    stage: Stage | None = None  # the first n planned seeds, and the level
    provisional: bool = False  # the plan is not finished, or has more seeds than its last stage read
    history: tuple[tuple[Stage, str], ...] = ()  # every stage reached, with its word
    cells: int = 0  # printed cells that may be compared

    @property
    def headline(self) -> bool:
        """Whether the rule decided."""
        return self.mean in HEADLINES and self.kind != "margin chosen after looking"

    @property
    def lines(self) -> tuple[str, ...]:
        """The words as sentences: if a mean, if one run, if the best of several."""
        out = []
        if self.headline or self.kind:
            later = f" (provisional, of the first {self.stage.n} runs)" if self.provisional and self.stage else ""
            at = f" at a margin of {points_of(self.margin)}" if self.margin is not None and self.headline else ""
            why = f": {self.why}" if self.why else ""
            beyond = self.smallest_margin
            more = "" if beyond is None else f"; reproduced at any margin beyond {beyond:.2f}"
            named = ", ".join(self.past)
            past = "" if not named else f" ({named})" if self.mean == "mixed" else f" in {named}"
            out.append(f"if a mean, {self.mean}{past}{at}{later}{why}{more}")
        elif self.why:
            out.append(f"{self.mean}: {self.why}")
        if self.one_run:
            where = f" ({', '.join(self.outside)})" if self.outside else ""
            out.append(f"if one run, {self.one_run}{where}")
        if self.best:
            out.append(f"if the best of several by {METRICS[self.best.metric].heading}, {_even(self.best)}")
        return tuple(out)

    def to_json(self) -> dict[str, Any]:
        """Return the words as plain JSON values."""
        best = self.best
        return {
            "if_a_mean": self.mean, "kind": self.kind, "why": self.why, "past": list(self.past),
            "runs_to_tell": self.runs_to_tell,
            "if_one_run": self.one_run, "outside": list(self.outside), "one_run_level": self.one_run_level,
            "if_best_of_k": None if best is None else {"metric": best.metric, "k": best.k, "exact": best.exact},
            "margin": self.margin, "smallest_margin": self.smallest_margin,
            "runs": self.stage.n if self.stage else None, "level": self.stage.level if self.stage else None,
            "provisional": self.provisional, "cells": self.cells,
            "stages": [{"runs": stage.n, "level": stage.level, "if_a_mean": word} for stage, word in self.history],
            "sentences": list(self.lines),
        }  # fmt: skip


def _even(bet: EvenBet) -> str:
    if bet.k is None and bet.more_than is not None:
        return f"no even bet up to {bet.more_than} runs (where runs did not learn, no model goes beyond)"
    if bet.k is None:
        return "no number of runs makes it an even bet"
    if bet.k == 1:
        return "one run is an even bet already"
    return f"an even bet at {bet.k} runs" + ("" if bet.exact else " (by the model)")


def ranking_metric(row: Row, there: Mapping[str, object]) -> str | None:
    """Return the metric that the best of several is ranked by: ACC2 where the row prints it, else its first column."""
    columns = [column for column in row.cells if column in there]
    if not columns:
        return None
    return row.metric_id("acc2" if "acc2" in columns else columns[0])


def answer(row: Row, summary: str, words: Words) -> str:
    """Return the row's answer in one sentence or two; "" where nothing was measured."""
    if not summary:
        return ""
    said = "; ".join(words.lines)
    where = f"{row.label} on {dataset_title(row.dataset)}, {row.setting}"
    return f"{where}: {summary}." + (f" {said[:1].upper()}{said[1:]}." if said else "")
