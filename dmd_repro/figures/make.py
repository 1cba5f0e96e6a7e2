"""Every figure by name: from recorded runs to drawn pages. Nothing is trained here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from dmd_repro.errors import SpecError, nearest
from dmd_repro.figures.page import ENDINGS, Ending, Page, to_book, to_bytes
from dmd_repro.papers.rerun import Rerun
from dmd_repro.records.folder import Records

FIGURES = {
    "fig3": "t-SNE maps of the homogeneous features by class, and how far apart the classes are",
    "fig4": "t-SNE maps of the heterogeneous features by modality, and how far apart those are",
    "fig5": "the six edges of each graph unit over the epochs, beside start and prior",
    "curves": "every loss term and measure over the epochs; of a table, a run, or all configurations",
    "seeds": "the runs behind each measured number of a table",
    "forest": "every row of a table: printed, ours, others'",
    "power": "what a number of seeds can settle",
}
NEEDS_TABLE, NO_TABLE = ("seeds", "forest"), ("fig3", "fig4", "fig5")


def check_figure(name: str, table: str | None) -> None:
    """Raise SpecError for an unknown figure, a table it needs and lacks, or one it cannot use."""
    if name not in FIGURES:
        raise SpecError.at(
            f"figure '{name}'", expected="a known figure", got="an unknown name", do=nearest(name, FIGURES)
        )
    if table is None and name in NEEDS_TABLE:
        raise SpecError.at(
            f"dmd figure {name}", expected="a table", got="none", do=f"Name it: dmd figure {name} table1"
        )  # fmt: skip
    if table is not None and name in NO_TABLE:
        raise SpecError.at(
            f"dmd figure {name} {table}", expected=f"no table: {name} is of runs, whichever table planned them",
            got=f"'{table}'", do="Leave it out, and choose the runs by --data",
        )  # fmt: skip


def draw_figure(
    name: str, records: Records, table: str | None = None, *, data: Sequence[str] = (), margin: float | None = None,
    reruns: Sequence[Rerun] | None = None, perplexities: Sequence[float] | None = None, draws: int | None = None,
    seed: int = 0, say: Callable[[str], None] = lambda line: None,
) -> list[Page]:  # fmt: skip
    """Return the pages of a figure; `reruns`: others' runs (None: those that come with the package).

    `margin`, in points: the plan's where None.
    `perplexities`, `draws` and the `seed` that draws the clips are of Figures 3 and 4; `say` hears what takes long.

    Raises SpecError as `check_figure` does and where matplotlib is missing, ClaimError for an unknown table, RunError
    where the runs at hand do not hold what it shows.
    """
    check_figure(name, table)
    if name == "fig5":
        from dmd_repro.figures.edges import draw_edges

        return draw_edges(records, data)
    if name in ("fig3", "fig4"):
        from dmd_repro.figures.scatter import DRAWS, PERPLEXITIES, draw_scatter

        return draw_scatter(
            "fig3" if name == "fig3" else "fig4", records, data, perplexities=perplexities or PERPLEXITIES,
            draws=DRAWS if draws is None else draws, seed=seed, say=say,
        )  # fmt: skip
    if name == "curves":
        from dmd_repro.figures.curves import draw_curves

        return draw_curves(records, table, data or None)
    if name == "power":
        from dmd_repro.figures.power import draw_power

        return draw_power(records, table, data or None, margin)
    from dmd_repro.results.tables import compare_tables

    assert table is not None
    (found,) = compare_tables(records.root, [table], data or None, margin=margin, reruns=reruns)
    if name == "seeds":
        from dmd_repro.figures.seeds import draw_seeds

        return draw_seeds(found)
    from dmd_repro.figures.forest import draw_forest

    return draw_forest(found)


def ending_of(file: Path | None, asked: str | None) -> Ending:
    """Return the kind of file: what was asked for, else what FILE's ending tells, else svg.

    Raises SpecError for an unknown one, and where the two disagree.
    """
    told = file.suffix.lower().removeprefix(".") if file else ""
    chosen = asked or told or "svg"
    where = f"--format {asked}" if asked else f"-o {file.name}" if file else "--format"
    for ending in ENDINGS:
        if ending == chosen:
            if told and told != chosen:
                raise SpecError.at(
                    f"{where} -o {file.name if file else ''}", expected="one kind of file", got=f"{chosen} and {told}",
                    do=f"Write -o {file.stem if file else 'figure'}.{chosen}, or leave --format out",
                )  # fmt: skip
            return ending
    raise SpecError.at(where, expected=", ".join(ENDINGS), got=f"'{chosen}'", do=nearest(chosen, ENDINGS))


def files_of(pages: Sequence[Page], file: Path, ending: Ending) -> dict[Path, bytes]:
    """Return what is to be written: one file; of several pages one PDF, or a file each, told apart by their names."""
    if len(pages) == 1:
        return {file: to_bytes(pages[0], ending)}
    if ending == "pdf":
        return {file: to_book(pages)}
    return {file.with_name(f"{file.stem}-{page.name}{file.suffix}"): to_bytes(page, ending) for page in pages}
