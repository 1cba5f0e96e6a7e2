"""`dmd report` as a user types it: quick, without torch, and every slip answered in one sentence."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

import pytest
from made_records import plan_rows, predictions_with, spec_for, stamp_for, write_record
from printed_text import flat

import dmd_repro
from dmd_repro.cli import main
from dmd_repro.papers.tables import load_table
from dmd_repro.render.layout import percent
from dmd_repro.results.sheet import p_value

RUN = "import sys; from dmd_repro.cli import main\ntry: main()\nfinally: print('torch' in sys.modules, file=sys.stderr)"


def _apart(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `dmd report` in a process of its own."""
    path = os.pathsep.join(filter(None, [str(Path(dmd_repro.__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-c", RUN, "report", *arguments],
        cwd=cwd, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": path, "DMD_RUNS": ""},
    )  # fmt: skip


def _report(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `dmd report` in this process: it says what one of its own would, a second sooner."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    typed = ["dmd", "report", *arguments]
    with (
        contextlib.chdir(cwd), mock.patch.dict(os.environ, {"DMD_RUNS": ""}), mock.patch.object(sys, "argv", typed),
        contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended,
    ):  # fmt: skip
        main()
    said = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(typed, int(ended.value.code or 0), *said)


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
    done = _apart("table1", cwd=runs)
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
        ("t.txt", "Legend"),
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
        (("table1", "-o", "out.docx"), "-o out.docx: expected a file ending in .md"),
        (("table1", "--data", "mosi-aligned-glov"), "Did you mean 'mosi-aligned-glove'?"),
        (("table2", "--data", "x"), "Make one: dmd reproduce table2 --data x"),
        (("table1", "--margin", "0"), "--margin 0: expected points above 0"),
        (("table1", "--margin", "nan"), "--margin nan: expected points above 0"),
        (("table1", "--lottery", "--prose"), "expected one of them, got 2"),
        (("table1", "--compare", "dmx"), "Did you mean 'dmd"),
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


def test_a_damaged_plan_hides_no_other_table(runs: Path) -> None:
    """All tables are asked for: its own says why it has no runs, the others are as they were."""
    (runs / "runs" / "plans" / "table2--x.json").write_text("{")
    done = _report("--json", cwd=runs)
    assert done.returncode == 0, done.stderr
    tables = {table["table"]: table for table in json.loads(done.stdout)["tables"]}
    rows = {name: [row for block in table["blocks"] for row in block["rows"]] for name, table in tables.items()}
    assert any(row["state"] == "measured" for row in rows["table1"])
    assert all(
        "expected a plan of this version" in " ".join(row["notes"])
        for row in rows["table2"]
        if row["state"] != "not run"
    )


@pytest.fixture
def decided(tmp_path: Path) -> Path:
    """A runs folder with five runs of a row of Table 1, enough for verdicts."""
    row = load_table("table1").row("mosi-aligned-glove-dmd")
    data, specs = stamp_for(row), [spec_for(row, 1111 + i) for i in range(5)]
    for n, one in enumerate(specs):
        write_record(tmp_path / "runs", one, data, predictions_with(n % 3))
    plan_rows(tmp_path / "runs", "table1", {row.key: (data, specs)})
    return tmp_path


def _shown(value: float, sign: str = "") -> str:
    return f"{value:{sign}.2f}".replace("-", "−")


def test_every_number_in_every_file_equals_the_json(decided: Path) -> None:
    """`--all` writes the five tables in each format; what they show is what the JSON holds, number by number."""
    done = _report("--all", "-o", "out", cwd=decided)
    assert done.returncode == 0, done.stderr
    files = decided / "out" / "files"
    names = {path.name for path in files.iterdir()}
    endings = ("txt", "md", "tex", "html", "csv", "json")
    assert {f"table{i}.{ending}" for i in range(1, 6) for ending in endings} <= names
    table = json.loads((files / "table1.json").read_text(encoding="utf-8"))["tables"][0]
    rows = [row for block in table["blocks"] for row in block["rows"] if row["state"] == "measured"]
    names_of = {"txt": "terminal", "md": "markdown", "tex": "latex", "html": "html"}
    texts = {
        ending: flat((files / f"table1.{ending}").read_text(encoding="utf-8"), format_)
        for ending, format_ in names_of.items()
    }
    assert rows
    for cell in rows[0]["cells"]:
        ends = ", ".join(_shown(x, "+") for x in cell["d_interval"])
        wanted = [cell["printed"], f"{_shown(cell['mean'])}±{_shown(cell['std'])}", f"[{ends}]", cell["place"]]
        wanted += [f"[{', '.join(_shown(x) for x in cell[key])}]" for key in ("interval", "prediction_interval")]
        wanted += [_shown(cell["difference"], "+"), _shown(cell["error_seeds"]), _shown(cell["error_clips"])]
        wanted += [_shown(value) for value in cell["conventions"].values()]
        wanted += [percent(value) for value in cell["margin_chances"].values()]
        wanted += [p_value(cell[key]) for key in ("p_equivalence", "p_difference", "p")]
        wanted += [f"[{100 * c['low']:.0f}–{100 * c['high']:.0f}]" for c in cell["chances"]]
        for ending, text in texts.items():
            assert [want for want in wanted if want not in text] == [], ending
    with (files / "table1.csv").open(encoding="utf-8", newline="") as stream:
        lines = [line for line in csv.DictReader(stream) if line["state"] == "measured"]
    assert [line["metric"] for line in lines if not line["printed"]] == ["mae", "corr"]  # shown, printed or not
    lines = [line for line in lines if line["printed"]]
    for one in rows[0]["unprinted"]:
        for ending, text in texts.items():
            assert f"{one['mean']:.4f}±{one['std']:.4f}" in text, ending
    for line, cell in zip(lines, rows[0]["cells"], strict=True):
        for key in ("mean", "std", "difference", "t", "p", "p_equivalence", "p_difference_raw", "error_clips"):
            assert float(line[key]) == cell[key]
        assert json.loads(line["prediction_interval"]) == cell["prediction_interval"]


def test_the_page_is_whole_and_the_figures_are_vectors(decided: Path) -> None:
    """The HTML loads nothing from elsewhere, holds a drawing per cell and where runs come from; the SVG parses."""
    assert _report("--all", "-o", "out", cwd=decided).returncode == 0
    files = decided / "out" / "files"
    page = (files / "table1.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 3
    assert not re.findall(r'(?:src|href)="|@import|url\(', page)
    assert "Runs (5)" in page
    drawing = ElementTree.parse(files / "figures" / "table1-seeds.svg").getroot()
    assert len(drawing.findall(".//{http://www.w3.org/2000/svg}circle")) == 15
    assert not (files / "figures" / "table2-seeds.svg").exists()


def test_readings_on_request(decided: Path) -> None:
    """--prose, --lottery, --compare and --margin, each from the same runs."""
    assert _report("table1", "--prose", cwd=decided).stdout.startswith("Table 1 prints 63 numbers")
    assert "Expected best of k runs" in _report("table1", "--lottery", cwd=decided).stdout
    said = json.loads(_report("table1", "--lottery", "--json", cwd=decided).stdout)
    assert len(said["sheets"][0]["cells"]) == 3
    whole = _report("table1", "--all", "--legend", cwd=decided).stdout
    assert "p TOST: " in whole
    assert "\nRules\n" in whole
    brief = _report("table1", cwd=decided).stdout
    assert "TOST" not in brief
    assert "\nRules\n" not in brief
    assert "nothing to compare" in _report("table1", "--compare", "full", cwd=decided).stdout
    wide = json.loads(_report("table1", "--margin", "60", "--json", cwd=decided).stdout)["tables"][0]
    words = {row["words"]["kind"] for block in wide["blocks"] for row in block["rows"]}
    assert (wide["margin"], wide["sealed_margin"]) == (60, 1)
    assert "margin chosen after looking" in words
