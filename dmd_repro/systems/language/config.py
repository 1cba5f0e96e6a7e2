"""Language alone, ours: what the same text features give without a voice or a face. No table prints it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from dmd_repro.spec import AblationMask
from dmd_repro.systems.config import TrainConfig, check_words, no_preset
from dmd_repro.systems.declare import Evidence, Setting, System
from dmd_repro.systems.rules import DEMONSTRATION


@dataclass(frozen=True)
class LanguageConfig(TrainConfig):
    """Settings of a plain net on text; every value is ours."""

    reader: str = "lstm"  # GloVe: both directions over the words; mean: of hidden states, BERT's or given
    hidden: int = 64
    dropout: float = 0.3
    batch_size: int = 32
    learning_rate: float = 1e-3
    max_epochs: int = 100
    early_stop: int = 10
    selection_mean: str = "clips"
    selection_digits: int = 15

    def for_text(self, text: str) -> Self:
        """Return the configuration for a kind of text: hidden states were read in context already."""
        if text == "glove":
            return self
        return replace(self, reader="mean", learning_rate=5e-5 if text == "bert" else self.learning_rate)

    def check(self, steps: Mapping[str, int], mask: AblationMask = AblationMask()) -> None:
        """Raise SpecError where the reader is unknown."""
        check_words(self, reader=("lstm", "mean"))


PRESETS = {
    "mosi": LanguageConfig(), "mosei": LanguageConfig(hidden=128),
    "synthetic": LanguageConfig(hidden=16, dropout=0.2, **DEMONSTRATION),
}  # fmt: skip


def preset(dataset: str, *, aligned: bool, protocol: str) -> LanguageConfig:
    """Return the configuration of a data set; raises SpecError naming the nearest data set."""
    if dataset not in PRESETS:
        raise no_preset("language", dataset, PRESETS)
    return PRESETS[dataset]


def evidence(setting: Setting) -> dict[str, Evidence]:
    """Return on what the system stands: on nothing printed."""
    ours = Evidence("ours", "not printed: the strongest single modality, as a measure of what fusion adds")
    return {"net": ours, "training": ours, "settings": ours, "inputs": ours}


SYSTEM = System(
    name="language",
    title="Language alone",
    paper="ours, not printed",
    model="dmd_repro.systems.language.model:Language",
    config=LanguageConfig,
    preset=preset,
    evidence=evidence,
    reads="l",
    datasets=tuple(PRESETS),
)
