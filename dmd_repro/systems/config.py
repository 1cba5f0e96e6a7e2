"""What is declared of a system without torch: what it can be fed, and the settings the training engine reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self

from dmd_repro.errors import DataError, SpecError, nearest
from dmd_repro.shapes import MODALITY_NAMES
from dmd_repro.spec import AblationMask, Scalar
from dmd_repro.systems.suggest import suggest


def added(default: Any, *, neutral: Any) -> Any:
    """Declare a setting that was added after a release.

    `neutral` is a literal, fixed when the setting is introduced and never moved: the value at which the program does
    what it did before. At it the setting is in no run's identity, and older records are read as if they had it. The
    default may be another value, and may change; that changes the id of new runs.
    """
    if type(default) is not type(neutral):
        raise TypeError(f"a setting's default and neutral value are of one type, not {default!r} and {neutral!r}")
    return field(default=default, metadata={"neutral": neutral})


@dataclass(frozen=True, slots=True)
class InputNeeds:
    """What a system can be fed; the planner turns a misfit into the reason its row is not run."""

    aligned_only: bool = False
    texts: tuple[str, ...] = ("glove", "hidden")
    unaligned_by: str = ""  # the value of `align` that unaligned features need; its preset has none

    @property
    def readable(self) -> tuple[str, ...]:
        """Every kind of text that can reach it: token ids too, where hidden states do, by way of a BERT."""
        return (*self.texts, "bert") if "hidden" in self.texts and "bert" not in self.texts else self.texts


@dataclass(frozen=True)
class TrainConfig:
    """The hyper-parameters the training engine reads; each system's own configuration extends it."""

    ALIASES: ClassVar[Mapping[str, str]] = {}  # second names `--set` accepts
    SELECTION_LOSSES: ClassVar[tuple[str, ...]] = ("l1", "mse")  # "total" too, where terms are computed in evaluation

    batch_size: int = 16
    learning_rate: float = 1e-4
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_eps: float = 1e-8
    accumulate: int = 1  # batches whose gradients are summed (not averaged) before a step
    trailing_step: bool = False  # whether the batches that do not fill an epoch's last window step too
    clip_value: float = 0.0  # every gradient element is clamped to this after each backward; 0: no clipping
    clip_norm: float = 0.0  # a step's gradient is scaled down to this L2 norm over all parameters; 0: no clipping
    plateau_patience: int = 5
    plateau_factor: float = 0.5
    early_stop: int = 10  # epochs without a better validation loss; 0: all epochs are trained
    max_epochs: int = 200
    selection_mean: str = "batches"  # the validation loss is a mean of batch means, or a mean over clips ("clips")
    selection_digits: int = 4  # the validation loss is rounded to this many digits before it is compared
    precision: str = "float32"  # of matrix products: float32, or tf32 (a GPU's, 10 bits of mantissa)
    bert: str = ""  # the BERT that reads token ids, by the digest of its weights; "": the text is not token ids
    bert_finetune: bool = True  # trained with the model, as the authors do; false: frozen, each clip encoded once
    optimizer: str = added("adam", neutral="adam")  # or adam_keras: epsilon beside the root before bias correction
    weight_decay: float = added(0.0, neutral=0.0)  # L2 in the gradient (Adam's, not decoupled)
    order: str = added("epoch", neutral="epoch")  # training clips are shuffled every epoch, or "once" for all
    drop_last: bool = added(False, neutral=False)  # an epoch's last batch is left out where it is not full
    least_batch: int = added(1, neutral=1)  # a last training batch of fewer clips is left out, counted and said
    selection_loss: str = added("l1", neutral="l1")  # an epoch is selected by its l1, mse or total
    selection_ties: str = added("earlier", neutral="earlier")  # which of two epochs with one validation loss is kept
    selection_margin: float = added(0.0, neutral=0.0)  # how far the loss has to fall to count as better
    selection_epoch: str = added("best", neutral="best")  # or last: the last epoch trained, whatever its loss
    pad_side: str = added("none", neutral="none")  # the clips' padding is moved to the left or right; none: as stored

    def with_overrides(self, overrides: Mapping[str, str | Scalar]) -> Self:
        """Return a copy with `--set name=value` applied, each value read as the field's own type.

        Raises SpecError naming the nearest field, or the type expected.
        """
        known = {f.name for f in fields(self)}
        values: dict[str, Scalar] = {}
        for asked, value in overrides.items():
            name = self.ALIASES.get(asked, asked)
            if name not in known:
                raise SpecError.at(
                    f"--set {asked}", expected="a known setting", got="an unknown name",
                    do=suggest(asked, {*known, *self.ALIASES}),
                )  # fmt: skip
            if name in values:
                raise SpecError.at(f"--set {asked}", expected="each setting once", got="it twice", do="Drop one")
            values[name] = _typed(name, value, type(getattr(self, name)))
        return replace(self, **values)  # type: ignore[arg-type]

    def for_text(self, text: str) -> Self:
        """Return the configuration for a kind of text: itself, where the system is the same on all."""
        return self

    def for_labels(self, low: float, high: float) -> Self:
        """Return the configuration for labels from `low` to `high`: of a system that knows their range, the wider one.

        Such a system has `label_low` and `label_high`, which begin at the [-3, 3] of its reference.
        """
        own = self._labels()
        if own is None:
            return self
        return self.with_overrides({"label_low": min(own[0], low), "label_high": max(own[1], high)})

    def _labels(self) -> tuple[float, float] | None:
        low, high = (getattr(self, name, None) for name in ("label_low", "label_high"))
        return None if low is None or high is None else (float(low), float(high))

    def check(self, steps: Mapping[str, int], mask: AblationMask = AblationMask()) -> None:
        """Raise SpecError or DataError where the values cannot make a model of this mask for these steps."""

    def check_ranges(self) -> None:
        """Raise SpecError, naming the setting, where a number lies outside what any model or optimizer can use."""
        if (own := self._labels()) is not None and not own[0] < own[1]:
            raise SpecError.at(
                "--set label_low", expected=f"less than label_high={own[1]}", got=str(own[0]), do="Change one of them"
            )
        for name, value in self.to_dict().items():
            if isinstance(value, (bool, str)) or value is None:
                continue
            least, most, inside = _range(name, whole=isinstance(value, int))
            if not (math.isfinite(value) and least <= value and (value < most if inside else value <= most)):
                words = f"at least {least}" if math.isfinite(least) else "a finite number"
                if math.isfinite(most):
                    words += f" and {'below' if inside else 'at most'} {most}"
                raise SpecError.at(f"--set {name}", expected=words, got=str(value), do="Change it")

    def to_dict(self) -> dict[str, Scalar]:
        """Return every field by name, in the order of their declaration."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def neutral(cls) -> dict[str, Scalar]:
        """Return the neutral value of every setting that was added after a release, by name."""
        return {f.name: f.metadata["neutral"] for f in fields(cls) if "neutral" in f.metadata}

    @classmethod
    def from_dict(cls, values: Mapping[str, Scalar]) -> Self:
        """Rebuild a configuration from `to_dict`, an older one with what was added since at its neutral value.

        Raises SpecError if a field is missing or unknown.
        """
        names = {f.name for f in fields(cls)}
        values = {**{name: value for name, value in cls.neutral().items() if name not in values}, **values}
        if odd := sorted(names.symmetric_difference(values)):
            raise SpecError.at(
                f"{cls.__name__}", expected="exactly its own fields", got=f"a difference in {', '.join(odd)}",
                do="Read it with the version that wrote it, or train it with this one",
            )  # fmt: skip
        return cls(**values)  # type: ignore[arg-type]


def _range(name: str, *, whole: bool) -> tuple[float, float, bool]:
    """Return the least and the greatest value of a setting, and whether the greatest is itself left out."""
    if (
        name.endswith("dropout")
        or name.startswith(("dropout", "attn_dropout", "adam_beta"))
        or name == "plateau_factor"
    ):
        return 0, 1, True  # at 1 nothing is left of the signal, the average never moves, and the rate never decays
    if whole:
        return (0 if name in _FROM_ZERO else 1), 2**31, True
    return (0 if name in _FROM_ZERO else -math.inf), math.inf, False


_FROM_ZERO = {
    "learning_rate", "adam_eps", "clip_value", "clip_norm", "plateau_patience", "early_stop", "selection_digits",
    "weight_decay", "selection_margin", "last_steps", "frozen_layers", "cmd_epsilon",
}  # fmt: skip


def _typed(name: str, value: str | Scalar, kind: type) -> Scalar:
    text = str(value).strip()
    try:
        if kind is bool:
            return {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}[text.lower()]
        return kind(text)
    except (KeyError, ValueError):
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}[kind]
        raise SpecError.at(f"--set {name}", expected=words, got=repr(text), do=f"Write --set {name}=VALUE") from None


def check_encoders(d: int, heads: int, kernels: Mapping[str, int], steps: Mapping[str, int]) -> None:
    """Raise SpecError if heads do not divide the width, DataError if a modality is shorter than its convolution."""
    if d % heads:
        raise SpecError.at("--set d", expected=f"a multiple of heads ({heads})", got=str(d), do="Change d or heads")
    for m, kernel in kernels.items():
        if steps[m] < kernel:
            raise DataError.at(
                f"{MODALITY_NAMES[m]} features", expected=f"at least {kernel} time steps", got=str(steps[m]),
                do=f"Use longer features or --set kernel_{m}=1",
            )  # fmt: skip


def check_words(config: TrainConfig, **choices: tuple[str, ...]) -> None:
    """Raise SpecError, with the nearest choice, where a setting is none of its words."""
    for name, known in choices.items():
        if (value := getattr(config, name)) not in known:
            raise SpecError.at(f"--set {name}", expected=" or ".join(known), got=repr(value), do=nearest(value, known))


def no_preset(system: str, dataset: str, known: Iterable[str]) -> SpecError:
    """Return the refusal of a data set that a system has no preset for, with the nearest of those it has one for."""
    return SpecError.at(
        f"preset of {system} for '{dataset}'", expected="a data set with a preset", got="none",
        do=nearest(dataset, set(known)),
    )  # fmt: skip


def check_lengths(
    system: str, align: str, steps: Mapping[str, int], *, do: str, expected: str = "one length, or an aligner"
) -> None:
    """Raise SpecError for unequal lengths without an aligner, DataError where one would have more words than steps.

    `align` is the configuration's aligner, "none" without; `do` says how to name one.
    """
    if len(set(steps.values())) <= 1:
        return
    if align == "none":
        raise SpecError.at(
            f"{system} on {steps['l']} / {steps['a']} / {steps['v']} steps", expected=expected, got="unequal lengths",
            do=do,
        )  # fmt: skip
    for m in ("a", "v"):
        if steps[m] < steps["l"]:
            raise DataError.at(
                f"align={align}", expected=f"at least as many {m} steps as words ({steps['l']})", got=str(steps[m]),
                do="Use longer features",
            )  # fmt: skip
