"""PMR and FDMER as we read them, and language alone: their formulas, what they read, and that nothing is exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bert_files import token_features, write_bert
from systems.test_earlier import batch_of, build
from systems.test_rules import few
from torch import Tensor, nn

from dmd_repro.data.features import Features
from dmd_repro.data.store.digest import feature_set, features
from dmd_repro.errors import SpecError
from dmd_repro.evaluate.checkpoint import open_checkpoint
from dmd_repro.evaluate.export import export_official
from dmd_repro.evaluate.predict import evaluate_checkpoint
from dmd_repro.nn.bert import load_bert
from dmd_repro.nn.sequence import Attention, SelfLayer
from dmd_repro.records.folder import Records
from dmd_repro.systems.base import Batch
from dmd_repro.systems.fdmer.net import Reversed, consistency, disparity, independence, orthogonality
from dmd_repro.systems.pmr.config import PMRConfig
from dmd_repro.systems.pmr.net import Layer, Reinforce, Update
from dmd_repro.systems.registry import find_system
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.execution import Execution
from dmd_repro.training.fit import fit

NO_DROPOUT: dict[str, Any] = dict.fromkeys(("relu_dropout", "res_dropout", "embed_dropout"), 0.0)
PLAIN = PMRConfig(d=8, heads=2, layers=1, **NO_DROPOUT)


def draw(*shape: int, seed: int = 1) -> Tensor:
    """Return normal samples."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def padded(one: Any, lengths: list[int], *, left: bool, width: int = 6) -> Batch:
    """Return clips of some true steps, the same ones whichever side is padded."""
    full = batch_of(one, len(lengths), width)
    inputs = {}
    for m, x in full.inputs.items():
        out = torch.zeros_like(x)
        for i, n in enumerate(lengths):
            out[0, i, slice(width - n, width) if left else slice(0, n)] = x[0, i, :n]
        inputs[m] = out
    return Batch(inputs, full.labels)


def test_attention_is_the_usual_one() -> None:
    """Protects: heads, scale, masked source steps: the numbers of torch's own layer; and one step of a whole layer."""
    ours, theirs = Attention(8, 2, 0.0), nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.q.weight, ours.k.weight, ours.v.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.q.bias, ours.k.bias, ours.v.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    target, source = draw(3, 4, 8), draw(3, 5, 8, seed=2)
    valid = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 1, 1, 0], [0, 0, 0, 0, 1]]).bool()
    said = theirs(target, source, source, key_padding_mask=~valid)[0]
    torch.testing.assert_close(ours(target, source, valid), said)
    layer = SelfLayer(8, 2, attention=0.0, relu=0.0, residual=0.0)
    torch.testing.assert_close(layer.last_step(target), layer(target)[:, -1])


# ---- PMR


def test_the_filter_weighs_what_is_read_against_itself() -> None:
    """Protects: wide open it is MulT's block, shut it is self-attention; between, a share of each in every element."""
    unit, target, source = Reinforce(PLAIN), draw(2, 4, 8), draw(2, 7, 8, seed=2)
    block = Reinforce(replace(PLAIN, unit="plain"))
    block.load_state_dict({n: x for n, x in unit.state_dict().items() if not n.startswith(("within", "filter"))})
    shut = Reinforce(replace(PLAIN, unit="plain"))
    shut.load_state_dict(block.state_dict())
    shut.across.load_state_dict(unit.within.state_dict())
    nn.init.zeros_(unit.filter.weight)
    found = {}
    for way, bias in (("open", 100.0), ("shut", -100.0), ("half", 0.0)):
        nn.init.constant_(unit.filter.bias, bias)
        found[way] = unit(target, source)
    torch.testing.assert_close(found["open"], block(target, source))
    torch.testing.assert_close(found["shut"], shut(target, target))
    own, read = (part(unit.norm1(target), unit.norm1(x)) for part, x in ((unit.within, target), (unit.across, source)))
    y = target + (own + read) / 2
    torch.testing.assert_close(found["half"], y + unit.feed(unit.norm2(y)))


