"""`dmd data`: download, import, identify, list, check, scan and remove feature files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dmd_repro.cli.data_check import check
from dmd_repro.cli.data_get import download, matrix
from dmd_repro.cli.data_keep import identify, rm
from dmd_repro.cli.paths import DataDir, data_dir
from dmd_repro.cli.tell import tell
from dmd_repro.datasets import DATASETS

DATASET_NAMES = ", ".join(name for name in DATASETS if name != "synthetic")
HEADS = ("name", "text", "clips", "l", "a", "v")  # of `list`; 80 columns hold them unfolded
app = typer.Typer(help="Download, import, identify, list, check and remove feature files.", no_args_is_help=True)
app.command("check")(check)
app.command("download")(download)
app.command("identify")(identify)
app.command("matrix")(matrix)
app.command("rm")(rm)


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(help="A .pkl, .pt, .npz or .npy of the MMSA or the MulT family.", show_default=False)
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", help="What to call it (else <dataset>-<aligned|unaligned>-<glove|hidden>)."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help=f"{DATASET_NAMES}; left out, the file tells.")
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

    from dmd_repro.cli.data_show import byte_progress, manifest_table
    from dmd_repro.data.formats.importer import import_file
    from dmd_repro.data.store.folder import Store
    from dmd_repro.errors import DataError

    if nan not in (None, "zero"):
        raise DataError.at(f"--nan {nan}", expected="zero", got=repr(nan), do="Write --nan zero, or leave it out")
    with byte_progress() as progress:
        manifest, written = import_file(
            file,
            Store(data_dir(data)),
            name=name,
            dataset=dataset,
            nan="zero" if nan else "refuse",
            force=force,
            on_progress=progress,
        )
    if as_json:
        typer.echo(json.dumps({**manifest.summary(), "written": written}, indent=2))
        return
    manifest_table(manifest)
    done = "Imported" if written else "The same content was already there as"
    tell(f"{done} '{manifest.name}' in {data_dir(data)}.")


@app.command("scan")
def scan(
    file: Annotated[Path, typer.Argument(help="Any pickle, .npy, .npz or file of torch.save.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what a pickle would call if another program loaded it, without loading it; exit 1 if that is not harmless.

    Allowed is what files of arrays need; data of other libraries `dmd data import` passes over where nobody reads them,
    everything else it refuses.
    """
    import json

    from dmd_repro.cli.data_show import table
    from dmd_repro.data.pickle_gate.scan import scan as run_scan

    found = run_scan(file)
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=2))
    else:
        walked = found.walked
        tell(
            f"{file}: {found.size:,} bytes, protocol {walked.protocol}, {walked.instructions:,} instructions,"
            f" {walked.spans} contents of 64 KB or more ({walked.spanned:,} bytes)"
        )
        rows = [
            (
                "array" if name.allowed else "data" if name.data else "REFUSED",
                name.name,
                str(name.times),
                str(name.calls),
                "" if name.allowed or name.data else " | ".join(f"({a})" for a in name.arguments).replace("[", "\\["),
            )
            for name in found.names
        ]
        if rows:
            table("", ("", "name", "named", "called", "with"), rows)
        refused = sum(not (name.allowed or name.data) for name in found.names)
        if found.safe and all(name.allowed for name in found.names):
            tell("It names nothing but what arrays need. Nothing was loaded.")
        elif found.safe:
            tell(
                "It names nothing but arrays and data of other libraries, which the import does not read."
                " Nothing was loaded."
            )
        else:
            things = "a name" if refused == 1 else f"{refused} names"
            tell(f"It names {things} that could do anything when loaded. Nothing was loaded; do not load it.")
    if not found.safe:
        raise typer.Exit(1)


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data: DataDir = None,
) -> None:
    """List the feature sets that can be trained on."""
    import json

    from dmd_repro.cli.data_show import table
    from dmd_repro.data.download.get import lying_about
    from dmd_repro.data.store.disk import size_text
    from dmd_repro.data.store.folder import Store
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
        tell(f"Feature sets in {store.root}:")
        table("", HEADS, [line for row in rows for line in _two_lines(row)])
        tell("clips: train/valid/test; l, a, v: language, acoustic, visual, as steps x width")
    else:
        typer.echo(f"No feature set in {store.root} yet. Get one: dmd data download NAME (see")
        typer.echo("dmd data matrix), or dmd data import FILE.")
    for path, size in lying_about(store.root):
        what = "unfinished: dmd data download resumes it" if path.suffix == ".part" else "delete it when you like"
        tell(f"left by a download: {path} ({size_text(size)}; {what})")
    for row in damaged:
        tell(f"damaged: {row['error']}", err=True)
    tell("Always there, generated: synthetic, or one of\n  " + "\n  ".join(v for v in VARIANTS if "mosi" not in v))


def _two_lines(row: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return a feature set in two lines of the table: its numbers, and below the name what it is of."""
    numbers = (f"{row['lengths'][m]}x{row['dims'].get(m, 'ids')}" for m in "lav")
    setting = f"  {row['dataset']} {'aligned' if row['aligned'] else 'unaligned'}"
    standing = "" if row["standing"] == "official" else f", {row['standing'].upper()}"
    clips = "/".join(str(n) for n in row["splits"].values())
    return [
        (row["name"], " ".join(row["texts"]), clips, *numbers),
        (f"{setting}{standing}", *[""] * (len(HEADS) - 1)),
    ]
