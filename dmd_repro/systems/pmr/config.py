"""PMR's settings. Its paper was not at hand: the net follows what others say of it, the values are MulT's.

What a reader with the paper can settle stands in docs/look-up.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import AblationMask
from dmd_repro.systems.config import TrainConfig, check_encoders, check_words, no_preset
from dmd_repro.systems.declare import Evidence, Setting, System
from dmd_repro.systems.mult.config import PRESETS as MULT_PRESETS


@dataclass(frozen=True)
class PMRConfig(TrainConfig):
    """Settings of the net and its training; where a preset says nothing else, those of MulT's `main.py`."""

    d: int = 30
    heads: int = 5
    layers: int = 5
    kernel_l: int = 1
    kernel_a: int = 1
    kernel_v: int = 1
    relu_dropout: float = 0.1
    res_dropout: float = 0.1  # MulT drops attention weights too: that would take all of them in memory
    embed_dropout: float = 0.25
    output_dropout: float = 0.0
    unit: str = "gated"  # a learned filter between what a unit reads and itself; or plain, MulT's block
    source: str = "updated"  # the message reads the modalities of this layer; or previous, of the layer before
    batch_size: int = 24
    learning_rate: float = 1e-3
    clip_norm: float = 0.8
    max_epochs: int = 40
    plateau_patience: int = 20
    plateau_factor: float = 0.1
    early_stop: int = 0
    selection_mean: str = "clips"
    selection_digits: int = 15

    def check(self, steps: Mapping[str, int], mask: AblationMask = AblationMask()) -> None:
        """Raise SpecError or DataError where the settings cannot make a net for these steps."""
        check_words(self, unit=("gated", "plain"), source=("updated", "previous"))
        check_encoders(self.d, self.heads, {m: getattr(self, f"kernel_{m}") for m in MODALITIES}, steps)


def _as_mult(setting: tuple[str, str]) -> PMRConfig:
    known, values = {f.name for f in fields(PMRConfig)}, MULT_PRESETS[setting].to_dict()
    return PMRConfig(**{name: value for name, value in values.items() if name in known})  # type: ignore[arg-type]


PRESETS = {setting: _as_mult(setting) for setting in MULT_PRESETS}
PRESETS |= {
    (name, s): replace(c, layers=1) for (name, s), c in PRESETS.items() if name == "synthetic"
}  # a demonstration


def preset(dataset: str, *, aligned: bool, protocol: str) -> PMRConfig:
    """Return the configuration of a data set and setting; raises SpecError naming the nearest data set."""
    key = (dataset, "aligned" if aligned else "unaligned")
    if key not in PRESETS:
        raise no_preset("pmr", dataset, {name for name, _ in PRESETS})
    return PRESETS[key]


def evidence(setting: Setting) -> dict[str, Evidence]:
    """Return on what the system stands."""
    return {
        "net": Evidence(
            "reconstructed", "from what others say of it; neither its paper nor its authors' code was read"
        ),
        "training": Evidence("reconstructed", "MulT's loop, on the output's absolute error alone"),
        "settings": Evidence("reconstructed", "MulT's of the same data set and setting"),
        "inputs": Evidence("reconstructed", "the public feature files, as MulT reads them"),
    }


def cost(setting: Setting) -> str:
    """Return what a planner should know of its price."""
    return "" if setting.aligned else "a step costs 4 to 10 times MulT's: its message is as long as all three"


SYSTEM = System(
    name="pmr",
    title="PMR",
    paper="Lv et al.: Progressive Modality Reinforcement for Human Multimodal Emotion Recognition, CVPR 2021",
    model="dmd_repro.systems.pmr.model:PMR",
    config=PMRConfig,
    preset=preset,
    evidence=evidence,
    cost=cost,
    datasets=tuple(dict.fromkeys(name for name, _ in PRESETS)),
)
