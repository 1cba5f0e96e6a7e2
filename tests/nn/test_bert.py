"""Token ids through a BERT: the same numbers as transformers, no global random state, weights named by their digest."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bert_files import STEPS, VOCABULARY, WIDTH, token_features, token_store, tokens, write_bert

from dmd_repro.data.store.folder import Store
from dmd_repro.errors import DataError, SpecError
from dmd_repro.nn import bert as bert_module
from dmd_repro.nn.bert import load_bert
from dmd_repro.nn.dropout import DropoutStream
from dmd_repro.papers.tables import load_table
from dmd_repro.planning.grid import HIDDEN_FOR_BERT, expand
from dmd_repro.records.folder import Records
from dmd_repro.spec import RunSpec
from dmd_repro.systems.bert_text import BertText, WithBert
from dmd_repro.systems.dmd.model import DMD
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.systems.state import read_weights, write_weights
from dmd_repro.training.fit import Execution, fit
from dmd_repro.training.loop import Loop
from dmd_repro.training.text import prepare

CPU = torch.device("cpu")
QUICK = {"max_epochs": 2, "batch_size": 4, "accumulate": 1, "d": 6, "heads": 2, "layers": 1,
         "kernel_l": 2, "kernel_a": 2, "kernel_v": 2}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A tiny BERT on disk."""
    return write_bert(tmp_path / "bert")


def spec_of(folder: str, seed: int = 7, **overrides: object) -> RunSpec:
    """Return a quick DMD spec on token ids."""
    return resolve_spec(
        "dmd",
        seed=seed,
        features=token_features(),
        overrides={**QUICK, **overrides},
        bert=load_bert(folder).fingerprint,
    )


def rates_off(model: torch.nn.Module) -> torch.nn.Module:
    """Set BERT's two dropout rates to 0."""
    model.hidden_dropout.rate = model.attention_dropout.rate = 0.0
    return model


def test_hidden_states_are_those_of_transformers(folder: str) -> None:
    """Protects: our forward pass is BERT's, in float64 to rounding, with padding, in evaluation and in training."""
    bert = load_bert(folder)
    model = rates_off(BertText(bert, DropoutStream((1,))).double())
    theirs = bert.model.double().eval()
    batch = torch.from_numpy(tokens(5))
    segments = batch[:, 2].clone()
    segments[:, 3:] = 1
    batch[:, 2] = segments
    with torch.no_grad():
        wanted = theirs(input_ids=batch[:, 0], attention_mask=batch[:, 1].double(), token_type_ids=segments)
        for mode in (True, False):
            assert torch.allclose(model.train(mode)(batch), wanted.last_hidden_state, rtol=0, atol=1e-12)
    bert_module._load.cache_clear()  # the base was made double


def test_dropout_comes_from_the_models_stream_alone(folder: str) -> None:
    """Protects: equal streams give equal masks whatever the global generators hold, and those are left as they were."""
    bert_module._load.cache_clear()
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    bert, stream = load_bert(folder), DropoutStream((3,))
    model = BertText(bert, stream).train()
    batch = torch.from_numpy(tokens(4))
    first = model(batch)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert np.array_equal(before[2], np.random.get_state()[1])  # noqa: NPY002
    torch.manual_seed(99)
    stream.restart([0], CPU)
    assert torch.equal(first, model(batch))
    assert not torch.equal(first, model(batch)), "the stream goes on"
    assert not torch.equal(first, rates_off(model)(batch)), "it was dropping"


def test_the_fingerprint_is_of_the_weights_not_of_the_folder(folder: str, tmp_path: Path) -> None:
    """Protects: a run's identity names which BERT, and is the same on every machine that holds it."""
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    print_ = load_bert(folder).fingerprint
    assert load_bert(str(moved)).fingerprint == print_
    assert print_.startswith(f"2x{WIDTH}-")
    assert load_bert(write_bert(tmp_path / "other", seed=2)).fingerprint != print_
    assert load_bert(write_bert(tmp_path / "heads", num_attention_heads=2)).fingerprint != print_
    spec = spec_of(folder)
    assert spec.config["bert"] == print_
    assert str(tmp_path) not in str(spec.to_json())


def test_text_kind_and_freezing_make_another_run(folder: str) -> None:
    """Protects: fine-tuned and frozen never share a record."""
    tuned, frozen = spec_of(folder), spec_of(folder, bert_finetune="false")
    assert tuned.config["bert_finetune"] is True
    assert tuned != frozen


