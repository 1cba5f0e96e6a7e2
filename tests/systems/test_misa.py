"""MISA as a system: which steps it reads, what of BERT is frozen, where CMD has no derivative, weights, dropout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bert_files import token_features, write_bert
from command import Here
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dmd_repro.cli.outcome import left_out
from dmd_repro.data.features import Features
from dmd_repro.errors import SpecError
from dmd_repro.evaluate.conformance import small_features
from dmd_repro.nn.bert import load_bert
from dmd_repro.nn.dropout import StreamDropout
from dmd_repro.nn.recurrent import bilstm_over
from dmd_repro.records.folder import Predictions, Records
from dmd_repro.results.single import Subject, beside, score_predictions
from dmd_repro.spec import AblationMask, RunSpec
from dmd_repro.systems.base import Batch
from dmd_repro.systems.build import construct
from dmd_repro.systems.misa.config import MISAConfig, preset
from dmd_repro.systems.misa.model import within_clips
from dmd_repro.systems.misa.net import TwoSpaces, moment_discrepancy
from dmd_repro.systems.plain import OneSeed
from dmd_repro.systems.registry import find_system
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.execution import Execution
from dmd_repro.training.fit import fit
from dmd_repro.training.loop import Loop
from dmd_repro.training.schedule import training_batches

CPU = torch.device("cpu")
DIMS = {"l": 12, "a": 3, "v": 4}


def build(steps: int = 5, **settings: object) -> OneSeed:
    """Return a small MISA."""
    config = replace(MISAConfig(d=8), **settings)  # type: ignore[arg-type]
    lengths = dict.fromkeys(DIMS, steps)
    model = construct(find_system("misa"), config, dims=DIMS, steps=lengths, mask=AblationMask(), seeds=(3,))
    assert isinstance(model, OneSeed)
    return model


def clips(lengths: list[int], *, left: bool) -> Batch:
    """Return clips of some true steps, padded on one side."""
    g = torch.Generator().manual_seed(1)
    inputs = {}
    for m, width in DIMS.items():
        x = torch.zeros(1, len(lengths), 5, width)
        for i, n in enumerate(lengths):
            x[0, i, slice(5 - n, 5) if left else slice(0, n)] = torch.randn(n, width, generator=g)
        inputs[m] = x
    return Batch(inputs, torch.zeros(1, len(lengths)))


def test_lstms_read_the_true_steps_as_if_packed() -> None:
    """Protects: both directions over lengths, without packing, give the numbers and gradients of a packed sequence."""
    lstm, x = nn.LSTM(3, 4, batch_first=True, bidirectional=True), torch.randn(4, 6, 3)
    count = torch.tensor([6, 4, 3, 1])
    states, forth, back = bilstm_over(lstm, x, count)
    packed, (last, _) = lstm(pack_padded_sequence(x, count, batch_first=True))
    theirs = pad_packed_sequence(packed, batch_first=True)[0]
    inside = torch.arange(6) < count[:, None]
    torch.testing.assert_close(states[inside], theirs[inside])
    torch.testing.assert_close(torch.stack([forth, back]), last)
    ours = torch.autograd.grad(forth.sum() + 2 * back.sum(), list(lstm.parameters()))
    expected = torch.autograd.grad(last[0].sum() + 2 * last[1].sum(), list(lstm.parameters()))
    torch.testing.assert_close(ours, expected)


def test_the_side_of_the_padding_does_not_matter() -> None:
    """Protects: a left-padded file's rows are read, not its leading zeros."""
    model = build().eval()
    with torch.no_grad():
        right, left = (model(clips([5, 3, 1, 2], left=side)).prediction for side in (False, True))
    torch.testing.assert_close(right, left, rtol=0, atol=1e-6)
    assert right.std() > 0


def test_rows_are_standardised_within_a_clip() -> None:
    """Protects: over the true rows alone, by the population's deviation; padding stays zero."""
    x = torch.randn(2, 5, 3)
    x[1, 2:] = 0
    found = within_clips(x, torch.tensor([5, 2]))
    torch.testing.assert_close(found[0], (x[0] - x[0].mean(0)) / (1e-6 + x[0].std(0, correction=0)))
    short = x[1, :2]
    torch.testing.assert_close(found[1, :2], (short - short.mean(0)) / (1e-6 + short.std(0, correction=0)))
    assert not found[1, 2:].any()


