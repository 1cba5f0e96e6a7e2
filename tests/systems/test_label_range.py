"""Labels of a data set that go beyond [-3, 3] are within reach; on [-3, 3] nothing moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dmd_repro.data.features import Features
from dmd_repro.datasets import DATASETS, DatasetFacts
from dmd_repro.errors import SpecError
from dmd_repro.records.folder import Records
from dmd_repro.systems.dmd.terms import losses
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.execution import Execution
from dmd_repro.training.fit import fit
from dmd_repro.training.loop import Loop

SMALL_DMD = {"d": 4, "heads": 2, "layers": 1, "kernel_l": 3, "kernel_a": 3, "kernel_v": 3, "accumulate": 1}


@pytest.fixture
def wide(toy: Features, monkeypatch: pytest.MonkeyPatch) -> Features:
    """Clips of a data set of one's own, whose labels lie in [-5, 5]."""
    monkeypatch.setitem(DATASETS, "wide", DatasetFacts(title="wide", label_range=(-5.0, 5.0)))
    splits = {
        name: replace(part, labels=np.linspace(-5, 5, len(part), dtype=np.float32)) for name, part in toy.splits.items()
    }
    return replace(toy, dataset="wide", splits=splits)


def test_tfn_can_say_what_the_labels_say(wide: Features, toy: Features, tmp_path: Path) -> None:
    """Protects: the reach of the last sigmoid is the data set's, in the run and its checkpoint; on MOSI as it was."""
    settings = {"max_epochs": 1, "batch_size": 4, "last_steps": 0}
    spec = resolve_spec("tfn", seed=1, features=wide, overrides=settings)
    record = fit(spec, wide, Records(tmp_path), execution=Execution())
    saved = record.checkpoint()
    assert (float(saved["tfn/output_range"][0]), float(saved["tfn/output_shift"][0])) == (10.0, -5.0)
    loop = Loop([spec], wide, torch.device("cpu"))
    with torch.no_grad():
        loop.module.system.net.post_fusion_layer_3.bias.fill_(50.0)  # type: ignore[union-attr,operator]
        said = loop.module.eval()(loop.feed.batch("test", np.arange(3)[None])).prediction
    assert said.flatten().tolist() == pytest.approx([5.0] * 3)
    for name in ("mosi", "sims"):
        config = resolve_spec("tfn", seed=1, features=replace(toy, dataset=name), overrides=settings).config
        assert (config["label_low"], config["label_high"]) == (-3.0, 3.0)
    with pytest.raises(SpecError, match=r"--set label_low: expected less than label_high=5\.0"):
        resolve_spec("tfn", seed=1, features=wide, overrides={**settings, "label_low": 6.0})


def test_the_papers_triples_know_the_outer_classes(
    wide: Features, toy: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects: labels 4 and 5 are classes of their own in the paper's margin; ids of DMD on [-3, 3] stay."""
    seen: list[set[float]] = []
    real = losses.margin_of_triples

    def watched(rows: torch.Tensor, classes: torch.Tensor, *more: object) -> torch.Tensor:
        seen.append(set(classes.flatten().tolist()))
        return real(rows, classes, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(losses, "margin_of_triples", watched)
    spec = resolve_spec("dmd", seed=1, features=wide, protocol="paper", overrides=SMALL_DMD)
    loop = Loop([spec], wide, torch.device("cpu"))
    loop.train_batches(np.arange(len(wide.splits["train"]))[None])
    assert set().union(*seen) == {float(x) for x in np.round(wide.splits["train"].labels)}
    assert max(set().union(*seen)) == 5.0
    plain = resolve_spec("dmd", seed=1, features=toy, overrides=SMALL_DMD)
    assert "label_low" not in plain.hashed()["config"]
    assert spec.hashed()["config"]["label_high"] == 5.0
