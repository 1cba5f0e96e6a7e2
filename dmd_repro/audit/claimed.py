"""Is the row a further paper calls the best of its block the best of it?"""

from __future__ import annotations

from collections.abc import Iterable

from dmd_repro.audit.types import AuditInput, Check, Said, better, cell, heading


def claimed_best(evidence: AuditInput) -> Iterable[Said]:
    """Yield, per block that names its best row and per column, whether it is, and by how much."""
    for table, block in evidence.blocks():
        champion = next((row for row in block.rows if row.key == block.claimed_best), None)
        others = [row for row in block.rows if row is not champion]
        if champion is None or not others:
            continue
        for column in block.columns:
            way, mine = better(champion, column), champion.cells[column]
            ordered = sorted(others, key=lambda row: way * row.cells[column].value, reverse=True)
            ahead = [row for row in ordered if way * row.cells[column].value >= way * mine.value]
            gap = mine.value - ordered[0].cells[column].value
            text = f"{heading(column)}: {champion.label} {mine.text}, next {ordered[0].label} "
            text += f"{ordered[0].cells[column].text} ({gap:+})."
            names = ", ".join(f"{row.label} {row.cells[column].text}" for row in ahead)
            text += f" Not the best: {names}." if ahead else " It is the best number of the block."
            yield Said("fail" if ahead else "ok", text, **cell(table, champion, column))


CHECKS = (
    Check(
        "claimed-best",
        "Is the row called the best of its block the best of it?",
        "the numbers of a block are comparable",
        ("the row was best in an earlier version of the table",),
        claimed_best,
        further=True,
    ),
)
