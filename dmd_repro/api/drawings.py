"""Figures in a notebook: drawn from recorded runs, shown as vector drawings, saved as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from dmd_repro.api.records import Folder, records_in

if TYPE_CHECKING:
    import pandas as pd

    from dmd_repro.figures.page import Page


@dataclass(frozen=True, slots=True, repr=False)
class Drawing:
    """A figure of one page or several; `pages[0].figure` is matplotlib's own."""

    name: str
    pages: Sequence[Page]

    def save(self, file: str | Path) -> list[Path]:
        """Write it as SVG, PDF or PNG, by the ending; several pages are one PDF, or a file each. Returns the paths.

        Raises SpecError for another ending and for a file that cannot be written.
        """
        from dmd_repro.disk import sentences, write_output
        from dmd_repro.errors import SpecError
        from dmd_repro.figures.make import ending_of, files_of

        path = Path(file)
        written = files_of(self.pages, path, ending_of(path, None))
        for one, content in written.items():
            with sentences(one, "a file that can be written", SpecError):
                write_output(one, content)
        return list(written)

    def numbers_df(self) -> pd.DataFrame:
        """Return the numbers under Figures 3 and 4, a line a measure, mask and seed; empty for the other figures."""
        import pandas as pd

        lines = [
            {"figure": self.name, "mask": mask["name"], "run_id": mask["runs"].get(seed), "seed": int(seed),
             "measure": one["measure"], "told": one["told"], "clips": one["clips"], "value": value,
             "shuffled": one["shuffled"][seed]}
            for page in self.pages for sheet in page.sheets for mask in sheet.document["masks"]
            for one in mask["numbers"] for seed, value in one["values"].items()
        ]  # fmt: skip
        return pd.DataFrame(lines)

    def __repr__(self) -> str:
        return "\n".join(page.said for page in self.pages)

    def _repr_png_(self) -> bytes | None:
        """Show one page where no HTML is shown, as on a code host."""
        from dmd_repro.figures.page import to_bytes

        return to_bytes(self.pages[0], "png", dpi=80) if len(self.pages) == 1 else None

    def _repr_html_(self) -> str:
        from dmd_repro.figures.page import to_bytes

        parts = []
        for page in self.pages:
            svg = to_bytes(page, "svg").decode()
            drawn = svg[svg.index("<svg") :].replace("<svg ", '<svg style="max-width:100%;height:auto" ', 1)
            parts.append(f'<figure role="img" aria-label="{escape(page.said)}">{drawn}</figure>')
        return "".join(parts)


def figure(
    name: str,
    table: str | None = None,
    *,
    data: str | Sequence[str] = (),
    margin: float | None = None,
    perplexities: Sequence[float] | None = None,
    draws: int | None = None,
    seed: int = 0,
    runs_dir: Folder = None,
) -> Drawing:
    """Draw a figure from recorded runs; nothing is trained. A notebook shows it, `.save("fig5.pdf")` writes it.

    `name`: fig3, fig4 (from what `dmd features RUN` stored), fig5, curves, seeds, forest or power; `table`: table1 ...
    table5, or for curves a run. `data` chooses among feature sets. `perplexities`, `draws` and `seed`, which draws the
    clips, are of Figures 3 and 4; `margin`, in points, of power.

    Raises SpecError for an unknown figure and where matplotlib is missing (the extra is named), ClaimError for an
    unknown table, RunError where the runs at hand do not hold what it shows.
    """
    from dmd_repro.cli.paths import reruns_dir, use_papers
    from dmd_repro.cli.planned import check_margin
    from dmd_repro.figures.make import check_figure, draw_figure
    from dmd_repro.figures.page import require_matplotlib
    from dmd_repro.papers.reruns import load_reruns

    check_figure(name, table)
    check_margin(margin)
    require_matplotlib()
    use_papers()
    pages = draw_figure(
        name, records_in(runs_dir), table, data=[data] if isinstance(data, str) else data, margin=margin,
        reruns=load_reruns(reruns_dir(None)), perplexities=perplexities, draws=draws, seed=seed,
    )  # fmt: skip
    return Drawing(name, pages)
