"""How often a plan's verdicts were looked at with different runs: adding seeds after a look is optional stopping.

`<runs>/plans/<table>--<data tag>.looks`, one JSON line a look. It counts prints of verdicts; it never changes one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from dmd_repro.disk import parse_json, write_atomic
from dmd_repro.planning.plans import data_tag, file_stem, plans_dir


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
