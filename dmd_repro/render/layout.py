"""A comparison laid out as grids of text: what the terminal, Markdown and LaTeX print is decided here, once.

First the answers, a sentence a row; then the paper's own table with our column beside each of its columns; then, for
rows with runs, one line per number: where it lies, the chances, and what the conventions alone would move. p-values,
intervals and every k of the chances stand in the whole report alone (`--all`), the rules behind `--legend`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from dmd_repro.metrics.registry import COLUMNS, METRICS, readings
from dmd_repro.results.chances import WORDS, shown
from dmd_repro.results.sheet import NONE, TextGrid, p_value
from dmd_repro.results.types import Cell, ComparedBlock, ComparedRow, Unprinted
from dmd_repro.stats.chances import Chance


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers in order, three or more neighbours as a range: "2 5-7 9"."""
    runs: list[list[int]] = []
    for n in sorted(set(numbers)):
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    words = [f"{run[0]}-{run[-1]}" if len(run) > 2 else " ".join(map(str, run)) for run in runs]
    return " ".join(words)


def overview(block: ComparedBlock, footnotes: Sequence[str]) -> TextGrid:
    """Return the paper's rows with the printed and the measured value of each column, and the numbers of the notes."""
    headers = ["method", "n"]
    for column in block.columns:
        headers += [f"{COLUMNS[column]} printed", f"{COLUMNS[column]} measured"]
    rows = []
    for row in block.rows:
        line = [row.row.label, row.n]
        for cell in row.cells:
            line += [cell.printed.text, measured(row, cell) + mark(cell)]
        for column in row.row.ours:
            line += [NONE, _unprinted_number(row.unprinted_in(column), "not run" if row.state == "not run" else NONE)]
        rows.append((*line, ranges(1 + footnotes.index(note) for note in row.notes if note in footnotes)))
    return TextGrid(block.title, (*headers, "notes"), "lr" + "rr" * len(block.columns) + "l", tuple(rows))


def details(block: ComparedBlock) -> TextGrid | None:
    """Return where each measured number of the block lies beside the margin; None if nothing was measured."""
    headers = ("number", "printed", "mean − printed", "below", "within", "above", "place")
    told = [row for row in block.rows if any(cell.judged.difference for cell in row.cells)]
    return _by_number(told, "Where they lie", headers, "lrrrrrl", _verdict_line)


def chances(block: ComparedBlock) -> TextGrid | None:
    """Return how likely each printed number, or a better one, is as one run, a mean or a best; None without any."""
    rows: list[tuple[str, ...]] = []
    for row in block.rows:
        told = [cell for cell in row.cells if cell.chances]
        if told:
            rows.append((row.row.label, *[""] * len(WORDS)))
        rows += [(f"  {cell_name(cell)} {cell.printed.text}", *map(_chance, shown(cell.chances))) for cell in told]
    return TextGrid("Chances", ("% this or better as", *WORDS.values()), "lrrrr", tuple(rows)) if rows else None


def _chance(chance: Chance) -> str:
    return f"{percent(chance.value).removesuffix(' %')} [{100 * chance.low:.0f}–{100 * chance.high:.0f}]"


def every_chance(block: ComparedBlock) -> list[TextGrid]:
    """Return all chances of the block's numbers, of this or better and of this or worse: as means, then as bests."""
    told = [(row, cell) for row in block.rows for cell in row.cells if cell.chances]
    kinds = list(dict.fromkeys((one.hypothesis, one.k) for _, cell in told for one in cell.chances))
    bests = list(dict.fromkeys(kind[0] for kind in kinds if kind[0].startswith("best")))
    grids = []
    for some in ([kind for kind in kinds if kind[0] not in bests], *([k for k in kinds if k[0] == b] for b in bests)):
        rows: list[tuple[str, ...]] = []
        for row, cell in told:
            if cell is next(one for one in row.cells if one.chances):
                rows.append((row.row.label, *[""] * (1 + len(some))))
            for direction in dict.fromkeys(one.direction for one in cell.chances):
                by = {(one.hypothesis, one.k): one for one in cell.chances if one.direction == direction}
                name = f"  {cell_name(cell)} {cell.printed.text}"
                rows.append((name, f"or {direction}", *(_chance(by[kind]) if kind in by else NONE for kind in some)))
        if rows and some:
            heads = ("% this", "or", *(_kind(*kind) for kind in some))
            grids.append(TextGrid("Every chance", heads, "ll" + "r" * len(some), tuple(rows)))
    return grids


