"""`import dmd_repro as dmd`: quick to import, true to the command line, and one sentence for what can be mended."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawn import line, planted, record
from made_records import IDS, LABELS, plan_rows, predictions_with, spec_for, stamp_for, write_record
from toy_store import put

import dmd_repro as dmd
from dmd_repro.errors import DmdError, SpecError
from dmd_repro.lazy import FUNCTIONS
from dmd_repro.metrics.registry import METRICS
from dmd_repro.papers.tables import load_table

KEY = "mosi-aligned-glove-dmd"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch) -> Path:
    """An empty folder of runs that the functions look into by themselves."""
    monkeypatch.setenv("DMD_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("DMD_DATA", str(tmp_path / "data"))
    return tmp_path / "runs"


def table_runs(runs: Path, wrong: tuple[int, ...], **stamp: object) -> None:
    """Runs of one row of Table 1, each with so many clips of the wrong sign."""
    row = load_table("table1").row(KEY)
    data, specs = stamp_for(row, **stamp), [spec_for(row, 1111 + i) for i in range(len(wrong))]
    for spec, n in zip(specs, wrong, strict=True):
        write_record(runs, spec, data, predictions_with(n))
    plan_rows(runs, "table1", {KEY: (data, specs)})


def test_the_import_loads_nothing() -> None:
    """Protects: a notebook or a script that imports the package pays for what it uses and for nothing else."""
    code = (
        "import sys; before = set(sys.modules); import dmd_repro; new = set(sys.modules) - before; "
        "assert sorted(m for m in new if m.startswith('dmd_repro')) == ['dmd_repro', 'dmd_repro.lazy'], new; "
        "assert not new & {'numpy', 'pandas', 'torch', 'typer', 'matplotlib', 'scipy'}"
    )
    root = Path(dmd.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr


def test_every_function_is_there_and_explained() -> None:
    """Each has a docstring that names what it raises; type checkers and `dir` know the same names."""
    for name in FUNCTIONS:
        said = getattr(dmd, name).__doc__
        assert said, name
        assert "Raises" in said, name
    tree = ast.parse(Path(dmd.__file__).read_text(encoding="utf-8"))
    told = {
        (alias.name, node.module.rpartition(".")[2])
        for block in tree.body if isinstance(block, ast.If)
        for node in block.body if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }  # fmt: skip
    assert told == set(FUNCTIONS.items())
    assert set(FUNCTIONS) <= set(dmd.__all__) & set(dir(dmd))
    assert (Path(dmd.__file__).parent / "py.typed").is_file()
    with pytest.raises(AttributeError, match="did you mean 'compare'"):
        _ = dmd.comparee


def test_runs_are_a_table_whatever_their_status(runs: Path) -> None:
    """A finished run has its measures, one that does not count has its status; data that are none are named."""
    assert len(dmd.runs_df()) == 0
    name = record(runs, 1, [line(1)], said=predictions_with(2))
    other = record(runs, 2, [line(1)])
    (runs / other / "predictions.safetensors").write_bytes(b"")
    found = dmd.runs_df()
    assert found.loc[other, "status"] == "damaged"
    assert found.loc[name, "standing"] == "synthetic"
    assert found.loc[name, "test_acc2_non0"] == METRICS["acc2_non0"].shown(LABELS, predictions_with(2))
    assert np.isnan(found.loc[other, "test_acc2_non0"])
    assert "test_mae" not in dmd.runs_df(scores=False)


def test_predictions_and_history_of_several_runs(runs: Path) -> None:
    """A line a clip, and a line an epoch, with the run and its seed beside them."""
    names = [record(runs, seed, [line(1), line(2)], best=2, said=predictions_with(seed)) for seed in (1, 2)]
    said = dmd.predictions_df(names)
    assert list(said.query("seed == 2")["y_pred"]) == list(predictions_with(2))
    assert list(said["id"].unique()) == list(IDS)
    assert said.attrs["standing"] == "synthetic"
    history = dmd.history_df(names[0][:6])
    assert list(history["epoch"]) == [1, 2]
    assert list(history["selected"]) == [False, True]
    assert list(history["train.task.output"]) == [1.0, 0.5]
    assert history["edges.homo.l->v"].iloc[0] == pytest.approx(1 / 6)
    for wrong in (lambda: dmd.predictions_df("nosuch"), lambda: dmd.predictions_df(names, "train"),
                  lambda: dmd.history_df([])):  # fmt: skip
        with pytest.raises(DmdError):
            wrong()


def test_a_comparison_is_the_report(runs: Path) -> None:
    """The table of a notebook holds the numbers and words of the report; text of strangers is shown, not obeyed."""
    table_runs(runs, (1, 2, 3))
    found = dmd.compare("table1")
    lines = found.to_df().set_index(["row", "column"])
    cell = lines.loc[(KEY, "acc2")]
    assert (cell["printed"], cell["n"]) == ("84.5", 3)
    assert cell["difference"] == pytest.approx(75.0 - 84.5)
    assert "DMD" in found._repr_html_()
    assert "Table 1" in str(found)
    with pytest.raises(DmdError, match="Did you mean 'table1'"):
        dmd.compare("tabel1")
    with pytest.raises(SpecError, match="points above 0"):
        dmd.compare("table1", margin=0)


def test_synthetic_runs_are_marked_in_a_notebook(runs: Path) -> None:
    """No difference and no word for synthetic runs, and the mark above them; a label of markup stays text."""
    table_runs(runs, (1, 2), standing="synthetic", dataset="synthetic", label="<b>x</b>")
    found = dmd.compare("table1")
    assert "SYNTHETIC DATA: not comparable" in found._repr_html_()
    assert "<b>x</b>" not in found._repr_html_()
    cells = found.to_df().query("row == @KEY and column == 'acc2'")
    assert set(cells["mark"]) == {"SYNTHETIC DATA"}
    assert cells["difference"].isna().all()


def test_findings_are_those_of_the_audit(runs: Path) -> None:
    """The audit's findings by name, and the differences of paper and code."""
    found = dmd.findings_df("table4")
    assert {"ok", "flag"} <= set(found["status"])
    assert set(found["table"]) == {"table4"}
    assert len(dmd.findings_df(code=True)) > 10
    with pytest.raises(DmdError, match="known check"):
        dmd.findings_df(checks=("nosuch",))


