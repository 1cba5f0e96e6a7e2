"""Each kind of damage, planted into clean features, is found and named; nothing else is said with it."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Here
from toy_files import mmsa, save

from dmd_repro.data.checks.check import CheckReport, check, examine
from dmd_repro.data.checks.labels import Official, read_labels
from dmd_repro.data.features import Features
from dmd_repro.data.formats.families import convert
from dmd_repro.data.formats.importer import import_file
from dmd_repro.data.pickle_gate.containers import load_path
from dmd_repro.data.store.digest import feature_set, features
from dmd_repro.data.store.folder import Store
from dmd_repro.data.synthetic import generate
from dmd_repro.errors import DataError
from dmd_repro.render.markdown import plain


@pytest.fixture(scope="module")
def clean() -> Features:
    """Unaligned synthetic features: the modalities last differently long, in proportion."""
    return generate(text="hidden", aligned=False)


def planted(original: Features, split: str, **columns: Any) -> Features:
    part = original.splits[split]
    given: dict[str, Any] = {
        "ids": part.ids, "language": part.language, "acoustic": part.acoustic, "visual": part.visual,
        "labels": part.labels, "lengths": part.lengths, "aligned": part.aligned,
    }  # fmt: skip
    for key, value in columns.items():
        given[key] = value(given[key]) if callable(value) else value
    splits = {**original.splits, split: feature_set(**given)}
    return features("planted", original.dataset, splits, text=original.text, standing=original.standing)


def listing(data: Features) -> dict[str, Official]:
    """An official list that agrees with the features."""
    return {
        i: Official(float(y), split, 0)
        for split, part in data.splits.items()
        for i, y in zip(part.ids, part.labels, strict=True)
    }


def defects(report: CheckReport) -> list[tuple[str, str]]:
    return [(f.check, f.message) for f in report.findings if f.severity == "defect"]


def edit(change: Callable[[np.ndarray], None]) -> Callable[[np.ndarray], np.ndarray]:
    def apply(array: np.ndarray) -> np.ndarray:
        new = np.array(array)
        change(new)
        return new

    return apply


def swap(y: np.ndarray) -> None:
    y[[3, 9]] = -2.6, 1.4


def learned(x: np.ndarray, y: np.ndarray, noise: float, seed: int = 1) -> np.ndarray:
    """Features as a network trained on y would leave them: a direction of the label over all used steps."""
    rng = np.random.Generator(np.random.PCG64(seed))
    told = y + noise * rng.standard_normal(len(y))
    direction = np.random.Generator(np.random.PCG64(9)).standard_normal(x.shape[2])
    used = (x != 0).any(axis=2, keepdims=True)
    return (used * rng.standard_normal(x.shape) + used * told[:, None, None] * direction).astype(np.float32)


def test_the_clean_features_are_clean(clean):
    """What follows is due to the damage alone."""
    report = examine(clean, official=listing(clean))
    assert {f.severity for f in report.findings} == {"ok"}
    assert all(f.effect for f in report.findings if f.severity != "ok")


PLANTS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "swapped labels": ("test", {"labels": edit(lambda y: y.__setitem__([3, 9], y[[9, 3]]))}, "official labels",
                       r"2 labels of test differ .*SYNtest000\$_\$4 .* the two are swapped"),
    "labels moved": ("valid", {"labels": lambda y: np.roll(y, 1)}, "official labels", "moved by 1 clip"),
    "signs turned": ("valid", {"labels": lambda y: -y}, "official labels", "every sign is turned"),
    "labels shuffled": ("valid", {"labels": lambda y: y[::-1].copy()}, "official labels", "in another order"),
    "one label": ("train", {"labels": edit(lambda y: y.__setitem__(0, 2.9))}, "official labels", "1 label of train"),
    "modality shifted": ("train", {"acoustic": lambda x: np.roll(x, 1, axis=0)}, "in step",
                         "acoustic of train agrees with language and visual only when moved by 1 clip back"),
    "text shifted": ("test", {"language": lambda x: np.roll(x, -2, axis=0)}, "in step", "language of test .* 2 clips"),
    "modality shuffled": ("test", {"visual": lambda x: x[np.random.Generator(np.random.PCG64(1)).permutation(len(x))]},
                          "in step", "visual of test does not last as long as language and acoustic"),
    "lengths too short": ("valid", {"lengths": lambda n: {**n, "v": np.minimum(n["v"], 5)}}, "lengths",
                          "visual: 64 clips have more steps than their stated length"),
    "float16 cut": ("test", {"visual": edit(lambda x: x.__setitem__((5, -1, 3), 65504.0))}, "float16",
                    "visual: 1 value of exactly 65504"),
    "constant": ("all", {"acoustic": lambda x: x * 0 + (x != 0).any(axis=2, keepdims=True)}, "constant",
                 "acoustic: every channel"),
    "label in a channel": ("all", {"visual": "copy"}, "leakage", "visual of t.*: channel 7 is the label"),
    "learned on train": ("train", {"language": "learned"}, "leakage",
                         r"language predicts labels with correlation 0.[89]\d on train .* on test"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTS)
def test_planted_damage_is_found_and_named(clean, name):
    """One damage, one kind of defect, which names split, modality and clips."""
    split, columns, kind, pattern = PLANTS[name]
    broken = clean
    for part in ("train", "valid", "test") if split == "all" else (split,):
        y = clean.splits[part].labels
        made = dict(columns)
        if made.get("visual") == "copy":
            made["visual"] = edit(
                lambda x, y=y: x.__setitem__((slice(None), slice(None), 7), (x[..., 7] != 0) * y[:, None])
            )
        if made.get("language") == "learned":
            made["language"] = lambda x, y=y: learned(x, y, 0.6)
        broken = planted(broken, part, **made)
    found = defects(examine(broken, official=listing(clean)))
    assert found
    told = (
        {"duplicates", "lengths", "leakage"} if kind in ("in step", "constant") else {"duplicates"}
    )  # they follow from it
    assert {check for check, _ in found} - told | {kind} == {kind}
    assert any(re.search(pattern, message) for _, message in found), found


def test_a_clip_twice_is_found_by_content(clean):
    """Under any id: in two splits a leak, in one a clip that counts twice."""
    test, train = clean.splits["test"], clean.splits["train"]

    def copied(i: int, source: Any, j: int) -> dict[str, Any]:
        keys = ("language", "acoustic", "visual")
        return {key: edit(lambda x, key=key: x.__setitem__(i, getattr(source, key)[j])) for key in keys} | {
            "lengths": {m: edit(lambda n, m=m: n.__setitem__(i, source.lengths[m][j]))(test.lengths[m]) for m in "lav"}
        }

    leak = defects(examine(planted(clean, "test", **copied(4, train, 100))))
    assert [check for check, _ in leak] == ["duplicates"]
    assert "same content in two splits: SYNtrain012$_$5 (train) = SYNtest000$_$5 (test)" in leak[0][1]
    twice = defects(examine(planted(clean, "test", **copied(4, test, 80))))
    assert "same content twice: SYNtest000$_$5 (test) = SYNtest010$_$1 (test)" in twice[0][1]
    near = examine(planted(clean, "test", **copied(4, test, 5)))  # the same video: cut out twice, as in CMU-MOSI itself
    assert not near.failed
    assert [f.severity for f in near.findings if f.check == "duplicates"] == ["warning"]
    rows = planted(clean, "test", acoustic=edit(lambda x: x.__setitem__(4, x[5])))
    assert any("acoustic: 1 content under several" in f.message for f in examine(rows).findings)


def test_an_aligned_modality_moved_in_time_is_found():
    """Word by word, another word's voice: the clips start at different steps."""
    clean = generate()
    moved = planted(clean, "train", visual=lambda x: np.roll(x, -2, axis=1))
    assert ("in step", "visual of train starts 2 steps before language in 160 of 192 clips") in defects(examine(moved))


