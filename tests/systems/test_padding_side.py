"""The side a file pads does not matter to a system that declares the side it reads: the feed turns, or the system."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from dmd_repro.data.features import Features
from dmd_repro.data.sides import with_padding
from dmd_repro.data.store.digest import feature_set, features
from dmd_repro.evaluate.conformance import small_features
from dmd_repro.records.folder import Records
from dmd_repro.records.run import RunRecord
from dmd_repro.shapes import MODALITIES
from dmd_repro.systems.registry import SHIPPED, find_system
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.execution import Execution
from dmd_repro.training.fit import fit

TURNED = [name for name in SHIPPED if find_system(name).config.pad_side == "left"]
PACKED = ("misa", "raven")  # they read the first steps, and bring the true ones there themselves


@cache
def padded(side: str, *, aligned: bool) -> Features:
    """Return a few synthetic clips, which are padded on the left, or their copies padded on the right."""
    whole = small_features(find_system("lf-lstm"), aligned=aligned)
    if side == "left":
        return whole
    splits = {}
    for name, part in whole.splits.items():
        moved = {}
        for m in MODALITIES:
            x = np.array(part.array(m))
            for clip in x:
                begin = int((clip != 0).any(1).argmax())
                clip[:] = np.concatenate([clip[begin:], clip[:begin]])
            moved[m] = x
        splits[name] = feature_set(
            ids=part.ids, language=moved["l"], acoustic=moved["a"], visual=moved["v"],
            labels=np.asarray(part.labels), aligned=aligned,
        )  # fmt: skip
    return features(whole.name, "synthetic", splits, text="glove", standing="synthetic")


def trained(model: str, side: str, folder: Path, *, aligned: bool = True, **settings: object) -> RunRecord:
    """Train one epoch."""
    data = padded(side, aligned=aligned)
    settings = {"max_epochs": 1, **settings}
    if not aligned and (align := find_system(model).inputs.unaligned_by):
        settings["align"] = align
    spec = resolve_spec(model, seed=1, features=data, overrides=settings)  # type: ignore[arg-type]
    return fit(spec, data, Records(folder / side), execution=Execution())


@pytest.mark.parametrize(
    ("model", "aligned"), [*((model, True) for model in TURNED), ("ef-lstm", False), ("tfn", False)]
)
def test_the_feed_turns_what_a_file_pads_on_the_right(model: str, aligned: bool, tmp_path: Path) -> None:
    """Protects: one set padded on either side gives the same bits, and the record says what was moved."""
    scaled = {"visual_scale": "train_max", "last_steps": 5} if model in ("tfn", "mctn") else {}
    left, right = (trained(model, side, tmp_path, aligned=aligned, **scaled) for side in ("left", "right"))
    assert np.array_equal(left.predictions("test").y_pred, right.predictions("test").y_pred)
    assert "padding" not in left.provenance
    moved = "language and acoustic and visual: padding moved to the left (pad_side=left)"
    assert right.provenance["padding"] == moved
    assert right.spec.config["pad_side"] == "left"


@pytest.mark.parametrize("model", PACKED)
def test_what_reads_the_first_steps_packs_them(model: str, tmp_path: Path) -> None:
    """Protects: MISA and RAVEN train alike on both copies, and the record names where they want the padding."""
    left, right = (trained(model, side, tmp_path) for side in ("left", "right"))
    one, two = (record.predictions("test").y_pred for record in (left, right))
    np.testing.assert_allclose(one, two, rtol=0, atol=2e-5)
    assert left.spec.config["padding"] == right.spec.config["padding"] == "behind"


def test_none_reads_the_file_as_it_is(tmp_path: Path) -> None:
    """Protects: the reference's way remains a setting, and it is another result on the other side."""
    left, right = (trained("lf-lstm", side, tmp_path, pad_side="none") for side in ("left", "right"))
    assert not np.array_equal(left.predictions("test").y_pred, right.predictions("test").y_pred)
    assert find_system("lmf").preset("mosi", aligned=True, protocol="mmsa").pad_side == "none"


def test_zero_steps_at_the_end_of_a_few_clips_are_content(tmp_path: Path) -> None:
    """Protects: a file padded on the left is read as the reference reads it, clips that end in silence too."""
    data = padded("left", aligned=False)
    part = data.splits["train"]
    silent = np.array(part.acoustic)
    silent[0, -1] = 0
    quiet = replace(data, splits={**data.splits, "train": replace(part, acoustic=silent)})
    assert with_padding(quiet, "left") is quiet


def test_evaluate_turns_too(tmp_path: Path) -> None:
    """Protects: a run's checkpoint predicts from a right-padded file what it recorded."""
    from dmd_repro.evaluate.checkpoint import open_checkpoint
    from dmd_repro.evaluate.predict import evaluate_checkpoint

    record = trained("ef-lstm", "right", tmp_path)
    found = open_checkpoint(str(record.path), Records(record.path.parent))
    done = evaluate_checkpoint(found, padded("right", aligned=True), "test", execution=Execution())
    assert np.array_equal(done.predictions.y_pred, record.predictions("test").y_pred)
