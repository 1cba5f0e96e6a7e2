"""Where padding is hidden, cutting it off changes nothing: not an output, not a loss, not a gradient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmd_repro.data.features import FeatureSet
from dmd_repro.data.store.digest import feature_set
from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import AblationMask
from dmd_repro.systems import losses
from dmd_repro.systems.dmd.config import dmd_preset
from dmd_repro.systems.dmd.model import DMD
from dmd_repro.training.feed import Feed, gather, predict, valid_spans

CPU = torch.device("cpu")
STEPS, DIMS = {"l": 9, "a": 14, "v": 17}, {"l": 6, "a": 5, "v": 4}
CLIPS = 5
QUIET = dict.fromkeys(("text_dropout", "output_dropout", "attn_dropout", "attn_dropout_a", "embed_dropout"), 0.0)


def padded(begins: dict[str, list[float]], ends: dict[str, list[float]]) -> FeatureSet:
    """Return clips that fill a share of their steps, zeros before and after."""
    draw = np.random.Generator(np.random.PCG64(5))
    arrays = {m: draw.standard_normal((CLIPS, STEPS[m], DIMS[m]), dtype=np.float32) for m in MODALITIES}
    for m, x in arrays.items():
        for clip in range(CLIPS):
            x[clip, : int(begins[m][clip] * STEPS[m])] = 0
            x[clip, STEPS[m] - int(ends[m][clip] * STEPS[m]) :] = 0
    return feature_set(
        ids=[f"v$_${i}" for i in range(CLIPS)], language=arrays["l"], acoustic=arrays["a"], visual=arrays["v"],
        lengths={m: np.full(CLIPS, STEPS[m]) for m in MODALITIES},
        labels=np.array([-2, 1.2, -2, 0, 1.2], np.float32), aligned=False,
    )  # fmt: skip


def model_of(protocol: str, **changes: object) -> DMD:
    """Return a small model without dropout that hides padding, in double precision."""
    settings_ = {**QUIET, "d": 8, "heads": 2, "layers": 2, "padding": "masked", **changes}
    config = replace(dmd_preset("synthetic", protocol), **settings_)  # type: ignore[arg-type]
    return DMD(config, dims=DIMS, steps=STEPS, mask=AblationMask(), seeds=(3,)).double().train()


def outcome(model: DMD, split: FeatureSet, cut: bool) -> dict[str, torch.Tensor]:
    """Return predictions, terms and gradients for all clips, cut to the longest or whole."""
    order = np.arange(CLIPS, dtype=np.int64)[None]
    batch = Feed({"": split}, model, CPU).batch("", order) if cut else gather(split, order, CPU)
    batch = replace(batch, inputs={m: x.double() for m, x in batch.inputs.items()}, labels=batch.labels.double())
    out = model(batch)
    terms = model.loss_terms(out, batch)
    model.zero_grad()
    losses.total(terms, model.loss_weights()).sum().backward()
    grads = {f"grad {n}": p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return {"y": out.prediction.detach(), **{k: v.detach() for k, v in {**out.heads, **terms}.items()}, **grads}


# a level per modality, so that one often begins long before another, and a spread within it
LEVEL = st.tuples(st.floats(0, 0.85), st.lists(st.floats(0, 0.1), min_size=CLIPS, max_size=CLIPS))
SHARES = st.fixed_dictionaries(dict.fromkeys(MODALITIES, LEVEL.map(lambda x: [x[0] + more for more in x[1]])))
NONE = {m: [0.0] * CLIPS for m in MODALITIES}


@pytest.mark.parametrize("protocol", ["official", "paper"])
@pytest.mark.parametrize("causal", [True, False])
@settings(max_examples=12, deadline=None)
@given(begins=SHARES, late=st.booleans())
def test_cutting_padding_changes_nothing(
    protocol: str, causal: bool, begins: dict[str, list[float]], late: bool
) -> None:
    """Protects: every output, loss and gradient for any padding, on either side, with the mask counting as before."""
    split = padded(NONE, begins) if late else padded(begins, NONE)
    model = model_of(protocol, causal_mask=causal)
    whole, cut = outcome(model, split, cut=False), outcome(model, split, cut=True)
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value, rtol=1e-7, atol=1e-9, msg=lambda text, n=name: f"{n}: {text}")


def test_padding_is_really_cut() -> None:
    """Protects: the saving itself: a batch is as long as its longest clip (and its convolution), not as the set."""
    short = padded({m: [0.8, 0.7, 0.8, 0.9, 0.8] for m in MODALITIES}, NONE)
    feed = Feed({"": short}, model_of("paper"), CPU)
    batch = feed.batch("", np.arange(CLIPS, dtype=np.int64)[None])
    assert {m: x.shape[2] for m, x in batch.inputs.items()} == {"l": 3, "a": 5, "v": 6}
    assert batch.first == {"l": 6, "a": 9, "v": 11}
    assert not Feed({"": short}, model_of("official", padding="zeros"), CPU).spans, "official: padding is data"


def test_evaluation_by_length_keeps_the_order_of_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: clips evaluated in order of length come back in the split's order, with the values of one batch."""
    from dmd_repro.training import feed as module

    split = padded({m: [0.1, 0.9, 0.3, 0.7, 0.5] for m in MODALITIES}, NONE)
    model = model_of("official").float().eval()
    together = predict(model, Feed({"": split}, model, CPU), "", 1)["y_pred"][0]
    monkeypatch.setattr(module, "EVALUATION_BATCH", 2)
    apart = predict(model, Feed({"": split}, model, CPU), "", 1)["y_pred"][0]
    with torch.no_grad():
        plain = model(gather(split, np.arange(CLIPS, dtype=np.int64)[None], CPU)).prediction[0, :, 0].numpy()
    assert np.allclose(together, plain, atol=1e-5)
    assert np.allclose(apart, plain, atol=1e-5)


def test_spans_agree_with_the_models_own_reading_of_padding() -> None:
    """Protects: the engine and the model call the same steps padding, clips of zeros alone included."""
    from dmd_repro.nn.padding import valid_steps

    x = padded({m: [0.0, 0.5, 0.9, 0.3, 0.2] for m in MODALITIES}, {m: [0.5, 0.0, 0.0, 0.3, 0.7] for m in MODALITIES})
    features = np.array(x.visual)
    features[3] = 0
    valid = valid_steps(torch.from_numpy(features)[None])[0].numpy()
    for clip, (first, past) in enumerate(valid_spans(features)):
        assert valid[clip].nonzero()[0][0] == first
        assert valid[clip].nonzero()[0][-1] + 1 == past
