"""MISA beside the reference's arrays: on given hidden states, behind a BERT with frozen layers, and MMSA's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dmd_repro.nn.bert import Bert
from dmd_repro.nn.dropout import DropoutStream
from dmd_repro.systems.bert_text import BertText
from dmd_repro.systems.misa.net import TwoSpaces, difference, moment_discrepancy, summed, terms
from parity.loading import Computed, arrays, state
from parity.two_spaces_loop import Trained

FILES = ("systems/misa", "systems/misa_bert", "systems/misa_mmsa")
NOT_COMPARED = {
    "state/*": "given to both implementations",
    "pert/*": "given to both implementations",
    "pool/*": "given to both implementations",
    "input/index": "given to both implementations",
    "unit/*/x": "given to both implementations",
    "unit/*/y": "given to both implementations",
    "traj/batch_index*": "given to both implementations",
    "traj/step_after_batch": "given to both implementations",
    "config_json": "a note on what computed the file",
    "adv/state/*": "given to both implementations",
}
BETWEEN = {f"utterance_{m}": f"utterance_{m}" for m in "tva"} | {
    "fusion_in": "fused", "fusion_hidden_preact": "fusion_hidden",
    **{f"utt_{m}_{k}": f"{k}_{m}" for m in "tva" for k in ("orig", "recon")},
    **{f"utt_{k}_{m}": f"{k}_{m}" for m in "tva" for k in ("private", "shared")},
}  # fmt: skip
SHARP_BASE = (2e-3, 5e-5)  # of a parameter's norm after training from the initial weights: Adam on gradients near zero


class _Net(nn.Module):
    """The net, and its BERT where the file has one, under the file's names."""

    def __init__(self, settings: dict[str, Any], hidden: int, v: int, a: int, *, mmsa: bool, adversarial: bool) -> None:
        super().__init__()
        self.text: BertText | None = None
        b = settings["bert"]
        if isinstance(b, dict):
            from transformers import BertConfig, BertModel

            config = BertConfig(
                vocab_size=b["vocab"], hidden_size=b["hidden"], num_hidden_layers=b["layers"],
                num_attention_heads=b["heads"], intermediate_size=b["intermediate"],
                max_position_embeddings=b["max_pos"], type_vocab_size=b["type_vocab"], layer_norm_eps=b["ln_eps"],
                hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            )  # fmt: skip
            self.text = BertText(Bert(BertModel(config), ""), DropoutStream((0,)))
        self.net = TwoSpaces(
            {"t": hidden, "v": v, "a": a}, settings["hidden_size"], 0.0, unused_norm=1536 if mmsa else 600,
            orthogonal=not mmsa, adversarial=adversarial,
        )  # fmt: skip
        self.prefix = "bertmodel.model." if mmsa else "bertmodel."

    def named(self) -> dict[str, nn.Parameter]:
        """Return every parameter by the file's name, BERT first, as the reference lists them."""
        inside = {} if self.text is None else dict(self.text.model.named_parameters())
        return {f"{self.prefix}{n}": p for n, p in inside.items()} | dict(self.net.named_parameters())


