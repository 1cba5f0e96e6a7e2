"""The second reading of Table 4: one modality trained alone, instead of one modality's head of a run that sees all.

The paper says "one modality alone" and no more. The main reading is the recipe in `tables/table4.yaml`; this one
follows from it by a rule, so that it adds runs to a plan without repeating a printed number.
"""

from __future__ import annotations

from dataclasses import replace

from dmd_repro.papers.folders import paper_of
from dmd_repro.papers.tables import PublishedTable, Row, TableBlock

ALONE = "alone"  # behind the key of the row it is another reading of
JOINING = frozenset({"ca", "homogd", "heterogd"})  # parts that join modalities: one alone cannot have them


def alone_key(key: str) -> str:
    """Return the key of a row's second reading."""
    return f"{key}-{ALONE}"


def alone_rows(table: PublishedTable) -> tuple[Row, ...]:
    """Return the rows of a table that score one homogeneous head, read as a model that sees that modality alone."""
    rows = []
    for row in table.rows:
        recipe = row.recipe
        if recipe is None or recipe.head is None or row.block != "one-modality" or not set(recipe.mask.off) >= JOINING:
            continue
        changed = {**recipe.overrides, "modalities": recipe.head.removesuffix("_homo")}
        words = f"{row.method}, trained alone"
        rows.append(
            replace(
                row,
                key=alone_key(row.key),
                method=words,
                block=ALONE,
                recipe=replace(recipe, head=None, overrides=changed),
            )
        )
    return tuple(rows)


def with_readings(table: PublishedTable) -> PublishedTable:
    """Return a table to be planned with its second readings, if it has any."""
    rows = () if paper_of(table.name) else alone_rows(table)
    if not rows:
        return table
    block = TableBlock(ALONE, "Other reading: one modality trained alone", table.columns, rows, None)
    return replace(table, blocks=(*table.blocks, block))
