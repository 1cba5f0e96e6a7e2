"""Is a printed number attainable: as a count of clips, with its neighbour, and by ONE rule for a whole table?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dmd_repro.audit.counts import (
    RULES,
    Rule,
    by_rules,
    chance_once_rounding_fails,
    confusions,
    counts_printing,
    f1_attainable,
    fitting_rules,
    share_any,
    share_printable,
)
from dmd_repro.audit.types import (
    MEAN,
    ONE_RUN,
    AuditInput,
    Check,
    Said,
    Status,
    both_signs,
    cell,
    clips,
    counted,
    heading,
    orders_of,
    sign_counts,
    zeros_of,
)
from dmd_repro.datasets import DATASETS
from dmd_repro.metrics.binary import ZERO_WORDS
from dmd_repro.metrics.registry import METRICS
from dmd_repro.papers.tables import Printed, PublishedTable, Row

COUNTED = {m.column for m in METRICS.values() if m.is_accuracy}  # a share of the test clips


def attainable(evidence: AuditInput) -> Iterable[Said]:
    """Yield, for each cell, the counts that print as it; a mean or STD of other rows is no count of clips."""
    for table in evidence.tables.values():
        for row in table.rows:
            for column, printed in row.cells.items():
                at = cell(table, row, column)
                if row.derived:
                    words = "a mean or STD of other rows is not a count of clips: recomputed under 'arithmetic'"
                    yield Said("n/a", f"{heading(column)} {printed.text}: {words}.", **at)
                elif not counted(row, column):
                    words = f"the official clips of {DATASETS[row.dataset].title} are not known here"
                    yield Said("n/a", f"{heading(column)} {printed.text}: {words}.", **at)
                elif column in COUNTED:
                    yield _counted(table, row, column, printed)
                elif column == "f1":
                    yield _f1(table, row, printed)
                else:
                    yield Said("n/a", f"{heading(column)} {printed.text}: not a count of clips.", **at)


def _counted(table: PublishedTable, row: Row, column: str, printed: Printed) -> Said:
    zeros = DATASETS[row.dataset].zeros if column == "acc2" else ("",)
    own = zeros_of(row) if column == "acc2" else ("",)
    parts, fits = [], {}
    for zero in zeros:
        n = clips(row.dataset, column, zero)
        fits[zero] = fitting_rules(n, printed)
        parts.append(f"of {n}{f' ({zero})' if zero else ''} {_counts(n, printed, fits[zero])}")
    plain = any("rounded" in fits[zero] for zero in own)
    some = any(fits[zero] for zero in own)
    text = f"{heading(column)} {printed.text}: {'; '.join(parts)}."
    shares = [share_printable(clips(row.dataset, column, zero), "rounded", printed.decimals) for zero in own]
    if min(shares) >= 1:
        text += " Every percentage is attainable with so many clips, so this says nothing."
    elif not plain and some:
        counted = [clips(row.dataset, column, zero) for zero in own]
        chance = chance_once_rounding_fails(counted, printed.decimals)
        text += (
            f" Plain rounding reaches {share_any(counted, printed.decimals):.0%} of all such percentages, and not this"
            f" one. A rule found after looking is post hoc: of those rounding does not reach, {chance:.0%} fit"
            " another rule, so that one does is hardly evidence for it."
        )
    elif plain and len(zeros) == 2 and len(own) == 1 and not any(fits[zero] for zero in zeros if zero not in own):
        text += " The other convention cannot give it."
    if plain and column == "acc2" and own == ("has0",) and "rounded" not in fits.get("non0", ["rounded"]):
        text += (
            " Negative / positive cannot give it by rounding: the row is negative / non-negative, as its source says."
        )
    left = [zero for zero in own if "rounded" in fits[zero]]
    if inferred := 0 < len(left) < len(own):
        text += f" By rounding it can only be {_sign(left[0])}, which its source does not say."
    return Said(
        "inferred" if inferred else "ok" if plain else "flag", text, certainty=ONE_RUN, **cell(table, row, column)
    )


def _sign(zero: str) -> str:
    return next(words for name, words in ZERO_WORDS.items() if name == zero).partition(",")[0]


def _counts(n: int, printed: Printed, rules: Sequence[Rule]) -> str:
    if not rules:
        return "by no rule"
    ways: dict[str, list[Rule]] = {}
    for rule in rules:
        found = counts_printing(n, printed, rule)
        ways.setdefault(str(found[0]) if found.size == 1 else f"{found[0]}-{found[-1]}", []).append(rule)
    return ", ".join(f"{which} by {by_rules(same)}" for which, same in ways.items())


def _f1(table: PublishedTable, row: Row, printed: Printed) -> Said:
    rules = [
        rule
        for rule in RULES
        if any(
            f1_attainable(*sign_counts(row.dataset, zero), printed, rule, order)
            for zero in zeros_of(row)
            for order in orders_of(row)
        )
    ]
    if not rules:
        text = f"F1 {printed.text}: no confusion matrix gives it under any rule."
    else:
        text = f"F1 {printed.text}: some confusion matrix gives it by {by_rules(rules)}."
        text += " Weighted F1 has so many values that this alone says little."
    at = cell(table, row, "f1")
    return Said("ok" if "rounded" in rules else "flag", text, certainty=ONE_RUN, **at)


def joint(evidence: AuditInput) -> Iterable[Said]:
    """Yield, for each row with both, which confusion matrices print its ACC2 and F1 together."""
    for table in evidence.tables.values():
        for row in table.rows:
            if row.derived or not {"acc2", "f1"} <= set(row.cells) or not both_signs(row):
                continue
            yield _joint(table, row)


def _joint(table: PublishedTable, row: Row) -> Said:
    accuracy, f1 = row.cells["acc2"], row.cells["f1"]
    found: dict[tuple[str, str, Rule], tuple[int, float, float, float]] = {}
    for zero in ("non0", "has0"):
        negative, positive = sign_counts(row.dataset, zero)
        for order in ("plain", "swapped"):
            for rule in RULES:
                tn, tp = confusions(negative, positive, accuracy, f1, rule, order)
                if tn.size:
                    called = (tp + negative - tn) / (negative + positive)
                    found[zero, order, rule] = (
                        tn.size, float(called.min()), float(called.max()), positive / (negative + positive)
                    )  # fmt: skip
    own = {key: v for key, v in found.items() if key[0] in zeros_of(row) and key[1] in orders_of(row)}
    by_rounding = {key: v for key, v in found.items() if key[2] == "rounded"}
    text = f"ACC2 {accuracy.text} with F1 {f1.text}: "
    said = [f"{zero} {order} {count}" for (zero, order, _), (count, *_) in by_rounding.items()]
    text += f"matrices by rounding: {', '.join(said)}." if said else "no matrix by rounding in any convention."
    plain = {key: v for key, v in own.items() if key[2] == "rounded"}
    if plain:
        low, high = min(v[1] for v in plain.values()), max(v[2] for v in plain.values())
        shares = sorted({f"{v[3]:.0%}" for v in plain.values()})
        text += f" In the row's own reading {low:.0%}-{high:.0%} of the clips are called positive,"
        text += f" where {' or '.join(shares)} are."
        if high < min(v[3] for v in plain.values()) - 0.05 or low > max(v[3] for v in plain.values()) + 0.05:
            text += " So its calls lean to one side."
    elif own:
        keys = _readings(own)
        text += f" The row's own reading has one only as {keys} (a rule found after looking: post hoc)."
    else:
        text += " The row's own reading has none under any rule"
        text += f"; found only as {_readings(found)}." if found else ", nor has any other."
    totals = {zero: sum(sign_counts(row.dataset, zero)) for zero in ("non0", "has0")}
    if not any("rounded" in fitting_rules(total, accuracy) for total in totals.values()):
        chance = chance_once_rounding_fails([totals[zero] for zero in zeros_of(row)], accuracy.decimals)
        text += (
            " ACC2 alone is out of reach of rounding (see 'attainable'), so this is no second finding; of the"
            f" percentages rounding does not reach {chance:.0%} fit another rule."
        )
    text += _implies(row, by_rounding)
    at = cell(table, row, "acc2") | {"metric": "acc2+f1", "printed": f"{accuracy.text} / {f1.text}"}
    # a reading its source leaves open and the numbers decide is no flag, and more than ok
    open_ = row.convention == "unknown" or row.f1_order == "unknown"
    kept = [{key[i] for key in plain} for i in (0, 1)]
    decided = len(kept[0]) < len(zeros_of(row)) or len(kept[1]) < len(orders_of(row))
    if plain and open_ and decided:
        left = ", ".join(sorted({f"{zero} {order}" for zero, order, _ in plain}))
        text += f" Of the readings its source leaves open only {left} can print the pair by rounding."
    status: Status = "flag" if not plain else "inferred" if open_ and decided else "ok"
    return Said(status, text, certainty=ONE_RUN, **at)


def _readings(found: Iterable[tuple[str, str, Rule]]) -> str:
    """Say which conventions, by which rules."""
    ways: dict[str, list[Rule]] = {}
    for zero, order, rule in found:
        ways.setdefault(f"{zero} {order}", []).append(rule)
    return ", ".join(f"{reading} by {by_rules(rules)}" for reading, rules in ways.items())


def _implies(row: Row, by_rounding: dict[tuple[str, str, Rule], tuple[int, float, float, float]]) -> str:
    """Say what follows for the convention where rounding leaves one choice only."""
    zeros, orders = {key[0] for key in by_rounding}, {key[1] for key in by_rounding}
    text = ""
    if len(orders) == 1:
        text += f" By rounding the F1 arguments can only be {orders.pop()}"
        text += "." if row.f1_order != "unknown" else ", which the source does not say."
    if len(zeros) == 1:
        text += f" By rounding ACC2 can only be {ZERO_WORDS['non0' if zeros.pop() == 'non0' else 'has0']}."
    return text


CHECKS = (
    Check(
        "attainable",
        "Is there a count of clips that prints as this number?",
        "the number is one run on the official test clips",
        (MEAN, "it was shortened in another way than rounding", "a few clips were missing from the test set"),
        attainable,
    ),
    Check(
        "acc2-and-f1",
        "Is there a confusion matrix with the known class counts that prints ACC2 and weighted F1 together?",
        "both are one run, counted the same way on the official test clips, F1 weighted",
        (
            MEAN,
            "ACC2 and F1 were counted in different conventions or by different code",
            "they were shortened in another way than rounding",
            "the F1 is not the weighted one",
        ),
        joint,
    ),
)
