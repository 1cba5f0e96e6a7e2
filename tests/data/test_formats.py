"""Both families are recognised from their content, every value is checked, and every refusal names its place."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_files import SIZES, mmsa, mult, save

from dmd_repro.data.formats.families import convert
from dmd_repro.data.formats.importer import import_file
from dmd_repro.data.formats.incoming import describe
from dmd_repro.data.store.digest import array_digest
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import DataError


def test_an_unaligned_mmsa_file_becomes_validated_arrays():
    """The layout of the authors' linked files: lengths kept, both kinds of text held, data set told by the widths."""
    source = mmsa()
    got = convert(copy.deepcopy(source), "f.pkl")
    assert (got.dataset, got.aligned, got.texts, got.standing) == ("mosi", False, ("hidden", "bert"), "partial")
    part = got.splits["train"]
    assert part.ids[:3] == ("vidtrain0$_$0", "vidtrain0$_$1", "vidtrain1$_$2")
    assert np.array_equal(part.arrays["acoustic"], source["train"]["audio"])
    assert np.array_equal(part.arrays["labels"], source["train"]["regression_labels"])
    assert part.arrays["lengths_a"].tolist() == [1, 2, 3, 4, 5]
    assert part.arrays["lengths_l"].tolist() == [6] * 5
    assert part.arrays["language_bert"].dtype == np.int64
    assert got.default_name == "mosi-unaligned-hidden"


def test_a_mult_file_becomes_validated_arrays():
    """The only family with GloVe: float64 narrowed, labels flattened, id rows joined, no lengths given."""
    source = mult()
    got = convert(copy.deepcopy(source), "f.pkl")
    assert (got.dataset, got.aligned, got.texts) == ("mosei", False, ("glove",))
    part = got.splits["valid"]
    assert part.ids[0] == "vidvalid0$_$1.5$_$2.5"
    assert part.arrays["language_glove"].dtype == np.float32
    assert np.array_equal(part.arrays["language_glove"], source["valid"]["text"].astype(np.float32))
    assert part.arrays["labels"].shape == (3,)
    assert part.arrays["lengths_v"].tolist() == [8, 8, 8]


def test_alignment_is_told_by_the_arrays():
    """Equal steps and no lengths of their own: aligned; the file's name is no evidence."""
    assert convert(mmsa(aligned=True), "unaligned_50.pkl").aligned
    assert not convert(mmsa(), "aligned_50.pkl").aligned
    lengths = mmsa(aligned=True)
    for split, n in SIZES.items():
        lengths[split] |= {"audio_lengths": [3] * n, "vision_lengths": [4] * n}
    assert not convert(lengths, "x.pkl").aligned


def test_only_300_wide_text_is_glove_in_the_mmsa_family():
    """The kind of text decides which rows may be compared: it follows the width, then the family."""
    assert convert(mmsa(text=300), "x.pkl").texts == ("glove", "bert")
    assert convert(mmsa(text=768), "x.pkl").texts == ("hidden", "bert")
    tokens_only = mmsa()
    for split in SIZES:
        del tokens_only[split]["text"]
    got = convert(tokens_only, "x.pkl")
    assert got.texts == ("bert",)
    assert describe("x", got).summary()["dims"] == {"a": 5, "v": 20}
    assert describe("x", got).lengths == {"l": 6, "a": 9, "v": 8}


def test_minus_infinity_in_audio_is_zeroed_counted_and_said():
    """The authors' loader sets it to 0; a user must see how often that happened."""
    source = mmsa()
    source["train"]["audio"][1, 2, 3] = source["train"]["audio"][4, 0, 0] = -np.inf
    source["test"]["audio"] = source["test"]["audio"].astype(np.float64)
    source["test"]["audio"][0, 0, 0] = -np.inf
    got = convert(source, "x.pkl")
    assert got.replaced == {"audio -inf": {"train": 2, "test": 1}}
    assert any("audio -inf set to 0" in w and "train 2, test 1" in w for w in got.warnings)
    audio = got.splits["train"].arrays["acoustic"]
    assert audio[1, 2, 3] == 0.0
    assert np.isfinite(audio).all()


