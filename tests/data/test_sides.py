"""Padding on the other side than the model expects is told before training, and moved where a run asks for it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from command import Here
from hypothesis import given
from hypothesis import strategies as st
from toy_files import save

from dmd_repro.data.features import Features
from dmd_repro.data.sides import padded_right, padding_words, with_padding
from dmd_repro.data.store.digest import feature_set, features
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import DataError, SpecError
from dmd_repro.evaluate.checkpoint import open_checkpoint
from dmd_repro.evaluate.predict import evaluate_checkpoint
from dmd_repro.records.folder import Records
from dmd_repro.spec import run_id
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.execution import Execution

STEPS = {"l": 6, "a": 9, "v": 7}
WIDTHS = {"l": 4, "a": 3, "v": 5}
SIZES = {"train": 12, "valid": 4, "test": 5}


def padded(side: str, *, aligned: bool = False, lengths: bool = False, empty: int = -1) -> Features:
    """The same content (of random length) padded on one side; clip `empty` of train has nothing in its visual."""
    splits = {}
    for split, n in SIZES.items():
        random = np.random.default_rng(len(split))
        steps = dict.fromkeys("lav", 6) if aligned else STEPS
        used = {m: random.integers(1, steps[m] + 1, n) for m in "lav"}
        if aligned:
            used = dict.fromkeys("lav", used["l"])
        arrays = {}
        for m in "lav":
            x = np.zeros((n, steps[m], WIDTHS[m]), dtype=np.float32)
            for i, k in enumerate(used[m]):
                if (m, split, i) == ("v", "train", empty):
                    continue
                at = slice(0, k) if side == "right" else slice(steps[m] - k, None)
                x[i, at] = random.normal(size=(k, WIDTHS[m]))
            arrays[m] = x
        splits[split] = feature_set(
            ids=[f"{split}{i}$_$0" for i in range(n)], language=arrays["l"], acoustic=arrays["a"], visual=arrays["v"],
            labels=np.linspace(-3, 3, n, dtype=np.float32), lengths=used if lengths else None, aligned=aligned,
        )  # fmt: skip
    return features(side, "mosi", splits, text="hidden", standing="partial")


def same(one: Features, other: Features) -> bool:
    return all(
        np.array_equal(one.splits[s].array(m), other.splits[s].array(m)) for s in one.splits for m in ("l", "a", "v")
    )


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("lengths", [False, True])
def test_padding_is_told_and_moved_to_either_side(aligned, lengths):
    """Content and order stay, the digest names what is stored; a clip that is empty in one modality moves no other."""
    left, right = (padded(side, aligned=aligned, lengths=lengths, empty=3) for side in ("left", "right"))
    assert (padded_right(left), padded_right(right)) == ((), ("l", "a", "v"))
    assert not padding_words(left)
    assert "language, acoustic and visual padded on the right" in padding_words(right)
    assert same(with_padding(right, "left"), left)
    assert same(with_padding(left, "right"), right)
    assert same(with_padding(left, "left"), left)
    assert with_padding(right, "none") is right
    assert with_padding(right, "left").digest == right.digest


def test_aligned_modalities_move_by_the_steps_that_all_of_them_leave_empty():
    """A word without a sound is a step of content: were each modality moved alone, words would lose their voice."""
    right = padded("right", aligned=True)
    for part in right.splits.values():
        part.acoustic.flags.writeable = True
        part.acoustic[:, 1:] = 0  # a sound with the first word alone
    moved = with_padding(right, "left")
    for split, part in moved.splits.items():
        words = (part.language != 0).any(axis=2).argmax(axis=1)
        assert np.array_equal((part.acoustic != 0).any(axis=2).argmax(axis=1), words), split
    for part in right.splits.values():
        part.language.flags.writeable = True
        part.language[part.language == 0] = 1e-3  # what BERT says of padding
    with pytest.raises(DataError, match="pad_side=left on right: expected padding that is zero at the same steps"):
        with_padding(right, "left")


def test_no_more_steps_are_padding_than_the_lengths_leave():
    """A silent frame at the end of the content is content where lengths say so."""
    right = padded("right", lengths=True)
    part = right.splits["train"]
    silent = int(np.argsort(part.lengths["a"])[len(part) // 2])
    last = int(part.lengths["a"][silent]) - 1
    part.acoustic.flags.writeable = True
    part.acoustic[silent, last] = 0
    moved = with_padding(right, "left").splits["train"].acoustic[silent]
    assert np.array_equal(moved[-1 - last :], part.acoustic[silent, : last + 1])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.lists(st.integers(0, 4), min_size=1, max_size=6))
def test_moving_twice_is_moving_once(left, right):
    """Whatever zeros stand at both ends, a side once asked for is reached, and only zeros go over the edge."""
    n = min(len(left), len(right))
    x = np.ones((n, 9, 2), dtype=np.float32)
    for i, (a, b) in enumerate(zip(left, right, strict=False)):
        x[i, :a], x[i, 9 - b :] = 0, 0
    part = feature_set(
        ids=[f"v{i}" for i in range(n)], language=x, acoustic=x, visual=x, labels=np.zeros(n, dtype=np.float32),
        aligned=True,
    )  # fmt: skip
    both = features("both", "mosi", dict.fromkeys(SIZES, part), text="glove", standing="partial")
    once = with_padding(both, "left")
    assert same(with_padding(once, "left"), once)
    assert once is both or once.splits["test"].visual[:, -1].all()
    assert (once is both) == (not padded_right(both))
    assert once.splits["test"].visual.sum() == x.sum()


def test_the_side_is_a_setting_of_the_run(tmp_path, monkeypatch, capsys):
    """Right padding is said at import and before training; moved, the run is that of the file padded on the left."""
    dmd = Here(tmp_path, monkeypatch, capsys)
    for name in ("left", "right"):
        save(tmp_path / f"{name}.pkl", file_of(padded(name)))
        said = dmd("data", "import", f"{name}.pkl", "--name", name, "--dataset", "mosi")
        assert (said.code, "padded on the right" in said.out) == (0, name == "right")
    small = ("--epochs", "1", "--set", "batch_size=4", "--json")
    scores = {}
    for name, more in {"left": (), "right": ("--set", "pad_side=none"), "moved": ()}.items():
        said = dmd("train", "lf-lstm", "--data", name.replace("moved", "right"), *small, *more)
        assert said.code == 0, said.err
        told = " ".join(said.err.split())
        assert ("padded on the right, the public files on the left" in told) == (name == "right")
        assert ("padding moved to the left (pad_side=left)" in told) == (name == "moved")
        scores[name] = json.loads(said.out)["metrics"]
    assert scores["moved"] == scores["left"] != scores["right"]
    records, run = Records(tmp_path / "runs"), json.loads(said.out)["run_id"]
    stored = Store(tmp_path / "data").open("right", "hidden")
    again = evaluate_checkpoint(open_checkpoint(run, records), stored, "test", execution=Execution())
    assert np.array_equal(again.predictions.y_pred, records.get(run).predictions("test").y_pred)


def file_of(data: Features) -> Any:
    """A feature set as a file of the MMSA family."""
    names = {"l": "text", "a": "audio", "v": "vision"}
    return {
        split: {names[m]: np.array(part.array(m)) for m in "lav"}
        | {"regression_labels": np.array(part.labels), "id": list(part.ids)}
        for split, part in data.splits.items()
    }


def test_the_setting_is_part_of_the_identity_and_its_neutral_value_is_not():
    """Runs of either side are never replicates of one another, and older runs keep their ids."""
    data = padded("right")
    plain, none, left = (
        resolve_spec("dmd", seed=1, features=data, overrides={"accumulate": 1, **more})
        for more in ({}, {"pad_side": "none"}, {"pad_side": "left"})
    )
    assert run_id(plain, data.digest) == run_id(none, data.digest) != run_id(left, data.digest)
    assert "pad_side" not in plain.hashed()["config"]
    with pytest.raises(SpecError, match="--set pad_side: expected none or left or right, got 'rigth'"):
        resolve_spec("dmd", seed=1, features=data, overrides={"pad_side": "rigth"})
