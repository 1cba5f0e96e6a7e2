"""Which data set a file is of: by all signs together, asked for where they do not point to one."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from dmd_repro.data.formats.families import convert
from dmd_repro.errors import DataError

SIZES = {"train": 30, "valid": 12, "test": 12}
STEPS = {"mosi": 0.2, "mosei": 1 / 3, "sims": 0.2}


def file(widths: tuple[int, int], labels: str, sizes: dict[str, int] = SIZES) -> dict[str, Any]:
    """A small file with the widths and the steps and range of labels asked for."""
    rng = np.random.Generator(np.random.PCG64(1))
    reach = 1.0 if labels == "sims" else 3.0
    out = {}
    for split, n in sizes.items():
        y = rng.uniform(-reach, reach, n)
        if labels in STEPS:
            y = np.round(y / STEPS[labels]) * STEPS[labels]
        part = {"labels": y, "id": [f"{split}{i // 3}[{i % 3}]" for i in range(n)]}
        for key, width in (("text", 300), ("audio", widths[0]), ("vision", widths[1])):
            part[key] = rng.standard_normal((n, 2, width)).astype(np.float32)
        out[split] = part
    return out


@pytest.mark.parametrize(
    ("widths", "labels", "told"),
    [
        ((5, 20), "mosi", "mosi"), ((74, 35), "mosei", "mosei"), ((74, 35), "mosi", "mosi"), ((74, 47), "mosi", "mosi"),
        ((33, 709), "sims", "sims"), ((33, 709), "mosi", "mosi"), ((33, 709), "mosei", "mosei"),
        ((9, 9), "mosei", "mosei"), ((9, 9), "sims", "sims"), ((5, 20), "any", "mosi"),
    ],
)  # fmt: skip
def test_signs_that_agree_tell_and_are_noted(widths, labels, told):
    """Protects: MOSI with the widths of MOSEI's files is MOSI, and a user sees by what each file was taken for."""
    got = convert(file(widths, labels), "x.pkl")
    assert got.dataset == told
    assert any(("taken for" in note and "wide" in note) or "labels" in note for note in got.notes)


@pytest.mark.parametrize(
    ("widths", "labels", "points"),
    [
        (
            (74, 35),
            "any",
            "visual 35 wide .as in CMU-MOSI or CMU-MOSEI.*--dataset mosi or --dataset mosei",
        ),
        ((5, 20), "mosei", r"wide .as in CMU-MOSI\); .*steps of 0.33 .as in CMU-MOSEI"),
        ((5, 20), "sims", r"wide .as in CMU-MOSI\); labels in \[-1, 1\] alone .as in CH-SIMS"),
        ((33, 709), "any", "CMU-MOSI or CMU-MOSEI or CH-SIMS.*labels beyond"),
    ],
)
def test_signs_that_conflict_or_do_not_tell_are_asked_about(widths, labels, points):
    """Protects: no data set is guessed; the message says which sign points where, and the answer is taken."""
    content = file(widths, labels)
    with pytest.raises(DataError, match=points):
        convert(copy.deepcopy(content), "x.pkl")
    assert convert(copy.deepcopy(content), "x.pkl", dataset="custom").dataset == "custom"
    assert convert(content, "x.pkl", dataset="mosi").dataset == "mosi"


def test_labels_of_ch_sims_are_never_taken_for_mosi_without_a_word():
    """Protects: errors on [-1, 1] look a third as large: whoever insists on CMU-MOSI is told."""
    got = convert(file((5, 20), "sims"), "x.pkl", dataset="mosi")
    assert any("labels in [-1, 1] alone (as in CH-SIMS), but taken for CMU-MOSI" in w for w in got.warnings)
    exact = convert(file((1, 1), "sims", {"train": 1284, "valid": 229, "test": 686}), "x.pkl")
    assert exact.dataset == "mosi"
    assert any("as in CH-SIMS" in w for w in exact.warnings)


def test_a_data_set_of_another_range_keeps_its_own():
    """Protects: a label is held against the range of its own data set, whichever that is."""
    content = file((33, 709), "sims")
    content["test"]["labels"][4] = 1.4
    with pytest.raises(DataError, match=r"clip test1\[1\]: expected a sentiment in \[-1, 1\], got 1.4"):
        convert(copy.deepcopy(content), "x.pkl", dataset="sims")
    content["test"]["labels"][4] = 40.0
    with pytest.raises(DataError, match=r"clip test1\[1\]: expected a sentiment in \[-3, 3\], got 40"):
        convert(copy.deepcopy(content), "x.pkl")
    assert convert(content, "x.pkl", dataset="custom").splits["test"].arrays["labels"].max() == 40.0


def test_labels_of_one_modality_are_said_to_be_left_unread():
    """Protects: who imports CH-SIMS for its unimodal labels learns that no system here reads them."""
    content = file((33, 709), "sims")
    content["train"] |= {f"regression_labels_{m}": content["train"]["labels"] for m in "TAV"}
    (note,) = (note for note in convert(content, "x.pkl").notes if "multimodal label" in note)
    assert note.startswith("regression_labels_T, regression_labels_A, regression_labels_V not read")
    assert note.endswith("(train)")


def test_nearly_the_official_sizes_are_a_sign():
    """Protects: the SDK's 1283 / 214 / 686 clips with unreduced features are CMU-MOSI, not CMU-MOSEI."""
    got = convert(file((74, 35), "any", {"train": 1283, "valid": 214, "test": 686}), "x.pkl")
    assert (got.dataset, got.standing) == ("mosi", "partial")


@pytest.mark.parametrize(("audio", "vision"), [(20, 5), (35, 74), (709, 33)])
def test_columns_under_each_others_names_are_refused(audio, vision):
    """Protects: no modality passes as another, whatever data set is named; one's own widths are one's own."""
    swapped = file((audio, vision), "any")
    for dataset in (None, "mosi", "mosei"):
        with pytest.raises(DataError, match=f"audio {audio} wide and vision {vision} wide: the two look swapped"):
            convert(copy.deepcopy(swapped), "x.pkl", dataset=dataset)
    assert convert(swapped, "x.pkl", dataset="custom").dataset == "custom"
    for part in (words := file((300, 20), "any")).values():
        part["text"] = part["text"][..., :5]
    with pytest.raises(DataError, match=r"text 5 wide and audio 300 wide: the two look swapped. Exchange the columns"):
        convert(words, "x.pkl", dataset="mosi")


def test_splits_under_each_others_names_are_refused():
    """Protects: with the official sizes, a test split that is called valid would choose the epoch."""
    swapped = file((5, 20), "any", {"train": 1284, "valid": 686, "test": 229})
    with pytest.raises(DataError, match=r"1284/229/686 clips.*got 1284/686/229: valid and test look swapped"):
        convert(swapped, "x.pkl")
