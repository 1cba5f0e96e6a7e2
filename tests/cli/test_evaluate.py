"""`dmd evaluate` and `dmd export` as a user types them, and `dmd train --bert`."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from bert_files import token_store, write_bert
from command import Here
from toy_store import put

from dmd_repro.metrics.registry import metrics_of
from dmd_repro.records.folder import Predictions, Records
from dmd_repro.records.run import CHECKPOINT
from dmd_repro.results.single import ONE_RUN, Subject, beside, score_predictions
from dmd_repro.spec import AblationMask

QUICK = ("--epochs", "2", *(f"--set={s}" for s in ("accumulate=1", "batch_size=8", "d=10", "heads=5", "layers=1")))


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command, with its folders in a temporary one."""
    monkeypatch.delenv("DMD_BERT", raising=False)
    return Here(tmp_path, monkeypatch, capsys)


def trained(dmd: Here, *more: str, data: str = "mosi-toy") -> str:
    """Train a run of a second and return its id."""
    said = dmd("train", "dmd", "--data", data, *QUICK, "--json", *more)
    assert said.code == 0, said.err
    return json.loads(said.out)["run_id"]


def test_evaluate_shows_what_train_reported(dmd: Here) -> None:
    """Protects: the same metrics, with intervals, the printed row beside them, and no verdict on one run."""
    put(dmd.folder / "data", "mosi-toy")
    run = trained(dmd)
    told = json.loads(dmd("runs", "show", run, "--json").out)["metrics"]["test"]
    said = dmd("evaluate", run, "--json", "--predictions", "out.csv")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert set(found["metrics"]) == set(metrics_of("synthetic"))
    for name, value in told.items():
        shown = found["metrics"][name]
        assert shown["value"] == (None if value is None else pytest.approx(value * (100 if shown["unit"] else 1)))
        if shown["low"] is not None and shown["value"] is not None:
            assert shown["low"] <= shown["value"] <= shown["high"]
    assert (found["printed"]["table"], found["printed"]["key"]) == ("table1", "mosi-aligned-glove-dmd")
    assert found["verdict"] == "not comparable: partial data, not the official split"
    assert all(cell["difference"] is None for cell in found["printed"]["cells"])

    kept = Records(dmd.folder / "runs").get(run).predictions("test")  # type: ignore[union-attr]
    rows = list(csv.DictReader((dmd.folder / "out.csv").read_text().splitlines()))
    assert tuple(r["id"] for r in rows) == kept.ids
    assert list(rows[0]) == ["id", "y_true", "y_pred", *sorted(kept.heads)]
    assert np.array_equal(np.array([r["y_pred"] for r in rows], np.float32), kept.y_pred)
    text = dmd("evaluate", run).out
    assert "95 % over clips" in text
    assert "the recorded predictions: equal, bit for bit" in text
    assert found["recorded"] == {"agrees": True, "largest_difference": 0.0}
    assert "printed  41.4" in text
    assert text == dmd("evaluate", run).out, "equal intervals each time"


def test_weights_that_were_replaced_are_found(dmd: Here) -> None:
    """Hashes made to agree again cannot tell: the weights of another run predict otherwise than this one recorded."""
    put(dmd.folder / "data", "mosi-toy")
    one, two = (trained(dmd, "--seed", seed) for seed in ("1", "2"))
    folder = dmd.folder / "runs"
    weights = (folder / two / CHECKPOINT).read_bytes()
    (folder / one / CHECKPOINT).write_bytes(weights)
    done = json.loads((folder / one / "DONE").read_text())
    done[CHECKPOINT] = hashlib.sha256(weights).hexdigest()
    (folder / one / "DONE").write_text(json.dumps(done))
    assert dmd("runs", "verify", one).code == 0
    said = dmd("evaluate", one)
    assert said.code == 1
    assert "NOT those of these weights" in said.out
    assert dmd("evaluate", two).code == 0