def test_fine_tuning_moves_bert_and_stores_only_what_moved(folder: str, tmp_path: Path) -> None:
    """Protects: BERT is in the optimizer; words that never occur are not stored again; all comes back."""
    features, spec = token_features(), spec_of(folder)
    record = fit(spec, features, Records(tmp_path / "runs"), execution=Execution(bert=folder))
    weights = record.checkpoint()
    words = "dmd/text_model.model.embeddings.word_embeddings.weight"
    assert "dmd/text_model.model.encoder.layer.1.output.dense.weight" in weights
    assert words not in weights
    used = {int(i) for s in ("train",) for i in np.unique(features.splits[s].language[:, 0])}
    assert set(weights[f"{words}#rows"]) <= used
    assert not any("pooler" in name for name in weights)
    assert record.data["text"] == "bert"
    assert "bert text" in record.data["label"]

    loop = Loop([spec], features, CPU, load_bert(folder))
    trained = {id(p) for p in loop.seed_states[0].optimizer.param_groups[0]["params"]}
    assert any(id(p) in trained for p in loop.module.text_model.parameters())
    write_weights(loop.module, weights, "dmd", "here")
    again = read_weights(loop.module, "dmd")
    assert set(again) == set(weights)
    assert all(np.array_equal(again[name], weights[name]) for name in weights)


