"""Others' runs beside a printed row: a reading where they measure the same thing, else a line that says why not.

A reading needs the row's data set, setting, text and convention, and a value per seed of two runs or more. It says what
others measured with the code they ran; it is no verdict on the row, and our own runs never enter it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dmd_repro.datasets import dataset_title
from dmd_repro.metrics.registry import COLUMNS, METRICS, one_a_column, shown_in
from dmd_repro.papers.rerun import Rerun, same_system
from dmd_repro.papers.tables import PublishedTable, Row
from dmd_repro.results.chances import WORDS as SHOWN_WORDS
from dmd_repro.results.chances import chances_of
from dmd_repro.results.chances import shown as few
from dmd_repro.results.chances import to_json as chances_json
from dmd_repro.results.runs import TEXT_WORDS
from dmd_repro.stats.chances import Chance
from dmd_repro.stats.summary import mean_and_std, summarise

FEWEST = 2  # runs of a reading: one has no spread


@dataclass(frozen=True, slots=True)
class Reading:
    """One re-run beside one printed number, in the unit it is printed in."""

    key: str
    by: str
    code: str
    protocol: str
    source: str
    values: Mapping[int, float]  # by seed
    mean: float
    std: float  # sample STD, divisor n - 1
    reach: int  # runs that print the number or more
    chances: tuple[Chance, ...] = ()  # that their method prints the number or better, or worse, by what it may be

    @property
    def n(self) -> int:
        """Runs."""
        return len(self.values)

    @property
    def best(self) -> float:
        """The highest value of this measure over the seeds."""
        return max(self.values.values())

    def to_json(self) -> dict[str, Any]:
        """Return the reading as plain JSON values."""
        return {
            "key": self.key, "by": self.by, "code": self.code, "protocol": self.protocol, "source": self.source,
            "values": {str(seed): value for seed, value in self.values.items()},
            "n": self.n, "mean": self.mean, "std": self.std, "best": self.best, "reach": self.reach,
            "chances": chances_json(self.chances),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class NotComparable:
    """A re-run of a system of the table that may stand beside none of its rows, and why."""

    rerun: Rerun
    why: str

    @property
    def line(self) -> str:
        """The re-run in one line: who ran what on what, ACC2 if it is there, and the reason."""
        rerun = self.rerun
        return f"{title(rerun)}: {shown(rerun)}. {self.why[:1].upper()}{self.why[1:]}."

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        rerun = self.rerun
        return {
            "key": rerun.key, "system": rerun.system, "dataset": rerun.dataset, "setting": rerun.setting,
            "text": rerun.text, "code": rerun.code, "by": rerun.by, "source": rerun.source,
            "protocol": rerun.protocol, "note": rerun.note, "n": rerun.n,
            "values": {m: {str(seed): v for seed, v in by.items()} for m, by in rerun.values.items()},
            "means": dict(rerun.means), "stds": dict(rerun.stds), "why": self.why,
        }  # fmt: skip


def title(rerun: Rerun) -> str:
    """Return what was run on what."""
    return f"{rerun.system}, {dataset_title(rerun.dataset)}, {rerun.setting}, {TEXT_WORDS[rerun.text]}"


def shown(rerun: Rerun, metric: str = "acc2_non0") -> str:
    """Return one measure of a re-run, how many runs, by whom, with which code, and what is to be known of it."""
    n = "an unstated number of runs" if rerun.n is None else "1 run" if rerun.n == 1 else f"{rerun.n} runs"
    found = list(rerun.values.get(metric, {}).values())
    name = COLUMNS[metric.partition("_")[0]]
    value, std = rerun.means.get(metric), rerun.stds.get(metric)
    if len(found) > 1:
        value, std = mean_and_std(found)
    elif found:
        value = found[0]
    parts = [] if value is None else [f"{name} {value:.2f}{'' if std is None else f' ± {std:.2f}'}"]
    text = ", ".join([*parts, n]) + f" ({rerun.by}: {rerun.code})"
    if len(rerun.curve) > 1:
        most = max(epoch["test_acc2"] for epoch in rerun.curve)
        text += f"; {name} on test at the best of its {len(rerun.curve)} epochs: {100 * most:.2f}"
    return text + (f"; {rerun.note}" if rerun.note else "")


def readings_of(row: Row, reruns: Sequence[Rerun]) -> dict[str, tuple[Reading, ...]]:
    """Return, by column, the readings of a row; columns without any are left out."""
    out: dict[str, tuple[Reading, ...]] = {}
    for column, printed in row.cells.items():
        found = []
        for rerun in reruns:
            values = rerun.values.get(row.metric_id(column), {})
            if why_not(row, rerun) is None and len(values) >= FEWEST and _counted_alike(row, column):
                mean, std = mean_and_std(list(values.values()))
                least = float(printed.value) - 0.5 * 10.0**-printed.decimals  # what still prints as the number
                reach = sum(value >= least - 1e-9 for value in values.values())
                told = chances_of(row.metric_id(column), printed, summarise(list(values.values())))
                found.append(
                    Reading(
                        rerun.key, rerun.by, rerun.code, rerun.protocol, rerun.source, dict(values), mean, std, reach,
                        told,
                    )
                )  # fmt: skip
        if found:
            out[column] = tuple(found)
    return out


def _counted_alike(row: Row, column: str) -> bool:
    """Whether the row's convention of a column is known, so that a re-run can count as it does."""
    if column == "acc2":
        return row.convention != "unknown"
    return column != "f1" or (row.convention != "unknown" and row.f1_order != "unknown")


