"""Which settings of a recorded run are not the printed row's: the record's own configuration says so, not its plan."""

from __future__ import annotations

from collections.abc import Mapping

from dmd_repro.errors import SpecError
from dmd_repro.papers.tables import Row
from dmd_repro.spec import RunSpec, Scalar
from dmd_repro.systems.config import TrainConfig
from dmd_repro.systems.registry import SHIPPED, find_system

_OF_BERT = ("bert", "bert_finetune")  # not compared here: `runs.bert_not_comparable` has words for them


def preset(model: str, dataset: str, *, aligned: bool, protocol: str) -> TrainConfig | None:
    """Return what a system trains with on a data set; None where it or its preset for that data set is unknown."""
    if model not in SHIPPED:
        return None
    try:
        return find_system(model).preset_for(dataset, aligned=aligned, protocol=protocol)
    except (SpecError, KeyError):
        return None


def row_config(row: Row, dataset: str, *, aligned: bool, protocol: str) -> Mapping[str, Scalar] | None:
    """Return every setting that a row's runs have on a data set under a protocol; None where that is unknown."""
    assert row.recipe is not None
    config = preset(row.recipe.model, dataset, aligned=aligned, protocol=protocol)
    return None if config is None else config.with_overrides(row.recipe.overrides).to_dict()


def changed_settings(row: Row, spec: RunSpec, *, aligned: bool) -> dict[str, Scalar] | None:
    """Return the settings of a run that differ from its row's, with the run's values; None where they are unknown.

    A setting that was added after the run counts with its neutral value: what the program did then.
    """
    expected = row_config(row, spec.dataset, aligned=aligned, protocol=spec.protocol)
    if expected is None:
        return None
    return {
        name: value
        for name, value in spec.config.items()
        if name not in _OF_BERT and (name not in expected or expected[name] != value)
    }