def test_cmd_of_one_clip_has_no_derivative_but_with_the_switch() -> None:
    """Protects: the reference's NaN is shown, its repair is finite, and such a batch is never trained on."""
    x, y = torch.rand(1, 4, requires_grad=True), torch.rand(1, 4)
    moment_discrepancy(x, y).backward()
    assert x.grad is not None
    assert x.grad.isnan().all()
    x.grad = None
    moment_discrepancy(x, y, 1e-12).backward()
    assert x.grad.isfinite().all()
    assert [p.stop - p.start for p in training_batches(129, MISAConfig())] == [64, 64]
    assert [p.stop - p.start for p in training_batches(1284, MISAConfig())][-1] == 4
    with pytest.raises(SpecError, match="at least 3"):
        MISAConfig(least_batch=1).check({})
    MISAConfig(least_batch=1, cmd_epsilon=1e-12).check({})


def test_a_discriminator_may_take_the_place_of_cmd(synthetic: Features) -> None:
    """Protects: it learns to tell shared codes apart, its gradient is reversed for them, one clip is a batch."""
    assert "net.discriminator" not in str(dict(build().named_parameters()))
    settings = {"similarity": "adversarial", "least_batch": 1, "d": 8}
    spec = resolve_spec("misa", seed=1, features=synthetic, overrides=settings)  # type: ignore[arg-type]
    loop = Loop([spec], synthetic, CPU)
    [(means, _)] = loop.train_batches(np.arange(17, dtype=np.int64)[None])
    assert {"domain", "diff", "recon"} < set(means)
    assert "cmd" not in means
    assert all(bool(p.isfinite().all()) for p in loop.module.parameters())
    net = TwoSpaces({"t": 3, "v": 2, "a": 2}, 4, 0.0, unused_norm=6, orthogonal=False, adversarial=True)
    code = torch.rand(5, 4, requires_grad=True)
    scores = net._domain(code)
    [reversed_] = torch.autograd.grad(scores.sum(), code)
    layers = net.discriminator
    plain = layers["discriminator_layer_2"](torch.relu(layers["discriminator_layer_1"](code)))
    torch.testing.assert_close(reversed_, -torch.autograd.grad(plain.sum(), code)[0])
    torch.testing.assert_close(scores, plain)


def spec_of(bert: str, **settings: object) -> RunSpec:
    """Return a run on token ids."""
    quick = {"d": 8, "batch_size": 6, "max_epochs": 2, **settings}
    return resolve_spec("misa", seed=1, features=token_features(), overrides=quick, bert=load_bert(bert).fingerprint)  # type: ignore[arg-type]


def test_bert_layers_are_frozen_by_name(tmp_path: Path) -> None:
    """Protects: the first layers stand still bit for bit, embeddings and later layers are trained."""
    folder = write_bert(tmp_path / "bert")
    loop = Loop([spec_of(folder, frozen_layers=1)], token_features(), CPU, load_bert(folder))
    before = {n: p.detach().clone() for n, p in loop.module.named_parameters()}
    loop.epoch()
    moved = {n for n, p in loop.module.named_parameters() if not torch.equal(p, before[n])}
    text = {n.removeprefix("text_model.model.") for n in moved if n.startswith("text_model.")}
    assert not [n for n in text if n.startswith("encoder.layer.0.")]
    assert {"embeddings.word_embeddings.weight", "encoder.layer.1.output.dense.weight"} <= text
    assert "system.system.net.fusion.fusion_layer_3.weight" in moved
    assert preset("mosei", aligned=True, protocol="official").frozen_layers == 9
    assert preset("mosi", aligned=True, protocol="official").frozen_layers == 0
    assert preset("mosei", aligned=True, protocol="mmsa").frozen_layers == 0


def test_padded_word_pieces_are_not_read(tmp_path: Path) -> None:
    """Protects: the mean over BERT's states is over the mask, so that padding moves no prediction."""
    folder = write_bert(tmp_path / "bert")
    loop = Loop([spec_of(folder)], token_features(), CPU, load_bert(folder))
    batch = loop.feed.batch("valid", np.arange(5)[None])
    tokens = batch.inputs["l"].clone()
    tokens[:, :, 0] = torch.where(tokens[:, :, 1] == 0, 7, tokens[:, :, 0])
    assert not torch.equal(tokens, batch.inputs["l"])
    with torch.no_grad():
        loop.module.eval()
        one, two = (loop.module(b).prediction for b in (batch, replace(batch, inputs={**batch.inputs, "l": tokens})))
    torch.testing.assert_close(one, two, rtol=0, atol=1e-6)


