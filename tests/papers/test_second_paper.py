"""A second paper is a folder: planned, trained on synthetic data, reported and audited; a wrong one is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command import Here
from second_paper import DATASETS, TABLE, write_paper

from dmd_repro.datasets import DATASETS as KNOWN
from dmd_repro.papers.datasets import read_datasets
from dmd_repro.papers.folders import VARIABLE

SMALL = ("--set", "d=4", "--set", "heads=2", "--set", "layers=1", "--epochs", "1", "--jobs", "1")


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """The command, in a folder of its own; what a paper brought is forgotten afterwards."""
    monkeypatch.setenv(VARIABLE, "")
    yield Here(tmp_path, monkeypatch, capsys)
    monkeypatch.setenv(VARIABLE, "")
    read_datasets()


def test_two_invented_rows_are_planned_trained_reported_and_audited(dmd: Here) -> None:
    """Protects: nothing but a folder of YAML is needed for another paper, its own scale of labels among it."""
    write_paper(dmd.folder / "papers")
    ask = ("acme/table1", "--papers", "papers")
    train = ("reproduce", *ask, "--data", "synthetic", "--seeds", "2", *SMALL)
    planned = json.loads(dmd(*train, "--dry-run", "--json").out)
    assert (planned["table"], planned["to_train"]) == ("acme/table1", 4)
    assert dmd(*train).code == 0
    (table,) = json.loads(dmd("report", "acme", "--papers", "papers", "--json").out)["tables"]
    assert table["table"] == "acme/table1"
    rows = {row["key"]: row for block in table["blocks"] for row in block["rows"]}
    assert all(row["state"] == "measured" and "SYNTHETIC" in table["mark"] for row in rows.values())
    cells = {cell["column"]: cell for cell in rows["full"]["cells"]}
    assert cells["mae"]["metric"] == "mae"
    assert cells["mae"]["n"] == 2
    assert cells["acc2"]["metric"] == "acc2_neg0"
    assert cells["acc5"]["metric"] == "acc5_unit"
    assert cells["acc5"]["n"] == 0  # synthetic labels are in [-3, 3]: no accuracy of another scale under this name
    assert {cell["place"] for cell in cells.values()} <= {"not comparable", "no verdict"}
    assert "acc7" not in json.dumps(table)
    gaps = json.loads(dmd("report", *ask, "--compare", "full", "--json").out)["sheets"][0]["gaps"]
    assert [gap["column"] for gap in gaps] == ["acc2", "f1", "mae", "corr"]
    mae = next(gap for gap in gaps if gap["column"] == "mae")
    assert not mae["mcnemar"]  # no clip is right or wrong by an error
    drawn = json.loads(dmd("report", *ask, "--lottery", "--json").out)["sheets"][0]["cells"]
    best = {cell["column"]: cell["best_of"][1]["value"] for cell in drawn if cell["row"] == "full"}
    values = {name: list(cell["values"].values()) for name, cell in cells.items()}
    assert best["mae"] == pytest.approx(min(values["mae"]))  # the best of two is the lower error ...
    assert best["corr"] == pytest.approx(max(values["corr"]))  # ... and the higher correlation
    for format_ in ("markdown", "latex", "html", "csv", "terminal"):
        assert "0.870" in dmd("report", *ask, "--format", format_).out
    said = dmd("audit", *ask, "--json")
    found = [one for one in json.loads(said.out)["findings"] if one["status"] == "fail"]
    assert said.code == 1  # its best row is not the best in MAE, where lower is better
    assert [(one["check"], one["metric"]) for one in found] == [("claimed-best", "mae")]
    assert not {"claims", "best", "one-rule"} & {one["check"] for one in json.loads(said.out)["findings"]}


def test_this_paper_does_not_see_another(dmd: Here) -> None:
    """Protects: a further paper adds tables of its own and changes none of this one's."""
    before = dmd("audit", "--json").out
    write_paper(dmd.folder / "papers")
    assert dmd("audit", "--json", "--papers", "papers").out == before
    assert "acme" not in dmd("report", "--papers", "papers", "--json").out


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('mae: "0.910"', "mae: 0.910", "printed.mae: expected a quoted text, got float 0.91"),
        ("method: MulT", "method: MulT\n        method: MulT", "the key 'method' twice"),
        ("{model: mult}", "{model: mul}", "model: expected a known system, got 'mul'. Did you mean 'mult'?"),
        (
            "{model: mult}",
            "{model: mult, set: {lr: 0.1}}",
            "set.lr: expected a setting of mult, got an unknown name. Did you mean 'learning_rate'?",
        ),
        (
            "{model: mult}",
            "{model: mult, set: {batch_size: -3}}",
            "set.batch_size: expected at least 1 and below 2147483648, got -3. Correct the file",
        ),
        ("{model: mult}", "{model: mult, set: {d: wide}}", "set.d: expected a whole number, got 'wide'"),
        ("{model: mult}", "{model: mult, set: {precision: half}}", "set.precision: expected float32 or tf32"),
        ("{model: mult}", "{model: mult, head: l_homo}", "head: expected a head of mult: l_hetero, a_hetero, v_hetero"),
        ("{model: mult}", "{model: tfn, head: c}", "head: expected no head: tfn has none, got 'c'"),
        ("{model: mult}", "{model: mult, protocol: papr}", "protocol: expected a protocol of mult, got 'papr'"),
        ('mae: "0.910"', 'mae: "\u0663.5"', "printed.mae: expected a quoted decimal number"),
        ("key: plain", 'key: "a/b"', "key: expected letters and digits, with - _ . or + between, got 'a/b'"),
        ("title:", "bomb: [&a [x, x], *a]\ntitle:", "got an alias (*a): write out what it stands for"),
        ("columns: [acc5,", "columns: [acc7,", "columns: expected columns that acme is scored by"),
        ("columns: [acc5,", "columns: [acc5, mae,", "expected each column once, got 'mae' twice"),
        ("{acc2: neg0,", "{acc2: non0,", "acc2: expected one of neg0, unknown"),
        ("dataset: acme", "dataset: acmee", "dataset: expected one of"),
        ("title:", "deep: " + "[" * 200_000 + "]" * 200_000 + "\ntitle:", "nested more than 50 deep"),
    ],
)
def test_a_wrong_table_is_one_sentence(dmd: Here, old: str, new: str, says: str) -> None:
    """Protects: whoever writes a paper's folder learns the file and the entry, and nothing is half-done."""
    assert old in TABLE
    write_paper(dmd.folder / "papers", table=TABLE.replace(old, new))
    refused(dmd, says, "acme/table1.yaml")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("    range: [-1, 1]\n", "", "range: expected a label range [low, high], got none"),
        ("[-1, 1]", "[1, -1]", "expected a label range [low, high] with low < high"),
        ("[-1, 1]", "[-1, .inf]", "expected a label range [low, high] with low < high"),
        (
            "classes: [acc5_unit]",
            "classes: [acc7]",
            "expected classes defined on [-1, 1]: acc5_unit, acc3_unit, got 'acc7'",
        ),
        ("key: acme", "key: mosi", "key: expected a name of its own"),
        ("test: 200", "test: 0.5", "splits.test: expected a whole number above 0"),
        ("step: 0.2", "step: 0", "step: expected a step above 0, at most 2, between labels, got 0"),
        ("step: 0.2", "step: .nan", "step: expected a step above 0"),
        ("[90, 10, 100]", "[90, 10, 101]", "test_signs: expected counts of the 200 test clips, got 201 in all"),
        ("[90, 10, 100]", "[-90, 190, 100]", "test_signs: expected whole numbers of 0 or more, got -90"),
        ("step: 0.2", "widths: {l: [7.5]}\n    step: 0.2", "widths.l: expected whole numbers of 1 or more, got 7.5"),
        ("step: 0.2", "step: 0.2\n    colour: red", "colour: expected one of"),
    ],
)
def test_a_wrong_data_set_is_one_sentence(dmd: Here, old: str, new: str, says: str) -> None:
    """Protects: a data set whose scale is not known, or is not its classes', would be scored by another's metrics."""
    assert old in DATASETS
    write_paper(dmd.folder / "papers", datasets=DATASETS.replace(old, new))
    refused(dmd, says, "acme/datasets.yaml")


