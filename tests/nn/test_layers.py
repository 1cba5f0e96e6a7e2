"""Initialisation, dropout and attention of the shared layers."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
import torch
from scipy import stats

from dmd_repro.nn import layers
from dmd_repro.nn.dropout import NOISE, Dropout, DropoutStream, draw_lanes
from dmd_repro.nn.encoder import EncoderBank, position_table
from dmd_repro.nn.layers import affine, initialise, named_slices, outer
from dmd_repro.systems.dmd.config import PRESETS
from dmd_repro.systems.dmd.model import DMD


@pytest.fixture(scope="module")
def slices() -> dict[str, torch.Tensor]:
    """Every parameter of a MOSI-sized DMD by the authors' name."""
    model = DMD(PRESETS["mosi"], dims={"l": 300, "a": 5, "v": 20}, steps={"l": 50, "a": 50, "v": 50}, seeds=(5,))
    return {name: p.detach()[0, e] for name, p, e in named_slices(model)}


def bound_of(name: str, p: torch.Tensor, slices: dict[str, torch.Tensor]) -> float | None:
    """Return the half-width of the uniform distribution the authors' code draws a parameter from; None: constant."""
    encoder = any(part in name for part in ("self_attentions", "trans_"))
    if encoder and name.endswith(("bias", "layer_norm.weight", "layer_norms.0.weight", "layer_norms.1.weight")):
        return None
    if encoder:  # xavier-uniform; the packed in_proj counts as ONE matrix of 3E x E
        return sqrt(6 / (p.shape[0] + p.shape[1]))
    weight = slices[name.removesuffix("bias").removesuffix("weight") + "weight"]
    return 1 / sqrt(weight[0].numel())  # PyTorch's default for Linear and Conv1d, biases too


def test_initial_parameters_follow_the_authors_distributions(slices: dict[str, torch.Tensor]) -> None:
    """Protects: bounds and shape of each initial distribution (Kolmogorov-Smirnov), tensor by tensor."""
    p_values = []
    for name, p in slices.items():
        bound = bound_of(name, p, slices)
        if bound is None:
            assert torch.all(p == (1.0 if name.endswith("weight") else 0.0)), name
            continue
        assert p.abs().max() <= bound, name
        if p.numel() >= 50:
            p_values.append(stats.kstest(p.flatten().numpy(), stats.uniform(-bound, 2 * bound).cdf).pvalue)
    assert len(p_values) > 200
    # independent tensors: their p-values are uniform themselves; a wrong bound would send them all to 0
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3
    assert min(p_values) > 1e-6


def test_initial_parameters_are_drawn_apart(slices: dict[str, torch.Tensor]) -> None:
    """Protects: no two tensors share a stream, or symmetric encoders would stay alike."""
    a, b = (slices[f"dmd/trans_l_with_{m}.layers.0.fc1.weight"] for m in "av")
    assert abs(np.corrcoef(a.flatten(), b.flatten())[0, 1]) < 0.05


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_dropout_has_its_rate_and_is_independent(rate: float) -> None:
    """Protects: the share dropped, the scale of what is kept, and no echo between lanes, draws or steps."""
    stream = DropoutStream([3])
    n = 400_000
    keep = stream.keep((n,), rate, torch.ones(1))[0]
    dropped = (keep == 0).double()
    assert abs(dropped.mean() - rate) < 5 * sqrt(rate * (1 - rate) / n)
    assert torch.all((keep == 0) | ((keep - 1 / (1 - rate)).abs() < 1e-6))
    for lag in (1, 2, 3, 4):
        assert abs(np.corrcoef(dropped[:-lag], dropped[lag:])[0, 1]) < 5 / sqrt(n)
    others = [stream.keep((n,), rate, torch.ones(1))[0] for _ in range(3)]
    stream.begin(1)
    others.append(stream.keep((n,), rate, torch.ones(1))[0])
    others.append(DropoutStream([4]).keep((n,), rate, torch.ones(1))[0])
    for other in others:
        for lag in (0, 1, 2):
            assert abs(np.corrcoef(dropped[: n - lag], (other == 0)[lag:])[0, 1]) < 5 / sqrt(n)


def test_the_lanes_of_a_draw_are_uniform() -> None:
    """Protects: the hash behind every mask: no bias in any 16-bit range, in either lane of a word, under any key."""
    for keys in torch.randint(-(2**31), 2**31, (20, 2), generator=torch.Generator().manual_seed(1), dtype=torch.int64):
        lanes = draw_lanes(keys.to(torch.int32), 2 * NOISE)
        for half in (lanes[::2], lanes[1::2]):
            counts = torch.bincount((half.long() + 32768) >> 8, minlength=256).double()
            spread = ((counts - NOISE / 256).square() / (NOISE / 256)).sum().item()  # chi-squared, 255 degrees
            assert 150 < spread < 400


