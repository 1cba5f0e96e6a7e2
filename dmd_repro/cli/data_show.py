"""How `dmd data` prints: tables that fold instead of cutting, a progress bar with a rate and the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dmd_repro.cli.tell import tell
from dmd_repro.visible import one_line

if TYPE_CHECKING:
    from rich.text import Text

    from dmd_repro.data.store.manifest import Manifest


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Print a table."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from dmd_repro.render.terminal import show_grid, terminal_console
    from dmd_repro.results.sheet import TextGrid

    texts = [tuple(cell for cell in row if isinstance(cell, str)) for row in rows]
    if all(len(text) == len(head) for text in texts):
        return show_grid(TextGrid("", tuple(head), "l" * len(head), tuple(texts)), terminal_console(), title or None)
    named = Text(one_line(title), style="table.title") if title else None
    drawn = Table(title=named, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in head:
        drawn.add_column(heading, overflow="fold", no_wrap=heading in ("name", "check"))
    for row in rows:
        drawn.add_row(*(Text(one_line(cell)) if isinstance(cell, str) else cell for cell in row))
    return terminal_console().print(drawn)


def manifest_table(manifest: Manifest) -> None:
    """Print what an import has stored."""
    names = (("l", "language"), ("a", "acoustic"), ("v", "visual"))
    rows = [(title, str(manifest.lengths[m]), str(manifest.dims.get(m, "-"))) for m, title in names]
    table(f"{manifest.name} ({manifest.standing})", ("modality", "steps", "width"), rows)
    sizes = "/".join(str(n) for n in manifest.sizes.values())
    setting = "aligned" if manifest.aligned else "unaligned"
    tell(f"{manifest.dataset}, {setting}, {' and '.join(manifest.texts)} text, train/valid/test {sizes}")
    tell(f"digest {manifest.digest}")
    for note in manifest.notes:
        tell(f"note: {note}")
    for warning in manifest.warnings:
        tell(f"warning: {warning}")


@contextmanager
def byte_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show (stage, bytes done, bytes in all) on stderr: a bar with rate and time left, a line a stage in a pipe."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task, shown = progress.add_task("", total=None), ""

        def hear(stage: str, done: int, total: int) -> None:
            nonlocal task, shown
            stage = one_line(stage)  # it names a file
            if stage != shown:
                progress.remove_task(task)
                task, shown = progress.add_task(stage, total=total or None), stage
                if not console.is_terminal and total > 100 << 20:  # a pipe: one line for what takes its time
                    tell(f"{stage} ({total / 1e6:.0f} MB)", err=True)
            progress.update(task, completed=done, total=total or None)

        yield hear
