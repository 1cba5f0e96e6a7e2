"""Table 4 in both readings: which runs each takes, and what is computed from stored heads."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, pstdev

import numpy as np
import pytest
from command import Here
from made_records import LABELS, predictions_with, spec_for, stamp_for, write_record

from dmd_repro.papers.dmd.readings import alone_rows, with_readings
from dmd_repro.papers.dmd.table4 import table4_sheets
from dmd_repro.papers.tables import load_table
from dmd_repro.planning.plans import PlannedRow, TablePlan, load_plan
from dmd_repro.records.folder import Records
from dmd_repro.spec import run_id

TABLE = load_table("table4")
WRONG = {  # clips each head calls wrong, of eight that count: by side and modality
    "without-fd": {"l": 2, "v": 4, "a": 6},
    "with-fd": {"l": 1, "v": 2, "a": 2},
}
MASKS = {"without-fd": ("ca", "fd", "heterogd", "homogd"), "with-fd": ("ca", "heterogd", "homogd")}


def planned(runs: Path, seeds: tuple[int, ...] = (1, 2), *, alone: bool = True) -> TablePlan:
    """Records for every row of Table 4 that has a recipe, and the plan over them."""
    rows: dict[str, PlannedRow] = {}
    for row in with_readings(TABLE).rows if alone else TABLE.rows:
        if row.recipe is None:
            rows[row.key] = PlannedRow("skipped", reason="derived")
            continue
        found = {}
        for seed in seeds:
            config = {"max_epochs": 1, **row.recipe.overrides}
            spec, stamp = spec_for(row, seed, config=config), stamp_for(row)
            side = "with-fd" if "fd" not in row.recipe.mask.off else "without-fd"
            heads = {f"{m}_homo": predictions_with(w + seed - 1) for m, w in WRONG[side].items()}
            heads |= {f"{m}_hetero": predictions_with(w) for m, w in WRONG[side].items()}
            only = str(row.recipe.overrides.get("modalities", ""))
            output = predictions_with(WRONG[side][only] + 1) if only else LABELS
            if Records(runs).get(run_id(spec, stamp.digest)) is None:
                write_record(runs, spec, stamp, output, heads)
            found[seed] = run_id(spec, stamp.digest)
        rows[row.key] = PlannedRow("planned", features=stamp_for(row).to_json(), runs=found)
    return TablePlan("table4", ("mosei-unaligned-glove",), seeds, rows)


def test_the_second_reading_is_a_model_of_one_modality() -> None:
    """Six further rows: same mask, one modality seen, the final output scored; no printed number is repeated."""
    rows = alone_rows(TABLE)
    assert {row.key for row in rows} == {f"{m}-{side}-alone" for m in "lva" for side in MASKS}
    for row in rows:
        assert row.recipe is not None
        assert row.recipe.head is None
        assert row.recipe.overrides == {"modalities": row.key[0]}
        assert row.recipe.mask.off == MASKS["without-fd" if "without" in row.key else "with-fd"]
    assert len(with_readings(TABLE).rows) == len(TABLE.rows) + 6
    for name in ("table1", "table3", "table5"):
        assert with_readings(load_table(name)) is not None
        assert len(with_readings(load_table(name)).rows) == len(load_table(name).rows)


def test_both_readings_are_scored_per_run_and_then_over_seeds(tmp_path: Path) -> None:
    """Mean and population STD are of the three modalities of one run; the mean over seeds comes last."""
    first, masks = table4_sheets(planned(tmp_path), Records(tmp_path))
    found = first.document["readings"]["heads"]
    for side, wrong in WRONG.items():
        for seed in (1, 2):
            three = {m: 100 - 12.5 * (w + seed - 1) for m, w in wrong.items()}
            for m, value in three.items():
                assert found[f"{m}-{side}"]["acc2_non0"][str(seed)] == pytest.approx(value)
            assert found[f"mean-{side}"]["acc2_non0"][str(seed)] == pytest.approx(fmean(three.values()))
            assert found[f"std-{side}"]["acc2_non0"][str(seed)] == pytest.approx(pstdev(three.values()))
    alone = first.document["readings"]["alone"]
    assert alone["a-with-fd"]["acc2_non0"]["1"] == pytest.approx(100 - 12.5 * 3)
    assert set(masks.document["heads"]) >= {"fd homo", "none homo", "fd+homogd hetero"}
    both = {row[0]: row[1:] for row in first.grids[0].rows}
    assert both["L only w/o FD"][0] == "81.2"
    changes = {row[:2]: row[2:] for row in first.grids[1].rows}
    assert changes["heads", "L"][0] == "+12.50"  # FD mends one clip of eight on both seeds
    assert changes["heads", "L"][2] == "—"  # the same on both seeds: no test
    assert json.dumps([sheet.to_json() for sheet in (first, masks)])


def test_section_4_2_is_read_with_its_heads(tmp_path: Path) -> None:
    """The text's numbers stand beside the homogeneous heads without and with HomoGD, and the heterogeneous after CA."""
    first, _ = table4_sheets(planned(tmp_path), Records(tmp_path))
    rows = {row[0]: row for row in first.grids[2].rows}
    assert rows["V homogeneous, w/o → w/ HomoGD"][1:3] == ("56.5 → 61.8", "+5.3")
    assert rows["A heterogeneous, after CA"][1] == "71.0"
    assert rows["A heterogeneous, after CA"][3] == "75.00 ± 0.00"


