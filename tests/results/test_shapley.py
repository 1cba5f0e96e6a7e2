"""Shapley values and interactions: against their definitions, and from records to the report."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from command import Here
from hypothesis import given
from hypothesis import strategies as st
from made_records import LABELS, predictions_with, spec_for, stamp_for, write_record

from dmd_repro.errors import RunError
from dmd_repro.papers.tables import load_table
from dmd_repro.records.folder import Records
from dmd_repro.results.masks import PARTS, all_masks, mask_groups, parts_on
from dmd_repro.results.shapley import shapley_sheets
from dmd_repro.spec import AblationMask
from dmd_repro.stats.shapley import coalitions, interactions, shapley_values

WORTHS = st.integers(1, 4).flatmap(
    lambda n: st.lists(st.floats(-100, 100, allow_nan=False), min_size=2**n, max_size=2**n).map(
        lambda values: (PARTS[:n], dict(zip(coalitions(PARTS[:n]), values, strict=True)))
    )
)


@given(WORTHS)
def test_shapley_is_the_mean_over_all_orders_of_joining(game) -> None:
    """The closed form equals the definition: each part's marginal worth, averaged over every order."""
    players, worth = game
    found, orders = shapley_values(worth, players), list(permutations(players))
    for player in players:
        gains = []
        for order in orders:
            before = frozenset(order[: order.index(player)])
            gains.append(worth[before | {player}] - worth[before])
        assert found[player] == pytest.approx(np.mean(gains), abs=1e-9)


@given(WORTHS)
def test_the_values_add_up_to_all_minus_none(game) -> None:
    """Nothing is lost and nothing invented: the parts share exactly what the full model gains."""
    players, worth = game
    total = sum(shapley_values(worth, players).values())
    assert total == pytest.approx(worth[frozenset(players)] - worth[frozenset()], abs=1e-9)


@given(WORTHS)
def test_the_interaction_is_what_one_part_adds_to_the_others_value(game) -> None:
    """By definition: a part's value in the game where the other is there, minus the one where it never is."""
    players, worth = game
    for (i, j), found in interactions(worth, players).items():
        rest = [p for p in players if p != j]
        there = shapley_values({s: worth[s | {j}] for s in coalitions(rest)}, rest)[i]
        never = shapley_values({s: worth[s] for s in coalitions(rest)}, rest)[i]
        assert found == pytest.approx(there - never, abs=1e-8)


def test_independent_parts_have_their_own_worth_and_do_not_interact() -> None:
    """Where parts simply add, each is worth what it adds; a pair that works only together shares it."""
    adds = {"fd": 3.0, "homogd": -1.0, "ca": 0.0, "heterogd": 2.0}
    worth = {s: 50 + sum(adds[p] for p in s) + (4.0 if {"fd", "ca"} <= s else 0.0) for s in coalitions(PARTS)}
    assert shapley_values(worth, PARTS) == pytest.approx({"fd": 5.0, "homogd": -1.0, "ca": 2.0, "heterogd": 2.0})
    pairs = interactions(worth, PARTS)
    assert pairs[("fd", "ca")] == pytest.approx(4.0)
    assert all(value == pytest.approx(0) for pair, value in pairs.items() if pair != ("fd", "ca"))


ROW = load_table("table3").row("mosi-unaligned-glove-dmd")


def made(runs: Path, masks: list[tuple[str, ...]], seeds: tuple[int, ...] = (1, 2, 3)) -> None:
    """Records in which every part that is on mends one clip, on all seeds but for one clip of seed 2."""
    for off in masks:
        for seed in seeds:
            wrong = len(off) + (seed == 2)
            write_record(
                runs, spec_for(ROW, seed, mask=AblationMask(off)), stamp_for(ROW), predictions_with(wrong),
                {"l_homo": LABELS, "v_homo": predictions_with(wrong), "a_homo": predictions_with(2)},
            )  # fmt: skip


def test_sixteen_masks_become_values_over_seeds(tmp_path: Path) -> None:
    """Each part mends one of eight clips: its value is 12.5 points on every seed, and the pairs do not interact."""
    made(tmp_path, all_masks())
    (sheet,) = shapley_sheets(Records(tmp_path))
    found = sheet.document["shapley"]["acc2_non0"]
    assert {part: stats["mean"] for part, stats in found.items()} == pytest.approx(dict.fromkeys(PARTS, 12.5))
    assert sheet.document["seeds"] == [1, 2, 3]
    assert sheet.document["full_minus_none"]["acc2_non0"]["mean"] == pytest.approx(50.0)
    pairs = sheet.document["interactions"]["acc2_non0"]
    assert all(stats["mean"] == pytest.approx(0.0, abs=1e-9) for stats in pairs.values())
    masks = sheet.grids[-1].rows
    assert len(masks) == 16
    assert sum(bool(row[-1]) for row in masks) == 6  # the paper's rows among them
    assert next(row for row in masks if row[0] == "fd")[-2:] == ("34.7 / 79.3", "51.6 / 82.8")
    assert json.dumps(sheet.to_json())


def test_what_is_missing_is_said_with_the_command(tmp_path: Path, monkeypatch, capsys) -> None:
    """Fifteen masks give no value; the one that lacks is named, with what to type."""
    dmd = Here(tmp_path, monkeypatch, capsys)
    assert "dmd ablate --all-masks --data synthetic" in dmd("report", "table3", "--shapley").out
    made(dmd.folder / "runs", all_masks()[:-1])
    said = json.loads(dmd("report", "table3", "--shapley", "--json").out)["sheets"][0]
    assert (said["complete"], said["missing"]) == (False, ["none"])
    assert said["command"] == "dmd ablate --all-masks --data mosi-unaligned-glove --seeds 1,2,3"
    assert dmd("report", "table1", "--shapley").code == 2
    assert dmd("report", "table3", "--shapley", "--data", "nowhere").code == 2


def test_a_seed_without_all_masks_is_left_out_by_name(tmp_path: Path) -> None:
    """Values of different sets of seeds must not be mixed."""
    made(tmp_path, all_masks(), seeds=(1, 3))
    made(tmp_path, all_masks()[:5], seeds=(2,))
    (sheet,) = shapley_sheets(Records(tmp_path))
    assert sheet.document["seeds"] == [1, 3]
    assert any("seeds 2" in note for note in sheet.notes)


def test_groups_hold_runs_that_differ_in_mask_and_seed_alone(tmp_path: Path) -> None:
    """Other settings, protocols or data make another group; an unknown feature set is answered with a known one."""
    made(tmp_path, [(), ("ca",)], seeds=(1,))
    write_record(tmp_path, spec_for(ROW, 1, config={"max_epochs": 2}), stamp_for(ROW), LABELS)
    write_record(tmp_path, spec_for(ROW, 1, protocol="paper"), stamp_for(ROW), LABELS)
    groups = mask_groups(Records(tmp_path))
    assert [len(group.masks) for group in groups] == [2, 1, 1]
    assert len(groups[0].missing) == 14
    assert parts_on(()) == "fd+homogd+ca+heterogd"
    with pytest.raises(RunError, match="Did you mean 'mosi-unaligned-glove'"):
        mask_groups(Records(tmp_path), ["mosi-unalinged-glove"])
