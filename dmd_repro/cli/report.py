"""`dmd report`: the printed tables beside what the recorded runs measured, with words on each row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dmd_repro.cli.paths import Control, PapersDir, RunsDir, TableName, output_path, reruns_dir, runs_dir, use_papers
from dmd_repro.cli.tell import tell

if TYPE_CHECKING:
    from dmd_repro.papers.rerun import Rerun
    from dmd_repro.render.formats import Format

ENDINGS = {
    ".md": "markdown",
    ".tex": "latex",
    ".html": "html",
    ".csv": "csv",
    ".json": "json",
    ".txt": "terminal",
}


def report(
    table: TableName = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", "-f", help="terminal, markdown, latex, html, csv or json; else by the extension of FILE."
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    standalone: Annotated[bool, typer.Option("--standalone", help="LaTeX that compiles alone.")] = False,
    margin: Annotated[
        float | None,
        typer.Option("--margin", help="Another margin than the plan's, in points: gives intervals, and no word."),
    ] = None,
    lottery: Annotated[
        bool,
        typer.Option("--lottery", help="Where the printed numbers lie among our seeds, best of k, picking by test."),
    ] = False,
    compare: Annotated[
        str | None,
        typer.Option("--compare", metavar="ROW", help="One row against the others: full, a key, or a method."),
    ] = None,
    shapley: Annotated[
        bool,
        typer.Option("--shapley", help="Table 3 from all 16 masks: what each part is worth, and which pairs help."),
    ] = False,
    readings: Annotated[
        bool, typer.Option("--readings", help="Table 4 in both readings, and the heads of every mask at hand.")
    ] = False,
    edges: Annotated[
        bool, typer.Option("--edges", help="Learned edges of the graph units beside their prior and a uniform start.")
    ] = False,
    prose: Annotated[bool, typer.Option("--prose", help="The results as a paragraph.")] = False,
    all_: Annotated[
        bool,
        typer.Option("--all", help="p-values, intervals and notes too; with -o FOLDER a study: pages, files, PDF."),
    ] = False,
    legend: Annotated[bool, typer.Option("--legend", help="The rules of words, stages and chances too.")] = False,
    data: Annotated[
        list[str] | None, typer.Option("--data", help="The plan made on this data; else the most recent one.")
    ] = None,
    control: Control = True,
    runs: RunsDir = None,
    papers: PapersDir = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", parser=output_path, help="Write to a file; with --all, a folder."
        ),
    ] = None,
) -> None:
    """Print the paper's tables beside the runs at hand, with words on each row. Trains nothing.

    First the answer, a sentence a row; then printed, mean ± sample STD over seeds and the chances of each number.
    """
    from dmd_repro.cli.planned import check_margin
    from dmd_repro.errors import SpecError
    from dmd_repro.papers.folders import asked_tables, paper_asked
    from dmd_repro.papers.reruns import load_reruns
    from dmd_repro.render.formats import render
    from dmd_repro.render.sentences import Ink
    from dmd_repro.results.tables import compare_tables, with_looks

    whole_folder = all_ and output is not None and not (format_ or json_) and output.suffix.lower() not in ENDINGS
    chosen = _format(format_, json_, None if whole_folder else output, standalone)
    check_margin(margin)
    views = {
        "lottery": lottery,
        "compare": compare is not None,
        "shapley": shapley,
        "readings": readings,
        "edges": edges,
    }
    asked = [f"--{name}" for name, on in {**views, "prose": prose, "all": all_}.items() if on]
    if len(asked) > 1:
        raise SpecError.at(
            f"dmd report {' '.join(asked)}", expected="one of them", got=f"{len(asked)}", do="Leave all but one out"
        )
    for name, of in {"shapley": "table3", "readings": "table4"}.items():
        if views[name] and table not in (None, of):
            raise SpecError.at(f"--{name}", expected=of, got=str(table), do=f"Write dmd report {of} --{name}")
    use_papers(papers)
    folder, names, wanted = runs_dir(runs), asked_tables(table), data or None
    if edges and table is not None and paper_asked(table):
        raise SpecError.at("--edges", expected="the DMD paper", got=str(table), do="Write dmd report --edges")
    view = next((name for name, on in views.items() if on), None)
    if view:
        _sheets(_make_sheets(view, folder, names, wanted, compare, table, control), chosen, standalone, output)
        return
    others = load_reruns(reruns_dir(None))
    if whole_folder and output is not None:
        _study(folder, names, wanted, others, margin, control, table is None and not wanted, output)
        return
    tables = compare_tables(folder, names, wanted, margin=margin, reruns=others, control=control)
    tables = with_looks(tables, folder, wanted)
    ink = Ink(whole=all_, legend=legend)
    if prose:
        _write("\n\n".join(one.prose for one in tables) + "\n", output)
    elif chosen == "terminal" and output is None:
        from dmd_repro.render.terminal import show, terminal_console

        show(tables, terminal_console(), ink)
        if table == "table4":
            _sheets(_make_sheets("readings", folder, names, wanted, None), chosen, standalone, output)
    else:
        text = render(tables, chosen, standalone=standalone, ink=ink)
        if table == "table4" and chosen == "markdown":
            text += "\n" + _text(_make_sheets("readings", folder, names, wanted, None), chosen)
        _write(text, output)


def _study(
    folder: Path,
    names: Sequence[str],
    data: Sequence[str] | None,
    others: Sequence[Rerun],
    margin: float | None,
    control: bool,
    whole: bool,
    output: Path,
) -> None:
    """Write a study: pages to browse, every table in every format, a PDF."""
    from dmd_repro.render.study.gather import gather
    from dmd_repro.render.study.own_folder import check_folder
    from dmd_repro.render.study.write import write_study
    from dmd_repro.results.tables import with_looks

    check_folder(output)  # before what takes long
    study = gather(
        folder, names, data, reruns=others, margin=margin, control=control, whole=whole,
        looked=lambda tables: with_looks(tables, folder, data),
    )  # fmt: skip
    made = write_study(study, output)
    tell(f"written: {output / 'index.html'}, {made.pages} pages, {made.files} files in all", err=True)
    if made.no_pdf:
        tell(f"no study.pdf: {made.no_pdf}", err=True)


def _format(asked: str | None, json_: bool, output: Path | None, standalone: bool) -> Format:
    from dmd_repro.errors import SpecError, nearest
    from dmd_repro.render.formats import FORMATS

    if output and output.suffix and not (json_ or asked) and output.suffix.lower() not in ENDINGS:
        raise SpecError.at(
            f"-o {output.name}",
            expected=f"a file ending in {', '.join(ENDINGS)}",
            got=output.suffix,
            do="Name the file so, or add --format",
        )
    chosen = "json" if json_ else asked or ENDINGS.get(output.suffix.lower() if output else "", "terminal")
    for format_ in FORMATS:
        if format_ == chosen:
            if standalone and format_ != "latex":
                raise SpecError.at(
                    "--standalone", expected="--format latex", got=chosen, do="Add --format latex or leave it out"
                )
            return format_
    raise SpecError.at(
        f"--format {chosen}", expected="a known format", got="an unknown one", do=nearest(chosen, FORMATS)
    )


def _make_sheets(
    view: str,
    folder: Path,
    names: Sequence[str],
    data: Sequence[str] | None,
    compare: str | None,
    table: str | None = None,
    control: bool = False,
) -> list[Any]:
    from dmd_repro.errors import RunError
    from dmd_repro.papers.tables import load_table, with_controls
    from dmd_repro.records.folder import Records
    from dmd_repro.results.tables import plans_of

    records = Records(folder)
    if view == "shapley":
        from dmd_repro.results.shapley import shapley_sheets

        return shapley_sheets(records, data or ())
    if view == "edges":
        from dmd_repro.papers.dmd.edges import edge_sheets

        if table is None:
            return edge_sheets(records, data or ())
        made = [plan for plan in plans_of(folder, names, data).values() if plan]
        if not made:
            raise RunError.at(
                f"--edges of {table}", expected=f"a plan of {table} in {folder}", got="none",
                do=f"Make one: dmd reproduce {table}; without a table the edges of every run are shown",
            )  # fmt: skip
        return edge_sheets(records, data or (), [run for plan in made for run in plan.run_ids])
    if view == "readings":
        from dmd_repro.papers.dmd.table4 import table4_sheets
        from dmd_repro.planning.plans import load_plan

        return table4_sheets(load_plan(folder, "table4", data), records, data or ())
    plans = plans_of(folder, names, data)
    if compare is None:
        from dmd_repro.results.lottery import lottery_sheet

        return [lottery_sheet(load_table(name), plan, records) for name, plan in plans.items()]
    from dmd_repro.errors import ClaimError
    from dmd_repro.results.between import between_sheet

    sheets, refused = [], []
    for name, plan in plans.items():
        try:
            asked = with_controls(load_table(name)) if control else load_table(name)
            sheets.append(between_sheet(asked, plan, records, compare))
        except ClaimError as error:  # of all tables, those that have no such row are passed over
            refused.append(error)
    if not sheets:
        raise refused[0]
    return sheets


def _text(sheets: Sequence[Any], chosen: Format, standalone: bool = False) -> str:
    from dmd_repro.render.sheet import render_sheets

    return render_sheets(sheets, chosen, standalone=standalone)


def _sheets(sheets: Sequence[Any], chosen: Format, standalone: bool, output: Path | None) -> None:
    from dmd_repro.render.sheet import show_sheets
    from dmd_repro.render.terminal import terminal_console

    if chosen == "terminal" and output is None:
        show_sheets(sheets, terminal_console())
    elif chosen == "csv" and sum(len(sheet.grids) for sheet in sheets) > 1:
        _csv_files(sheets, output)
    else:
        _write(_text(sheets, chosen, standalone), output)


def _csv_files(sheets: Sequence[Any], output: Path | None) -> None:
    """Write a CSV file for each table of the sheets; one file can hold one alone."""
    from dmd_repro.errors import SpecError
    from dmd_repro.render.sheet import csv_files

    files = csv_files(sheets)
    if output is None or (output.exists() and not output.is_file()):
        raise SpecError.at(
            "--format csv", expected=f"a file for each of the {len(files)} tables", got=str(output or "none"),
            do="Write -o NAME.csv: they are called NAME-... then",
        )  # fmt: skip
    for name, text in files.items():
        _write(text, output.with_name(f"{output.stem}-{name}{output.suffix or '.csv'}"))


def _write(text: str, output: Path | None) -> None:
    """Print a text, or write it to a file in one step."""
    from dmd_repro.disk import sentences, write_output
    from dmd_repro.errors import SpecError

    if output is None:
        typer.echo(text, nl=False)
        return
    with sentences(output, "a file that can be written", SpecError, "--output"):
        write_output(output, text)
    tell(f"written: {output}", err=True)