@pytest.mark.parametrize(
    ("change", "kind", "word"),
    [
        (lambda x: x * np.float32(2e5), "float16", "beyond float16's 65504"),
        (edit(lambda x: x.__setitem__((3, -1, 2), 60000.0)), "scale", "channel 2 reaches 6e"),
        (edit(lambda x: x.__setitem__((..., 4), x[..., 4] * 1e6)), "scale", "channel 4 varies"),
        (edit(lambda x: x.__setitem__((..., [1, 3]), 0)), "constant", "2 of 5 channels never change (1, 3)"),
    ],
)
def test_values_out_of_scale_are_warnings(clean, change, kind, word):
    """Training still works, but not as on the paper's features."""
    broken = clean
    for split in ("train", "valid", "test"):
        broken = planted(broken, split, acoustic=change)
    report = examine(broken)
    assert not report.failed
    assert any(f.check == kind and word in f.message and f.effect for f in report.findings), report.findings


def test_clips_normalised_one_by_one_are_a_warning(clean):
    """A common step that takes away what the paper's features hold."""

    def normalised(x: np.ndarray) -> np.ndarray:
        out = np.zeros_like(x)
        for clip, new in zip(x, out, strict=True):
            used = (clip != 0).any(axis=1)
            new[used] = (clip[used] - clip[used].mean(axis=0)) / clip[used].std(axis=0)
        return out

    broken = clean
    for split in ("train", "valid", "test"):
        broken = planted(broken, split, visual=normalised)
    assert [f.check for f in examine(broken).findings if f.severity == "warning"] == ["normalised"]


