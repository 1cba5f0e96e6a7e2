"""FDMER's settings. Its abstract is all that is known here: every formula and every value is a reading of ours.

What a reader with the paper can settle stands in docs/look-up.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dmd_repro.errors import SpecError
from dmd_repro.spec import AblationMask
from dmd_repro.systems.config import InputNeeds, TrainConfig, check_words, no_preset
from dmd_repro.systems.declare import Evidence, Setting, System
from dmd_repro.systems.rules import DEMONSTRATION, NEVER


@dataclass(frozen=True)
class FDMERConfig(TrainConfig):
    """Settings of the net, its losses and its training."""

    d: int = 128
    heads: int = 4
    layers: int = 2
    dropout: float = 0.1
    adversary_weight: float = 0.1
    consistency_weight: float = 0.1
    disparity_weight: float = 0.1
    disparity: str = "hsic"  # or orthogonal, MISA's
    task: str = "mse"  # MISA's; or l1
    batch_size: int = 32
    learning_rate: float = 1e-4  # one rate, BERT's too
    least_batch: int = 2  # of one clip there is no independence to measure
    early_stop: int = 6
    max_epochs: int = 200
    plateau_patience: int = NEVER
    selection_loss: str = "mse"
    selection_mean: str = "clips"
    selection_digits: int = 15

    def check(self, steps: Mapping[str, int], mask: AblationMask = AblationMask()) -> None:
        """Raise SpecError where a setting is none of its words, or heads do not divide the width."""
        check_words(self, disparity=("hsic", "orthogonal"), task=("mse", "l1"))
        if self.d % self.heads:
            raise SpecError.at("--set d", expected=f"a multiple of heads ({self.heads})", got=str(self.d),
                               do="Change d or heads")  # fmt: skip


PRESETS = {
    "mosi": FDMERConfig(), "mosei": FDMERConfig(), "synthetic": FDMERConfig(d=16, heads=2, layers=1, **DEMONSTRATION),
}  # fmt: skip


def preset(dataset: str, *, aligned: bool, protocol: str) -> FDMERConfig:
    """Return the configuration of a data set; raises SpecError naming the nearest data set."""
    if dataset not in PRESETS:
        raise no_preset("fdmer", dataset, PRESETS)
    return PRESETS[dataset]


def evidence(setting: Setting) -> dict[str, Evidence]:
    """Return on what the system stands."""
    return {
        "net": Evidence("reconstructed", "from its abstract; every formula is our reading"),
        "training": Evidence("reconstructed", "ours, of MISA's order of magnitude"),
        "settings": Evidence("reconstructed", "ours; none is known here"),
        "inputs": Evidence("reconstructed", "the public aligned files, as the DMD paper's table says of the setting"),
    }


SYSTEM = System(
    name="fdmer",
    title="FDMER",
    paper="Yang et al.: Disentangled Representation Learning for Multimodal Emotion Recognition, ACM MM 2022",
    model="dmd_repro.systems.fdmer.model:FDMER",
    config=FDMERConfig,
    preset=preset,
    inputs=InputNeeds(aligned_only=True),
    evidence=evidence,
    datasets=tuple(PRESETS),
)
