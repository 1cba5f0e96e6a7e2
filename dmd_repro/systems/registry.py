"""The names of the systems the command line knows, loaded when used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
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
