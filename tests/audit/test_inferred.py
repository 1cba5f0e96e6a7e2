"""What the audit infers: bounds, kappa, sources and the two-by-two of Table 3, against computations of their own."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, f1_score
from statsmodels.stats.power import TTestIndPower

from dmd_repro.audit.chance import kappa, kappas_of
from dmd_repro.audit.counts import weighted_f1
from dmd_repro.audit.findings import audit
from dmd_repro.audit.head import MOST_LINES, head_of
from dmd_repro.audit.inferred import f1_minus_acc2, left_of, ruled_out
from dmd_repro.audit.noise import discordant_words
from dmd_repro.audit.types import Finding
from dmd_repro.papers.dmd.parts import steps_of, two_by_two
from dmd_repro.papers.tables import load_table
from dmd_repro.render.findings import render_findings
from dmd_repro.stats.paired import mcnemar_counts, most_discordant
from dmd_repro.stats.power import break_even_std


@pytest.fixture(scope="module")
def findings() -> list[Finding]:
    """Every finding on the paper."""
    return audit()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 25), st.integers(1, 25))
def test_the_bound_of_f1_minus_acc2_equals_brute_force(negative: int, positive: int) -> None:
    """Over every matrix there is, plainly enumerated; and plain + swapped = 2 ACC2 in each of them."""
    gaps = []
    for tn, tp in product(range(negative + 1), range(positive + 1)):
        one = np.array([tn]), np.array([tp]), negative, positive
        plain, swapped = (float(weighted_f1(*one, order)[0]) for order in ("plain", "swapped"))
        accuracy = (tn + tp) / (negative + positive)
        assert plain + swapped == pytest.approx(2 * accuracy, abs=1e-12)
        gaps.append(100 * (plain - accuracy))
    assert f1_minus_acc2(negative, positive) == pytest.approx((min(gaps), max(gaps)), abs=1e-9)


def test_the_identity_of_the_two_orders_is_scikit_learn_s() -> None:
    """The same on random calls, by the library's weighted F1."""
    generator = np.random.Generator(np.random.PCG64(5))
    truth, call = generator.integers(0, 2, (2, 200))
    both = f1_score(truth, call, average="weighted") + f1_score(call, truth, average="weighted")
    assert both == pytest.approx(2 * np.mean(truth == call), abs=1e-12)


def test_a_mean_of_runs_keeps_the_bound() -> None:
    """EF-LSTM's 73.6 / 74.5 cannot be plain for one run nor for a mean; MISA's 83.4 / 83.6 could be as a mean."""
    table = load_table("table1")
    assert ruled_out(table.row("mosi-unaligned-glove-ef-lstm")) == [("non0", "plain"), ("has0", "plain")]
    assert ruled_out(table.row("mosi-aligned-bert-misa")) == []


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 30), st.integers(0, 30))
def test_kappa_equals_scikit_learn(negative: int, positive: int, tn: int, tp: int) -> None:
    """Cohen's kappa of any matrix with both classes."""
    tn, tp = tn % (negative + 1), tp % (positive + 1)
    truth = np.array([0] * negative + [1] * positive)
    call = np.array([0] * tn + [1] * (negative - tn) + [1] * tp + [0] * (positive - tp))
    got = kappa(np.array([tn]), np.array([tp]), negative, positive)[0]
    assert got == pytest.approx(cohen_kappa_score(truth, call), abs=1e-9)


def test_knowing_nothing_is_decided_by_kappa() -> None:
    """V without FD: below 0 in every matrix; A without FD: above 0 in every one, though its ACC2 is lower still."""
    table = load_table("table4")
    v, a = (kappas_of(table.row(f"{m}-without-fd")) for m in ("v", "a"))
    assert v is not None
    assert a is not None
    assert v[1] < 0 < a[0]
    assert table.row("a-without-fd").cells["acc2"].value < table.row("v-without-fd").cells["acc2"].value


def test_rows_of_one_source_leave_one_reading(findings: list[Finding]) -> None:
    """What MulT's authors ran for their paper counts as MulT does: negative / positive, F1 swapped."""
    every = [row for name in ("table1", "table2") for row in load_table(name).rows]
    rows = [row for row in every if row.source and row.source.text.endswith("MulT for their paper")]
    assert len(rows) == 10
    assert left_of(rows)["rounded"] == {("non0", "swapped")}
    pmr = left_of([row for row in every if row.method == "PMR"])
    assert pmr == {"rounded": set(), "cut": {("non0", "plain")}, "code rounded": set(), "code cut": {("non0", "plain")}}
    (found,) = [
        f
        for f in findings
        if f.check == "one-source" and "run by the authors of MulT for their paper)" in f.explanation
    ]
    assert found.status == "inferred"


