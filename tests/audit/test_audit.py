"""The audit of the printed numbers: the known facts are found, each cell is spoken of, and the arithmetic is exact."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import product
from math import floor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2
from sklearn.metrics import f1_score

from dmd_repro.audit.attainable import _counted
from dmd_repro.audit.counts import (
    RULES,
    chance_once_rounding_fails,
    confusions,
    counts_printing,
    f1_attainable,
    printable,
    weighted_f1,
)
from dmd_repro.audit.findings import audit, checks_of, counts
from dmd_repro.audit.one_rule import chance_of
from dmd_repro.audit.types import STATUSES, Finding, SeedSpread
from dmd_repro.errors import ClaimError
from dmd_repro.papers.folders import table_names, tables_folder
from dmd_repro.papers.tables import Printed, load_table
from dmd_repro.render.findings import FIELDS, FINDING_FORMATS, render_findings


@pytest.fixture(scope="module")
def findings() -> list[Finding]:
    """Every finding on the paper."""
    return audit()


def _find(findings: list[Finding], check: str, row: str | None = None, metric: str | None = None) -> list[Finding]:
    return [
        f for f in findings if f.check == check and row in (None, f.row) and metric in (None, f.metric)
    ]  # fmt: skip


def _one(findings: list[Finding], check: str, row: str, metric: str) -> Finding:
    (found,) = _find(findings, check, row, metric)[:1]
    return found


def test_every_cell_of_the_tables_is_told_what_is_attainable(findings: list[Finding]) -> None:
    """The promise: each of the 191 numbers has one finding that says whether and how it can be a count of clips."""
    cells = [(t, row.key, c) for t in table_names() for row in load_table(t).rows for c in row.cells]
    said = [(f.table, f.row, f.metric) for f in _find(findings, "attainable")]
    assert sorted(map(str, said)) == sorted(map(str, cells))
    assert len(said) == 191


@pytest.mark.parametrize(
    ("row", "metric", "status", "says"),
    [
        ("mosi-unaligned-glove-dmd", "acc7", "flag", "288 by a cut"),
        ("mosi-aligned-glove-mult", "acc7", "flag", "by a cut"),
        ("mosi-aligned-glove-pmr", "acc7", "flag", "by a cut"),
        ("mosi-aligned-glove-dmd", "acc7", "ok", "284 by rounding"),
        ("mosi-aligned-glove-mfm", "acc2", "ok", "the row is negative / non-negative"),
        ("mosei-aligned-glove-dmd", "acc7", "ok", "says nothing"),
    ],
)
def test_known_facts_on_counts(findings: list[Finding], row: str, metric: str, status: str, says: str) -> None:
    """41.9 needs a cut, 41.4 rounding or the code's four digits, 78.1 cannot be k of 656; 4659 clips reach all."""
    found = _one(findings, "attainable", row, metric)
    assert found.status == status
    assert says in found.explanation
    assert "void if it is a mean" in found.certainty


