"""TFN's settings: those of the PyTorch port by LMF's first author, and MMSA's as a second protocol."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dmd_repro.systems.config import no_preset
from dmd_repro.systems.declare import Evidence, Setting, System
from dmd_repro.systems.pooled_config import NORM_START, PooledConfig
from dmd_repro.systems.rules import DEMONSTRATION, JUSTIN, MMSA
from dmd_repro.systems.switches import Switch

SWITCHES = (
    NORM_START,
    Switch("text_dropout_acts", True, False, (), "architecture",
           "dropout behind the text's LSTM", "the port drops; MMSA sets the rate to 0 for a single layer",
           "MMSA, subNets/FeatureNets.py", others={"mmsa": False}),
)  # fmt: skip


@dataclass(frozen=True)
class TFNConfig(PooledConfig):
    """Settings of the net, the loss and the input stage; the defaults are the port's, which were picked, not tuned."""

    post: int = 32
    dropout_post: float = 0.3
    label_low: float = -3.0  # what it can predict: of the data set, where its labels go further
    label_high: float = 3.0

    @property
    def rates(self) -> dict[str, float]:
        """Dropout by place."""
        return {**super().rates, "post": self.dropout_post}


_PORT = TFNConfig(
    batch_size=32, learning_rate=1e-3, max_epochs=50, last_steps=20, visual_scale="train_max", pool_sum="float64",
    **JUSTIN,
)  # fmt: skip
_SMALL = TFNConfig(hidden_l=32, hidden_v=8, text_out=16, post=16, dropout_post=0.1, **DEMONSTRATION)
PRESETS = {  # the port's defaults for every data set; MMSA: config_regression.json since January 2022
    ("official", "mosi"): _PORT,
    ("official", "mosei"): _PORT,
    ("official", "synthetic"): _SMALL,
    ("mmsa", "mosi"): TFNConfig(hidden_a=32, hidden_v=128, text_out=32, post=64, dropout_post=0.5, batch_size=32,
                                learning_rate=1e-3, text_dropout_acts=False, **MMSA),
    ("mmsa", "mosei"): TFNConfig(hidden_a=16, hidden_v=128, text_out=128, post=16, dropout_l=0.4, dropout_a=0.4,
                                 dropout_v=0.4, dropout_post=0.4, batch_size=128, learning_rate=5e-3,
                                 text_dropout_acts=False, **MMSA),
    ("mmsa", "synthetic"): replace(_SMALL, text_dropout_acts=False),
}  # fmt: skip


def preset(dataset: str, *, aligned: bool, protocol: str) -> TFNConfig:
    """Return the configuration of a data set; raises SpecError naming the nearest one."""
    if (protocol, dataset) not in PRESETS:
        raise no_preset("tfn", dataset, ("mosi", "mosei", "synthetic"))
    return PRESETS[protocol, dataset]


def evidence(setting: Setting) -> dict[str, Evidence]:
    """Return on what the system stands."""
    if setting.protocol == "mmsa":
        return {
            "net": Evidence("ported", "equal to MMSA's TFN"), "training": Evidence("ported", "MMSA's trainer"),
            "settings": Evidence("ported", "MMSA's, tuned for BERT states"),
            "inputs": Evidence("reconstructed", "MMSA feeds BERT states, the printed row GloVe"),
        }  # fmt: skip
    here = setting.dataset == "mosi"
    settings = "the port's defaults, picked and not tuned, as its README says"
    return {
        "net": Evidence("ported", "equal to a port by the first author of the paper that prints the row (LMF)"),
        "training": Evidence("ported", "that port's loop"),
        "settings": Evidence("ported" if here else "reconstructed", settings if here else "the port's, made for MOSI"),
        "inputs": Evidence("from text", "the port's rules (last 20 words, pooled with the padding) on today's files"),
    }


SYSTEM = System(
    name="tfn",
    title="TFN",
    paper="Zadeh et al.: Tensor Fusion Network for Multimodal Sentiment Analysis, EMNLP 2017",
    model="dmd_repro.systems.tfn.model:TFN",
    config=TFNConfig,
    preset=preset,
    protocols=("official", "mmsa"),
    switches=SWITCHES,
    evidence=evidence,
    datasets=("mosi", "mosei", "synthetic"),
    official="dmd_repro.systems.tfn.official:told",
)
