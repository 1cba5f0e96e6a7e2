"""Files as users have them: read as they are, repaired without loss and said, or refused with the line that mends."""

from __future__ import annotations

import copy
import pathlib
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from toy_files import SIZES, mmsa, mult, save

from dmd_repro.data.formats.families import convert
from dmd_repro.data.formats.importer import import_file
from dmd_repro.data.formats.incoming import Incoming, describe
from dmd_repro.data.pickle_gate.containers import load_path
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import DataError

Content = dict[Any, Any]


def each(change: Callable[[dict[str, Any]], None]) -> Callable[[Content], Content]:
    """Apply a change to the columns of every split."""

    def apply(content: Content) -> Content:
        for part in content.values():
            change(part)
        return content

    return apply


def rename(**names: str) -> Callable[[dict[str, Any]], None]:
    def change(part: dict[str, Any]) -> None:
        for old, new in names.items():
            if old in part:
                part[new] = part.pop(old)

    return change


def flat(content: Content) -> Content:
    """The columns of all splits after one another, with a column that names the split."""
    out = {k: np.concatenate([np.asarray(part[k]) for part in content.values()]) for k in content["train"]}
    names = {"train": "Train", "valid": "dev", "test": "test"}
    out["mode"] = np.array([names[s] for s, part in content.items() for _ in part["id"]])
    return out


def as_bytes(value: Any) -> Any:
    return {k.encode(): as_bytes(v) for k, v in value.items()} if isinstance(value, dict) else value


def objects(values: Any) -> np.ndarray:
    out = np.empty(len(values), dtype=object)
    out[:] = list(values)
    return out


def through(tmp_path: Any, content: Any, **options: Any) -> Incoming:
    """What the importer makes of a content that went through a file."""
    return convert(load_path(save(tmp_path / "x.pkl", content)), "x.pkl", **options)