def test_tokens_and_text_that_disagree_are_found(tmp_path):
    """Ids outside their mask, a mask with a gap, rows of text that belong to other clips."""
    source = mmsa(sizes={"train": 40, "valid": 40, "test": 40})
    rng = np.random.Generator(np.random.PCG64(2))
    for part in source.values():
        used = rng.integers(1, 6, 40)
        part["audio"] = rng.standard_normal((40, 9, 5)).astype(np.float32)
        part["audio_lengths"] = [9] * 40
        part["text"] = part["text"] * (np.arange(6) >= 6 - used[:, None])[:, :, None]
        part["text_bert"][:, 0], part["text_bert"][:, 1] = (
            (np.arange(6) < used[:, None]) * 7,
            np.arange(6) < used[:, None],
        )
    store = Store(tmp_path)

    def found(name: str, change: Callable[[Any], None]) -> list[tuple[str, str]]:
        copy = {s: {k: np.array(v) for k, v in p.items()} for s, p in source.items()}
        change(copy)
        store.write(name, convert(copy, "x.pkl"))
        return defects(check(name, store))

    assert found("clean", lambda s: None) == []
    masked = found("masked", lambda s: s["valid"]["text_bert"].__setitem__((3, 0, 5), 9))
    assert ("tokens", "1 clip of valid hold tokens that the mask leaves out") in masked
    gap = found("gap", lambda s: s["test"]["text_bert"].__setitem__((3, 1), [1, 0, 1, 0, 0, 0]))
    assert any("gap in the mask" in m for _, m in gap)
    rows = found("rows", lambda s: s["train"].update(text=np.roll(s["train"]["text"], 3, axis=0)))
    assert any("moved by 3 clips" in m or "does not last" in m for _, m in rows)


def test_float16_overflow_is_named_at_the_import(tmp_path):
    """What became infinite in the file cannot be repaired: the message says where it comes from."""
    source = mmsa()
    with np.errstate(over="ignore"):
        source["train"]["vision"] = (source["train"]["vision"] * 1e5).astype(np.float16)
    with pytest.raises(DataError, match="float16 array, which overflows beyond 65504"):
        convert(load_path(save(tmp_path / "x.pkl", source)), "x.pkl")


