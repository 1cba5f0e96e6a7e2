"""Small records and a plan written by version 0.1.0, as they lay on disk: what is released stays readable.

Only the platform in each provenance.json was replaced (by "Linux"), and its hash in DONE with it; it is in no identity.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command import Here

from dmd_repro.records.folder import Records
from dmd_repro.spec import RunSpec, run_id

WRITTEN = Path(__file__).parent / "released"
RUNS = {  # id -> what it is
    "00e36929b6f7": "dmd (full, official)",
    "98e692370372": "mult+gd (full, official)",
    "062969073193": "dmd (full, paper)",
    "0097bcfff9de": "mult (full, official)",
    "ed2015d36d07": "dmd (-ca, official)",
}
ROUNDING = 5e-6  # of a prediction in [-3, 3]: 0 where they were written; another processor sums in another order


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command, with a copy of the released records as its runs."""
    shutil.copytree(WRITTEN, tmp_path / "runs")
    return Here(tmp_path, monkeypatch, capsys)


def test_they_are_valid_under_their_ids(dmd: Here) -> None:
    """Protects: the id of a released run is still the one its spec and data give; no file counts as damaged."""
    said = dmd("runs", "verify")
    assert said.code == 0, said.out + said.err
    assert sorted(said.out.split()) == sorted([*RUNS, *["ok"] * len(RUNS)])
    listed = json.loads(dmd("runs", "list", "--json").out)
    assert set(RUNS) <= set(json.dumps(listed).replace('"', " ").split())


@pytest.mark.parametrize("run", RUNS)
def test_each_predicts_what_it_recorded(dmd: Here, run: str) -> None:
    """Protects: the weights of a released run make today's model predict what was written beside them."""
    said = dmd("evaluate", run)
    assert said.code == 0, said.err
    assert said.out.startswith(f"run {run}: {RUNS[run]} on synthetic-")
    said = dmd("evaluate", run, "--json", "--predictions", "found.csv")
    assert said.code == 0, said.err
    kept = Records(dmd.folder / "runs").get(run).predictions("test")  # type: ignore[union-attr]
    lines = (dmd.folder / "found.csv").read_text().splitlines()
    place = lines[0].split(",").index("y_pred")
    found = np.array([float(line.split(",")[place]) for line in lines[1:]])
    np.testing.assert_allclose(found, kept.y_pred, rtol=0, atol=ROUNDING)


def test_they_are_reported_under_their_plan(dmd: Here) -> None:
    """Protects: a plan of the released version finds its runs, so a trained table is not trained again."""
    said = dmd("report", "table3", "--format", "json")
    assert said.code == 0, said.err
    assert "00e36929b6f7" in said.out
    assert "ed2015d36d07" in said.out
    again = dmd(
        "reproduce", "table3", "--data", "synthetic", "--rows", "mosi-unaligned-glove-dmd", "--seeds", "1", "--epochs",
        "2", "--set", "d=4", "--set", "heads=2", "--set", "layers=1", "--dry-run",
    )  # fmt: skip
    assert again.code == 0, again.err
    assert "nothing to train: all 1 runs are there" in again.out


def test_a_setting_of_another_version_is_refused_in_a_sentence(dmd: Here) -> None:
    """Protects: a record with a setting this version does not know is not evaluated as if it had none."""
    run = dmd.folder / "runs" / "0097bcfff9de"
    document = json.loads((run / "spec.json").read_text())
    document["spec"]["config"]["gate_width"] = 3
    (run / "spec.json").write_text(json.dumps(document))
    digests = json.loads((run / "DONE").read_text())
    digests["spec.json"] = hashlib.sha256((run / "spec.json").read_bytes()).hexdigest()
    (run / "DONE").write_text(json.dumps(digests))
    name = run_id(RunSpec.from_json(document["spec"]), document["data_digest"])
    assert name != run.name
    run.rename(run.with_name(name))
    said = dmd("evaluate", name)
    assert said.code == 2
    assert "gate_width" in said.err
    assert "Traceback" not in said.err
