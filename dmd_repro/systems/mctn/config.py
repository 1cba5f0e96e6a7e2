"""MCTN's settings: those of the authors' hierarchical_mctn.yaml and train scripts, on the official splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from dmd_repro.spec import AblationMask
from dmd_repro.systems.config import InputNeeds, TrainConfig, check_lengths, check_words, no_preset
from dmd_repro.systems.declare import Evidence, Setting, System
from dmd_repro.systems.rules import DEMONSTRATION, NEVER
from dmd_repro.systems.switches import Same, Switch, values_under

_CODE = "hainow/MCTN at 5c03e35"
SWITCHES = (
    Switch("attention", "static", "state", ("static", "state"), "architecture", "the decoder's state decides where it "
           "looks (how is not known here: Bahdanau's form)", "the state adds one number to every step's energy, which "
           "the softmax takes away: one distribution for all steps", "seq2seq, cells.py: AttentionDecoderCell"),
    Switch("forget_gate", "input", "own", ("input", "own"), "architecture", "an LSTM has a forget gate of its own",
           "the forget gate reads the input gate's slice", "seq2seq, issue 229: AttentionDecoderCell"),
    Switch("selection_epoch", "last", "best", ("last", "best"), "training", "not said; `best` is the repair",
           "the best checkpoint is written and never read again: the last weights predict", f"{_CODE}, train script"),
)  # fmt: skip
SAME = (
    Same("validation", "the last tenth of the training clips, and no official validation split",
         "here the official validation split of the data files, as for every system", f"{_CODE}, train script"),
    Same("checkpoint at the start", "an existing file of the same name is loaded and trained on",
         "a run starts from its seed alone", f"{_CODE}, train script"),
)  # fmt: skip


@dataclass(frozen=True)
class MCTNConfig(TrainConfig):
    """Settings of the net, its losses and the input stage; the defaults are the authors' for CMU-MOSI."""

    SELECTION_LOSSES: ClassVar[tuple[str, ...]] = ("l1", "mse", "total")

    hidden_1: int = 32
    hidden_2: int = 32
    regression: int = 32
    weight_trans1: float = 0.1
    weight_cycle: float = 0.1
    weight_trans2: float = 0.1
    weight_l2: float = 0.01  # times the squares of the last kernel
    cell: str = "new"  # recurrentshop's since July 2018; old: the one before. The authors do not say which
    attention: str = "static"
    forget_gate: str = "input"
    last_steps: int = 20  # the authors' FIRST 20 words of files padded behind: the last of files padded before
    pad_side: str = "left"
    visual_scale: str = "train_max"  # Facet by its training maximum; or none
    acoustic_scale: str = "none"  # or train_max: no decoder reaches a target outside (-1, 1)
    align: str = "none"  # unequal lengths: ctc (MulT's module), none: refused
    ctc_targets: str = "detached"  # or attached: the aligner can then lower the loss by shrinking what it gives
    batch_size: int = 32
    adam_eps: float = 1e-7
    optimizer: str = "adam_keras"
    plateau_patience: int = NEVER
    early_stop: int = 20
    selection_loss: str = "total"  # Keras' val_loss: translations and penalty count
    selection_mean: str = "clips"
    selection_digits: int = 15
    selection_epoch: str = "last"

    def check(self, steps: Mapping[str, int], mask: AblationMask = AblationMask()) -> None:
        """Raise SpecError or DataError where settings or steps do not fit together."""
        check_words(self, cell=("new", "old"), attention=("static", "state"), forget_gate=("input", "own"),
                    visual_scale=("none", "train_max"), acoustic_scale=("none", "train_max"), align=("none", "ctc"),
                    ctc_targets=("detached", "attached"))  # fmt: skip
        check_lengths("mctn", self.align, steps, do="--set align=ctc (the printed rows' way)")


_SMALL = MCTNConfig(hidden_1=16, hidden_2=16, regression=16, **DEMONSTRATION)
PRESETS = {"mosi": MCTNConfig(), "mosei": MCTNConfig(), "synthetic": _SMALL}  # mosei: ours, none was published


def preset(dataset: str, *, aligned: bool, protocol: str) -> MCTNConfig:
    """Return the configuration of a data set and setting; raises SpecError naming the nearest data set."""
    if dataset not in PRESETS:
        raise no_preset("mctn", dataset, PRESETS)
    config = PRESETS[dataset] if aligned else replace(PRESETS[dataset], align="ctc", last_steps=0)
    return replace(config, **values_under(SWITCHES, protocol))  # type: ignore[arg-type]


def evidence(setting: Setting) -> dict[str, Evidence]:
    """Return on what the system stands."""
    here = setting.dataset == "mosi" and setting.aligned
    paper = setting.protocol == "paper"
    return {
        "net": Evidence(
            "reconstructed" if paper else "matched",
            "the authors' net with an attention and a forget gate of our reading"
            if paper
            else "equal, array by array, to the authors' Keras code (hainow/MCTN)",
        ),
        "training": Evidence(
            "ported",
            "the rules of the authors' script, but on the official validation split (theirs: of train)",
        ),
        "settings": Evidence(
            "ported" if here else "reconstructed",
            "the authors' hierarchical_mctn.yaml" if here else "the authors' for aligned MOSI; none was published",
        ),
        "inputs": Evidence(
            "from text" if setting.aligned else "reconstructed",
            "the authors' rules (20 words, Facet by its maximum) on today's files"
            if setting.aligned
            else "MulT's CTC module gives the targets, cut from the gradient: how its authors joined them is not known",
        ),
    }


SYSTEM = System(
    name="mctn",
    title="MCTN",
    paper="Pham et al.: Found in Translation, AAAI 2019",
    model="dmd_repro.systems.mctn.model:MCTN",
    config=MCTNConfig,
    preset=preset,
    inputs=InputNeeds(unaligned_by="ctc"),
    protocols=("official", "paper"),
    switches=SWITCHES,
    same=SAME,
    evidence=evidence,
    reads="l (a and v are targets)",
    datasets=tuple(PRESETS),
    no_official="a system of Keras, whose authors saved HDF5 files and no state_dict",
)