READ: dict[str, tuple[Callable[[Content], Any], tuple[str, ...]]] = {
    "dev": (lambda c: {"train": c["train"], "dev": c["valid"], "test": c["test"]}, ("dev read as valid",)),
    "capitals": (lambda c: {k.upper(): v for k, v in c.items()}, ("VALID read as valid",)),
    "val": (lambda c: {"Training": c["train"], "val": c["valid"], "testing": c["test"]}, ("val read as valid",)),
    "bytes keys": (as_bytes, ("names that are bytes read as text",)),
    "wrapped": (lambda c: {"data": c}, ("the splits read from under 'data'",)),
    "sdk names": (
        each(rename(audio="acoustic", vision="visual", text="language")),
        ("acoustic read as audio", "visual read as vision", "language read as text"),
    ),
    "column capitals": (each(rename(audio="COVAREP", id="ids")), ("COVAREP read as audio", "ids read as id")),
    "token axes": (
        each(lambda p: p.update(text_bert=p["text_bert"].transpose(0, 2, 1).astype(float))),
        ("text_bert: axes (clips, steps, 3) turned to (clips, 3, steps)",),
    ),
    "lengths 2d": (
        each(lambda p: p.update(audio_lengths=np.array(p["audio_lengths"], np.float32)[:, None])),
        ("audio_lengths: axes of size 1 dropped",),
    ),
    "labels as text": (
        each(lambda p: p.update(regression_labels=[repr(float(y)) for y in p["regression_labels"]])),
        ("regression_labels: text read as numbers",),
    ),
    "names with the split": (
        lambda c: {f"{s}_{k}" if s == "train" else f"{s}/{k}": v for s, part in c.items() for k, v in part.items()},
        ("the splits read from the names of the columns",),
    ),
    "two of a name": (lambda c: {**c, "dev": c["train"]}, ("dev not read: valid is there",)),
    "flat": (flat, ("divided into splits by the column mode",)),
    "object text": (each(lambda p: p.update(id=objects(p["id"].tolist()), raw_text=objects(["a"] * len(p["id"])))), ()),
    "objects nobody reads": (
        each(lambda p: p.update(align=objects([[{"word": "ok"}]] * len(p["id"])), when=np.zeros(2, "M8[s]"), s={1})),
        (),
    ),
    "paths beside the splits": (lambda c: {**c, "meta": {"at": pathlib.PurePosixPath("x"), "n": 1 + 2j}}, ()),
    "defaultdict": (lambda c: defaultdict(list, c), ()),
    "ordered": (lambda c: OrderedDict((k, OrderedDict(v)) for k, v in c.items()), ()),
    "lists of clips": (each(lambda p: p.update(audio=list(p["audio"]), vision=objects(list(p["vision"])))), ()),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_a_layout_of_the_field_gives_the_content_of_the_plain_file(tmp_path, case):
    """Protects: the same values have the same digest under any name and shape that loses nothing, and what was read
    differently is said."""
    change, notes = READ[case]
    expected = describe("x", convert(mmsa(), "x.pkl"))
    got = through(tmp_path, change(mmsa()))
    assert describe("x", got).digest == expected.digest
    assert set(notes) <= set(got.notes)
    assert len(got.notes) == len(set(got.notes))
    if not notes:
        assert got.notes == convert(mmsa(), "x.pkl").notes
    manifest, _ = import_file(tmp_path / "x.pkl", Store(tmp_path / "s"), name="x")
    assert set(notes) <= set(Store(tmp_path / "s").manifest("x").notes) == set(manifest.notes)


def clip_list(n: int) -> list[Any]:
    return [((["ok"] * 4, np.zeros((4, 47)), np.zeros((4, 74))), np.array([[1.0]]), f"v[{i}]") for i in range(n)]


def ragged(content: Content) -> Content:
    content["train"]["vision"] = [x[: 3 + i % 4] for i, x in enumerate(content["train"]["vision"])]
    return content


class Clip:
    """A class of a user's own program."""


REFUSED: dict[str, tuple[Callable[[Content], Any], str]] = {
    "mag-bert": (lambda c: {"train": clip_list(4), "dev": clip_list(2), "test": clip_list(2)},
                 "split train.*a list of clips.*MAG-BERT.*no vectors.*dmd data matrix"),
    "misa": (lambda c: clip_list(5), "one split as a list of clips.*MISA.*dmd data matrix"),
    "no valid": (lambda c: {"train": c["train"], "test": c["test"]}, "'valid': the best epoch is chosen on it"),
    "one split": (lambda c: c["train"], "the columns of one split.*Write {'train'"),
    "own video": (lambda c: {"audio": np.zeros((80, 25)), "vision": np.zeros((60, 177)), "text": np.zeros((12, 768))},
                  "one own video.*unlabelled"),
    "splits without names": (lambda c: list(c.values()), r"a list of 3 dicts without names.*dict\(zip\("),
    "a list around": (lambda c: [c], r"a list of 1 dict without names.*x\[0\]"),
    "a number": (lambda c: 3, "got a number"),
    "a clip an entry": (lambda c: {s: {f"v{i}": {"text": np.zeros((2, 3))} for i in range(3)} for s in c},
                        "one entry a clip.*v0, v1, v2.*Stack"),
    "arrays without names": (lambda c: {s: [p["text"], p["audio"]] for s, p in c.items()},
                             "split train.*2 arrays without names.*Write {'train'"),
    "no text": (each(lambda p: [p.pop("text"), p.pop("text_bert")]), "raw_text alone is not enough"),
    "classes only": (each(lambda p: p.pop("regression_labels")), "classification_labels cannot replace"),
    "emotion classes": (each(lambda p: p.update(regression_labels=np.eye(2)[np.zeros((len(p["id"]), 4), int)])),
                        "classes of emotion.*IEMOCAP"),
    "word indices": (each(lambda p: p.update(text=np.zeros((len(p["id"]), 6), int))), "word indices.*300"),
    "words": (each(lambda p: p.update(text=np.array([["a"] * 6] * len(p["id"])))), "an array of text.*vector"),
    "one vector a clip": (each(lambda p: p.update(audio=p["audio"].mean(1))), "audio of train.*one vector a clip"),
    "turned axes": (each(lambda p: p.update(audio=np.zeros((len(p["id"]), 5, 6)))),
                    r"5 steps of 6 channels: the axes look turned.*transpose\(0, 2, 1\)"),
    "turned text": (each(lambda p: p.update(text=np.zeros((len(p["id"]), 300, 6)))),
                    r"text: expected 6 steps of 300 channels, got 300 steps of 6.*transpose\(0, 2, 1\)"),
    "time first": (each(lambda p: p.update(audio=p["audio"].transpose(1, 0, 2))),
                   r"audio of train.*5 clips, as many as labels, got 9.*turned: write x.transpose\(1, 0, 2\)"),
    "an axis too many": (each(lambda p: p.update(audio=p["audio"][None])), r"axis of size 1: x.reshape\(5, 9, 5\)"),
    "no name": (each(lambda p: p.update(id=[float("nan")] * len(p["id"]))), "id of train.*got NaN.*Name the clips"),
    "labels in words": (each(lambda p: p.update(regression_labels=["good"] * len(p["id"]))),
                        r"labels of train, clip vidtrain0\$_\$0: expected a number, got 'good' \(5 such labels\)"),
    "no label": (lambda c: {**c, "test": {**c["test"], "regression_labels": [1.0, None, 2.0, 0.5]}},
                 r"regression_labels of test, clip vidtest0\$_\$1: expected a number, got None. Leave"),
    "ragged": (ragged, r"vision of train.*clips of different lengths, 3 to 6 steps.*Pad every clip"),
    "steps differ": (lambda c: {**c, "test": {**c["test"], "audio": c["test"]["audio"][:, 1:]}},
                     "audio of test.*9 steps, as in train, got 8.*Pad every clip"),
    "masked": (each(lambda p: p.update(audio=np.ma.masked_invalid(p["audio"]))), r"audio.*masked array.*filled\(0\)"),
    "object features": (each(lambda p: p.update(audio=objects([{"a": 1}] * len(p["id"])))), "audio of train"),
    "objects of text": (each(lambda p: p.update(audio=objects(["a"] * len(p["id"])))), "audio of train.*text"),
    "two of one name": (each(lambda p: p.update(acoustic=p["audio"], covarep=p.pop("audio"))),
                        "one entry that is audio, got acoustic and covarep"),
    "a class of one's own": (lambda c: {**c, "clip": Clip()}, "program's own class.*nothing was run"),
    "mode of another name": (lambda c: {**flat(c), "mode": ["extra"] * 12}, "'extra'"),
    "text in some": (lambda c: {**c, "test": {k: v for k, v in c["test"].items() if k != "text"},
                                "train": {k: v for k, v in c["train"].items() if k != "text_bert"}},
                     "train has text alone.*test has text_bert alone"),
    "+inf": (lambda c: {**c, "train": {**c["train"], "audio": np.full((5, 9, 5), np.inf)}}, "got inf.*--nan zero"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_layout_that_cannot_serve_is_named_with_the_way_out(tmp_path, case):
    """Protects: a reader learns what the file is and what to do, and is sent after no published file it never was."""
    change, pattern = REFUSED[case]
    with pytest.raises(DataError, match=pattern) as caught:
        through(tmp_path, change(mmsa()))
    message = str(caught.value)
    assert message.count("\n") == 0
    assert "published file" not in message
    assert "with other tools" not in message


def test_the_published_file_is_named_only_where_the_sizes_are_its(tmp_path):
    """Protects: the advice to check the published file stands where the file has its number of clips."""
    sizes = {"train": 1284, "valid": 229, "test": 686}
    content = {
        s: {"id": [f"{s}{i}" for i in range(n)], "labels": np.zeros(n)}
        | {k: np.ones((n, 1, w), np.float32) for k, w in (("text", 300), ("audio", 5), ("vision", 20))}
        for s, n in sizes.items()
    }
    content["test"]["vision"] = content["test"]["vision"].astype(np.float64)
    content["test"]["vision"][3, 0, 1] = 1e300
    with pytest.raises(DataError, match="Check that this is the published file"):
        convert(content, "x.pkl")


def test_only_what_the_values_allow_is_repaired():
    """Protects: lengths beyond a cut array are cut and counted, and other infinite values go where NaN goes."""
    content = mmsa()
    content["train"]["audio_lengths"] = [1, 2, 3, 40, 97]
    got = convert(copy.deepcopy(content), "x.pkl")
    assert got.splits["train"].arrays["lengths_a"].tolist() == [1, 2, 3, 9, 9]
    assert any("2 of 5 lengths, up to 97, go beyond the 9 steps" in w for w in got.warnings)
    content["train"]["vision"][1, 2, 3], content["train"]["audio"][0, -1, 0] = np.inf, -np.inf
    content["valid"]["vision"][0, 0, 0], content["valid"]["audio"][0, 0, 0] = -np.inf, np.nan
    got = convert(content, "x.pkl", nan="zero")
    assert got.replaced == {
        "audio -inf": {"train": 1}, "vision inf": {"train": 1, "valid": 1}, "audio NaN": {"valid": 1},
    }  # fmt: skip
    assert np.isfinite(got.splits["valid"].arrays["visual"]).all()


def test_seven_columns_of_labels_are_the_sentiment_and_six_emotions():
    """Protects: CMU-MOSEI's "All Labels" give the sentiment, said, in either shape; six or two columns give nothing."""
    for shape in ((-1, 1, 7), (-1, 7)):
        content = mult()
        for part in content.values():
            y = part["labels"].reshape(-1)
            part["labels"] = np.stack([y, *np.full((6, len(y)), 2.0)], axis=1).reshape(shape)
        got = convert(content, "x.pkl")
        assert np.allclose(got.splits["train"].arrays["labels"], mult()["train"]["labels"].reshape(-1))
        assert any("seven columns, the first (sentiment) read" in note for note in got.notes)


def test_text_in_some_splits_is_never_dropped_in_silence():
    """Protects: a kind of text that one split lacks is left out of the others, and that is said."""
    content = mmsa()
    del content["valid"]["text_bert"]
    got = convert(content, "x.pkl")
    assert got.texts == ("hidden",)
    assert "text_bert is missing in valid: left out of train and test too, so no run can use it" in got.warnings


def test_right_padding_and_an_empty_modality_are_said_at_the_import():
    """Protects: what changes an `official` run, or leaves a modality without content, is known before training."""
    content = mmsa(aligned=True)
    for part in content.values():
        for key in ("text", "vision"):
            part[key][:, -2:] = 0
        part["audio"][:] = 0
    warnings = " ".join(convert(content, "x.pkl").warnings)
    assert "text, vision padded on the right: the authors' code reads the last step" in warnings
    assert "audio is zero in every clip" in warnings
    for part in content.values():
        part["text"], part["vision"] = part["text"][:, ::-1], part["vision"][:, ::-1]
    warnings = " ".join(convert(content, "x.pkl").warnings)
    assert "padded" not in warnings
    content["test"]["text"][:] = 0
    assert "text is zero in every clip of test" in " ".join(convert(content, "x.pkl").warnings)


@pytest.mark.parametrize("bad", [np.nan, 5.0, -np.inf])
def test_a_bad_label_is_named_by_its_clip(bad):
    """Protects: a user finds the clip, and is told what to do with it."""
    content = mmsa()
    content["test"]["regression_labels"][2] = bad
    with pytest.raises(DataError, match=r"regression_labels of test, clip vidtest1\$_\$2: .*Leave these clips out"):
        convert(content, "x.pkl")
    if np.isfinite(bad):
        content["test"]["regression_labels"][2] = 5.0
        assert convert(content, "x.pkl", dataset="custom").splits["test"].arrays["labels"][2] == 5.0
    assert set(SIZES) == set(content)


def test_a_further_split_is_said_to_be_left_out():
    """Protects: a second test set in the file is not taken for part of what is scored."""
    content = mmsa()
    notes = convert({**content, "test_hard": content["test"], "config": {"seed": 1}}, "x.pkl").notes
    assert [note for note in notes if "not read" in note] == [
        "'test_hard' not read: a further split beside train, valid and test"
    ]
    assert notes[1:] == convert(mmsa(), "x.pkl").notes


@pytest.mark.parametrize(
    ("raw", "got"), [({}, "an empty dict"), ([], "an empty list"), (mmsa() | {"train": {}}, "no column at all")]
)
def test_what_is_empty_is_called_so(raw, got):
    """Protects: an empty file is named, not listed as the key 'none'."""
    with pytest.raises(DataError, match=f"got {got}\\. "):
        convert(raw, "x.pkl")
