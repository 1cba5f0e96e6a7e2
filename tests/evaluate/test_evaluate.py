"""Scoring a checkpoint: runs, weights alone, exports; predictions equal to the record's, in every way to name it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from bert_files import token_features, write_bert

from dmd_repro.data.features import Features
from dmd_repro.errors import DataError, RunError, SpecError
from dmd_repro.evaluate import official
from dmd_repro.evaluate.checkpoint import open_checkpoint
from dmd_repro.evaluate.export import export_official
from dmd_repro.evaluate.predict import Evaluated, evaluate_checkpoint
from dmd_repro.nn.bert import load_bert
from dmd_repro.records.folder import Records, RunRecord
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.fit import Execution, fit

QUICK = {"max_epochs": 2, "batch_size": 4, "accumulate": 1, "d": 10, "heads": 5, "layers": 1,
         "kernel_l": 2, "kernel_a": 2, "kernel_v": 2}  # fmt: skip


def train(features: Features, runs: Path, model: str = "dmd", bert: str = "", **options: object) -> RunRecord:
    """Train a run of a second."""
    overrides = {**QUICK, **options.pop("overrides", {})}  # type: ignore[dict-item]
    spec = resolve_spec(
        model,
        seed=3,
        features=features,
        overrides=overrides,
        bert=load_bert(bert).fingerprint if bert else "",
        **options,
    )
    return fit(spec, features, Records(runs), execution=Execution(bert=bert))


def evaluated(name: str, runs: Path, features: Features, split: str = "test", **execution: str) -> Evaluated:
    """Open and evaluate a checkpoint."""
    return evaluate_checkpoint(open_checkpoint(name, Records(runs)), features, split, execution=Execution(**execution))


def same(done: Evaluated, record: RunRecord, split: str = "test") -> bool:
    """Tell whether predictions and heads are the record's, bit for bit."""
    said, kept = done.predictions, record.predictions(split)
    return np.array_equal(said.y_pred, kept.y_pred) and all(
        np.array_equal(said.heads[k], kept.heads[k]) for k in kept.heads
    )


def test_a_run_scores_as_it_did_however_it_is_named(toy: Features, tmp_path: Path) -> None:
    """Protects: by id, by its first digits, by its folder, by its checkpoint, by the checkpoint alone elsewhere."""
    record = train(toy, tmp_path / "runs")
    alone = shutil.copy(record.path / "checkpoint.safetensors", tmp_path / "elsewhere.safetensors")
    for name in (
        record.run_id,
        record.run_id[:5],
        str(record.path),
        str(record.path / "checkpoint.safetensors"),
        alone,
    ):
        for split in ("test", "valid"):
            assert same(evaluated(str(name), tmp_path / "runs", toy, split), record, split), name
    done = evaluated(record.run_id, tmp_path / "runs", toy)
    assert done.assumed == {}
    assert done.notes == ()
    assert done.changed == QUICK
    assert evaluated(record.run_id, tmp_path / "runs", toy, "train").predictions.ids == toy.splits["train"].ids


@pytest.mark.parametrize("mask", [(), ("ca",), ("fd", "homogd", "heterogd")])
def test_an_export_predicts_as_its_run(toy: Features, tmp_path: Path, mask: tuple[str, ...]) -> None:
    """Protects: own checkpoint -> official names -> evaluation gives equal predictions, for any lengths and mask."""
    from dmd_repro.spec import AblationMask

    record = train(toy, tmp_path / "runs", mask=AblationMask(mask))
    content, notes = export_official(open_checkpoint(record.run_id, Records(tmp_path / "runs")), Execution())
    (tmp_path / "out.pth").write_bytes(content)
    checkpoint = open_checkpoint(str(tmp_path / "out.pth"), Records(tmp_path / "runs"))
    assert same(evaluate_checkpoint(checkpoint, toy, "test", execution=Execution(), heads=5), record)
    assert any("--heads 5" in note for note in notes)
    assert any("cannot load it" in note for note in notes) == bool(mask)
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    assert not [name for name in state if name.startswith(("dmd/", "homo", "hetero"))]
    assert state["trans_l_mem.version"].tolist() == [2.0]


def test_an_export_holds_every_name_the_authors_use(toy: Features, tmp_path: Path, shared: Path) -> None:
    """Protects: the authors' own loader, which is strict about names, takes our file."""
    record = train(toy, tmp_path / "runs", overrides={"layers": 4})
    content, _ = export_official(open_checkpoint(record.run_id, Records(tmp_path / "runs")), Execution())
    (tmp_path / "out.pth").write_bytes(content)
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    lines = (shared / "reference" / "param_names.txt").read_text().splitlines()
    wanted = {line.split(" ")[0].removeprefix("dmd/") for line in lines if line.startswith("dmd/")}
    assert set(state) == wanted


