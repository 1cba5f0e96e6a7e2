"""State_dicts under the names of the earlier systems' references: read, written, and refused with the reason."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bert_files import token_features, write_bert
from command import Here
from golden import formula
from golden.harness import Account
from golden.misa import Golden as MisaGolden
from golden.misa import made
from golden.plain import CASES, Golden
from golden.shipped import pool_features

from dmd_repro.data.features import Features
from dmd_repro.data.resolve import load_features
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import DataError, SpecError
from dmd_repro.evaluate.checkpoint import open_checkpoint
from dmd_repro.evaluate.conformance import small_features
from dmd_repro.evaluate.export import export_official
from dmd_repro.evaluate.plain_state import likely, names_of, readable
from dmd_repro.evaluate.predict import evaluate_checkpoint
from dmd_repro.nn.bert import load_bert
from dmd_repro.records.folder import Records
from dmd_repro.systems.registry import find_system
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.execution import Execution
from dmd_repro.training.fit import fit

EARLIER = ("ef-lstm", "lf-lstm", "tfn", "lmf", "mfm", "graph-mfn", "raven", "misa")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Sums in one order, so that predictions can be compared bit for bit."""
    torch.set_num_threads(1)


def predict(path: Path, model: str | None, data: Features, **given: Any) -> Any:
    """Open a file by a system's names and evaluate it."""
    found = open_checkpoint(str(path), Records(path.parent / "none"), model)
    return evaluate_checkpoint(found, data, "test", execution=Execution(), given=given)


@cache
def small(model: str, aligned: bool = True) -> Features:
    """Return a few synthetic clips."""
    return small_features(find_system(model), aligned=aligned)


def trained(model: str, runs: Path, *, aligned: bool = True, **overrides: Any) -> Any:
    """Train one epoch, and return the record."""
    protocol = overrides.pop("protocol", "official")
    spec = resolve_spec(
        model, seed=1, features=small(model, aligned), protocol=protocol, overrides={"max_epochs": 1, **overrides}
    )
    return fit(spec, small(model, aligned), Records(runs), execution=Execution())


def export(record: Any) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """Return the content of a run's export, and what is said of it."""
    import io

    content, notes = export_official(open_checkpoint(str(record.path), Records(record.path.parent)), Execution())
    return torch.load(io.BytesIO(content), weights_only=True), notes


@pytest.mark.parametrize("name", [name for name in CASES if name != "mctn"])  # Keras: no torch file of its authors
def test_a_file_of_the_reference_predicts_as_its_code_does(name: str, tmp_path: Path) -> None:
    """Protects: sizes are read right from every system's names: the golden predictions come out of a file."""
    account = Account(name)
    golden = Golden(account)
    state = {k: torch.from_numpy(x).float() for k, x in account.weights().items()}
    if account.name in ("tfn", "lmf"):
        for kind, width in (("audio", 5), ("video", 20)):
            for part in ("running_mean", "running_var"):
                key = f"{golden.prefix}{kind}_subnet.norm.{part}"
                made = formula.tensor(key, (width,), *formula.scale(key, (width,), account.figures["scales"]))
                state[key] = torch.from_numpy(made).float()
    state = {k.removeprefix(golden.prefix).removeprefix(golden.case.tensors): x for k, x in state.items()}
    torch.save({"state_dict": {f"Model.{k}": x for k, x in state.items()}}, tmp_path / "x.pth")
    data = pool_features(golden.clips(), account.figures["inputs"]["labels"], aligned=name == "ef_lstm")
    done = predict(tmp_path / "x.pth", golden.case.model, data, visual_scale="none")
    figures = account.figures.get("outputs_eval", account.figures["outputs"])
    assert done.predictions.y_pred == pytest.approx(np.ravel(figures["prediction"]["values"]), rel=1e-5, abs=3e-6)
    assert done.model == golden.case.model
    assert "visual_scale" not in done.assumed
    assert "last_steps" in done.assumed


