"""`dmd data check`: the findings about a feature set, in the terminal, as Markdown or as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmd_repro.cli import complete
from dmd_repro.cli.paths import DataDir, data_dir
from dmd_repro.cli.tell import tell

if TYPE_CHECKING:
    from dmd_repro.data.checks.check import CheckReport
    from dmd_repro.data.store.folder import Store

_STYLES = {"ok": "green", "warning": "yellow", "defect": "bold red"}
FORMATS = ("terminal", "markdown", "json")
Rows = list[tuple[str, ...]]


def check(
    name: Annotated[
        str,
        typer.Argument(
            autocompletion=complete.feature_sets, help="A feature set, as `dmd data list` names it.", show_default=False
        ),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels", help="The official list of clips to compare with; else the downloaded one (mosi-labels)."
        ),
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="terminal, markdown or json.")] = "terminal",
    as_json: Annotated[bool, typer.Option("--json", help="Short for --format json.")] = False,
    data: DataDir = None,
) -> None:
    """Check a feature set against what is known of the official data; exit 1 if it has a defect.

    Looks for damage, wrong or missing labels, clips and videos in two splits, shifted modalities, lengths and masks
    that do not hold, values out of scale, and features that know the labels. Each finding says what it does to results.
    """
    import json

    from dmd_repro.data.checks.check import check as run_check
    from dmd_repro.data.store.folder import Store
    from dmd_repro.errors import DataError, nearest

    if format_ not in FORMATS:
        raise DataError.at(
            f"--format {format_}", expected="a known format", got="an unknown one", do=nearest(format_, FORMATS)
        )
    store = Store(data_dir(data))
    report = run_check(name, store, labels or _downloaded(name, store))
    if as_json or format_ == "json":
        typer.echo(json.dumps(report.to_json(), indent=2))
    elif format_ == "markdown":
        typer.echo("\n".join(markdown(report)))
    else:
        _print_check(report)
    if report.failed:
        raise typer.Exit(1)


def _downloaded(name: str, store: Store) -> Path | None:
    """Return the official list that `dmd data download` has put beside the feature sets, if it is there."""
    from dmd_repro.data.download.sources import label_file
    from dmd_repro.data.synthetic import is_synthetic
    from dmd_repro.errors import DataError

    try:
        path = label_file(store.root, store.manifest(name).dataset) if not is_synthetic(name) else None
    except DataError:  # unknown or damaged: the check itself says so
        return None
    if path is None or not path.is_file():
        return None
    tell(f"compared with the official list {path}", err=True)
    return path


def _parts(report: CheckReport) -> Iterator[tuple[str, tuple[str, ...], Rows]]:
    """Yield (title, heading, rows) of the tables about the splits."""
    if not report.splits:
        return
    rows: Rows = [
        (
            split,
            str(part.clips),
            "?" if part.videos is None else str(part.videos),
            *("x".join(str(n) for n in part.shapes[m][1:]) for m in "lav"),
            *(f"{p.side} {p.share:.0%}" for p in part.padding.values()),
        )
        for split, part in report.splits.items()
    ]
    pads = (f"{m} padding" for m in report.splits["train"].padding)
    yield (
        f"{report.name}: {report.dataset}, {report.standing}",
        ("split", "clips", "videos", "l", "a", "v", *pads),
        rows,
    )
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
    yield "Labels, rounded", ("split", "range", *bins, "< 0", "= 0", "> 0"), rows


def _count(report: CheckReport) -> str:
    n = {severity: sum(f.severity == severity for f in report.findings) for severity in ("defect", "warning")}
    words = [f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in n.items() if count]
    return f"{report.name}: {' and '.join(words) if words else 'no problem found'}"


def _print_check(report: CheckReport) -> None:
    from rich.text import Text

    from dmd_repro.cli.data_show import table

    for title, head, rows in _parts(report):
        table(title, head, rows)
    found = [(Text(f.severity, style=_STYLES[f.severity]), f.check, f.message, f.effect) for f in report.findings]
    table("Findings", ("", "check", "what", "so"), found)
    tell(_count(report))


def markdown(report: CheckReport) -> Iterator[str]:
    """Yield the lines of a report in Markdown."""
    from dmd_repro.render.markdown import plain

    def drawn(head: tuple[str, ...], rows: Rows) -> Iterator[str]:
        for i, row in enumerate((head, *rows)):
            yield "| " + " | ".join(map(plain, row)) + " |"
            if i == 0:
                yield "|" + "---|" * len(head)
        yield ""

    yield f"# {_count(report)}"
    yield ""
    for title, head, rows in _parts(report):
        yield f"## {title}"
        yield ""
        yield from drawn(head, rows)
    yield "## Findings"
    yield ""
    yield from drawn(("", "check", "what", "so"), [(f.severity, f.check, f.message, f.effect) for f in report.findings])