def _kind(hypothesis: str, k: int) -> str:
    return hypothesis if hypothesis == "one run" else f"{hypothesis} of {k}"


def further(block: ComparedBlock) -> TextGrid | None:
    """Return the further readings of each measured number: intervals, one run, p-values, and the share of the clips."""
    headers = ("other readings", "d", "95 % mean", "95 % one more run", "one run", "p TOST", "p Holm", "p (t)")
    told = [row for row in block.rows if row.state == "measured"]
    return _by_number(told, "Other readings", (*headers, "SE seeds", "SE clips"), "lrrrlrrrrr", _reading_line)


def _by_number(
    told: Sequence[ComparedRow],
    title: str,
    headers: tuple[str, ...],
    align: str,
    line: Callable[[ComparedRow, Cell], tuple[str, ...]],
) -> TextGrid | None:
    """One line per measured number; the row's name stands over its numbers, so that columns stay narrow."""
    rows: list[tuple[str, ...]] = []
    for row in (row for row in told if row.cells):
        word = row.words.mean if headers[-1] == "place" and row.words.headline else ""
        rows.append((row.row.label, *[""] * (len(headers) - 2), word))
        rows += [(f"  {cell_name(cell)}", *line(row, cell)) for cell in row.cells]
    return TextGrid(title, headers, align, tuple(rows)) if rows else None


def _verdict_line(row: ComparedRow, cell: Cell) -> tuple[str, ...]:
    judged, beside = cell.judged, cell.beside
    ends = judged.difference.interval if judged.difference else None
    chances = (NONE,) * 3 if beside is None else tuple(map(percent, (beside.below, beside.within, beside.above)))
    return (
        cell.printed.text,
        NONE if ends is None else f"[{signed(ends[0], cell)}, {signed(ends[1], cell)}]",
        *chances,
        judged.word,
    )


def percent(chance: float) -> str:
    """Return a chance in whole percent; what is not 0 or 1 is not printed so."""
    if 0 < chance < 0.005:
        return "<1 %"
    return ">99 %" if 0.995 <= chance < 1 else f"{100 * chance:.0f} %"


def _reading_line(row: ComparedRow, cell: Cell) -> tuple[str, ...]:
    judged = cell.judged
    return (
        NONE if cell.difference is None else signed(cell.difference, cell),
        interval(cell),
        ends_of(judged.prediction, cell),
        judged.one_run or NONE,
        NONE if judged.difference is None else p_value(judged.difference.p_equivalence),
        NONE if judged.p_difference is None else p_value(judged.p_difference),
        NONE if cell.test is None else p_value(cell.test.p),
        NONE if judged.clips is None else number(judged.clips.error_seeds, cell),
        NONE if judged.clips is None else number(judged.clips.error_clips, cell),
    )


def unprinted(block: ComparedBlock) -> TextGrid | None:
    """Return what is always shown of a measured row and not printed (MAE and Corr, as a rule); None where all is."""
    there = [row for row in block.rows if row.unprinted]
    columns = block.columns  # of a row of ours these stand in the table itself
    shown = (one.metric for row in there for one in row.unprinted if METRICS[one.metric].column not in columns)
    names = list(dict.fromkeys(shown))
    rows = []
    for row in there:
        found = {one.metric: one for one in row.unprinted}
        cells = [cell for name in names for cell in (NONE, _unprinted_number(found.get(name)))]
        rows.append((row.row.label, row.n, *cells))
    heads = [f"{METRICS[name].heading} {word}" for name in names for word in ("printed", "measured")]
    return TextGrid("Not printed", ("not printed", "n", *heads), "lr" + "r" * len(heads), tuple(rows)) if rows else None


def _unprinted_number(one: Unprinted | None, without: str = NONE) -> str:
    if one is None or one.summary.mean is None:
        return without
    digits = METRICS[one.metric].digits
    spread = "" if one.summary.std is None else f" ± {one.summary.std:.{digits}f}"
    return f"{one.summary.mean:.{digits}f}{spread}".replace("-", "−")


