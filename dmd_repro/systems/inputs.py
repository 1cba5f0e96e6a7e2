"""The input stage of the earlier systems, a part of each: which steps, which scale, and how lengths are made equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dmd_repro.data.batches import batch_slices
from dmd_repro.nn.pooling import TrainScale, last_steps
from dmd_repro.shapes import MODALITIES


class InputStage(nn.Module):
    """The last steps of each modality; visual or acoustic features divided by the training maximum, which is saved."""

    def __init__(self, dims: Mapping[str, int], *, last: int, visual_scale: str, acoustic_scale: str = "none") -> None:
        """`last`: how many steps are kept, 0 for all. The scales: none, or train_max."""
        super().__init__()
        self.last = last
        self.visual_scale = TrainScale(dims["v"]) if visual_scale == "train_max" else None
        self.acoustic_scale = TrainScale(dims["a"]) if acoustic_scale == "train_max" else None

    @property
    def scales(self) -> dict[str, TrainScale]:
        """What is divided, by modality."""
        both = {"v": self.visual_scale, "a": self.acoustic_scale}
        return {m: scale for m, scale in both.items() if scale is not None}

    def fit(self, train: Mapping[str, NDArray[Any]]) -> None:
        """Take the maxima of the training split, (N, T, D) of each modality."""
        for m, scale in self.scales.items():
            x = train[m]
            largest = np.zeros(x.shape[2], dtype=np.float32)
            for piece in batch_slices(len(x), 256):  # memory-mapped: not all at once
                part = np.asarray(x[piece])[:, -self.last :] if self.last else np.asarray(x[piece])
                largest = np.maximum(largest, np.abs(part).max((0, 1)))
            scale.fit(torch.from_numpy(largest))

    def kept(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T', D): the last steps."""
        return last_steps(x, self.last)

    def scaled(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """l, a, v -> (B, T, D) to the same, divided."""
        return {**inputs, **{m: scale(inputs[m]) for m, scale in self.scales.items()}}

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """l, a, v -> (B, T, D) to the same with fewer steps."""
        return self.scaled({m: self.kept(inputs[m]) for m in MODALITIES})