def test_a_draw_longer_than_the_noise_repeats_nothing() -> None:
    """Protects: a tensor with more elements than there is noise is masked in pieces with keys of their own."""
    n = 4 * NOISE + 10
    lanes = DropoutStream([5]).lanes((n,))[0]
    assert lanes.shape == (n,)
    assert (lanes[: 2 * NOISE] == lanes[2 * NOISE : 4 * NOISE]).double().mean() < 1e-3


def test_dropout_restarts_with_the_epoch_and_leaves_the_global_generator_alone() -> None:
    """Protects: a resumed run draws what an uninterrupted one draws; nobody else's random numbers move."""
    stream = DropoutStream([9])
    layer = Dropout(0.5, stream).train()
    before = torch.random.get_rng_state()
    stream.restart([4], torch.device("cpu"))
    first = layer(torch.ones(1, 2, 50))
    layer(torch.ones(1, 2, 50))
    stream.restart([4], torch.device("cpu"))
    assert torch.equal(first, layer(torch.ones(1, 2, 50)))
    stream.restart([5], torch.device("cpu"))
    assert not torch.equal(first, layer(torch.ones(1, 2, 50)))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_bank_runs_unequal_lengths_as_each_encoder_alone() -> None:
    """Protects: running encoders of equal lengths together, others apart, changes nothing but the speed."""
    rates = dict.fromkeys(("embed_dropout", "relu_dropout", "res_dropout"), 0.0)
    make = {"rates": [0.0] * 3, "stream": DropoutStream([0]), **rates}
    names = ["p", "q", "r"]
    bank = EncoderBank(names, 12, 3, 2, **make)
    initialise(bank, (0,))
    steps = [(6, 6), (4, 9), (6, 6)]
    queries = [torch.randn(1, 2, t, 12, generator=torch.Generator().manual_seed(t)) for t, _ in steps]
    sources = [torch.randn(1, 2, t, 12, generator=torch.Generator().manual_seed(10 + t)) for _, t in steps]
    together = bank(queries, sources)
    last = bank(queries, sources, last_only=True)
    for e, name in enumerate(names):
        alone = EncoderBank([name], 12, 3, 2, **(make | {"rates": [0.0]}))
        initialise(alone, (0,))
        assert torch.allclose(alone([queries[e]], [sources[e]])[0], together[e], atol=1e-6)
        assert torch.allclose(together[e][:, :, -1], last[e], atol=1e-6), "the last step alone is the last of all steps"


def test_what_an_evaluation_made_first_serves_training() -> None:
    """Protects: tables kept for all models; made in an evaluation, they broke the first training behind it."""
    position_table.cache_clear()
    with torch.inference_mode():
        table = position_table(3, 4, torch.float32, torch.device("cpu"))
    weight = torch.ones(3, 4, requires_grad=True)
    (weight * table).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("maps", [1, 2, 3])
@pytest.mark.parametrize("threads", [1, 2])
def test_affine_and_its_gradients(maps: int, threads: int) -> None:
    """Protects: the linear maps and all their gradients, however the products are shared out among threads."""
    g = torch.Generator().manual_seed(maps)
    x, weight, bias, add = (
        torch.randn(*shape, generator=g, dtype=torch.float64, requires_grad=True)
        for shape in ((maps, 2, 4, 3), (maps, 5, 3), (maps, 5), (maps, 2, 4, 5))
    )
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.autograd.gradcheck(lambda *t: affine(*t, relu=True), (x, weight, bias))
        assert torch.autograd.gradcheck(lambda *t: affine(*t[:3], add=t[3]), (x, weight, bias, add))
        assert torch.autograd.gradcheck(lambda *t: affine(*t, None), (x, weight))
        literal = torch.einsum("gbti,goi->gbto", x, weight) + bias[:, None, None]
        torch.testing.assert_close(affine(x, weight, bias), literal)
    finally:
        torch.set_num_threads(before)


def test_a_sum_of_thousands_is_cut_on_a_gpu_and_stays_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: the gradient of a weight where a card adds it up in pieces."""
    grad, x = torch.randn(2, 2048, 3, dtype=torch.float64), torch.randn(2, 2048, 4, dtype=torch.float64)
    whole = outer(grad, x)
    monkeypatch.setattr(layers, "on_gpu", lambda x: True)
    torch.testing.assert_close(outer(grad, x), whole)