def test_a_file_of_misa_predicts_as_its_code_does(tmp_path: Path) -> None:
    """Protects: MISA's sizes, and whose code wrote it, are read from its names; the golden predictions come out."""
    account = Account("misa")
    golden, figures = MisaGolden(account), account.figures
    state = {k: torch.from_numpy(x).float() for k, x in account.weights().items()}
    torch.save({f"Model.{k.removeprefix('misa/')}": x for k, x in state.items()}, tmp_path / "x.pth")
    x = made(figures["inputs"], figures["settings"])
    clips = {"l": x["text"] * x["mask"][:, :, None], "a": x["audio"], "v": x["vision"]}
    pool = pool_features(clips, figures["inputs"]["labels"], aligned=True)
    done = predict(tmp_path / "x.pth", "misa", pool, clip_scale="false")
    said, _, _ = golden.run(figures["inputs"], list(range(len(pool.splits["test"]))))
    assert done.predictions.y_pred == pytest.approx(said[:, 0].detach().numpy(), rel=1e-5, abs=3e-6)
    assert (done.protocol, done.assumed) == ("official", {"lengths": "rows"})
    state["misa/tlayer_norm.weight"], state["misa/tlayer_norm.bias"] = torch.ones(1536), torch.zeros(1536)
    torch.save({k.removeprefix("misa/"): x for k, x in state.items()}, tmp_path / "y.pth")
    assert predict(tmp_path / "y.pth", "misa", pool).protocol == "mmsa"
    state["misa/tlayer_norm.weight"] = torch.ones(7)
    torch.save({k.removeprefix("misa/"): x for k, x in state.items()}, tmp_path / "z.pth")
    with pytest.raises(DataError, match="expected the shapes of MISA"):
        predict(tmp_path / "z.pth", "misa", pool)


@pytest.mark.parametrize(("protocol", "begin"), [("official", "bertmodel."), ("mmsa", "bertmodel.model.")])
def test_a_bert_is_in_the_file_under_the_references_names(protocol: str, begin: str, tmp_path: Path) -> None:
    """Protects: MISA fine-tuned on token ids is written whole, and evaluates to the run's bits; no other text does."""
    folder, data = write_bert(tmp_path / "bert"), token_features()
    overrides: dict[str, Any] = {"max_epochs": 1, "d": 8, "batch_size": 6, "frozen_layers": 1}
    spec = resolve_spec(
        "misa", seed=1, features=data, protocol=protocol, overrides=overrides, bert=load_bert(folder).fingerprint
    )
    record = fit(spec, data, Records(tmp_path / "runs"), execution=Execution(bert=folder))
    opened = open_checkpoint(str(record.path), Records(record.path.parent))
    content, notes = export_official(opened, Execution(bert=folder))
    (tmp_path / "x.pth").write_bytes(content)
    assert any("--bert" in note for note in notes)
    names = set(torch.load(tmp_path / "x.pth", weights_only=True))
    assert f"{begin}encoder.layer.0.attention.self.query.weight" in names
    assert not [n for n in names if "text_model" in n]
    found = open_checkpoint(str(tmp_path / "x.pth"), Records(tmp_path), "misa")
    assert found.text == "bert"
    done = evaluate_checkpoint(found, data, "test", execution=Execution(bert=folder))
    assert np.array_equal(done.predictions.y_pred, record.predictions("test").y_pred)
    assert (done.protocol, done.assumed["bert_heads"]) == (protocol, 3)
    with pytest.raises(SpecError, match="to know its attention heads"):
        evaluate_checkpoint(found, data, "test", execution=Execution())
    with pytest.raises(DataError, match="Add --text bert"):
        evaluate_checkpoint(found, small("misa"), "test", execution=Execution(bert=folder))
    with pytest.raises(DataError, match="Add --model misa"):
        predict(tmp_path / "x.pth", "lmf", small("lmf"))