def test_nan_is_zeroed_only_on_demand():
    """`--nan zero` is the user's decision: counted, said, and the rest of the array unchanged."""
    source = mmsa()
    source["valid"]["vision"][2, 1, 7] = np.nan
    untouched = source["valid"]["vision"].copy()
    with pytest.raises(DataError, match=r"vision of valid, clip vidvalid1\$_\$2, step 1, channel 7.*NaN.*--nan zero"):
        convert(copy.deepcopy(source), "x.pkl")
    got = convert(source, "x.pkl", nan="zero")
    assert got.replaced == {"vision NaN": {"valid": 1}}
    untouched[2, 1, 7] = 0.0
    assert np.array_equal(got.splits["valid"].arrays["visual"], untouched)


def put(split: str, key: str, value: Any) -> Callable[[Any], None]:
    def change(source: Any) -> None:
        source[split][key] = value(source[split][key]) if callable(value) else value

    return change


def at(split: str, key: str, index: Any, value: float) -> Callable[[Any], None]:
    def change(source: Any) -> None:
        array = np.array(source[split][key], dtype=np.float64)
        array[index] = value
        source[split][key] = array

    return change


REFUSALS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "nan in audio": (at("train", "audio", (3, 2, 1), np.nan), r"audio of train, clip .*\$3, step 2, channel 1.*NaN"),
    "+inf in audio": (at("train", "audio", (0, 0, 0), np.inf), r"audio of train.*got inf"),
    "-inf in vision": (at("test", "vision", (0, 0, 0), -np.inf), r"vision of test.*got -inf"),
    "-inf in text": (at("test", "text", (0, 0, 0), -np.inf), r"text of test.*got -inf"),
    "float32 overflow": (at("train", "audio", (1, 1, 1), 1e39), r"float32 can hold, got 1e\+39"),
    "negative overflow": (at("train", "audio", (1, 1, 1), -1e300), r"float32 can hold"),
    "label too large": (at("valid", "regression_labels", 1, 3.01), r"labels of valid, clip .*\[-3, 3\], got 3.01"),
    "label nan": (at("valid", "regression_labels", 1, np.nan), r"clip vidvalid0\$_\$1: .*\[-3, 3\], got NaN"),
    "labels of text": (
        put("train", "regression_labels", np.array(["a"] * 5)),
        "expected a number, got 'a' .5 such labels",
    ),
    "labels two a clip": (put("train", "regression_labels", np.full((5, 2), 2.0)), "one sentiment a clip"),
    "fewer clips in audio": (put("train", "audio", lambda x: x[:-1]), r"audio of train.*5 clips.*4, shape \(4, 9, 5\)"),
    "fewer clips in text": (put("valid", "text", lambda x: x[:-1]), r"text of valid"),
    "fewer clips in tokens": (put("valid", "text_bert", lambda x: x[:-1]), r"text_bert of valid"),
    "fewer lengths": (put("train", "audio_lengths", lambda x: x[:-1]), r"audio_lengths of train"),
    "length below zero": (put("train", "audio_lengths", [1, 2, 3, 4, -1]), "a length from 0 to 9.*got -1"),
    "length not whole": (put("train", "audio_lengths", [1, 2, 3, 4, 1.5]), "a length from 0 to 9.*got 1.5"),
    "length not finite": (put("train", "audio_lengths", [1, 2, 3, 4, np.inf]), "a length from 0 to 9.*got inf"),
    "fewer ids": (put("train", "id", lambda x: x[:-1]), "5 ids, one a clip, got 4"),
    "ids that are numbers of no kind": (put("train", "id", {}), "one id a clip"),
    "unprintable ids": (put("train", "id", ["a\x1b[31m", "b", "c", "d", "e"]), "printable text"),
    "two axes": (
        put("test", "vision", np.zeros((4, 8))),
        r"\(clips, steps, channels\), got shape \(4, 8\): one vector",
    ),
    "no steps": (put("test", "vision", np.zeros((4, 0, 20))), r"\(clips, steps, channels\)"),
    "ragged list": (put("test", "vision", [[[1.0]], [[1.0, 2.0]]]), "rows of different lengths.*Pad every clip"),
    "vision missing": (lambda s: s["test"].pop("vision"), "split test.*vision among them"),
    "labels missing": (lambda s: s["train"].pop("regression_labels"), "labels"),
    "labels missing in one split": (lambda s: s["test"].pop("regression_labels"), "split test.*regression_labels"),
    "split missing": (lambda s: s.pop("valid"), "train, valid and test, got the keys train, test"),
    "other width in test": (
        put("test", "vision", np.zeros((4, 8, 19))),
        r"vision of test.*20 channels, as in train, got 19",
    ),
    "other steps in test": (
        put("test", "vision", np.zeros((4, 7, 20))),
        r"vision of test.*8 steps, as in train, got 7",
    ),
    "mask of 2": (at("train", "text_bert", (1, 1, 4), 2), "step 4: expected a mask of 0 or 1, got 2"),
    "token id below zero": (at("train", "text_bert", (1, 0, 4), -1), "a token id, got -1"),
    "token id not whole": (at("train", "text_bert", (1, 0, 4), 0.5), "a token id, got 0.5"),
    "unknown widths": (lambda s: [p.update(vision=p["vision"][:, :, :7]) for p in s.values()], "Pass --dataset mosi"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_bad_content_is_refused_with_its_place(case):
    """One sentence that names the column, the clip and what was found; nothing is repaired in silence."""
    change, pattern = REFUSALS[case]
    source = mmsa()
    change(source)
    with pytest.raises(DataError, match=pattern) as caught:
        convert(source, "x.pkl")
    assert "x.pkl" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("raw", [[], "text", 3, None, {"train": 1}, {}, {"train": {}, "valid": {}, "test": {}}])
def test_other_objects_are_no_feature_files(raw):
    """A pickle of anything else ends in a sentence, whatever it holds."""
    with pytest.raises(DataError, match=r"x\.pkl"):
        convert(raw, "x.pkl")


def test_an_empty_split_is_refused():
    """No clips, nothing to learn or measure."""
    with pytest.raises(DataError, match=r"regression_labels of valid.*an empty split.*best epoch"):
        convert(mmsa(sizes={"train": 4, "valid": 0, "test": 2}), "x.pkl")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a", b"b", "c"], ("a", "b", "c")),
        (np.array([[b"v1"], [b"v2"], [b"v3"]]), ("v1", "v2", "v3")),
        (np.array([[1.0, 0.5], [2.0, 0.5], [3.0, 1.25]]), ("1$_$0.5", "2$_$0.5", "3$_$1.25")),
        ([["v", 1], ["v", 2], ["w", 1]], ("v$_$1", "v$_$2", "w$_$1")),
        (np.array([["v"], ["v"], ["w"]]), ("v#1", "v#2", "w")),
        (None, ("valid_00000", "valid_00001", "valid_00002")),
    ],
)
def test_ids_in_every_known_form_become_unique_text(value, expected):
    """The families write ids as text, bytes, rows or numbers; records need one unique text a clip."""
    source = mult()
    source["valid"]["id"] = value
    got = convert(source, "x.pkl")
    assert got.splits["valid"].ids == expected
    assert bool(got.warnings[0].startswith("valid ")) == (value is None or expected[0] == "v#1")


