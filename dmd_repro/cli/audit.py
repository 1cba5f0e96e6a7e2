"""`dmd audit`: what the printed numbers say of each other, before any training."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import Annotated

import typer

from dmd_repro.cli.paths import PapersDir, RunsDir, TableName, output_path, runs_dir, use_papers
from dmd_repro.cli.tell import tell

SUFFIXES = {".md": "markdown", ".csv": "csv", ".json": "json", ".txt": "terminal"}


def audit(
    table: TableName = None,
    check: Annotated[list[str] | None, typer.Option("--check", help="The findings of this check; repeatable.")] = None,
    code: Annotated[
        bool,
        typer.Option("--code", help="Where the paper and the authors' code differ, with effects measured in runs."),
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="Every finding, what is fine too.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the checks with their premises, and stop.")] = False,
    format_: Annotated[
        str | None,
        typer.Option("--format", "-f", help="terminal, markdown, csv or json; else by the extension of FILE."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    tables: Annotated[
        Path | None, typer.Option("--tables", metavar="FOLDER", help="Audit the tables of this folder instead.")
    ] = None,
    runs: RunsDir = None,
    papers: PapersDir = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", parser=output_path, help="Write to a file.")
    ] = None,
) -> None:
    """Check the printed numbers against each other. Needs no data and trains nothing.

    First what they say as a whole, strongest first; --check and --all show the findings behind it. The word is flag,
    not fraud: each finding states its certainty and innocent explanations. Exit 1 if a check fails.
    """
    from dmd_repro.audit import findings as library
    from dmd_repro.audit.code import audit_code
    from dmd_repro.errors import SpecError, nearest
    from dmd_repro.render.findings import FINDING_FORMATS, render_findings

    if output and output.suffix and not (json_ or format_) and output.suffix.lower() not in SUFFIXES:
        raise SpecError.at(
            f"-o {output.name}", expected=f"a file ending in {', '.join(SUFFIXES)}", got=output.suffix,
            do="Name the file so, or add --format",
        )  # fmt: skip
    chosen = "json" if json_ else format_ or SUFFIXES.get(output.suffix.lower() if output else "", "terminal")
    if chosen not in FINDING_FORMATS:
        raise SpecError.at(
            f"--format {chosen}", expected="a known format", got="an unknown one", do=nearest(chosen, FINDING_FORMATS)
        )
    if list_:
        for one in library.CHECKS:
            whose = " (the DMD paper alone)" if one.this_paper else " (further papers alone)" if one.further else ""
            for text, indent in ((f"{one.name}{whose}: {one.question}", ""), (f"premise: {one.premise}", "  ")):
                typer.echo("\n".join(wrap(text, 80, initial_indent=indent, subsequent_indent="  ")))
        return
    use_papers(papers)
    folder = runs_dir(runs)
    if code:
        found = audit_code(folder)
    else:
        spreads = library.spreads_of_runs(folder)
        found = library.audit(tables, table=table, checks=tuple(check or ()), spreads=spreads)
    text = render_findings(found, chosen, every=every or code, head_only=not (every or check or code))
    if output is not None:
        from dmd_repro.disk import sentences, write_output

        with sentences(output, "a file that can be written", SpecError, "--output"):
            write_output(output, text)
        tell(f"written: {output}", err=True)
    else:
        typer.echo(text, nl=False)
    if any(finding.status == "fail" for finding in found):
        raise typer.Exit(1)
