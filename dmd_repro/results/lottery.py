"""The seed lottery of a table: where each printed number lies among our seeds, and what picking would bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmd_repro.errors import DmdError
from dmd_repro.metrics.registry import COLUMNS, METRICS
from dmd_repro.papers.tables import Printed, PublishedTable, Row
from dmd_repro.planning.plans import TablePlan
from dmd_repro.records.folder import Records
from dmd_repro.results.runs import Measured, Runs
from dmd_repro.results.scores import mark_of, number
from dmd_repro.results.sheet import NONE, Sheet, TextGrid
from dmd_repro.results.tables import measure_table
from dmd_repro.stats.lottery import MODEL, MOST, BestOf, Lottery, best_of, lottery
from dmd_repro.stats.summary import mean_and_std
from dmd_repro.stats.verdict import half_cell

FAR = 100_000  # runs: an even bet beyond it is no bet, and its digits mean nothing
SHOWN = (1, 2, 3, 5, 10, 20)  # of the k up to 20 that JSON holds
LOTTERY_RULE = (
    "reached: runs that would print as high as the printed number (of MAE: as low; within half a unit of its last "
    "decimal). chance: that one further run does, with its 90 % posterior limits; the model: " + MODEL + ".",
    "even bet: the fewest runs whose best reaches it at even odds, with that number at the upper and at the lower "
    "limit of the chance. best of k: expected highest of k runs (of MAE: lowest). Both are exact up to the runs at "
    "hand, counted over all ways to draw k of them; * marks the model, beyond them. Where some runs did not learn "
    "there is no model, only the count.",
    "picking: epoch by test is the best test score over a run's epochs less the test score of the epoch its validation "
    "loss chose, mean over runs; seed by test is the best run's test score less that of the run with the best "
    "validation error. Both are what choosing on the test clips would add without any better model. They are per "
    "metric and not to be had together: the best run by one metric is, as a rule, not the best by another.",
)


def lottery_sheet(table: PublishedTable, plan: TablePlan | None, records: Records) -> Sheet:
    """Return the lottery of every cell with two runs or more that differ.

    Printed numbers enter only where they may be compared. Raises RunError if the folder of runs cannot be read.
    """
    runs = Runs(records)
    measured = measure_table(table, plan, runs)
    draws, best, picks, found = [], [], [], []
    picked: dict[str, dict[str, int]] = {}  # row -> metric -> the seed that is best by it
    notes: list[str] = []
    for row in table.rows:
        here = measured[row.key]
        if row.derived and row.derived.statistic == "population_std":
            if here.values:
                notes.append(f"{row.label}: a spread has no best run, for lower is better by the paper: left out")
            continue
        if here.not_comparable:
            notes.append(f"{row.label} ({row.setting}): {here.not_comparable}; only best of k and picking are shown")
        if here.not_learned:
            few = len(here.runs) - len(here.not_learned)
            notes.append(f"{row.label} ({row.setting}): {few} of {len(here.runs)} runs learned, so counts and no model")
        if here.failed:
            notes.append(f"{row.label} ({row.setting}): {len(here.failed)} planned runs failed and are no draws")
        for column, printed in row.cells.items():
            metric = METRICS[row.metric_id(column)]
            way = 1.0 if metric.higher_is_better else -1.0  # the best is the highest, of MAE the lowest
            values = list(here.values.get(column, {}).values())
            if len(values) < 2 or min(values) == max(values):
                continue
            name = f"{row.label}, {row.setting}, {COLUMNS[column]}"
            luck = None
            turned, model = [way * value for value in values], not here.not_learned
            low, high = sorted(way * end for end in metric.bounds)
            if here.not_comparable is None:
                luck = lottery(
                    turned, way * float(printed.value), cell=half_cell(printed.decimals), model=model,
                    bounds=(low, high),
                )  # fmt: skip
            top = [
                _turned(one, way) for one in (luck.best if luck else best_of(turned, model=model, bounds=(low, high)))
            ]
            seeds = here.values[column]
            picked.setdefault(f"{row.label}, {row.setting}", {})[metric.heading] = max(
                seeds,
                key=lambda seed, by=seeds, way=way: way * by[seed],  # type: ignore[misc]
            )
            optimism = _optimism(row, column, here, runs)
            if luck:
                draws.append(_draw_line(name, printed, luck, values, metric.id))
            best.append((name, *(_best(entry, metric.id) for entry in top if entry.k in SHOWN)))
            picks.append((name, *(number(optimism.get(key), metric.id, signed=True) for key in ("epoch", "seed"))))
            found.append(_document(row, column, printed, values, luck, top, optimism))
    for name, by in picked.items():
        if len(set(by.values())) > 1:
            said = ", ".join(f"{seed} by {metric}" for metric, seed in by.items())
            notes.append(f"{name}: the best seed is {said}; these gains are not to be had together")
    if not found:
        notes.append("no number has two runs or more that differ, so there is no lottery to describe")
    return Sheet(
        name=f"{table.name}-lottery",
        title=f"Seed lottery of {table.title}",
        grids=tuple(_grids(draws, best, picks)),
        notes=tuple(dict.fromkeys(notes)),
        rule=LOTTERY_RULE,
        mark=mark_of([str((one.features or {}).get("standing")) for one in measured.values() if one.runs]),
        document={"table": table.name, "model": MODEL, "cells": found},
    )


def _grids(
    draws: Sequence[tuple[str, ...]], best: Sequence[tuple[str, ...]], picks: Sequence[tuple[str, ...]]
) -> list[TextGrid]:
    heads = ("number", "printed", "n", "reached", "lowest", "highest", "chance", "90 % limits", "even bet", "limits")
    grids = []
    if draws:
        grids.append(TextGrid("Where the printed number lies", heads, "lrrrrrrrrr", tuple(draws)))
    if best:
        grids.append(
            TextGrid(
                "Expected best of k runs", ("number", *(f"k = {k}" for k in SHOWN)), "l" + "r" * len(SHOWN), tuple(best)
            )
        )
        grids.append(
            TextGrid(
                "What picking on the test clips would add",
                ("number", "epoch by test", "seed by test"),
                "lrr",
                tuple(picks),
            )
        )
    return grids


def _draw_line(name: str, printed: Printed, luck: Lottery, values: Sequence[float], metric: str) -> tuple[str, ...]:
    def k(value: float) -> str:
        if value > FAR:
            return "never" if value == np.inf else f"> {FAR:,}*"
        return (f"{value:.0f}" if value >= 10 else f"{value:.1f}") + "*"

    limits, even = luck.chance_limits, NONE
    if luck.even is not None:
        even = f"{luck.even}" + ("" if luck.even_exact else "*")
    elif luck.chance is not None:
        even = "never" if luck.chance == 0 else f"> {FAR:,}*"

    return (
        name,
        printed.text,
        str(luck.n),
        f"{luck.reached}/{luck.n}",
        number(min(values), metric),
        number(max(values), metric),
        NONE if luck.chance is None else f"{luck.chance:.1%}",
        NONE if limits is None else f"{limits[0]:.1%} to {limits[1]:.1%}",
        even,
        NONE if luck.even_limits is None else f"{k(luck.even_limits[0])} to {k(luck.even_limits[1])}",
    )


def _best(entry: BestOf, metric: str) -> str:
    return number(entry.value, metric) + ("" if entry.exact or entry.value is None else "*")


def _turned(entry: BestOf, way: float) -> BestOf:
    return replace(entry, value=None if entry.value is None else way * entry.value)


def _optimism(row: Row, column: str, measured: Measured, runs: Runs) -> dict[str, float]:
    """Return what choosing the epoch, or the seed, on the test clips adds, in points. {} for heads and derived rows.

    The record keeps every epoch's final output alone, so a unimodal head has no such number.
    """
    if row.recipe is None or row.recipe.head is not None:
        return {}
    metric, gaps, by_loss = METRICS[row.metric_id(column)], [], []
    for seed, run_id in measured.runs.items():
        found = runs.get(run_id)
        if isinstance(found, str) or seed not in measured.values.get(column, {}):
            continue
        record, said = found
        try:
            epochs: NDArray[np.float32] = record.epochs("test")
            loss = _valid_loss(record)
        except (DmdError, KeyError):
            continue
        chosen = measured.values[column][seed]
        scores = [metric.shown(said.y_true, epoch) for epoch in epochs]
        finite = [score for score in scores if np.isfinite(score)]
        if finite:
            gaps.append((max(finite) if metric.higher_is_better else min(finite)) - chosen)
        if loss is not None:
            by_loss.append((loss, chosen))
    out = {"epoch": fmean(gaps)} if gaps else {}
    if len(by_loss) > 1:
        scores = [score for _, score in by_loss]
        out["seed"] = (max(scores) if metric.higher_is_better else min(scores)) - min(by_loss)[1]
    return out


def _valid_loss(record: Any) -> float | None:
    """The mean absolute error of the selected epoch on the validation clips: what the runs are selected by."""
    said = record.predictions("valid")
    loss = METRICS["mae"](said.y_true, said.y_pred)
    return loss if np.isfinite(loss) else None


def _document(
    row: Row, column: str, printed: Printed, values: Sequence[float], luck: Lottery | None,
    top: Sequence[BestOf], optimism: Mapping[str, float],
) -> dict[str, Any]:  # fmt: skip
    mean, std = mean_and_std(values)
    return {
        "row": row.key,
        "column": column,
        "metric": row.metric_id(column),
        "printed": printed.text,
        "n": len(values),
        "values": list(values),
        "mean": mean,
        "std": std,
        "comparable": luck is not None,
        "reached": luck.reached if luck else None,
        "chance": luck.chance if luck else None,
        "chance_limits": list(luck.chance_limits) if luck and luck.chance_limits else None,
        "counted_limits": list(luck.counted_limits) if luck else None,
        "even_bet": luck.even if luck else None,  # null: no k
        "even_bet_exact": luck.even_exact if luck else None,
        "even_bet_limits": [_finite(k) for k in luck.even_limits] if luck and luck.even_limits else None,
        "best_of": [asdict(entry) for entry in top[:MOST]],
        "picking_epoch_by_test": optimism.get("epoch"),
        "picking_seed_by_test": optimism.get("seed"),
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