def test_table_3_holds_a_two_by_two(findings: list[Finding]) -> None:
    """CA and HeteroGD with and without each other; the row that exchanges one for the other is no step."""
    block = load_table("table3").blocks[0]
    rows = two_by_two(block)
    assert rows is not None
    assert [row.cells["acc7"].text for row in rows] == ["41.9", "38.8", "37.5", "37.2"]
    steps = [(what, without.cells["acc7"].text, with_.cells["acc7"].text) for what, without, with_ in steps_of(block)]
    assert sorted(steps) == [
        ("CA", "37.2", "38.8"), ("CA", "37.5", "41.9"), ("FD", "32.4", "34.7"), ("HeteroGD", "37.2", "37.5"),
        ("HeteroGD", "38.8", "41.9"), ("HomoGD", "34.7", "37.2"),
    ]  # fmt: skip
    said = [f.explanation for f in findings if f.check == "interaction" and f.metric == "acc7"]
    assert "interaction +2.8 points" in said[0]
    assert not any("-1.3" in f.explanation for f in findings if f.check == "ablation-power")


def test_the_break_even_spread_gives_the_power() -> None:
    """At that spread the power of statsmodels' t test is 80 %."""
    std = break_even_std(5, 2.5)
    assert TTestIndPower().power(2.5 / std, 5, 0.05) == pytest.approx(0.8, abs=1e-9)
    assert break_even_std(5, 0.0) == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(40, 400), st.integers(1, 60), st.integers(0, 60))
def test_discordant_clips_never_exceed_the_errors(n: int, lead: int, errors: int) -> None:
    """Always, never, or a number two systems with so many errors can reach; checked by McNemar at both ends."""
    lead = min(lead, n - 1)
    right = n - min(errors, n - lead)
    text = discordant_words(100 * right / n, 100 * (right - lead) / n, n)
    most = lead + 2 * min(n - right, right - lead)
    assert (mcnemar_counts(lead, 0).p > 0.05) == ("never" in text)
    always = mcnemar_counts((most + lead) // 2, (most - lead) // 2).p <= 0.05
    assert always == ("always" in text)
    if "always" not in text and "never" not in text:
        assert most_discordant(lead) < most
        assert f"at most {most_discordant(lead)} clips" in text


def test_no_finding_names_more_clips_than_there_are(findings: list[Finding]) -> None:
    """The largest lead of Table 2 is significant whatever the two disagree on, and it is said so."""
    said = [f.explanation for f in findings if f.check == "noise-floor" and "Paired" in f.explanation]
    assert not any("7260" in text for text in said)
    assert any("always significant" in text for text in said)
    assert any("never significant" in text for text in said)


def test_the_head_fits_one_screen(findings: list[Finding]) -> None:
    """Fifteen lines at most, each sentence with its check, 80 columns, the contradiction first; all in JSON too."""
    head = head_of(findings)
    assert head[0].check == "claims"
    assert {line.check for line in head} <= {finding.check for finding in findings}
    lines = render_findings(findings, "terminal", head_only=True).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines.index("") <= MOST_LINES
    assert len(lines) <= 23
    assert [line.check for line in head if f"[{line.check}]" not in " ".join(lines)] == []  # none is cut off
    assert "Nothing in these numbers" in render_findings([], "terminal", head_only=True)


def test_the_new_findings_are_the_facts(findings: list[Finding]) -> None:
    """The head's sentences, each against a count of its own from the printed numbers."""
    said = {line.check: line.text for line in head_of(findings)}
    table2, alone = load_table("table2"), load_table("table4").row("l-with-fd").cells["acc2"].value
    block = next(b for b in table2.blocks if b.rows[0].setting == "unaligned")
    earlier = [row.cells["acc2"].value for row in block.rows if row.source]
    assert said["language-alone"].endswith(
        f"beats {sum(v < alone for v in earlier)} of {len(earlier)} trimodal systems."
    )
    assert "shows 50 epochs; the text trains for 30" in said["epochs"]
    extra = []
    for b in load_table("table3").blocks:
        by_off = {frozenset(row.recipe.mask.off): row for row in b.rows if row.recipe}
        for column in b.columns:
            both, ca, gd, none = (
                by_off[frozenset(off)].cells[column].value for off in ((), ("heterogd",), ("ca",), ("ca", "heterogd"))
            )
            extra.append((both - gd) - (ca - none))
    assert f"give {min(extra):+} to {max(extra):+} points" in said["interaction"]
    mixed = [f for f in findings if f.check == "f1-functions" and "Two functions stand in one column" in f.explanation]
    assert said["f1-functions"].startswith(f"{len(mixed)} of 8 F1 columns")
    leads = [f for f in findings if f.check == "noise-floor" and f.row]
    assert said["noise-floor"].startswith(f"{sum(f.status == 'flag' for f in leads)} of {len(leads)} leads")


def test_a_reading_the_source_leaves_open_and_rounding_decides_is_inferred(findings: list[Finding]) -> None:
    """82.6 is a count of the 656 clips that are not 0 and of no 686; MICA's paper is not at hand to say so."""
    (found,) = (f for f in findings if f.check == "attainable" and "its source does not say" in f.explanation)
    assert (found.row, found.printed, found.status) == ("mosi-unaligned-glove-mica", "82.6", "inferred")
    hits = {n: [k for k in range(n + 1) if round(1000 * k / n) == 826] for n in (656, 686)}
    assert hits == {656: [542], 686: []}
    assert "can only be negative / positive" in found.explanation
