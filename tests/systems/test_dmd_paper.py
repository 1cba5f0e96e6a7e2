"""Protocol `paper`: each term against a slow, literal transcription of its equation, and padding that is masked."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from dmd_repro.data.features import Features
from dmd_repro.errors import SpecError
from dmd_repro.nn import encoder
from dmd_repro.nn.attention import HIDDEN
from dmd_repro.nn.dropout import DropoutStream
from dmd_repro.nn.encoder import EncoderBank
from dmd_repro.nn.layers import Members, initialise
from dmd_repro.nn.padding import valid_steps
from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import AblationMask
from dmd_repro.systems import losses
from dmd_repro.systems.base import Batch
from dmd_repro.systems.dmd.config import PRESETS, DMDConfig, dmd_preset
from dmd_repro.systems.dmd.model import DMD
from dmd_repro.systems.dmd.switches import SWITCHES
from dmd_repro.systems.edges import EDGES
from dmd_repro.systems.graph import GraphUnit
from dmd_repro.training.feed import gather

CPU = torch.device("cpu")
RANDOM = np.random.Generator(np.random.PCG64(3))


def array(*shape: int) -> np.ndarray:
    """Return standard normal numbers, float64."""
    return RANDOM.standard_normal(shape)


def stacked(x: np.ndarray) -> torch.Tensor:
    """Add the axis of stacked seeds."""
    return torch.from_numpy(x)[None]


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    """The cosine of two vectors."""
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def test_defaults_are_the_authors_code() -> None:
    """Protects: the list of switches and the configuration say the same of what `official` does."""
    defaults = {f.name: f.default for f in fields(DMDConfig)}
    assert {s.name: s.official for s in SWITCHES} == {s.name: defaults[s.name] for s in SWITCHES}
    assert dmd_preset("mosi", "official") == PRESETS["mosi"]


def test_eq_2_and_3_are_frobenius_norms() -> None:
    """Protects: ||X - D([com, prt])||_F^2 of each clip, mean over clips."""
    x, y = array(4, 3, 5), array(4, 3, 5)
    literal = np.mean([sum((x[n, t, c] - y[n, t, c]) ** 2 for t in range(3) for c in range(5)) for n in range(4)])
    assert losses.squared_error(stacked(x), stacked(y), "sum").item() == pytest.approx(literal, rel=1e-12)


def test_eq_4_is_a_mean_over_triples_of_class_and_modality() -> None:
    """Protects: i, j same class and other modality; i, k same modality and other class; constant margin."""
    rows, classes, modalities = array(9, 4), np.array([0.0, 1, 1] * 3), np.repeat([0, 1, 2], 3)
    values = [
        max(0.0, 0.2 - cosine(rows[i], rows[j]) + cosine(rows[i], rows[k]))
        for i in range(9)
        for j in range(9)
        for k in range(9)
        if classes[i] == classes[j] and modalities[i] != modalities[j]
        and modalities[i] == modalities[k] and classes[i] != classes[k]
    ]  # fmt: skip
    ours = losses.margin_of_triples(stacked(rows), stacked(classes), torch.from_numpy(modalities), 0.2)
    assert ours.item() == pytest.approx(np.mean(values), rel=1e-6)
    tied = losses.margin_of_triples(stacked(rows), stacked(np.zeros(9)), torch.from_numpy(modalities), 0.2)
    assert tied.item() == 0


def test_eq_5_is_a_cosine_over_features_with_its_sign() -> None:
    """Protects: the angle between common and private of each clip and step; negative values count."""
    x, y = array(4, 3, 5), array(4, 3, 5)
    literal = np.mean([cosine(x[n, t], y[n, t]) for n in range(4) for t in range(3)])
    ours = losses.orthogonality(stacked(x), stacked(y), "feature", clamp=False)
    assert ours.item() == pytest.approx(literal, rel=1e-9)
    valid = np.array([[False, True, True]] * 4)
    literal = np.mean([cosine(x[n, t], y[n, t]) for n in range(4) for t in (1, 2)])
    ours = losses.orthogonality(stacked(x), stacked(y), "feature", clamp=False, valid=torch.from_numpy(valid)[None])
    assert ours.item() == pytest.approx(literal, rel=1e-9)


def test_eq_8_and_9_weigh_the_distance_of_logits() -> None:
    """Protects: w from g over [f(X), X] of both ends, a softmax over the sources of a target, then W * E summed."""
    unit = GraphUnit(
        "homo", 3, 64, stack=1, softmax_scale=1.0, softmax_over="per_target", project=False, prior="none"
    ).double()  # fmt: skip
    g = array(1, 8)
    with torch.no_grad():
        unit.w_edge.weight.copy_(torch.from_numpy(g)[None, None])
        unit.w_edge.bias.fill_(0.3)
    logits, features = {m: array(5, 1) for m in MODALITIES}, {m: array(5, 3) for m in MODALITIES}
    expected, weights = 0.0, {}
    for n in range(5):
        for target in MODALITIES:
            sources = [m for m in MODALITIES if m != target]
            ends = {
                m: np.concatenate([logits[target][n], features[target][n], logits[m][n], features[m][n]])
                for m in sources
            }
            scores = np.array([g[0] @ ends[m] + 0.3 for m in sources])
            shares = np.exp(scores) / np.exp(scores).sum()
            for m, w in zip(sources, shares, strict=True):
                weights[target, m, n] = w
                expected += w * abs(logits[target][n, 0] - logits[m][n, 0]) / 5
    ours, _ = unit({m: stacked(x) for m, x in logits.items()}, {m: stacked(x) for m, x in features.items()})
    for e, (student, teacher) in enumerate(EDGES):
        literal = [weights[student, teacher, n] for n in range(5)]
        assert np.allclose(ours[0, e].detach().numpy(), literal)
    loss = losses.distil_logits({m: stacked(x) for m, x in logits.items()}, ours, unit.prior, EDGES)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_eq_10_is_attention_without_a_mask() -> None:
    """Protects: softmax(Q K^T / sqrt(d_head)) V over every valid key, none hidden but padding."""
    still = dict.fromkeys(("embed_dropout", "relu_dropout", "res_dropout"), 0.0)
    bank = EncoderBank(["e"], 4, 1, 1, rates=[0.0], causal=False, stream=DropoutStream([0]), **still).double()
    initialise(bank, (0,))
    block = bank.blocks[0]
    q, k = array(3, 4), array(5, 4)
    hidden = np.array([True, False, False, False, True])
    weight, bias = block.in_proj.weight[0, 0].detach().numpy(), block.in_proj.bias[0, 0].detach().numpy()
    Q, K, V = (x @ weight[4 * i : 4 * i + 4].T + bias[4 * i : 4 * i + 4] for i, x in enumerate((q, k, k)))
    literal = np.zeros((3, 4))
    for i in range(3):
        scores = np.array([Q[i] @ K[j] / 2.0 for j in range(5) if not hidden[j]])
        shares = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        literal[i] = shares @ V[~hidden]
    keys, out, one = stacked(k)[None], block.out_proj, Members((0,), {})
    ours = out(
        block._attend(
            stacked(q)[None], (keys, keys), block.maps(one), one, None, torch.from_numpy(hidden * HIDDEN)[None, None]
        )
    )
    ours = ours[0, 0].detach().numpy()
    literal = literal @ out.weight[0, 0].detach().numpy().T + out.bias[0, 0].detach().numpy()
    assert np.allclose(ours, literal, atol=1e-9)


def test_eq_6_and_11_weigh_the_terms(toy: Features) -> None:
    """Protects: L_task + 0.1 (L_rec + L_cyc + 0.1 (L_mar + L_ort)) + 0.05 (L_homo + L_hetero), and nothing else."""
    model, batch = paper_model(toy)
    terms = model.train().loss_terms(model(batch), batch)
    weights = {"task": 1.0, "rec": 0.1, "cyc": 0.1, "mar": 0.01, "ort": 0.01, "dtl_homo": 0.05, "dtl_hetero": 0.05}
    assert {name.partition(".")[0] for name in terms} == set(weights)
    assert [n for n in terms if n.startswith(("task", "dtl"))] == ["task.output", "dtl_homo.logit", "dtl_hetero.logit"]
    literal = sum(weights[name.partition(".")[0]] * value.item() for name, value in terms.items())
    assert losses.total(terms, model.loss_weights()).item() == pytest.approx(literal, rel=1e-6)


def paper_model(features: Features, **changes: object) -> tuple[DMD, Batch]:
    """Return a small model of protocol `paper`, without dropout, and a batch."""
    quiet = dict.fromkeys(("text_dropout", "output_dropout", "attn_dropout", "attn_dropout_a"), 0.0)
    config = replace(dmd_preset("synthetic", "paper"), **{**quiet, **changes})  # type: ignore[arg-type]
    model = DMD(config, dims=features.dims, steps=features.steps, seeds=(1,))
    return model, gather(features.splits["train"], np.arange(6, dtype=np.int64)[None], CPU)


@pytest.mark.parametrize("side", ["left", "right"])
def test_masked_padding_changes_nothing(toy: Features, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: zero steps added at either end move no loss term and no prediction (positions left out)."""
    monkeypatch.setattr(encoder, "position_table", lambda steps, width, dtype, device: torch.zeros(steps, width))
    model, batch = paper_model(toy, conv_padding="valid", kernel_l=1, kernel_a=1, kernel_v=1, margin_space="pooled",
                               heads_supervised=False)  # fmt: skip
    without_graph = AblationMask(("homogd", "heterogd"))  # the homo head reads a flattened sequence: its width is T'
    extra = dict.fromkeys(MODALITIES, (0, 0, 3, 0) if side == "left" else (0, 0, 0, 3))
    longer = Batch({m: torch.nn.functional.pad(x, extra[m]) for m, x in batch.inputs.items()}, batch.labels)
    found = []
    for b in (batch, longer):
        steps = {m: x.shape[2] for m, x in b.inputs.items()}
        built = DMD(model.config, dims=toy.dims, steps=steps, mask=without_graph, seeds=(1,)).train()
        out = built(b)
        found.append({"y": out.prediction, **built.loss_terms(out, b)})
    for name in found[0]:
        assert torch.allclose(found[0][name], found[1][name], atol=1e-5), name


