"""DMD's constants and presets. Every value carries its source: the authors' configuration file or code, or ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, cast

from dmd_repro.errors import SpecError, nearest
from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import AblationMask
from dmd_repro.systems.config import TrainConfig, added, check_encoders, no_preset
from dmd_repro.systems.declare import ASPECTS, Evidence, Setting, System
from dmd_repro.systems.dmd.switches import ALIASES, PROTOCOLS, SAME, SWITCHES, Protocol, switch_values


@dataclass(frozen=True)
class DMDConfig(TrainConfig):
    """Hyper-parameters of DMD and its training; the defaults are those the authors publish for CMU-MOSI.

    The second half are the switches of `systems/dmd/switches.py`, at what the authors' code does.
    """

    ALIASES: ClassVar[Mapping[str, str]] = ALIASES

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
    margin_scale: float = 0.15  # HingeLoss: margin = 0.15 |y_i - y_k|
    margin_alpha: float = 0.2  # Eq. 4's constant, whose value is not printed: ours
    label_low: float = added(-3.0, neutral=-3.0)  # where the classes of Eq. 4's triples lie: of the data set
    label_high: float = added(3.0, neutral=3.0)
    lambda_dec: float = 0.1  # paper: lambda_1; the code's 0.1 on its decoupling terms
    lambda_dtl: float = 0.05  # paper: lambda_2; the code's 0.05 on each unit
    gamma: float = 0.1  # paper: gamma (Eq. 6)
    edge_reg_weight: float = 10.0  # run.py: gd_reg
    repr_weight: float = 10.0  # run.py: second of w_losses_low and w_losses_high
    modalities: str = "lav"  # which of l, a, v are seen at all (Table 4's second reading); not an option of the authors
    accumulate: int = 10  # config.json: update_epochs
    clip_value: float = 0.6  # config.json: grad_clip, by value

    conv_padding: str = "valid"
    margin_space: str = "aligned"
    common_summary: str = "encoder"
    causal_mask: bool = True
    padding: str = "zeros"
    fusion: str = "replace"
    edge_projection: bool = True
    edge_softmax: str = "all"
    edge_softmax_scale: float = 0.125
    edge_prior: str = "authors"
    heads_supervised: bool = True
    norm_reduction: str = "mean"
    margin: str = "label_distance"
    ort_axis: str = "batch"
    ort_clamp: bool = True
    edge_reg: bool = True
    homo_repr: bool = False
    hetero_repr: bool = True

    def kernel(self, modality: str) -> int:
        """Width of the temporal convolution of l, a or v."""
        return {"l": self.kernel_l, "a": self.kernel_a, "v": self.kernel_v}[modality]

    def attention_rate(self, modality: str) -> float:
        """Attention dropout where l, a or v is the source of keys and values."""
        return {"l": self.attn_dropout, "a": self.attn_dropout_a, "v": self.attn_dropout_v}[modality]

    @property
    def seen(self) -> tuple[str, ...]:
        """The modalities the model sees, in the one order."""
        return tuple(m for m in MODALITIES if m in self.modalities)

    def check(self, steps: Mapping[str, int], mask: AblationMask = AblationMask()) -> None:
        """Raise SpecError or DataError where the values cannot make a model."""
        for switch in SWITCHES:
            value = getattr(self, switch.name)
            if switch.choices and value not in switch.choices:
                raise SpecError.at(
                    f"--set {switch.name}", expected=" or ".join(switch.choices), got=repr(value),
                    do=nearest(str(value), switch.choices),
                )  # fmt: skip
        if not self.seen or set(self.modalities) - set(MODALITIES):
            raise SpecError.at(
                "--set modalities",
                expected="one or more of l, a and v",
                got=repr(self.modalities),
                do="Write lav, or l",
            )
        if self.edge_prior == "none" and self.edge_reg:
            raise SpecError.at(
                "--set edge_prior=none", expected="no pull towards a prior that is not there", got="edge_reg=true",
                do="Add --set edge_reg=false, or use edge_prior=uniform",
            )  # fmt: skip
        joining = ("ca", "heterogd", "homogd") if len(self.seen) == 1 else ("heterogd", "homogd")
        if needed := [part for part in joining if len(self.seen) < 3 and part not in mask.off]:
            raise SpecError.at(
                f"dmd with modalities={self.modalities}", expected=f"{', '.join(needed)} off (they join modalities)",
                got="them on", do=f"Add --drop {','.join(needed)}",
            )  # fmt: skip
        check_encoders(self.d, self.heads, {m: self.kernel(m) for m in self.seen}, steps)

    def loss_weights(self) -> dict[str, float]:
        """Return the weight of each leaf term: task 1; 0.1 (rec + cyc + 0.1 (mar + ort)); 0.05 per unit."""
        weights = {"task.output": 1.0, "task.c": 1.0, "mar": self.lambda_dec * self.gamma}
        for m in MODALITIES:
            weights |= {f"task.{m}_homo": 1.0, f"task.{m}_hetero": 1.0}
            weights |= {f"rec.{m}": self.lambda_dec, f"cyc.{m}": self.lambda_dec}
            weights[f"ort.{m}"] = self.lambda_dec * self.gamma
        for unit in ("homo", "hetero"):
            weights |= {f"dtl_{unit}.logit": self.lambda_dtl, f"dtl_{unit}.reg": self.lambda_dtl * self.edge_reg_weight}
            weights[f"dtl_{unit}.repr"] = self.lambda_dtl * self.repr_weight
        return weights


PRESETS: dict[str, DMDConfig] = {
    "mosi": DMDConfig(),
    "mosei": DMDConfig(
        d=30, heads=6, kernel_a=1, kernel_v=3,
        attn_dropout=0.4, attn_dropout_a=0.0, attn_dropout_v=0.0, embed_dropout=0.0, text_dropout=0.3,
    ),
    # ours: a small net that steps at every batch, so that minutes teach it something (docs/deviations.md)
    "synthetic": DMDConfig(
        d=16, heads=4, layers=2, kernel_l=3, kernel_a=3, kernel_v=3, accumulate=1, learning_rate=1e-3,
        text_dropout=0.2, output_dropout=0.2, attn_dropout=0.1, attn_dropout_a=0.1, embed_dropout=0.0,
        max_epochs=12, early_stop=6,
    ),
}  # fmt: skip


def dmd_preset(dataset: str, protocol: str) -> DMDConfig:
    """Return the preset of a data set under a protocol; raises SpecError naming the nearest data set.

    The paper's values replace those of the authors' code; what a preset sets on its own account (the synthetic one: its
    length) stays.
    """
    if dataset not in PRESETS:
        raise no_preset("dmd", dataset, PRESETS)
    preset, plain = PRESETS[dataset], {f.name: f.default for f in fields(DMDConfig)}
    values = switch_values(cast(Protocol, protocol))
    unmoved: dict[str, Any] = {n: v for n, v in values.items() if getattr(preset, n) == plain[n]}
    return replace(preset, **unmoved)


def _preset(dataset: str, *, aligned: bool, protocol: str) -> DMDConfig:
    return dmd_preset(dataset, protocol)


def _evidence(setting: Setting) -> dict[str, Evidence]:
    code = Evidence("matched", "equal, array by array, to the authors' code (mdswyz/DMD at 516d4e1)")
    if setting.protocol == "official":
        return {
            "net": code, "training": code, "inputs": Evidence("matched", "the public feature files, as they are"),
            "settings": Evidence("matched", "the authors' config.json"),
        }  # fmt: skip
    text = Evidence("from text", "the paper's equations; what it leaves open is read as docs/deviations.md says")
    return dict.fromkeys(ASPECTS, text)


SYSTEM = System(
    name="dmd",
    title="DMD",
    paper="Li, Wang, Cui: Decoupled Multimodal Distilling for Emotion Recognition, CVPR 2023",
    model="dmd_repro.systems.dmd.model:DMD",
    config=DMDConfig,
    preset=_preset,
    parts=frozenset({"fd", "homogd", "ca", "heterogd"}),
    protocols=PROTOCOLS,
    heads=("l_homo", "a_homo", "v_homo", "c", "l_hetero", "a_hetero", "v_hetero"),
    stackable=True,
    switches=SWITCHES,
    same=SAME,
    evidence=_evidence,
    datasets=tuple(PRESETS),
)