@pytest.mark.parametrize("finetune", [True, False])
def test_a_run_with_bert(tmp_path: Path, finetune: bool) -> None:
    """Protects: a checkpoint without the unchanged weights scores as the run did, and only with the BERT it names."""
    folder, features = write_bert(tmp_path / "bert"), token_features()
    record = train(features, tmp_path / "runs", bert=folder, overrides={"bert_finetune": finetune})
    done = evaluated(record.run_id, tmp_path / "runs", features, bert=folder)
    assert same(done, record)
    assert (done.bert, done.finetuned) == (load_bert(folder).fingerprint, finetune)
    with pytest.raises(SpecError, match=r"the BERT \S+ to read them"):
        evaluated(record.run_id, tmp_path / "runs", features)
    other = write_bert(tmp_path / "other", seed=9)
    with pytest.raises(SpecError, match="the BERT this run names"):
        evaluated(record.run_id, tmp_path / "runs", features, bert=other)
    content, notes = export_official(open_checkpoint(record.run_id, Records(tmp_path / "runs")), Execution(bert=folder))
    path = tmp_path / "out.pth"
    path.write_bytes(content)
    names = torch.load(path, weights_only=True)
    if not finetune:
        assert not [n for n in names if n.startswith("text_model")]
        assert any("frozen BERT is not in the file" in note for note in notes)
        return
    assert "text_model.model.pooler.dense.weight" in names
    checkpoint = open_checkpoint(str(path), Records(tmp_path / "runs"))
    done = evaluate_checkpoint(checkpoint, features, "test", execution=Execution(bert=folder), heads=5)
    assert same(done, record)


def test_another_text_or_another_data_set(toy: Features, synthetic: Features, tmp_path: Path) -> None:
    """Protects: what a run cannot read is named; what it can read but was not trained on is said."""
    from dataclasses import replace

    record = train(toy, tmp_path / "runs")
    with pytest.raises(DataError, match=r"(channels|time steps) of language"):
        evaluated(record.run_id, tmp_path / "runs", synthetic)
    with pytest.raises(DataError, match="Add --text glove"):
        evaluated(record.run_id, tmp_path / "runs", replace(toy, text="hidden"))
    other = replace(toy, digest="f" * 64, name="other")
    assert "scored on other data: other" in evaluated(record.run_id, tmp_path / "runs", other).notes[0]


def test_what_is_no_checkpoint_is_said(toy: Features, tmp_path: Path) -> None:
    """Protects: a damaged record, a missing file and foreign safetensors are a sentence each."""
    from safetensors.numpy import save_file

    record = train(toy, tmp_path / "runs")
    records = Records(tmp_path / "runs")
    with pytest.raises(DataError, match="no such file"):
        open_checkpoint(str(tmp_path / "none.pth"), records)
    with pytest.raises(RunError, match="expected one run"):
        open_checkpoint("feedfeed", records)
    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "a.safetensors")
    foreign = open_checkpoint(str(tmp_path / "a.safetensors"), records)  # a state_dict, of no run
    with pytest.raises(DataError, match="of another model"):
        official.sizes_of(foreign.state, "mosi")
    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "c.safetensors", {"meta": "{}"})
    with pytest.raises(DataError, match="its spec inside"):
        open_checkpoint(str(tmp_path / "c.safetensors"), records)
    (tmp_path / "b.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(DataError, match="a file of another kind"):
        open_checkpoint(str(tmp_path / "b.safetensors"), records)
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError, match="a whole record"):
        open_checkpoint(str(tmp_path / "folder"), records)
    path = record.path / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    for name in (record.run_id, str(path)):
        with pytest.raises(RunError, match="it was changed"):
            open_checkpoint(name, records)


def test_heads_belong_to_a_state_dict(toy: Features, tmp_path: Path) -> None:
    """Protects: a run's own heads are never overridden."""
    record = train(toy, tmp_path / "runs")
    checkpoint = open_checkpoint(record.run_id, Records(tmp_path / "runs"))
    with pytest.raises(SpecError, match="--heads"):
        evaluate_checkpoint(checkpoint, toy, "test", execution=Execution(), heads=2)


def test_what_the_names_cannot_tell_is_not_exported(toy: Features, tmp_path: Path) -> None:
    """Protects: an export never predicts other than its run: another system, or another protocol, is refused."""
    runs = tmp_path / "runs"
    paper = train(toy, runs, protocol="paper", overrides={})
    with pytest.raises(SpecError, match="authors' names can tell"):
        export_official(open_checkpoint(paper.run_id, Records(runs)), Execution())
    mult = resolve_spec("mult", seed=3, features=toy, overrides={"max_epochs": 1, "batch_size": 4, "accumulate": 1})
    record = fit(mult, toy, Records(runs), execution=Execution())
    assert same(evaluated(record.run_id, runs, toy), record)
    with pytest.raises(SpecError, match="a run of mult"):
        export_official(open_checkpoint(record.run_id, Records(runs)), Execution())
