"""MISA's settings, two protocols, and on what evidence each stands.

[config] = declare-lab/MISA at ec42fad (src/config.py, src/solver.py): one set of values for both data sets, but for the
batch and what is frozen; other values that its paper is said to give were not at hand. [mmsa] = thuiar/MMSA at a94e65d
(config_regression.json, trains/singleTask/MISA.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from dmd_repro.errors import SpecError
from dmd_repro.spec import AblationMask
from dmd_repro.systems.config import InputNeeds, TrainConfig, check_words, no_preset
from dmd_repro.systems.declare import Evidence, Setting, System
from dmd_repro.systems.rules import DEMONSTRATION, MMSA, NEVER
from dmd_repro.systems.switches import Switch, aliases_of

UNUSED_NORM = {"official": 600, "mmsa": 1536}  # width of `tlayer_norm`, which nothing reads: it tells whose code it is
SWITCHES = (
    Switch("similarity", "cmd", "adversarial", ("cmd", "adversarial"), "losses", "central moments (CMD), as the code's "
           "defaults have it; the text was not at hand", "CMD; with `use_cmd_sim` off a discriminator tells the shared "
           "codes of the three modalities apart, and its gradient is reversed behind it",
           "declare-lab/MISA, src/config.py: use_cmd_sim; src/solver.py: get_domain_loss"),
    Switch("cmd_epsilon", 0.0, 1e-12, (), "losses", "a distance of moments, whose derivative nobody asks for at 0",
           "the root of a sum of squares: where moments agree (a batch of one clip) its derivative is no number, and "
           "one such batch makes every weight so", "declare-lab/MISA, src/utils/functions.py: CMD"),
)  # fmt: skip


@dataclass(frozen=True)
class MISAConfig(TrainConfig):
    """Settings of the net, its losses and its training; the defaults are [config]."""

    ALIASES = aliases_of(SWITCHES)

    d: int = 128
    dropout: float = 0.5  # of the fusion maps; the transformer layer's is torch's 0.1
    diff_weight: float = 0.3
    sim_weight: float = 1.0
    recon_weight: float = 1.0
    similarity: str = "cmd"  # what draws shared codes together: cmd, or adversarial (a discriminator)
    cmd_epsilon: float = 0.0
    orthogonal: bool = True  # recurrent weights of the LSTMs start orthogonal (src/solver.py)
    frozen_layers: int = 0  # encoder layers of BERT, from the first, that are not trained
    clip_scale: bool = True  # acoustic and visual rows are standardised within each clip (src/create_dataset.py)
    lengths: str = "rows"  # true acoustic and visual rows are read; text: as many as the text has pieces (MMSA)
    padding: str = "behind"  # true rows are moved to the front, padding behind them
    text_states: str = "bert"  # of a BERT that is trained with the net; given: fixed states, as the file holds them
    batch_size: int = 64
    learning_rate: float = 1e-4  # one rate, BERT's too
    clip_value: float = 1.0
    least_batch: int = (
        3  # ours: of one or two clips CMD has no derivative; the printed settings never meet such a batch
    )
    early_stop: int = 7  # src/config.py: patience 6, and one more
    max_epochs: int = 500
    plateau_patience: int = NEVER  # a schedule exists and is stepped only when training ends
    selection_loss: str = "mse"
    selection_ties: str = "later"
    selection_digits: int = 15

    def for_text(self, text: str) -> Self:
        """Return the configuration for a kind of text: what is not token ids is given."""
        return replace(self, text_states="bert" if text == "bert" else "given")

    def check(self, steps: Mapping[str, int], mask: AblationMask = AblationMask()) -> None:
        """Raise SpecError where a setting is none of its words, or the width does not suit two heads."""
        check_words(self, lengths=("rows", "text"), padding=("behind",), text_states=("bert", "given"),
                    similarity=("cmd", "adversarial"))  # fmt: skip
        if self.bert and not self.bert_finetune:
            raise SpecError.at(
                "--set bert_finetune", expected="true (misa averages over the word pieces alone)",
                got="false: of a BERT that is encoded once, which steps are padding is not kept",
                do="Leave it on, or use another system",
            )  # fmt: skip
        if self.d % 2:
            raise SpecError.at("--set d", expected="a multiple of 2 (its heads)", got=str(self.d), do="Change d")
        if self.least_batch < 3 and self.cmd_epsilon == 0 and self.similarity == "cmd":
            raise SpecError.at(
                "--set least_batch", expected="at least 3, as CMD of fewer clips has no derivative",
                got=str(self.least_batch), do="Or --set cmd_epsilon=1e-12",
            )  # fmt: skip


_MMSA: dict[str, Any] = {
    **MMSA, "orthogonal": False, "clip_scale": False, "lengths": "text", "clip_value": 0.8, "accumulate": 2,
    "selection_loss": "mse", "selection_ties": "earlier",
}  # fmt: skip
_SMALL = MISAConfig(d=16, dropout=0.2, **DEMONSTRATION)
PRESETS: dict[str, dict[str, MISAConfig]] = {
    "official": {
        "mosi": MISAConfig(), "mosei": MISAConfig(batch_size=16, frozen_layers=9), "synthetic": _SMALL,
    },
    "mmsa": {
        "mosi": MISAConfig(dropout=0.2, diff_weight=0.1, sim_weight=0.3, batch_size=16, **_MMSA),
        "mosei": MISAConfig(diff_weight=0.3, sim_weight=0.8, batch_size=64, **_MMSA),
        "synthetic": replace(_SMALL, orthogonal=False, clip_scale=False, lengths="text", clip_value=0.8),
    },
}  # fmt: skip


def preset(dataset: str, *, aligned: bool, protocol: str) -> MISAConfig:
    """Return the configuration of a data set; raises SpecError naming the nearest data set."""
    found = PRESETS[protocol]
    if dataset not in found:
        raise no_preset("misa", dataset, found)
    return found[dataset]


def evidence(setting: Setting) -> dict[str, Evidence]:
    """Return on what the system stands."""
    if setting.protocol == "mmsa":
        return {
            "net": Evidence("ported", "equal, array by array, to MMSA's MISA"),
            "training": Evidence("ported", "MMSA's trainer"),
            "settings": Evidence("ported", "MMSA's, tuned by its authors, not the printed row's"),
            "inputs": Evidence("ported", "MMSA's files; which of its two sides they pad is found out, not assumed"),
        }
    return {
        "net": Evidence("ported", "equal, array by array, to the authors' code (declare-lab/MISA at ec42fad)"),
        "training": Evidence("ported", "the authors' loop; validation clips are shuffled into other last batches"),
        "settings": Evidence("ported", "the code's one set of values; those of the paper were not at hand"),
        "inputs": Evidence("reconstructed", "the public aligned files, where MISA reads features of the CMU SDK"),
    }


SYSTEM = System(
    name="misa",
    title="MISA",
    paper="Hazarika et al.: MISA: Modality-Invariant and -Specific Representations, ACM MM 2020",
    model="dmd_repro.systems.misa.model:MISA",
    config=MISAConfig,
    preset=preset,
    inputs=InputNeeds(),
    protocols=("official", "mmsa"),
    switches=SWITCHES,
    evidence=evidence,
    datasets=tuple(PRESETS["official"]),
    official="dmd_repro.systems.misa.official:told",
    bert_names={"official": "bertmodel.", "mmsa": "bertmodel.model."},
)
