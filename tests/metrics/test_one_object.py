"""A metric is one object: what it does not say is refused, and one in a file of its own is seen everywhere."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dmd_repro
from dmd_repro.datasets import DATASETS
from dmd_repro.errors import SpecError
from dmd_repro.metrics.registry import COLUMNS, METRICS, metric_of, metrics_of, readings, shown_in

RMSE = '''
"""Root mean squared error."""
import numpy as np
from dmd_repro.metrics.metric import Metric, paired

def rmse(y_true, y_pred):
    pair = paired(y_true, y_pred)
    return float("nan") if pair is None else float(np.sqrt(np.mean((pair[0] - pair[1]) ** 2)))

def resample(true, pred, counts):
    return np.sqrt(counts @ (true - pred) ** 2 / counts.sum(1))

METRICS = (
    Metric(
        id="rmse", heading="RMSE", words="root mean squared error", convention="root mean squared error",
        function=rmse, {unit}higher_is_better=False, column="rmse", resample=resample,
    ),
)
'''
ADD = "import dmd_repro.metrics, sys; dmd_repro.metrics.__path__.append(sys.argv[1])\n"
CHAIN = (
    ADD
    + """
import json
from pathlib import Path
from typer.testing import CliRunner
from dmd_repro.cli import app

def dmd(*arguments):
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, (arguments, done.output)
    return done.stdout

dmd("reproduce", "table1", "--rows", "mosi-aligned-glove-dmd", "--data", "synthetic", "--seeds", "2", "--jobs", "1",
    "--set", "d=4", "--set", "heads=2", "--set", "layers=1", "--epochs", "1")
run = json.loads(dmd("runs", "list", "--json"))[0]["run_id"]
out = {"evaluate": json.loads(dmd("evaluate", run, "--resamples", "50", "--json")), "text": dmd("evaluate", run)}
out["history"] = (Path("runs") / run / "history.jsonl").read_text()
out["show"] = dmd("runs", "show", run)
for kind in ("terminal", "markdown", "latex", "html", "csv", "json"):
    out[kind] = dmd("report", "table1", "--format", kind)
print(json.dumps(out))
"""
)


def run_python(code: str, folder: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run code that finds the metrics of a further folder."""
    root = str(Path(dmd_repro.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": root, "DMD_DATA": str(cwd / "data"), "DMD_RUNS": str(cwd / "runs")}
    command = [sys.executable, "-c", code, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """Train, evaluate and report with `rmse` in a file of its own; returns what each command said."""
    folder, cwd = tmp_path_factory.mktemp("metrics"), tmp_path_factory.mktemp("work")
    (folder / "rmse.py").write_text(RMSE.replace("{unit}", 'unit="", '))
    done = run_python(CHAIN, folder, cwd)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_a_metric_in_one_file_is_seen_by_the_whole_chain(chain: Mapping[str, Any]) -> None:
    """Protects: what is known of a metric stands in one object, and every command and format reads it from there."""
    found = chain["evaluate"]["metrics"]["rmse"]
    assert found["low"] <= found["value"] <= found["high"]  # the bootstrap knows how to resample it
    assert "RMSE" in chain["text"]
    assert "RMSE" in chain["show"]
    assert json.loads(chain["history"].splitlines()[0])["test"]["rmse"] > 0
    row = next(r for b in json.loads(chain["json"])["tables"][0]["blocks"] for r in b["rows"] if r["unprinted"])
    mean = {one["metric"]: one["mean"] for one in row["unprinted"]}
    assert set(mean) == {"mae", "corr", "rmse"}
    for kind in ("terminal", "markdown", "latex", "html"):
        assert "RMSE" in chain[kind], kind
        assert f"{mean['rmse']:.4f}" in chain[kind], kind
    lines = {line["metric"]: line for line in csv.DictReader(io.StringIO(chain["csv"])) if line["state"] == "measured"}
    assert float(lines["rmse"]["mean"]) == mean["rmse"]
    assert (lines["rmse"]["printed"], lines["rmse"]["place"]) == ("", "not printed")


def test_a_metric_without_a_unit_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """Protects: a metric that does not say its unit would be printed a hundred times too small, or too large."""
    (tmp_path / "rmse.py").write_text(RMSE.replace("{unit}", ""))
    command = "sys.argv = ['dmd', 'report', 'table1']\nimport dmd_repro.cli as c\nc.main()"
    done = run_python(ADD + command, tmp_path, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip().count("\n") == 0
    assert "metric 'rmse': expected a unit: '%' for a fraction, '' for its own scale, got none" in done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unit": "percent"}, "expected a unit"), ({"heading": ""}, "expected a heading"),
        ({"higher_is_better": None}, "higher_is_better"), ({"per_clip": None}, "expected per_clip or resample"),
        ({"id": "mean error"}, "expected an id"), ({"convention": ""}, "expected words and a convention"),
    ],
)  # fmt: skip
def test_what_a_metric_does_not_say_is_named(change: dict[str, Any], said: str) -> None:
    """Protects: a half-described metric is refused where it is defined, not by the place that needs the rest."""
    with pytest.raises(SpecError, match=said):
        replace(METRICS["mae"], **change)


def test_lists_are_made_from_the_objects() -> None:
    """Protects: a metric is on the lists of each place by what it says of itself, each list within the next."""
    places = [shown_in(place) for place in ("line", "comparison", "run", "all")]
    assert all(set(a) <= set(b) for a, b in pairwise(places))
    assert set(places[-1]) == set(metrics_of("synthetic"))
    assert {"mae", "corr", "acc7", "acc2", "f1"} <= set(COLUMNS)
    for dataset in DATASETS:
        for column in {m.column for m in metrics_of(dataset).values() if m.column}:
            names = {m.id for m in readings(column, dataset)}
            assert {metric_of(column, dataset, z, o).id for z in ("non0", "has0", "neg0", "unknown")
                    for o in ("plain", "swapped", "unknown")} <= names  # fmt: skip


def test_labels_of_another_range_have_classes_of_their_own() -> None:
    """Protects: no ACC7 of a scale it is not defined on; CH-SIMS counts by edges, a custom set has no classes."""
    assert {name for name in metrics_of("mosi") if name.startswith("acc")} == {
        "acc2_non0", "acc2_has0", "acc7", "acc5", "acc3"}  # fmt: skip
    assert {name for name in metrics_of("sims") if name.startswith("acc")} == {"acc2_neg0", "acc5_unit", "acc3_unit"}
    assert not {"acc7", "acc5_unit"} & set(metrics_of("custom"))
    for facts in DATASETS.values():
        assert all(METRICS[name].label_range == facts.label_range for name in facts.classes)
    true = np.array([-1.0, -0.8, -0.6, -0.2, 0.0, 0.2, 0.6, 0.8, 1.0], np.float32)
    classes = np.array([0, 0, 1, 1, 2, 3, 3, 4, 4])
    for clip in range(9):
        pred = np.full(9, true[clip], np.float32)
        assert METRICS["acc5_unit"](true, pred) == pytest.approx(np.mean(classes == classes[clip]))
    assert METRICS["acc2_neg0"]([0.0, 0.2], [-0.5, 0.4]) == 1.0
    assert METRICS["acc2_has0"]([0.0, 0.2], [-0.5, 0.4]) == 0.5
