"""`dmd reruns` and `dmd compare` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import Here
from made_records import IDS, LABELS, plan_rows, predictions_with, spec_for, stamp_for, write_record

from dmd_repro.papers.tables import load_table

GOOD = "\n".join(
    (
        "system,dataset,setting,text,code,seed,acc2_non0",
        "DMD,mosi,aligned,bert,mine,1,0.8476",
        "DMD,mosi,aligned,bert,mine,2,0.8674",
        "",
    )
)


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """`dmd` in this process."""
    return Here(tmp_path, monkeypatch, capsys)


def test_a_fresh_install_answers_first(dmd: Here) -> None:
    """No data, no runs: the second line on is what others measured for DMD* on MOSI; the folder stays empty."""
    said = dmd("report", "table1")
    assert said.code == 0
    head = " ".join(" ".join(said.out.splitlines()[1:5]).split())
    assert "DMD* on CMU-MOSI, aligned: ACC2 printed 86.0, re-run 83.73 ± 1.08, best 84.91 (none reaches it)" in head
    assert list(dmd.folder.iterdir()) == []


def test_own_figures_are_added_listed_and_reported(dmd: Here) -> None:
    """A file that is right is kept as it is and shown beside the printed number; adding it twice changes nothing."""
    (dmd.folder / "mine.csv").write_text(GOOD, encoding="utf-8")
    for _ in range(2):
        said = dmd("reruns", "add", "mine.csv")
        assert said.code == 0
        assert "Beside table1 mosi-aligned-bert-dmd" in " ".join(said.out.split())
        assert max(map(len, said.out.splitlines())) <= 80
    listed = json.loads(dmd("reruns", "list", "--json").out)
    (mine,) = [one for one in listed if one["key"].startswith("mine/")]
    assert mine["values"]["acc2_non0"] == {"1": 84.76, "2": 86.74}
    tables = json.loads(dmd("report", "table1", "--json").out)["tables"]
    (cell,) = [
        cell for block in tables[0]["blocks"] for row in block["rows"] if row["key"] == "mosi-aligned-bert-dmd"
        for cell in row["cells"] if cell["column"] == "acc2"
    ]  # fmt: skip
    assert [(one["n"], one["reach"]) for one in cell["reruns"]] == [(10, 0), (2, 1)]
    (dmd.folder / "mine.csv").write_text(GOOD.replace("0.8476", "0.8491"), encoding="utf-8")
    said = dmd("reruns", "add", "mine.csv")
    assert said.code == 2
    assert "no other file of this name" in said.err
    kept = dmd.folder / "data" / ".reruns" / "mine.csv"
    kept.write_text("spoilt by hand", encoding="utf-8")
    said = dmd("report", "table1")
    assert said.code == 2
    assert str(kept.parent) in said.err


def test_a_slip_in_a_systems_name_is_said(dmd: Here) -> None:
    """A system that no table prints is kept, and the name that may be meant is named; a far one has none."""
    for name, says in (("Graph-MNF", "(did you mean 'Graph-MFN'?)"), ("DLF2000", "no row of DLF2000.")):
        (dmd.folder / f"{name}.csv").write_text(GOOD.replace("DMD,", f"{name},"), encoding="utf-8")
        said = dmd("reruns", "add", f"{name}.csv")
        assert said.code == 0
        assert says in " ".join(said.out.split())


def test_a_wrong_file_leaves_nothing_behind(dmd: Here) -> None:
    """Exit 2, one sentence, nothing added."""
    (dmd.folder / "mine.csv").write_text(GOOD.replace("0.8476", "84.76"), encoding="utf-8")
    said = dmd("reruns", "add", "mine.csv")
    assert said.code == 2
    assert len(said.err.strip().splitlines()) == 1
    assert "all as fractions or all in percent" in said.err
    assert not (dmd.folder / "data").exists()
    assert dmd("reruns", "add", "none.csv").code == 2


def test_compare_a_row_with_a_file(dmd: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs of a row against a rival's predictions, joined by id; another split's clips are refused."""
    row = load_table("table1").row("mosi-aligned-glove-dmd")
    specs = [spec_for(row, seed) for seed in (1111, 1112)]
    for wrong, spec in enumerate(specs, start=1):
        write_record(dmd.folder / "runs", spec, stamp_for(row), predictions_with(wrong))
    plan_rows(dmd.folder / "runs", "table1", {row.key: (stamp_for(row), specs)})
    rival = predictions_with(3)
    lines = [f"{clip},{true},{pred}" for clip, true, pred in zip(IDS, LABELS, rival, strict=True)]
    (dmd.folder / "b.csv").write_text("id,y_true,y_pred\n" + "\n".join(reversed(lines)) + "\n", encoding="utf-8")
    said = dmd("compare", row.key, "b.csv", "--json")
    assert said.code == 0, said.err
    (sheet,) = json.loads(said.out)["sheets"]
    (acc2,) = [gap for gap in sheet["gaps"] if gap["metric"] == "acc2_non0"]
    assert (acc2["first"], acc2["second"]) == (100 * 6.5 / 8, 100 * 5 / 8)
    assert [(m["only_first"], m["only_second"]) for m in acc2["mcnemar"]] == [(2, 0), (1, 0)]
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, dmd("compare", row.key, "b.csv").out.splitlines())) <= 80
    (dmd.folder / "c.csv").write_text("id,y_true,y_pred\n" + "\n".join(lines[:-1]) + "\n", encoding="utf-8")
    said = dmd("compare", row.key, "c.csv")
    assert said.code == 2
    assert "got 1 missing" in said.err


def test_predictions_are_no_rerun_file(dmd: Here) -> None:
    """Predictions clip by clip go to `dmd compare`, and the refusal says so."""
    (dmd.folder / "a.csv").write_text("id,y_true,y_pred\nv$_$0,1.0,0.5\n", encoding="utf-8")
    said = dmd("reruns", "add", "a.csv")
    assert said.code == 2
    assert "got predictions clip by clip. Compare it: dmd compare ROW a.csv" in said.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("mosi-aligned-glove-dmdd", "b.csv"), "Did you mean 'mosi-aligned-glove-dmd'?"),
        (("mosi-aligned-glove-dmd", "b.csv"), "expected finished runs of it"),
        (("b.csv", "b.csv"), "expected a file that can be read"),
    ],
)
def test_a_slip_in_compare_is_one_sentence(dmd: Here, arguments: tuple[str, ...], says: str) -> None:
    """The user can fix it: exit 2."""
    said = dmd("compare", *arguments)
    assert said.code == 2
    assert says in said.err
