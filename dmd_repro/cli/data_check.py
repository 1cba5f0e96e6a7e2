"""`dmd data check`: the findings about a feature set, in the terminal, as Markdown or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dmd_repro.cli.paths import DataDir, data_dir

if TYPE_CHECKING:
    from dmd_repro.data.check import CheckReport

_STYLES = {"ok": "green", "warning": "yellow", "defect": "bold red"}


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


def _print_check(report: CheckReport) -> None:
    from dmd_repro.cli.data_show import table

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
        table(f"{report.name}: {report.dataset}, {report.standing}", head, rows)
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
        table("Labels, rounded", ("split", "range", *bins, "< 0", "= 0", "> 0"), rows)
    found = [
        (f"[{_STYLES[f.severity]}]{f.severity}[/]", f.check, f.message.replace("[", "\\[")) for f in report.findings
    ]
    table("Findings", ("", "check", "what"), found)
