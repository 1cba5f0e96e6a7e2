"""Runs of one row of Table 1 whose predictions call a chosen number of clips right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from made_records import plan_rows, spec_for, stamp_for

from dmd_repro.papers.tables import load_table
from dmd_repro.planning.plans import load_plan
from dmd_repro.records.folder import DataStamp, Predictions, Records
from dmd_repro.results.tables import compare
from dmd_repro.results.types import ComparisonTable
from dmd_repro.spec import RunSpec

KEY = "mosi-aligned-glove-dmd"
CLIPS = 656
TRUTH = np.array([-1.0, 1.0] * (CLIPS // 2), dtype=np.float32)


def near(right: int, seed: int) -> np.ndarray:
    """Scores that call `right` of 656 clips right."""
    order = np.random.Generator(np.random.PCG64(seed)).permutation(CLIPS)
    scores = TRUTH.copy()
    scores[order[right:]] *= -1
    return scores


def write_scores(runs: Path, spec: RunSpec, stamp: DataStamp, scores: np.ndarray) -> None:
    said = Predictions(tuple(f"v{i}$_$0" for i in range(CLIPS)), TRUTH, scores, {})
    with Records(runs).begin(spec, stamp, {"execution": {"device": "cpu"}}) as writer:
        (writer.path / "history.jsonl").write_text('{"epoch": 1}\n')
        writer.finish(
            predictions={"valid": said, "test": said},
            epochs={"valid": scores[None], "test": scores[None]},
            checkpoint={"w": np.zeros(1, np.float32)},
            provenance={"best_epoch": 1},
        )


def measured_table(runs: Path, rights: list[int | None], margin: float = 1.0, **stamp: object) -> ComparisonTable:
    """Table 1 with one measured row; None is a run that diverged."""
    row = load_table("table1").row(KEY)
    data = stamp_for(row, **stamp)
    specs = [spec_for(row, 1111 + i) for i in range(len(rights))]
    for i, (spec, right) in enumerate(zip(specs, rights, strict=True)):
        write_scores(runs, spec, data, np.full(CLIPS, np.nan, np.float32) if right is None else near(right, i))
    plan_rows(runs, "table1", {KEY: (data, specs)})
    return compare(load_table("table1"), load_plan(runs, "table1"), Records(runs), margin=margin)


AT = 554  # 554 / 656 = 84.45 %, printed 84.5
