"""MFM's settings: those of the authors' mfm_mosi.py (best_acc), and MMSA's as a second protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dmd_repro.spec import AblationMask
from dmd_repro.systems.config import InputNeeds, TrainConfig, check_lengths, check_words, no_preset
from dmd_repro.systems.declare import Evidence, Setting, System
from dmd_repro.systems.rules import DEMONSTRATION, FACTORIZED, MMSA


@dataclass(frozen=True)
class MFMConfig(TrainConfig):
    """Settings of the net, its losses and the input stage; the defaults are the authors' for CMU-MOSI."""

    h_l: int = 88
    h_a: int = 64
    h_v: int = 48
    z_y: int = 32
    z_l: int = 32
    z_a: int = 8
    z_v: int = 80
    f_y: int = 16
    f_l: int = 88
    f_a: int = 8
    f_v: int = 8
    memory: int = 64
    att1: int = 128
    att2: int = 128
    gamma1: int = 128
    gamma2: int = 128
    out: int = 64  # a part that is built and never used
    dropout_att1: float = 0.5
    dropout_att2: float = 0.5
    dropout_gamma1: float = 0.5
    dropout_gamma2: float = 0.5
    dropout_out: float = 0.5
    dropout_y: float = 0.0  # z -> f
    dropout_l: float = 0.2
    dropout_a: float = 0.2
    dropout_v: float = 0.7
    dropout_output: float = 0.0
    lambda_mmd: float = 1.0
    lambda_l: float = 1.0
    lambda_a: float = 0.01
    lambda_v: float = 0.5
    align: str = "none"  # or pool: unequal lengths by average pooling, which no printed row did
    last_steps: int = 0  # 0: all steps; the authors keep the last 20 words
    pad_side: str = "left"
    visual_scale: str = "none"  # or train_max

    def check(self, steps: Mapping[str, int], mask: AblationMask = AblationMask()) -> None:
        """Raise SpecError for unequal lengths without a named pooling: the decoders and the graph need one length."""
        check_words(self, align=("none", "pool"), visual_scale=("none", "train_max"))
        check_lengths("mfm", self.align, steps, do="--set align=pool (average pooling; no printed row did that)")


_AUTHORS = MFMConfig(
    batch_size=32, max_epochs=30, plateau_patience=10, plateau_factor=0.1, last_steps=20, visual_scale="train_max",
    **FACTORIZED,
)  # fmt: skip
_SMALL = MFMConfig(
    h_l=24, h_a=8, h_v=8, z_y=12, z_l=12, z_a=6, z_v=8, f_y=12, f_l=12, f_a=6, f_v=6, memory=16, att1=24, att2=16,
    gamma1=16, gamma2=16, out=8, dropout_att1=0.1, dropout_att2=0.1, dropout_gamma1=0.1, dropout_gamma2=0.1,
    dropout_v=0.2, **DEMONSTRATION,
)  # fmt: skip
PRESETS = {  # MMSA: config_regression.json; its configured rate is never read, so that Adam's own 1e-3 acts
    ("official", "mosi"): _AUTHORS,
    ("official", "mosei"): _AUTHORS,  # ours: the authors have none for MOSEI
    ("official", "synthetic"): _SMALL,
    ("mmsa", "mosi"): MFMConfig(
        h_l=128, h_a=32, h_v=128, z_y=80, z_l=64, z_a=80, z_v=80, f_y=64, f_l=32, f_a=16, f_v=64, att1=32, att2=64,
        gamma1=32, gamma2=64, out=128, dropout_att1=0.7, dropout_att2=0.0, dropout_gamma1=0.0, dropout_gamma2=0.5,
        dropout_out=0.2, dropout_y=0.5, dropout_l=0.5, dropout_a=0.7, dropout_v=0.5, lambda_mmd=100.0, lambda_l=0.5,
        batch_size=64, learning_rate=1e-3, weight_decay=1e-3, **MMSA,
    ),
    ("mmsa", "mosei"): MFMConfig(
        h_l=256, h_a=32, h_v=256, z_y=32, z_l=256, z_a=80, z_v=80, f_y=16, f_l=32, f_a=80, f_v=32, att1=1278, att2=32,
        gamma1=64, gamma2=128, out=256, dropout_att2=0.7, dropout_gamma2=0.2, dropout_out=0.0, dropout_y=0.2,
        dropout_l=0.7, dropout_a=0.7, dropout_v=0.7, dropout_output=0.2, lambda_mmd=10.0, lambda_l=5.0, lambda_a=2.0,
        lambda_v=5.0, batch_size=64, learning_rate=1e-3, weight_decay=5e-4, **MMSA,
    ),
    ("mmsa", "synthetic"): replace(_SMALL, lambda_l=0.5),
}  # fmt: skip


def preset(dataset: str, *, aligned: bool, protocol: str) -> MFMConfig:
    """Return the configuration of a data set; raises SpecError naming the nearest one."""
    if (protocol, dataset) not in PRESETS:
        raise no_preset("mfm", dataset, ("mosi", "mosei", "synthetic"))
    return PRESETS[protocol, dataset]


def evidence(setting: Setting) -> dict[str, Evidence]:
    """Return on what the system stands."""
    if setting.protocol == "mmsa":
        return {
            "net": Evidence("matched", "MMSA's net is the authors', bit for bit"),
            "training": Evidence("ported", "MMSA's trainer"),
            "settings": Evidence("ported", "MMSA's, tuned for BERT states"),
            "inputs": Evidence("reconstructed", "MMSA feeds BERT states, the printed row GloVe"),
        }
    here = setting.dataset == "mosi" and setting.aligned
    return {
        "net": Evidence("matched", "equal, array by array, to the authors' code (pliang279/factorized)"),
        "training": Evidence("ported", "the rules of its train_mfm; as committed the script trains another model"),
        "settings": Evidence(
            "ported" if here else "reconstructed",
            "one configuration of the authors' random search (best_acc)" if here else "the authors' for aligned MOSI",
        ),
        "inputs": Evidence("from text", "the authors' rules (last 20 words, Facet by its maximum) on today's files"),
    }


SYSTEM = System(
    name="mfm",
    title="MFM",
    paper="Tsai et al.: Learning Factorized Multimodal Representations, ICLR 2019",
    model="dmd_repro.systems.mfm.model:MFM",
    config=MFMConfig,
    preset=preset,
    inputs=InputNeeds(unaligned_by="pool"),
    protocols=("official", "mmsa"),
    evidence=evidence,
    reads="l, a, v (through z_y)",
    datasets=("mosi", "mosei", "synthetic"),
    official="dmd_repro.systems.mfm.official:told",
)
