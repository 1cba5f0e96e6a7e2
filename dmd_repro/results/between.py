"""One row of a table against the others: paired over seeds, crossed over clips, and McNemar run by run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from dmd_repro.errors import ClaimError, nearest
from dmd_repro.metrics.registry import COLUMNS, METRICS, same_range
from dmd_repro.papers.tables import PublishedTable, Row
from dmd_repro.planning.plans import TablePlan
from dmd_repro.records.folder import Records
from dmd_repro.results.runs import Measured, Runs
from dmd_repro.results.scores import ends, mark_of, number
from dmd_repro.results.sheet import NONE, Sheet, TextGrid, p_value
from dmd_repro.results.tables import measure_table
from dmd_repro.stats.clips import drawn_table, per_clip
from dmd_repro.stats.paired import Crossed, McNemar, Paired, crossed, mcnemar, paired
from dmd_repro.stats.summary import TTest, holm

FULL = "full"
SEEDS_A_LINE = 5
BETWEEN_RULE = (
    "gap: first row minus second, in points (MAE, Corr: on their own scale), over the seeds both have (same seed: same "
    "batches, same initial values of common parts). 95 %: Student t interval of the mean gap over seeds. p: paired t "
    "test, none where a run of either row failed (leaving it out would flatter the mean); p Holm: adjusted over all "
    "gaps of this table.",
    "r: correlation of the two rows over seeds; pairing helps only where it is positive. effect: mean gap divided by "
    "the STD of the gaps (Cohen's d_z).",
    "95 % clips too: interval if seeds and clips were both drawn anew; all seeds meet the same clips, so the two are "
    "crossed, and clips of one video are drawn together where ids name it. F1 enters by jackknife values per clip.",
    "McNemar: exact test on the clips two runs of one seed disagree on (ACC7: class; ACC2 and F1: sign), in brackets "
    "the clips the first alone and the second alone gets right. One p-value a seed: they share their clips and are "
    "never pooled.",
)


@dataclass(frozen=True, slots=True)
class RowGap:
    """One row against another in one column."""

    first: Row
    second: Row
    column: str
    paired: Paired
    crossed: Crossed | None
    mcnemar: Mapping[int, McNemar]  # by seed
    failed: int = 0  # seeds that failed in either row: there is no test then
    collapsed: int = 0  # common seeds that did not learn in either row: no test and no normal interval then
    p_holm: float | None = None

    @property
    def test(self) -> TTest | None:
        """The paired t test, None where it does not exist, or a run of either row failed or did not learn."""
        return None if self.failed or self.collapsed else self.paired.test

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval of the mean gap over seeds; None where runs are of two kinds."""
        return None if self.collapsed else self.paired.summary.interval


def reference_rows(table: PublishedTable, name: str) -> dict[str, Row]:
    """Return the row each block is compared against: `full` (nothing off), a key, or a method as printed.

    Raises ClaimError with the nearest name.
    """
    low = name.lower()
    found: dict[str, Row] = {}
    for block in table.blocks:
        for row in block.rows:
            recipe = row.recipe
            full = recipe is not None and recipe.model == "dmd" and not recipe.mask.off and recipe.head is None
            if (low == FULL and full) or low in (row.key, row.method.lower(), row.label.lower()):
                found.setdefault(block.key, row)
    if not found:
        known = {FULL, *(row.key for row in table.rows), *(row.method.lower() for row in table.rows)}
        raise ClaimError.at(
            f"--compare {name}",
            expected=f"a row of {table.name}",
            got="none of its keys or methods",
            do=nearest(low, known),
        )
    return found


