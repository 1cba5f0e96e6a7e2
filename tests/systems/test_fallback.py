"""A data set without a preset of a system's own: that of CMU-MOSI is used, and said wherever the run is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from command import Here

from dmd_repro.cli.outcome import report
from dmd_repro.data.features import Features
from dmd_repro.errors import SpecError
from dmd_repro.evaluate.checkpoint import open_checkpoint
from dmd_repro.evaluate.predict import evaluate_checkpoint
from dmd_repro.records.folder import Records
from dmd_repro.systems.declare import Setting
from dmd_repro.systems.registry import SHIPPED, find_system
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.fit import Execution, fit

SMALL = {"d": 4, "heads": 2, "layers": 1, "kernel_l": 3, "max_epochs": 1, "accumulate": 1}


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("dataset", ["sims", "custom"])
def test_every_system_has_settings_for_every_data_set(name: str, dataset: str) -> None:
    """Protects: MOSI's preset stands in, in every protocol, and its grade is that of settings of nobody's."""
    system = find_system(name)
    for protocol in system.protocols:
        for aligned in (True,) if system.inputs.aligned_only else (True, False):
            found = system.preset_for(dataset, aligned=aligned, protocol=protocol)
            assert found == system.preset("mosi", aligned=aligned, protocol=protocol)
            there = Setting(dataset, aligned, protocol)
            assert system.stands_on(there)["settings"].words == system.fallback_words(dataset)
            assert system.grade(there) == ("ours" if name == "language" else "reconstructed")
    assert not system.fallback_words("mosi")


def test_a_run_says_which_preset_it_has(toy: Features, tmp_path: Path) -> None:
    """Protects: whoever reads the run's summary sees that nobody tuned its settings for the data set."""
    sims = replace(toy, dataset="sims")
    spec = resolve_spec("dmd", seed=1, features=sims, overrides=SMALL)
    record = fit(spec, sims, Records(tmp_path), execution=Execution())
    assert "settings: the preset of mosi, as dmd has none for sims" in report(record)
    again = evaluate_checkpoint(open_checkpoint(record.run_id, Records(tmp_path)), sims, "test", execution=Execution())
    assert set(again.changed) == set(SMALL)


def test_show_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects: `dmd systems show` tells what a system would train with where nothing is published."""
    said = Here(tmp_path, monkeypatch, capsys)("systems", "show", "mult")
    assert said.code == 0, said.err
    assert "the preset of mosi, as mult has none for sims" in said.out


def test_a_system_without_a_preset_of_mosi_refuses() -> None:
    """Protects: nothing is made up where there is nothing to fall back on."""
    system = replace(find_system("dmd"), datasets=("mosei",))
    assert not system.falls_back("sims")
    with pytest.raises(SpecError, match="a data set with a preset"):
        system.preset_for("sims", aligned=True, protocol="official")
