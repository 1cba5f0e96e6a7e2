"""What follows for the way a row was counted: from bounds no averaging can break, and from all rows of one source.

Weighted F1 in its two orders and ACC2 are tied: with hits h, class sizes n and calls c, F1 = sum of w_k 2 h_k / (n_k +
c_k), where w is n (plain) or c (swapped), over the clips. So plain + swapped = 2 ACC2, for one run and for any mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from dmd_repro.audit.counts import RULE_WORDS, RULES, Rule, confusions, counts_printing
from dmd_repro.audit.types import (
    ARITHMETIC,
    AuditInput,
    Check,
    Said,
    both_signs,
    cell,
    clips,
    orders_of,
    sign_counts,
    zeros_of,
)
from dmd_repro.papers.tables import PublishedTable, Row

Reading = tuple[str, str]  # (convention of ACC2, order of the F1 arguments)
READINGS: tuple[Reading, ...] = (("non0", "plain"), ("non0", "swapped"), ("has0", "plain"), ("has0", "swapped"))
SLACK = 0.11  # points: both numbers shortened to one decimal, by whatever rule
MEAN_TOO = f"{ARITHMETIC}, for one run and for any mean over seeds"
PREMISE = "certain if each number is one run, rounded, and a source counts all its rows alike"
Placed = tuple[PublishedTable, Row]


@cache
def f1_minus_acc2(negative: int, positive: int) -> tuple[float, float]:
    """Return the least and greatest weighted F1 (plain) minus ACC2, in points, over ALL confusion matrices.

    With x calls of "negative" too many, F1 - ACC2 = x (tp / (2 positive - x) - tn / (2 negative + x)) / clips, which is
    linear in tn for a given x: the ends of tn's range hold the extremes. Swapped: the same with the sign turned.
    """
    x = np.arange(-negative, positive + 1, dtype=np.float64)
    values = []
    for tn in (np.maximum(0.0, negative + x - positive), np.minimum(negative, negative + x)):
        tp = tn + positive - negative - x
        with np.errstate(invalid="ignore"):
            low = np.divide(tp, 2 * positive - x)
            high = np.divide(tn, 2 * negative + x)
        values.append(x * (low - high) / (negative + positive))
    found = 100 * np.concatenate(values)
    return float(found.min()), float(found.max())


def ruled_out(row: Row) -> list[Reading]:
    """Return the readings in which no matrix, and so no mean of runs, has the row's F1 - ACC2."""
    gap = float(row.cells["f1"].value - row.cells["acc2"].value)
    out = []
    for zero, order in READINGS:
        low, high = f1_minus_acc2(*sign_counts(row.dataset, zero))
        ends = (low, high) if order == "plain" else (-high, -low)
        if not ends[0] - SLACK <= gap <= ends[1] + SLACK:
            out.append((zero, order))
    return out


def printing(row: Row, rule: Rule) -> set[Reading]:
    """Return the readings in which ALL the row's numbers print by one rule: ACC2 and F1 together, and ACC7."""
    acc7 = row.cells.get("acc7")
    if acc7 is not None and not counts_printing(clips(row.dataset, "acc7"), acc7, rule).size:
        return set()
    accuracy, f1 = row.cells["acc2"], row.cells["f1"]
    return {
        (zero, order)
        for zero, order in READINGS
        if confusions(*sign_counts(row.dataset, zero), accuracy, f1, rule, order)[0].size
    }


def own(row: Row) -> set[Reading]:
    """Return the readings the row's source leaves open."""
    return {(zero, order) for zero in zeros_of(row) for order in orders_of(row)}


def _pairs(evidence: AuditInput) -> Iterable[Placed]:
    for table in evidence.tables.values():
        for row in table.rows:
            if row.derived is None and {"acc2", "f1"} <= set(row.cells) and both_signs(row):
                yield table, row


