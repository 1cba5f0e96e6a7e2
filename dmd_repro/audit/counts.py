"""Which counts of clips print as a number, under four ways to shorten it. Exact integers wherever possible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dmd_repro.papers.tables import Printed

Rule = Literal["rounded", "cut", "code rounded", "code cut"]
RULES: tuple[Rule, ...] = ("rounded", "cut", "code rounded", "code cut")
RULE_WORDS: dict[Rule, str] = {
    "rounded": "rounding",
    "cut": "a cut",
    "code rounded": "rounding after the code's four digits",
    "code cut": "a cut after the code's four digits",
}
Counts = NDArray[np.int64]
Fractions = NDArray[np.float64]


def by_rules(rules: Sequence[Rule]) -> str:
    """Name rules, a rule and its variant after the code's four digits as one where both are there."""
    left, words = list(rules), []
    for rule, variant in (("rounded", "code rounded"), ("cut", "code cut")):
        if rule in left and variant in left:
            words.append(f"{RULE_WORDS[rule]} (also after the code's four digits)")
            left = [one for one in left if one not in (rule, variant)]
    return " or ".join([*words, *(RULE_WORDS[rule] for rule in left)])


def scaled(printed: Printed) -> tuple[int, int]:
    """Return (the printed percentage in units of its last decimal, how many such units are 100 %)."""
    scale = 10 ** (printed.decimals + 2)
    return int(printed.value * 10**printed.decimals), scale


def prints_as(k: Counts, n: int, printed: Printed, rule: Rule) -> NDArray[np.bool_]:
    """Say of each count k of n whether 100 k / n percent prints as `printed` under a rule; ties go either way."""
    units, scale = scaled(printed)
    if rule == "rounded":
        found: NDArray[np.bool_] = np.abs(2 * k * scale - 2 * units * n) <= n
        return found
    if rule == "cut":
        return (units * n <= k * scale) & (k * scale < (units + 1) * n)
    return _from_code(np.rint(k * 10_000 / n).astype(np.int64), units, scale, rule)


def fractions_print_as(x: Fractions, printed: Printed, rule: Rule) -> NDArray[np.bool_]:
    """Say the same of fractions that are no count (a weighted F1)."""
    units, scale = scaled(printed)
    slack = 1e-9 * scale  # far above the rounding error of the sums, far below half a unit
    if rule == "rounded":
        return np.abs(x * scale - units) <= 0.5 + slack
    if rule == "cut":
        return (x * scale >= units - slack) & (x * scale < units + 1 - slack)
    return _from_code(np.rint(x * 10_000).astype(np.int64), units, scale, rule)


def _from_code(q: Counts, units: int, scale: int, rule: Rule) -> NDArray[np.bool_]:
    """The same after the code has rounded the fraction to q ten-thousandths."""
    if rule == "code rounded":
        return np.abs(2 * q * scale - 2 * units * 10_000) <= 10_000
    return (units * 10_000 <= q * scale) & (q * scale < (units + 1) * 10_000)


def counts_printing(n: int, printed: Printed, rule: Rule) -> Counts:
    """Return every count k of n that prints as `printed`."""
    # only the neighbourhood: two units of the last decimal hold every rule's cell
    units, scale = scaled(printed)
    low, high = max(0, (units - 2) * n // scale), min(n, (units + 2) * n // scale + 1)
    k = np.arange(low, high + 1, dtype=np.int64)
    return k[prints_as(k, n, printed, rule)]


def fitting_rules(n: int, printed: Printed) -> tuple[Rule, ...]:
    """Return the rules under which some count of n clips prints as `printed`."""
    return tuple(rule for rule in RULES if counts_printing(n, printed, rule).size)


def printable(n: int, rule: Rule, decimals: int = 1) -> NDArray[np.bool_]:
    """Say of each percentage of `decimals` decimals from 0 to below 100 whether some count of n prints as it."""
    scale, k = 10 ** (decimals + 2), np.arange(n, dtype=np.int64)
    q = np.rint(k * 10_000 / n).astype(np.int64)
    units: dict[Rule, Counts] = {
        "rounded": (2 * k * scale + n) // (2 * n),
        "cut": k * scale // n,
        "code rounded": (2 * q * scale + 10_000) // 20_000,
        "code cut": q * scale // 10_000,
    }
    found = np.zeros(scale + 1, dtype=bool)
    found[units[rule]] = True
    return found[:scale]


def share_printable(n: int, rule: Rule, decimals: int = 1) -> float:
    """Return the share of all percentages of `decimals` decimals that some count of n prints as."""
    return float(printable(n, rule, decimals).mean())


def share_any(clips: Sequence[int], decimals: int = 1) -> float:
    """Return the share of all percentages that rounding prints for some count of any of these numbers of clips."""
    return float(np.logical_or.reduce([printable(n, "rounded", decimals) for n in clips]).mean())


def chance_once_rounding_fails(clips: Sequence[int], decimals: int = 1) -> float:
    """Return how likely another rule fits a percentage that rounding cannot print, whatever was counted.

    That is the chance that belongs to a rule looked for after rounding failed: the counts beside a gap of one rule
    fall into the cells of the next, so it is far above `share_printable`. `clips`: the readings a row leaves open. 0
    where rounding prints every percentage.
    """
    fits = {rule: np.logical_or.reduce([printable(n, rule, decimals) for n in clips]) for rule in RULES}
    missed = ~fits["rounded"]
    others = np.logical_or.reduce([fits[rule] for rule in RULES if rule != "rounded"])
    return float(others[missed].mean()) if missed.any() else 0.0


def confusions(
    negative: int, positive: int, accuracy: Printed, f1: Printed, rule: Rule, order: str
) -> tuple[Counts, Counts]:
    """Return (right negatives, right positives) of every confusion matrix that prints both numbers.

    Vectorised over the matrices whose count of right clips prints as `accuracy`; (M,) each.
    """
    total = negative + positive
    right = counts_printing(total, accuracy, rule)
    tn = np.tile(np.arange(negative + 1, dtype=np.int64), right.size)
    k = np.repeat(right, negative + 1)
    possible = (k - tn >= 0) & (k - tn <= positive)
    tn, tp = tn[possible], (k - tn)[possible]
    fits = fractions_print_as(weighted_f1(tn, tp, negative, positive, order), f1, rule)
    return tn[fits], tp[fits]


def weighted_f1(tn: Counts, tp: Counts, negative: int, positive: int, order: str) -> Fractions:
    """Return the weighted F1 of confusion matrices; `swapped` weighs the classes by how often they are called."""
    called_negative, called_positive = tn + positive - tp, tp + negative - tn
    f_negative, f_positive = 2 * tn / (negative + called_negative), 2 * tp / (positive + called_positive)
    weights = (called_negative, called_positive) if order == "swapped" else (negative, positive)
    found: Fractions = (weights[0] * f_negative + weights[1] * f_positive) / (negative + positive)
    return found


def f1_attainable(negative: int, positive: int, f1: Printed, rule: Rule, order: str) -> bool:
    """Say whether any confusion matrix at all prints an F1 (an ACC2 is not printed beside it)."""
    total = negative + positive
    centre, tn = int(float(f1.value) / 100 * total), np.arange(negative + 1, dtype=np.int64)
    for step in range(total):  # accuracies near the F1 first: nearly always one of the first few has it
        for k in {centre - step, centre + step}:
            found = tn[(k - tn >= 0) & (k - tn <= positive)] if 0 <= k <= total else tn[:0]
            if fractions_print_as(weighted_f1(found, k - found, negative, positive, order), f1, rule).any():
                return True
    return False