def test_a_broken_run_on_token_ids_ends_as_a_whole_one(tmp_path: Path) -> None:
    """Protects: with BERT partly frozen, resuming gives the bits of an undisturbed run."""
    folder, features = write_bert(tmp_path / "bert"), token_features()
    spec = spec_of(folder, frozen_layers=1)
    whole = fit(spec, features, Records(tmp_path / "whole"), execution=Execution(bert=folder))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(spec, features, Records(tmp_path / "cut"), execution=Execution(bert=folder), on_epoch=stop)
    resumed = fit(spec, features, Records(tmp_path / "cut"), execution=Execution(bert=folder))
    for name in ("predictions.safetensors", "checkpoint.safetensors"):
        assert (whole.path / name).read_bytes() == (resumed.path / name).read_bytes()


def test_given_states_are_marked(synthetic: Features, tmp_path: Path) -> None:
    """Protects: a run without token ids says so in its settings; a BERT that is encoded once is refused."""
    assert resolve_spec("misa", seed=1, features=synthetic).config["text_states"] == "given"
    folder = write_bert(tmp_path / "bert")
    assert spec_of(folder).config["text_states"] == "bert"
    with pytest.raises(SpecError, match="word pieces alone"):
        spec_of(folder, bert_finetune="false")


def test_given_states_never_stand_beside_print(tmp_path: Path) -> None:
    """Protects: on hidden states of the official clips too, MISA's value is not held against its fine-tuned row."""
    data = small_features(find_system("lf-lstm"), aligned=True)
    said = Predictions(data.splits["test"].ids, np.asarray(data.splits["test"].labels), np.linspace(-1, 1, 9), {})
    subject = Subject(
        model="misa", mask=AblationMask(), protocol="official", dataset="mosi", aligned=True, text="hidden",
        standing="official", split="test", changed={"text_states": "given"},
    )  # fmt: skip
    row, _ = beside(subject, score_predictions(said, "mosi", resamples=0))
    assert row is not None
    assert not row.comparable
    assert row.verdict.startswith("not comparable: read BERT hidden states text, printed for ")
    assert {cell.difference for cell in row.cells} == {None}


def test_a_last_batch_too_small_for_cmd_is_left_out_and_said(tmp_path: Path) -> None:
    """Protects: 33 clips leave one behind two batches of 16: no NaN, and the run's summary counts it."""
    data = small_features(find_system("misa"), aligned=True)
    spec = resolve_spec("misa", seed=1, features=data, overrides={"max_epochs": 1, "d": 8, "batch_size": 16})
    record = fit(spec, data, Records(tmp_path), execution=Execution())
    assert all(np.isfinite(x).all() for x in record.checkpoint().values())
    assert left_out(record) == ["left out: 1 clip an epoch, the last batch has fewer than 3 (others each time)"]


def test_generated_clips_have_no_token_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Protects: BERT text is refused in one sentence that says what to name, not as a name nobody typed."""
    said = Here(tmp_path, monkeypatch, capsys)("train", "misa", "--data", "synthetic", "--text", "bert")
    assert said.code == 2
    assert "--text bert with 'synthetic': expected glove or hidden, as generated clips have no words" in said.err
    assert said.err.count("\n") == 1


def test_initial_weights() -> None:
    """Protects: recurrent weights are orthogonal over all gates officially, uniform in MMSA's; the rest is torch's."""
    for orthogonal in (True, False):
        named = dict(build(orthogonal=orthogonal).system.net.named_parameters())  # type: ignore[union-attr,operator]
        w = named["vrnn1.weight_hh_l0"].detach()
        assert torch.allclose(w.T @ w, torch.eye(4), atol=1e-5) == orthogonal
        assert float(named["vrnn1.weight_ih_l0"].detach().abs().max()) <= 0.5
        attention = "transformer_encoder.layers.0.self_attn"
        assert not named[f"{attention}.in_proj_bias"].detach().any()
        assert not named[f"{attention}.out_proj.bias"].detach().any()
        assert float(named[f"{attention}.in_proj_weight"].detach().abs().max()) <= (6 / 32) ** 0.5
        assert torch.equal(named["project_v.project_v_layer_norm.weight"].detach(), torch.ones(8))
        assert named["fusion.fusion_layer_1.bias"].detach().any()


def test_dropout_places() -> None:
    """Protects: the transformer layer drops at torch's 0.1 in four places, the fusion maps at the setting, no other."""
    found = {
        n.removeprefix("system.net."): m.inner.rate for n, m in build().named_modules() if type(m) is StreamDropout
    }
    assert found.pop("drop_fused") == 0.5
    assert {n.rpartition(".")[2] for n in found} == {"drop_weights", "drop_attended", "drop_hidden", "drop_fed"}
    assert set(found.values()) == {0.1}
