"""The page of what was run: data, executions, and every record with its numbers on test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dmd_repro.metrics.registry import METRICS
from dmd_repro.render.duration import duration
from dmd_repro.render.study.curves import table_file
from dmd_repro.render.study.frame import Page, to
from dmd_repro.render.study.gather import MEASURES, StudiedRun, Study
from dmd_repro.render.study.markup import Cell, Markup, cells, html, slug, table
from dmd_repro.render.study.rows import RUNS, row_anchor, word
from dmd_repro.results.executions import NO_MATTER
from dmd_repro.results.sheet import NONE

RUN_HEADS = ("run", "state", "what", "data", "seed", "epochs", "selected", *(METRICS[m].heading for m in MEASURES),
             "time", "made", "by", "stands in")  # fmt: skip


def known_runs(study: Study) -> dict[str, str]:
    """Return the anchor of each run on the page of runs."""
    return {run.run_id: slug("run", run.run_id) for run in study.runs}


def runs_page(study: Study) -> Page:
    """Return the page; without any record it says so."""
    if not study.runs:
        said = "No run is recorded in this folder: what the study shows are printed numbers and re-runs by others."
        return Page(RUNS, "What was run", "What was run", [Markup(f"<p>{html(said)}</p>")])
    numbers = execution_numbers(study.runs)
    body = [Markup(f"<p>{html(in_short(study))}</p>"), Markup("<h2>Data</h2>"), _data(study.runs)]
    body += [Markup("<h2>Executions</h2>"), _executions(study.runs, numbers)]
    body += [Markup("<h2>Runs</h2>"), _runs(study, numbers)]
    marks = {_mark(run) for run in study.runs}
    return Page(RUNS, "What was run", "What was run", body, marks.pop() if len(marks) == 1 else None, wide=True)


def _mark(run: StudiedRun) -> str | None:
    return {"synthetic": "SYNTHETIC DATA", "partial": "PARTIAL DATA"}.get(str(run.facts["standing"]))


def in_short(study: Study) -> str:
    """Return what was run in two sentences: how many, on what, by what, when, and how long it took."""
    done = [run for run in study.runs if run.status == "done"]
    states = {run.status: sum(other.status == run.status for other in study.runs) for run in study.runs}
    said = ", ".join(f"{n} {state}" for state, n in sorted(states.items()))
    sets = len({run.facts["digest"] for run in study.runs if run.facts["digest"]})
    devices = sorted({str(run.facts["device"]) for run in done if run.facts["device"]})
    made = sorted(str(run.facts["created"]) for run in done if run.facts["created"])
    n = len(study.runs)
    text = f"{n} finished run{_s(n)}" if len(done) == n else f"{n} recorded run{_s(n)} ({said})"
    text += f" on {sets} feature set{_s(sets)}"
    text += f", computed on {', '.join(devices)}." if devices else "."
    if made:
        total = sum(float(run.facts["seconds"] or 0) for run in done)
        when = f"on {made[0][:10]}" if made[0][:10] == made[-1][:10] else f"from {made[0][:10]} to {made[-1][:10]}"
        text += f" Made {when} (UTC); {duration(total)} of training in all."
    return text


def _s(n: int) -> str:
    return "" if n == 1 else "s"


def _data(runs: Sequence[StudiedRun]) -> Markup:
    sets: dict[str, list[StudiedRun]] = {}
    for run in runs:
        if run.facts["digest"]:
            sets.setdefault(str(run.facts["digest"]), []).append(run)
    rows = []
    for digest, found in sets.items():
        facts, sizes = found[0].facts, next((run.sizes for run in found if run.sizes), {})
        clips = ", ".join(f"{split} {n}" for split, n in sizes.items()) or NONE
        aligned = "aligned" if facts["aligned"] else "unaligned"
        texts = [facts["data"], facts["dataset"], f"{facts['text']}, {aligned}", facts["standing"], clips, digest]
        rows.append([*cells(map(str, texts)), Cell(str(len(found)), len(found))])
    heads = ("data", "data set", "features", "standing", "clips", "digest of the content (sha256)", "runs")
    return table("Feature sets the runs were trained on", heads, "llllllr", rows)


def execution_numbers(runs: Sequence[StudiedRun]) -> dict[str, int]:
    """Return a number for each way the runs were computed, from 1 on, by `how`."""
    return {key: i for i, key in enumerate(dict.fromkeys(how(run) for run in runs if run.provenance), start=1)}


def how(run: StudiedRun) -> str:
    """Return how a run was computed, as JSON: device, threads, versions, host; not when, nor with which other seeds."""
    where = run.provenance
    execution = {k: v for k, v in (where.get("execution") or {}).items() if k not in NO_MATTER}
    kept = ("version", "commit", "dirty", "packages", "python", "platform", "host")
    return json.dumps({**{name: where.get(name) for name in kept}, "execution": execution}, sort_keys=True, default=str)


def _executions(runs: Sequence[StudiedRun], numbers: Mapping[str, int]) -> Markup:
    rows = []
    for key, number in numbers.items():
        said: dict[str, Any] = json.loads(key)
        n = sum(how(run) == key for run in runs if run.provenance)
        commit = str(said["commit"] or NONE)[:12] + (" + changes" if said["dirty"] else "")
        execution = said["execution"]
        device = str(execution.pop("device", NONE))
        more = ", ".join(f"{name} {value}" for name, value in execution.items())
        packages = ", ".join(f"{name} {version}" for name, version in (said["packages"] or {}).items())
        texts = [device, more or NONE, said["version"] or NONE, commit, packages or NONE, said["python"] or NONE]
        texts += [said["platform"] or NONE, said["host"] or NONE]
        named = Cell(Markup(f'<span id="by-{number}">{number}</span>'), number)
        rows.append([named, *cells(map(str, texts)), Cell(str(n), n)])
    heads = ("by", "device", "how", "dmd", "commit", "packages", "Python", "platform", "host", "runs")
    return table("Ways the runs were computed", heads, "lllllllllr", rows, long=(2, 5, 7))


def _runs(study: Study, numbers: Mapping[str, int]) -> Markup:
    rows = []
    for run in study.runs:
        facts = run.facts
        number = numbers.get(how(run)) if run.provenance else None
        state = Cell(word(run.learned or run.status))
        made = str(facts["created"] or NONE)[:16].replace("T", " ")
        line = [Cell(Markup(f'<span id="{slug("run", run.run_id)}">{html(run.run_id)}</span>')), state]
        line += cells([run.what or NONE, str(facts["data"] or NONE)])
        line += [Cell(NONE if facts[k] is None else str(facts[k]), facts[k]) for k in ("seed", "epochs", "best_epoch")]
        for name in MEASURES:
            value = run.test.get(name)
            shown = NONE if value is None else f"{value:.{METRICS[name].digits}f}".replace("-", "−")
            line.append(Cell(shown, value))
        seconds = facts["seconds"]
        line.append(Cell(NONE if seconds is None else duration(float(seconds)), seconds))
        line += [
            Cell(made),
            Cell(to(RUNS, number, f"by-{number}") if number else NONE, number),
            Cell(_places(study, run)),
        ]
        rows.append(line)
    n = 3 + len(MEASURES)
    caption = f"Every run, by its id: {len(rows)}. Numbers are of the test split at the selected epoch"
    return table(caption, RUN_HEADS, "llll" + "r" * n + "rlll", rows, long=(len(RUN_HEADS) - 1,))


def _places(study: Study, run: StudiedRun) -> str:
    if not run.places:
        return "" if run.status != "done" else "no row of these tables"
    names = [study.name_of(place).partition(" (")[0] for place in run.places]
    links = (to(table_file(p[0]), said, row_anchor(p[1])) for p, said in zip(run.places, names, strict=True))
    return Markup(", ".join(links))