@pytest.mark.parametrize(
    ("model", "aligned", "overrides"),
    [
        *((model, True, {}) for model in EARLIER),
        ("ef-lstm", False, {}),
        ("ef-lstm", True, {"net": "mmsa", "layers": 3}),
        ("tfn", False, {"last_steps": 5, "visual_scale": "train_max"}),
        ("graph-mfn", False, {"align": "pool", "nodes": "trained"}),
        ("raven", False, {"batch_size": 5}),
        ("raven", True, {"protocol": "paper"}),
        ("misa", False, {"protocol": "mmsa"}),
        ("misa", True, {"similarity": "adversarial", "clip_scale": False}),
    ],
)
def test_an_export_reads_back(model: str, aligned: bool, overrides: dict[str, Any], tmp_path: Path) -> None:
    """Protects: `dmd export` then `dmd evaluate` gives the run's predictions bit for bit, with what it says to add."""
    record = trained(model, tmp_path / "runs", aligned=aligned, **overrides)
    state, notes = export(record)
    torch.save(state, tmp_path / "x.pth")
    given = dict(word.split("=") for note in notes for word in note.split() if "=" in word)
    done = predict(tmp_path / "x.pth", model, small(model, aligned), **given)
    assert np.array_equal(done.predictions.y_pred, record.predictions("test").y_pred)
    assert done.protocol == ("official" if model == "raven" else record.spec.protocol)  # its equations are in no tensor
    untold = {k: str(v) for k, v in overrides.items() if k in ("last_steps", "batch_size", "clip_scale")}
    if model == "raven":
        paper = {"gates": "sigmoid", "scaling": "capped", "test_dropout": "False"}
        untold |= paper if overrides.get("protocol") == "paper" else {"seed": "1"}
    assert given == untold
    beside = any("beside the names of the reference" in note for note in notes)
    also = {("ef-lstm", False), ("tfn", False), ("raven", False)}
    assert beside == (model == "graph-mfn" or (model, aligned) in also)


def test_statistics_that_a_file_lacks_are_the_training_splits(tmp_path: Path) -> None:
    """Protects: a reference's file knows no visual maxima: they come from the named features, and that is said."""
    record = trained("tfn", tmp_path / "runs", visual_scale="train_max")
    state, _ = export(record)
    torch.save({k: v for k, v in state.items() if not k.startswith("inputs.")}, tmp_path / "x.pth")
    done = predict(tmp_path / "x.pth", "tfn", small("tfn"), visual_scale="train_max")
    assert np.array_equal(done.predictions.y_pred, record.predictions("test").y_pred)
    plain = predict(tmp_path / "x.pth", "tfn", small("tfn"))
    assert plain.assumed["visual_scale"] == "none"
    assert not np.array_equal(plain.predictions.y_pred, record.predictions("test").y_pred)


@pytest.mark.parametrize("model", readable())
def test_a_checkpoint_of_another_system_is_named(model: str, tmp_path: Path) -> None:
    """Protects: the sentence says which system a file's names are of, whichever was asked for."""
    from dmd_repro.evaluate.official import reference_names

    names = reference_names() if model == "dmd" else names_of(model)
    assert likely({f"model.{n}" for n in names}) == model
    torch.save({n: torch.ones(1, 1) for n in names}, tmp_path / "x.pth")
    for other in readable():
        if other == model:
            continue
        with pytest.raises(DataError, match=f"expected a checkpoint of {other}, got the names of {model}. .*{model}"):
            predict(tmp_path / "x.pth", other, small("lf-lstm"))


def test_a_file_that_cannot_predict_is_refused(tmp_path: Path) -> None:
    """Protects: Graph-MFN without its node networks and unaligned EF-LSTM without aligners say why; no half answer."""
    state, _ = export(trained("graph-mfn", tmp_path / "runs"))
    kept = {k: v for k, v in state.items() if not k.startswith("graph_mfn.networks.")}
    torch.save(kept, tmp_path / "x.pth")
    with pytest.raises(DataError, match=r"its four node networks .* leaves out of its checkpoints, got none of them"):
        predict(tmp_path / "x.pth", "graph-mfn", small("graph-mfn"))
    state, _ = export(trained("ef-lstm", tmp_path / "runs", aligned=False))
    torch.save({k: v for k, v in state.items() if k[1:3] != "2l"}, tmp_path / "y.pth")
    with pytest.raises(DataError, match=r"its aligners \(a2l\.\*, v2l\.\*\), which 20 / 28 / 36 steps need"):
        predict(tmp_path / "y.pth", "ef-lstm", small("ef-lstm", False))
    torch.save({k: v for k, v in state.items() if not k.startswith("v2l")}, tmp_path / "z.pth")
    with pytest.raises(DataError, match=r"8 missing \(v2l\..*It is a part of one"):
        predict(tmp_path / "z.pth", "ef-lstm", small("ef-lstm", False))


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    """Protects: other widths, a lost tensor, one of another shape and a setting that tensors tell are sentences."""
    state, _ = export(trained("lf-lstm", tmp_path / "runs"))
    torch.save(state, tmp_path / "x.pth")
    hidden = load_features("synthetic-aligned-hidden", Store(Path()))
    with pytest.raises(DataError, match=r"30 channels of language.*got 48 in 'synthetic-aligned-hidden'"):
        predict(tmp_path / "x.pth", "lf-lstm", hidden)
    with pytest.raises(SpecError, match=r"--set head: expected a setting that no tensor tells"):
        predict(tmp_path / "x.pth", "lf-lstm", small("lf-lstm"), head="3")
    torch.save({k: v for k, v in state.items() if k != "fc1.weight"}, tmp_path / "y.pth")
    with pytest.raises(DataError, match=r"1 missing \(fc1\.weight\)"):
        predict(tmp_path / "y.pth", "lf-lstm", small("lf-lstm"))
    torch.save({**state, "fc2.weight": torch.ones(2, 2)}, tmp_path / "z.pth")
    with pytest.raises(DataError, match=r"fc2\.weight: expected shape \(1, 16\).*got \(2, 2\)"):
        predict(tmp_path / "z.pth", "lf-lstm", small("lf-lstm"))
    early, _ = export(trained("ef-lstm", tmp_path / "runs"))
    torch.save(early, tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"features of 55 channels together.*got 48 \+ 5 \+ 20"):
        predict(tmp_path / "w.pth", "ef-lstm", hidden)


