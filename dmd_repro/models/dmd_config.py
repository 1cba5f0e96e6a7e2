"""DMD's constants and presets. Every value carries its source: the authors' configuration file or code, or ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dmd_repro.errors import DataError, SpecError, nearest
from dmd_repro.models.base import TrainConfig
from dmd_repro.shapes import MODALITIES, MODALITY_NAMES


@dataclass(frozen=True)
class DMDConfig(TrainConfig):
    """Hyper-parameters of DMD and its training; the defaults are those the authors publish for CMU-MOSI."""

    d: int = 50  # config.json: dst_feature_dim_nheads
    heads: int = 10  # config.json: dst_feature_dim_nheads
    layers: int = 4  # config.json: nlevels
    kernel_l: int = 5  # config.json: conv1d_kernel_size_*
    kernel_a: int = 5
    kernel_v: int = 5
    attn_dropout: float = 0.3  # language as source, and the three *_mem encoders (config.json: attn_dropout)
    attn_dropout_a: float = 0.2
    attn_dropout_v: float = 0.0
    relu_dropout: float = 0.0
    res_dropout: float = 0.0
    embed_dropout: float = 0.2
    text_dropout: float = 0.5
    output_dropout: float = 0.5
    gd_homo: int = 64  # run.py: gd_size_low
    gd_hetero: int = 32  # run.py: gd_size_high
    edge_softmax_scale: float = 1 / 8  # run.py: alpha of both units
    margin_scale: float = 0.15  # HingeLoss: margin = 0.15 |y_i - y_k|
    lambda_dec: float = 0.1  # paper: lambda_1; the code's 0.1 on its decoupling terms
    lambda_dtl: float = 0.05  # paper: lambda_2; the code's 0.05 on each unit
    gamma: float = 0.1  # paper: gamma (Eq. 6)
    edge_reg: float = 10.0  # run.py: gd_reg
    repr_weight: float = 10.0  # run.py: second of w_losses_high
    accumulate: int = 10  # config.json: update_epochs
    clip_value: float = 0.6  # config.json: grad_clip, by value
    # the authors' loop has no epoch limit (early stopping ends it); 200 is ours, so that a plan has an estimate

    def kernel(self, modality: str) -> int:
        """Width of the temporal convolution of l, a or v."""
        return {"l": self.kernel_l, "a": self.kernel_a, "v": self.kernel_v}[modality]

    def attention_rate(self, modality: str) -> float:
        """Attention dropout where l, a or v is the source of keys and values."""
        return {"l": self.attn_dropout, "a": self.attn_dropout_a, "v": self.attn_dropout_v}[modality]

    def check(self, steps: Mapping[str, int]) -> None:
        """Raise SpecError or DataError where the numbers cannot make a model."""
        if self.d % self.heads:
            raise SpecError.at(
                "--set d", expected=f"a multiple of heads ({self.heads})", got=str(self.d), do="Change d"
            )
        for m in MODALITIES:
            if steps[m] < self.kernel(m):
                raise DataError.at(
                    f"{MODALITY_NAMES[m]} features",
                    expected=f"at least {self.kernel(m)} time steps", got=str(steps[m]),
                    do=f"Use longer features or --set kernel_{m}=1",
                )  # fmt: skip

    def loss_weights(self) -> dict[str, float]:
        """Return the weight of each leaf term: task 1; 0.1 (rec + cyc + 0.1 (mar + ort)); 0.05 per unit."""
        weights = {"task.output": 1.0, "task.c": 1.0, "mar": self.lambda_dec * self.gamma}
        for m in MODALITIES:
            weights |= {f"task.{m}_homo": 1.0, f"task.{m}_hetero": 1.0}
            weights |= {f"rec.{m}": self.lambda_dec, f"cyc.{m}": self.lambda_dec}
            weights[f"ort.{m}"] = self.lambda_dec * self.gamma
        for unit in ("homo", "hetero"):
            weights |= {f"dtl_{unit}.logit": self.lambda_dtl, f"dtl_{unit}.reg": self.lambda_dtl * self.edge_reg}
        weights["dtl_hetero.repr"] = self.lambda_dtl * self.repr_weight
        return weights


PRESETS: dict[str, DMDConfig] = {
    "mosi": DMDConfig(),
    "mosei": DMDConfig(
        d=30, heads=6, kernel_a=1, kernel_v=3,
        attn_dropout=0.4, attn_dropout_a=0.0, attn_dropout_v=0.0, embed_dropout=0.0, text_dropout=0.3,
    ),
    # ours: a small net that steps at every batch, so that a demonstration of minutes learns something (DEVIATIONS.md)
    "synthetic": DMDConfig(
        d=16, heads=4, layers=2, kernel_l=3, kernel_a=3, kernel_v=3, accumulate=1, learning_rate=1e-3,
        text_dropout=0.2, output_dropout=0.2, attn_dropout=0.1, attn_dropout_a=0.1, embed_dropout=0.0,
        max_epochs=12, early_stop=6,
    ),
}  # fmt: skip


def dmd_preset(dataset: str) -> DMDConfig:
    """Return the preset of a data set; raises SpecError naming the nearest one."""
    if dataset not in PRESETS:
        raise SpecError.at(
            f"preset of dmd for '{dataset}'", expected="a data set with a preset", got="none",
            do=nearest(dataset, PRESETS),
        )  # fmt: skip
    return PRESETS[dataset]
