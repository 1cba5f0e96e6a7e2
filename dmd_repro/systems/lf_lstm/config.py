"""LF-LSTM's settings: sizes inside the ranges that MFN's search draws for these parts, the loop MulT's; all ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dmd_repro.spec import AblationMask
from dmd_repro.systems.config import TrainConfig, check_words, no_preset
from dmd_repro.systems.declare import Evidence, Setting, System
from dmd_repro.systems.rules import DEMONSTRATION, MULT, MULT_SIZES


@dataclass(frozen=True)
class LFLSTMConfig(TrainConfig):
    """Settings of the net and of the input stage."""

    hidden_l: int = 128
    hidden_a: int = 32
    hidden_v: int = 32
    head: int = 64
    dropout: float = 0.5
    last_steps: int = 0  # 0: all steps
    pad_side: str = "left"
    visual_scale: str = "none"  # or train_max

    @property
    def hidden(self) -> dict[str, int]:
        """Hidden size by modality."""
        return {"l": self.hidden_l, "a": self.hidden_a, "v": self.hidden_v}

    def check(self, steps: Mapping[str, int], mask: AblationMask = AblationMask()) -> None:
        """Raise SpecError on a word that is none of its choices."""
        check_words(self, visual_scale=("none", "train_max"))


_SMALL = LFLSTMConfig(hidden_l=32, hidden_a=8, hidden_v=8, head=16, dropout=0.2, **DEMONSTRATION)


def preset(dataset: str, *, aligned: bool, protocol: str) -> LFLSTMConfig:
    """Return the configuration of a data set and setting; raises SpecError naming the nearest data set."""
    if dataset == "synthetic":
        return _SMALL
    if (dataset, aligned) not in MULT_SIZES:
        raise no_preset("lf-lstm", dataset, ("mosi", "mosei", "synthetic"))
    return LFLSTMConfig(**MULT, **MULT_SIZES[dataset, aligned])


def evidence(setting: Setting) -> dict[str, Evidence]:
    """Return on what the system stands."""
    return {
        "net": Evidence("reconstructed", "ours: no code of MulT's authors is public, nor a description of the net"),
        "training": Evidence("ported", "MulT's public loop, which has a place for other models"),
        "settings": Evidence("reconstructed", "ours: no value was ever published"),
        "inputs": Evidence("matched", "the public feature files, as they are"),
    }


SYSTEM = System(
    name="lf-lstm",
    title="LF-LSTM",
    paper="late fusion as printed by Tsai et al. (ACL 2019); the construction is ours",
    model="dmd_repro.systems.lf_lstm.model:LFLSTM",
    config=LFLSTMConfig,
    preset=preset,
    evidence=evidence,
    datasets=("mosi", "mosei", "synthetic"),
    official="dmd_repro.systems.lf_lstm.official:told",
)
