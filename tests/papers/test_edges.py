"""Edges of the graph units in a report: from history to numbers, against their prior and a uniform start."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from command import Here
from hypothesis import given
from hypothesis import strategies as st
from made_records import IDS, LABELS, plan_rows, spec_for, stamp_for

from dmd_repro.errors import RunError
from dmd_repro.papers.dmd.edges import edge_prior, edge_sheets, pull
from dmd_repro.papers.tables import load_table
from dmd_repro.records.folder import Predictions, Records
from dmd_repro.systems import graph

ROW = load_table("table3").row("mosi-unaligned-glove-dmd")


def test_the_report_has_the_priors_of_the_model() -> None:
    """The report needs no torch, so it computes the prior a second time: it must be the model's."""
    for unit in ("homo", "hetero"):
        for kind in ("authors", "uniform", "none"):
            assert edge_prior(unit, kind) == pytest.approx(graph.edge_prior(unit, kind).tolist(), abs=1e-7)


@given(st.floats(0, 1), st.sampled_from(["homo", "hetero"]))
def test_the_pull_is_the_share_of_the_way_to_the_prior(share: float, unit: str) -> None:
    """0 at the uniform start, 1 at the prior, linear between."""
    prior = edge_prior(unit, "authors")
    edges = [1 / 6 + share * (p - 1 / 6) for p in prior]
    assert pull(edges, 1 / 6, prior) == pytest.approx(share, abs=1e-9)
    assert pull(edges, 1 / 6, edge_prior(unit, "uniform")) is None


def recorded(runs: Path, seed: int, curve: list[list[float]], *, best: int, **changes: object) -> None:
    """A finished record whose history has these edges of the homo unit."""
    spec, said = spec_for(ROW, seed, **changes), Predictions(IDS, LABELS, LABELS, {})
    with Records(runs).begin(spec, stamp_for(ROW), {"execution": {"device": "cpu"}}) as writer:
        for epoch, edges in enumerate(curve, start=1):
            line = {"epoch": epoch, "edges": {"homo": edges}}
            state = {"progress": {"epoch": epoch}}
            writer.save_epoch({"w": np.zeros(1, np.float32)}, state, line)
        writer.finish(
            predictions={"valid": said, "test": said},
            epochs={"valid": np.stack([LABELS] * len(curve)), "test": np.stack([LABELS] * len(curve))},
            checkpoint={"w": np.zeros(1, np.float32)},
            provenance={"best_epoch": best},
        )


UNIFORM = [1 / 6] * 6
LEADING = [0.1, 0.1, 0.3, 0.1, 0.3, 0.1]


def test_edges_are_read_at_the_selected_epoch_and_told_against_the_claim(tmp_path: Path) -> None:
    """What counts is the epoch the run was selected at; first and last stand beside it."""
    recorded(tmp_path, 1, [UNIFORM, LEADING, UNIFORM], best=2)
    recorded(tmp_path, 2, [UNIFORM, [x + (0.01 if i == 2 else -0.002) for i, x in enumerate(LEADING)]], best=2)
    (sheet,) = edge_sheets(Records(tmp_path))
    edge = sheet.document["edges"]["l->v"]
    assert edge["selected"] == pytest.approx([0.3, 0.31])
    assert edge["prior"] == pytest.approx(0.4823, abs=1e-4)
    assert edge["p"] < 0.05
    assert any("L→V, L→A: the same" in note for note in sheet.notes)
    assert any("different numbers of epochs" in note for note in sheet.notes)
    assert sheet.document["epochs"]["1"] == [UNIFORM, LEADING, UNIFORM]
    assert [row[:2] for row in sheet.grids[1].rows] == [("1", "2"), ("2", "2"), ("3", "1")]
    assert json.dumps(sheet.to_json())


def test_other_switches_and_masks_are_sheets_of_their_own(tmp_path: Path) -> None:
    """A uniform prior is no pull, per-target edges start at one half, and neither is averaged with the others."""
    recorded(tmp_path, 1, [UNIFORM], best=1)
    recorded(tmp_path, 1, [UNIFORM], best=1, config={"max_epochs": 1, "edge_prior": "uniform"})
    recorded(tmp_path, 1, [[0.5] * 6], best=1, config={"max_epochs": 1, "edge_softmax": "per_target"})
    sheets = edge_sheets(Records(tmp_path))
    assert len(sheets) == 3
    uniform = next(sheet for sheet in sheets if "edge_prior=uniform" in sheet.title)
    assert uniform.document["pull"] == []
    target = next(sheet for sheet in sheets if "per_target" in sheet.title)
    assert target.document["edges"]["v->l"]["start"] == 0.5


def test_a_long_history_is_thinned_to_its_shape(tmp_path: Path) -> None:
    """A hundred epochs print as about ten lines with the first and the last; JSON keeps all."""
    recorded(tmp_path, 1, [UNIFORM] * 100, best=50)
    (sheet,) = edge_sheets(Records(tmp_path))
    shown = [int(row[0]) for row in sheet.grids[1].rows]
    assert (shown[0], shown[-1]) == (1, 100)
    assert len(shown) <= 12
    assert len(sheet.document["epochs"]["1"]) == 100


def test_no_unit_no_edges(tmp_path: Path, monkeypatch, capsys) -> None:
    """Where nothing has a graph unit the message says what to train; an unknown feature set gets the nearest."""
    dmd = Here(tmp_path, monkeypatch, capsys)
    said = dmd("report", "--edges")
    assert said.code == 2
    assert "dmd train dmd --data synthetic" in said.err
    recorded(dmd.folder / "runs", 1, [UNIFORM], best=1)
    assert "Edges of HomoGD of dmd (full)" in dmd("report", "--edges").out
    with pytest.raises(RunError, match="Did you mean 'mosi-unaligned-glove'"):
        edge_sheets(Records(dmd.folder / "runs"), ["mosi-unaligned-golve"])
    assert dmd("report", "--edges", "--shapley").code == 2


def test_edges_of_a_table_are_those_of_its_plan(tmp_path: Path, monkeypatch, capsys) -> None:
    """Asked for a table, runs that no row of it uses stay out; a CSV holds one table, with the mark in each line."""
    dmd = Here(tmp_path, monkeypatch, capsys)
    for seed in (1, 2):
        recorded(dmd.folder / "runs", seed, [UNIFORM], best=1)
    said = dmd("report", "table3", "--edges")
    assert (said.code, "dmd reproduce table3" in said.err) == (2, True)
    plan_rows(dmd.folder / "runs", "table3", {ROW.key: (stamp_for(ROW), [spec_for(ROW, 2)])})
    assert "over 1 seed " in dmd("report", "table3", "--edges").out
    assert "over 2 seeds" in dmd("report", "--edges").out
    said = dmd("report", "--edges", "-f", "csv")
    assert (said.code, "-o NAME.csv" in said.err) == (2, True)
    assert dmd("report", "--edges", "-o", "e.csv").code == 0
    files = sorted(dmd.folder.glob("e-*.csv"))
    assert len(files) == 2
    for file in files:
        lines = list(csv.reader(file.read_text(encoding="utf-8").splitlines()))
        assert {len(line) for line in lines} == {len(lines[0])}
        assert {line[0] for line in lines[1:]} == {lines[1][0]}