@pytest.mark.parametrize("finetune", ["true", "false"])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(folder: str, tmp_path: Path, finetune: str) -> None:
    """Protects: resume restores BERT and its moments too, bit for bit, with and without a cache."""
    spec, features = spec_of(folder, bert_finetune=finetune), token_features()
    whole = fit(
        spec, features, Records(tmp_path / "whole"), execution=Execution(bert=folder, cache=str(tmp_path / "c"))
    )

    def stop(report: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(spec, features, Records(tmp_path / "cut"), execution=Execution(bert=folder), on_epoch=stop)
    resumed = fit(spec, features, Records(tmp_path / "cut"), execution=Execution(bert=folder))
    for name in ("predictions.safetensors", "epochs.safetensors", "checkpoint.safetensors"):
        assert (whole.path / name).read_bytes() == (resumed.path / name).read_bytes(), name


def test_a_frozen_bert_encodes_each_clip_once(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: later epochs and runs read the cache; a damaged file is encoded again, never believed."""
    features, spec, cache = token_features(), spec_of(folder, bert_finetune="false"), str(tmp_path / "cache")
    counted: list[int] = []
    forward = BertText.forward
    monkeypatch.setattr(BertText, "forward", lambda self, x: counted.append(len(x)) or forward(self, x))
    first, left = prepare(spec, features, folder, cache, CPU)
    assert left is None
    assert sum(counted) == sum(features.sizes.values())
    assert first.dims["l"] == WIDTH
    again, _ = prepare(spec, features, folder, cache, CPU)
    assert sum(counted) == sum(features.sizes.values())
    assert all(np.array_equal(first.splits[s].language, again.splits[s].language) for s in first.splits)
    assert not again.splits["train"].language.flags.writeable, "a view of the file"

    fresh, _ = prepare(spec, features, folder, "", CPU)
    for path in (tmp_path / "cache").rglob("*.safetensors"):
        content = bytearray(path.read_bytes())
        content[-3] ^= 1
        path.write_bytes(bytes(content))
    counted.clear()
    healed, _ = prepare(spec, features, folder, cache, CPU)
    assert sum(counted) == sum(features.sizes.values())
    assert all(np.array_equal(fresh.splits[s].language, healed.splits[s].language) for s in fresh.splits)


def test_a_fine_tuned_bert_is_not_stacked(folder: str) -> None:
    """Protects: two seeds never share one BERT in silence."""
    system = DMD(DMD.preset("synthetic", aligned=False, protocol="official"), dims={"l": WIDTH, "a": 3, "v": 4},
                 steps={"l": STEPS, "a": 9, "v": 8}, seeds=(1, 2))  # fmt: skip
    with pytest.raises(SpecError, match="one seed at a time"):
        WithBert(system, load_bert(folder))


def test_what_is_wrong_with_a_bert_is_said(folder: str, tmp_path: Path) -> None:
    """Protects: no BERT, half a BERT, another model, another BERT than the run's: a sentence each, with the remedy."""
    with pytest.raises(SpecError, match="hf download google-bert/bert-base-uncased"):
        load_bert("")
    with pytest.raises(SpecError, match="no such folder"):
        load_bert(str(tmp_path / "nowhere"))
    with pytest.raises(SpecError, match="none of that name"):
        load_bert("no-such-bert-anywhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="a whole BERT"):
        load_bert(str(tmp_path / "empty"))
    cut = shutil.copytree(folder, tmp_path / "cut")
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(DataError, match="a whole BERT"):
        load_bert(str(cut))
    other = shutil.copytree(folder, tmp_path / "roberta")
    text = (other / "config.json").read_text().replace('"model_type": "bert"', '"model_type": "roberta"')
    (other / "config.json").write_text(text)
    with pytest.raises(DataError, match="a whole BERT"):
        load_bert(str(other))
    deeper = shutil.copytree(folder, tmp_path / "deeper")
    config = deeper / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    with pytest.raises(DataError, match="weights for all of it"):
        load_bert(str(deeper))
    spec = spec_of(folder)
    with pytest.raises(SpecError, match="the BERT this run names"):
        prepare(spec, token_features(), write_bert(tmp_path / "second", seed=5), "", CPU)
    with pytest.raises(SpecError, match=f"the BERT {spec.config['bert']}"):
        prepare(spec, token_features(), "", "", CPU)


def test_a_bert_without_a_pooler_is_the_same_bert(folder: str, tmp_path: Path) -> None:
    """Protects: the pooler, which nothing reads and the library would draw at random, is no part of the identity."""
    from safetensors.numpy import load_file, save_file

    bare = shutil.copytree(folder, tmp_path / "bare")
    kept = {k: v for k, v in load_file(bare / "model.safetensors").items() if not k.startswith("pooler")}
    save_file(kept, bare / "model.safetensors", metadata={"format": "pt"})
    assert load_bert(str(bare)).fingerprint == load_bert(folder).fingerprint


@pytest.mark.parametrize(
    ("row", "value", "words"),
    [
        (0, VOCABULARY, "a token id from 0 to 39"),
        (0, -1, "a token id"),
        (1, 2, "a mask value"),
        (2, 5, "a segment from 0 to 1"),
    ],
)
def test_ids_outside_the_vocabulary_are_placed(folder: str, row: int, value: int, words: str) -> None:
    """Protects: a file tokenised for another BERT is refused with split, clip and step before any training."""
    features = token_features()
    language = np.array(features.splits["valid"].language)
    language[2, row, 4] = value
    bad = replace(features, splits={**features.splits, "valid": replace(features.splits["valid"], language=language)})
    with pytest.raises(DataError, match=rf"valid, clip valid\$_\$2, step 4.*{words}.*got {value}"):
        prepare(spec_of(folder), bad, folder, "", CPU)


def test_too_many_steps_for_a_bert(tmp_path: Path) -> None:
    """Protects: more steps than position embeddings is a sentence, not an index error."""
    short = write_bert(tmp_path / "short", max_position_embeddings=5)
    with pytest.raises(DataError, match="at most 5 steps"):
        prepare(spec_of(short), token_features(), short, "", CPU)


def test_settings_of_bert_belong_to_token_ids(folder: str, toy: object) -> None:
    """Protects: no BERT setting is dropped in silence on other text, and none names a BERT by hand."""
    with pytest.raises(SpecError, match="a BERT to read the token ids"):
        resolve_spec("dmd", seed=1, features=token_features(), overrides=QUICK)
    with pytest.raises(SpecError, match=r"--set bert: .*Name it with --bert"):
        spec_of(folder, bert="2x12-0")
    with pytest.raises(SpecError, match="bert_finetune: expected bert text"):
        resolve_spec("dmd", seed=1, features=toy, overrides={**QUICK, "bert_finetune": "false"})


def test_text_bert_absent_is_said(tmp_path: Path) -> None:
    """Protects: asking for token ids of a file that holds none names what it holds."""
    from toy_store import put

    with pytest.raises(DataError, match="expected bert text, got a file with glove text only"):
        put(tmp_path, "glove-only").open("glove-only", "bert")


def test_a_starred_row_takes_token_ids_only_with_a_bert(tmp_path: Path, folder: str) -> None:
    """Protects: the plan never fine-tunes or falls back in silence, and glove, hidden and bert are told apart."""
    table, records = load_table("table1"), Records(tmp_path / "runs")
    store = token_store(tmp_path / "data")
    store.write("aligned", replace_aligned(store), force=True)
    options = {"seeds": (1,), "store": store, "records": records, "data": ("aligned",), "overrides": QUICK}
    row = "mosi-aligned-bert-dmd"
    without = expand(table, **options).plan.rows[row]
    assert without.features is not None
    assert (without.features["text"], HIDDEN_FOR_BERT in without.notes) == ("hidden", True)
    told = load_bert(folder).fingerprint
    with_ = expand(table, **options, bert=lambda: told).plan.rows[row]
    assert with_.features is not None
    assert with_.features["text"] == "bert"
    assert f"BERT {told}, not the printed row's BERT-base" in with_.notes
    assert without.runs != with_.runs
    assert without.features["digest"] != with_.features["digest"]
    assert without.features["label"] != with_.features["label"]


def replace_aligned(store: Store) -> object:
    """Return the store's clips as an aligned file."""
    from dmd_repro.data.formats.incoming import Incoming, IncomingSplit

    opened = store.open("toy-bert", "bert"), store.open("toy-bert", "hidden")
    splits = {}
    for split, data in opened[0].splits.items():
        n = len(data)
        made = {
            "language_bert": np.array(data.language),
            "language_hidden": np.array(opened[1].splits[split].language),
            "acoustic": np.array(data.acoustic)[:, :STEPS],
            "visual": np.array(data.visual)[:, :STEPS],
            "labels": np.array(data.labels),
        }
        made |= {f"lengths_{m}": np.full(n, STEPS, np.int64) for m in ("l", "a", "v")}
        splits[split] = IncomingSplit(data.ids, made)
    return Incoming("mosi", True, ("hidden", "bert"), "partial", splits)


def test_another_bert_or_a_frozen_one_bars_the_comparison(folder: str, tmp_path: Path) -> None:
    """Protects: only a fine-tuned BERT of the printed row's shape is held against a starred number."""
    from dmd_repro.planning.plans import PlannedRow
    from dmd_repro.results.runs import _why_not_comparable, bert_not_comparable

    record = fit(spec_of(folder), token_features(), Records(tmp_path / "runs"), execution=Execution(bert=folder))
    record = replace(record, data={**record.data, "standing": "official", "aligned": True})
    row = load_table("table1").row("mosi-aligned-bert-dmd")
    assert "read by the BERT 2x12-" in (_why_not_comparable(row, record, PlannedRow("planned")) or "")
    assert bert_not_comparable("12x768-0123456789abcdef", True) is None
    assert "frozen" in (bert_not_comparable("12x768-0123456789abcdef", False) or "")
    assert bert_not_comparable("", True) is None


def test_without_the_extra_a_sentence_names_it(tmp_path: Path) -> None:
    """Protects: the package works without transformers, and token ids then say which extra to install."""
    code = (
        "import sys; sys.modules['transformers'] = None\n"
        "from dmd_repro.errors import SpecError\n"
        "from dmd_repro.nn.bert import load_bert\n"
        f"try:\n    load_bert({str(tmp_path)!r})\nexcept SpecError as e:\n    print(e)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'dmd-repro[bert]'" in done.stdout


def test_a_configuration_chooses_no_code(tmp_path: Path) -> None:
    """Protects: what a stranger's config.json names (attention, kernels, quantisation, classes) is not what runs."""
    folder = Path(write_bert(tmp_path / "bert"))
    plain = load_bert(str(folder))
    said = json.loads((folder / "config.json").read_text())
    odd = tmp_path / "odd"
    shutil.copytree(folder, odd)
    asked = {
        "attn_implementation": "someone/kernel", "_attn_implementation": "flash_attention_2", "use_kernels": True,
        "quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}, "torch_dtype": "float16",
        "auto_map": {"AutoModel": "evil.Model"}, "trust_remote_code": True, "dtype": "float16",
    }  # fmt: skip
    (odd / "config.json").write_text(json.dumps({**said, **asked}))
    read = load_bert(str(odd))
    assert read.fingerprint == plain.fingerprint
    assert read.model.config._attn_implementation == "sdpa"
    assert getattr(read.model.config, "quantization_config", None) is None
    (odd / "adapter_config.json").write_text("{}")
    bert_module._load.cache_clear()
    with pytest.raises(DataError, match="an adapter"):
        load_bert(str(odd))
