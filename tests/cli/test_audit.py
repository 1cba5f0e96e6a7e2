"""`dmd audit` as a user types it: quick, without torch or data, exit 1 where a check fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import Here
from made_records import plan_rows, predictions_with, spec_for, stamp_for, write_record

import dmd_repro
from dmd_repro.papers.tables import load_table
from dmd_repro.systems.dmd.switches import SWITCHES

RUN = "import sys; from dmd_repro.cli import main\ntry: main()\nfinally: print('torch' in sys.modules, file=sys.stderr)"


def test_the_audit_is_quick_and_without_torch(tmp_path: Path) -> None:
    """Two seconds of processor time, no torch, and an empty folder stays empty; exit 1, for one check fails."""
    path = os.pathsep.join(filter(None, [str(Path(dmd_repro.__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    start = os.times()
    done = subprocess.run(
        [sys.executable, "-c", RUN, "audit"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": path, "DMD_RUNS": ""},
    )  # fmt: skip
    end = os.times()
    assert done.returncode == 1
    assert done.stderr.strip() == "False"
    assert (end.children_user + end.children_system) - (start.children_user + start.children_system) < 2
    assert "19 checks, 539 findings" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """`dmd` in this process."""
    return Here(tmp_path, monkeypatch, capsys)


def test_one_check_one_table_and_files(dmd: Here) -> None:
    """Options narrow the audit; without a failing check the exit code is 0; -o takes the ending's format."""
    said = dmd("audit", "table1", "--check", "best", "--json")
    assert said.code == 0
    assert {f["check"] for f in json.loads(said.out)["findings"]} == {"best"}
    assert dmd("audit", "--list").out.startswith("attainable: ")
    assert "FLAG" in dmd("audit", "--check", "noise-floor").out
    assert "  ok  " in dmd("audit", "--all").out
    for name, says in (("a.csv", "check,table,row"), ("a.md", "| status | check |"), ("a.txt", "strongest first")):
        assert dmd("audit", "-o", name).code == 1
        assert says in (dmd.folder / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("tabel1",), "Did you mean 'table1'?"),
        (("--check", "atainable"), "Did you mean 'attainable'?"),
        (("--format", "jsn"), "Did you mean 'json'?"),
        (("-o", "out.docx"), "-o out.docx: expected a file ending in .md"),
    ],
)
def test_a_slip_is_one_sentence(dmd: Here, arguments: tuple[str, ...], says: str) -> None:
    """The user can fix it: exit 2."""
    said = dmd("audit", *arguments)
    assert said.code == 2
    assert says in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_code_lists_every_switch_and_says_where_nothing_was_measured(dmd: Here) -> None:
    """One finding a difference, in the same schema; without runs it says so."""
    said = dmd("audit", "--code", "--json")
    found = {f["row"]: f for f in json.loads(said.out)["findings"]}
    assert said.code == 0
    assert {switch.name for switch in SWITCHES} <= set(found)
    assert "not measured" in found["ort_axis"]["explanation"]


def test_code_measures_a_switch_where_runs_differ_in_it_alone(dmd: Here) -> None:
    """The effect is paired over seeds; a run that differs in a second setting is not used."""
    row = load_table("table1").row("mosi-aligned-glove-dmd")
    data, runs = stamp_for(row), dmd.folder / "runs"
    for seed, wrong in ((1111, 2), (1112, 3)):
        write_record(runs, spec_for(row, seed, config={"ort_axis": "batch", "x": 1}), data, predictions_with(wrong))
        write_record(
            runs, spec_for(row, seed, config={"ort_axis": "feature", "x": 1}), data, predictions_with(wrong - 1)
        )
        write_record(runs, spec_for(row, seed, config={"ort_axis": "feature", "x": 2}), data, predictions_with(5))
    plan_rows(runs, "table1", {})
    found = {f["row"]: f for f in json.loads(dmd("audit", "--code", "--json").out)["findings"]}
    text = found["ort_axis"]["explanation"]
    assert "ACC2 +12.50" in text  # one clip of eight
    assert "2 seeds" in text
