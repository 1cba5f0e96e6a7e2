"""Language alone in every block: measured like its neighbours, marked as ours, held against nothing printed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command import Here
from made_records import spec_for, stamp_for
from verdict_cases import CLIPS, near, write_scores

from dmd_repro.data.store.folder import Store
from dmd_repro.errors import ClaimError, SpecError
from dmd_repro.metrics.registry import METRICS
from dmd_repro.papers.folders import table_names
from dmd_repro.papers.tables import load_table, with_controls
from dmd_repro.planning.grid import NO_CONTROL, expand, select_rows
from dmd_repro.planning.plans import PlannedRow, TablePlan, load_plan, save_plan
from dmd_repro.records.folder import Records
from dmd_repro.render.formats import FORMATS, render
from dmd_repro.results.between import between_sheet
from dmd_repro.results.lottery import lottery_sheet
from dmd_repro.results.sides import row_side
from dmd_repro.results.tables import compare, compare_tables
from dmd_repro.spec import run_id

PRINTED = load_table("table1")
TABLE = with_controls(PRINTED)
CONTROL, DMD = "mosi-aligned-glove-language", "mosi-aligned-glove-dmd"
RIGHTS = {CONTROL: [520, 518, 525, 519, 522], DMD: [554, 550, 553, 556, 552]}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five official runs of language alone and of DMD, and their plan."""
    folder, rows = tmp_path_factory.mktemp("runs"), {}
    for key, rights in RIGHTS.items():
        row = TABLE.row(key)
        data = stamp_for(row)
        specs = [spec_for(row, 1111 + i) for i in range(len(rights))]
        for i, (spec, right) in enumerate(zip(specs, rights, strict=True)):
            write_scores(folder, spec, data, near(right, i))
        facts = data.to_json()
        rows[key] = PlannedRow(
            "planned",
            features={k: facts[k] for k in ("name", "dataset", "text", "aligned", "digest", "standing", "label")},
            runs={spec.seed: run_id(spec, data.digest) for spec in specs},
        )
    save_plan(folder, TablePlan("table1", ("mosi-aligned-glove",), tuple(range(1111, 1116)), rows))
    return folder


def test_every_block_of_both_tables_has_one_and_print_has_none() -> None:
    """Protects: six rows, none among what the paper prints, each on the text of its block."""
    for name, blocks in (("table1", 3), ("table2", 3)):
        table = load_table(name)
        assert [len(block.controls) for block in table.blocks] == [1] * blocks
        assert not [row for row in table.rows if row.ours or not row.cells]
        for block in with_controls(table).blocks:
            last = block.rows[-1]
            assert (last.cells, last.ours, last.label.rstrip("*")) == ({}, block.columns, "Text (ours)")
            assert last.recipe is not None
            assert (last.recipe.model, last.recipe.features) == ("language", block.key)
    assert not [b for name in table_names() if name > "table2" for b in load_table(name).blocks if b.controls]


