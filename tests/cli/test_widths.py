"""In a pipe, which has no width, lines for people take 80 columns; text for programs, and paths, are left whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import Here, Said
from hypothesis import given
from hypothesis import strategies as st
from toy_files import mmsa, save

from dmd_repro.render.terminal import folded

SMALL = ("--set", "d=4", "--set", "heads=2", "--set", "layers=1", "--epochs", "1", "--seeds", "2", "--jobs", "1")
ROW = ("reproduce", "table1", "--rows", "mosi-aligned-glove-dmd", "--data", "synthetic", *SMALL)


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command, where no window has told its width."""
    monkeypatch.delenv("COLUMNS", raising=False)
    return Here(tmp_path, monkeypatch, capsys)


def too_long(said: Said) -> list[str]:
    """Lines of more than 80 columns that could have been cut; an error is one line, so that a log can be searched."""
    lines = [*said.out.splitlines(), *said.err.splitlines()]
    return [line for line in lines if len(line) > 80 and " " in line.strip() and not line.startswith("dmd: ")]


@given(st.lists(st.text("ab-/,", min_size=1, max_size=90), max_size=30), st.sampled_from([" ", "  "]))
def test_a_cut_line_loses_nothing_and_no_path_is_cut(words: list[str], gap: str) -> None:
    """Protects: every word is there, whole and in order; only one longer than the window passes it."""
    pieces = folded(f"  {gap.join(words)}", 80)
    assert " ".join(pieces).split() == words
    assert [piece for piece in pieces if len(piece) > 80 and " " in piece.strip()] == []


def test_a_number_keeps_its_name() -> None:
    """Protects: parts that two spaces part are not cut inside, so that no value stands without its measure."""
    line = f"{'x' * 60}  test: acc2_non0 89.01 %  mae 0.682"
    assert folded(line, 80) == ["x" * 60, "  test: acc2_non0 89.01 %  mae 0.682"]


def test_an_import_says_its_notes_and_warnings_in_80_columns(dmd: Here, tmp_path: Path) -> None:
    """Protects: what is odd about a file can be read in a log; where it lies stands in one piece."""
    deep = tmp_path / "a folder" / ("deep" * 20)
    save(tmp_path / "a.pkl", mmsa(aligned=True, text=384))
    said = dmd("data", "import", "a.pkl", "--name", "mine", "--dataset", "mosi", "--data-dir", str(deep))
    assert (said.code, too_long(said)) == (0, [])
    assert "warning: language features are 384 wide; the public CMU-MOSI files have" in said.out
    assert deep.name in said.out
    assert len(json.loads(dmd("data", "import", "a.pkl", "--dataset", "mosi", "--json").out)["warnings"][0]) > 60
    for words in (("data", "list"), ("data", "identify", "a.pkl"), ("data", "scan", "a.pkl"), ("data", "matrix")):
        assert too_long(dmd(*words)) == []


@pytest.mark.parametrize(
    "words",
    [
        ("reproduce", "table1", "--dry-run"),
        ("reproduce", "table1", "--data", "synthetic", "--dry-run"),
        ("reproduce", "table3", "--data", "synthetic", "--dry-run", "--device", "cuda:0,1"),
        ("reproduce", "table1", "--download", "--dry-run"),
        ("ablate", "--all-masks", "--data", "synthetic", "--dry-run"),
        ("reproduce", "all", "--rows", "mult"),
    ],
)
def test_a_plan_takes_80_columns(dmd: Here, words: tuple[str, ...]) -> None:
    """Protects: time, rows, reasons and power are read as well in a pipe as in a window."""
    said = dmd(*words)
    assert too_long(said) == []
    assert "plan of" in said.out


def test_training_and_what_is_told_of_runs_take_80_columns(dmd: Here) -> None:
    """Protects: progress, results and problems; a table of runs is for programs too, and stays a line a run."""
    assert too_long(dmd(*ROW)) == []
    run = json.loads(dmd("runs", "list", "--json").out)[0]["run_id"]
    for words in (
        ("train", "dmd", "--data", "synthetic", *SMALL[:-4]),
        ("train", "dmd", "--data", "synthetic", *SMALL),
        ("evaluate", run),
        ("runs", "verify"),
        ("runs", "rm", run, "--yes"),
    ):
        said = dmd(*words)
        assert (said.code, too_long(said)) == (0, [])