def why_not(row: Row, rerun: Rerun) -> str | None:
    """Say why a re-run may not be read beside a row of its own system, None if it may."""
    if not same_system(row.method, rerun.system) or row.derived is not None:
        return f"it is {rerun.system}"
    if row.dataset != rerun.dataset:
        return f"run on {dataset_title(rerun.dataset)}, printed for {dataset_title(row.dataset)}"
    gaps = []
    if row.setting != rerun.setting:
        gaps.append(f"run {rerun.setting}, printed {row.setting}")
    if row.text != rerun.text:
        gaps.append(f"run with {TEXT_WORDS[rerun.text]}, printed for {TEXT_WORDS[row.text]}")
    if gaps:
        return " and ".join(gaps)
    if rerun.n is None:
        return "how many runs it stands for is not stated"
    if rerun.n < FEWEST:
        return "one run: a value, no reading"
    if not rerun.values:
        return "a mean alone: no value per seed is at hand"
    if row.convention == "unknown":
        return "the row does not say how it counts"
    if not any(row.metric_id(column) in rerun.values for column in row.cells):
        return "none of its measures is the row's"
    return None


def not_comparable(table: PublishedTable, reruns: Sequence[Rerun]) -> tuple[NotComparable, ...]:
    """Return the re-runs of the table's systems that stand beside no row, each with the nearest row's reason."""
    out = []
    for rerun in reruns:
        rows = [r for r in table.rows if same_system(r.method, rerun.system) and r.dataset == rerun.dataset]
        whys = [why_not(row, rerun) for row in rows]
        if rows and None not in whys:
            nearest = min(rows, key=lambda r: (r.setting != rerun.setting) + 2 * (r.text != rerun.text))
            out.append(NotComparable(rerun, why_not(nearest, rerun) or ""))
    return tuple(out)


@dataclass(frozen=True, slots=True)
class Place:
    """A re-run and where it stands among all printed tables."""

    rerun: Rerun
    beside: tuple[str, ...]  # "table1 mosi-aligned-bert-dmd"
    why: str | None  # why it stands beside no row

    @property
    def line(self) -> str:
        """The re-run in one line."""
        if self.beside:
            return f"{title(self.rerun)}: {shown(self.rerun)}. Beside {', '.join(self.beside)}."
        return NotComparable(self.rerun, self.why or "").line

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {**NotComparable(self.rerun, self.why or "").to_json(), "beside": list(self.beside), "why": self.why}


def places(reruns: Sequence[Rerun], tables: Sequence[PublishedTable]) -> list[Place]:
    """Say of every re-run which printed rows it can be read beside, or why none."""
    out = []
    for rerun in reruns:
        rows = [(table.name, row) for table in tables for row in table.rows]
        beside = tuple(f"{name} {row.key}" for name, row in rows if why_not(row, rerun) is None)
        why = None
        if not beside:
            near = [found.why for table in tables for found in not_comparable(table, [rerun])]
            named = any(same_system(row.method, rerun.system) for _, row in rows)
            where = f" on {dataset_title(rerun.dataset)}" if named else ""
            why = min(near, key=len) if near else f"the paper prints no row of {rerun.system}{where}"
            why += "" if named else _meant(rerun.system, {row.method for _, row in rows})
        out.append(Place(rerun, beside, why))
    return out


def _meant(system: str, methods: Iterable[str]) -> str:
    """Return the printed name that a system's may be a slip of, in brackets; "" where none is near."""
    low = {method.lower(): method for method in methods}
    close = difflib.get_close_matches(system.lower().strip("* "), low, n=1, cutoff=0.7)
    return f" (did you mean '{low[close[0]]}'?)" if close else ""


def answers(table: PublishedTable, reruns: Sequence[Rerun]) -> tuple[str, ...]:
    """Return what others' runs say of each row they can be read beside: one sentence a row and re-run."""
    out = []
    for row in table.rows:
        found = readings_of(row, reruns)
        keys = dict.fromkeys(reading.key for readings in found.values() for reading in readings)
        for key in keys:
            mine = {c: next((r for r in readings if r.key == key), None) for c, readings in found.items()}
            out.append(_answer(row, {c: r for c, r in mine.items() if r is not None}))
    return tuple(out)


def _answer(row: Row, mine: Mapping[str, Reading]) -> str:
    columns = [METRICS[name].column or name for name in one_a_column(shown_in("comparison"))]
    columns = sorted((c for c in columns if c in mine), key=lambda c: c == "f1")  # F1 repeats what ACC2 says
    first = mine[columns[0]]
    parts = []
    for column in columns[:2]:
        reading, printed = mine[column], row.cells[column]
        reached = "none reaches it" if not reading.reach else f"{reading.reach} of {reading.n} reach it"
        parts.append(
            f"{COLUMNS[column]} printed {printed.text}, re-run {reading.mean:.2f} ± {reading.std:.2f}, "
            f"best {reading.best:.2f} ({reached})"
        )
    where = f"{dataset_title(row.dataset)}, {row.setting}"
    text = f"{row.label} on {where}: {'; '.join(parts)}. Re-run by {first.by}: {first.code}, {first.n} seeds."
    said = [f"{_percent(one.value)} as {SHOWN_WORDS[one.hypothesis, one.k]}" for one in few(first.chances)]
    if said:
        column = columns[0]
        reached = "more" if METRICS[row.metric_id(column)].higher_is_better else "less"
        text += f" {COLUMNS[column]} {row.cells[column].text} or {reached} has a chance there of {', '.join(said)}."
    return text


def _percent(chance: float) -> str:
    return "under 1 %" if chance < 0.01 else f"{100 * chance:.0f} %"
