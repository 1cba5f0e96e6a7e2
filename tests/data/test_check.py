"""`dmd data check` finds what is wrong with features and says what it does to the results."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from toy_files import mmsa

from dmd_repro.data.checks.check import CheckReport, check, examine
from dmd_repro.data.features import Features
from dmd_repro.data.formats.families import convert
from dmd_repro.data.formats.importer import import_file
from dmd_repro.data.store.digest import feature_set, features
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import DataError


def found(report: CheckReport, name: str) -> list[tuple[str, str]]:
    return [(f.severity, f.message) for f in report.findings if f.check == name]


def changed(original: Features, split: str, **columns: Any) -> Features:
    part = original.splits[split]
    given = {
        "ids": part.ids, "language": part.language, "acoustic": part.acoustic, "visual": part.visual,
        "labels": part.labels, "lengths": part.lengths, "aligned": part.aligned,
    } | columns  # fmt: skip
    splits = {**original.splits, split: feature_set(**given)}
    return features("changed", original.dataset, splits, text=original.text, standing=original.standing)


def test_synthetic_features_are_clean(synthetic):
    """No problem is found in the stand-in, and its padding is seen for what it is."""
    report = examine(synthetic)
    assert not report.failed
    assert {f.severity for f in report.findings} == {"ok"}
    part = report.splits["train"]
    assert part.padding["a"].side == "left"
    expected = 1 - synthetic.splits["train"].lengths["a"].sum() / (192 * 20)
    assert part.padding["a"].share == pytest.approx(expected)
    assert sum(part.histogram.values()) == sum(part.signs) == part.clips == 192
    assert part.videos == 24


def test_padding_on_the_right_is_a_warning(synthetic):
    """The authors' code reads the last step: with padding there it reads nothing."""
    flipped = synthetic.splits["test"].acoustic[:, ::-1].copy()
    report = examine(changed(synthetic, "test", acoustic=flipped))
    assert report.splits["test"].padding["a"].side == "right"
    assert any(f.severity == "warning" and "last step" in f.effect for f in report.findings if f.check == "padding")
    assert report.splits["test"].padding["v"].side == "left"


def test_empty_clips_and_lengths_that_lie_are_seen(synthetic):
    """A clip without any frame, and a stated length shorter than the frames that are there."""
    audio = synthetic.splits["valid"].acoustic.copy()
    audio[3] = 0
    lengths = dict(synthetic.splits["valid"].lengths)
    lengths["v"] = np.minimum(lengths["v"], 5)
    report = examine(changed(synthetic, "valid", acoustic=audio, lengths=lengths))
    assert found(report, "empty clips") == [("warning", "acoustic: 1 clip zero at every step")]
    assert [s for s, m in found(report, "lengths") if "visual" in m] == ["defect"]
    assert report.failed


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_a_defect(synthetic, bad):
    """The import refuses them; features made otherwise must not pass either."""
    video = synthetic.splits["train"].visual.copy()
    video[5, -1, 2] = bad
    report = examine(changed(synthetic, "train", visual=video))
    assert report.failed
    assert "visual of train 1" in found(report, "finite")[0][1]


@pytest.mark.parametrize("splits", [("train", "valid", "test"), ("valid",)])
def test_a_modality_that_is_zero_in_every_clip_is_a_defect(synthetic, splits):
    """A run on it is one of the other modalities alone; the loader warned of single clips and let this pass."""
    broken = synthetic
    for split in splits:
        broken = changed(broken, split, visual=np.zeros_like(broken.splits[split].visual))
    where = "in all splits" if len(splits) == 3 else "of valid"
    assert found(examine(broken), "empty clips") == [("defect", f"visual: every clip {where} is zero at every step")]


def test_a_video_in_two_splits_is_a_defect(synthetic):
    """The official splits share no video: a speaker known from training makes the numbers too good."""
    ids = list(synthetic.splits["test"].ids)
    ids[0] = synthetic.splits["train"].ids[0].split("$_$")[0] + "$_$99"
    report = examine(changed(synthetic, "test", ids=ids))
    assert report.failed
    assert "train and test share 1 video (SYNtrain000) and 0 clips" in found(report, "overlap")[0][1]


