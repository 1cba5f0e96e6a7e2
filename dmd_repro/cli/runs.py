"""`dmd runs`: what is recorded, from what, whether it still agrees with itself, and removing it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dmd_repro.cli import complete
from dmd_repro.cli.ask import Yes, ask_to_remove
from dmd_repro.cli.paths import RunsDir, runs_dir
from dmd_repro.cli.tell import tell
from dmd_repro.visible import one_line

if TYPE_CHECKING:
    from dmd_repro.records.folder import Records
    from dmd_repro.records.run import RunRecord

app = typer.Typer(help="List, show, verify and remove recorded runs.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


WIDE = 140  # columns that a run on one line takes
NOT_LEARNED = "not learned"  # stands in the place of `done`
MANY = 30  # runs: with more of them, the whole ones are not listed one by one


@app.command("list")
def list_runs(runs: RunsDir = None, json_: Json = False) -> None:
    """List every run with its state and, where finished, its test metrics computed from the stored predictions."""
    import json

    records = _records(runs)
    rows = [_facts(row, every=json_) for row in _with_states(records)]
    if json_:
        typer.echo(json.dumps(rows, indent=1))
        return
    if not rows:
        tell(f"no runs in {records.root}")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from dmd_repro.cli.progress import shown
    from dmd_repro.metrics.registry import METRICS, shown_in
    from dmd_repro.render.duration import duration

    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:  # a pipe has no width: fold nothing
        console.width = 200
    narrow = console.width < WIDE and len(rows) <= MANY
    # narrow: the data stand under the model, and what else `dmd runs show` tells gives way to them
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0 if narrow else 1, 0, 0), show_edge=not narrow)
    for name in ("run", "state", "what") if narrow else ("run", "state", "what", "data"):
        table.add_column(name, no_wrap=name in ("run", "state"), overflow="fold")
    metrics_shown = shown_in("line")
    heads = [METRICS[name].heading for name in metrics_shown]
    numbers = ["seed", *heads] if narrow else ["seed", "epochs", "best", *heads, "time"]
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    lines: list[list[str]] = []
    for row in rows:
        metrics = row["test"] or {}
        known = row["model"] is not None
        mark = {"official": "", "synthetic": ""}.get(str(row["standing"]), ", PARTIAL")  # synthetic says so in its name
        follows = "" if row["protocol"] in (None, "official") else f", {row['protocol']}"
        cells = [
            row["run_id"],
            row["learned"] if row["learned"] == NOT_LEARNED else row["status"],
            f"{row['model']} {row['mask']}{follows}" if known else "",
            f"{row['data']} ({row['bert'] or row['text']}{mark})" if known else "",
            *(row[key] for key in ("seed", "epochs", "best_epoch")),
            *(shown(name, metrics.get(name)) for name in metrics_shown),
            "" if row["seconds"] is None else duration(row["seconds"]),
        ]
        cells = ["" if cell is None else one_line(str(cell)) for cell in cells]
        if narrow:
            cells = [*cells[:2], f"{cells[2]}\n{cells[3]}", cells[4], *cells[7:-1]]
        lines.append(cells)
    if len(rows) > MANY and console.width < WIDE:  # the data once, over their runs
        by_data: dict[str, list[list[str]]] = {}
        for cells in lines:
            by_data.setdefault(cells[3], []).append([*cells[:3], cells[4], *cells[7:-1]])
        heads = ["run", "state", "what", "seed", *heads]
        for data, some in by_data.items():
            typer.echo(f"{data}\n{columns(heads, some, right=1 + len(metrics_shown))}\n")
    elif len(rows) > MANY:  # rich takes its time over thousands of lines
        heads = [str(column.header) for column in table.columns]
        typer.echo(columns(heads, lines, right=len(numbers)))
    else:
        for cells in lines:
            table.add_row(*map(Text, cells))
        console.print(table)
    for row in rows:
        if row["problem"]:
            tell(f"{row['run_id']} {row['status']}: {one_line(row['problem'])}")
        elif row["learned"] == NOT_LEARNED:
            tell(f"{row['run_id']} done, but did not learn: {row['why_not_learned']} (validation)")


def _with_states(records: Records) -> Iterator[dict[str, Any]]:
    """Yield every run; `training` and `queued` are states of those that a process or a scheduler is at."""
    from dmd_repro.execution.slurm.status import states
    from dmd_repro.records.folder import SCAN_COLUMNS
    from dmd_repro.records.lock import writer_of

    queued = states(records)
    for row in records.rows():
        state = queued.pop(row["run_id"], "")
        if row["status"] != "done":
            at_work = "training" if writer_of(records.root, row["run_id"]) else ""
            row["status"] = at_work or state or row["status"]
        yield row
    for name, state in queued.items():  # not begun: it has no folder yet
        yield dict.fromkeys(SCAN_COLUMNS) | {"run_id": name, "status": state, "record": None}


def columns(heads: Sequence[str], lines: Sequence[Sequence[str]], *, right: int) -> str:
    """Return lines of cells as text in columns, the last `right` of them flush right."""
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    left = len(heads) - right
    sides = [str.rjust if i >= left else str.ljust for i in range(len(heads))]
    shown = ([side(cell, w) for cell, side, w in zip(line, sides, widths, strict=True)] for line in (heads, *lines))
    return "\n".join("  ".join(cells) for cells in shown)


def _records(option: Any) -> Records:
    """Return the records under `--runs-dir`."""
    from dmd_repro.records.folder import Records

    return Records(runs_dir(option))


def _facts(row: Mapping[str, Any], *, every: bool) -> dict[str, Any]:
    """Return a run's facts with its test metrics: `every` one, or those a line shows."""
    from dmd_repro.cli.progress import scores
    from dmd_repro.errors import DmdError
    from dmd_repro.metrics.registry import shown_in
    from dmd_repro.results.learned import learned

    facts, record = dict(row), row["record"] if row["status"] == "done" else None
    del facts["record"]
    facts |= {"test": None, "learned": None, "why_not_learned": None}
    if record is not None:
        try:
            facts["test"] = scores(record, "test", None if every else shown_in("line"))
            told = learned(record)
            facts |= {"learned": told.outcome, "why_not_learned": told.reason or None}
        except DmdError as error:  # its files went in the meantime
            facts |= {"status": "damaged", "problem": str(error)}
    return facts