def test_a_message_is_a_share_of_three() -> None:
    """Protects: the softmax is over modalities, at each step and clip alone: three alike give one, one may win."""
    update, one = Update(PLAIN), draw(2, 5, 8)
    torch.testing.assert_close(update(torch.stack([one] * 3, 1)), one + update.feed(update.norm(one)))
    messages = draw(2, 3, 5, 8)
    other = messages.clone()
    other[1, :, 3] += 1
    moved = (update(messages) - update(other)).detach().abs().amax(2) > 1e-6
    assert moved.nonzero().tolist() == [[1, 3]]
    with torch.no_grad():
        update.score1.weight.copy_(torch.eye(8)), update.score1.bias.zero_()
        update.score2.weight.copy_(100 * torch.eye(8)[:1])
    messages[:, 0, :, 0], messages[:, 1:, :, 0] = 1, -1
    won = messages[:, 0]
    torch.testing.assert_close(update(messages), won + update.feed(update.norm(won)))


@pytest.mark.parametrize("source", ["updated", "previous"])
def test_what_the_message_reads(source: str) -> None:
    """Protects: the modalities behind their own unit of the layer, or before it."""
    layer = Layer(replace(PLAIN, source=source))
    z = {m: draw(2, n, 8, seed=n) for m, n in (("l", 3), ("a", 4), ("v", 5))}
    message = torch.cat([z[m] for m in "lva"], 1)
    new, said = layer(z, message)
    read = new if source == "updated" else z
    parts = torch.stack([layer.to_message[m](message, read[m]) for m in "lav"], 1)
    torch.testing.assert_close(said, layer.update(parts))
    for m in "lav":
        torch.testing.assert_close(new[m], layer.to_modality[m](z[m], message))


def test_pmr_trains_as_mult() -> None:
    """Protects: its values are MulT's of the same setting, and words that are none are refused with the nearest."""
    for dataset, aligned in (("mosi", True), ("mosei", True), ("mosei", False)):
        ours, theirs = (find_system(n).preset_for(dataset, aligned=aligned, protocol="official").to_dict() for n in ("pmr", "mult"))  # fmt: skip # noqa: E501
        shared = ours.keys() & theirs.keys()
        assert {n: ours[n] for n in shared} == {n: theirs[n] for n in shared}
        assert {"d", "heads", "layers", "kernel_a", "embed_dropout", "learning_rate", "batch_size"} <= shared
    with pytest.raises(SpecError, match=r"--set unit: expected gated or plain, got 'gatd'\. Did you mean 'gated'"):
        resolve_spec("pmr", seed=1, features=few(), overrides={"unit": "gatd"})
    with pytest.raises(SpecError, match="--set source: expected updated or previous"):
        resolve_spec("pmr", seed=1, features=few(), overrides={"source": "new"})


# ---- FDMER


def codes_of(clips: int, width: int = 6) -> dict[str, Tensor]:
    """Return made-up shared and private codes."""
    names = [f"{kind}_{m}" for kind in ("common", "private") for m in "lav"]
    return {name: draw(clips, width, seed=i) for i, name in enumerate(names)}


def test_independence_is_hsic() -> None:
    """Protects: tr(R Kx R Ky) / (B - 1)^2 with linear kernels; 0 of unrelated directions, finite for one clip."""
    x, y = draw(7, 5), draw(7, 4, seed=2)
    r = torch.eye(7) - 1 / 7
    torch.testing.assert_close(independence(x, y), torch.trace(r @ x @ x.T @ r @ y @ y.T) / 36)
    torch.testing.assert_close(independence(x + 3, y - 2), independence(x, y))
    one = draw(1, 5).requires_grad_()
    independence(one, draw(1, 4)).backward()
    assert not one.grad.any()  # type: ignore[union-attr]
    unit = [z - z.mean(0) for z in (x, y)]
    unit = [z / z.norm(dim=1, keepdim=True) for z in unit]
    torch.testing.assert_close(orthogonality(x, y), (unit[0].T @ unit[1]).square().mean())


