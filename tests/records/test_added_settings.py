"""A setting added after a release moves no id at its neutral value, and older records read like today's."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from command import Here

from dmd_repro.data.features import Features
from dmd_repro.records.folder import Records
from dmd_repro.spec import RunSpec, run_id
from dmd_repro.systems import registry
from dmd_repro.systems.config import TrainConfig, added
from dmd_repro.systems.declare import System
from dmd_repro.systems.dmd.config import SYSTEM as DMD
from dmd_repro.systems.dmd.config import DMDConfig
from dmd_repro.systems.mult.config import SYSTEM as MULT
from dmd_repro.systems.mult.config import MulTConfig
from dmd_repro.systems.resolve import resolve_spec

WRITTEN = Path(__file__).parent / "released"


@dataclass(frozen=True)
class LaterDMD(DMDConfig):
    """DMD's settings in a later version: a switch whose default does something new."""

    echo: float = added(0.25, neutral=0.0)
    tidy: bool = added(False, neutral=False)


@dataclass(frozen=True)
class LaterMulT(MulTConfig):
    """MulT's settings in a later version."""

    tidy: bool = added(False, neutral=False)


def later(system: System, config: type[TrainConfig], **values: Any) -> System:
    """Return a system of a later version; its preset has the added settings, changed as told."""

    def preset(dataset: str, *, aligned: bool, protocol: str) -> TrainConfig:
        before = system.preset(dataset, aligned=aligned, protocol=protocol).to_dict()
        return config(**{**{f: getattr(config, f) for f in config.neutral() if f not in before}, **before, **values})

    return replace(system, config=config, preset=preset)


@pytest.fixture
def as_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program as a later version with two more switches, both neutral in its presets."""
    systems = {"dmd": later(DMD, LaterDMD, echo=0.0), "mult": later(MULT, LaterMulT)}
    monkeypatch.setattr(registry, "_shipped", lambda name: systems[name])


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command, with a copy of the released records as its runs."""
    shutil.copytree(WRITTEN, tmp_path / "runs")
    return Here(tmp_path, monkeypatch, capsys)


@pytest.mark.usefixtures("as_later")
def test_no_released_id_moves(dmd: Here) -> None:
    """Protects: with two more switches every released record verifies, is complete, and a new plan has its id."""
    assert dmd("runs", "verify").code == 0
    records = Records(dmd.folder / "runs")
    for run in (p.name for p in WRITTEN.iterdir() if p.name != "plans"):
        record = records.get(run)
        assert record is not None
        assert record.spec.config["tidy"] is False
        assert run_id(record.spec, record.data["digest"]) == run
        assert record.configuration_id == replace(record.spec, seed=5).configuration_id(record.data["digest"])


@pytest.mark.usefixtures("as_later")
@pytest.mark.parametrize("run", [p.name for p in WRITTEN.iterdir() if p.name != "plans"])
def test_they_are_evaluated_and_nothing_counts_as_changed(dmd: Here, run: str) -> None:
    """Protects: an added switch at its neutral value is no changed setting of an old run."""
    said = dmd("evaluate", run, "--json")
    assert said.code == 0, said.err
    assert not {"tidy", "echo"} & set(json.loads(said.out).get("changed", {}))


def test_the_neutral_value_is_in_no_identity_and_another_is(toy: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: old and new id agree at the neutral value; a changed default or value is another run."""

    def spec(**values: Any) -> RunSpec:
        system = later(DMD, LaterDMD, **values)
        monkeypatch.setattr(registry, "_shipped", lambda name: system)
        return resolve_spec("dmd", seed=1, features=toy, overrides={"accumulate": 1})

    before = resolve_spec("dmd", seed=1, features=toy, overrides={"accumulate": 1})
    neutral, by_default, switched = spec(echo=0.0), spec(), spec(echo=0.0, tidy=True)
    assert neutral.config["echo"] == 0.0, "the stored spec is whole"
    assert run_id(neutral, "d") == run_id(before, "d")
    assert len({run_id(s, "d") for s in (neutral, by_default, switched)}) == 3
    again = RunSpec.from_json(json.loads(json.dumps(by_default.to_json())))
    assert run_id(again, "d") == run_id(by_default, "d")
    monkeypatch.undo()
    assert run_id(again, "d") == run_id(by_default, "d"), "no knowledge of the system is needed to check an id"


def test_a_default_may_change_without_orphaning_records(toy: Features) -> None:
    """Protects: the neutral value is a literal of its own; two types for one setting are refused when declared."""
    with pytest.raises(TypeError, match="one type"):
        added(1, neutral=0.0)
    old = RunSpec("dmd", 1, "mosi", "official", config={"d": 4})
    assert old.completed({"tidy": False}).config == {"d": 4, "tidy": False}
    assert run_id(old.completed({"tidy": False}), "d") == run_id(old, "d")
    assert old.completed({"d": 5}) is old
