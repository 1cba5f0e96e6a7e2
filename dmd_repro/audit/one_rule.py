"""Does ONE way of shortening print all of a table's accuracies, and how easily would it by chance?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import prod

import numpy as np

from dmd_repro.audit.counts import RULE_WORDS, RULES, Rule, counts_printing, printable
from dmd_repro.audit.types import MEAN, ONE_RUN, AuditInput, Check, Said, clips
from dmd_repro.papers.tables import PublishedTable, Row

COUNTED = ("acc7", "acc2")
Numbers = Sequence[tuple[Row, str]]


def one_rule(evidence: AuditInput) -> Iterable[Said]:
    """Yield, per table, whether one rule prints all MOSI accuracies of the authors' own rows.

    MOSI alone: with MOSEI's clips every one-decimal percentage is attainable.
    """
    for name in ("table1", "table3", "table5"):
        if name not in evidence.tables:
            continue
        table = evidence.tables[name]
        rows = [row for row in table.rows if row.source is None and row.dataset == "mosi" and not row.derived]
        numbers = [(row, column) for row in rows for column in COUNTED if column in row.cells]
        if len(numbers) > 1:
            yield _one_rule(table, numbers)


def _one_rule(table: PublishedTable, numbers: Numbers) -> Said:
    zeros = ("non0", "has0") if any(column == "acc2" for _, column in numbers) else ("non0",)
    readings = [(zero, rule) for zero in zeros for rule in RULES]
    fits = {
        (zero, rule): [counts_printing(clips("mosi", c, zero), row.cells[c], rule).size > 0 for row, c in numbers]
        for zero, rule in readings
    }

    def name(zero: str, rule: Rule) -> str:
        return RULE_WORDS[rule] + (f" ({zero})" if len(zeros) > 1 else "")

    said = ", ".join(row.cells[column].text for row, column in numbers)
    text = f"Of {len(numbers)} MOSI accuracies of the authors' own rows ({said}), each rule fits: "
    text += ", ".join(f"{name(*reading)} {sum(fits[reading])}" for reading in readings) + "."
    whole = [reading for reading in readings if all(fits[reading])]
    natural = ("non0", "rounded") in whole
    if natural:
        text += " Plain rounding fits all."
    elif whole:
        words = " and ".join(f"{name(*reading)}, chance {chance_of(numbers, [reading]):.0%}," for reading in whole)
        text += (
            f" Only {words} fits all. It was found after looking: post hoc, one of {len(readings)} readings; numbers"
            f" that follow no rule would all fit one of them with a chance of {chance_of(numbers, readings):.0%}."
        )
    else:
        text += (
            " No single rule fits all, so not all are one run each, shortened in one way; numbers that follow no rule"
            f" would all fit at least one with a chance of {chance_of(numbers, readings):.0%}."
        )
    head = None
    if table.name == "table1" and not natural:
        fit, of = sum(fits["non0", "rounded"]), len(numbers)
        head = f"Rounding prints only {fit} of {of} MOSI accuracies of DMD (Table 1)."
    metric = "+".join(column for column in COUNTED if any(column == c for _, c in numbers))
    return Said("ok" if natural else "flag", text, table=table, metric=metric, certainty=ONE_RUN, head=head)


def chance_of(numbers: Numbers, readings: Sequence[tuple[str, Rule]]) -> float:
    """Return the chance that as many uniformly drawn percentages ALL fit at least one of the readings.

    Exact, by inclusion and exclusion over the readings: "all fit reading A and all fit reading B" is a product over
    the numbers of the share that fits both.
    """
    fit = {
        (zero, rule, column): printable(clips("mosi", column, zero), rule)
        for zero, rule in readings
        for column in COUNTED
    }
    total = 0.0
    for size in range(1, len(readings) + 1):
        for some in combinations(readings, size):
            shares = [np.logical_and.reduce([fit[z, r, column] for z, r in some]).mean() for column in COUNTED]
            total -= (-1) ** size * prod(shares[COUNTED.index(column)] for _, column in numbers)
    return float(total)


CHECKS = (
    Check(
        "one-rule",
        "Does one way of shortening print all accuracies of a table?",
        "each is one run on the official test clips",
        (MEAN, "numbers were copied by hand or from logs of different precision"),
        one_rule,
        this_paper=True,
    ),
)
