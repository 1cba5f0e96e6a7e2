"""MulT's constants and presets. Every value carries its source: the authors' paper or code, or ours.

[T5] = Table 5 of the MulT paper (Tsai et al., ACL 2019, appendix): one column for a data set, aligned or not. [main] =
the defaults of the authors' `main.py`, which their README says are for unaligned CMU-MOSEI, and T5 for all else; asked
about aligned CMU-MOSEI, they answer that the paper's values are the ones they used (their repository, issue 26). Width
and kernels are fixed in their `src/models.py` at 30 and 1, to be edited there (issue 23); 8 heads do not divide 30.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import AblationMask
from dmd_repro.systems.config import TrainConfig, check_encoders, no_preset
from dmd_repro.systems.declare import Evidence, Setting, System


@dataclass(frozen=True)
class MulTConfig(TrainConfig):
    """Hyper-parameters of MulT and its training; the defaults are those of the authors' `main.py`."""

    d: int = 30  # src/models.py
    heads: int = 5
    layers: int = 5  # of the crossmodal encoders; the self-attention after them has at least 3
    kernel_l: int = 1  # src/models.py
    kernel_a: int = 1
    kernel_v: int = 1
    attn_dropout: float = 0.1  # language as source, and the three *_mem encoders
    attn_dropout_a: float = 0.0
    attn_dropout_v: float = 0.0
    relu_dropout: float = 0.1
    res_dropout: float = 0.1
    embed_dropout: float = 0.25  # one rate for the text and, in every encoder, for its embedded input
    output_dropout: float = 0.0
    batch_size: int = 24
    learning_rate: float = 1e-3
    clip_norm: float = 0.8
    max_epochs: int = 40
    plateau_patience: int = 20  # main.py: when
    plateau_factor: float = 0.1  # src/train.py
    early_stop: int = 0  # src/train.py: all epochs are trained, the best by validation loss is kept
    selection_mean: str = "clips"  # src/train.py: the validation loss is the mean over clips, not rounded
    selection_digits: int = 15

    # One GD-Unit on the reinforced features (DMD paper, Table 5). Its constants are those of DMD's code.
    gd: bool = False
    gd_hetero: int = 32
    edge_softmax_scale: float = 1 / 8
    lambda_dtl: float = 0.05
    edge_reg_weight: float = 10.0
    repr_weight: float = 10.0

    def kernel(self, modality: str) -> int:
        """Width of the temporal convolution of l, a or v."""
        return {"l": self.kernel_l, "a": self.kernel_a, "v": self.kernel_v}[modality]

    def attention_rate(self, modality: str) -> float:
        """Attention dropout where l, a or v is the source of keys and values."""
        return {"l": self.attn_dropout, "a": self.attn_dropout_a, "v": self.attn_dropout_v}[modality]

    def check(self, steps: Mapping[str, int], mask: AblationMask = AblationMask()) -> None:
        """Raise SpecError or DataError where the numbers cannot make a model."""
        check_encoders(self.d, self.heads, {m: self.kernel(m) for m in MODALITIES}, steps)

    def loss_weights(self) -> dict[str, float]:
        """Return the weight of each leaf term: task 1; with the GD-Unit its heads 1 and the unit as in DMD."""
        weights = {"task.output": 1.0}
        if self.gd:
            weights |= {f"task.{m}_hetero": 1.0 for m in MODALITIES}
            weights |= {
                "dtl_hetero.logit": self.lambda_dtl,
                "dtl_hetero.reg": self.lambda_dtl * self.edge_reg_weight,
                "dtl_hetero.repr": self.lambda_dtl * self.repr_weight,
            }
        return weights


# [T5]: width 40, 4 blocks, kernels "1 or 3" / 3 / 3, output dropout 0.1. Ours, where it leaves a choice: 1 for
# language, as in the code; its one "crossmodal attention block dropout" is the code's attn_, relu_ and res_dropout
# (which share a default), while attn_dropout_a and _v stay at the code's 0; the learning rate decays as in main.py.
_PAPER = MulTConfig(d=40, layers=4, kernel_a=3, kernel_v=3, output_dropout=0.1)
_MOSI = replace(
    _PAPER, batch_size=128, heads=10, embed_dropout=0.2, attn_dropout=0.2, relu_dropout=0.2, res_dropout=0.2,
    max_epochs=100,
)  # fmt: skip
# ours: a small net, so that a demonstration of minutes learns something
_SYNTHETIC = MulTConfig(
    d=16, heads=4, layers=2, kernel_l=3, kernel_a=3, kernel_v=3, batch_size=16, embed_dropout=0.1,
    max_epochs=12, plateau_patience=4,
)  # fmt: skip
PRESETS: dict[tuple[str, str], MulTConfig] = {
    ("mosi", "aligned"): _MOSI,  # [T5]
    ("mosi", "unaligned"): _MOSI,  # [T5]
    ("mosei", "aligned"): replace(
        _PAPER, batch_size=16, heads=8, embed_dropout=0.3, clip_norm=1.0, max_epochs=20
    ),  # [T5]
    ("mosei", "unaligned"): MulTConfig(),  # [main]
    ("synthetic", "aligned"): _SYNTHETIC,
    ("synthetic", "unaligned"): _SYNTHETIC,
}


def mult_preset(dataset: str, *, aligned: bool) -> MulTConfig:
    """Return the preset of a data set and setting; raises SpecError naming the nearest data set."""
    key = (dataset, "aligned" if aligned else "unaligned")
    if key not in PRESETS:
        raise no_preset("mult", dataset, (name for name, _ in PRESETS))
    return PRESETS[key]


def _preset(dataset: str, *, aligned: bool, protocol: str) -> MulTConfig:
    return mult_preset(dataset, aligned=aligned)


def _evidence(setting: Setting) -> dict[str, Evidence]:
    code = Evidence(
        "matched", "equal, array by array, to the authors' code (yaohungt/Multimodal-Transformer at a670936)"
    )
    if (setting.dataset, setting.aligned) == ("mosei", False):
        settings = Evidence("matched", "the defaults of the authors' main.py, which are for this setting")
    else:
        settings = Evidence(
            "from text", "Table 5 of the MulT paper, with three readings of ours where it leaves a choice"
        )
    return {
        "net": code, "training": code, "settings": settings,
        "inputs": Evidence("matched", "the public feature files, as they are"),
    }  # fmt: skip


SYSTEM = System(
    name="mult",
    title="MulT",
    paper="Tsai et al.: Multimodal Transformer for Unaligned Multimodal Language Sequences, ACL 2019",
    model="dmd_repro.systems.mult.model:MulT",
    config=MulTConfig,
    preset=_preset,
    heads=("l_hetero", "a_hetero", "v_hetero"),  # with `gd`
    stackable=True,
    options=("gd",),
    evidence=_evidence,
    datasets=tuple(dict.fromkeys(name for name, _ in PRESETS)),
)
