"""From a model's name, a data set and some settings to the spec of a run, with every hyper-parameter resolved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol, TypeVar

from dmd_repro.errors import SpecError, nearest
from dmd_repro.spec import AblationMask, RunSpec, Scalar
from dmd_repro.systems.bert import how_to_get
from dmd_repro.systems.config import TrainConfig
from dmd_repro.systems.registry import find_system, split_options

TRAINING_VERSION = 2
PRECISIONS = {"float32": "highest", "tf32": "high"}  # a setting, and torch's word for it
WORDS = {  # settings that are one of a few words
    "selection_mean": ("batches", "clips"),
    "precision": tuple(PRECISIONS),
    "optimizer": ("adam", "adam_keras"),
    "order": ("epoch", "once"),
    "selection_ties": ("earlier", "later"),
    "selection_epoch": ("best", "last"),
    "pad_side": ("none", "left", "right"),
}
Config = TypeVar("Config", bound=TrainConfig)


class Described(Protocol):
    """What of a feature set decides a spec."""

    @property
    def name(self) -> str: ...
    @property
    def dataset(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def aligned(self) -> bool: ...
    @property
    def steps(self) -> Mapping[str, int]: ...
    @property
    def sizes(self) -> Mapping[str, int]: ...


def resolve_spec(
    model: str,
    *,
    seed: int,
    features: Described,
    protocol: str = "official",
    mask: AblationMask = AblationMask(),
    overrides: Mapping[str, str | Scalar] | None = None,
    bert: str = "",
) -> RunSpec:
    """Return the spec of a run with every hyper-parameter resolved: preset of the data set, then the overrides.

    `model` may carry options: `mult+gd` is `mult` with its setting gd on, the very same run.
    Raises SpecError on an unknown model, protocol, part or setting, on text the model cannot read, and where an epoch
    has fewer batches than gradients are summed over, so that no step would ever be taken.
    """
    model, options = split_options(model)
    if twice := sorted(set(options).intersection(overrides or {})):
        raise SpecError.at(
            f"--set {twice[0]}",
            expected=f"it once, here or in the model's name (+{twice[0]})",
            got="both",
            do="Drop one",
        )
    system = find_system(model)
    if protocol not in system.protocols:
        raise SpecError.at(
            f"protocol '{protocol}'",
            expected=f"a protocol of {model}",
            got="an unknown one",
            do=nearest(protocol, system.protocols),
        )
    mask.check(model, system.parts)
    if features.text not in system.inputs.readable or (system.inputs.aligned_only and not features.aligned):
        raise SpecError.at(
            f"model '{model}' on {features.name}",
            expected=f"{'aligned ' if system.inputs.aligned_only else ''}{' or '.join(system.inputs.readable)} text",
            got=f"{'aligned' if features.aligned else 'unaligned'} {features.text} text",
            do="Choose another feature set, or --text",
        )
    config: TrainConfig = system.preset_for(features.dataset, aligned=features.aligned, protocol=protocol)
    config = config.for_text(features.text)
    config = config.with_overrides({**options, **(overrides or {})})
    config = with_bert(config, features.text, bert, overrides or {})
    check_loop(config, features.sizes["train"])
    if config.pad_side != "none" and features.aligned and features.text == "bert":
        if "pad_side" in (overrides or {}):
            raise SpecError.at(
                f"--set pad_side={config.pad_side}",
                expected="text as vectors: the tokens of aligned features cannot move", got="bert text (token ids)",
                do="Drop it, or take --text hidden",
            )  # fmt: skip
        config = replace(config, pad_side="none")
    config.check(features.steps, mask)
    return RunSpec(
        model=model,
        seed=seed,
        dataset=features.dataset,
        protocol=protocol,
        mask=mask,
        config=config.to_dict(),
        model_version=system.model_version,
        training_version=TRAINING_VERSION,
        neutral=config.neutral(),
    )


def with_bert(config: Config, text: str, bert: str, overrides: Mapping[str, str | Scalar]) -> Config:
    """Put the BERT (by the digest of its weights) into a resolved configuration, where the text is token ids.

    Raises SpecError where token ids have no BERT, or a setting of BERT is given without token ids.
    """
    if "bert" in overrides:
        raise SpecError.at("--set bert", expected="another setting", got="'bert'", do="Name it with --bert FOLDER")
    if text == "bert":
        if not bert:
            raise SpecError.at("bert text", expected="a BERT to read the token ids", got="none named", do=how_to_get())
        return replace(config, bert=bert)
    if "bert_finetune" in overrides:
        raise SpecError.at(
            "--set bert_finetune",
            expected="bert text (token ids)",
            got=f"{text} text",
            do="Add --text bert --bert FOLDER",
        )
    return config


def check_values(config: TrainConfig) -> None:
    """Raise SpecError, naming the setting, for a value that the training engine cannot use on any clips."""
    config.check_ranges()
    for name, known in {**WORDS, "selection_loss": config.SELECTION_LOSSES}.items():
        if (value := getattr(config, name)) not in known:
            raise SpecError.at(f"--set {name}", expected=" or ".join(known), got=repr(value), do=nearest(value, known))


def check_loop(config: TrainConfig, clips: int) -> None:
    """Raise SpecError where the training engine cannot use a setting, or would never take a step on so few clips."""
    check_values(config)
    if config.batch_size < config.least_batch:
        raise SpecError.at(
            "--set batch_size", expected=f"at least least_batch={config.least_batch} clips (smaller ones are skipped)",
            got=str(config.batch_size), do="Raise it",
        )  # fmt: skip
    batches = math.ceil(clips / config.batch_size)
    rest = clips % config.batch_size
    if rest and (config.drop_last or rest < config.least_batch):
        batches -= 1
    if not batches:
        least = config.batch_size if config.drop_last else config.least_batch
        lower = ", or lower --set batch_size" if config.drop_last else ""
        raise SpecError.at(
            f"training on {clips} clips", expected=f"at least {least}, as a smaller batch is left out",
            got="no batch to train on", do=f"Take more clips{lower}",
        )  # fmt: skip
    if batches < config.accumulate:
        raise SpecError.at(
            f"training on {clips} clips",
            expected=f"at least {config.accumulate} batches an epoch (gradients of that many are summed for a step)",
            got=f"{batches} (of {config.batch_size})",
            do="No step would ever be taken. Step more often: --set accumulate=1",
        )


def why_not_stacked(spec: RunSpec) -> str:
    """Return the reason why seeds of a configuration cannot share a stack; "" where they can."""
    if not find_system(spec.model).stackable:
        return f"{spec.model} has no stack axis"
    if spec.config.get("bert") and spec.config.get("bert_finetune", True):
        return "a BERT that is trained with the model exists once for each seed"
    return ""
