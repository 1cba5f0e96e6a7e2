"""What a table was asked to be: which runs make up which row. Written by `dmd reproduce`, read by `dmd report`.

`<runs>/plans/<table>--<data tag>.json`. The plan is how a report knows that 3 of 5 seeds are there, which of them were
planned first, and by which margin and at which numbers of runs words are read.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from dmd_repro.disk import parse_json, sentences, write_atomic
from dmd_repro.errors import RunError, Unreadable
from dmd_repro.records.lease import Lease
from dmd_repro.stats.verdict import MARGIN

PLAN_VERSION = 1
PATIENCE = 10.0  # seconds a command waits for another that writes the same plan
_RUN = re.compile(r"[0-9a-f]{12}")  # a name of a folder below the runs, and nothing that could lead out of it


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """One row of a table: the runs that measure it by seed, or the reason why there are none."""

    status: Literal["planned", "skipped"]
    reason: str | None = None  # of a skipped row
    features: Mapping[str, Any] | None = None  # name, text, aligned, digest, standing, label
    runs: Mapping[int, str] = field(default_factory=dict)  # seed -> run id
    notes: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)  # settings changed by --set: not the printed row's
    order: tuple[int, ...] = ()  # seeds as first planned, where that is not the order of `runs`; set by save_plan

    @property
    def in_order(self) -> tuple[int, ...]:
        """Every seed ever planned for the row and begun, in the order of planning: the first n make a stage."""
        return (*self.order, *(seed for seed in self.runs if seed not in self.order))

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain JSON values."""
        if self.status == "skipped":
            return {"status": "skipped", "reason": self.reason}
        return {
            "status": "planned",
            "features": dict(self.features or {}),
            "runs": {str(seed): run for seed, run in self.runs.items()},
            "notes": list(self.notes),
            "overrides": dict(self.overrides),
            "order": list(self.in_order),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PlannedRow:
        """Rebuild a row; KeyError, TypeError or ValueError if it is none."""
        if data["status"] == "skipped":
            return cls(status="skipped", reason=str(data["reason"]))
        features, runs, notes = dict(data["features"]), dict(data["runs"]), list(data.get("notes", ()))
        texts = [features.get(name, "") for name in ("name", "dataset", "text", "digest", "standing", "label")]
        if (
            not all(isinstance(text, str) for text in [*texts, *notes])
            or type(features.get("aligned", True)) is not bool
        ):
            raise ValueError("features or notes of another kind")
        if odd := [run for run in runs.values() if not (isinstance(run, str) and _RUN.fullmatch(run))]:
            raise ValueError(f"{odd[0]!r} for the id of a run")
        order = tuple(int(seed) for seed in data.get("order", ()))
        by_seed = {int(seed): run for seed, run in runs.items()}
        return cls(
            status="planned",
            features=features,
            runs=by_seed,
            notes=tuple(notes),
            overrides=dict(data.get("overrides", {})),
            order=() if order == tuple(by_seed) else order,
        )


@dataclass(frozen=True, slots=True)
class TablePlan:
    """A table, the data it was asked on ((): what its rows name), the seeds, and the rows by key."""

    table: str
    data: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: Mapping[str, PlannedRow]
    created: str = ""  # UTC, ISO 8601; set by save_plan
    serial: int = 0  # counts the plans of a folder; set by save_plan, and right where the clock was not
    sealed: bool = True  # whether the file told that nothing was changed since it was written
    margin: float = MARGIN  # points: the words follow it, and no other
    one_look: int | None = None  # the one number of runs at which its words are read; None: at the usual stages

    @property
    def tag(self) -> str:
        """The part of the file name that tells plans of one table apart."""
        return data_tag(self.data)

    @property
    def run_ids(self) -> tuple[str, ...]:
        """Every run of the plan once, in the order of the rows."""
        return tuple(dict.fromkeys(run for row in self.rows.values() for run in row.runs.values()))


def data_tag(data: Iterable[str]) -> str:
    """Return the file-name form of `--data`: the sorted names joined by +, `recipes` when each row takes its own."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", "+".join(sorted(data))) or "recipes"


def file_stem(table: str) -> str:
    """Return the part of a plan's file name that tells its table: a further paper's `NAME/table` is `NAME.table`."""
    return table.replace("/", ".")


def plans_dir(runs_dir: Path) -> Path:
    """Return the folder of plans in a folder of runs."""
    return runs_dir / "plans"


def save_plan(runs_dir: Path, plan: TablePlan) -> Path:
    """Write a plan in one step, stamped with the time, and add it to the one on the same data.

    A row keeps the seeds of the earlier plan whose runs have begun, if it is the same configuration: commands that ask
    for different seeds of one table add to it. Raises RunError if the folder cannot be written.
    """
    folder = plans_dir(runs_dir)
    path = folder / f"{file_stem(plan.table)}--{plan.tag}.json"
    with sentences(path, "a file that can be written", RunError, "--runs-dir"):
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            rows = _added(runs_dir, path, plan)
            seeds = dict.fromkeys([*plan.seeds, *(seed for row in rows.values() for seed in row.runs)])
            document = {
                "version": PLAN_VERSION,
                "table": plan.table,
                "data": list(plan.data),
                "seeds": list(seeds),
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "serial": 1 + max((p.serial for p in _others(folder)), default=0),
                "margin": plan.margin,
                "one_look": plan.one_look,
                "rows": {key: row.to_json() for key, row in rows.items()},
            }
            document["seal"] = _seal(document)
            write_atomic(path, json.dumps(document, indent=1))
    return path


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other commands from writing a plan while one is added to."""
    lease = Lease(path.with_suffix(".writer"))
    until = time.monotonic() + PATIENCE
    while not lease.take() and time.monotonic() < until:
        time.sleep(0.02)
    try:
        yield
    finally:
        lease.free()


def _added(runs_dir: Path, path: Path, plan: TablePlan) -> dict[str, PlannedRow]:
    """Return the rows with what the earlier plan on the same data had begun, in the order of planning.

    A later plan may not choose which seeds come first, nor leave out one that was begun.
    """
    earlier: Mapping[str, PlannedRow] = {}
    if path.exists():
        with suppress(RunError):
            earlier = _read(path).rows
    rows = {}
    for key, row in plan.rows.items():
        before = earlier.get(key)
        if before is not None and row.status == before.status == "planned" and _same(before, row):
            begun = [seed for seed in before.in_order if seed in row.runs or _begun(runs_dir, before.runs.get(seed))]
            kept = {seed: before.runs[seed] for seed in begun if seed in before.runs}
            row = replace(row, order=tuple(begun), runs={**row.runs, **kept})
        rows[key] = row
    return rows


def _same(before: PlannedRow, row: PlannedRow) -> bool:
    """Whether two plans of a row are of one configuration, as far as its data, settings and common seeds tell."""
    shared = set(before.runs) & set(row.runs)
    digests = [(one.features or {}).get("digest") for one in (before, row)]
    same = digests[0] == digests[1] and dict(before.overrides) == dict(row.overrides)
    return same and all(before.runs[seed] == row.runs[seed] for seed in shared)


def _begun(runs_dir: Path, run: str | None) -> bool:
    # a seed that an earlier plan left out has no run here: it was begun then, which is why it is still in the order
    return run is None or any((runs_dir / f"{run}{ending}").exists() for ending in ("", ".tmp", ".failed"))


def load_plan(runs_dir: Path, table: str, data: Iterable[str] | str | None = None) -> TablePlan | None:
    """Return the plan of a table on some data, or the most recent one when `data` is None; None if there is none.

    Raises RunError if the file is not a plan.
    """
    if data is not None:
        path = plans_dir(runs_dir) / f"{file_stem(table)}--{data_tag([data] if isinstance(data, str) else data)}.json"
        return _read(path) if path.exists() else None
    folder = plans_dir(runs_dir)
    plans = [_read(path) for path in sorted(folder.glob(f"{file_stem(table)}--*.json"))] if folder.is_dir() else []
    return max(plans, key=lambda plan: (plan.serial, plan.created), default=None)


def list_plans(runs_dir: Path, only: Path | None = None) -> list[TablePlan]:
    """Return every plan, the most recent first, or the one in a file (RunError if that is not a plan).

    A damaged one is left out: it must not stand in the way of other tables. Its own table's report and
    `dmd runs verify` name it.
    """
    plans = [_read(only)] if only else list(_others(plans_dir(runs_dir)))
    return sorted(plans, key=lambda plan: (plan.serial, plan.created), reverse=True)


def _others(folder: Path) -> Iterator[TablePlan]:
    for path in sorted(folder.glob("*--*.json")):
        with suppress(RunError):  # a damaged one must not stand in the way of the others
            yield _read(path)


def _seal(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unreadable.at(
            str(path), expected="a plan that can be read", got=f"'{error.strerror or type(error).__name__}'",
            do="Check its permissions and its disk, then run the same command again",
        ) from error  # fmt: skip


def _margin(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValueError(f"{value!r} for the margin")
    return float(value)


def _one_look(value: Any) -> int | None:
    if value is not None and (type(value) is not int or value < 2):
        raise ValueError(f"{value!r} for the runs of its one look")
    return value


def _read(path: Path) -> TablePlan:
    try:
        document = parse_json(_text(path))
        if document["version"] != PLAN_VERSION:
            raise ValueError(f"version {document['version']}")
        seal = document.pop("seal", None)  # plans of before the seal have none
        if seal is not None and seal != _seal(document):
            raise ValueError("content that was changed after it was written")
        return TablePlan(
            table=str(document["table"]),
            data=tuple(map(str, document["data"])),
            seeds=tuple(int(seed) for seed in document["seeds"]),
            rows={key: PlannedRow.from_json(row) for key, row in document["rows"].items()},
            created=str(document["created"]),
            serial=int(document.get("serial", 0)),
            sealed=seal is not None,
            margin=_margin(document.get("margin", MARGIN)),
            one_look=_one_look(document.get("one_look")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError.at(
            str(path), expected="a plan of this version", got=f"'{error}'", do="Delete it and plan the table again"
        ) from error