def bounds(evidence: AuditInput) -> Iterable[Said]:
    """Yield, per row with ACC2 and F1, the readings their difference rules out whatever was averaged."""
    for table, row in _pairs(evidence):
        out, gap = ruled_out(row), row.cells["f1"].value - row.cells["acc2"].value
        at = cell(table, row, "f1") | {"metric": "f1-acc2", "printed": f"{gap:+}"}
        text = f"F1 - ACC2 = {gap:+} points: "
        if not out:
            yield Said("ok", f"{text}possible in every reading.", certainty=MEAN_TOO, **at)
            continue
        text += f"no matrix gives it as {_words(out)}, and a mean of runs cannot either."
        left = own(row) - set(out)
        if not left:
            yield Said("flag", f"{text} That is every reading the row's source leaves open.", certainty=MEAN_TOO, **at)
        elif left == own(row):
            yield Said("ok", f"{text} The row's own reading is not among them.", certainty=MEAN_TOO, **at)
        else:
            text += f" Of the readings its source leaves open, {_words(sorted(left))} remain{'s' * (len(left) == 1)}."
            yield Said("inferred", text, certainty=MEAN_TOO, **at)


def _words(readings: Iterable[Reading]) -> str:
    return ", ".join(f"{zero} {order}" for zero, order in readings)


def sources_of(evidence: AuditInput) -> dict[str, list[Placed]]:
    """Return the rows by source, over all tables; "the system's own paper" is another source for each system."""
    out: dict[str, list[Placed]] = {}
    for table, row in _pairs(evidence):
        if row.source is None:
            continue
        name = f"{row.source.text}, {row.method}" if "system's own" in row.source.text else row.source.text
        out.setdefault(name, []).append((table, row))
    return out


def left_of(rows: Sequence[Row]) -> dict[Rule, set[Reading]]:
    """Return, by rule, the readings in which every number of every row of a source prints; rules without any too."""
    return {rule: set.intersection(*(printing(row, rule) for row in rows)) for rule in RULES}


def one_source(evidence: AuditInput) -> Iterable[Said]:
    """Yield, per source, in which readings ALL its rows can be printed: one source counts and shortens one way."""
    for name, placed in sources_of(evidence).items():
        table, first = placed[0]
        rows = [row for _, row in placed]
        by_rule, stated = left_of(rows), own(first)
        left = by_rule["rounded"]
        sure = set(READINGS) - {reading for row in rows for reading in ruled_out(row)}
        labels = ", ".join(dict.fromkeys(row.label for row in rows))
        text = f"{labels} ({name}), {len(rows)} row{'s' if len(rows) > 1 else ''} read together: "
        text += f"rounding prints all their numbers as {_words(sorted(left))}." if left else "rounding prints not all."
        other = {rule: found for rule, found in by_rule.items() if found and rule != "rounded"}
        if not other and not left:
            text += " No other rule prints all of them either."
        elif not left:
            ways = "; ".join(f"{RULE_WORDS[rule]} does, as {_words(sorted(found))}" for rule, found in other.items())
            text += f" {ways[:1].upper()}{ways[1:]} (a rule found after looking: post hoc)."
        if len(sure) < len(READINGS):
            text += f" Whatever was averaged, {_words(sorted(sure)) or 'none'} remain{'s' * (len(sure) == 1)}."
        at: dict[str, Any] = {"table": table, "metric": "all"}
        if not left:
            yield Said("flag", text, certainty=PREMISE, **at)
        elif not left & stated:
            yield Said("flag", f"{text} Its source says {_words(sorted(stated))}.", certainty=PREMISE, **at)
        else:
            yield Said("inferred" if left & stated < stated else "ok", text, certainty=PREMISE, **at)