def official(dataset: str, **widths: int) -> Any:
    sizes = {"mosi": (1284, 229, 686), "mosei": (16326, 1871, 4659)}[dataset]
    out = {}
    for split, n in zip(SIZES, sizes, strict=True):
        shapes = {"text": 300, "audio": widths.get("a", 2), "vision": widths.get("v", 3)}
        out[split] = {key: np.zeros((n, 1, width), dtype=np.float32) for key, width in shapes.items()}
        out[split] |= {"labels": np.zeros((n, 1, 1)), "id": [f"{split}{i}" for i in range(n)]}
    return out


def test_the_data_set_is_told_by_sizes_then_widths():
    """`--dataset` may be left out when the file tells, and may not contradict what is certain."""
    assert convert(official("mosi"), "x.pkl").dataset == "mosi"
    assert convert(official("mosei", a=5, v=20), "x.pkl").dataset == "mosei"  # sizes are the stronger sign
    assert convert(official("mosi"), "x.pkl").standing == "official"
    assert convert(mult(), "x.pkl").dataset == "mosei"
    with pytest.raises(DataError, match=r"exactly the size of CMU-MOSI's split.*--dataset mosi"):
        convert(official("mosi"), "x.pkl", dataset="mosei")
    with pytest.raises(DataError, match="Did you mean 'mosei'"):
        convert(mult(), "x.pkl", dataset="mose")
    odd = convert(mult(), "x.pkl", dataset="mosi")
    assert odd.dataset == "mosi"
    assert any("acoustic features are 74 wide" in w for w in odd.warnings)


