"""`dmd data download` and `dmd data matrix`: getting the published files, and which rows they serve."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dmd_repro.cli.paths import DataDir, data_dir
from dmd_repro.cli.tell import tell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dmd_repro.data.download.get import Downloaded
    from dmd_repro.data.download.http import Policy
    from dmd_repro.data.download.sources import FeatureSource
    from dmd_repro.data.store.folder import Store

SourcesFile = Annotated[
    Path | None, typer.Option("--sources", help="Another list of sources, in the form of the package's sources.yaml.")
]


def download(
    name: Annotated[
        str, typer.Argument(help="A feature set such as mosi-aligned-bert, mosi-labels, all, or checkpoints.")
    ],
    how: Annotated[bool, typer.Option("--how", help="Print how to get it by hand, and stop.")] = False,
    url: Annotated[
        str | None, typer.Option("--url", help="Fetch the file from this address instead (a mirror of your own).")
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept-change", help="Take a file that differs from its first download.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the downloaded file after it was imported.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Download and replace what is there already.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for the next byte.")] = 30.0,
    attempts: Annotated[int, typer.Option("--attempts", min=1, help="Attempts in a row without a new byte.")] = 6,
    sources: SourcesFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data: DataDir = None,
) -> None:
    """Fetch published files, verify, import and check them. If interrupted, run the same command again to resume."""
    import json

    from dmd_repro.data.download.http import Policy
    from dmd_repro.data.download.manual import by_hand
    from dmd_repro.data.download.sources import load_sources
    from dmd_repro.data.matrix import matrix
    from dmd_repro.data.store.folder import Store
    from dmd_repro.errors import DataError

    known, store = load_sources(sources), Store(data_dir(data))
    chosen = _chosen(name, url, known)
    if how:
        served = {need.name: sorted(need.rows) for need in matrix(store, known).needs}
        lines = {s.name: by_hand(s, served.get(s.name, ())) for s in chosen}
        typer.echo(json.dumps(lines, indent=1) if as_json else "\n\n".join("\n".join(text) for text in lines.values()))
        return
    done: list[Downloaded] = []
    refused: list[str] = []
    policy = Policy(timeout=timeout, attempts=attempts, on_retry=partial(tell, err=True))
    for source in chosen:
        try:
            done.append(fetch(source, known, store, policy, accept=accept, keep=keep, force=force))
        except DataError as error:
            if len(chosen) == 1:
                raise
            refused.append(str(error))
            typer.echo(f"dmd: {error}", err=True)
    if as_json:
        typer.echo(json.dumps({"done": [_facts(d) for d in done], "refused": refused}, indent=1))
    else:
        for d in done:
            tell(line(d))
    if refused:
        raise typer.Exit(2)
    if any(d.report and d.report.failed for d in done):
        raise typer.Exit(1)


def _chosen(name: str, url: str | None, known: dict[str, FeatureSource]) -> list[FeatureSource]:
    from dataclasses import replace

    from dmd_repro.data.download.sources import find_source, make_place
    from dmd_repro.errors import DataError

    chosen = [s for s in known.values() if s.kind == "features"] if name == "all" else [find_source(name, known)]
    if url is None:
        return chosen
    if len(chosen) != 1 or chosen[0].kind == "folder":
        raise DataError.at("--url", expected="the name of one feature set", got=repr(name), do="Name the one it holds")
    place = make_place("url", url)  # of the user: not known to hold the published file
    return [replace(chosen[0], places=(replace(place, may_differ=True),))]


def _facts(done: Downloaded) -> dict[str, Any]:
    return {
        "name": done.name,
        "new": done.new,
        "digest": done.manifest.digest if done.manifest else None,
        "standing": done.manifest.standing if done.manifest else None,
        "source": dict(done.manifest.source) if done.manifest else None,
        "defects": [f.message for f in done.report.findings if f.severity == "defect"] if done.report else None,
        "files": [str(path) for path in done.files],
    }


def fetch(
    source: FeatureSource, known: Mapping[str, FeatureSource], store: Store, policy: Policy, **how: bool
) -> Downloaded:
    """Fetch one source with its progress on stderr. Raises DataError."""
    from dmd_repro.cli.data_show import byte_progress
    from dmd_repro.data.download.get import DownloadOptions, download

    with byte_progress() as progress:
        options = DownloadOptions(policy, progress=progress, say=partial(tell, err=True), **how)
        return download(source, store, options, siblings=list(known.values()))


def line(done: Downloaded) -> str:
    """Return what came of one source, in a line."""
    if done.manifest is None:
        files = f"{len(done.files)} files" if len(done.files) != 1 else str(done.files[0])
        return f"{done.name}: {files}" + ("" if done.new else ", all there already")
    if not done.new:
        return f"{done.name}: already there, digest {done.manifest.digest[:12]} (--force downloads it again)"
    assert done.report is not None
    counts = {s: sum(f.severity == s for f in done.report.findings) for s in ("defect", "warning")}
    said = ", ".join(f"{n} {kind}{'s' if n > 1 else ''}" for kind, n in counts.items() if n) or "clean"
    return f"{done.name}: imported, digest {done.manifest.digest[:12]}; checked: {said} (dmd data check {done.name})"


def matrix(
    sources: SourcesFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data: DataDir = None,
) -> None:
    """Show which feature set serves which rows of the tables, what is at hand, and where to get the rest."""
    import json
    from dataclasses import asdict

    from dmd_repro.cli.data_show import table
    from dmd_repro.data.download.sources import load_sources
    from dmd_repro.data.matrix import matrix as run
    from dmd_repro.data.store.folder import Store

    known, store = load_sources(sources), Store(data_dir(data))
    found = run(store, known)
    if as_json:
        needs = [need.to_json() for need in found.needs]
        typer.echo(
            json.dumps(
                {
                    "data_dir": str(store.root),
                    "needs": needs,
                    "own": [asdict(o) for o in found.own],
                    "copied_rows": dict(found.copied),
                },
                indent=1,
            )
        )
        return
    tables = sorted({t for need in found.needs for t in need.rows} | set(found.copied))
    groups = {"mmsa": "MMSA", "mult": "MulT"}

    def counts(rows: Mapping[str, Sequence[str]]) -> list[str]:
        return [str(len(rows.get(t, ())) or "") for t in tables]

    rows = [
        (
            need.name,
            need.state + ("" if need.standing in (None, "official") else f" ({need.standing})"),
            *counts(need.rows),
            groups.get(need.group, need.group) if need.group else "not public",
        )
        for need in found.needs
    ]
    copied = ("(copied numbers)", "not run", *(str(found.copied.get(t, "") or "") for t in tables), "no recipe")
    heads = [t.replace("table", "T") for t in tables]
    table("", ("name", "state", *heads, "from"), [*rows, copied])
    if found.own:
        standing = [f"yours ({own.standing})" for own in found.own]
        mine = [(o.name, s, *counts(o.rows), o.serves) for o, s in zip(found.own, standing, strict=True)]
        table("", ("name", "state", *heads, "can stand for"), mine)
        typer.echo("Rows take a set of yours where it is named:")
        typer.echo(f"  dmd reproduce {tables[0]} --data {found.own[0].name}")
    typer.echo("Counts are the rows of a table that a feature set serves. GloVe text is in the")
    typer.echo("MulT files only; the MMSA files, which the authors' repository links, serve the")
    typer.echo("starred rows alone.")
    missing = [need.name for need in found.needs if need.state != "here" and need.count]
    if missing:
        typer.echo("Missing:")
        typer.echo("".join(f"  {name}\n" for name in missing) + f"Get one: dmd data download {missing[0]}")
