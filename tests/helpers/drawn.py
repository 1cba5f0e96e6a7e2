"""Records with histories, edges and checkpoints of nothing: what figures are drawn from, without any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from made_records import IDS, LABELS, Scores, spec_for, stamp_for

from dmd_repro.papers.tables import load_table
from dmd_repro.records.decoupled import Decoupled, write_decoupled
from dmd_repro.records.folder import Predictions, Records
from dmd_repro.spec import AblationMask, run_id

ROW = load_table("table3").row("mosi-unaligned-glove-dmd")
UNIFORM = [1 / 6] * 6


def line(epoch: int, edges: Sequence[float] = UNIFORM, **changes: Any) -> dict[str, Any]:
    """One line of a history, with two loss terms and two measures."""
    measures = {"mae": 0.0, "acc2_non0": 0.5 + 0.04 * epoch}
    return {
        "epoch": epoch, "train": {"task.output": 1.0 / epoch, "total": 2.0 / epoch}, "valid_loss": 1.0 / epoch,
        "valid": measures, "test": measures, "edges": {"homo": list(edges), "hetero": list(edges)}, **changes,
    }  # fmt: skip


def record(
    runs: Path, seed: int, lines: Sequence[Mapping[str, Any]], *, best: int = 1, said: Scores = LABELS,
    standing: str = "synthetic", **changes: object,
) -> str:  # fmt: skip
    """Write a finished record of the full model with this history; return its id."""
    spec, stamp = spec_for(ROW, seed, **changes), stamp_for(ROW, standing=standing)
    predictions = Predictions(IDS, LABELS, said.astype(np.float32), {})
    with Records(runs).begin(spec, stamp, {"execution": {"device": "cpu"}}) as writer:
        mae = float(np.abs(predictions.y_pred - LABELS).astype(np.float64).mean())
        for one in lines:
            one = {**one, **{split: {**one[split], "mae": mae} for split in ("valid", "test") if split in one}}
            writer.save_epoch({"w": np.zeros(1, np.float32)}, {"progress": {"epoch": one["epoch"]}}, one)
        epochs = np.stack([predictions.y_pred] * len(lines))
        writer.finish(
            predictions={"valid": predictions, "test": predictions},
            epochs={"valid": epochs, "test": epochs},
            checkpoint={"w": np.zeros(1, np.float32)},
            provenance={"best_epoch": best, "epochs": len(lines)},
        )
    return run_id(spec, stamp.digest)


def planted(
    runs: Path, off: tuple[str, ...], seed: int, *, apart: float, clips: int = 42, standing: str = "official"
) -> str:
    """A run of a mask whose stored features hold planted groups: classes in X^com, modalities in X^prt, `apart` sigma.

    Labels run through the seven classes; what carries them is the same for every modality, the noise is not.
    """
    name = record(runs, seed, [line(1)], standing=standing, mask=AblationMask(off))
    found = Records(runs).get(name)
    assert found is not None
    draw = np.random.Generator(np.random.PCG64([seed, len(off)]))
    labels = np.resize(np.arange(-3, 4), clips).astype(np.float32)
    centres = np.random.Generator(np.random.PCG64(0)).standard_normal((7, 8))
    common = {m: apart * centres[labels.astype(int) + 3] + draw.standard_normal((clips, 8)) for m in "lav"}
    private = {m: apart * centres[i] + draw.standard_normal((clips, 8)) for i, m in enumerate("lav")}
    ids = tuple(f"v{i}$_$0" for i in range(clips))
    spaces = ({m: x.astype(np.float32) for m, x in space.items()} for space in (common, private))
    write_decoupled(found, "test", Decoupled(ids, labels, *spaces))
    return name
