"""What a plan seals before its first run, and a log of how often its words were looked at.

The margin, and one number of runs instead of the usual stages, may be named only while nothing of the plan has begun.
The log, `<runs>/plans/<table>--<data tag>.looks`, has one JSON line a look; it never changes a word: the stages do not
need it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from dmd_repro.disk import parse_json, write_atomic
from dmd_repro.errors import SpecError
from dmd_repro.planning.plans import TablePlan, data_tag, file_stem, plans_dir
from dmd_repro.records.folder import Records
from dmd_repro.stats.verdict import FEWEST, MARGIN


def sealed(
    plan: TablePlan, earlier: TablePlan | None, begun: int, *, margin: float | None = None, one_look: bool = False
) -> TablePlan:
    """Return a plan with its margin and its looks: what was asked for, else what the earlier plan sealed.

    `begun`: how many of its runs, or of the earlier plan's, have begun. Raises SpecError where another margin or looks
    are asked for after that.
    """
    before = (earlier.margin, earlier.one_look) if earlier else (MARGIN, None)
    n = len(plan.seeds) if one_look else before[1]
    after = (before[0] if margin is None else margin, n)
    if begun and after != before:
        option = f"--margin {margin:g}" if margin is not None and margin != before[0] else "--one-look"
        looks = "the usual stages" if before[1] is None else f"one look at {before[1]} runs"
        raise SpecError.at(
            option, expected="a plan of which no run has begun",
            got=f"{begun} that {'has' if begun == 1 else 'have'}",
            do=f"Leave it out: the plan keeps a margin of {before[0]:g} and {looks}; "
            "dmd report --margin shows the intervals under another",
        )  # fmt: skip
    if one_look and n is not None and n < FEWEST:
        raise SpecError.at("--one-look", expected=f"{FEWEST} seeds or more", got=str(n), do="Plan more seeds")
    return replace(plan, margin=after[0], one_look=after[1])


def begun_runs(records: Records, plan: TablePlan, earlier: TablePlan | None) -> int:
    """Return how many runs of a plan or of the earlier one have begun; one that was looked at and then removed has."""
    looked = {str(run) for look in read_looks(records.root, plan.table, plan.data) for run in _runs(look)}
    named = {*plan.run_ids, *(earlier.run_ids if earlier else ())}
    return len(looked | {run for run in named if records.status(run) != "missing"})


def _runs(look: Mapping[str, object]) -> list[object]:
    runs = look["runs"]
    return runs if isinstance(runs, list) else []


def read_looks(runs_dir: Path, table: str, data: Sequence[str]) -> list[dict[str, object]]:
    """Return the looks noted so far, oldest first; a damaged line is passed over, for a log must not stop a report."""
    path = plans_dir(runs_dir) / f"{file_stem(table)}--{data_tag(data)}.looks"
    found: list[dict[str, object]] = []
    with suppress(OSError, UnicodeDecodeError):
        for line in path.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                entry = parse_json(line)
                if isinstance(entry, dict) and isinstance(entry.get("runs"), list) and isinstance(entry.get("n"), str):
                    found.append(entry)
    return found


def note_look(runs_dir: Path, table: str, data: Sequence[str], runs: Sequence[str], n: str) -> tuple[str, ...]:
    """Note that verdicts on these runs are being printed, once per set of runs; return every look's `n`, this last.

    A folder that cannot be written is no reason to refuse a report: the looks are then counted from what is there.
    """
    looks, now = read_looks(runs_dir, table, data), sorted(runs)
    if all(look["runs"] != now for look in looks):
        entry: dict[str, object] = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "n": n, "runs": now}
        looks.append(entry)
        path = plans_dir(runs_dir) / f"{file_stem(table)}--{data_tag(data)}.looks"
        with suppress(OSError):
            write_atomic(path, "".join(json.dumps(look) + "\n" for look in looks))
    return tuple(str(look["n"]) for look in looks)
