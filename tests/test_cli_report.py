"""`dmd report` as a user types it: quick, without torch, and every slip answered in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_records import plan_rows, predictions_with, spec_for, stamp_for, write_record

import dmd_repro
from dmd_repro.published import load_table

RUN = "import sys; from dmd_repro.cli import main\ntry: main()\nfinally: print('torch' in sys.modules, file=sys.stderr)"


def _report(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(dmd_repro.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", RUN, "report", *arguments],
        cwd=cwd, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": path, "DMD_RUNS": ""},
    )  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A runs folder with one measured row of Table 1."""
    row = load_table("table1").row("mosi-aligned-glove-dmd")
    data, specs = stamp_for(row), [spec_for(row, seed) for seed in (1111, 1112)]
    for n, one in enumerate(specs):
        write_record(tmp_path / "runs", one, data, predictions_with(n))
    plan_rows(tmp_path / "runs", "table1", {row.key: (data, specs)})
    return tmp_path


def test_a_report_is_quick_and_without_torch(runs: Path) -> None:
    """Under two seconds with runs and tests to compute, and the audit wing never imports torch."""
    start = os.times()
    done = _report("table1", cwd=runs)
    end = os.times()
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "False"
    # processor time, not the clock: on a machine busy with other tests the clock measures those
    assert (end.children_user + end.children_system) - (start.children_user + start.children_system) < 2
    assert "2/2" in done.stdout


def test_all_tables_without_any_runs(tmp_path: Path) -> None:
    """In an empty folder the printed numbers stand, and nothing is created."""
    done = _report("--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    cells = [c for t in document["tables"] for b in t["blocks"] for r in b["rows"] for c in r["cells"]]
    assert len(cells) == 191
    assert all(cell["mean"] is None for cell in cells)
    assert list(tmp_path.iterdir()) == []


def test_output_takes_the_format_of_the_ending(runs: Path) -> None:
    """`-o t.tex` writes LaTeX, `-o t.md` Markdown; standard output stays clean."""
    for name, says in (
        ("t.md", "| method |"),
        ("t.json", '"tables"'),
        ("t.tex", r"\toprule"),
        ("t.txt", "How to read"),
    ):
        done = _report("table1", "-o", name, cwd=runs)
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        assert says in (runs / name).read_text(encoding="utf-8")
    assert _report("table1", "-f", "latex", "--standalone", cwd=runs).stdout.startswith(r"\documentclass")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("tabel1",), "Did you mean 'table1'?"),
        (("table1", "--format", "markdwon"), "Did you mean 'markdown'?"),
        (("table1", "--standalone"), "--standalone: expected --format latex"),
        (("table1", "--data", "mosi-aligned-glov"), "Did you mean 'mosi-aligned-glove'?"),
        (("table2", "--data", "x"), "Make one: dmd reproduce table2 --data x"),
        (("table1", "-o", "nowhere/t.md"), "nowhere/t.md: expected a file that can be written"),
    ],
)
def test_a_slip_is_one_sentence_and_exit_code_2(runs: Path, arguments: tuple[str, ...], says: str) -> None:
    """The user can fix it, so: one sentence on stderr, exit 2, no traceback, nothing half-written."""
    before = sorted(path.name for path in runs.iterdir())
    done = _report(*arguments, cwd=runs)
    message = done.stderr.rsplit("\n", 2)[0]
    assert done.returncode == 2
    assert says in message
    assert len(message.strip().splitlines()) == 1
    assert done.stdout == ""
    assert sorted(path.name for path in runs.iterdir()) == before


def test_a_damaged_plan_is_one_sentence(runs: Path) -> None:
    """A plan cut off by a full disk says so instead of a traceback."""
    plan = next((runs / "runs" / "plans").glob("*.json"))
    plan.write_text(plan.read_text()[:40])
    done = _report("table1", cwd=runs)
    assert done.returncode == 2
    assert "Delete it and plan the table again" in done.stderr