def orders(evidence: AuditInput) -> dict[str, tuple[str, str]]:
    """Return, by row label, (order of the F1 arguments, how it is known); rows of which neither is left out."""
    out: dict[str, tuple[str, str]] = {}
    for placed in sources_of(evidence).values():
        found = {order for readings in left_of([row for _, row in placed]).values() for _, order in readings}
        sure = {o for _, o in set(READINGS) - {reading for _, row in placed for reading in ruled_out(row)}}
        for _, row in placed:
            if row.f1_order != "unknown":
                out[row.key] = (row.f1_order, "its source")
            elif len(sure) == 1:
                out[row.key] = (next(iter(sure)), "no mean can be otherwise")
            elif len(found) == 1:
                out[row.key] = (next(iter(found)), "no rule prints all of its source otherwise")
    for _, row in _pairs(evidence):
        if row.source is None and row.f1_order != "unknown":
            out[row.key] = (row.f1_order, "the authors' code")
    return out


def f1_functions(evidence: AuditInput) -> Iterable[Said]:
    """Yield, per block, whether its F1 column holds one function, and DMD's lead if all rows used the plain one."""
    known, mixed, total = orders(evidence), 0, 0
    swapped: dict[str, None] = {}
    for table, block in evidence.blocks("table1", "table2", "table5"):
        rows = [row for row in block.rows if {"acc2", "f1"} <= set(row.cells) and both_signs(row)]
        if not rows:
            continue
        total += 1
        of: dict[str, list[Row]] = {}
        for row in rows:
            of.setdefault(known.get(row.key, ("not known", ""))[0], []).append(row)
        said = "; ".join(f"{order}: {', '.join(row.label for row in some)}" for order, some in sorted(of.items()))
        text = f"{block.key} F1: {said}."
        both = {"plain", "swapped"} <= set(of)
        if both:
            mixed += 1
            swapped |= {row.label: None for row in of["swapped"]}
            plain = {row.key: _plain(row, known) for row in rows}
            text += (
                " Two functions stand in one column. Plain and swapped sum to 2 ACC2, so in the plain one they are: "
                + ", ".join(f"{row.label} {plain[row.key]:.1f}" for row in of["swapped"])
                + " (give or take the rounding, 0.2)."
            )
        about: dict[str, Any] = {"table": table, "metric": "f1", "setting": rows[0].setting}
        yield Said("flag" if both else "ok", text, certainty=_certain(of, known), **about)
    if mixed:
        names = ", ".join(swapped)
        head = f"{mixed} of {total} F1 columns mix two functions (swapped, by code or by arithmetic: {names})."
        text = f"{head} An F1 with its arguments swapped weighs the classes by how often they are called."
        yield Said("flag", text, metric="f1", certainty="each row's, as said above", head=head)


def _plain(row: Row, known: Mapping[str, tuple[str, str]]) -> float:
    f1, accuracy = float(row.cells["f1"].value), float(row.cells["acc2"].value)
    return 2 * accuracy - f1 if known.get(row.key, ("", ""))[0] == "swapped" else f1


def _certain(of: Mapping[str, list[Row]], known: Mapping[str, tuple[str, str]]) -> str:
    ways = dict.fromkeys(known[row.key][1] for rows in of.values() for row in rows if row.key in known)
    return f"order known from: {', '.join(ways)}" if ways else "no order is known"


CHECKS = (
    Check(
        "f1-minus-acc2",
        "Can any matrix, or any mean of runs, have this difference between weighted F1 and ACC2?",
        "the official class counts; both numbers in one convention",
        ("ACC2 and F1 were taken from different runs", "the F1 is not the weighted one"),
        bounds,
    ),
    Check(
        "one-source",
        "In which readings can all rows of one source be printed together?",
        "a source counts all its rows alike; each is one run, rounded",
        ("the rows are means over seeds", "they come from different code", "a row was copied with a slip"),
        one_source,
    ),
    Check(
        "f1-functions",
        "Does an F1 column hold one function?",
        "the order of the F1 arguments is the source's, or what its numbers leave",
        ("the numbers were copied as published, which is the custom of the field",),
        f1_functions,
    ),
)