def test_another_size_than_the_official_split_is_a_warning():
    """A subset may be used; it is marked so that its numbers are never tested against printed ones."""
    got = convert(mmsa(), "x.pkl")
    assert got.standing == "partial"
    assert any("5/3/4 clips" in w and "1284/229/686" in w for w in got.warnings)


def test_ids_in_two_splits_are_said():
    """The same clip in train and test makes every number too good."""
    source = mmsa()
    source["test"]["id"][0] = source["train"]["id"][0][:12]
    source["train"]["id"][0] = source["train"]["id"][0][:12]
    assert any("more than one split" in w for w in convert(source, "x.pkl").warnings)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    protocol=st.integers(0, 5),
    order=st.sampled_from("<>="),
    fortran=st.booleans(),
    lists=st.booleans(),
    wide=st.booleans(),
)
def test_the_digest_is_of_the_content_not_of_the_file(tmp_path, protocol, order, fortran, lists, wide):
    """Protocol, byte order, memory order, lists or arrays, float32 or float64: the same content, the same digest."""
    source = mmsa()
    expected = describe("x", convert(copy.deepcopy(source), "x.pkl"))
    for part in source.values():
        for key in ("text", "audio", "vision", "regression_labels"):
            kind = np.dtype("f8" if wide else "f4").newbyteorder(order)
            part[key] = np.array(part[key], dtype=kind, order="F" if fortran else "C")
        if lists:
            part["id"] = part["id"].tolist()
            part["audio_lengths"] = np.array(part["audio_lengths"])
            part["regression_labels"] = part["regression_labels"].tolist()
    path = save(tmp_path / f"f{protocol}.pkl", source, protocol)
    store = Store(tmp_path / "store")
    manifest, _ = import_file(path, store, name="x", force=True)
    assert manifest.digest == expected.digest
    assert dict(manifest.digests) == dict(expected.digests)
    opened = store.open("x", "hidden")
    assert np.array_equal(opened.splits["test"].visual, source["test"]["vision"].astype(np.float32))


@settings(max_examples=40, deadline=None)
@given(split=st.sampled_from(list(SIZES)), key=st.sampled_from(["audio", "vision", "text"]), seed=st.integers(0, 999))
def test_any_changed_value_changes_the_digest(split, key, seed):
    """Two contents never share a digest: one value moved by the least step is seen."""
    source = mmsa()
    before = describe("x", convert(copy.deepcopy(source), "x.pkl"))
    flat = source[split][key].reshape(-1)
    i = seed % flat.size
    flat[i] = np.nextafter(flat[i], np.float32(9), dtype=np.float32)
    after = describe("x", convert(source, "x.pkl"))
    assert before.digest != after.digest
    assert before.digests["hidden"] != after.digests["hidden"]
    assert (before.digests["bert"] != after.digests["bert"]) == (key != "text")


def test_the_digest_sees_dtype_and_shape():
    """Equal bytes in another shape or type are other content."""
    x = np.zeros((2, 3), dtype=np.float32)
    assert len({array_digest(x), array_digest(x.T.copy()), array_digest(x.view(np.int32)), array_digest(x[:1])}) == 4
    assert array_digest(x) == array_digest(np.asfortranarray(x)) == array_digest(x.astype(">f4"))
