"""What the check says of videos and official labels is what the ids tell, and it says so where they do not."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
import pytest
from toy_files import mmsa, save

from dmd_repro.data.checks.check import CheckReport, check, examine
from dmd_repro.data.checks.clips import shared as shared_videos
from dmd_repro.data.checks.labels import Official, against_official, read_labels
from dmd_repro.data.clip_names import clip_names
from dmd_repro.data.features import Features
from dmd_repro.data.formats.importer import import_file
from dmd_repro.data.store.digest import feature_set, features
from dmd_repro.data.store.folder import Store
from dmd_repro.data.synthetic import generate
from dmd_repro.datasets import DATASETS
from dmd_repro.errors import DataError
from dmd_repro.shapes import SPLITS


@pytest.fixture(scope="module")
def clean() -> Features:
    return generate(text="hidden", aligned=False)


def renamed(original: Features, name: Any, order: Any = lambda split, n: np.arange(n)) -> Features:
    """The same features under other ids, `name(split, i, id)`, and with the labels in another order."""
    splits = {}
    for split, part in original.splits.items():
        splits[split] = feature_set(
            ids=tuple(name(split, i, clip) for i, clip in enumerate(part.ids)),
            language=part.language, acoustic=part.acoustic, visual=part.visual,
            labels=part.labels[order(split, len(part))], lengths=part.lengths, aligned=part.aligned,
        )  # fmt: skip
    return features("renamed", original.dataset, splits, text=original.text, standing=original.standing)


def said(report: CheckReport, name: str) -> list[tuple[str, str]]:
    return [(f.severity, f.message) for f in report.findings if f.check == name]


@pytest.mark.parametrize(
    ("name", "severity", "words"),
    [
        (lambda split, i, clip: clip.replace("$_$", "_"), "ok", "ids read as VIDEO_CLIP"),
        (
            lambda split, i, clip: f"2542{i % 3}_{split}{i}".replace(split, ""),
            "defect",
            "share 3 videos (25420, 25421, ",
        ),
        (lambda split, i, clip: f"{split}{i}", "warning", "cannot be told: ids such as"),
        (lambda split, i, clip: str(i), "warning", "cannot be told: ids are row numbers, counted anew"),
        (lambda split, i, clip: f"x{i}", "defect", "train and valid share"),
    ],
)
def test_videos_in_two_splits_are_seen_or_said_not_to_be(clean, name, severity, words):
    """'No video in two splits' was said of ids that name no video; now nothing is called clean that is not known."""
    report = examine(renamed(clean, name))
    found = said(report, "overlap")
    assert severity in {s for s, _ in found}
    assert any(words in message for _, message in found)
    assert ("ok" in {s for s, _ in found}) == (severity == "ok")
    told = all(part.videos is not None for part in report.splits.values())
    assert told != any("cannot be told" in message for _, message in found)


def in_blocks(split: str, n: int) -> np.ndarray:
    """Clips of one video change places among themselves (synthetic videos hold four clips one after the other)."""
    return np.arange(n).reshape(-1, 4)[:, ::-1].reshape(-1)


@pytest.mark.parametrize(
    ("name", "order", "severity", "words"),
    [
        ("own", None, "ok", "in the list's order"),
        ("own", "blocks", "warning", "cannot be told"),
        ("own", "turned", "defect", "its videos hold others"),
        ("number", "turned", "warning", "cannot be told"),
        ("listed", "turned", "defect", "all are moved by 2 clips"),
    ],
)
def test_labels_in_another_order_are_a_defect_or_said_not_to_be_known(clean, name, order, severity, words):
    """The right labels on the wrong clips look right as a whole: they were accepted 'in whatever order'."""
    official = {
        clip: Official(float(y), split, 0)
        for split, part in clean.splits.items()
        for clip, y in zip(part.ids, part.labels, strict=True)
    }
    names = {
        "own": lambda split, i, clip: "my" + clip.replace("$_$", "/"),
        "number": lambda split, i, clip: f"{split}{i}",
        "listed": lambda split, i, clip: clip.replace("$_$", "_"),
    }
    orders = {"turned": lambda split, n: np.roll(np.arange(n), 2), "blocks": in_blocks}
    changed = renamed(clean, names[name], orders[order]) if order else renamed(clean, names[name])
    found = said(examine(changed, official=official), "official labels")
    assert {s for s, _ in found} == {severity}
    assert all(words in message for _, message in found)


def test_the_official_clips_of_mosi_are_decided_in_the_form_of_mult(shared, tmp_path):
    """Overlap, labels and splits of MulT's rows are decided, not left open; shuffled labels are a defect."""
    path = shared / "data" / "MOSI-label.csv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    random = np.random.default_rng(0)
    raw = {}
    for split in SPLITS:
        clips = [row for row in rows if row["mode"] == split]
        raw[split] = {
            "id": np.array([[f"{row['video_id']}_{row['clip_id']}", "1.5", "4.25"] for row in clips]).astype("S"),
            "labels": np.array([float(row["label"]) for row in clips]).reshape(-1, 1, 1),
            **{k: random.normal(size=(len(clips), 2, d)) for k, d in (("text", 300), ("audio", 5), ("vision", 20))},
        }
    store, listed = Store(tmp_path), read_labels(path)
    import_file(save(tmp_path / "x.pkl", raw), store, name="x")
    stored = store.open("x", "glove")
    names = clip_names([stored.splits[s].ids for s in SPLITS], listed)
    found = [*shared_videos(stored, DATASETS["mosi"], names), *against_official(stored, listed, names)]
    assert [(f.check, f.severity, f.message) for f in found] == [
        ("overlap", "ok", "no video in two splits (videos: train 52, valid 10, test 31; ids read as rows of VIDEO_CLIP,"
         " start, end)"),
        ("official labels", "ok", "all 2199 clips have their official label"),
    ]  # fmt: skip
    order = random.permutation
    shuffled = renamed(stored, lambda split, i, clip: clip, lambda s, n: order(n) if s == "valid" else np.arange(n))
    (wrong,) = against_official(shuffled, listed, names)
    assert (wrong.severity, wrong.message[-34:]) == ("defect", ": the same labels in another order")
    assert "of valid differ from the list" in wrong.message


def test_a_list_of_another_label_range_is_read_for_a_data_set_of_that_range(tmp_path):
    """Data sets of other ranges have lists too; on CMU-MOSI a label beyond 3 stays a fault of the list."""
    store = Store(tmp_path)
    import_file(save(tmp_path / "x.pkl", mmsa()), store, name="own", dataset="custom")
    import_file(save(tmp_path / "x.pkl", mmsa()), store, name="mosi", dataset="mosi")
    (tmp_path / "l.csv").write_text("video_id,clip_id,label,mode\nvidtrain0,0,7,train\n")
    assert any("officially 7" in text for _, text in said(check("own", store, tmp_path / "l.csv"), "official labels"))
    with pytest.raises(DataError, match=r"line 2: expected a label in \[-3, 3\], got '7'"):
        check("mosi", store, tmp_path / "l.csv")
