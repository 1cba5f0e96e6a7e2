"""TFN: the outer product of three unimodal vectors, each with a 1 before it, and three linear maps on top.

Source: Justin1904/TensorFusionNetworks (model.py, class TFN; a port by Zhun Liu); MMSA's net is the same but for its
text dropout, which never acts there.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dmd_repro.nn.recurrent import SubNet, TextSubNet, with_one


class TensorFusion(nn.Module):
    """Acoustic and visual as one vector a clip, text as a sequence; the prediction lies in the range of the labels."""

    def __init__(
        self,
        dims: Mapping[str, int],
        hidden: Mapping[str, int],
        text_out: int,
        post: int,
        rates: Mapping[str, float],
        labels: tuple[float, float] = (-3.0, 3.0),
    ) -> None:
        """`hidden` and `rates` by modality; `rates["post"]` acts on the flattened product, its constant 1 included.

        `labels`: their range; the reference has -3 to 3.
        """
        super().__init__()
        low, high = labels
        self.output_range = nn.Parameter(torch.tensor([high - low]), requires_grad=False)
        self.output_shift = nn.Parameter(torch.tensor([low]), requires_grad=False)
        self.audio_subnet = SubNet(dims["a"], hidden["a"], rates["a"])
        self.video_subnet = SubNet(dims["v"], hidden["v"], rates["v"])
        self.text_subnet = TextSubNet(dims["l"], hidden["l"], text_out, rates["l"])
        self.post_fusion_dropout = nn.Dropout(rates["post"])
        joint = (hidden["a"] + 1) * (hidden["v"] + 1) * (text_out + 1)
        self.post_fusion_layer_1 = nn.Linear(joint, post)
        self.post_fusion_layer_2 = nn.Linear(post, post)
        self.post_fusion_layer_3 = nn.Linear(post, 1)

    def forward(self, l: Tensor, a: Tensor, v: Tensor) -> tuple[Tensor, dict[str, Tensor]]:  # noqa: E741
        """(B, T, D_l), (B, D_a), (B, D_v) -> the prediction (B, 1), and what lies between by name."""
        z_a, z_v, z_t = self.audio_subnet(a), self.video_subnet(v), self.text_subnet(l)
        pair = (with_one(z_a).unsqueeze(2) * with_one(z_v).unsqueeze(1)).flatten(1)  # (B, (Ha+1)(Hv+1))
        fused = (pair.unsqueeze(2) * with_one(z_t).unsqueeze(1)).flatten(1)
        one = self.post_fusion_layer_1(self.post_fusion_dropout(fused))
        two = self.post_fusion_layer_2(torch.relu(one))
        three = self.post_fusion_layer_3(torch.relu(two))
        said = torch.sigmoid(three) * self.output_range + self.output_shift
        return said, {"a": z_a, "v": z_v, "l": z_t, "fused": fused, "post_1": one, "post_2": two, "post_3": three}
