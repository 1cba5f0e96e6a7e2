"""Is a printed ACC2 more than knowing nothing of the clip? Decided by kappa over every matrix that prints the row."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dmd_repro.audit.counts import RULES, Counts, Fractions, confusions, counts_printing
from dmd_repro.audit.types import (
    MEAN,
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

ROUNDING = 0.1  # points: a number this near the constant call may be it


def kappa(tn: Counts, tp: Counts, negative: int, positive: int) -> Fractions:
    """Return Cohen's kappa of confusion matrices, (M,): 0 for calls that know nothing of the clip, 1 for all right.

    kappa = (accuracy - chance) / (1 - chance), chance being the accuracy of the same calls dealt out blindly.
    """
    n = negative + positive
    called_negative, called_positive = tn + positive - tp, tp + negative - tn
    chance = (negative * called_negative + positive * called_positive) / n**2
    found: Fractions = ((tn + tp) / n - chance) / (1 - chance)
    return found


def kappas_of(row: Row) -> tuple[float, float] | None:
    """Return (least, greatest) kappa over all matrices that print the row's ACC2, and its F1 where it has one.

    Under every rule of shortening and every convention the row leaves open; None where no matrix prints it.
    """
    found: list[Fractions] = []
    accuracy, f1 = row.cells["acc2"], row.cells.get("f1")
    for zero in zeros_of(row):
        negative, positive = sign_counts(row.dataset, zero)
        for rule in RULES:
            if f1 is not None:
                for order in orders_of(row):
                    tn, tp = confusions(negative, positive, accuracy, f1, rule, order)
                    found.append(kappa(tn, tp, negative, positive))
                continue
            for k in counts_printing(negative + positive, accuracy, rule):
                tn = np.arange(max(0, int(k) - positive), min(negative, int(k)) + 1, dtype=np.int64)
                found.append(kappa(tn, k - tn, negative, positive))
    values = np.concatenate(found)
    return (float(values.min()), float(values.max())) if values.size else None


def majority(evidence: AuditInput) -> Iterable[Said]:
    """Yield, for each ACC2, how it stands to one call for every clip, and to calls that know nothing."""
    for table in evidence.tables.values():
        for row in table.rows:
            if not row.derived and "acc2" in row.cells and both_signs(row):
                yield _majority(table, row)


def _majority(table: PublishedTable, row: Row) -> Said:
    printed, at = row.cells["acc2"], cell(table, row, "acc2")
    floors = {
        zero: 100 * max(sign_counts(row.dataset, zero)) / clips(row.dataset, "acc2", zero) for zero in ("non0", "has0")
    }
    near = [zero for zero, floor in floors.items() if abs(float(printed.value) - floor) <= ROUNDING]
    below = [zero for zero in zeros_of(row) if float(printed.value) + ROUNDING < floors[zero]]
    text = f"ACC2 {printed.text}: one and the same call for every clip gives "
    text += ", ".join(f"{floor:.2f} ({zero})" for zero, floor in floors.items()) + "."
    if near:
        text += f" It lies within {ROUNDING} points of the constant call under {' and '.join(near)}."
    if not below:
        return Said("flag" if near else "ok", text, certainty="certain: the class counts are known", **at)
    both = f"{printed.text} / {row.cells['f1'].text}" if "f1" in row.cells else printed.text
    ends = kappas_of(row)
    text += " The printed number is below that, which alone does not say that it knows nothing:"
    certainty = "certain, as arithmetic, if ACC2 and F1 are one run in the row's own convention"
    if ends is None:
        return Said("flag", f"{text} no matrix prints {both}.", certainty=certainty, **at)
    text += f" kappa of the matrices that print {both} is {_ends(ends)}"
    if ends[1] <= 0:
        head = (
            f"{row.label}, if one run, knows nothing of the clip: kappa {_ends(ends)} in every matrix printing {both}."
        )
        return Said("flag", f"{text}: no better than knowing nothing.", certainty=certainty, head=head, **at)
    if ends[0] > 0:
        text += ": better than knowing nothing, though below the larger class."
        return Said("ok", text, certainty=certainty, **at)
    text += ": it may know nothing or something."
    text += "" if "f1" in row.cells else " Without an F1 that cannot be told."
    return Said("inferred", text, certainty=certainty, **at)


def _ends(ends: tuple[float, float]) -> str:
    low, high = (f"{end:.2f}".replace("-", "−") for end in ends)
    return low if low == high else f"{low} to {high}"


CHECKS = (
    Check(
        "constant-call",
        "Is the ACC2 more than calling every clip by the larger class, and more than knowing nothing (kappa)?",
        "the official class counts; kappa: one run, counted in the row's own convention",
        (
            "the head is trained on another loss than ACC2, so it need not find the larger class",
            "near the constant call a number can agree by accident",
            MEAN,
        ),
        majority,
    ),
)
