"""LMF's settings. Those of the printed MOSI row are lost (the authors' repository, issue 1): the choice is ours."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dmd_repro.systems.config import no_preset
from dmd_repro.systems.declare import Evidence, Setting, System
from dmd_repro.systems.pooled_config import NORM_START, PooledConfig
from dmd_repro.systems.rules import DEMONSTRATION, JUSTIN, MMSA
from dmd_repro.systems.switches import Switch

SWITCHES = (
    NORM_START,
    Switch("train_fusion", True, False, (), "training",
           "all parameters are trained", "until April 2020 the authors' code left fusion_weights and fusion_bias out "
           "of the optimizer (an error of theirs, since mended: the default here trains them); MMSA still does",
           "Low-rank-Multimodal-Fusion, issue 9", others={"mmsa": False}),
    Switch("text_dropout_acts", True, False, (), "architecture",
           "dropout behind the text's LSTM", "the authors' code drops; MMSA sets the rate to 0 for a single layer",
           "MMSA, subNets/FeatureNets.py", others={"mmsa": False}),
)  # fmt: skip


@dataclass(frozen=True)
class LMFConfig(PooledConfig):
    """Settings of the net, the loss and the input stage."""

    hidden_l: int = 64
    hidden_a: int = 16
    text_out: int = 32  # half of hidden_l, in both code bases
    rank: int = 4
    dropout_l: float = 0.2  # none behind the fusion: both code bases build one and never call it
    dropout_a: float = 0.5
    dropout_v: float = 0.5
    factor_lr: float = 3e-3
    train_fusion: bool = True


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
        raise no_preset("lmf", dataset, ("mosi", "mosei", "synthetic"))
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
