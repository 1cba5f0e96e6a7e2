"""What Table 3 can show of the parts, language alone against systems that see all, and the epochs of Figure 5."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from itertools import combinations

from dmd_repro.audit.types import ARITHMETIC, AuditInput, Check, Said, SeedSpread, cell, heading
from dmd_repro.papers.tables import PublishedTable, Row, TableBlock
from dmd_repro.stats.power import break_even_std, seeds_for_gap

FEWEST_RUNS = 5
PARTS = {"fd": "FD", "homogd": "HomoGD", "ca": "CA", "heterogd": "HeteroGD"}
PAIR = ("ca", "heterogd")  # the two parts of which Table 3 prints all four combinations
EPOCHS_TEXT, EPOCHS_FIGURE = 30, 50  # section 4, "until convergence"; the axis of Figure 5


def _off(row: Row) -> frozenset[str]:
    return frozenset(row.recipe.mask.off) if row.recipe else frozenset()


def two_by_two(block: TableBlock) -> tuple[Row, Row, Row, Row] | None:
    """Return the rows (both parts on, CA alone, HeteroGD alone, neither), all else on; None if one is missing."""
    rows = {_off(row): row for row in block.rows}
    wanted = [frozenset(off) for off in ((), PAIR[1:], PAIR[:1], PAIR)]
    return (rows[wanted[0]], rows[wanted[1]], rows[wanted[2]], rows[wanted[3]]) if set(wanted) <= set(rows) else None


def interaction(evidence: AuditInput) -> Iterable[Said]:
    """Yield, per block and column of Table 3, both effects of CA and of HeteroGD, and their interaction."""
    extras: list[Decimal] = []
    for table, block in evidence.blocks("table3"):
        rows = two_by_two(block)
        for column in block.columns if rows else ():
            assert rows is not None
            both, ca, hetero, none = (row.cells[column].value for row in rows)
            extra = both - ca - hetero + none
            text = (
                f"{block.key} {heading(column)}: CA adds {ca - none:+} without HeteroGD and {both - hetero:+} with it; "
                f"HeteroGD adds {hetero - none:+} without CA and {both - ca:+} with it; interaction {extra:+} points. "
                "Its seed STD is twice a row's, if the rows are independent runs."
            )
            spread = evidence.spread(rows[0], column)
            text += f" {_against(float(extra), 2.0, spread)}"
            extras.append(extra)
            yield Said("inferred" if extra else "ok", text, table=table, metric=column, setting=rows[0].setting)
    if any(extras):
        ends = f"{min(extras):+}" if min(extras) == max(extras) else f"{min(extras):+} to {max(extras):+}"
        head = f"CA and HeteroGD give {ends} points beyond their sum."
        text = f"{head} Table 3 prints all four combinations of the two, so the step that exchanges them is no step."
        yield Said("inferred", text, table=evidence.tables["table3"], head=head)


def _against(gap: float, factor: float, spread: SeedSpread | None) -> str:
    """Say at which seed STD of a row a gap of single runs equals its 95 % noise, and the measured one if there is."""
    even = abs(gap) / (1.959964 * factor)
    text = f"As single runs it exceeds the noise of seeds only if a row's seed STD is below {even:.2f} points."
    return text + (f" Measured: {spread.words}." if spread else "")


def ablation_power(evidence: AuditInput) -> Iterable[Said]:
    """Yield, per data set and column of Table 3, what its rows can show of the parts."""
    for table, block in evidence.blocks("table3"):
        for column in block.columns:
            yield _ablation(evidence, table, block, column)


def steps_of(block: TableBlock) -> list[tuple[str, Row, Row]]:
    """Return (what is added, row without, row with) for every two rows that differ by parts of one alone.

    Rows that exchange one part for another are no step; of nested rows only the nearest count.
    """
    found = []
    for without, with_ in combinations(sorted(block.rows, key=lambda row: -len(_off(row))), 2):
        less, more = _off(without), _off(with_)
        between = any(more < _off(row) < less for row in block.rows)
        if more < less and not between:
            found.append((" + ".join(PARTS[part] for part in sorted(less - more)), without, with_))
    return found


def _ablation(evidence: AuditInput, table: PublishedTable, block: TableBlock, column: str) -> Said:
    spread = evidence.spread(block.rows[0], column)
    parts = []
    for what, without, with_ in steps_of(block):
        gap = float(with_.cells[column].value - without.cells[column].value)
        even = break_even_std(FEWEST_RUNS, gap) if gap else 0.0
        beside = " + ".join(PARTS[part] for part in PARTS if part not in _off(without)) or "nothing"
        words = f"{what} on top of {beside} {gap:+.1f}, below {even:.2f}"
        if spread and gap:
            words += f" ({seeds_for_gap(gap, spread.std)} runs at the measured spread)"
        parts.append(words)
    known = "CA and HeteroGD are known with and without each other, FD and HomoGD in one order alone"
    text = (
        f"{block.key} {heading(column)}: steps in points, and the seed STD below which {FEWEST_RUNS} runs a row find "
        f"each with 80 % power (t test at 5 %, unpaired, before any correction): {'; '.join(parts)}. "
        f"The paper does not say how many runs a row is. Six of the sixteen masks are printed: "
        f"{known if two_by_two(block) else 'each part is known in one order alone'}."
    )
    text += f" Measured: {spread.words}." if spread else ""
    setting = block.rows[0].setting
    return Said("flag", text, table=table, metric=column, certainty=ARITHMETIC, setting=setting)


def language_alone(evidence: AuditInput) -> Iterable[Said]:
    """Yield how many earlier systems that see all three modalities score below language alone (Table 4)."""
    alone = [(key, evidence.row("table4", key)) for key in ("l-without-fd", "l-with-fd")]
    for key, row in alone:
        if row is None:
            continue
        others = [
            other
            for other in (evidence.tables["table2"].rows if "table2" in evidence.tables else ())
            if other.source and (other.dataset, other.setting, other.text) == (row.dataset, row.setting, row.text)
        ]
        for column in ("acc2", "f1"):
            if column not in row.cells or not others:
                continue
            printed = row.cells[column]
            below = [other for other in others if other.cells[column].value < printed.value]
            said = ", ".join(f"{other.label} {other.cells[column].text}" for other in others)
            text = (
                f"{row.label}, {heading(column)} {printed.text}: above {len(below)} of {len(others)} earlier systems "
                f"that see all three modalities on the same data ({said})."
            )
            head = None
            if column == "acc2" and key == "l-with-fd" and below:
                head = f"Language alone ({printed.text}, w/ FD) beats {len(below)} of {len(others)} trimodal systems."
            at = cell(evidence.tables["table4"], row, column)
            at["certainty"] = "our reading that Table 4 is unaligned"
            yield Said("flag" if below else "ok", text, head=head, **at)


def epochs(evidence: AuditInput) -> Iterable[Said]:
    """Yield that Figure 5 shows more epochs than the text trains for; not a table, so once for the whole paper."""
    if "table1" not in evidence.tables:
        return
    head = f"Figure 5 shows {EPOCHS_FIGURE} epochs; the text trains for {EPOCHS_TEXT}."
    text = f"{head} Section 4: {EPOCHS_TEXT} epochs, until convergence; the edges of Figure 5 are drawn beyond that."
    yield Said("flag", text, certainty="certain: both are printed", head=head)


CHECKS = (
    Check(
        "interaction",
        "What do CA and HeteroGD add with and without each other?",
        "the four rows of Table 3 differ in the two parts alone",
        (),
        interaction,
        this_paper=True,
    ),
    Check(
        "ablation-power",
        "Can the six rows of Table 3 tell the parts apart?",
        "independent runs a row, normal over seeds",
        ("rows may share seeds and data order, which pairs them", "each row may be a mean over many runs"),
        ablation_power,
        this_paper=True,
    ),
    Check(
        "language-alone",
        "Does language alone score below earlier systems that see all three modalities?",
        "Table 4 and Table 2 are the same data, setting and text",
        (
            "the baseline model of Table 4 is newer than those systems, and better trained",
            "their numbers are counted in other conventions",
        ),
        language_alone,
        this_paper=True,
    ),
    Check(
        "epochs",
        "Do the epochs of the text and of Figure 5 agree?",
        "the figure shows the training the text describes",
        ("the figure is from a longer run made for it", "30 is what was enough, not what was run"),
        epochs,
        this_paper=True,
    ),
)