def test_what_no_file_of_its_authors_can_be_is_not_written(tmp_path: Path) -> None:
    """Protects: MCTN's authors left Keras files: the reason of the refusal is that, and the run stays whole."""
    record = trained("mctn", tmp_path / "runs")
    with pytest.raises(SpecError, match="got a run of mctn, a system of Keras, whose authors saved HDF5 files"):
        export(record)


def test_dropout_at_test_is_of_the_seed_that_is_named(tmp_path: Path) -> None:
    """Protects: a RAVEN file alone draws from seed 0 and says so; a seed that is none, or has no say, is refused."""
    record = trained("raven", tmp_path / "runs")
    torch.save(export(record)[0], tmp_path / "x.pth")
    alone = predict(tmp_path / "x.pth", "raven", small("raven"))
    assert alone.assumed["seed"] == 0
    assert not np.array_equal(alone.predictions.y_pred, record.predictions("test").y_pred)
    with pytest.raises(SpecError, match="--set seed: expected a seed below"):
        predict(tmp_path / "x.pth", "raven", small("raven"), seed="-1")
    torch.save(export(trained("lf-lstm", tmp_path / "runs"))[0], tmp_path / "y.pth")
    with pytest.raises(SpecError, match="--set seed: expected a setting that no tensor tells"):
        predict(tmp_path / "y.pth", "lf-lstm", small("lf-lstm"), seed="1")


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects: `export` and `evaluate --model` as a user types them; what was assumed is printed; misuse exits 2."""
    dmd = Here(tmp_path, monkeypatch, capsys)
    assert dmd("train", "lmf", "--data", "synthetic", "--epochs", "1").code == 0
    [run] = [p.name for p in (tmp_path / "runs").iterdir() if len(p.name) == 12]
    assert dmd("export", run, "-o", "lmf.pth").code == 0
    said = dmd("evaluate", "lmf.pth", "--model", "lmf", "--data", "synthetic", "--resamples", "0")
    assert said.code == 0, said.err
    assert "rank 4" in said.out
    assert "not told by any tensor, taken from the preset of synthetic: last_steps 0" in said.out
    for arguments, told in (
        (("lmf.pth", "--data", "synthetic"), "Add --model lmf"),
        (("lmf.pth", "--model", "lmff", "--data", "synthetic"), "Did you mean 'lmf'?"),
        (("lmf.pth", "--model", "mult", "--data", "synthetic"), "whose reference's names are known"),
        (("lmf.pth", "--model", "mctn", "--data", "synthetic"), "whose authors saved HDF5 files and no state_dict"),
        (("lmf.pth", "--model", "raven", "--data", "synthetic"), "Add --model lmf"),
        ((run, "--model", "lmf"), "Drop --model"),
        (("no.pth", "--model", "raven", "--data", "synthetic"), "got no such file"),
        (("lmf.pth", "--model", "lmf", "--heads", "2", "--data", "synthetic"), "Drop --heads"),
        ((run, "--set", "last_steps=3"), "Drop --set"),
    ):
        said = dmd("evaluate", *arguments)
        assert said.code == 2, said.out
        assert told in said.err
        assert said.err.count("\n") == 1
