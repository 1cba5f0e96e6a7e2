"""Complete run records with chosen predictions, and plans over them: what a report reads, without any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dmd_repro.papers.tables import Row, load_table
from dmd_repro.planning.plans import PlannedRow, TablePlan, save_plan
from dmd_repro.records.folder import DataStamp, Predictions, Records
from dmd_repro.results.settings import row_config
from dmd_repro.spec import RunSpec, run_id

LABELS = np.array([-3, -2, -1, 0, 0, 1, 2, 3, 1.4, -0.6], dtype=np.float32)
IDS = tuple(f"v{i}$_$0" for i in range(len(LABELS)))
Scores = NDArray[np.float32]


def stamp_for(row: Row, **changes: object) -> DataStamp:
    """The official data a row was printed for, with changes."""
    name = f"{row.dataset}-{row.setting}-{row.text}"
    stamp = DataStamp(
        name=name, dataset=row.dataset, digest="d" * 64, text=row.text, aligned=row.setting == "aligned",
        standing="official", label=f"{name} ({row.text} text)",
    )  # fmt: skip
    return replace(stamp, **changes)  # type: ignore[arg-type]


def spec_for(row: Row, seed: int, **changes: object) -> RunSpec:
    """The run a row asks for, with changes."""
    assert row.recipe is not None
    config = row_config(row, row.dataset, aligned=row.setting == "aligned", protocol=row.recipe.protocol)
    assert config is not None
    spec = RunSpec(row.recipe.model, seed, row.dataset, row.recipe.protocol, row.recipe.mask, config)
    return replace(spec, **changes)  # type: ignore[arg-type]


def predictions_with(wrong: int) -> Scores:
    """Predictions equal to the labels but for the sign of the first `wrong` clips that have one."""
    scores = LABELS.copy()
    scores[np.flatnonzero(LABELS)[:wrong]] *= -1
    return scores


def write_record(
    runs: Path,
    spec: RunSpec,
    stamp: DataStamp,
    scores: Scores,
    heads: Mapping[str, Scores] | None = None,
    labels: Scores = LABELS,
) -> str:
    """Write a finished record and return its id."""
    ids = IDS if len(labels) == len(IDS) else tuple(f"v{i}$_$0" for i in range(len(labels)))
    said = Predictions(ids, labels, scores.astype(np.float32), dict(heads or {}))
    with Records(runs).begin(spec, stamp, {"execution": {"device": "cpu", "threads": 1}}) as writer:
        (writer.path / "history.jsonl").write_text('{"epoch": 1}\n')
        writer.finish(
            predictions={"valid": said, "test": said},
            epochs={"valid": said.y_pred[None], "test": said.y_pred[None]},
            checkpoint={"w": np.zeros(1, np.float32)},
            provenance={"epochs": 1, "best_epoch": 1},
        )
    return run_id(spec, stamp.digest)


def plan_rows(
    runs: Path, table: str, rows: Mapping[str, tuple[DataStamp, Sequence[RunSpec]]], **changes: object
) -> TablePlan:
    """Save and return a plan of the given rows; the others of the table are skipped with a reason."""
    planned: dict[str, PlannedRow] = {
        row.key: PlannedRow("skipped", reason=row.reason or "cannot be run here") for row in load_table(table).rows
    }
    for key, (stamp, specs) in rows.items():
        facts = stamp.to_json()
        planned[key] = PlannedRow(
            "planned",
            features={k: facts[k] for k in ("name", "dataset", "text", "aligned", "digest", "standing", "label")},
            runs={spec.seed: run_id(spec, stamp.digest) for spec in specs},
            **changes,  # type: ignore[arg-type]
        )
    names = tuple(dict.fromkeys(stamp.name for stamp, _ in rows.values()))
    seeds = tuple(dict.fromkeys(spec.seed for _, specs in rows.values() for spec in specs))
    plan = TablePlan(table, names, seeds, planned)
    save_plan(runs, plan)
    return plan