def test_export_and_evaluate_agree(dmd: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: the round trip through the authors' names, from the command line; zeros for weights are named."""
    put(dmd.folder / "data", "mosi-toy", aligned=False)
    run = trained(dmd, "--set", "kernel_l=2")
    assert dmd("export", run, "-o", "out.pth").code == 0
    again = dmd("export", run, "-o", "out.pth")
    assert (again.code, "--force" in again.err) == (2, True)
    assert dmd("export", run, "-o", "out.pth", "--force").code == 0
    ours = json.loads(dmd("evaluate", run, "--json").out)
    theirs = json.loads(dmd("evaluate", "out.pth", "--data", "mosi-toy", "--heads", "5", "--json").out)
    assert ours["metrics"] == theirs["metrics"]
    assert theirs["kind"] == "official"
    assert theirs["sizes"]["kernels"] == {"l": 2, "a": 5, "v": 5}
    text = dmd("evaluate", "out.pth", "--data", "mosi-toy").out
    assert "not told by any tensor, taken from the preset of mosi: heads 10" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    assert (ours["learned"]["on"], theirs["learned"]["on"]) == ("validation", "test")
    state = torch.load(dmd.folder / "out.pth", weights_only=True)
    torch.save({name: torch.zeros_like(value) for name, value in state.items()}, dmd.folder / "zero.pth")
    monkeypatch.setattr("dmd_repro.stats.learned.CLIPS_NEEDED", 5)
    lost = dmd("evaluate", "zero.pth", "--data", "mosi-toy", "--heads", "5").out
    assert "NOT LEARNED, by the test clips: the predictions are a constant" in lost


def test_bad_input_is_a_sentence_and_exit_code_2(dmd: Here) -> None:
    """Protects: each mistake a user can make here, without a traceback and with nothing written."""
    put(dmd.folder / "data", "mosi-toy")
    put(dmd.folder / "data", "mosi-long", aligned=False)
    run = trained(dmd)
    dmd("export", run, "-o", "out.pth")
    torch.save({"a": Here}, "pickle.pth")
    cases = {
        ("evaluate", "out.pth"): "--data",
        ("evaluate", "out.pth", "--data", "mosi-toi"): "Did you mean 'mosi-toy'",
        ("evaluate", "out.pth", "--data", "mosi-long", "--heads", "5"): "time steps of acoustic",
        ("evaluate", "out.pth", "--data", "mosi-toy", "--split", "tset"): "Did you mean 'test'",
        ("evaluate", "out.pth", "--data", "mosi-toy", "--text", "bert"): "glove text only",
        ("evaluate", "pickle.pth", "--data", "mosi-toy"): "nothing in it was executed",
        ("evaluate", "none.pth", "--data", "mosi-toy"): "no such file",
        ("evaluate", "abcdef"): "expected one run",
        ("evaluate", run, "--predictions", "no/such/folder.csv"): "no/such",
        ("export", run, "-o", "no/such/folder.pth"): "no/such",
        ("export", run, "-o", "x.pth", "--format", "onnx"): "official",
        ("export", "out.pth", "-o", "x.pth"): "a run of ours",
        ("train", "dmd", "--data", "mosi-toy", "--bert", "x", "--text", "glove"): "Drop one of the two",
    }
    for arguments, words in cases.items():
        said = dmd(*arguments)
        assert said.code == 2, (arguments, said.out)
        assert words in said.err, (arguments, said.err)
        assert "Traceback" not in said.err
    assert not list(dmd.folder.glob("*.csv"))


def test_train_and_evaluate_with_bert(dmd: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: --bert and DMD_BERT, fine-tuned and frozen, each said in every line, and told apart in the list."""
    folder = write_bert(dmd.folder / "bert")
    token_store(dmd.folder / "data")
    small = ("--set=kernel_l=2", "--set=kernel_a=2", "--set=kernel_v=2")
    tuned = trained(dmd, "--bert", folder, *small, data="toy-bert")
    hidden = trained(dmd, *small, data="toy-bert")
    monkeypatch.setenv("DMD_BERT", folder)
    frozen = trained(dmd, "--text", "bert", "--set", "bert_finetune=false", *small, data="toy-bert")
    assert len({tuned, hidden, frozen}) == 3
    listed = {row["run_id"]: row["text"] for row in json.loads(dmd("runs", "list", "--json").out)}
    assert listed == {tuned: "bert", hidden: "hidden", frozen: "bert"}
    for run, word in ((tuned, "fine-tuned"), (frozen, "frozen")):
        text = dmd("evaluate", run, "--bert", folder).out
        assert f"BERT 2x12-{json.loads(dmd('evaluate', run, '--json').out)['bert']['fingerprint'][5:]}, {word}" in text
        assert word in dmd("train", "dmd", "--data", "toy-bert", *QUICK, *small, "--text", "bert",
                           *(["--set", "bert_finetune=false"] if word == "frozen" else [])).out  # fmt: skip
    assert (dmd.folder / "data" / ".encoded").is_dir()
    monkeypatch.delenv("DMD_BERT")
    said = dmd("train", "dmd", "--data", "toy-bert", "--text", "bert", *QUICK)
    assert (said.code, "hf download" in said.err) == (2, True)
    assert dmd("data", "list").code == 0
    assert "encoded" not in dmd("data", "list").out


def subject(**changes: object) -> Subject:
    """Return the full model on the official test split of aligned MOSI with BERT."""
    facts = {"model": "dmd", "mask": AblationMask(), "protocol": "official", "dataset": "mosi", "aligned": True,
             "text": "bert", "standing": "official", "split": "test", "bert": "12x768-0123456789abcdef"}  # fmt: skip
    return Subject(**{**facts, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "key", "verdict"),
    [
        ({}, "mosi-aligned-bert-dmd", ONE_RUN),
        ({"text": "glove", "bert": ""}, "mosi-aligned-glove-dmd", ONE_RUN),
        ({"text": "hidden", "bert": ""}, "mosi-aligned-bert-dmd", "not comparable: read BERT hidden states text"),
        ({"bert": "6x384-0123456789abcdef"}, "mosi-aligned-bert-dmd", "not comparable: read by the BERT 6x384"),
        ({"finetuned": False}, "mosi-aligned-bert-dmd", "not comparable: its BERT was frozen"),
        ({"split": "valid"}, "mosi-aligned-bert-dmd", "not comparable: scored on valid"),
        ({"standing": "partial"}, "mosi-aligned-bert-dmd", "not comparable: partial data"),
        ({"protocol": "paper"}, "mosi-aligned-bert-dmd", "not comparable: trained under protocol 'paper'"),
        (
            {"changed": {"accumulate": 1}},
            "mosi-aligned-bert-dmd",
            "not comparable: settings were changed (accumulate=1)",
        ),
    ],
)
def test_the_printed_row_beside_one_run(changes: dict[str, object], key: str, verdict: str) -> None:
    """Protects: one run gets a value and no verdict, and whatever is not the row's own is not held against it."""
    stream = np.random.Generator(np.random.PCG64(3))
    true = stream.uniform(-3, 3, 80).astype(np.float32)
    said = Predictions(tuple(map(str, range(80))), true, true + np.float32(0.1))
    scores = score_predictions(said, "mosi", resamples=50)
    row, _ = beside(subject(**changes), scores)
    assert row is not None
    assert row.key == key
    assert row.verdict.startswith(verdict)
    assert all((cell.difference is not None) == (verdict == ONE_RUN) for cell in row.cells)


def test_no_printed_row_is_said() -> None:
    """Protects: synthetic data and systems the paper does not print stand beside nothing."""
    assert beside(subject(standing="synthetic"), ())[1] == "synthetic data compare with nothing printed"
    assert "prints no row of dmd (-fd)" in beside(subject(mask=AblationMask(("fd",))), ())[1]