def test_consistency_and_disparity_by_hand() -> None:
    """Protects: similarities of clips across modalities; private codes against their shared one and the others."""
    codes = codes_of(5)
    unit = {m: codes[f"common_{m}"] / codes[f"common_{m}"].norm(dim=1, keepdim=True) for m in "lav"}
    want = sum(((unit[m] @ unit[m].T - unit[n] @ unit[n].T) ** 2).sum() / 25 for m, n in ("la", "lv", "av"))
    torch.testing.assert_close(consistency(codes), want)
    assert consistency({**codes, **{f"common_{m}": codes["common_l"] for m in "av"}}) < 1e-10
    for kind, measure in (("hsic", independence), ("orthogonal", orthogonality)):
        own = sum(measure(codes[f"common_{m}"], codes[f"private_{m}"]) for m in "lav")
        others = sum(measure(codes[f"private_{m}"], codes[f"private_{n}"]) for m, n in ("la", "lv", "av"))
        torch.testing.assert_close(disparity(codes, kind), own + others)


def test_the_judge_learns_and_shared_codes_fool_it() -> None:
    """Protects: the judge and the private encoders follow its cross entropy, the shared encoder climbs it."""
    one = build("fdmer", d=32, dropout=0.0).train()
    net, batch = one.system.net, batch_of(one)
    _, codes = net({m: x[0] for m, x in batch.inputs.items()}, {m: torch.ones(5, 6).bool() for m in "lav"})  # type: ignore[operator]
    said = net.adversary(codes)  # type: ignore[operator]
    parts = [net.judge1.weight, net.private["a"].weight, net.common.weight]  # type: ignore[union-attr,index]
    got = torch.autograd.grad(said, parts, retain_graph=True)
    place = {"l": 0, "a": 1, "v": 2}
    straight = sum(
        nn.functional.cross_entropy(net.judge(codes[f"{kind}_{m}"]), torch.full((5,), i)) / 3  # type: ignore[operator]
        for m, i in place.items() for kind in ("common", "private")
    )  # fmt: skip
    torch.testing.assert_close(said, straight)
    want = torch.autograd.grad(straight, parts)
    for ours, theirs, sign in zip(got, want, (1, 1, -1), strict=True):
        torch.testing.assert_close(ours, sign * theirs)
        assert theirs.abs().max() > 0
    x = draw(3, 2).requires_grad_()
    assert torch.equal(torch.autograd.grad(Reversed.apply(x).sum(), x)[0], -torch.ones(3, 2))


def test_fdmers_terms_and_their_weights() -> None:
    """Protects: four terms, each weighed by its setting, the task's by the chosen error."""
    batch = batch_of(build("fdmer"))
    for task, error in (("mse", torch.square), ("l1", torch.abs)):
        one = build("fdmer", task=task, adversary_weight=0.2, consistency_weight=0.3, disparity_weight=0.4).train()
        out = one(batch)
        terms = one.loss_terms(out, batch)
        torch.testing.assert_close(terms["task.output"][0], error(out.prediction[0, :, 0] - batch.labels[0]).mean())
        assert one.loss_weights() == {"task.output": 1.0, "adversary": 0.2, "consistency": 0.3, "disparity": 0.4}
        assert terms.keys() == one.loss_weights().keys()
        assert all(bool(x > 0) for x in terms.values())


@pytest.mark.parametrize("model", ["fdmer", "language"])
def test_the_side_of_the_padding_does_not_matter(model: str) -> None:
    """Protects: true steps are read wherever they lie, and padding is not: the text of a left-padded file counts."""
    one = build(model).eval()
    short, full = (padded(one, n, left=False) for n in ([6, 3, 1, 2], [6] * 4))
    with torch.no_grad():
        right, whole = (one(b).prediction for b in (short, full))
        left = one(padded(one, [6, 3, 1, 2], left=True)).prediction
    if model == "language":
        torch.testing.assert_close(right, left, rtol=0, atol=1e-6)
    assert torch.equal(right[:, 0], whole[:, 0])
    assert (right[:, 1:] - whole[:, 1:]).abs().min() > 1e-6


