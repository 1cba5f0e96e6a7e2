"""The settings that TFN and LMF share: one acoustic and one visual vector a clip, dropout by place, the L1 loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dmd_repro.spec import AblationMask
from dmd_repro.systems.config import TrainConfig, check_words
from dmd_repro.systems.switches import Switch

NORM_START = Switch(
    "norm_start", "ones", "uniform", ("ones", "uniform"), "architecture",
    "not said; the code ran on a torch whose BatchNorm weight started uniform in [0, 1]",
    "1, as torch starts it since 1.2 (the default here); in Keras, the original, it is 1 too", "pytorch issue 12259",
)  # fmt: skip


@dataclass(frozen=True)
class PooledConfig(TrainConfig):
    """Settings of the three subnets, the loss and the input stage; the sizes are each system's own."""

    hidden_l: int = 128
    hidden_a: int = 4
    hidden_v: int = 16
    text_out: int = 64
    dropout_l: float = 0.3
    dropout_a: float = 0.3
    dropout_v: float = 0.3
    text_dropout_acts: bool = True
    norm_start: str = "ones"
    reduction: str = "mean"  # of the L1 loss over the batch, or sum
    last_steps: int = 0  # 0: all steps
    pad_side: str = "left"
    visual_scale: str = "none"  # or train_max: Facet divided by its training maximum
    pool_sum: str = "float32"  # precision of the mean over all steps, padding included
    least_batch: int = 2  # BatchNorm has no variance of one clip

    @property
    def hidden(self) -> dict[str, int]:
        """Hidden size by modality."""
        return {"l": self.hidden_l, "a": self.hidden_a, "v": self.hidden_v}

    @property
    def rates(self) -> dict[str, float]:
        """Dropout by modality."""
        text = self.dropout_l if self.text_dropout_acts else 0.0
        return {"l": text, "a": self.dropout_a, "v": self.dropout_v}

    def check(self, steps: Mapping[str, int], mask: AblationMask = AblationMask()) -> None:
        """Raise SpecError on a word that is none of its choices."""
        check_words(
            self, reduction=("mean", "sum"), visual_scale=("none", "train_max"), pool_sum=("float32", "float64"),
            norm_start=("ones", "uniform"),
        )  # fmt: skip
