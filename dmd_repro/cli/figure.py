"""`dmd figure`: the paper's figures, curves, seeds, forests and power as files, from recorded runs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dmd_repro.cli.paths import PapersDir, RunsDir, output_path, reruns_dir, runs_dir, use_papers
from dmd_repro.cli.tell import tell
from dmd_repro.errors import SpecError


def figure(
    name: Annotated[str, typer.Argument(metavar="NAME", help="fig3, fig4, fig5, curves, seeds, forest or power.")],
    table: Annotated[
        str | None, typer.Argument(metavar="TABLE", help="table1 ... table5, or NAME/table1; of curves also a run.")
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option("--data", help="Runs on this feature set; of a table, its plan on it.")
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", "-f", help="svg, pdf or png; else FILE's ending tells.")
    ] = None,
    perplexity: Annotated[
        list[float] | None, typer.Option("--perplexity", min=1, help="Of t-SNE, fig3 and fig4; repeatable. Else 5, 30.")
    ] = None,
    draws: Annotated[
        int | None, typer.Option("--draws", min=1, max=100, help="Samples of the paper's size, fig3 and fig4. Else 3.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws those samples.")] = 0,
    margin: Annotated[
        float | None, typer.Option("--margin", help="Points within which a mean counts as reproduced; else the plan's.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the numbers of fig3 or fig4 as JSON.")] = False,
    runs: RunsDir = None,
    papers: PapersDir = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", parser=output_path, help="Else NAME.svg in this folder."),
    ] = None,
) -> None:
    """Draw a figure from recorded runs. Trains nothing.

    fig3, fig4: t-SNE maps of what dmd features stored, with numbers. fig5: edges of the graph units. curves: losses and
    measures by epoch. seeds, forest: a table's numbers beside the printed ones. power: what so many seeds can settle.
    Several pages: one PDF, or a file each.
    """
    from dmd_repro.cli.planned import check_margin
    from dmd_repro.disk import sentences, write_output
    from dmd_repro.figures.make import check_figure, draw_figure, ending_of, files_of
    from dmd_repro.figures.page import require_matplotlib
    from dmd_repro.papers.reruns import load_reruns
    from dmd_repro.records.folder import Records
    from dmd_repro.render.sheet import render_sheets, show_sheets
    from dmd_repro.render.terminal import terminal_console

    check_margin(margin)
    check_figure(name, table)
    ending = ending_of(output, format_)
    require_matplotlib()
    use_papers(papers)
    pages = draw_figure(
        name, Records(runs_dir(runs)), table, data=data or (), margin=margin,
        reruns=load_reruns(reruns_dir(None)), perplexities=perplexity, draws=draws, seed=seed,
        say=partial(tell, err=True),
    )  # fmt: skip
    stem = "-".join([name, *([table.strip("/").replace("/", "-")] if table else [])])
    file = output or Path(f"{stem}.{ending}")
    written = files_of(pages, file, ending)
    sheets = [sheet for page in pages for sheet in page.sheets]
    if json_:
        typer.echo(render_sheets(sheets, "json"), nl=False)
    else:
        for page in pages:
            tell(page.said)
        show_sheets(sheets, terminal_console())
    for path, content in written.items():
        with sentences(path, "a file that can be written", SpecError, "--output"):
            write_output(path, content)
        tell(f"written: {path}", err=True)