def gaps_of(table: PublishedTable, measured: Mapping[str, Measured], name: str) -> tuple[list[RowGap], list[str]]:
    """Return every gap to the reference rows, Holm-adjusted, and why rows are left out."""
    references = reference_rows(table, name)
    found: list[RowGap] = []
    notes: list[str] = []
    for block in table.blocks:
        first = references.get(block.key)
        for second in block.rows if first else ():
            if first is None or second is first or second.derived:
                continue
            a, b = measured[first.key], measured[second.key]
            if not a.runs or not b.runs:
                missing = first if not a.runs else second
                notes.append(f"{missing.label} ({missing.dataset.upper()}, {missing.setting}) has no runs")
                continue
            if problem := _misfit(a, b):
                notes.append(f"{first.label} against {second.label} ({first.setting}): {problem}")
                continue
            failed = len(set(a.failed) | set(b.failed))
            if failed:
                notes.append(
                    f"{first.label} against {second.label} ({first.setting}): no test, for {failed} "
                    f"seed{'s' if failed > 1 else ''} failed in one of them, and leaving it out would flatter the mean"
                )
            collapsed = (set(a.not_learned) | set(b.not_learned)) & set(a.runs) & set(b.runs)
            if collapsed:
                notes.append(
                    f"{first.label} against {second.label} ({first.setting}): no test and no interval, for of "
                    f"{len(set(a.runs) & set(b.runs))} common seeds {len(collapsed)} did not learn in one of them"
                    f"{_without(first, second, a, b, collapsed)}"
                )
            data = str((a.features or {}).get("dataset"))
            defined = {c for c in (*first.cells, *first.ours) if same_range(METRICS[first.metric_id(c)], data)}
            theirs = (*second.cells, *second.ours)
            columns = [column for column in (*first.cells, *first.ours) if column in theirs and column in defined]
            gaps = [_gap(first, second, column, a, b) for column in columns]
            if collapsed:
                gaps = [replace(gap, crossed=None, collapsed=len(collapsed)) for gap in gaps]
            found += [replace(gap, failed=failed) for gap in gaps]
    tests = {i: test for i, gap in enumerate(found) if (test := gap.test)}
    for i, p in zip(tests, holm([test.p for test in tests.values()]), strict=True):
        found[i] = replace(found[i], p_holm=p)
    return found, notes


def _without(first: Row, second: Row, a: Measured, b: Measured, collapsed: set[int]) -> str:
    """Say the mean gaps over the seeds that learned in both rows."""
    means = []
    for column in first.cells:
        both = a.values.get(column, {}), b.values.get(column, {})
        kept = [both[0][s] - both[1][s] for s in both[0] if s in both[1] and s not in collapsed]
        if kept and column in second.cells and first.metric_id(column) == second.metric_id(column):
            means.append(f"{COLUMNS[column]} {number(fmean(kept), first.metric_id(column), signed=True)}")
    return f"; mean gap without them: {', '.join(means)}" if means else ""


def _misfit(a: Measured, b: Measured) -> str | None:
    """Say why two rows may not be paired: other data, or no seed in common."""
    if (a.features or {}).get("digest") != (b.features or {}).get("digest"):
        return "they were run on different data"
    seeds = sorted(set(a.scores) & set(b.scores))
    if not seeds:
        return "they have no seed in common"
    if any(not np.array_equal(a.scores[seed][0], b.scores[seed][0]) for seed in seeds):
        return "their test clips differ"
    return None


def _gap(first: Row, second: Row, column: str, a: Measured, b: Measured) -> RowGap:
    # both rows under ONE convention, the reference's: a gap between conventions would be no gap between systems
    metric = first.metric_id(column)
    seeds = sorted(set(a.scores) & set(b.scores))
    values: list[dict[int, float]] = [{}, {}]
    tables: list[list[Any]] = [[], []]
    for seed in seeds:
        for side, scored in enumerate((a, b)):
            truth, score = scored.scores[seed]
            values[side][seed] = _score(metric, truth, score)
            tables[side].append(per_clip(metric, truth, score))
    one_per_seed = {  # MAE and Corr call no clip right or wrong
        seed: mcnemar(*(_right(metric, *scored.scores[seed]) for scored in (a, b)))
        for seed in (seeds if METRICS[metric].right else ())
    }
    both = None
    if len(seeds) > 1 and all(row is not None for side in tables for row in side):
        table = drawn_table(list(np.stack(tables[0]) - np.stack(tables[1])), a.videos)
        both = None if table is None else crossed(table)
    finite = [{s: v for s, v in side.items() if np.isfinite(v)} for side in values]
    return RowGap(first, second, column, paired(finite[0], finite[1]), both, one_per_seed)


def _score(metric: str, truth: Any, score: Any) -> float:
    return METRICS[metric].shown(truth, score)


def _right(metric: str, truth: Any, score: Any) -> Any:
    """Which of the clips that count are called right: the class for ACC7, the sign otherwise."""
    right = METRICS[metric].right
    assert right is not None
    values = right(*(np.asarray(x, np.float32).astype(np.float64) for x in (truth, score)))
    return values[np.isfinite(values)] > 0


