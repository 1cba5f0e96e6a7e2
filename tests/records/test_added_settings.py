"""A setting that is added after a release: what was trained before keeps its id and is the same configuration."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import make_dataclass, replace
from pathlib import Path

import pytest
from command import Here

from dmd_repro.audit.code import _but_for
from dmd_repro.data.resolve import load_features
from dmd_repro.data.store.folder import Store
from dmd_repro.records.folder import Records
from dmd_repro.results.masks import mask_groups
from dmd_repro.spec import RunSpec, Scalar, run_id
from dmd_repro.systems import registry
from dmd_repro.systems.config import TrainConfig, added
from dmd_repro.systems.declare import System
from dmd_repro.systems.resolve import resolve_spec

WRITTEN = Path(__file__).parent / "released"
OLD = "00e36929b6f7"  # dmd, as `small` trains it
ALL = tuple(registry.SHIPPED)
Add = Callable[..., None]


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch) -> Add:
    """Give systems one more setting, declared as `added` does, as a later version would."""
    shipped = {name: registry.find_system(name) for name in registry.SHIPPED}

    def later(system: System, name: str, default: Scalar, neutral: Scalar) -> System:
        setting = (name, type(default), added(default, neutral=neutral))
        config: type[TrainConfig] = make_dataclass("Later", [setting], bases=(system.config,), frozen=True)
        return replace(system, config=config, preset=lambda *a, **k: config(**system.preset(*a, **k).to_dict()))

    def give(name: str, default: Scalar, *, neutral: Scalar, systems: tuple[str, ...] = ALL) -> None:
        new = {s: later(system, name, default, neutral) if s in systems else system for s, system in shipped.items()}
        monkeypatch.setattr(registry, "_shipped", new.__getitem__)

    return give


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command, with a copy of the released records as its runs."""
    shutil.copytree(WRITTEN, tmp_path / "runs")
    return Here(tmp_path, monkeypatch, capsys)


def small(**settings: Scalar) -> RunSpec:
    """The spec a version of today makes of the released run OLD."""
    features = load_features("synthetic-unaligned-glove", Store(Path()))
    size: dict[str, Scalar] = {"d": 4, "heads": 2, "layers": 1, "max_epochs": 2}
    return resolve_spec("dmd", seed=1111, features=features, overrides={**size, **settings})


def digest(folder: Path) -> str:
    """The data the released run OLD was trained on."""
    return str(json.loads((folder / OLD / "spec.json").read_text())["data_digest"])


@pytest.mark.parametrize("systems", [("dmd",), ALL], ids=["one system", "every system"])
def test_no_released_id_moves(add: Add, dmd: Here, systems: tuple[str, ...]) -> None:
    """Protects: a new switch orphans no trained run: all are valid, evaluated, counted, and not trained again."""
    names = sorted(p.name for p in WRITTEN.iterdir() if (p / "DONE").exists())
    before = {run["run_id"]: run["configuration"] for run in json.loads(dmd("runs", "list", "--json").out)}
    add("gate", "soft", neutral="soft", systems=systems)
    said = dmd("runs", "verify")
    assert (said.code, sorted(said.out.split())) == (0, sorted([*names, *["ok"] * len(names)]))
    after = {run["run_id"]: run["configuration"] for run in json.loads(dmd("runs", "list", "--json").out)}
    assert after == before
    for name in names:
        said = dmd("evaluate", name, "--resamples", "0", "--json")
        assert said.code == 0, said.err
        assert json.loads(said.out)["recorded"]["agrees"]
    report = dmd("report", "table3", "--format", "json")
    assert report.code == 0, report.err
    assert OLD in report.out
    again = dmd(
        "reproduce", "table3", "--data", "synthetic", "--rows", "mosi-unaligned-glove-dmd", "--seeds", "1", "--epochs",
        "2", "--set", "d=4", "--set", "heads=2", "--set", "layers=1", "--dry-run",
    )  # fmt: skip
    assert "nothing to train: all 1 runs are there" in again.out


def test_an_old_run_and_a_new_one_are_one_configuration(add: Add, dmd: Here) -> None:
    """Protects: whoever reads a record's settings finds the added one, at what the program did then."""
    add("gate", "soft", neutral="soft")
    record, new = Records(dmd.folder / "runs").get(OLD), small()
    assert record is not None
    assert record.spec == new
    assert record.spec.config["gate"] == "soft"
    assert run_id(new, digest(WRITTEN)) == OLD
    assert _but_for(record, "gate") == _but_for(replace(record, spec=small(gate="hard")), "gate")
    groups = mask_groups(Records(dmd.folder / "runs"), ["synthetic"])
    assert {"gate": "soft"}.items() <= groups[0].config.items()


def test_it_is_in_the_identity_at_any_other_value(add: Add) -> None:
    """Protects: a run that does something new is not taken for an older one, and true is not 1."""
    add("gate", "soft", neutral="soft")
    assert run_id(small(gate="hard"), digest(WRITTEN)) != OLD
    assert run_id(small(gate="soft"), digest(WRITTEN)) == OLD


def test_a_changed_default_moves_the_id_of_new_runs_alone(add: Add, dmd: Here) -> None:
    """Protects: the neutral value stays what it was when the default moves: old runs stay, new ones are others."""
    add("gate", "hard", neutral="soft")
    assert run_id(small(), digest(WRITTEN)) != OLD
    assert run_id(small(gate="soft"), digest(WRITTEN)) == OLD
    record = Records(dmd.folder / "runs").get(OLD)
    assert record is not None
    assert record.spec.config["gate"] == "soft"
    assert dmd("runs", "verify").code == 0


def test_a_run_written_with_the_setting_is_read_without_it(add: Add) -> None:
    """Protects: a spec carries its neutral values, so its id is checked without the version that declares them."""
    add("gate", "soft", neutral="soft")
    document = json.loads(json.dumps(small().to_json()))
    add("gate", "soft", neutral="soft", systems=())
    assert run_id(RunSpec.from_json(document), digest(WRITTEN)) == OLD


@pytest.mark.parametrize(("default", "neutral"), [(1, True), (1.0, 1), ("a", 1)])
def test_a_neutral_value_is_of_the_settings_type(default: Scalar, neutral: Scalar) -> None:
    """Protects: a neutral value that no run can have, so that it is never dropped, is refused where it is declared."""
    with pytest.raises(TypeError, match="one type"):
        added(default, neutral=neutral)


def test_a_setting_the_run_has_stays() -> None:
    """Protects: completing an older spec adds what is missing and replaces nothing."""
    old = RunSpec("dmd", 1, "mosi", "official", config={"d": 4})
    assert old.completed({"d": 5}) is old
    assert old.completed({"d": 5, "gate": "soft"}).config == {"d": 4, "gate": "soft"}
