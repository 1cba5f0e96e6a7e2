"""`dmd reproduce --download`: what the rows of a table need and the store lacks is fetched before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dmd_repro.cli.ask import on_a_terminal
from dmd_repro.cli.tell import tell

if TYPE_CHECKING:
    from rich.console import Console

    from dmd_repro.data.download.sources import FeatureSource
    from dmd_repro.data.store.folder import Store


def get_needed(
    waiting: Mapping[str, Sequence[str]],
    store: Store,
    sources: Path | None,
    console: Console,
    *,
    download: bool,
    dry_run: bool,
    quiet: bool,
) -> list[str]:
    """Fetch the feature sets that rows wait for, from the smallest on; return the names that could not be had.

    Without `download` it is offered where somebody can answer (never if `quiet`). Says first what comes and how much it
    is; a dry run says no more.
    """
    from dmd_repro.cli.data_get import fetch, line
    from dmd_repro.cli.progress import say
    from dmd_repro.data.download.http import Policy
    from dmd_repro.data.download.sources import load_sources
    from dmd_repro.errors import DataError

    offered = not (download or dry_run or quiet) and on_a_terminal()
    if not (download or offered):
        return []
    known = load_sources(sources)
    wanted = sorted(
        (known[name] for name in waiting if name in known), key=lambda s: (not s.bytes_about, s.bytes_about)
    )
    for text in _plan_lines(wanted, waiting, store) if wanted else ():
        say(console, text)
    if not wanted or dry_run or (offered and not typer.confirm("Download them first?", err=True)):
        return []
    lost = []
    for source in wanted:
        try:
            say(console, line(fetch(source, known, store, Policy(on_retry=partial(tell, err=True)))))
        except DataError as error:
            lost.append(source.name)
            typer.echo(f"dmd: {error}", err=True)
    return lost


def _plan_lines(wanted: Sequence[FeatureSource], waiting: Mapping[str, Sequence[str]], store: Store) -> list[str]:
    """Return what is to be downloaded: a line each, then the total beside the free space."""
    import shutil

    from dmd_repro.data.store.disk import disk, size_text

    width = max(len(source.name) for source in wanted)
    lines = ["to download first:"]
    for source in wanted:
        size = size_text(source.bytes_about) if source.bytes_about else "size not published"
        count = len(waiting[source.name])
        lines.append(f"  {source.name:{width}}  {size:18}  {count} row{'s' if count > 1 else ''}")
    sizes = [source.bytes_about for source in wanted if source.bytes_about]
    unknown = len(wanted) - len(sizes)
    total = [size_text(sum(sizes))] if sizes else []
    total += [f"{unknown} of a size that is not published"] if unknown else []
    with disk(store.root, "Check the folder's permissions"):
        there = next(folder for folder in (store.root, *store.root.parents) if folder.is_dir())
        free = shutil.disk_usage(there).free
    return [*lines, f"  in all {' and '.join(total)}; {size_text(free)} are free in {there}"]
