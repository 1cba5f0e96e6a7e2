"""MISA's net: a private and a shared code of each modality, six tokens through one transformer layer, two linear maps.

Source: declare-lab/MISA at ec42fad (src/models.py), whose parameter names are kept; the same net in thuiar/MMSA. Both
count in the order text, visual, acoustic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmd_repro.nn.recurrent import bilstm_over

MODALITIES = ("t", "v", "a")
HEADS, FEED = 2, 2048  # of the transformer layer: the second is torch's default
LAYER_DROPOUT = 0.1  # torch's default, which no setting of theirs reaches


class BiLSTM(nn.LSTM):
    """One bidirectional layer; `orthogonal`: its recurrent weights start so, over all four gates together."""

    orthogonal = False

    def reset_parameters(self) -> None:
        """Draw as torch does, then the recurrent weights again (src/solver.py)."""
        super().reset_parameters()
        if self.orthogonal:
            for name, p in self.named_parameters():
                if name.startswith("weight_hh"):
                    nn.init.orthogonal_(p)


class TokenLayer(nn.Module):
    """torch's TransformerEncoderLayer, post-norm, with every dropout a module: (N, 6, d) -> (N, 6, d)."""

    def __init__(self, d: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(d, HEADS, dropout=0.0)
        self.linear1, self.linear2 = nn.Linear(d, FEED), nn.Linear(FEED, d)
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.drop_weights, self.drop_attended, self.drop_hidden, self.drop_fed = (nn.Dropout(dropout) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Attend, feed forward, each added to its input and normed."""
        n, t, d = x.shape
        attention = self.self_attn
        q, k, v = (
            part.view(n, t, HEADS, d // HEADS).transpose(1, 2)
            for part in F.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=2)
        )
        weights = torch.softmax(q @ k.transpose(2, 3) * (d // HEADS) ** -0.5, dim=-1)
        attended = (self.drop_weights(weights) @ v).transpose(1, 2).reshape(n, t, d)
        x = self.norm1(x + self.drop_attended(attention.out_proj(attended)))
        fed = self.linear2(self.drop_hidden(torch.relu(self.linear1(x))))
        out: Tensor = self.norm2(x + self.drop_fed(fed))
        return out


def _named(**parts: nn.Module) -> nn.ModuleDict:
    return nn.ModuleDict(parts)


class TwoSpaces(nn.Module):
    """The net behind the text encoder. `tlayer_norm` and `sp_discriminator` are in the reference and train never."""

    def __init__(
        self,
        dims: Mapping[str, int],
        d: int,
        dropout: float,
        *,
        unused_norm: int,
        orthogonal: bool,
        adversarial: bool = False,
    ) -> None:
        """`dims`: width of the hidden states of t, of v and of a. `adversarial`: a discriminator instead of CMD."""
        super().__init__()
        for m in ("v", "a"):
            for layer, width in ((1, dims[m]), (2, 2 * dims[m])):
                lstm = BiLSTM(width, dims[m], batch_first=True, bidirectional=True)
                lstm.orthogonal = orthogonal
                self.add_module(f"{m}rnn{layer}", lstm)
        for m in MODALITIES:
            width = dims[m] if m == "t" else 4 * dims[m]
            norm = {f"project_{m}": nn.Linear(width, d), f"project_{m}_layer_norm": nn.LayerNorm(d)}
            self.add_module(f"project_{m}", _named(**norm))
        for m in MODALITIES:
            self.add_module(f"private_{m}", _named(**{f"private_{m}_{3 if m == 'a' else 1}": nn.Linear(d, d)}))
        self.shared = _named(shared_1=nn.Linear(d, d))
        for m in MODALITIES:
            self.add_module(f"recon_{m}", _named(**{f"recon_{m}_1": nn.Linear(d, d)}))
        self.adversarial = adversarial
        if adversarial:
            self.discriminator = _named(discriminator_layer_1=nn.Linear(d, d), discriminator_layer_2=nn.Linear(d, 3))
            self.drop_judged = nn.Dropout(dropout)
        self.sp_discriminator = _named(sp_discriminator_layer_1=nn.Linear(d, 4))
        self.fusion = _named(fusion_layer_1=nn.Linear(6 * d, 3 * d), fusion_layer_3=nn.Linear(3 * d, 1))
        self.tlayer_norm = nn.LayerNorm(unused_norm)
        self.vlayer_norm, self.alayer_norm = nn.LayerNorm(2 * dims["v"]), nn.LayerNorm(2 * dims["a"])
        self.transformer_encoder = _named(layers=nn.ModuleList([TokenLayer(d, LAYER_DROPOUT)]))
        self.drop_fused = nn.Dropout(dropout)
        for part in (self.sp_discriminator, self.tlayer_norm):
            part.requires_grad_(False)

    def forward(
        self, hidden: Tensor, mask: Tensor, visual: Tensor, acoustic: Tensor, count_v: Tensor, count_a: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the prediction (N, 1) and what lies between.

        `hidden` (N, L, D_t) with `mask` (N, L), 1 where a piece is; `visual` and `acoustic` (N, T, D), of which the
        first `count_v` and `count_a` (N,) steps are read.
        """
        weights = mask.to(hidden.dtype).unsqueeze(2)
        said = {"t": (hidden * weights).sum(1) / weights.sum(1)}
        for m, x, count in (("v", visual, count_v), ("a", acoustic, count_a)):
            said[m] = self._utterance(m, x, count)
        between = {f"utterance_{m}": x for m, x in said.items()}
        for m in MODALITIES:
            project = getattr(self, f"project_{m}")
            code = project[f"project_{m}_layer_norm"](torch.relu(project[f"project_{m}"](said[m])))
            private = torch.sigmoid(next(iter(getattr(self, f"private_{m}").values()))(code))
            shared = torch.sigmoid(self.shared["shared_1"](code))
            again = getattr(self, f"recon_{m}")[f"recon_{m}_1"](private + shared)
            between |= {f"orig_{m}": code, f"private_{m}": private, f"shared_{m}": shared, f"recon_{m}": again}
            if self.adversarial:
                between[f"domain_{m}"] = self._domain(shared)
        tokens = torch.stack([between[f"{kind}_{m}"] for kind in ("private", "shared") for m in MODALITIES], dim=1)
        told = self.transformer_encoder["layers"][0](tokens)  # type: ignore[index]
        fused = told.flatten(1)
        before = self.fusion["fusion_layer_1"](fused)
        out = self.fusion["fusion_layer_3"](torch.relu(self.drop_fused(before)))
        return out, between | {"tokens_in": tokens, "tokens_out": told, "fused": fused, "fusion_hidden": before}

    def _domain(self, shared: Tensor) -> Tensor:
        """(N, d) -> (N, 3): of which modality a shared code is. Its gradient is reversed on the way to the code."""
        reversed_ = 2 * shared.detach() - shared
        hidden = torch.relu(self.discriminator["discriminator_layer_1"](reversed_))
        scores: Tensor = self.discriminator["discriminator_layer_2"](self.drop_judged(hidden))
        return scores

    def _utterance(self, m: str, x: Tensor, count: Tensor) -> Tensor:
        """(N, T, D) -> (N, 4D): the last states of both layers forward, then of both backward."""
        states, forth_1, back_1 = bilstm_over(getattr(self, f"{m}rnn1"), x, count)
        _, forth_2, back_2 = bilstm_over(getattr(self, f"{m}rnn2"), getattr(self, f"{m}layer_norm")(states), count)
        return torch.cat([forth_1, forth_2, back_1, back_2], dim=1)

    def sources(self, between: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the unused discriminator's scores of the private codes and of the mean shared one, each (N, 4)."""
        mean = torch.stack([between[f"shared_{m}"] for m in MODALITIES]).mean(0)
        judge = self.sp_discriminator["sp_discriminator_layer_1"]
        return {**{f"p_{m}": judge(between[f"private_{m}"]) for m in MODALITIES}, "s": judge(mean)}


def difference(x: Tensor, y: Tensor) -> Tensor:
    """(N, d), (N, d) -> (): how far two sets of codes are from orthogonal, a mean over the d x d products.

    Columns are centred, rows divided by their detached norm + 1e-6 (src/utils/functions.py, DiffLoss).
    """

    def scaled(z: Tensor) -> Tensor:
        z = z - z.mean(0, keepdim=True)
        return z / (z.norm(dim=1, keepdim=True).detach() + 1e-6)

    return (scaled(x).T @ scaled(y)).square().mean()


def moment_discrepancy(x: Tensor, y: Tensor, epsilon: float = 0.0) -> Tensor:
    """(N, d), (N, d) -> (): the distance of the means and of the central moments 2 to 5 (CMD).

    A distance is the root of a sum of squares, to which `epsilon` is added: with 0, as in the reference, equal moments
    (a batch of one clip) have no derivative, and one such batch turns every weight into NaN.
    """

    def apart(a: Tensor, b: Tensor) -> Tensor:
        return ((a - b).square().sum() + epsilon).sqrt()

    mean_x, mean_y = x.mean(0), y.mean(0)
    centred_x, centred_y = x - mean_x, y - mean_y
    total = apart(mean_x, mean_y)
    for k in range(2, 6):
        total = total + apart((centred_x**k).mean(0), (centred_y**k).mean(0))
    return total


PAIRS = (("t", "v"), ("t", "a"), ("a", "v"))


def domain_loss(scores: Sequence[Tensor]) -> Tensor:
    """Scores (N, 3) of the shared codes of t, v and a -> (): the cross entropy of telling them apart."""
    told = torch.cat([torch.full((len(x),), i, device=x.device) for i, x in enumerate(scores)])
    return F.cross_entropy(torch.cat(list(scores)), told)


def terms(between: Mapping[str, Tensor], epsilon: float = 0.0) -> dict[str, Tensor]:
    """Return every part of the three terms beside the task: diff_* (summed), cmd_* and recon_* (averaged).

    Where a discriminator took the place of CMD, its `domain` stands for the cmd_*.
    """
    found = {f"diff_ps_{m}": difference(between[f"private_{m}"], between[f"shared_{m}"]) for m in MODALITIES}
    for x, y in (("a", "t"), ("a", "v"), ("t", "v")):
        found[f"diff_p_{x}{y}"] = difference(between[f"private_{x}"], between[f"private_{y}"])
    if "domain_t" in between:
        found["domain"] = domain_loss([between[f"domain_{m}"] for m in MODALITIES])
    else:
        for x, y in PAIRS:
            apart = moment_discrepancy(between[f"shared_{x}"], between[f"shared_{y}"], epsilon)
            found[f"cmd_{x}{y}"] = apart
    for m in MODALITIES:
        found[f"recon_{m}"] = F.mse_loss(between[f"recon_{m}"], between[f"orig_{m}"])
    return found


def summed(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return diff, cmd (or domain) and recon of their parts."""
    diff = torch.stack([x for n, x in parts.items() if n.startswith("diff")]).sum()
    recon = torch.stack([x for n, x in parts.items() if n.startswith("recon")]).mean()
    if "domain" in parts:
        return {"diff": diff, "domain": parts["domain"], "recon": recon}
    cmd = torch.stack([x for n, x in parts.items() if n.startswith("cmd")]).mean()
    return {"diff": diff, "cmd": cmd, "recon": recon}