def test_language_reads_no_voice_and_no_face() -> None:
    """Protects: other audio and vision leave every prediction what it was, bit for bit; other text does not."""
    for reader in ("lstm", "mean"):
        one = build("language", reader=reader).eval()
        batch = batch_of(one)
        mixed = replace(batch, inputs={**batch.inputs, "a": batch.inputs["a"] + 1, "v": -batch.inputs["v"]})
        other = replace(batch, inputs={**batch.inputs, "l": batch.inputs["l"] + 1})
        first, second, third = (one(b).prediction for b in (batch, mixed, other))
        assert torch.equal(first, second)
        assert not torch.equal(first, third)


# ---- on token ids, and behind a run


def aligned_tokens() -> Features:
    """Return aligned clips whose text is token ids."""
    whole, splits = token_features(), {}
    for name, part in whole.splits.items():
        splits[name] = feature_set(
            ids=part.ids, language=part.language, acoustic=part.acoustic[:, :7], visual=part.visual[:, :7],
            labels=part.labels, aligned=True,
        )  # fmt: skip
    return features("tokens", "mosi", splits, text="bert", standing="partial")


@pytest.mark.parametrize("model", ["fdmer", "language"])
def test_behind_bert(model: str, tmp_path: Path) -> None:
    """Protects: token ids go through a BERT that is trained along; padded pieces are not read; a resume ends alike."""
    folder, data = write_bert(tmp_path / "bert"), aligned_tokens()
    quick = {"batch_size": 6, "max_epochs": 2} | ({"d": 8, "heads": 2, "layers": 1} if model == "fdmer" else {})
    spec = resolve_spec(model, seed=1, features=data, overrides=quick, bert=load_bert(folder).fingerprint)
    if model == "language":
        assert (spec.config["reader"], spec.config["learning_rate"]) == ("mean", 5e-5)
    run = Execution(bert=folder)
    whole = fit(spec, data, Records(tmp_path / "whole"), execution=run)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(spec, data, Records(tmp_path / "cut"), execution=run, on_epoch=stop)
    resumed = fit(spec, data, Records(tmp_path / "cut"), execution=run)
    for name in ("predictions.safetensors", "checkpoint.safetensors"):
        assert (whole.path / name).read_bytes() == (resumed.path / name).read_bytes()
    checkpoint = open_checkpoint(whole.run_id, Records(tmp_path / "whole"))
    test = data.splits["test"]
    text = test.language.copy()
    text[:, 0] = np.where(text[:, 1] == 0, 7, text[:, 0])  # other ids where the mask says padding
    parts = {"ids": test.ids, "acoustic": test.acoustic, "visual": test.visual, "labels": test.labels, "aligned": True}
    other = features("other", "mosi", {**data.splits, "test": feature_set(language=text, **parts)}, text="bert", standing="partial")  # type: ignore[arg-type] # fmt: skip # noqa: E501
    first, second = (
        evaluate_checkpoint(checkpoint, d, "test", execution=run).predictions.y_pred for d in (data, other)
    )
    assert np.array_equal(first, whole.predictions("test").y_pred)
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-6)


@pytest.mark.parametrize("model", ["pmr", "fdmer", "language"])
def test_there_are_no_authors_names_to_export_to(model: str, tmp_path: Path) -> None:
    """Protects: a reconstruction never passes for its authors' checkpoint; its run evaluates to the recorded bits."""
    data = few()
    record = fit(resolve_spec(model, seed=1, features=data, overrides={"max_epochs": 1}), data, Records(tmp_path), execution=Execution())  # fmt: skip # noqa: E501
    checkpoint = open_checkpoint(record.run_id, Records(tmp_path))
    with pytest.raises(SpecError, match=rf"whose reference's names are known \(.*\), got a run of {model}"):
        export_official(checkpoint, Execution())
    done = evaluate_checkpoint(checkpoint, data, "test", execution=Execution())
    assert np.array_equal(done.predictions.y_pred, record.predictions("test").y_pred)


def test_fdmer_reads_aligned_clips_alone() -> None:
    """Protects: unaligned features, which no printed row of it has, are refused in a sentence."""
    with pytest.raises(SpecError, match=r"fdmer.*aligned"):
        resolve_spec("fdmer", seed=1, features=few(aligned=False))