def test_a_diverged_head_is_named_and_left_out(tmp_path: Path) -> None:
    """A head that is not a number has no accuracy, and the mean of the three does not exist on that seed."""
    plan = planned(tmp_path, seeds=(1,), alone=False)
    row = TABLE.row("l-without-fd")
    spec, stamp = spec_for(row, 2), stamp_for(row)
    heads = {f"{m}_homo": LABELS if m != "v" else np.full_like(LABELS, np.nan) for m in "lav"}
    write_record(tmp_path, spec, stamp, LABELS, heads)
    rows = dict(plan.rows)
    for m in "lva":
        key = f"{m}-without-fd"
        rows[key] = PlannedRow(
            "planned", features=rows[key].features, runs={**rows[key].runs, 2: run_id(spec, stamp.digest)}
        )
    first, _ = table4_sheets(TablePlan(plan.table, plan.data, (1, 2), rows), Records(tmp_path))
    found = first.document["readings"]["heads"]
    assert set(found["l-without-fd"]["acc2_non0"]) == {"1", "2"}
    assert set(found["mean-without-fd"]["acc2_non0"]) == {"1"}
    assert any("diverged" in note for note in first.notes)
    assert any("other reading was not run" in note for note in first.notes)


def test_tables_3_4_and_5_come_from_one_set_of_runs(tmp_path: Path, monkeypatch, capsys) -> None:
    """Nothing is trained twice: after Table 3, Table 4 trains its second reading alone and the plan says reused."""
    dmd = Here(tmp_path, monkeypatch, capsys)
    tiny = ("--data", "synthetic", "--seeds", "2", "--set", "d=4", "--set", "heads=2", "--set", "layers=1")
    rest = (*tiny, "--epochs", "1", "--jobs", "1", "--json")
    first = json.loads(dmd("reproduce", "table1", "--rows", "mosi-unaligned-glove-dmd", *rest).out)
    assert first["to_train"] == 2
    said = dmd("reproduce", "table3", *rest)
    third = json.loads(said.out)
    assert (third["to_train"], third["done"], third["reused"]) == (10, 2, 12 + 2)
    assert "2 reused from table1" in said.err
    fourth = json.loads(dmd("reproduce", "table4", *rest).out)
    assert (fourth["to_train"], fourth["done"]) == (12, 8)
    fifth = json.loads(dmd("reproduce", "table5", "--rows", "dmd", *rest).out)
    assert (fifth["to_train"], fifth["done"]) == (0, 2)
    plan = load_plan(dmd.folder / "runs", "table4")
    assert plan is not None
    assert plan.rows["a-with-fd-alone"].runs.keys() == {1111, 1112}
    shown = dmd("report", "table4")
    assert "Table 4 in both readings" in shown.out
    assert "every mask at hand" in shown.out
    assert "SYNTHETIC DATA" in shown.out
    assert "Table 4 in both readings" in dmd("report", "table4", "-f", "markdown").out
    sheets = json.loads(dmd("report", "table4", "--readings", "--json").out)["sheets"]
    assert [sheet["sheet"] for sheet in sheets] == ["table4-readings", "table4-masks"]
    assert sheets[0]["readings"]["alone"]["l-with-fd"]["acc2_non0"]