@pytest.mark.parametrize("n", [656, 686])
def test_a_rule_found_after_rounding_failed_gets_the_chance_that_belongs_to_it(n: int, findings: list[Finding]) -> None:
    """Post hoc: once rounding has failed another rule nearly always fits, by a count from scratch."""
    missed = fit = 0
    for units in range(1000):
        if any(abs(2 * (1000 * k - units * n)) <= n for k in range(n + 1)):
            continue
        missed += 1
        fit += any(counts_printing(n, Printed.of(f"{units // 10}.{units % 10}"), rule).size for rule in RULES)
    assert missed > 300
    assert chance_once_rounding_fails([n]) == pytest.approx(fit / missed)
    assert chance_once_rounding_fails([4659]) == 0  # rounding prints every percentage
    pmr = load_table("table1").row("mosi-aligned-glove-pmr")
    open_reading = _counted(load_table("table1"), replace(pmr, convention="unknown"), "acc2", pmr.cells["acc2"])
    union = {(2000 * k + m) // (2 * m) for m in (656, 686) for k in range(m)}
    assert f"Plain rounding reaches {len(union - {1000}) / 1000:.0%} of all" in open_reading.explanation
    assert "100% fit another rule" in _one(findings, "attainable", "mosi-unaligned-glove-dmd", "acc7").explanation


def test_one_unattainable_accuracy_is_not_counted_as_two_findings(findings: list[Finding]) -> None:
    """MulT's 83.0 and PMR's 83.6 fail with their F1 because they fail alone, and the audit says so, only there."""
    said = {f.row for f in _find(findings, "acc2-and-f1") if "no second finding" in f.explanation}
    assert said == {"mosi-aligned-glove-mult", "mosi-aligned-glove-pmr"}


def test_mfm_cannot_be_of_656_and_41_4_fits_the_code_before_a_cut() -> None:
    """The two sharpest known facts, recounted from scratch with fractions."""
    assert not any(abs(Fraction(1000 * k, 656) - 781) <= Fraction(1, 2) for k in range(657))
    assert any(abs(Fraction(1000 * k, 686) - 781) <= Fraction(1, 2) for k in range(687))
    printed = Printed.of("41.4")
    assert counts_printing(686, printed, "code cut").tolist() == [284]
    assert counts_printing(686, printed, "cut").size == 0


@pytest.mark.parametrize(
    ("check", "row", "metric", "status", "says"),
    [
        ("arithmetic", "std-without-fd", "acc2", "ok", "population STD"),
        ("arithmetic", "std-with-fd", "f1", "ok", "population STD"),
        ("cross-table", "l-homo-without-homogd", "acc2", "flag", "1.8 points apart"),
        ("cross-table", "v-homo-without-homogd", "acc2", "flag", "6.3 points apart"),
        ("cross-table", "a-homo-without-homogd", "acc2", "flag", "10.5 points apart"),
        ("claims", "mosi-unaligned-glove-dmd-no-ca", "f1", "ok", "80.8 to 80.6"),
        ("claims", "mosei-unaligned-glove-dmd-no-ca", "f1", "ok", "84.3 to 83.8"),
        ("claims", "mosi-unaligned-glove-dmd-no-ca", "acc7", "fail", "37.2 to 37.5"),
        ("claims", "mosei-unaligned-glove-dmd-no-ca", "acc7", "flag", "52.4 to 52.4"),
        ("noise-floor", "mosi-aligned-glove-dmd", "acc2", "flag", "6 of 656 clips"),
        ("noise-floor", "mosi-aligned-glove-dmd", "acc2", "flag", "9 by its chi-square version"),
        ("noise-floor", "mosi-aligned-glove-dmd", "acc2", "flag", "standard error of 2.0 points; the number alone 1.4"),
        ("noise-floor", "mosi-aligned-glove-dmd", "acc2", "flag", "if the seed STD is below 0.32"),
        ("noise-floor", "mosi-aligned-bert-dmd", "acc2", "flag", "seed STD 1.08 points, 95 % interval 0.74 to 1.97"),
        ("constant-call", "v-without-fd", "acc2", "flag", "no better than knowing nothing"),
        ("constant-call", "a-without-fd", "acc2", "ok", "better than knowing nothing, though below"),
        ("constant-call", "a-homo-without-homogd", "acc2", "inferred", "Without an F1 that cannot be told"),
        ("language-alone", "l-with-fd", "acc2", "flag", "above 5 of 7"),
        ("f1-minus-acc2", "mosi-unaligned-glove-ef-lstm", "f1-acc2", "inferred", "a mean of runs cannot either"),
    ],
)
def test_known_facts_on_the_rest(
    findings: list[Finding], check: str, row: str, metric: str, status: str, says: str
) -> None:
    """Each fact the project knew of beforehand is found, with the status it deserves."""
    found = [f for f in _find(findings, check, row, metric) if says in f.explanation]
    assert found, [f.explanation for f in _find(findings, check, row, metric)]
    assert found[0].status == status


def test_an_unstated_convention_is_not_called_another(findings: list[Finding]) -> None:
    """Where the only difference is that a source is silent, the audit does not claim that the rows differ."""
    said = {
        f.explanation.partition(":")[0]: f.explanation for f in _find(findings, "conventions") if f.table == "table1"
    }
    assert "Whether they are comparable is not known" in said["mosi-unaligned-glove ACC2"]
    for block in ("mosi-aligned-glove ACC2", "mosi-unaligned-glove F1"):  # has0 beside non0, swapped beside plain
        assert "They are not comparable as they stand" in said[block]


def test_mixed_conventions_and_c1(findings: list[Finding]) -> None:
    """Blocks that mix ways of counting are flagged; the bold row is the highest of its block throughout (C1)."""
    text = next(f.explanation for f in _find(findings, "conventions") if "mosi-aligned-glove ACC2" in f.explanation)
    assert "has0: TFN, LMF, MFM, RAVEN, MCTN" in text
    assert {f.status for f in _find(findings, "best")} == {"ok"}
    assert len(_find(findings, "best")) == 18


def test_the_json_has_the_promised_fields_and_flags_are_fair(findings: list[Finding]) -> None:
    """Other programs read this schema; and no flag stands without an innocent explanation, nor uses the word fraud."""
    document = json.loads(render_findings(findings, "json"))
    assert list(document) == ["head", "findings"]
    for one in document["findings"]:
        assert tuple(one) == FIELDS
        assert one["status"] in STATUSES
        assert one["certainty"]
        if one["status"] in ("flag", "fail"):
            assert "Innocent explanations: " in one["explanation"]
        assert "fraud" not in one["explanation"].lower()
    assert {f.check for f in findings} == {check.name for check in checks_of("")}
    assert counts(findings)["fail"] == 1


@pytest.mark.parametrize("format_", FINDING_FORMATS)
def test_every_flag_stands_in_every_format(findings: list[Finding], format_: str) -> None:
    """The formats show the same flags."""
    text = render_findings(findings, format_, every=False)  # type: ignore[arg-type]
    flat = " ".join(text.split())
    for one in findings:
        if one.status in ("flag", "inferred") and one.printed and "/" not in one.printed:
            assert one.printed in flat


def test_a_check_can_fail_on_other_tables(tmp_path: Path) -> None:
    """Tables one edits are audited too: a wrong mean is no rounding and fails."""
    for name in table_names():
        source = tables_folder() / f"{name}.yaml"
        text = source.read_text(encoding="utf-8").replace('acc2: "64.3", f1: "62.5"', 'acc2: "66.3", f1: "62.5"')
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    (wrong,) = [f for f in audit(tmp_path, checks=("arithmetic",)) if f.status == "fail"]
    assert (wrong.row, wrong.printed) == ("mean-without-fd", "66.3")


def test_unknown_names_are_answered_with_the_nearest() -> None:
    """A typing error gets one sentence."""
    with pytest.raises(ClaimError, match="Did you mean 'attainable'"):
        audit(checks=("attainible",))
    with pytest.raises(ClaimError, match="Did you mean 'table1'"):
        audit(table="tabel1")
    assert {f.table for f in audit(table="table3")} == {"table3"}


def test_a_measured_spread_is_printed_and_none_is_assumed() -> None:
    """Where five runs are at hand the noise floor is theirs, with its interval; else the break-even stands."""
    key = ("mosi", "aligned", "glove", "acc2")
    found = audit(table="table1", checks=("noise-floor",), spreads={key: SeedSpread(0.1, 5, "runs at hand")})
    text = {(f.row, f.metric): f.explanation for f in found}
    mine = text["mosi-aligned-glove-dmd", "acc2"]
    assert "seed STD 0.10 points, 95 % interval 0.06 to 0.29 (5 runs at hand)" in mine
    assert "Measured" not in text["mosi-unaligned-glove-dmd", "acc2"]


def test_the_interval_of_a_spread_is_the_chi_square_one() -> None:
    """Known answer by scipy.stats: std sqrt((n - 1) / quantile), to 1e-9."""
    low, high = SeedSpread(1.08, 10, "runs").interval
    want = [1.08 * np.sqrt(9 / chi2.ppf(p, 9)) for p in (0.975, 0.025)]
    assert [low, high] == pytest.approx(want, abs=1e-9)


def _shorten(value: Fraction, rule: str) -> set[Decimal]:
    """Every one-decimal text a percentage may print as under a rule: written anew, with exact fractions."""
    if rule.startswith("code"):
        below = floor(value * 100)
        rest = value * 100 - below
        fours = {below} if rest < Fraction(1, 2) else {below + 1} if rest > Fraction(1, 2) else {below, below + 1}
        return {x for four in fours for x in _shorten(Fraction(four, 100), rule.split()[1])}
    below, rest = floor(value * 10), value * 10 - floor(value * 10)
    if rule == "cut" or rest < Fraction(1, 2):
        return {Decimal(below) / 10}
    return {Decimal(below + 1) / 10} if rest > Fraction(1, 2) else {Decimal(below) / 10, Decimal(below + 1) / 10}


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 700), st.integers(0, 1000), st.sampled_from(RULES))
def test_counts_equal_brute_force(n: int, tenths: int, rule: str) -> None:
    """Which counts print as a number is decided exactly, under every rule."""
    printed = Printed.of(f"{tenths // 10}.{tenths % 10}")
    # numpy rounds k/n as a double, so an exact half of the code's fourth digit may go either way: allow both
    want = {k for k in range(n + 1) if printed.value in _shorten(Fraction(100 * k, n), rule)}
    got = set(counts_printing(n, printed, rule).tolist())  # type: ignore[arg-type]
    halves = {k for k in range(n + 1) if (Fraction(10_000 * k, n) * 2) % 2 == 1}
    assert got - halves == want - halves
    if not rule.startswith("code"):
        assert got == want


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 25), st.integers(1, 25), st.integers(0, 100), st.integers(0, 1000), st.sampled_from(RULES))
def test_confusion_matrices_equal_brute_force(negative: int, positive: int, tp_seed: int, f1: int, rule: str) -> None:
    """The matrices found are exactly those a plain double loop finds, for both orders of the F1 arguments."""
    total = negative + positive
    k = tp_seed % (total + 1)
    accuracy = Printed.of(f"{floor(1000 * k / total) / 10:.1f}")
    wanted = Printed.of(f"{f1 // 10}.{f1 % 10}")
    allowed = set(counts_printing(total, accuracy, rule).tolist())  # type: ignore[arg-type]
    for order in ("plain", "swapped"):
        tn, tp = confusions(negative, positive, accuracy, wanted, rule, order)  # type: ignore[arg-type]
        want = set()
        for a, b in product(range(negative + 1), range(positive + 1)):
            if a + b not in allowed:
                continue
            score = _exact_f1(a, b, negative, positive, order)
            if wanted.value in _shorten(100 * score, rule):
                want.add((a, b))
        halves = {(a, b) for a, b in want if (_exact_f1(a, b, negative, positive, order) * 20_000) % 2 == 1}
        assert set(zip(tn.tolist(), tp.tolist(), strict=True)) - halves == want - halves