def test_padding_is_told_from_the_features() -> None:
    """Protects: zeros at either end are padding, a zero step between two others is not, a clip is never empty."""
    x = torch.tensor([[0, 0, 1, 0, 2, 0], [1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])[None, :, :, None]
    expected = [[0, 0, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]]
    assert valid_steps(x)[0].int().tolist() == expected


@pytest.mark.parametrize("part", [(), ("fd",), ("homogd",), ("ca",), ("heterogd",), ("ca", "fd", "heterogd", "homogd")])
def test_every_mask_trains_under_the_paper(toy: Features, part: tuple[str, ...]) -> None:
    """Protects: parts and protocol are independent choices; gradients stay finite with masked, unequal lengths."""
    model, batch = paper_model(toy)
    model = DMD(model.config, dims=toy.dims, steps=toy.steps, mask=AblationMask(part), seeds=(1,)).train()
    losses.total(model.loss_terms(model(batch), batch), model.loss_weights()).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_one_modality_alone(toy: Features) -> None:
    """Protects: Table 4's second reading: nothing of the other two enters, and what joins them must be off."""
    config = replace(PRESETS["synthetic"], modalities="a")
    with pytest.raises(SpecError, match="ca, heterogd, homogd"):
        DMD(config, dims=toy.dims, steps=toy.steps, seeds=(1,))
    alone = DMD(
        config, dims=toy.dims, steps=toy.steps, mask=AblationMask(("ca", "heterogd", "homogd")), seeds=(1,)
    ).eval()
    batch = gather(toy.splits["train"], np.arange(6, dtype=np.int64)[None], CPU)
    blind = Batch({m: x if m == "a" else torch.zeros_like(x) for m, x in batch.inputs.items()}, batch.labels)
    assert torch.equal(alone(batch).prediction, alone(blind).prediction)
    assert sorted(alone(batch).heads) == ["a_hetero", "a_homo", "c"]
