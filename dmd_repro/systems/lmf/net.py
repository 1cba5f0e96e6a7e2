"""LMF: the tensor fusion of TFN with a weight of low rank, so that the outer product is never built.

Source: Justin1904/Low-rank-Multimodal-Fusion (model.py, class LMF); MMSA's net is the same.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dmd_repro.nn.recurrent import SubNet, TextSubNet, with_one


class LowRankFusion(nn.Module):
    """Three factors of `rank` a modality, multiplied element by element and weighed by learned weights."""

    def __init__(
        self, dims: Mapping[str, int], hidden: Mapping[str, int], text_out: int, rank: int, rates: Mapping[str, float]
    ) -> None:
        """`hidden` and `rates` by modality. No dropout acts behind the fusion: the reference builds one, uncalled."""
        super().__init__()
        self.audio_factor = nn.Parameter(torch.empty(rank, hidden["a"] + 1, 1))
        self.video_factor = nn.Parameter(torch.empty(rank, hidden["v"] + 1, 1))
        self.text_factor = nn.Parameter(torch.empty(rank, text_out + 1, 1))
        self.fusion_weights = nn.Parameter(torch.empty(1, rank))
        self.fusion_bias = nn.Parameter(torch.empty(1, 1))
        self.audio_subnet = SubNet(dims["a"], hidden["a"], rates["a"])
        self.video_subnet = SubNet(dims["v"], hidden["v"], rates["v"])
        self.text_subnet = TextSubNet(dims["l"], hidden["l"], text_out, rates["l"])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the factors and the fusion weights as the reference does: Xavier's normal, the bias 0."""
        for factor in (self.audio_factor, self.video_factor, self.text_factor, self.fusion_weights):
            nn.init.xavier_normal_(factor)
        nn.init.zeros_(self.fusion_bias)

    def forward(self, l: Tensor, a: Tensor, v: Tensor) -> tuple[Tensor, dict[str, Tensor]]:  # noqa: E741
        """(B, T, D_l), (B, D_a), (B, D_v) -> the prediction (B, 1), and what lies between by name."""
        z_a, z_v, z_t = self.audio_subnet(a), self.video_subnet(v), self.text_subnet(l)
        fused = with_one(z_a) @ self.audio_factor.squeeze(2).T  # (B, rank)
        fused = fused * (with_one(z_v) @ self.video_factor.squeeze(2).T)
        fused = fused * (with_one(z_t) @ self.text_factor.squeeze(2).T)
        said = fused @ self.fusion_weights.T + self.fusion_bias
        return said, {"a": z_a, "v": z_v, "l": z_t, "fused": fused}