def between_sheet(table: PublishedTable, plan: TablePlan | None, records: Records, name: str) -> Sheet:
    """Return one row against the others of its block, in every column.

    Works on any data: our rows are compared with each other, never with printed numbers. Raises ClaimError for an
    unknown row, RunError if the folder of runs cannot be read.
    """
    measured = measure_table(table, plan, Runs(records))
    gaps, notes = gaps_of(table, measured, name)
    if not gaps:
        notes.append("nothing to compare: no two rows of a block have runs")
    return Sheet(
        name=f"{table.name}-between",
        title=f"Between rows of {table.title}",
        grids=tuple(_grids(gaps)),
        notes=tuple(dict.fromkeys(notes)),
        rule=BETWEEN_RULE,
        mark=mark_of([str((one.features or {}).get("standing")) for one in measured.values() if one.runs]),
        document={"table": table.name, "reference": name, "gaps": [_document(gap) for gap in gaps]},
    )


def _grids(gaps: Sequence[RowGap]) -> list[TextGrid]:
    heads = ("against", "metric", "seeds", "gap", "95 %", "p", "p Holm", "r", "effect", "95 % clips too")
    out = []
    for key in dict.fromkeys(gap.first.key for gap in gaps):
        mine = [gap for gap in gaps if gap.first.key == key]
        first = mine[0].first
        title = f"{first.label} ({first.dataset.upper()}, {first.setting})"
        out.append(TextGrid(f"{title} minus", heads, "llrrrrrrrr", tuple(_line(gap) for gap in mine)))
        seeds = sorted({seed for gap in mine for seed in gap.mcnemar})
        for i in range(0, len(seeds), SEEDS_A_LINE):
            out.append(_mcnemar_grid(f"{title}: McNemar by seed", mine, seeds[i : i + SEEDS_A_LINE]))
    return out


def _signed(value: float | None) -> str:
    return NONE if value is None else f"{value:+.2f}".replace("-", "−")


def _line(gap: RowGap) -> tuple[str, ...]:
    test, both, metric = gap.test, gap.crossed, gap.first.metric_id(gap.column)
    return (
        gap.second.label,
        COLUMNS[gap.column],
        str(len(gap.paired.seeds)),
        number(gap.paired.summary.mean, metric, signed=True),
        ends(gap.interval, metric),
        p_value(test.p) if test else NONE,
        p_value(gap.p_holm) if gap.p_holm is not None else NONE,
        _signed(gap.paired.correlation),
        _signed(gap.paired.effect),
        ends(both.interval if both else None, metric),
    )


def _mcnemar_grid(title: str, gaps: Sequence[RowGap], seeds: Sequence[int]) -> TextGrid:
    rows = []
    for gap in gaps:
        if not METRICS[gap.first.metric_id(gap.column)].right:
            continue
        found = [gap.mcnemar.get(seed) for seed in seeds]
        said = [f"{p_value(one.p)} ({one.only_a}:{one.only_b})" if one else NONE for one in found]
        rows.append((gap.second.label, COLUMNS[gap.column], *said))
    headers = ("against", "metric", *(str(seed) for seed in seeds))
    return TextGrid(title, headers, "ll" + "r" * len(seeds), tuple(rows))


def _document(gap: RowGap) -> dict[str, Any]:
    summary, test, both = gap.paired.summary, gap.test, gap.crossed
    return {
        "first": gap.first.key,
        "second": gap.second.key,
        "column": gap.column,
        "metric": gap.first.metric_id(gap.column),
        "seeds": list(gap.paired.seeds),
        "gap": summary.mean,
        "std": summary.std,
        "interval": list(gap.interval) if gap.interval else None,
        "t": test.t if test else None,
        "p": test.p if test else None,
        "p_holm": gap.p_holm,
        "seeds_failed": gap.failed,
        "seeds_not_learned": gap.collapsed,
        "correlation": gap.paired.correlation,
        "effect": gap.paired.effect,
        "error_seeds": both.error_seeds if both else None,
        "error_clips": both.error_clips if both else None,
        "interval_clips": list(both.interval) if both and both.interval else None,
        "mcnemar": {
            str(seed): {"only_first": one.only_a, "only_second": one.only_b, "p": one.p}
            for seed, one in gap.mcnemar.items()
        },
    }
