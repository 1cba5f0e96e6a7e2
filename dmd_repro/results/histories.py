"""The histories of recorded runs, a line an epoch, one configuration together: what curves are drawn from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dmd_repro.errors import ClaimError, DmdError, RunError, nearest
from dmd_repro.papers.folders import all_table_names
from dmd_repro.papers.tables import load_table
from dmd_repro.records.folder import Records, RunRecord
from dmd_repro.results.scores import mark_of
from dmd_repro.results.settings import preset
from dmd_repro.results.tables import plans_of
from dmd_repro.systems.registry import full_name

LARGEST = 1e100  # of a loss or a measure; differences of larger ones leave what a float holds


@dataclass(frozen=True, slots=True)
class Histories:
    """The runs of one configuration: by seed, the lines of its history and the selected epoch."""

    name: str  # the row of a table, or the configuration
    title: str
    record: RunRecord  # one of them
    lines: Mapping[int, Sequence[Mapping[str, Any]]]
    selected: Mapping[int, int]  # epoch, from 1 on

    @property
    def mark(self) -> str | None:
        """SYNTHETIC DATA or PARTIAL DATA."""
        return mark_of([self.record.data["standing"]])

    @property
    def longest(self) -> int:
        """Epochs of the longest run."""
        return max(map(len, self.lines.values()))

    def names(self, part: str) -> list[str]:
        """Return what the lines note of a part (train, valid, test), in the order of its first use."""
        parts = (line.get(part) for lines in self.lines.values() for line in lines)
        return list(dict.fromkeys(name for found in parts if isinstance(found, dict) for name in found))


def noted(line: Mapping[str, Any], name: str, part: str = "") -> float | None:
    """Return a number of a line of a history, of one of its parts or beside them; None where there is none.

    A record of others may hold anything under a name: what is no number is none, what no loss can be is infinite.
    """
    inside = line.get(part) if part else line
    value = inside.get(name) if isinstance(inside, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if not abs(value) > LARGEST else math.inf if value > 0 else -math.inf


def reader(part: str, name: str, scale: float = 1.0) -> Callable[[Mapping[str, Any]], float | None]:
    """Return what reads a number of a part from a line of a history, times a scale, as `noted`."""

    def read(line: Mapping[str, Any]) -> float | None:
        value = noted(line, name, part)
        return None if value is None else value * scale

    return read


def why_none(records: Records) -> str:
    """Return `none`, with how many records are there and do not count, by status."""
    found: dict[str, int] = {}
    for name in records.run_ids():
        status = records.look(name)[0]
        if status != "done":
            found[status] = found.get(status, 0) + 1
    said = ", ".join(f"{n} {status}" for status, n in sorted(found.items()))
    return f"none (not counted: {said}; 'dmd runs list' says why)" if said else "none"


def histories(records: Records, asked: str | None, data: Sequence[str] | None = None) -> list[Histories]:
    """Return the histories of a table's measured rows, of one run, or (asked: None) of every finished configuration.

    Raises RunError where there is none, ClaimError for a name that is neither a table nor a run.
    """
    if asked is None:
        return _by_configuration(records, data or ())
    if _is_run(records, asked):
        name = records.find(asked)
        record = records.get(name)
        if record is None:
            raise RunError.at(
                f"run {name}", expected="a finished run", got=f"one that is {records.status(name)}",
                do="See dmd runs list",
            )  # fmt: skip
        return [_of(name, f"run {name}", [record])]
    if asked not in (known := all_table_names()):
        do = nearest(asked, [*known, *records.run_ids()])
        raise ClaimError.at(f"'{asked}'", expected="a table or a run", got="neither", do=do)
    table, found = load_table(asked), []
    plan = plans_of(records.root, [asked], data)[asked]
    for row in table.rows:
        planned = plan.rows.get(row.key) if plan else None
        if row.derived or planned is None or (row.recipe and row.recipe.head):
            continue
        there = [record for run in planned.runs.values() if (record := _readable(records, run)) is not None]
        if there:
            title = f"{asked}, {row.label} on {row.dataset.upper()} {row.setting}"
            found.append(_of(row.key, title, there))
    if not found:
        raise RunError.at(
            asked, expected=f"finished runs of its rows in {records.root}", got=why_none(records),
            do=f"Train it: dmd reproduce {asked}{''.join(f' --data {name}' for name in data or ())}",
        )  # fmt: skip
    return found


def _is_run(records: Records, asked: str) -> bool:
    wanted = asked.rstrip("/").rpartition("/")[2]
    return len(wanted) > 3 and any(name.startswith(wanted) for name in records.run_ids())


def _readable(records: Records, run: str) -> RunRecord | None:
    record = records.whole(run)
    try:
        return record if record is not None and record.history() else None
    except DmdError:
        return None


def _by_configuration(records: Records, data: Sequence[str]) -> list[Histories]:
    groups: dict[str, list[RunRecord]] = {}
    known: set[str] = set()
    for name in records.run_ids():
        record = _readable(records, name)
        if record is not None:
            known.add(str(record.data["name"]))
            if not data or any(named(str(record.data["name"]), one) for one in data):
                groups.setdefault(record.configuration_id, []).append(record)
    if not groups:
        do = nearest(data[0], known) if data and known else "Train one: dmd train dmd --data synthetic"
        where = f"--data {' '.join(data)}" if data else str(records.root)
        raise RunError.at(where, expected="finished runs with a history", got=why_none(records), do=do)
    found = [_of(key, "", records_of) for key, records_of in groups.items()]
    return sorted(found, key=lambda h: (str(h.record.data["label"]), len(h.record.spec.mask.off), h.title))


def named(held: str, asked: str) -> bool:
    """Whether a feature set is the one asked for; `synthetic` is any synthetic one."""
    return held == asked or (asked == "synthetic" and held.startswith("synthetic-"))


def settings_changed(record: RunRecord) -> dict[str, Any]:
    """Return the settings of a run that are not its preset's, with their values; {} where the preset is unknown."""
    spec = record.spec
    usual = preset(spec.model, spec.dataset, aligned=bool(record.data["aligned"]), protocol=spec.protocol)
    values = usual.to_dict() if usual else dict(spec.config)
    return {k: v for k, v in sorted(spec.config.items()) if k != "bert" and values.get(k, v) != v}


def _of(name: str, title: str, found: Iterable[RunRecord]) -> Histories:
    runs = sorted(found, key=lambda record: record.spec.seed)
    first = runs[0]
    whose = f"{full_name(first.spec.model, first.spec.config)} ({first.spec.mask.label}, {first.spec.protocol})"
    whose += "".join(f", {k}={v}" for k, v in settings_changed(first).items())
    lines = {record.spec.seed: record.history() for record in runs}
    selected = {r.spec.seed: int(r.provenance.get("best_epoch") or len(lines[r.spec.seed])) for r in runs}
    return Histories(name, f"{title}: {whose}" if title else whose, first, lines, selected)
