"""The paper's claims in words, C1 to C10, held against its own numbers as far as numbers go."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from dmd_repro.audit.types import AuditInput, Check, Said, Status, cell, heading
from dmd_repro.papers.tables import Row

BLOCKS = ("mosi-unaligned-glove", "mosei-unaligned-glove")
LETTERS = ("l", "v", "a")
C3_INNOCENT = ("the sentence has F1 in mind, where it holds", "changes of this size are within the spread over seeds")
WORDS = "the claim as worded; which metric it means is not printed"


def best(evidence: AuditInput) -> Iterable[Said]:
    """C1: yield, per block and column of Tables 1, 2, whether the row called best is the best, and by how much."""
    for table, block in evidence.blocks("table1", "table2"):
        champion = next((row for row in block.rows if row.key == block.claimed_best), None)
        if champion is None:
            continue
        for column in block.columns:
            mine = champion.cells[column].value
            others = sorted(
                ((row.cells[column].value, row.label) for row in block.rows if row is not champion), reverse=True
            )
            ahead = [f"{label} {value}" for value, label in others if value >= mine]
            gap = mine - others[0][0]
            text = (
                f"C1, {heading(column)}: {champion.label} {mine}, next {others[0][1]} {others[0][0]} ({gap:+} points)."
            )
            text += f" Not the best: {', '.join(ahead)}." if ahead else " It is the highest number of the block."
            yield Said("fail" if ahead else "ok", text, **cell(table, champion, column))


def claims(evidence: AuditInput) -> Iterable[Said]:
    """C2 to C10: yield what the printed numbers say of each."""
    yield from _c2(evidence)
    yield from _c3(evidence)
    yield from _c4(evidence)
    yield from _c5(evidence)
    yield from _c6(evidence)
    figure = "the paper gives it as a figure without numbers"
    yield Said(
        "n/a",
        "C7 (learned edges favour L->A and L->V, and V->A emerges): " + figure + ". `dmd audit --code` adds that the "
        "authors' code puts a fixed prior of 0.48 on L->A and L->V (HomoGD) and 0.33 on L->A, L->V and V->A "
        "(HeteroGD) and pulls the edges towards it.",
        certainty="read in the authors' code",
    )
    yield from _c8(evidence)
    runs = "measured in runs by dmd figure"
    yield Said(
        "n/a", f"C9 (with GD the seven classes separate in Figure 3): {figure}; {runs} fig3.", certainty="not checked"
    )
    yield Said(
        "n/a", f"C10 (DMD separates the modalities best in Figure 4): {figure}; {runs} fig4.", certainty="not checked"
    )


def _steps(
    evidence: AuditInput, claim: str, steps: Iterable[tuple[str, str, str]], table: str = "table3"
) -> Iterable[Said]:
    """Yield whether each (what, key before, key after) rises, per block and column."""
    for name in BLOCKS:
        for what, before, after in steps:
            a, b = evidence.row(table, f"{name}-{before}"), evidence.row(table, f"{name}-{after}")
            if a is None or b is None:
                continue
            for column in (column for column in a.cells if column in b.cells):
                gap = b.cells[column].value - a.cells[column].value
                text = f"{claim}, {name.split('-')[0].upper()} {heading(column)}: {what} moves "
                text += f"{a.cells[column].text} to {b.cells[column].text} ({gap:+})."
                at = cell(evidence.tables[table], b, column)
                yield Said("ok" if gap > 0 else "fail", text, certainty=WORDS, **at)


def _c2(evidence: AuditInput) -> Iterable[Said]:
    steps = (
        ("FD", "dmd-no-parts", "dmd-only-fd"),
        ("HomoGD", "dmd-only-fd", "dmd-no-ca-no-heterogd"),
        ("CA + HeteroGD", "dmd-no-ca-no-heterogd", "dmd"),
    )
    yield from _steps(evidence, "C2", steps)


def _c3(evidence: AuditInput) -> Iterable[Said]:
    """HeteroGD without CA should degrade: a rise contradicts the words, no change does not show them."""
    for name in BLOCKS:
        before = evidence.row("table3", f"{name}-dmd-no-ca-no-heterogd")
        after = evidence.row("table3", f"{name}-dmd-no-ca")
        if before is None or after is None:
            continue
        for column in before.cells:
            gap = after.cells[column].value - before.cells[column].value
            text = f"C3, {name.split('-')[0].upper()} {heading(column)}: HeteroGD without CA moves "
            text += f"{before.cells[column].text} to {after.cells[column].text} ({gap:+}): "
            rise = "rises, where the text says it degrades."
            text += "degrades, as said." if gap < 0 else "no change." if gap == 0 else rise
            at = cell(evidence.tables["table3"], after, column)
            status: Status = "ok" if gap < 0 else "flag" if gap == 0 else "fail"
            moves = f"{before.cells[column].text} to {after.cells[column].text}"
            head = f"C3 fails as worded: HeteroGD w/o CA moves {name.split('-')[0].upper()} {heading(column)} {moves}."
            shown = head if status == "fail" else None
            yield Said(status, text, certainty=WORDS, innocent=C3_INNOCENT, head=shown, **at)


def _c4(evidence: AuditInput) -> Iterable[Said]:
    """FD lifts each modality and narrows their spread."""
    for key, what in (*((m, m.upper()) for m in LETTERS), ("std", "the STD over modalities")):
        before, after = evidence.row("table4", f"{key}-without-fd"), evidence.row("table4", f"{key}-with-fd")
        if before is None or after is None:
            continue
        for column in before.cells:
            gap = after.cells[column].value - before.cells[column].value
            good = gap < 0 if key == "std" else gap > 0
            text = f"C4, {heading(column)}: FD moves {what} {before.cells[column].text} to "
            text += f"{after.cells[column].text} ({gap:+})."
            at = cell(evidence.tables["table4"], after, column)
            yield Said("ok" if good else "fail", text, certainty=WORDS, **at)


def _c5(evidence: AuditInput) -> Iterable[Said]:
    for m in LETTERS:
        before, after = (
            evidence.row("table4", f"{m}-homo-without-homogd"),
            evidence.row("table4", f"{m}-homo-with-homogd"),
        )
        if before is None or after is None:
            continue
        gap = after.cells["acc2"].value - before.cells["acc2"].value
        text = (
            f"C5, ACC2: HomoGD moves {m.upper()} {before.cells['acc2'].text} to {after.cells['acc2'].text} ({gap:+}); "
        )
        text += "the direction follows from the context. Against Table 4 see 'cross-table'."
        at = cell(evidence.tables["table4"], after, "acc2")
        yield Said("ok" if gap > 0 else "fail", text, certainty="direction read from the context", **at)


def _c6(evidence: AuditInput) -> Iterable[Said]:
    steps = (("one GD-Unit on MulT", "mult", "mult-gd"), ("DMD instead of MulT with GD", "mult-gd", "dmd"))
    yield from _steps(evidence, "C6", steps, "table5")


def _c8(evidence: AuditInput) -> Iterable[Said]:
    """After CA each modality should beat its homogeneous head; what A and V read by then is not theirs alone."""
    for m in LETTERS:
        homo, hetero = evidence.row("table4", f"{m}-homo-with-homogd"), evidence.row("table4", f"{m}-hetero-after-ca")
        if homo is None or hetero is None:
            continue
        before, after = homo.cells["acc2"], hetero.cells["acc2"]
        text = (
            f"C8, ACC2: {m.upper()} {before.text} (homogeneous, w/ HomoGD), {after.text} (heterogeneous, after CA), "
            f"{after.value - before.value:+}. After CA a feature has read the other two modalities too."
        )
        at = cell(evidence.tables["table4"], hetero, "acc2")
        yield Said("ok" if after.value > before.value else "fail", text, certainty="order L, V, A assumed", **at)


def mixed(evidence: AuditInput) -> Iterable[Said]:
    """Yield, per block and column, whether its rows are counted alike, and the lead among those that are."""
    blocks, differ = 0, 0
    for table, block in evidence.blocks("table1", "table2", "table5"):
        stated = {row.convention for row in block.rows}
        blocks, differ = blocks + 1, differ + ({"non0", "has0"} <= stated)
        for column in ("acc2", "f1"):
            groups: dict[str, list[Row]] = {}
            for row in (row for row in block.rows if column in row.cells):
                words = row.convention + (f", {row.f1_order}" if column == "f1" else "")
                groups.setdefault(words, []).append(row)
            if not groups:
                continue
            said = "; ".join(f"{words}: {', '.join(row.label for row in rows)}" for words, rows in groups.items())
            text = f"{block.key} {heading(column)}: {said}."
            if len(groups) > 1:
                known = {row.convention for row in block.rows} - {"unknown"}
                orders = {row.f1_order for row in block.rows} - {"unknown"} if column == "f1" else set()
                if len(known) > 1 or len(orders) > 1:
                    text += " They are not comparable as they stand:"
                else:
                    text += " Whether they are comparable is not known, where a source does not say how it counted:"
                if len({row.convention for row in block.rows}) > 1:
                    text += " negative / positive reads some 2-3 points higher than negative / non-negative."
                else:
                    text += " the order of the F1 arguments moves a weighted F1 by tenths of a point."
                text += _lead(block.rows, column)
            certain = "; ".join(dict.fromkeys(row.certainty for row in block.rows))
            yield Said(
                "flag" if len(groups) > 1 else "ok",
                text,
                table=table,
                metric=column,
                certainty=certain,
                setting=block.rows[0].setting,
            )

    if differ:
        head = f"ACC2 is counted in two ways within {differ} of {blocks} blocks."
        text = f"{head} Without the zeros it reads some 2-3 points higher."
        yield Said("flag", text, metric="acc2", certainty="each row's, as said above", head=head)


def _lead(rows: tuple[Row, ...], column: str) -> str:
    ordered = sorted(rows, key=lambda row: row.cells[column].value, reverse=True)
    top, alike = ordered[0], [row for row in ordered[1:] if row.convention == ordered[0].convention]
    if not alike:
        return f" No other row is known to be counted as {top.label} is."
    gap: Decimal = top.cells[column].value - alike[0].cells[column].value
    return f" Among rows counted by the same ACC2 convention {top.label} leads {alike[0].label} by {gap} points."


CHECKS = (
    Check(
        "best",
        "Is the row printed in bold the best of its block (C1)?",
        "the numbers of a block are comparable",
        ("the row was best in an earlier version of the table",),
        best,
        this_paper=True,
    ),
    Check(
        "claims",
        "Do the printed numbers bear out the claims C2 to C10?",
        "a claim holds for every metric and data set printed",
        ("the claim was made for one metric or data set", "the change is within the spread over seeds"),
        claims,
        this_paper=True,
    ),
    Check(
        "conventions",
        "Are all rows of a block counted alike?",
        "the convention of a copied row is its source's",
        (
            "the numbers were copied as published, which is the custom of the field",
            "some sources do not say which convention they used",
        ),
        mixed,
        this_paper=True,
    ),
)
