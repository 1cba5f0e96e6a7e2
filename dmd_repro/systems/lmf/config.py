"""LMF's settings. Those of the printed MOSI row are lost (the authors' repository, issue 1): the choice is ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dmd_repro.errors import SpecError, nearest
from dmd_repro.spec import AblationMask
from dmd_repro.systems.config import TrainConfig, check_words
from dmd_repro.systems.declare import Evidence, Setting, System
from dmd_repro.systems.rules import DEMONSTRATION, JUSTIN, MMSA
from dmd_repro.systems.switches import Switch

SWITCHES = (
    Switch("norm_start", "ones", "uniform", ("ones", "uniform"), "architecture",
           "not said; the code ran on a torch whose BatchNorm weight started uniform in [0, 1]",
           "1, as torch starts it since 1.2 (the default here); in Keras, the original, it is 1 too",
           "pytorch issue 12259"),
    Switch("train_fusion", True, False, (), "training",
           "all parameters are trained", "until April 2020 the authors' code left fusion_weights and fusion_bias out "
           "of the optimizer (an error of theirs, since mended: the default here trains them); MMSA still does",
           "Low-rank-Multimodal-Fusion, issue 9", others={"mmsa": False}),
    Switch("text_dropout_acts", True, False, (), "architecture",
           "dropout behind the text's LSTM", "the authors' code drops; MMSA sets the rate to 0 for a single layer",
           "MMSA, subNets/FeatureNets.py", others={"mmsa": False}),
)  # fmt: skip


@dataclass(frozen=True)
class LMFConfig(TrainConfig):
    """Settings of the net, the loss and the input stage."""

    hidden_l: int = 64
    hidden_a: int = 16
    hidden_v: int = 16
    text_out: int = 32  # half of hidden_l, in both code bases
    rank: int = 4
    dropout_l: float = 0.2
    dropout_a: float = 0.5
    dropout_v: float = 0.5
    factor_lr: float = 3e-3
    train_fusion: bool = True
    text_dropout_acts: bool = True
    norm_start: str = "ones"
    reduction: str = "mean"  # of the L1 loss over the batch, or sum
    last_steps: int = 0
    visual_scale: str = "none"  # the authors' code scales nothing
    pool_sum: str = "float32"
    least_batch: int = 2  # BatchNorm has no variance of one clip

    @property
    def hidden(self) -> dict[str, int]:
        """Hidden size by modality."""
        return {"l": self.hidden_l, "a": self.hidden_a, "v": self.hidden_v}

    @property
    def rates(self) -> dict[str, float]:
        """Dropout by place; none behind the fusion: both code bases build one and never call it."""
        return {"l": self.dropout_l if self.text_dropout_acts else 0.0, "a": self.dropout_a, "v": self.dropout_v}

    def check(self, steps: Mapping[str, int], mask: AblationMask = AblationMask()) -> None:
        """Raise SpecError on a word that is none of its choices."""
        check_words(
            self, reduction=("mean", "sum"), visual_scale=("none", "train_max"), pool_sum=("float32", "float64"),
            norm_start=("ones", "uniform"),
        )  # fmt: skip


# the authors' line for sentiment on POM (hyperparams.txt), their only published one of a sentiment regression
_POM = LMFConfig(batch_size=8, learning_rate=1e-3, weight_decay=2e-3, max_epochs=500, **JUSTIN)
_SMALL = LMFConfig(hidden_l=32, text_out=16, hidden_a=8, hidden_v=8, dropout_a=0.2, dropout_v=0.2, **DEMONSTRATION)
PRESETS = {  # MMSA: config_regression.json since January 2022
    ("official", "mosi"): _POM,
    ("official", "mosei"): _POM,
    ("official", "synthetic"): _SMALL,
    ("mmsa", "mosi"): LMFConfig(hidden_l=128, text_out=64, hidden_v=128, rank=3, dropout_l=0.3, dropout_a=0.3,
                                dropout_v=0.3, factor_lr=1e-3, learning_rate=1e-3, batch_size=64, weight_decay=0.005,
                                train_fusion=False, text_dropout_acts=False, **MMSA),
    ("mmsa", "mosei"): LMFConfig(hidden_l=128, text_out=64, hidden_v=128, dropout_a=0.2, dropout_v=0.2, factor_lr=1e-3,
                                 learning_rate=1e-3, batch_size=32, weight_decay=0.001, train_fusion=False,
                                 text_dropout_acts=False, **MMSA),
    ("mmsa", "synthetic"): replace(_SMALL, train_fusion=False, text_dropout_acts=False),
}  # fmt: skip


def preset(dataset: str, *, aligned: bool, protocol: str) -> LMFConfig:
    """Return the configuration of a data set; raises SpecError naming the nearest one."""
    if (protocol, dataset) not in PRESETS:
        raise SpecError.at(
            f"preset of lmf for '{dataset}'", expected="a data set with a preset", got="none",
            do=nearest(dataset, ("mosi", "mosei", "synthetic")),
        )  # fmt: skip
    return PRESETS[protocol, dataset]


def evidence(setting: Setting) -> dict[str, Evidence]:
    """Return on what the system stands."""
    if setting.protocol == "mmsa":
        return {
            "net": Evidence("ported", "equal to MMSA's LMF"), "training": Evidence("ported", "MMSA's trainer"),
            "settings": Evidence("ported", "MMSA's, tuned for BERT states"),
            "inputs": Evidence("reconstructed", "MMSA feeds BERT states, the printed row GloVe"),
        }  # fmt: skip
    return {
        "net": Evidence("matched", "equal to the authors' PyTorch code; their original was Keras"),
        "training": Evidence("matched", "the authors' loop, with all parameters trained as they say it was meant"),
        "settings": Evidence("reconstructed", "ours: the authors lost those of MOSI; their line for POM is taken"),
        "inputs": Evidence("reconstructed", "how their acoustic and visual vectors were pooled is not known"),
    }


SYSTEM = System(
    name="lmf",
    title="LMF",
    paper="Liu et al.: Efficient Low-rank Multimodal Fusion with Modality-Specific Factors, ACL 2018",
    model="dmd_repro.systems.lmf.model:LMF",
    config=LMFConfig,
    preset=preset,
    protocols=("official", "mmsa"),
    switches=SWITCHES,
    evidence=evidence,
    datasets=("mosi", "mosei", "synthetic"),
    official="dmd_repro.systems.lmf.official:told",
)
