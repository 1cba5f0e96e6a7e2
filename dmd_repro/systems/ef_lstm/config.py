"""EF-LSTM's settings. No value was ever published for the rows MulT's paper prints: what is not MFN's is ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dmd_repro.spec import AblationMask
from dmd_repro.systems.config import TrainConfig, check_lengths, check_words, no_preset
from dmd_repro.systems.declare import Evidence, Setting, System
from dmd_repro.systems.rules import DEMONSTRATION, MMSA, MULT, MULT_SIZES
from dmd_repro.systems.switches import Switch, aliases_of

SWITCHES = (
    Switch("aligner_weights", "selected", "last_epoch", ("selected", "last_epoch"), "training",
           "not said; `last_epoch` is the public code's way", "its checkpoint holds the net alone: its last test "
           "pairs the best epoch's net with the last epoch's aligner; here both are of the selected epoch by default",
           "yaohungt/Multimodal-Transformer, src/train.py: save_model", "aligner"),
)  # fmt: skip


@dataclass(frozen=True)
class EFLSTMConfig(TrainConfig):
    """Settings of the net, of what brings lengths together, and of the input stage."""

    ALIASES = aliases_of(SWITCHES)

    net: str = "mfn"  # pliang279/MFN's EFLSTM, or thuiar/MMSA's
    hidden: int = 128  # MFN, test_mosi.py
    layers: int = 1  # MMSA's alone has several
    dropout: float = 0.5  # MFN, test_mosi.py
    align: str = "none"  # unequal lengths: ctc (MulT's module), pool (MMSA's average pooling), none: refused
    aligner_weights: str = "selected"
    last_steps: int = 0  # 0: all steps, as MulT's loader gives them; MFN keeps the last 20
    pad_side: str = "left"
    visual_scale: str = "none"  # or train_max: MFN divides Facet by its training maximum

    def check(self, steps: Mapping[str, int], mask: AblationMask = AblationMask()) -> None:
        """Raise SpecError or DataError where steps do not fit together."""
        check_words(self, net=("mfn", "mmsa"), align=("none", "ctc", "pool"), visual_scale=("none", "train_max"),
                    aligner_weights=("selected", "last_epoch"))  # fmt: skip
        check_lengths("ef-lstm", self.align, steps, do="--set align=ctc (the printed rows' way) or --set align=pool")


_SMALL = EFLSTMConfig(hidden=32, dropout=0.2, **DEMONSTRATION)
_MMSA = {  # config_regression.json since January 2022
    "mosi": EFLSTMConfig(net="mmsa", hidden=128, layers=4, dropout=0.5, batch_size=32, learning_rate=1e-3,
                         weight_decay=5e-3, **MMSA),
    "mosei": EFLSTMConfig(net="mmsa", hidden=256, layers=2, dropout=0.4, batch_size=128, learning_rate=5e-3,
                          weight_decay=1e-4, **MMSA),
    "synthetic": replace(_SMALL, net="mmsa", layers=2),
}  # fmt: skip


def preset(dataset: str, *, aligned: bool, protocol: str) -> EFLSTMConfig:
    """Return the configuration of a data set and setting; raises SpecError naming the nearest data set."""
    if dataset not in _MMSA:
        raise no_preset("ef-lstm", dataset, _MMSA)
    if protocol == "mmsa":
        return replace(_MMSA[dataset], align="none" if aligned else "pool")
    base = _SMALL if dataset == "synthetic" else EFLSTMConfig(**MULT, **MULT_SIZES[dataset, aligned])
    return replace(base, align="none" if aligned else "ctc")


def evidence(setting: Setting) -> dict[str, Evidence]:
    """Return on what the system stands."""
    if setting.protocol == "mmsa":
        return {
            "net": Evidence("ported", "equal to MMSA's EF_LSTM, another net than the printed row's"),
            "training": Evidence("ported", "MMSA's trainer"),
            "settings": Evidence("ported", "MMSA's, tuned for BERT states"),
            "inputs": Evidence("reconstructed", "MMSA feeds BERT states, the printed row GloVe"),
        }
    way = "the public aligned files" if setting.aligned else "MulT's public CTC module, whose use here is inferred"
    return {
        "net": Evidence("ported", "equal to a co-author's EFLSTM (MFN); MulT's authors released none"),
        "training": Evidence("ported", "MulT's public loop, which has a place for other models"),
        "settings": Evidence("reconstructed", "ours: no value was ever published; carried over from MFN and MulT"),
        "inputs": Evidence("matched" if setting.aligned else "reconstructed", way),
    }


SYSTEM = System(
    name="ef-lstm",
    title="EF-LSTM",
    paper="early fusion as printed by Tsai et al. (ACL 2019); net: Zadeh, Liang et al., MFN, AAAI 2018",
    model="dmd_repro.systems.ef_lstm.model:EFLSTM",
    config=EFLSTMConfig,
    preset=preset,
    protocols=("official", "mmsa"),
    switches=SWITCHES,
    evidence=evidence,
    datasets=tuple(_MMSA),
    official="dmd_repro.systems.ef_lstm.official:told",
)
