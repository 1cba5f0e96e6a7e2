"""The hours of the whole paper: parts that sum to the total, runs counted once, and nothing unmeasured as zero."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_plans import QUICK

from dmd_repro.data.store.folder import Store
from dmd_repro.errors import SpecError
from dmd_repro.papers.reruns import load_reruns
from dmd_repro.planning.figures import Figure, look_up, measured
from dmd_repro.planning.grid import PlannedTable
from dmd_repro.planning.hours import (
    MACHINES,
    PUBLISHED,
    Counted,
    Machine,
    clock,
    cost,
    costs_of,
    grouped,
    plan_json,
    total,
    typical_epochs,
    with_seeds,
)
from dmd_repro.planning.tables import planned_tables, rows_named
from dmd_repro.planning.whole import Configuration, configurations
from dmd_repro.records.folder import Records
from dmd_repro.render.hours import hours_sheet
from dmd_repro.render.sheet import render_sheets

SEEDS = (1111, 1112, 1113, 1114)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which no data and no runs are."""
    return tmp_path_factory.mktemp("hours")


@pytest.fixture(scope="module")
def plans(place: Path) -> list[PlannedTable]:
    """The five tables without any data."""
    return planned_tables(seeds=SEEDS, store=Store(place / "data"), records=Records(place / "runs"))


@pytest.fixture(scope="module")
def whole(plans: list[PlannedTable], place: Path) -> list[Configuration]:
    """Every configuration of the five tables."""
    return configurations(plans, Store(place / "data"), seeds=SEEDS)


@pytest.fixture(scope="module")
def figures(whole: list[Configuration]) -> list[Figure]:
    """A made-up figure of a core for every configuration, and of a card for every second one."""
    every = []
    for at, one in enumerate(whole):
        core = Figure(one.case, "cpu", "a core", "2026-01-01", "made up", 1.0 + at, 0.5)
        card = Figure(one.case, "cuda", "a card", "2026-01-01", "made up", 0.1, None, stack=2)
        every += [core, card] if at % 2 else [core]
    return every


def test_each_run_is_counted_once(whole: list[Configuration], place: Path) -> None:
    """A run that several tables use costs its time once, and no runnable row is left out."""
    store, records = Store(place / "data"), Records(place / "runs")
    generated = planned_tables(seeds=SEEDS, store=store, records=records, data=("synthetic",))
    rows = [f"{p.table.name}/{key}" for p in generated for key, row in p.plan.rows.items() if row.runs]
    assert sorted(key for one in whole for key in one.rows) == sorted(rows)
    shared = {one.tables for one in whole if len(one.tables) > 1}
    assert ("table1", "table3", "table5") in shared  # DMD on unaligned MOSI
    assert ("table3", "table4") in shared
    assert len({one.identity for one in whole}) == len(whole)
    assert all(one.status == ("missing",) * len(SEEDS) for one in whole)


def test_the_parts_sum_to_the_whole(whole: list[Configuration], figures: list[Figure]) -> None:
    """Shares and sums by system, table or data are of one and the same total, on one core."""
    costs = costs_of(whole, "cpu", figures, {})
    hours, left_out = total(costs)
    assert hours
    assert left_out == 0
    for key in (lambda c: c.configuration.spec.model, lambda c: c.configuration.tables[0], lambda c: c.source):
        parts = [total(group)[0] or 0.0 for group in grouped(costs, key).values()]
        assert sum(parts) == pytest.approx(hours)
    assert clock(costs, Machine("one core", "cpu", 1)) == (pytest.approx(hours), 0)


def test_half_the_seeds_take_half(whole: list[Configuration], figures: list[Figure]) -> None:
    """Hours go with the runs, at typical epochs and at most."""
    for most in (False, True):
        full = total(costs_of(whole, "cpu", figures, {}), most=most)[0]
        half = total(costs_of(with_seeds(whole, 2), "cpu", figures, {}), most=most)[0]
        assert full
        assert half == pytest.approx(full / 2)


def test_fewer_rows_take_less(plans: list[PlannedTable], place: Path, figures: list[Figure]) -> None:
    """`--rows` leaves out what no name fits, whole tables too; a name that fits nowhere is refused with the nearest."""
    store, records = Store(place / "data"), Records(place / "runs")
    few = planned_tables(seeds=SEEDS, store=store, records=records, rows=("mosi-unaligned-glove-mult",))
    assert [planned.table.name for planned in few] == ["table1", "table5"]
    found = configurations(few, store, seeds=SEEDS)
    assert [one.rows for one in found] == [
        ("table1/mosi-unaligned-glove-mult", "table5/mosi-unaligned-glove-mult"),
    ]
    named = rows_named(plans, "mosi-unaligned-glove-mult")
    assert named == set(found[0].rows)
    with pytest.raises(SpecError, match=r"--rows mulT2.*Did you mean 'mult'"):
        planned_tables(seeds=SEEDS, store=store, records=records, rows=("mulT2",))


def test_what_is_not_measured_is_never_zero(whole: list[Configuration], figures: list[Figure]) -> None:
    """A total names what it leaves out, is None where it knows nothing, and never counts unknown hours as none."""
    card = costs_of(whole, "cuda", figures, {})
    hours, left_out = total(card)
    assert left_out == len(whole) - len(whole) // 2
    assert hours == pytest.approx(sum(h for c in card if (h := c.hours()) is not None))
    assert [c.hours() for c in card[::2]] == [None] * left_out
    assert total(costs_of(whole, "cuda", [], {})) == (None, len(whole))
    assert clock(costs_of(whole, "cuda", [], {}), MACHINES[2]) == (None, len(whole))
    document = plan_json(whole, figures, {})
    assert [m["configurations_not_measured"] for m in document["machines"]] == [0, 0, left_out, left_out]
    assert document["configurations"][0]["cuda"]["hours"] is None
    assert total(costs_of([replace(one, status=("done",)) for one in whole], "cuda", [], {})) == (0, 0)  # nothing to do