class _Run:
    """One variant in one precision."""

    def __init__(self, name: str, variant: str, dtype: torch.dtype) -> None:
        self.reference, self.name, self.variant, self.dtype = arrays(name), name, variant, dtype
        self.settings, self.mmsa = json.loads(str(self.reference["config_json"])), name.endswith("mmsa")
        self.weights = {"diff": self.settings["diff_weight"], "cmd": self.settings["sim_weight"]}
        self.weights |= {"recon": self.settings["recon_weight"], "domain": self.settings["sim_weight"]}

    def build(self, *, adversarial: bool = False) -> _Net:
        """Return the net with the variant's weights, without dropout."""
        z = self.reference
        v, a = (z[f"pool/{n}"].shape[2] for n in (("vision", "audio") if self.mmsa else ("visual", "acoustic")))
        net = _Net(
            self.settings, z["state/project_t.project_t.weight"].shape[1], v, a, mmsa=self.mmsa, adversarial=adversarial
        )
        values = state(z, self.variant)
        if adversarial:
            begin = "adv/state/"
            values |= {k.removeprefix(begin): x.astype(np.float32) for k, x in z.items() if k.startswith(begin)}
        with torch.no_grad():
            for name, p in net.named().items():
                p.copy_(torch.from_numpy(values.pop(name)))
        assert not values
        frozen = [f"bertmodel.encoder.layer.{i}.*" for i in range(9)] if self.name.endswith("bert") else []
        for name, p in net.named().items():
            if any(fnmatchcase(name, pattern) for pattern in frozen):
                p.requires_grad_(False)
        return net.to(self.dtype).eval()  # no dropout; every gradient is the same as in training

    def run(self, net: _Net, index: np.ndarray) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return what the net says and what lies between, and every part of the loss."""

        def take(name: str) -> Tensor:
            x = torch.from_numpy(self.reference[f"pool/{name}"][index].astype(np.float64))
            return x.to(self.dtype)

        if self.mmsa:
            tokens, visual, acoustic = take("text").long(), take("vision"), take("audio")
            mask = tokens[:, 1]
            count = mask.sum(1)
        else:
            mask, count = take("bert_mask").long(), take("lengths").long()
            visual, acoustic, tokens = take("visual"), take("acoustic"), torch.empty(0)
            if net.text is not None:
                tokens = torch.stack([take("bert_ids").long(), mask, take("bert_types").long()], dim=1)
        hidden = take("bert_hidden") if net.text is None else net.text(tokens)
        said, between = net.net(hidden, mask, visual, acoustic, count, count)
        parts = terms(between)
        found = {"cls": (said[:, 0] - take("labels").flatten()).square().mean(), **parts, **summed(parts)}
        found["total"] = found["cls"].clone()
        for name, weight in self.weights.items():
            found["total"] = found["total"] + weight * found[name] if name in found else found["total"]
        return {"output": said, "bert_last_hidden": hidden, **between}, found

    def found(self) -> Iterator[tuple[str, Any, float, float]]:
        """Yield (key without variant and precision, ours, relative and absolute tolerance)."""
        fine = self.dtype == torch.float64
        tight = (lambda r, a: (1e-8, 1e-9)) if fine else (lambda r, a: (r, a))
        net = self.build()
        between, parts = self.run(net, self.reference["input/index"])
        parts["total"].backward()
        for theirs, ours in {**BETWEEN, "output": "output", "bert_last_hidden": "bert_last_hidden"}.items():
            yield f"res/{theirs}", between[ours], *tight(0, 1e-5)
        yield "res/output_nograd_fused", between["output"], *tight(0, 1e-5)
        for theirs, ours in (("fusion_tokens_in", "tokens_in"), ("fusion_tokens_out", "tokens_out")):
            yield f"res/{theirs}", between[ours].transpose(0, 1), *tight(0, 1e-5)
        for name, value in net.net.sources(between).items():
            yield f"res/shared_or_private_{name}", value, *tight(0, 1e-5)
        for name, value in parts.items():
            yield f"loss/{name}", value, *tight(1e-5, 0)
        named = net.named()
        yield "grad/names", np.array(list(named)), 0, 0
        used = [not n.startswith(("tlayer_norm.", "sp_discriminator.")) for n in named]  # theirs are told to train
        trains = [p.requires_grad or not u for p, u in zip(named.values(), used, strict=True)]
        yield "grad/requires_grad", np.array(trains), 0, 0
        yield "grad/is_none", np.array([p.grad is None for p in named.values()]), 0, 0
        nan = torch.full((1,), torch.nan, dtype=self.dtype)
        flat = [nan if p.grad is None else p.grad.flatten() for p in named.values()]
        yield "grad/norm", [float(g.norm()) for g in flat], *tight(1e-4, 1e-6)
        # in front of a LayerNorm a sum cancels to nothing: what is left is rounding of all that went into it
        rounding = np.array([2e-5 + 1e-7 * float(g.norm()) * len(g) ** 0.5 for g in flat])
        yield "grad/sum", [float(g.sum()) for g in flat], *tight(1e-4, rounding)
        yield "grad/absmax", [float(g.abs().max()) for g in flat], *tight(1e-4, 1e-6)
        clipped = [g.clamp(-1.0, 1.0) for g in flat]
        yield "grad/norm_clipped", [float(g.norm()) for g in clipped], *tight(1e-4, 1e-6)
        yield "grad/n_clipped", [int((g.abs() > 1.0).sum()) for g in flat], 0, 0
        places = [np.linspace(0, len(g) - 1, 8).astype(np.int64) for g in flat]
        yield "grad/sample8", torch.stack([g[i] for g, i in zip(flat, places, strict=True)]), *tight(1e-4, 2e-6)
        if "adv/grad/names" in self.reference:
            yield from self.adversarial(tight)
        for key, value, *tolerance in self.trajectory():
            yield f"traj/{key}", value, *(tight(*tolerance) if key != "param_norm_final" else tolerance)

    def adversarial(self, tight: Any) -> Iterator[tuple[str, Any, float, float]]:
        """Yield what a discriminator in the place of CMD makes of one batch."""
        net = self.build(adversarial=True)
        between, parts = self.run(net, self.reference["input/index"])
        parts["total"].backward()
        for m in "tva":
            yield f"adv/res/domain_label_{m}", between[f"domain_{m}"], *tight(0, 1e-5)
        for name in ("domain", "total"):
            yield f"adv/loss/{name}", parts[name], *tight(1e-5, 0)
        named = net.named()
        yield "adv/grad/names", np.array(list(named)), 0, 0
        norms = [float("nan") if p.grad is None else float(p.grad.norm()) for p in named.values()]
        yield "adv/grad/norm", norms, *tight(1e-4, 1e-6)

    def trajectory(self) -> Iterator[tuple[str, Any, float, float]]:
        """Yield the keys of ten batches (MMSA: eleven, of which the last never steps) through our own loop."""
        start, z = self.build(), self.reference
        fine = self.dtype == torch.float64
        bert = None if start.text is None else start.text.base
        trained = Trained(
            z, {n: p.detach() for n, p in start.named().items()}, self.settings, bert,
            frozen=9 if self.name.endswith("bert") else 0, mmsa=self.mmsa, double=fine,
        )  # fmt: skip
        yield "loss_names", np.array(["cls", "diff", "cmd", "recon", "total"]), 0, 0
        yield "loss", np.array(trained.rows), 1e-5, 0
        yield "accum_grad_norm", trained.norms, 1e-4, 1e-6
        named = trained.parameters()
        ours = np.array([float(named[n].detach().norm()) for n in start.named()])
        noise = np.array([n.endswith("key.bias") for n in start.named()])  # no gradient in exact arithmetic: Adam's
        theirs = z[f"{self.variant}traj/param_norm_final{'64' if fine else ''}"]
        yield "param_norm_final", np.where(noise, theirs, ours), *((1e-4, 1e-6) if self.variant else SHARP_BASE)
        yield "eval_after", trained.predict(z["input/index"]), 0, 1e-5 if self.variant else 1e-4


def _units(name: str) -> Computed:
    found: Computed = {}
    for kind, function in (("diff", difference), ("cmd", moment_discrepancy)):
        for n in (1, 2, 5):
            key = f"unit/{kind}/n{n}"
            if f"{key}/x" not in arrays(name):
                continue
            dtype = torch.from_numpy(arrays(name)[f"{key}/gx"]).dtype
            x, y = (torch.from_numpy(arrays(name)[f"{key}/{k}"]).to(dtype).requires_grad_() for k in "xy")
            loss = function(x, y)
            loss.backward()
            for part, value in (("loss", loss.detach()), ("gx", x.grad), ("gy", y.grad)):
                found[f"{key}/{part}"] = (value.numpy(), 1e-5, 1e-6)
    return found


@cache
def computed(name: str) -> Computed:
    """Return every key of a file as we compute it, with its tolerances."""
    found: Computed = {}
    for variant in ("", "p/"):
        for dtype in (torch.float32, torch.float64):
            for key, value, rtol, atol in _Run(name, variant, dtype).found():
                ours = value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
                found[f"{variant}{_named(key, dtype)}"] = (ours, rtol, atol)
    return {k: v for k, v in found.items() if k in arrays(name)} | _units(name)


def _named(key: str, dtype: torch.dtype) -> str:
    if dtype == torch.float32:
        return key
    begin = "adv/" if key.startswith("adv/") else ""
    head, _, rest = key.removeprefix(begin).partition("/")
    return f"{begin}{head}64/{rest}" if head in ("res", "loss") else f"{key}64"
