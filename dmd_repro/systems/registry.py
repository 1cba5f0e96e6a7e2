"""The names the command line knows: models (loaded when used) and the facts of the official data sets."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dmd_repro.errors import SpecError, nearest
from dmd_repro.spec import Scalar

MODELS: dict[str, str] = {  # name -> "module:Class"; a further system is one file and one line here
    "dmd": "dmd_repro.systems.dmd.model:DMD",
    "mult": "dmd_repro.systems.mult.model:MulT",
}
OPTIONS: dict[str, tuple[str, ...]] = {  # `NAME+OPTION` is the model with that setting of its own switched on
    "mult": ("gd",),
}
BERT_BASE = "12x768-"  # how the fingerprint of a BERT of the starred rows' shape begins: layers x width


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What is publicly known of a data set's official version; `None` where nothing is."""

    title: str
    splits: Mapping[str, int] | None  # clips in the official split
    test_signs: tuple[int, int, int] | None  # test labels < 0, = 0, > 0
    videos: Mapping[str, int] | None  # source videos of each split, disjoint
    dims: Mapping[str, tuple[int, ...]]  # widths the public files have: l (GloVe, hidden), a, v


DATASETS: dict[str, DatasetFacts] = {
    "mosi": DatasetFacts(
        title="CMU-MOSI",
        splits={"train": 1284, "valid": 229, "test": 686},
        test_signs=(379, 30, 277),
        videos={"train": 52, "valid": 10, "test": 31},
        dims={"l": (300, 768), "a": (5,), "v": (20,)},
    ),
    "mosei": DatasetFacts(
        title="CMU-MOSEI",
        splits={"train": 16326, "valid": 1871, "test": 4659},
        test_signs=(1350, 1025, 2284),
        videos={"train": 2249, "valid": 300, "test": 676},
        dims={"l": (300, 768), "a": (74,), "v": (35,)},
    ),
    "synthetic": DatasetFacts(title="SYNTHETIC", splits=None, test_signs=None, videos=None, dims={}),
}


def dataset_facts(name: str) -> DatasetFacts:
    """Return the facts of a data set; raises SpecError with the nearest name."""
    if name not in DATASETS:
        raise SpecError.at(
            f"data set '{name}'", expected="a known data set", got="an unknown name", do=nearest(name, DATASETS)
        )
    return DATASETS[name]


def split_options(name: str) -> tuple[str, dict[str, Scalar]]:
    """Read `mult+gd` as ("mult", {"gd": True}); a plain name as itself. Raises SpecError with the nearest name."""
    model, *options = name.split("+")
    known = OPTIONS.get(model, ())
    for option in options:
        if option not in known:
            full = [f"{model}+{o}" for o in known] or list(MODELS)
            raise SpecError.at(
                f"model '{name}'", expected=f"a known option of {model}", got=repr(option), do=nearest(name, full)
            )
    return model, dict.fromkeys(options, True)


def full_name(model: str, config: Mapping[str, Scalar]) -> str:
    """Return a model's name with the options its configuration has on: the reverse of `split_options`."""
    return "+".join([model, *(option for option in OPTIONS.get(model, ()) if config.get(option))])


def load_model(name: str) -> Any:
    """Import and return a model class; raises SpecError with the nearest name. Imports torch."""
    if name not in MODELS:
        raise SpecError.at(f"model '{name}'", expected="a known model", got="an unknown name", do=nearest(name, MODELS))
    module, _, attribute = MODELS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