def test_it_is_measured_and_gets_no_word(runs: Path) -> None:
    """Protects: accuracies stand in the table's own columns, MAE and Corr beside; no difference, word or chance."""
    found = compare(TABLE, load_plan(runs, "table1"), Records(runs))
    row = next(row for row in found.rows if row.row.key == CONTROL)
    truth = np.array([-1.0, 1.0] * (CLIPS // 2), np.float32)
    want = [METRICS["acc2_non0"].shown(truth, near(n, i)) for i, n in enumerate(RIGHTS[CONTROL])]
    acc2 = row.unprinted_in("acc2")
    assert acc2 is not None
    assert acc2.summary.mean == pytest.approx(np.mean(want))
    assert {one.metric for one in row.unprinted} == {"acc7", "acc2_non0", "f1_non0", "mae", "corr"}
    said = json.loads(json.dumps(row.to_json()))
    assert (said["ours"], said["cells"], said["words"]["if_a_mean"], said["grade"]) == (True, [], "not printed", "ours")
    assert {one["place"] for one in said["unprinted"]} == {"not printed"}
    assert any(note.startswith("ours, not printed: ") for note in row.notes)
    assert "counts negative / positive [ours]" in row.notes
    alone = compare(PRINTED, load_plan(runs, "table1"), Records(runs))
    assert f"in {len(PRINTED.rows)} rows; 1 rows (3 numbers)" in found.prose
    assert alone.prose == found.prose.replace("with 10 runs", "with 5 runs")
    dmd, same = (next(r for r in t.rows if r.row.key == DMD).to_json() for t in (found, alone))
    assert dmd == same  # it moves no word of its neighbours


@pytest.mark.parametrize("format_", [f for f in FORMATS if f != "json"])
def test_every_format_shows_it(format_: str, runs: Path) -> None:
    """Protects: text, HTML, LaTeX and CSV hold the row and its mean, and lose both without the control."""
    with_, without = (render(compare_tables(runs, ["table1"], control=c), format_) for c in (True, False))  # type: ignore[arg-type]
    assert "Text (ours)" in with_
    assert "79.39" in with_
    assert "not printed: what the same text gives" in with_
    assert "Text (ours)" not in without


def test_neighbours_are_compared_with_it(runs: Path) -> None:
    """Protects: what fusion adds is a paired gap, either way round; the lottery of print leaves it out."""
    records, made = Records(runs), load_plan(runs, "table1")
    for name, sign in ((DMD, 1), (CONTROL, -1)):
        gaps = between_sheet(TABLE, made, records, name).document["gaps"]
        gap = next(gap for gap in gaps if gap["column"] == "acc2")
        assert {gap["first"], gap["second"]} == {DMD, CONTROL}
        want = np.mean(RIGHTS[DMD]) - np.mean(RIGHTS[CONTROL])
        assert gap["gap"] == pytest.approx(sign * 100 * want / CLIPS)
    assert {cell["row"] for cell in lottery_sheet(PRINTED, made, records).document["cells"]} == {DMD}
    side = row_side(CONTROL, runs)
    assert len(side.runs) == 5
    assert any("ours, not printed" in note for note in side.notes)


def test_a_plan_takes_it_or_leaves_it(tmp_path: Path) -> None:
    """Protects: `--no-control` leaves the rows out and keeps what an earlier plan gave them; `all` is every row."""
    assert select_rows(TABLE, ["all"]) == select_rows(TABLE, []) == TABLE.rows
    assert [row.key for row in select_rows(TABLE, ["aligned-glove"], control=False)] == [
        row.key for row in PRINTED.rows if "-aligned-glove" in row.key
    ]
    assert [row.key for row in select_rows(TABLE, ["language"])] == [r.key for r in TABLE.rows if r.ours]
    with pytest.raises(SpecError, match=r"--no-control with --rows language: expected a row that the paper prints"):
        select_rows(TABLE, ["language"], control=False)
    records = Records(tmp_path)

    def plan(**options: bool) -> TablePlan:
        return expand(TABLE, seeds=(1, 2), store=Store(tmp_path), records=records, data=("synthetic",), **options).plan  # type: ignore[arg-type]

    first = plan(control=False)
    assert first.rows[CONTROL].reason == NO_CONTROL
    full = plan()
    assert len(full.rows[CONTROL].runs) == 2
    save_plan(tmp_path, full)
    assert plan(control=False).rows[CONTROL] == load_plan(tmp_path, "table1").rows[CONTROL]  # type: ignore[union-attr]


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects: reproduce and report show the row by default, and neither plans nor prints it with --no-control."""
    dmd = Here(tmp_path, monkeypatch, capsys)
    asked = ("reproduce", "table1", "--data", "synthetic", "--seeds", "1", "--epochs", "1", "--jobs", "1")
    said = dmd(*asked, "--rows", "mosi-aligned-glove-language")
    assert said.code == 0
    assert "Text (ours)" in said.out
    assert "[1/1]" in said.out
    again = dmd(*asked, "--rows", "aligned-glove", "--no-control", "--dry-run")
    assert "-language" not in again.out
    assert "Text (ours)" in dmd("report", "table1").out
    assert "Text (ours)" not in dmd("report", "table1", "--no-control").out


def test_a_control_prints_nothing(tmp_path: Path) -> None:
    """Protects: a printed number or a convention in a row of ours is refused with its place."""
    text = """
name: tiny
title: "Tiny"
columns: [acc2]
conventions: {a: {acc2: non0, f1: plain, certainty: "known"}}
blocks:
  - key: a
    dataset: mosi
    setting: aligned
    text: glove
    rows:
      - {key: one, method: One, printed: {acc2: "40.0"}, convention: a, recipe: {model: dmd}}
    controls:
      - {key: two, method: Two, recipe: {model: language}%s}
"""
    (tmp_path / "tiny.yaml").write_text(text % "")
    assert load_table("tiny", tmp_path).blocks[0].controls[0].ours == ("acc2",)
    for more, told in ((', printed: {acc2: "41.0"}', "printed"), (", convention: a", "convention")):
        (tmp_path / "tiny.yaml").write_text(text % more)
        with pytest.raises(ClaimError, match=rf"controls\[two\]\.{told}"):
            load_table("tiny", tmp_path)
    (tmp_path / "tiny.yaml").write_text((text % "").replace("key: two", "key: one"))
    with pytest.raises(ClaimError, match="'one' twice"):
        load_table("tiny", tmp_path)