def test_an_evaluation_that_was_not_timed_counts_as_training(whole: list[Configuration]) -> None:
    """Its time is bounded from above; it is not left out."""
    one = whole[0]
    clips = {"train": 100, "valid": 10, "test": 20}
    apart = Figure(one.case, "cpu", "", "2026-01-01", "", 2.0, 1.0)
    assert apart.epoch(clips) == pytest.approx(0.23)
    assert replace(apart, evaluate_ms=None).epoch(clips) == pytest.approx(0.26)


def test_finished_runs_come_before_figures(whole: list[Configuration], figures: list[Figure]) -> None:
    """Seconds and epochs are those of this machine's own runs where there are any, on their kind of device alone."""
    one = next(c for c in whole if c.stops_early)
    seen = {(one.identity, "cpu"): Counted(2, 7.0, 12.5)}
    own = cost(one, "cpu", figures, seen)
    assert (own.seconds_per_epoch, own.epochs, own.grade) == (7.0, 12.5, "counted")
    assert own.hours() == pytest.approx(len(SEEDS) * 7.0 * 12.5 / 3600)
    assert cost(one, "cuda", [], seen).hours() is None


def test_typical_epochs_say_how_they_are_known(whole: list[Configuration]) -> None:
    """All that are set, a published count, or an assumption: each is called what it is, and none exceeds the limit."""
    grades = {typical_epochs(one, {})[1] for one in whole}
    assert grades == {"all", "published", "assumed"}
    assert all(typical_epochs(one, {})[0] <= one.most_epochs for one in whole)
    curves = {rerun.key: rerun.curve for rerun in load_reruns()}
    counted = {("dmd", name): len(curves[f"forks-of-dmd/dmd-{name}"]) for name in ("mosi", "mosei")}
    assert counted == PUBLISHED


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 9))
def test_the_clock_lies_between_its_bounds(whole: list[Configuration], costs_ms: list[int], workers: int) -> None:
    """No schedule ends before the longest run or the share of each worker, nor later than both together by table."""
    parts = [
        cost(one, "cpu", [Figure(one.case, "cpu", "", "2026-01-01", "", float(ms), 0.0)], {})
        for one, ms in zip(whole, costs_ms, strict=False)
    ]
    hours, _ = total(parts)
    longest = max((c.hours() or 0.0) / len(SEEDS) for c in parts)
    ends, _ = clock(parts, Machine("", "cpu", workers))
    assert hours is not None
    assert ends is not None
    tables = {one.tables[0] for one, _ in zip(whole, costs_ms, strict=False)}
    assert max(longest, hours / workers) * (1 - 1e-9) <= ends <= (hours / workers + len(tables) * longest) * (1 + 1e-9)


def test_a_figure_serves_its_own_sizes_alone(whole: list[Configuration]) -> None:
    """Other widths, steps or settings have no figure; of several stacks the largest that the seeds fill is taken."""
    case = whole[0].case
    stacks = [Figure(case, "cuda", "", "2026-01-01", "", 1.0 / n, None, stack=n) for n in (1, 5, 10)]
    assert [found.stack if (found := look_up(case, "cuda", n, stacks)) else None for n in (2, 5, 9)] == [1, 5, 5]
    assert look_up(case, "cpu", 5, stacks) is None
    assert look_up(replace(case, widths=(384, 5, 20)), "cuda", 5, stacks) is None
    assert look_up(replace(case, batch=case.batch + 1), "cuda", 5, stacks) is None


def test_changed_settings_have_no_figure_but_fewer_epochs_do(place: Path) -> None:
    """What an epoch costs depends on the net; how many there are does not change it."""
    store, records = Store(place / "data"), Records(place / "runs")

    def of(**overrides: object) -> Configuration:
        planned = planned_tables(
            ("table1",), seeds=SEEDS, store=store, records=records, rows=("mosi-aligned-glove-dmd",),
            overrides=overrides,  # type: ignore[arg-type]
        )  # fmt: skip
        (found,) = configurations(planned, store, seeds=SEEDS, overrides=overrides)  # type: ignore[arg-type]
        return found

    usual = of()
    assert of(max_epochs=3).case == usual.case
    assert of(max_epochs=3).most_epochs == 3
    assert of(d=QUICK["d"], heads=2).case != usual.case


def test_every_figure_that_ships_is_of_a_configuration(whole: list[Configuration]) -> None:
    """A figure that no configuration of the paper looks up is an old one: `benchmarks/steps.py` measures again."""
    cases = {one.case for one in whole}
    assert {figure.case for figure in measured()} <= cases
    assert all(look_up(case, "cpu", 5, measured()) for case in cases)  # no total on cores leaves anything out
    assert all(f.train_ms > 0 and (f.evaluate_ms is None or f.evaluate_ms > 0) and f.machine for f in measured())


def test_the_sheet_answers_first_within_the_window(
    plans: list[PlannedTable], whole: list[Configuration], figures: list[Figure]
) -> None:
    """Typical hours on each machine stand above the tables, which fit 80 columns and mark what they leave out."""
    text = render_sheets([hours_sheet(plans, whole, figures, {})], "terminal", width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "Typically" in text.splitlines()[1]
    assert f"for the {len(whole) // 2} of {len(whole)} configurations measured on" in " ".join(text.split())
    assert "The longest run, " in text
    assert "evaluation was not timed" in " ".join(text.split())
    assert " +" in text
