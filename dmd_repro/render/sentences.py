"""The sentences around the tables of a comparison: the answers above, notes, legend and rules below.

Every format takes them from here; how much of it is printed is the reader's choice (`Ink`).
"""

from __future__ import annotations

from dataclasses import dataclass

from dmd_repro.results.evidence import OURS
from dmd_repro.results.rule import points_of
from dmd_repro.results.types import ComparisonTable
from dmd_repro.results.verdict import NOT_COMPARABLE

CONVENTIONS = (
    "non0: negative / positive, clips labelled 0 left out; has0: negative / non-negative, all clips; "
    "swapped: weighted F1 with its two arguments exchanged; each row is compared under its own convention. moves: how "
    "far apart the conventions alone put the mean of the same runs."
)


NOTHING = "Nothing to compare yet: no finished run here, and no re-run by others that is comparable with a row."


@dataclass(frozen=True, slots=True)
class Ink:
    """How much of a report is printed: `whole` adds p-values, intervals and every note, `legend` the rules."""

    whole: bool = False
    legend: bool = False


ALL = Ink(whole=True, legend=True)


def answers(table: ComparisonTable) -> list[str]:
    """Return what the table says, first of all: others' re-runs, then a sentence for each row that may be compared.

    Rows that were run and may not be compared are named with the reason; a table without any of these says so.
    """
    told = [row.answer for row in table.rows if row.answer and row.words.mean != NOT_COMPARABLE]
    apart: dict[str, list[str]] = {}
    for row in table.rows:
        if row.runs and row.words.mean == NOT_COMPARABLE:
            apart.setdefault(row.words.why or "", []).append(
                f"{row.row.label} ({row.row.dataset.upper()}, {row.row.setting})"
            )
    told += [f"Run, and not comparable with what is printed: {', '.join(some)}: {why}." for why, some in apart.items()]
    return [*table.answers, *told] or [NOTHING]


def measured_notes(table: ComparisonTable) -> list[str]:
    """Return what is to be known of the runs; sources, evidence and missing tests stand in the whole report."""
    return list(dict.fromkeys(note for row in table.rows if row.planned for note in row.telling))


def legend(table: ComparisonTable) -> list[str]:
    """Return what the signs and columns mean, in a few lines; the rules stand behind `--legend`."""
    lines = []
    if any(row.state == "measured" for row in table.rows):
        lines.append(
            "n: runs counted / planned; ± sample STD over them. ✓ within the margin, ↓ worse, ↑ better, ? undecided; "
            "° yet one run may print it."
        )
    if any(row.row.ours for row in table.rows if row.state == "measured"):
        lines.append(f"(ours): {OURS.removeprefix('ours, ')}.")
    if said := _levels(table):
        lines.append(f"mean − printed: its interval, {said}.")
    if any(cell.beside for row in table.rows for cell in row.cells):
        lines.append(
            f"below, within, above: the chance that the method's mean lies so, margin {points_of(table.margin)}. "
            "this or better as: the chance that it prints the number or better so, in brackets 90 %."
        )
    if table.decided:
        level = sum(stage.level for stage in table.decided)
        rows = f"{len(table.decided)} row{'s are' if len(table.decided) > 1 else ' is'}"
        lines.append(f"{rows} judged: expect at most {level:.2g} false words of each kind.")
    if len(table.looks) > 1:
        lines.append(f"looked at {len(table.looks)} times ({', then '.join(table.looks)}): the stages allow it.")
    return lines


def _levels(table: ComparisonTable) -> str:
    """The level of each interval of mean − printed, by its runs: those a word is read from, then the others."""
    found: dict[bool, set[tuple[int, float]]] = {True: set(), False: set()}
    for row in table.rows:
        for cell in row.cells:
            if d := cell.judged.difference:
                found[row.words.stage is not None and row.words.headline].add((d.n, d.level))
    read, alone = (
        ", ".join(f"{100 * (1 - 2 * level):g} % at {n} runs" for n, level in sorted(found[words]))
        for words in (True, False)
    )
    said = [f"which the word is read from ({read})"] if read else []
    return " or ".join([*said, *([f"without a word ({alone})"] if alone else [])])


def pointers(table: ComparisonTable, ink: Ink) -> list[str]:
    """Return where the rest is to be found."""
    more = [] if ink.whole else ["`--all`: p-values, intervals, sources and notes of every row"]
    more += [] if ink.legend else ["`--legend`: the rules"]
    lines = ["; ".join(more) + "."] if more else []
    if not any(row.planned for row in table.rows):
        lines.append(f"Nothing of it was run here: `dmd reproduce {table.name}` trains what your data allow.")
    if table.other_reruns and not ink.whole:
        n = len(table.other_reruns)
        lines.insert(0, f"{n} re-runs by others stand beside no row; `--all` says why.")
    return lines


def other_reruns(table: ComparisonTable) -> list[str]:
    """Return a line for each re-run of the table's systems that is comparable with none of its rows."""
    return [one.line for one in table.other_reruns]


def data_lines(table: ComparisonTable) -> list[str]:
    """Return one line per feature set: its label and the digest of its content."""
    if not table.data:
        return ["none: no run was planned; `dmd reproduce` plans and trains"]
    return [f"{data['label']}, digest {str(data['digest'])[:12]}" for data in table.data]


def rule_lines(table: ComparisonTable) -> list[str]:
    """Return the rules: how the numbers were made, what decides the words, what the names mean."""
    return [*table.rule, CONVENTIONS]
