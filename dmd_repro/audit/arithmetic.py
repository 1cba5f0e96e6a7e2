"""Do the printed numbers agree: means and STDs, one configuration in two places, settings side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from statistics import fmean, pstdev, stdev

from dmd_repro.audit.types import AuditInput, Check, Said, Status, better, cell, heading
from dmd_repro.papers.tables import Printed, PublishedTable, Row

SAME_BY_WORDS = tuple((f"{m}-with-fd", f"{m}-homo-without-homogd") for m in ("l", "v", "a"))
READING = "our reading that the two are one configuration; how a part is switched off is not printed"


def half_unit(printed: Printed) -> float:
    """Return half a unit of the last printed decimal."""
    return 0.5 * 10.0**-printed.decimals


def arithmetic(evidence: AuditInput) -> Iterable[Said]:
    """Yield, for each derived number, whether it recomputes from the numbers it rests on, and by which formula."""
    for table in evidence.tables.values():
        rows = {row.key: row for row in table.rows}
        for row in table.rows:
            if row.derived is None:
                continue
            for column, printed in row.cells.items():
                parts = [float(rows[key].cells[column].value) for key in row.derived.rows]
                slack = max(half_unit(rows[key].cells[column]) for key in row.derived.rows)
                mean = row.derived.statistic == "mean"
                forms = {"mean": fmean(parts)} if mean else {"population": pstdev(parts), "sample": stdev(parts)}
                yield _recomputed(table, row, column, printed, forms, slack)


def _recomputed(
    table: PublishedTable, row: Row, column: str, printed: Printed, forms: dict[str, float], slack: float
) -> Said:
    half, value = half_unit(printed), float(printed.value)
    exact = [name for name, form in forms.items() if abs(form - value) <= half + 1e-9]
    # each part may be off by `slack`: a mean then by as much, a population STD by no more, a sample one by sqrt(3/2)
    near = [name for name, form in forms.items() if abs(form - value) <= half + 1.25 * slack]
    said = ", ".join(f"{name} {form:.3f}" for name, form in forms.items())
    text = f"{row.label} {heading(column)} {printed.text}: recomputed from the printed parts: {said}."
    at = cell(table, row, column)
    if exact:
        text += (
            ""
            if exact == ["mean"]
            else f" It is the {exact[0]} STD (divisor {'n' if exact[0] == 'population' else 'n - 1'})."
        )
        return Said("ok", text, **at)
    if near:
        return Said("ok", f"{text} Within the rounding of the parts.", **at)
    return Said("fail", f"{text} No formula gives it, whatever was rounded.", **at)


def cross_table(evidence: AuditInput) -> Iterable[Said]:
    """Yield, for each configuration printed twice, whether the numbers agree, and section 4.2 against Table 4."""
    places: dict[tuple[object, ...], list[tuple[PublishedTable, Row, str]]] = defaultdict(list)
    spoken = {(a, b) for a, b in SAME_BY_WORDS}
    for table in evidence.tables.values():
        for row in table.rows:
            if row.recipe is None:
                continue
            recipe = row.recipe
            options = tuple(sorted(recipe.overrides.items()))
            for column in row.cells:
                places[
                    recipe.model, recipe.mask, recipe.head, options, row.dataset, row.setting, row.text, column
                ].append((table, row, column))
    for found in places.values():
        for (one, a, column), (two, b, _) in pairwise(found):
            if (a.key, b.key) not in spoken:
                yield _same(one, a, two, b, column, "certain that both print one configuration")
    for first, second in SAME_BY_WORDS:
        fd, text = evidence.row("table4", first), evidence.row("table4", second)
        if fd is not None and text is not None:
            yield _same(evidence.tables["table4"], text, evidence.tables["table4"], fd, "acc2", READING)
    yield from _homogd_against_fd(evidence)


def _same(one: PublishedTable, a: Row, two: PublishedTable, b: Row, column: str, certainty: str) -> Said:
    first, second = a.cells[column], b.cells[column]
    gap = abs(first.value - second.value)
    where = f"{one.name} '{a.label}' prints {first.text}, {two.name} '{b.label}' {second.text}"
    text = f"{heading(column)} of one configuration: {where}"
    text += ": equal." if gap == 0 else f", {gap} points apart."
    at = cell(one, a, column)
    return Said("ok" if gap == 0 else "flag", text, certainty=certainty, **at)


def _homogd_against_fd(evidence: AuditInput) -> Iterable[Said]:
    """Adding HomoGD to FD should lift a modality; set beside Table 4, section 4.2 says the opposite."""
    rows = [
        (evidence.row("table4", f"{m}-with-fd"), evidence.row("table4", f"{m}-homo-with-homogd"))
        for m in ("l", "v", "a")
    ]
    pairs = [(fd, gd) for fd, gd in rows if fd is not None and gd is not None]
    if not pairs:
        return
    fd = [fd.cells["acc2"].value for fd, _ in pairs]
    gd = [gd.cells["acc2"].value for _, gd in pairs]
    lower = sum(g < f for f, g in zip(fd, gd, strict=True))
    text = (
        f"ACC2 of L, V, A: with FD alone (Table 4) {_list(fd)}, with FD and HomoGD (section 4.2) {_list(gd)}. "
        f"{lower} of {len(pairs)} are lower with HomoGD: there it takes away what section 4.2 says it adds."
        if lower
        else f"ACC2 of L, V, A: with FD alone {_list(fd)}, with HomoGD {_list(gd)}: none lower."
    )
    without = [evidence.row("table4", homo) for _, homo in SAME_BY_WORDS]
    printed = [row.cells["acc2"].value for row in without if row is not None]
    head = None
    if len(printed) == len(fd) and printed != fd:
        head = f"One configuration, as we read it, two results: L, V, A are {_list(fd)} in Table 4, {_list(printed)} "
        head += "in section 4.2 (FD alone)."
    status: Status = "flag" if lower else "ok"
    yield Said(status, text, table=evidence.tables["table4"], metric="acc2", certainty=READING, head=head)


def _list(values: Sequence[Decimal]) -> str:
    return " / ".join(str(value) for value in values)


def settings(evidence: AuditInput) -> Iterable[Said]:
    """Yield what each system of Tables 1, 2 loses from aligned to unaligned words, and the rows that gain."""
    for table in evidence.some("table1", "table2"):
        glove = {(row.method, row.setting): row for row in table.rows if row.text == "glove"}
        pairs = {
            row.method: (row, glove[row.method, "unaligned"])
            for row in glove.values()
            if row.setting == "aligned" and (row.method, "unaligned") in glove
        }
        for column in table.columns if pairs or not evidence.paper else ():
            gaps = {
                method: two.cells[column].value - one.cells[column].value
                for method, (one, two) in pairs.items()
                if column in one.cells and column in two.cells
            }
            gains = [method for method, gap in gaps.items() if better(pairs[method][0], column) * gap > 0]
            said = ", ".join(f"{method} {gap:+}" for method, gap in gaps.items())
            text = f"{heading(column)} from aligned to unaligned: {said}."
            if gains:
                text += f" {' and '.join(gains)} alone {'gains' if len(gains) == 1 else 'gain'}."
            yield Said("flag" if gains else "ok", text, table=table, metric=column)


def encoders(evidence: AuditInput) -> Iterable[Said]:
    """Yield whether a starred row (BERT) beats the same system with GloVe, in either setting."""
    for table in evidence.some("table1", "table2"):
        for row in table.rows:
            if row.text != "bert":
                continue
            same = (row.method, row.dataset, "glove")
            others = [other for other in table.rows if (other.method, other.dataset, other.text) == same]
            shared = [column for column in row.cells if all(column in other.cells for other in others)]
            for column, printed in ((c, row.cells[c]) for c in (shared if others else ())):
                way = better(row, column)
                worse = [other for other in others if way * other.cells[column].value >= way * printed.value]
                text = (
                    f"{row.label} {heading(column)} {printed.text} (BERT, {row.setting}) against GloVe: "
                    + ", ".join(f"{other.cells[column].text} ({other.setting})" for other in others)
                )
                text += ": BERT is better." if not worse else f". GloVe, {worse[0].setting}, is as good or better."
                yield Said("flag" if worse else "ok", text, **cell(table, row, column))


CHECKS = (
    Check(
        "arithmetic",
        "Do printed means and STDs recompute from the printed numbers they rest on?",
        "they were computed from the values printed beside them",
        ("they were computed from unprinted digits",),
        arithmetic,
    ),
    Check(
        "cross-table",
        "Does one configuration have one number wherever it is printed?",
        "equal configurations were run once, or reported from one run",
        (
            "the two come from different seeds, code versions or stopping epochs",
            "they are different configurations after all",
            "one is measured by a head trained for that table",
        ),
        cross_table,
    ),
    Check(
        "settings",
        "Does giving up the alignment of words cost every system?",
        "unaligned input is the harder setting, as the papers say",
        (
            "a gain of this size is within the spread over seeds",
            "the unaligned files hold longer sequences, which may help",
        ),
        settings,
    ),
    Check(
        "encoders",
        "Does BERT beat GloVe for the same system?",
        "BERT is the stronger encoder of text",
        (
            "the two rows differ in the alignment of words too",
            "a difference of this size is within the spread over seeds",
        ),
        encoders,
    ),
)