def _exact_f1(tn: int, tp: int, negative: int, positive: int, order: str) -> Fraction:
    called = (tn + positive - tp, tp + negative - tn)
    f = (Fraction(2 * tn, negative + called[0]), Fraction(2 * tp, positive + called[1]))
    weights = called if order == "swapped" else (negative, positive)
    return (weights[0] * f[0] + weights[1] * f[1]) / (negative + positive)


def test_weighted_f1_equals_scikit_learn() -> None:
    """The F1 the matrices are judged by is the library's, in both orders of its arguments."""
    truth = np.array([0] * 7 + [1] * 5)
    for tn, tp in ((3, 4), (7, 0), (0, 5), (6, 2)):
        call = np.array([0] * tn + [1] * (7 - tn) + [1] * tp + [0] * (5 - tp))
        got = [weighted_f1(np.array([tn]), np.array([tp]), 7, 5, order)[0] for order in ("plain", "swapped")]
        want = [f1_score(truth, call, average="weighted"), f1_score(call, truth, average="weighted")]
        assert got == pytest.approx(want, abs=1e-12)


def test_f1_alone_and_the_chance_of_fitting() -> None:
    """An F1 above what any matrix gives is unattainable; the exact chance of fitting is that of a simulation."""
    assert f1_attainable(2, 2, Printed.of("100.0"), "rounded", "plain")
    assert not f1_attainable(2, 2, Printed.of("99.0"), "rounded", "plain")
    table = load_table("table1")
    row = table.row("mosi-aligned-glove-dmd")
    numbers = [(row, "acc7"), (row, "acc2"), (row, "acc7")]
    readings = [("non0", "rounded"), ("has0", "cut")]
    generator = np.random.Generator(np.random.PCG64(1))
    draws = generator.integers(0, 1000, size=(40_000, 3))
    fits = []
    for zero, rule in readings:
        masks = [printable(686 if column == "acc7" or zero == "has0" else 656, rule) for _, column in numbers]
        fits.append(np.all([mask[draws[:, i]] for i, mask in enumerate(masks)], axis=0))
    share = float(np.logical_or(*fits).mean())
    assert chance_of(numbers, readings) == pytest.approx(share, abs=0.01)  # type: ignore[arg-type]
