"""A whole report as a folder: every table in every format, one page of all, the figures as vector files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dmd_repro.disk import sentences, write_output
from dmd_repro.errors import SpecError
from dmd_repro.render.figures import figure
from dmd_repro.render.formats import FORMATS, SUFFIXES, render
from dmd_repro.render.sentences import ALL
from dmd_repro.results.types import ComparisonTable


def write_report(tables: Sequence[ComparisonTable], folder: Path) -> list[Path]:
    """Write `<table>.<ending>` per table and format, `report.html`, `report.tex` (compiles alone) and `figures/*.svg`.

    Returns the files in the order written; each is replaced in one step. Raises SpecError if the folder cannot be
    written.
    """
    files: dict[Path, str] = {}
    for table in tables:
        for format_ in FORMATS:
            files[folder / f"{table.name}{SUFFIXES[format_]}"] = render([table], format_, ink=ALL)
        if drawing := figure(table):
            files[folder / "figures" / f"{table.name}-seeds.svg"] = drawing
    files[folder / "report.html"] = render(tables, "html")
    files[folder / "report.tex"] = render(tables, "latex", standalone=True, ink=ALL)
    files[folder / "report.json"] = render(tables, "json")
    files[folder / "report.txt"] = "\n\n".join(table.prose for table in tables) + "\n"
    for path, content in files.items():
        with sentences(path, "a file that can be written", SpecError, "--output"):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_output(path, content)
    return list(files)