def test_the_official_list_is_used_as_it_can_be(clean, tmp_path):
    """Other ids, other splits, clips too many or missing: each has its own finding, and the standing decides."""
    listed = listing(clean)
    other = {
        k: Official(v.label, {"valid": "test", "test": "valid"}.get(v.split, v.split), 0) for k, v in listed.items()
    }
    moved = examine(clean, official=other)
    assert [f.message for f in moved.findings if f.check == "official split"] == [
        "160 of 352 clips are officially in another split: 64 of test in valid, 96 of valid in test"
    ]
    assert not moved.failed  # no official standing: partial or synthetic data say so in every table
    few = dict(list(listed.items())[:300])
    assert any("52 of 352 clips are not in the list" in f.message for f in examine(clean, official=few).findings)
    renamed = {f"other{i}": v for i, v in enumerate(listed.values())}
    whole = [f for f in examine(clean, official=renamed).findings if f.check == "official labels"]
    assert (whole[0].severity, "in the list's order" in whole[0].message) == ("ok", True)
    assert [f.severity for f in examine(planted(clean, "test", labels=lambda y: y * 0.5), official=renamed).findings
            if f.check == "official labels"] == ["warning"]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("video_id,clip_id,label\na,1,2\n", "no mode"),
        ("video_id,clip_id,label,mode\na,1,x,train\n", "line 2.*'x'"),
        ("video_id,clip_id,label,mode\na,1,4,train\n", "'4'"),
        ("video_id,clip_id,label,mode\na,1,1,dev\n", "'dev'"),
        ("video_id,clip_id,label,mode\na,1,1,train\na,1,1,train\n", "again"),
        ("", "no video_id"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin1"), "no video_id"),
    ],
)
def test_a_bad_list_is_one_sentence(tmp_path, body, word):
    """The list decides about defects: it is never half-read."""
    (tmp_path / "labels.csv").write_text(body, encoding="utf-8")
    with pytest.raises(DataError, match=word):
        read_labels(tmp_path / "labels.csv")
    with pytest.raises(DataError, match="Check the path"):
        read_labels(tmp_path / "absent.csv")


def test_each_format_holds_the_same_findings(tmp_path, monkeypatch, capsys):
    """Terminal, Markdown and JSON; exit 1 on a defect in each; a slip in --format is one sentence."""
    dmd = Here(tmp_path, monkeypatch, capsys)
    source = mmsa()
    source["test"]["id"][0] = source["train"]["id"][0]
    import_file(save(tmp_path / "x.pkl", source), Store(tmp_path / "data"), name="x")
    with (tmp_path / "l.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "clip_id", "label", "mode"])
        writer.writerow(["vidtrain0", "0", "-3", "train"])
        writer.writerow(["vidtrain0", "1", "2.5", "train"])
    said = {f: dmd("data", "check", "x", "--labels", "l.csv", "--format", f) for f in ("terminal", "markdown", "json")}
    assert {s.code for s in said.values()} == {1}
    findings = json.loads(said["json"].out)["findings"]
    assert json.loads(dmd("data", "check", "x", "--labels", "l.csv", "--json").out)["findings"] == findings
    assert {"overlap", "official labels"} <= {f["check"] for f in findings if f["severity"] == "defect"}
    for finding in findings:
        assert plain(finding["message"]) in said["markdown"].out
        assert finding["check"] in said["terminal"].out
    assert "| defect | overlap |" in said["markdown"].out
    slip = dmd("data", "check", "x", "--format", "markdwon")
    assert (slip.code, "Did you mean 'markdown'" in slip.err) == (2, True)


@pytest.mark.parametrize("setting", ["aligned", "unaligned"])
def test_damage_in_the_real_clips_is_found(real_file, shared, tmp_path, setting):
    """The same plants in real features, where signals are weak and clips few."""
    store = Store(tmp_path)
    manifest, _ = import_file(real_file(setting), store, name="real")
    real, listed = store.open("real", "hidden"), read_labels(Path(shared) / "data" / "MOSI-label.csv")
    assert not examine(real, manifest, official=listed).failed
    cases = {
        "in step": planted(real, "train", acoustic=lambda x: np.roll(x, 1, axis=0)),
        "official labels": planted(real, "test", labels=edit(lambda y: y.__setitem__([3, 9], y[[9, 3]]))),
        "leakage": planted(real, "train", visual=lambda x: learned(x, real.splits["train"].labels, 0.3)),
        "duplicates": planted(
            real, "test",
            **{k: edit(lambda x, k=k: x.__setitem__(4, getattr(real.splits["train"], k)[7])) for k in
               ("language", "acoustic", "visual")},
        ),
        "float16": planted(real, "valid", visual=edit(lambda x: x.__setitem__((0, -1, 0), 65504.0))),
        "lengths": planted(real, "test", lengths=lambda n: {**n, "a": np.full(53, 3)}),
    }  # fmt: skip
    for kind, broken in cases.items():
        assert {check for check, _ in defects(examine(broken, official=listed))} - {"lengths"} | {kind} == {kind}, kind
        assert kind in {check for check, _ in defects(examine(broken, official=listed))}