def conventions(block: ComparedBlock) -> TextGrid | None:
    """Return the same runs under every convention, and how far apart these alone put them; None without any."""
    dataset = block.rows[0].row.dataset
    ways = {c: found for c in block.columns if len(found := [m.id for m in readings(c, dataset)]) > 1}
    columns = list(ways)
    rows = []
    for row in block.rows:
        cells = {cell.column: cell for cell in row.cells if cell.conventions}
        if not cells:
            continue
        line = [row.row.label]
        for column in columns:
            cell = cells.get(column)
            means = cell.conventions if cell else {}
            line += [number(means[i], cell) if cell and i in means else NONE for i in ways[column]]
            line.append(NONE if cell is None or cell.convention_moves is None else number(cell.convention_moves, cell))
        rows.append(tuple(line))
    headers = ["by convention"]
    for column in columns:
        headers += [*(METRICS[i].short or METRICS[i].name for i in ways[column]), "moves"]
    return TextGrid("Conventions", tuple(headers), "l" + "r" * (len(headers) - 1), tuple(rows)) if rows else None


def reruns(block: ComparedBlock) -> TextGrid | None:
    """Return what others measured for the block's numbers, beside printed and measured; None where nobody did."""
    rows: list[tuple[str, ...]] = []
    for row in block.rows:
        for key in dict.fromkeys(one.key for cell in row.cells for one in cell.reruns):
            for cell in row.cells:
                found = next((one for one in cell.reruns if one.key == key), None)
                if found is None:
                    continue
                spread = f"{number(found.mean, cell)} ± {number(found.std, cell)}"
                said = (cell.printed.text, measured(row, cell), spread, number(found.best, cell))
                rows.append((f"{row.row.label} {cell_name(cell)}", *said, str(found.n), str(found.reach), found.by))
    heads = ("number", "printed", "measured", "re-runs by others", "best", "n", "reach it", "by")
    return TextGrid("Re-runs by others", heads, "lrrrrrrl", tuple(rows)) if rows else None


def more(block: ComparedBlock, whole: bool) -> list[TextGrid]:
    """Return the grids that stand under the overview of a block, those that have something to say; `whole`: all."""
    makers = [details, chances, reruns, unprinted, conventions, *((further,) if whole else ())]
    found = [grid for make in makers if (grid := make(block)) is not None]
    return [*found, *(every_chance(block) if whole else ())]


def printed_only(block: ComparedBlock) -> TextGrid:
    """Return the printed numbers of a block of which nothing was run."""
    rows = tuple((row.row.label, *(cell.printed.text for cell in row.cells)) for row in block.rows if row.cells)
    heads = ("printed", *(COLUMNS[column] for column in block.columns))
    return TextGrid(block.title, heads, "l" + "r" * len(block.columns), rows)


def cell_name(cell: Cell) -> str:
    """Return the column with the convention it was scored by: `F1 non0 swapped`."""
    return METRICS[cell.metric].name


def number(value: float, cell: Cell) -> str:
    """Print one decimal more than the paper does."""
    return f"{value:.{cell.printed.decimals + 1}f}".replace("-", "−")


def measured(row: ComparedRow, cell: Cell) -> str:
    """Return `mean ± STD`, the mean alone for one run, or why there is none in a word or two."""
    if cell.summary.mean is None:
        if row.failed and len(row.failed) == len(row.planned):
            return "failed"
        return NONE if row.state != "not run" else "not run"
    mean = number(cell.summary.mean, cell)
    return mean if cell.summary.std is None else f"{mean} ± {number(cell.summary.std, cell)}"


def mark(cell: Cell) -> str:
    """Return the sign of where a number lies, "" where the row has no word."""
    return cell.judged.mark


def interval(cell: Cell) -> str:
    """Return the interval of the mean, or a dash."""
    return ends_of(cell.summary.interval, cell)


def ends_of(ends: tuple[float, float] | None, cell: Cell) -> str:
    """Return an interval, or a dash."""
    return NONE if ends is None else f"[{number(ends[0], cell)}, {number(ends[1], cell)}]"


def signed(value: float, cell: Cell) -> str:
    """Return a difference with its sign."""
    return ("+" if value >= 0 else "") + number(value, cell)
