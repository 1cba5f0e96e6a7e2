"""What is declared of a system, without torch: its name, settings, needs, parts, switches and evidence.

A system that ships has a `config.py` that ends in a `System`; a system in a file of its own has a class whose
attributes say the same (`nn`-free planning is then not possible, since the file imports torch).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from dmd_repro.datasets import DATASETS
from dmd_repro.errors import SpecError
from dmd_repro.spec import Scalar
from dmd_repro.systems.config import InputNeeds, TrainConfig
from dmd_repro.systems.switches import Same, Switch
from dmd_repro.systems.told import Shapes, Told

GRADES = ("matched", "ported", "from text", "reconstructed", "ours", "copied")  # from the strongest to the weakest
ASPECTS = ("net", "training", "settings", "inputs")
FALLBACK = "mosi"  # the data set whose preset a system uses where it has none of the data set's own
WITH_WORDS = GRADES[:3]  # below, a row gets numbers and no word


@dataclass(frozen=True, slots=True)
class Evidence:
    """On what one aspect of a system stands: a grade, and one sentence that says why."""

    grade: str
    words: str

    def __post_init__(self) -> None:
        if self.grade not in GRADES:
            raise ValueError(f"grade {self.grade!r}: expected one of {', '.join(GRADES)}")


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a system is trained: the data set, aligned or not, the protocol."""

    dataset: str
    aligned: bool
    protocol: str


def unknown_evidence(setting: Setting) -> dict[str, Evidence]:
    """Return what is known of a system whose author says nothing of it."""
    return {aspect: Evidence("reconstructed", "its author states no source") for aspect in ASPECTS}


def no_words(setting: Setting) -> str:
    """Return "": a plan need not warn of what a system costs."""
    return ""


@dataclass(frozen=True, slots=True)
class System:
    """One system. `model` is its class, or where to find it ("module:Class"), imported when it is needed."""

    name: str
    title: str
    paper: str
    model: str | type
    config: type[TrainConfig]
    preset: Callable[..., TrainConfig]  # (dataset, *, aligned, protocol) -> configuration
    inputs: InputNeeds = field(default_factory=InputNeeds)
    parts: frozenset[str] = frozenset()  # what a mask may switch off
    protocols: tuple[str, ...] = ("official",)
    model_version: int = 1  # raised by any change that can move a prediction
    readable_versions: tuple[int, ...] = ()  # earlier versions whose records this one still evaluates
    heads: tuple[str, ...] = ()  # names of its further outputs, one of which a row may be scored by
    stackable: bool = False  # may seeds train as one model: its layers have a stack axis
    options: tuple[str, ...] = ()  # true/false settings that can be part of the name: `mult+gd`
    switches: tuple[Switch, ...] = ()
    same: tuple[Same, ...] = ()
    evidence: Callable[[Setting], Mapping[str, Evidence]] = unknown_evidence
    reads: str = "l, a, v"  # the modalities its prediction depends on
    origin: str = "dmd_repro"  # the package or file it comes from
    datasets: tuple[str, ...] = field(default=())  # data sets with a preset of their own
    cost: Callable[[Setting], str] = no_words  # what a plan says of its price in a setting; "" for the usual one
    official: str = ""  # "module:function" that reads a configuration from tensors under the reference's names
    no_official: str = ""  # what its authors' files are instead, where there is none
    bert_names: Mapping[str, str] = field(default_factory=dict)  # protocol -> what stands before BERT's in those files

    def load(self) -> Any:
        """Import and return the model's class. Imports torch."""
        return _named(self.model) if isinstance(self.model, str) else self.model

    def told(self, shapes: Shapes, steps: Mapping[str, int]) -> Told:
        """Return what tensors tell, on features of these steps; KeyError or IndexError where they are of others."""
        found: Told = _named(self.official)(shapes, steps)
        return found

    def falls_back(self, dataset: str) -> bool:
        """Tell whether a data set has no preset of its own here, and gets that of `FALLBACK`."""
        return dataset not in self.datasets and FALLBACK in self.datasets

    def fallback_words(self, dataset: str) -> str:
        """Return what is said of a data set without a preset of its own; "" for the others."""
        if not self.falls_back(dataset):
            return ""
        return f"the preset of {FALLBACK}, as {self.name} has none for {dataset}"

    def preset_for(self, dataset: str, *, aligned: bool, protocol: str) -> TrainConfig:
        """Return the preset of a data set, or that of `FALLBACK`, for labels as wide as the data set's.

        Raises SpecError where there is neither.
        """
        chosen = FALLBACK if self.falls_back(dataset) else dataset
        config, facts = self.preset(chosen, aligned=aligned, protocol=protocol), DATASETS.get(dataset)
        return config if facts is None or facts.label_range is None else config.for_labels(*facts.label_range)

    def stands_on(self, setting: Setting) -> Mapping[str, Evidence]:
        """Return its evidence in a setting; a fallback preset is nobody's setting for that data set."""
        words = self.fallback_words(setting.dataset)
        return {**self.evidence(setting), **({"settings": Evidence("reconstructed", words)} if words else {})}

    def grade(self, setting: Setting) -> str:
        """Return the weakest grade of its aspects in a setting."""
        return max((e.grade for e in self.stands_on(setting).values()), key=GRADES.index)

    @property
    def aliases(self) -> Mapping[str, str]:
        """Second names of its settings."""
        return self.config.ALIASES


def _named(where: str) -> Any:
    module, _, attribute = where.partition(":")
    return getattr(importlib.import_module(module), attribute)


KINDS = {"bool": bool, "int": int, "float": float, "str": str}


def check_declaration(system: System) -> System:
    """Return a system whose declaration holds together; raises SpecError naming what does not."""
    where = f"system '{system.name}' ({system.origin})"
    if not system.name or not all(c.isalnum() or c in "-_" for c in system.name):
        raise SpecError.at(
            where, expected="a name of letters, digits, - and _", got=repr(system.name), do="Change NAME in its file"
        )
    for f in fields(system.config):
        value = f.default
        kind = f.type if isinstance(f.type, str) else getattr(f.type, "__name__", str(f.type))
        if kind not in KINDS or not isinstance(value, KINDS[kind] if kind != "float" else (int, float)):
            raise SpecError.at(
                f"{where}, setting {f.name}", expected="a default that is a number, true/false or text",
                got=f"{kind} with default {value!r}", do="Give it one of those types",
            )  # fmt: skip
    known = {f.name for f in fields(system.config)}
    for name in (*system.options, *(switch.name for switch in system.switches)):
        if name not in known:
            raise SpecError.at(
                where, expected="switches and options that are settings", got=repr(name),
                do=f"Add the field to {system.config.__name__}",
            )  # fmt: skip
    return system


def settings_of(system: System, values: Mapping[str, Scalar]) -> TrainConfig:
    """Return the configuration of a record's values, older ones completed; raises SpecError on an unknown field."""
    return system.config.from_dict(values)