@app.command("show")
def show_run(
    run: Annotated[
        str, typer.Argument(autocompletion=complete.runs, help="A run's id, its first digits, or its folder.")
    ],
    runs: RunsDir = None,
    json_: Json = False,
) -> None:
    """Show one run: spec, data, where and how long it ran, its metrics in both conventions; or why it is not done."""
    import json

    from dmd_repro.cli.outcome import metric_lines, result
    from dmd_repro.records.run import RunRecord

    records = _records(runs)
    name = records.find(run)
    status, record, problem = records.look(name)
    if status != "done" or record is None:
        suffix = {"partial": ".tmp", "failed": ".failed"}.get(status, "")
        document: dict[str, Any] = {"run_id": name, "path": str(records.root / f"{name}{suffix}"), "status": status}
        if status in ("damaged", "unreadable"):
            document["problems"] = [problem]
        else:
            found = RunRecord.load(records.root / f"{name}{suffix}")
            document |= _how_far(records, name, found) if status == "partial" else {}
            document |= {"spec": found.spec.to_json(), "data": found.data, "provenance": found.provenance}
        document["traceback"] = records.failure(name)
        typer.echo(json.dumps(document, indent=1) if json_ else "\n".join(_lines(document)))
        return
    if json_:
        typer.echo(json.dumps({"status": status, **result(record), "provenance": record.provenance}, indent=1))
        return
    document = {
        "run": name,
        "path": str(record.path),
        "standing": record.data["standing"],
        "spec": record.spec.to_json(),
        "data": record.data,
        "provenance": record.provenance,
    }
    typer.echo("\n".join([*_lines(document), *metric_lines(record)]))


def _how_far(records: Records, name: str, run: RunRecord) -> dict[str, Any]:
    """Return what is kept of an unfinished run, who is at it, and the command that resumes it."""
    from dmd_repro.records.lock import writer_of

    most, kept = run.spec.config.get("max_epochs"), records.kept_epochs(name)
    found: dict[str, Any] = {"epochs": f"{kept} of at most {most} are kept" if kept else "none is kept yet"}
    if who := writer_of(records.root, name):
        return found | {"in progress": f"{who} is training it"}
    where = f"from epoch {kept + 1}" if kept else "from the start"
    return found | {"to resume": f"{run.provenance.get('command') or 'its command'} ({where})"}