def test_scores_are_the_measures_with_what_they_count() -> None:
    """Whoever has other code gets the numbers the tables would print of it, and the intervals are around them."""
    found = dmd.score(LABELS, predictions_with(2), resamples=200)
    for name in ("acc2_non0", "acc2_has0", "f1_non0", "acc7", "mae", "corr"):
        assert found.loc[name, "value"] == pytest.approx(METRICS[name].shown(LABELS, predictions_with(2)))
    assert (found["low"] <= found["value"] + 1e-9).all()
    assert found.loc["acc2_has0", "counted"].startswith("negative / non-negative")
    assert np.isnan(dmd.score([1.0, 1.0], [1.0, 1.0], resamples=0).loc["corr", "value"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (([1, 2], [1]), "expected 2 clips, as y_true has, got 1"),
        (([1, np.nan], [1, 1]), "got NaN or infinity"),
        (([1, 5], [1, 1]), "labels in"),
        (([1, 2], [[1, 2], [1, 2]]), "one number a clip"),
        (([1, 2], ["a", "b"]), "expected numbers"),
        (([], []), "one number a clip"),
        (([1, 2], [1, 2], "mosj"), "Did you mean 'mosi'"),
    ],
)
def test_what_cannot_be_scored_is_one_sentence(arguments: tuple, says: str) -> None:
    """Lengths, scales and kinds that do not fit are refused by name, never scored."""
    with pytest.raises(SpecError, match=says) as error:
        dmd.score(*arguments)
    assert "\n" not in str(error.value)


def test_a_verdict_is_the_reports(runs: Path) -> None:
    """Five runs given by hand get the word and the places that `dmd report` gives the same five."""
    table_runs(runs, (0, 1, 2, 3, 3))
    (row,) = (row for row in dmd.compare("table1").table.rows if row.row.key == KEY)
    mine = dmd.verdict(
        {c.column: list(c.values.values()) for c in row.cells}, {c.column: c.printed.text for c in row.cells}
    )
    assert (mine.word, mine.runs, mine.level) == (row.words.mean, 5, 0.02)
    assert mine.cells["place"].to_dict() == {cell.column: cell.judged.word for cell in row.cells}
    for cell in row.cells:
        assert cell.judged.difference is not None
        assert mine.cells.loc[cell.column, "low"] == pytest.approx(cell.judged.difference.interval[0])


