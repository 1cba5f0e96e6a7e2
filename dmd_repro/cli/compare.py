"""`dmd compare`: two files of predictions, or the runs of a row and a file, on the same clips."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmd_repro.cli.paths import RunsDir, output_path, runs_dir

if TYPE_CHECKING:
    from dmd_repro.results.sides import Side


def compare(
    first: Annotated[
        str,
        typer.Argument(metavar="FILE.csv|ROW", help="A CSV of predictions (id,y_true,y_pred[,seed]), or a row's key."),
    ],
    second: Annotated[str, typer.Argument(metavar="FILE.csv|ROW", help="The same: what the first is compared with.")],
    data: Annotated[
        list[str] | None, typer.Option("--data", help="The plan of a row made on this data; else the most recent.")
    ] = None,
    runs: RunsDir = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", "-f", help="terminal, markdown, latex, html, csv or json; else FILE's ending tells."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", parser=output_path, help="Write to a file.")
    ] = None,
) -> None:
    """Compare predictions clip by clip: difference, interval over clips, paired test over seeds, McNemar.

    Both sides must hold the same clips and labels. A row's key is what `dmd report --json` names it.
    """
    from dmd_repro.cli.report import _format, _sheets
    from dmd_repro.results.pairs import pair_sheet

    chosen = _format(format_, json_, output, False)
    sides = [_side(name, runs_dir(runs), data) for name in (first, second)]
    _sheets([pair_sheet(*sides)], chosen, False, output)


def _side(name: str, folder: Path, data: list[str] | None) -> Side:
    from dmd_repro.results.sides import read_predictions, row_side

    path = Path(name).expanduser()
    if path.suffix.lower() == ".csv" or path.is_file():
        return read_predictions(path)
    return row_side(name, folder, data)