def test_labels_of_the_wrong_official_split_are_a_defect(synthetic):
    """With the official number of clips, other label signs can only be other labels."""

    def official(signs: tuple[int, int, int]) -> Features:
        def part(split: str, n: int, labels: np.ndarray) -> Any:
            x = np.random.Generator(np.random.PCG64(n)).standard_normal((n, 1, 1)).astype(np.float32)
            ids = [f"{split}{i}$_$0" for i in range(n)]
            return feature_set(
                ids=ids, language=x, acoustic=x, visual=x, labels=labels.astype(np.float32), aligned=True
            )

        test = np.repeat([-1.0, 0.0, 1.0], signs)
        splits = {
            "train": part("a", 1284, np.linspace(-3, 3, 1284)),
            "valid": part("b", 229, np.linspace(-3, 3, 229)),
            "test": part("c", 686, test),
        }
        return features("o", "mosi", splits, text="glove", standing="official")

    assert not examine(official((379, 30, 277))).failed
    report = examine(official((277, 30, 379)))
    assert report.failed
    assert found(report, "test signs")[0][0] == "defect"
    assert found(report, "videos")[0][0] == "warning"  # one video a clip: not the official ids
    constant = changed(official((379, 30, 277)), "valid", labels=np.full(229, 2.0, dtype=np.float32))
    assert any("every label of valid is 2.0" in m for _, m in found(examine(constant), "labels"))
    outside = changed(official((379, 30, 277)), "valid", labels=np.linspace(-3, 4, 229, dtype=np.float32))
    assert examine(outside).failed


def test_partial_data_and_replaced_values_are_said(tmp_path):
    """What the import had to say stands in the check too, once."""
    source = mmsa()
    source["train"]["audio"][0, 0, 0] = -np.inf
    store = Store(tmp_path)
    store.write("x", convert(source, "x.pkl"))
    report = check("x", store)
    assert not report.failed
    assert [s for s, _ in found(report, "sizes")] == ["warning"]
    assert [m for severity, m in found(report, "import") if severity != "ok"] == [
        "audio -inf set to 0, as the authors' loader does: train 1"
    ]
    assert found(report, "content")[0][0] == "ok"


@pytest.mark.parametrize("name", ["language_bert", "language_hidden", "acoustic"])
def test_changed_content_is_a_defect_for_every_array(tmp_path, name):
    """Also the kind of text that is not the default is verified."""
    store = Store(tmp_path)
    manifest = store.write("x", convert(mmsa(), "x.pkl"))
    path = tmp_path / "x" / manifest.content / "test.safetensors"
    raw = bytearray(path.read_bytes())
    array = np.ascontiguousarray(convert(mmsa(), "x.pkl").splits["test"].arrays[name])
    raw[raw.index(array.tobytes()) + 2] ^= 1
    path.write_bytes(bytes(raw))
    report = check("x", store)
    assert report.failed
    assert name in report.findings[0].message
    assert report.to_json()["failed"] is True


def test_names_are_checked_like_anywhere(tmp_path):
    """Generated sets can be checked too; an unknown name is an error, not a defect."""
    assert not check("synthetic-unaligned-hidden", Store(tmp_path)).failed
    with pytest.raises(DataError, match="unknown name"):
        check("nothing", Store(tmp_path))


@pytest.mark.parametrize("setting", ["aligned", "unaligned"])
def test_the_real_clips_check_clean(real_file, shared, tmp_path, setting):
    """Real features: padded on the left, no video in two splits, lengths that hold; only what their README says."""
    store = Store(tmp_path)
    import_file(real_file(setting), store, name="real")
    report = check("real", store)
    assert not report.failed
    assert {f.check for f in report.findings if f.severity == "warning"} == {"sizes", "widths"}
    listed = check("real", store, shared / "data" / "MOSI-label.csv")
    assert not listed.failed
    assert found(listed, "official labels") == [
        ("ok", "all 229 clips have their official label; 1970 of the list are not here")
    ]
    assert [s for s, _ in found(listed, "official split")] == ["warning"]  # its README: re-split by video
    assert {s: p.videos for s, p in report.splits.items()} == {"train": 5, "valid": 3, "test": 2}
    assert all(p.side == "left" for part in report.splits.values() for p in part.padding.values())
    assert dataclasses.asdict(report.splits["test"])["signs"] == (20, 2, 31)
