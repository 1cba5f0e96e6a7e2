"""RAVEN's settings, its three protocols, and on what evidence each stands.

[consts] = victorywys/RAVEN at c276657 (consts.py, 2019), which its README calls not tuned again for its new loader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dmd_repro.spec import AblationMask
from dmd_repro.systems.config import InputNeeds, TrainConfig, check_lengths, check_words, no_preset
from dmd_repro.systems.declare import Evidence, Setting, System
from dmd_repro.systems.rules import DEMONSTRATION, MULT, MULT_SIZES, NEVER
from dmd_repro.systems.switches import Switch, aliases_of, values_under

_MODEL = "victorywys/RAVEN, model.py"
SWITCHES = (
    Switch("nonverbal", "detached", "attached", ("detached", "attached"), "architecture", "trained end to end",
           "the shift is cut from the gradient: 22 of 28 tensors stay as they were drawn, and the net is a word LSTM "
           "with a fixed random perturbation", f"Section 3; {_MODEL}: forward", others={"attached": "attached"}),
    Switch("gates", "linear", "sigmoid", ("linear", "sigmoid"), "architecture", "a sigmoid of a linear map",
           "the linear map alone, unbounded", f"Section 3, gates; {_MODEL}: forward"),
    Switch("scaling", "relative", "capped", ("relative", "capped"), "architecture",
           "a shift is added as it is, unless it is longer than a share of the word: then it is cut to that",
           "always relative to the word's length: |word| times the share times the shift over max(1, |shift|)",
           f"Section 3, alpha; {_MODEL}: forward"),
    Switch("test_dropout", True, False, (), "training", "nothing is random at test",
           "the net is never put into evaluation mode: dropout is on in validation and test, so a result is one draw",
           "main.py: train_model"),
)  # fmt: skip


@dataclass(frozen=True)
class RAVENConfig(TrainConfig):
    """Settings of the net and of its training; the defaults are [consts]."""

    ALIASES = aliases_of(SWITCHES)

    norm: int = 150
    cell: int = 150
    hidden: int = 300
    dropout: float = 0.2
    scale: float = 0.2  # how far a word moves, as a share of its length
    align: str = "none"  # unequal lengths: ctc (MulT's module), none: refused
    padding: str = "behind"  # true words are moved to the front, padding behind them; as_given: every step is a word
    task_loss: str = "mse"  # or l1, MulT's loop
    nonverbal: str = "detached"
    gates: str = "linear"
    scaling: str = "relative"
    test_dropout: bool = True
    batch_size: int = 20
    learning_rate: float = 1e-3
    least_batch: int = 2  # main.py skips a batch of one clip
    max_epochs: int = 100  # ours; [consts] 500, of which the best test epoch was reported too
    early_stop: int = 20  # ours; [consts] has none
    plateau_patience: int = NEVER
    selection_mean: str = "clips"  # the lowest validation MAE; the code picks another epoch for each metric
    selection_digits: int = 15

    def check(self, steps: Mapping[str, int], mask: AblationMask = AblationMask()) -> None:
        """Raise SpecError or DataError where settings or steps do not fit together."""
        check_words(self, nonverbal=("detached", "attached"), gates=("linear", "sigmoid"), align=("none", "ctc"),
                    padding=("behind", "as_given"),
                    scaling=("relative", "capped"), task_loss=("mse", "l1"))  # fmt: skip
        check_lengths(
            "raven",
            self.align,
            steps,
            do="--set align=ctc, which is how the printed rows were made",
            expected="one acoustic and visual step a word, or an aligner",
        )


_MULT: dict[str, Any] = {**MULT, "task_loss": "l1"}
PRESETS: dict[tuple[str, bool], RAVENConfig] = {
    ("mosi", True): RAVENConfig(),  # [consts]
    # ours: no value was ever published; these rows were run by MulT's authors, so MulT's loop and its sizes
    **{key: RAVENConfig(**_MULT, **MULT_SIZES[key]) for key in (("mosi", False), ("mosei", True), ("mosei", False))},
    **{("synthetic", aligned): RAVENConfig(norm=16, cell=16, hidden=32, **DEMONSTRATION) for aligned in (True, False)},
}


def preset(dataset: str, *, aligned: bool, protocol: str) -> RAVENConfig:
    """Return the configuration of a data set and setting; raises SpecError naming the nearest data set."""
    if (dataset, aligned) not in PRESETS:
        raise no_preset("raven", dataset, (name for name, _ in PRESETS))
    values: dict[str, Any] = values_under(SWITCHES, protocol)
    return replace(PRESETS[dataset, aligned], align="none" if aligned else "ctc", **values)


def evidence(setting: Setting) -> dict[str, Evidence]:
    """Return on what the system stands."""
    own = setting.dataset == "mosi" and setting.aligned
    net = {
        "official": Evidence("ported", "equal, array by array, to the authors' later code (victorywys/RAVEN, c276657)"),
        "attached": Evidence("ported", "the authors' code with its cut of the gradient removed, equal array by array"),
        "paper": Evidence("from text", "the paper's equations, with the code's acoustic batch normalisation"),
    }[setting.protocol]
    return {
        "net": net,
        "training": Evidence("ported", "the authors' loop, with one choice of epoch (theirs: one for each metric)")
        if own else Evidence("reconstructed", "MulT's loop, as its authors printed the row; they released no RAVEN"),
        "settings": Evidence("ported", "the public constants, which their README calls not tuned again")
        if own else Evidence("reconstructed", "ours: no value was ever published for this row"),
        "inputs": Evidence("reconstructed", "one averaged vector a word, where RAVEN reads windows within each word")
        if setting.aligned
        else Evidence("reconstructed", "MulT's public CTC module, whose use here is inferred; one vector a word"),
    }  # fmt: skip


SYSTEM = System(
    name="raven",
    title="RAVEN",
    paper="Wang et al.: Words Can Shift, AAAI 2019",
    model="dmd_repro.systems.raven.model:RAVEN",
    config=RAVENConfig,
    preset=preset,
    inputs=InputNeeds(),
    protocols=("official", "paper", "attached"),
    switches=SWITCHES,
    evidence=evidence,
    datasets=tuple(dict.fromkeys(name for name, _ in PRESETS)),
    official="dmd_repro.systems.raven.official:told",
)