def test_a_verdict_knows_direction_scale_stages_and_failures() -> None:
    """An MAE is better when lower and its point is a hundredth; a word rests on a stage; a failed run forbids one."""
    low = [0.60, 0.61, 0.60, 0.62, 0.61]
    assert dmd.verdict(low, "0.70", metric="mae").word == "better"
    assert dmd.verdict(low, "0.615", metric="mae", margin=3).word == "reproduced"
    seven = [86.0, 86.1, 85.9, 86.0, 86.1, 99.0, 99.0]
    assert dmd.verdict(seven, "86.0").word == "reproduced"  # on the first five
    assert dmd.verdict(seven, "86.0").runs == 5
    assert dmd.verdict(seven, "86.0", one_look=True).word == "inconclusive"
    assert dmd.verdict(seven[:4], "86.0").word == "interval only"
    assert dmd.verdict([86.0], 86.0).word == "value only"
    failed = dmd.verdict(seven[:5], "86.0", failed=1)
    assert (failed.word, failed.level) == ("inconclusive", None)
    assert "would flatter the mean" in str(failed)
    assert "<b>reproduced" in dmd.verdict(seven, "86.0")._repr_html_()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (([86.0, float("nan")], "86.0"), "failed=1"),
        ((["a"], "86.0"), "numbers, one a run"),
        (([], "86.0"), "numbers, one a run"),
        (([86.0], "about 86"), "a number such as"),
        (({"acc2": [1.0]}, {"acc7": "1.0"}), "values of the printed numbers"),
        (({"acc2": [1.0], "f1": [1.0, 2.0]}, {"acc2": "1.0", "f1": "1.0"}), "the same runs in every column"),
        (({"acc22": [1.0]}, {"acc22": "1.0"}), "Did you mean 'acc2'"),
    ],
)
def test_what_cannot_be_judged_is_one_sentence(arguments: tuple, says: str) -> None:
    """No word on NaN, on nothing, or on numbers that do not belong together."""
    with pytest.raises(SpecError, match=says):
        dmd.verdict(*arguments)


def test_training_and_reproducing_return_values(runs: Path, tmp_path: Path, capsys) -> None:
    """What the commands do, without a word on stdout; a run that is there is not made twice."""
    put(tmp_path / "data", "toy")
    found = dmd.reproduce("table1", "toy", seeds=[3], rows="mosi-aligned-glove-ef-lstm", epochs=1)
    measured = found.to_df().query("state == 'measured'")
    assert set(measured["row"]) == {"mosi-aligned-glove-ef-lstm"}
    again = dmd.train("ef-lstm", "toy", seed=3, epochs=1)
    assert list(dmd.runs_df().index) == [again["run_id"]]
    assert again["standing"] == "partial"
    assert capsys.readouterr().out == ""
    assert len(dmd.load_features("toy").splits["test"].ids) == 7
    with pytest.raises(DmdError, match="Did you mean 'toy'"):
        dmd.load_features("toi")
    with pytest.raises(DmdError):
        dmd.train("ef-lstm", "toy", settings={"nosuch": 1})
    with pytest.raises(SpecError, match="arguments that it takes"):
        dmd.train("ef-lstm", "toy", epochs=0)


def test_a_figure_shows_and_saves_itself(runs: Path, tmp_path: Path) -> None:
    """One page is a picture, its numbers a table; another ending is refused."""
    for seed in (1, 2):
        planted(runs, (), seed, apart=3.0, clips=14)
    drawn = dmd.figure("fig4", perplexities=[4.0], draws=1)
    numbers = drawn.numbers_df()
    assert set(numbers["seed"]) == {1, 2}
    assert (numbers.query("measure == 'silhouette'")["value"] > 0.4).all()
    assert "<svg" in drawn._repr_html_()
    assert drawn.save(tmp_path / "a.svg") == [tmp_path / "a.svg"]
    with pytest.raises(SpecError, match="expected svg, pdf, png"):
        drawn.save(tmp_path / "a.html")
    with pytest.raises(SpecError, match="Did you mean 'fig5'"):
        dmd.figure("fig6")


def test_reproduce_takes_one_table() -> None:
    """`all` is refused before anything is trained: the result could be set beside no one table."""
    with pytest.raises(SpecError, match="expected one table"):
        dmd.reproduce("all", "synthetic")