@pytest.mark.parametrize(
    ("name", "says"),
    [("table1", "which is a table of this paper"), ("reruns", "which is reserved"), ("My Paper", "small letters")],
)
def test_a_name_that_is_taken_is_one_sentence(dmd: Here, name: str, says: str) -> None:
    """Protects: `table1` stays this paper's, and tables/reruns what others measured."""
    write_paper(dmd.folder / "papers", name=name)
    refused(dmd, says, f"papers/{name}", table=f"{name}/table1")


def test_a_folder_without_tables_and_an_unknown_paper_are_named(dmd: Here) -> None:
    """Protects: a slip in the path or the name is not answered by another paper's numbers."""
    (dmd.folder / "papers").mkdir()
    refused(dmd, "no table in it", "--papers")
    write_paper(dmd.folder / "more")
    said = dmd("report", "acne/table1", "--papers", "more")
    assert (said.code, "Did you mean 'acme'?" in said.err) == (2, True)
    said = dmd("report", "acme/table2", "--papers", "more")
    assert (said.code, "Did you mean 'acme/table1'?" in said.err) == (2, True)


def test_tables_in_the_folder_itself_are_one_paper(dmd: Here) -> None:
    """Protects: `--papers acme` means the paper `acme`, whether it is named or the folder around it."""
    write_paper(dmd.folder / "papers")
    assert dmd("report", "acme", "--papers", "papers/acme").code == 0
    assert KNOWN["acme"].label_range == (-1.0, 1.0)


def refused(dmd: Here, says: str, where: str, table: str = "acme/table1") -> None:
    """Every command says so in one sentence, exit 2, and leaves nothing."""
    for command in (("reproduce", table, "--data", "synthetic"), ("report", table), ("audit", table)):
        said = dmd(*command, "--papers", "papers")
        assert (said.code, said.out) == (2, ""), said
        assert says in said.err
        assert where in said.err
        assert said.err.strip().count("\n") == 0
        assert len(said.err) < 1000
    assert not (dmd.folder / "runs").exists()


def test_the_examples_of_the_page_are_a_paper(dmd: Here) -> None:
    """Protects: docs/papers.md can be typed: its table and its data set are read as they stand there."""
    page = Path(__file__).parents[2] / "docs" / "papers.md"
    table, datasets = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    write_paper(dmd.folder / "papers", table=table, datasets=datasets)
    said = json.loads(dmd("report", "acme", "--papers", "papers", "--json").out)
    assert [row["method"] for row in said["tables"][0]["blocks"][0]["rows"]] == ["DMD", "TFN"]
    assert KNOWN["acme"].classes == ("acc5_unit",)
