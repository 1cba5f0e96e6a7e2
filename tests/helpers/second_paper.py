"""A second paper of two invented rows, with a data set of its own, in a folder of the user's."""

from __future__ import annotations

from pathlib import Path

TABLE = """
name: table1
title: "Acme, Table 1"
columns: [acc5, acc2, f1, mae, corr]
conventions:
  code: {acc2: neg0, f1: plain, certainty: "invented"}
blocks:
  - key: own
    dataset: acme
    setting: aligned
    text: glove
    claimed_best: full
    rows:
      - key: full
        method: DMD
        printed: {acc5: "41.5", acc2: "84.2", f1: "84.4", mae: "0.910", corr: "0.800"}
        convention: code
        recipe: {model: dmd}
      - key: plain
        method: MulT
        printed: {acc5: "40.0", acc2: "83.2", f1: "82.8", mae: "0.870", corr: "0.698"}
        convention: code
        recipe: {model: mult}
"""
DATASETS = """
datasets:
  - key: acme
    title: Acme
    range: [-1, 1]
    step: 0.2
    classes: [acc5_unit]
    acc2: [neg0]
    splits: {train: 100, valid: 20, test: 200}
    test_signs: [90, 10, 100]
"""


def write_paper(root: Path, name: str = "acme", table: str = TABLE, datasets: str | None = DATASETS) -> Path:
    """Write the paper below `root`, as `--papers ROOT` finds it."""
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "table1.yaml").write_text(table, encoding="utf-8")
    if datasets is not None:
        (folder / "datasets.yaml").write_text(datasets, encoding="utf-8")
    return root
