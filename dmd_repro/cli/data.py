"""`dmd data`: import feature files, list what is there, check it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmd_repro.cli.paths import DataDir, data_dir

if TYPE_CHECKING:
    from dmd_repro.data.check import CheckReport
    from dmd_repro.data.manifest import Manifest

app = typer.Typer(help="Import, list and check feature files.", no_args_is_help=True)
_STYLES = {"ok": "green", "warning": "yellow", "defect": "bold red"}


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A .pkl of the MMSA or the MulT family.", show_default=False)],
    name: Annotated[
        str | None,
        typer.Option("--name", help="What to call it (else <dataset>-<aligned|unaligned>-<glove|hidden>)."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="mosi or mosei; left out, the file's sizes and widths tell.")
    ] = None,
    nan: Annotated[
        str | None, typer.Option("--nan", help="'zero' sets NaN to 0 and counts it; left out, NaN is refused.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace other content under this name.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data: DataDir = None,
) -> None:
    """Read a feature file without running anything in it, validate it and store it."""
    import json

    from rich.console import Console

    from dmd_repro.data.importer import import_file
    from dmd_repro.data.store import Store
    from dmd_repro.errors import DataError

    if nan not in (None, "zero"):
        raise DataError.at(f"--nan {nan}", expected="zero", got=repr(nan), do="Write --nan zero, or leave it out")
    with Console(stderr=True).status(f"Reading {file.name}") as status:
        manifest, written = import_file(
            file,
            Store(data_dir(data)),
            name=name,
            dataset=dataset,
            nan="zero" if nan else "refuse",
            force=force,
            on_stage=status.update,
        )
    if as_json:
        typer.echo(json.dumps({**manifest.summary(), "written": written}, indent=2))
        return
    _print_manifest(manifest)
    done = "Imported" if written else "The same content was already there as"
    typer.echo(f"{done} '{manifest.name}' in {data_dir(data)}.")


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data: DataDir = None,
) -> None:
    """List the feature sets that can be trained on."""
    import json

    from dmd_repro.data.store import Store
    from dmd_repro.data.synthetic import VARIANTS
    from dmd_repro.errors import DataError

    store = Store(data_dir(data))
    rows, damaged = [], []
    for name in store.names():
        try:
            rows.append(store.manifest(name).summary())
        except DataError as error:  # one damaged set must not hide the others
            damaged.append({"name": name, "error": str(error)})
    if as_json:
        sets = {"data_dir": str(store.root), "feature_sets": rows, "damaged": damaged, "synthetic": list(VARIANTS)}
        typer.echo(json.dumps(sets, indent=2))
        return
    if rows:
        typer.echo(f"Feature sets in {store.root}:")
        lines = [
            (
                row["name"],
                f"{row['dataset']} {'aligned' if row['aligned'] else 'unaligned'}",
                " ".join(row["texts"]),
                "/".join(str(n) for n in row["splits"].values()),
                *(f"{row['lengths'][m]}x{row['dims'].get(m, 'ids')}" for m in "lav"),
                "" if row["standing"] == "official" else row["standing"].upper(),
            )
            for row in rows
        ]
        _print_table("", ("name", "setting", "text", "train/valid/test", "l", "a", "v", ""), lines)
        typer.echo("l, a, v: language, acoustic, visual, as steps x width")
    else:
        typer.echo(f"No feature set in {store.root} yet. Add one: dmd data import FILE")
    for row in damaged:
        typer.echo(f"damaged: {row['error']}", err=True)
    typer.echo("Always there, generated: synthetic, or one of " + ", ".join(v for v in VARIANTS if "mosi" not in v))


@app.command("check")
def check(
    name: Annotated[str, typer.Argument(help="A feature set, as `dmd data list` names it.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data: DataDir = None,
) -> None:
    """Set a feature set against what is known of the official data; exit 1 if it has a defect."""
    import json

    from dmd_repro.data.check import check as run_check
    from dmd_repro.data.store import Store

    report = run_check(name, Store(data_dir(data)))
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2))
    else:
        _print_check(report)
    if report.failed:
        raise typer.Exit(1)


def _print_manifest(manifest: Manifest) -> None:
    names = (("l", "language"), ("a", "acoustic"), ("v", "visual"))
    rows = [(title, str(manifest.lengths[m]), str(manifest.dims.get(m, "-"))) for m, title in names]
    _print_table(f"{manifest.name} ({manifest.standing})", ("modality", "steps", "width"), rows)
    sizes = "/".join(str(n) for n in manifest.sizes.values())
    setting = "aligned" if manifest.aligned else "unaligned"
    typer.echo(f"{manifest.dataset}, {setting}, {' and '.join(manifest.texts)} text, train/valid/test {sizes}")
    typer.echo(f"digest {manifest.digest}")
    for warning in manifest.warnings:
        typer.echo(f"warning: {warning}")


def _print_check(report: CheckReport) -> None:
    if report.splits:
        rows = [
            (
                split,
                str(part.clips),
                str(part.videos),
                *("x".join(str(n) for n in part.shapes[m][1:]) for m in "lav"),
                *(f"{p.side} {p.share:.0%}" for p in part.padding.values()),
            )
            for split, part in report.splits.items()
        ]
        pads = (f"{m} padding" for m in report.splits["train"].padding)
        head = ("split", "clips", "videos", "l", "a", "v", *pads)
        _print_table(f"{report.name}: {report.dataset}, {report.standing}", head, rows)
        bins = list(report.splits["train"].histogram)
        rows = [
            (
                split,
                f"{part.label_range[0]:g} to {part.label_range[1]:g}",
                *(str(n) for n in part.histogram.values()),
                *(str(n) for n in part.signs),
            )
            for split, part in report.splits.items()
        ]
        _print_table("Labels, rounded", ("split", "range", *bins, "< 0", "= 0", "> 0"), rows)
    found = [
        (f"[{_STYLES[f.severity]}]{f.severity}[/]", f.check, f.message.replace("[", "\\[")) for f in report.findings
    ]
    _print_table("Findings", ("", "check", "what"), found)


def _print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in head:
        table.add_column(heading, overflow="fold", no_wrap=heading in ("name", "check"))
    for row in rows:
        table.add_row(*row)
    Console().print(table)
