"""One figure on one page: a title with the data's mark above, the panels, what has to be read with them below.

matplotlib without pyplot: no global state is touched, no display is needed, and equal content gives equal bytes.
"""

from __future__ import annotations

import importlib.util
import io
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from dmd_repro.errors import SpecError
from dmd_repro.results.sheet import NOT_COMPARABLE, marked
from dmd_repro.visible import one_line, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dmd_repro.results.sheet import Sheet

Ending = Literal["svg", "pdf", "png"]
ENDINGS: tuple[Ending, ...] = ("svg", "pdf", "png")
# Okabe and Ito's eight colours, told apart by most of the colour-blind; black is kept for what was printed
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
INK, PALE, MARK = "#000000", "#8a8a8a", "#b3261e"
STYLE: Any = {
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7,
    "legend.fontsize": 7, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
    "lines.linewidth": 1.2, "text.parse_math": False, "svg.hashsalt": "dmd", "pdf.fonttype": 42,
    "font.family": "DejaVu Sans", "savefig.facecolor": "white", "figure.facecolor": "white",
}  # fmt: skip
_LINE, _NUMBERS, _ACROSS = 0.133, 0.124, 18.5  # inches a line of notes takes, one of numbers; characters an inch
_NO_DATE: dict[Ending, dict[str, str | None]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None},
    "png": {"Software": None},
}


@dataclass(frozen=True)
class Page:
    """A drawn figure."""

    name: str  # what tells it from the other pages of one figure, for a file's name
    figure: Figure
    mark: str | None  # of the data: SYNTHETIC DATA, PARTIAL DATA
    describes: str  # what it shows, without a full stop
    sheets: Sequence[Sheet] = field(default_factory=tuple)  # the numbers beside the picture

    @property
    def said(self) -> str:
        """What it shows, in a sentence with the mark: the title of its file, and the text for who cannot see it."""
        return f"{marked(self.describes, self.mark)}."


def require_matplotlib() -> None:
    """Raise SpecError naming the extra where matplotlib, or scikit-learn for the maps, is not installed."""
    needs = {"matplotlib": "matplotlib", "sklearn": "scikit-learn"}
    if missing := [name for module, name in needs.items() if importlib.util.find_spec(module) is None]:
        raise SpecError.at(
            "dmd figure", expected=f"{' and '.join(missing)}, which it draws with", got="none",
            do="Install the extra: pip install 'dmd-repro[plots]'",
        )  # fmt: skip


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the house style while the block runs; what the reader's own matplotlibrc says does not enter."""
    require_matplotlib()
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name in letters the font lacks is drawn as boxes, and is no failure
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def panels(
    rows: int, columns: int, *, size: tuple[float, float], title: str, mark: str | None, notes: Sequence[str] = (),
    table: str = "", left: float = 0.0, **shared: Any,
) -> tuple[Figure, list[list[Axes]]]:  # fmt: skip
    """Return a figure of rows x columns axes of `size` inches each, with title and mark above and notes below.

    `table`: lines of numbers in a fixed-width font, between panels and notes; `left`: inches for names at the left.
    """
    from matplotlib.figure import Figure

    width = max(5.5, left + columns * size[0])
    said = [line for note in notes for line in textwrap.wrap(one_line(note), int(width * _ACROSS))]
    heads = textwrap.wrap(one_line(title), int(width * 11))
    numbers = table.splitlines()
    top = 0.19 * len(heads) + (0.2 if mark else 0.0) + 0.1
    bottom = _LINE * len(said) + _NUMBERS * len(numbers) + 0.12 + (0.08 if numbers else 0.0)
    height = rows * size[1] + top + bottom
    figure = Figure(figsize=(width, height), layout="constrained")
    engine: Any = figure.get_layout_engine()
    engine.set(rect=(0.01, bottom / height, 0.98, 1 - (top + bottom) / height), h_pad=0.05, w_pad=0.05)
    figure.text(0.1 / width, 1 - 0.08 / height, "\n".join(heads), va="top", size=9.5, weight="bold")
    if mark:
        words = f"{mark}: {NOT_COMPARABLE}"
        figure.text(0.1 / width, 1 - (0.1 + 0.19 * len(heads)) / height, words, va="top", weight="bold", color=MARK)
    line = _LINE * len(said)
    if said:
        figure.text(0.1 / width, 0.05 / height, "\n".join(said), va="bottom", size=7, linespacing=1.25, color="#333333")
    if numbers:
        at = (0.13 + line) / height
        figure.text(
            0.1 / width, at, table.rstrip("\n"), va="bottom", size=7, linespacing=1.25, family="DejaVu Sans Mono"
        )
    return figure, figure.subplots(rows, columns, squeeze=False, **shared).tolist()


def to_bytes(page: Page, ending: Ending, dpi: int = 160) -> bytes:
    """Return a page as a file: no date and no version is in it. `dpi`: of a PNG."""
    return _saved([page], ending, dpi)


def to_book(pages: Sequence[Page]) -> bytes:
    """Return several pages as one PDF."""
    return _saved(pages, "pdf")


def _saved(pages: Sequence[Page], ending: Ending, dpi: int = 160) -> bytes:
    stream, about = io.BytesIO(), {**_NO_DATE[ending], "Title": visible(" ".join(page.said for page in pages))}
    with drawing():
        if ending != "pdf":
            pages[0].figure.savefig(stream, format=ending, dpi=dpi, metadata=about)
            return stream.getvalue()
        from matplotlib.backends.backend_pdf import PdfPages

        with PdfPages(stream, metadata=about) as book:
            for page in pages:
                book.savefig(page.figure)
    return stream.getvalue()
