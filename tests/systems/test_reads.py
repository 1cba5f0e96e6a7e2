"""What a trained system reads: a modality replaced by noise takes the correlation down, where the system reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dmd_repro.data.features import Features
from dmd_repro.data.synthetic import with_noise
from dmd_repro.evaluate.checkpoint import open_checkpoint
from dmd_repro.evaluate.predict import evaluate_checkpoint
from dmd_repro.records.folder import Records
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.execution import Execution
from dmd_repro.training.fit import fit


def test_noise_replaces_one_modality_and_nothing_else(synthetic: Features) -> None:
    """Protects: labels, lengths, padding and the other two stay; the noise repeats and has the modality's spread."""
    for m in "lav":
        noisy = with_noise(synthetic, m)
        assert noisy.digest == with_noise(synthetic, m).digest != synthetic.digest
        for name, part in noisy.splits.items():
            whole = synthetic.splits[name]
            same = {k for k in "lav" if np.array_equal(part.array(k), whole.array(k))}
            assert same == set("lav") - {m}
            assert np.array_equal(part.labels, whole.labels)
            padded = ~np.asarray(whole.array(m)).any(axis=2)
            assert np.array_equal(~np.asarray(part.array(m)).any(axis=2), padded)
            assert abs(np.corrcoef(part.array(m).ravel(), whole.array(m).ravel())[0, 1]) < 0.02
            assert np.std(part.array(m)[~padded]) == pytest.approx(np.std(whole.array(m)), rel=0.02)


@pytest.mark.parametrize("model", ["lf-lstm", "lmf"])
@pytest.mark.parametrize("modality", ["l", "a", "v"])
def test_every_modality_is_read(model: str, modality: str, synthetic: Features, tmp_path: Path) -> None:
    """Protects: by sequence or pooled, a system learns from each of the three where the two others are noise."""
    data = synthetic
    for other in set("lav") - {modality}:
        data = with_noise(data, other)
    run = fit(resolve_spec(model, seed=1, features=data), data, Records(tmp_path), execution=Execution())
    said = run.predictions("test")
    assert np.corrcoef(said.y_true, said.y_pred)[0, 1] > 0.3
    checkpoint = open_checkpoint(run.run_id, Records(tmp_path))
    silent = with_noise(data, modality)
    lost = evaluate_checkpoint(checkpoint, silent, "test", execution=Execution()).predictions
    assert abs(np.corrcoef(lost.y_true, lost.y_pred)[0, 1]) < 0.25