def _lines(document: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in document.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        elif isinstance(value, list) and any(isinstance(item, str) and len(item) > 40 for item in value):
            lines += [f"{indent}{key}:", *(f"{indent}  {item}" for item in value)]
        elif isinstance(value, str) and "\n" in value:
            lines += [f"{indent}{key}:", *(f"{indent}  {line}" for line in value.rstrip().splitlines())]
        elif value is not None:
            lines.append(f"{indent}{key}: {value}")
    return lines


@app.command("verify")
def verify_runs(
    run: Annotated[
        list[str] | None,
        typer.Argument(autocompletion=complete.runs, help="Runs to check; else everything in the folder."),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Move damaged records and plans aside, remove leftovers of killed commands."),
    ] = False,
    all_: Annotated[
        bool, typer.Option("--all", help="Read everything again, not what changed since the last time alone.")
    ] = False,
    runs: RunsDir = None,
    json_: Json = False,
) -> None:
    """Check every hash, that the id is the spec's, and that the metrics recomputed from predictions are those recorded.

    Without a name also unfinished runs, plans and leftovers. A run whose files kept their sizes and times since it was
    found whole is not read again. Exit code 1 if something disagrees and was not repaired.
    """
    import json

    from dmd_repro.errors import RunError
    from dmd_repro.records.repair import repair as mend
    from dmd_repro.records.repair import troubles
    from dmd_repro.records.verified import RunVerifier

    records = _records(runs)
    named = {records.find(name) for name in run or ()}
    finished = [name for name in records.run_ids() if (records.root / name).exists()]
    names = [name for name in finished if name in named] if named else finished
    verify = RunVerifier(records, everything=all_ or bool(named))
    verify.prepare(names)
    found = [t for t in troubles(records, verify) if not named or t.run in named]
    verify.save()
    unfinished = sorted(named - set(names))
    if not (names or found or unfinished):
        raise RunError.at(
            str(records.root), expected="finished runs", got="none", do="Train one, or name the folder with --runs-dir"
        )
    bad = ("damaged", "unreadable")
    problems = {name: [t.problem for t in found if t.run == name and t.kind in bad] for name in names}
    problems |= {name: records.verify(name) for name in unfinished}
    others = [t for t in found if t.run not in names or t.kind not in bad]
    done = mend(records, found) if repair else []
    if json_:
        extra = {t.path.name: [t.problem] for t in others}
        typer.echo(json.dumps({**problems, **extra} | ({"repaired": done} if repair else {}), indent=1))
    else:
        many = len(names) > MANY  # then the whole ones are a number
        for name, said in problems.items():
            if said or not many:
                tell(f"{name} {'FAILED' if said else 'ok'}")
            for problem in said:
                tell(f"  {one_line(problem)}")
        for trouble in others:
            tell(one_line(f"{trouble.where} {trouble.kind}: {trouble.problem}"))
        for line in done:
            tell(one_line(f"repaired {line}"))
        if many:
            tell(f"{sum(not said for said in problems.values())} of {len(problems)} runs ok")
        if verify.skipped:
            tell(f"{verify.skipped} of them did not change since they were read (--all reads everything)")
        if found and not repair:
            tell("dmd runs verify --repair moves damaged records and plans aside and removes leftovers.")
    left = [t for t in found if t.kind == "unreadable" or not repair]
    if left or any(problems[name] for name in unfinished):
        raise typer.Exit(1)


@app.command("rm")
def remove_runs(
    run: Annotated[
        list[str],
        typer.Argument(
            autocompletion=complete.runs, help="Runs: ids, their first digits, or folders.", show_default=False
        ),
    ],
    yes: Yes = False,
    runs: RunsDir = None,
) -> None:
    """Remove runs of any state. A table that counts one shows it as missing, and `dmd reproduce` trains it again."""
    from dmd_repro.errors import RunError
    from dmd_repro.records.remove import counted_by, refuse_busy, remove

    records = _records(runs)
    names = list(dict.fromkeys(records.find(name) for name in run))
    for name in names:
        refuse_busy(records, name)
    for name in names:
        status, record, _ = records.look(name)
        what = f"{record.spec.model}, seed {record.spec.seed}, on {record.data['name']}" if record else "does not read"
        counted = counted_by(records, name)
        tell(one_line(f"{name} {status}: {what}; counted by {', '.join(counted) or 'no table'}"))
    if ask_to_remove(
        f"{f'{len(names)} runs' if len(names) > 1 else f'run {names[0]}'} in {records.root}", yes, RunError
    ):
        for name in names:
            remove(records, name)
            tell(f"Removed {name}.")
