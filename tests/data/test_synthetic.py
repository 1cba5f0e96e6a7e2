"""The stand-in has a known truth: without it, ablations on synthetic data would mean nothing."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV

from dmd_repro.data.features import Features, FeatureSet
from dmd_repro.data.synthetic import SIZES, VARIANTS, generate, parse_synthetic, truth
from dmd_repro.datasets import DATASETS
from dmd_repro.errors import DataError
from dmd_repro.shapes import MODALITIES


def pooled(part: FeatureSet, modalities: str) -> np.ndarray:
    """Mean over the valid steps, modalities side by side."""
    return np.concatenate([part.array(m).sum(axis=1) / part.lengths[m][:, None] for m in modalities], axis=1)


def error(features: Features, modalities: str) -> float:
    """Mean absolute test error of ridge regression on pooled features of the training clips."""
    train, test = features.splits["train"], features.splits["test"]
    model = RidgeCV(np.logspace(-3, 3, 13)).fit(pooled(train, modalities), train.labels)
    return float(np.abs(model.predict(pooled(test, modalities)) - test.labels).mean())


@pytest.mark.parametrize("name", [n for n in VARIANTS if not n.endswith("-mosi")])
def test_three_modalities_beat_one_and_the_truth_beats_three(name):
    """The known order of errors: truth < all three < the best single modality < guessing."""
    text, aligned, size = VARIANTS[name]
    features = generate(text=text, aligned=aligned, size=size)
    labels = features.splits["test"].labels
    three = error(features, "lav")
    single = {m: error(features, m) for m in MODALITIES}
    assert np.abs(truth()["test"] - labels).mean() < 0.06 < three
    assert three < 0.9 * min(single.values())
    assert max(single.values()) < 0.8 * np.abs(labels - np.median(features.splits["train"].labels)).mean()


@pytest.mark.parametrize("aligned", [True, False])
def test_without_cross_modal_information_the_gain_is_gone(aligned):
    """The control: language keeps its reading, the others tell nothing, three are no better than one."""
    control = generate(aligned=aligned, cross_modal=False)
    assert error(control, "lav") > 0.97 * error(control, "l")
    assert error(control, "l") == pytest.approx(error(generate(aligned=aligned), "l"))
    guess = np.abs(control.splits["test"].labels).mean()
    assert min(error(control, "a"), error(control, "v")) > 0.95 * guess


DIGESTS = {
    "synthetic-aligned-glove": "4afb8559db17",
    "synthetic-aligned-hidden": "8873dbb13da7",
    "synthetic-unaligned-glove": "e98586508ede",
    "synthetic-unaligned-hidden": "cdaa8d0b0cc7",
}


def test_equal_arguments_give_equal_bytes_and_others_do_not():
    """A run's identity holds the digest: it must not move between machines or versions. Fixed values guard that."""
    for name, expected in DIGESTS.items():
        text, aligned, size = VARIANTS[name]
        assert generate(text=text, aligned=aligned, size=size).digest.startswith(expected)
    assert len({generate().digest, generate(seed=1).digest, generate(cross_modal=False).digest}) == 3


@pytest.mark.parametrize("name", VARIANTS)
def test_layout_labels_and_padding_are_those_of_the_real_files(name):
    """Same form as an imported file: grid labels, some zeros, exact zeros on the left, read-only, disjoint videos."""
    text, aligned, size = VARIANTS[name]
    layout = SIZES[size]
    features = generate(text=text, aligned=aligned, size=size)
    assert (features.name, features.dataset, features.standing) == (name, "synthetic", "synthetic")
    assert "SYNTHETIC" in features.label
    assert features.sizes == dict(layout.splits)
    assert features.dims == {"l": layout.widths[text], "a": layout.widths["a"], "v": layout.widths["v"]}
    expected = dict.fromkeys(MODALITIES, layout.aligned_steps) if aligned else dict(layout.unaligned_steps)
    assert features.steps == expected
    videos = [{i.split("$_$")[0] for i in part.ids} for part in features.splits.values()]
    assert sum(map(len, videos)) == len(set.union(*videos))
    for part in features.splits.values():
        assert len(set(part.ids)) == len(part)
        assert np.abs(part.labels).max() <= 3
        assert np.allclose(part.labels * 5, np.rint(part.labels * 5), atol=1e-5)
        assert 0 < (part.labels == 0).mean() < 0.15
        for m in MODALITIES:
            array = part.array(m)
            assert array.dtype == np.float32
            assert not array.flags.writeable
            used = (array != 0).any(axis=2)
            step = np.arange(array.shape[1])
            assert np.array_equal(used, step >= array.shape[1] - part.lengths[m][:, None])
            assert len(set(part.lengths[m].tolist())) > 5


def test_the_small_size_has_more_batches_than_the_authors_window():
    """With fewer than 10 batches of 16 an epoch of the official protocol would never take a step."""
    assert SIZES["small"].splits["train"] // 16 >= 10
    assert dict(SIZES["mosi"].splits) == dict(DATASETS["mosi"].splits or {})


def test_variants_describe_the_same_clips():
    """Rows of one table compare settings: labels and ids must not differ between variants."""
    one, other = generate(), generate(text="hidden", aligned=False)
    for split in one.splits:
        assert one.splits[split].ids == other.splits[split].ids
        assert np.array_equal(one.splits[split].labels, other.splits[split].labels)
    assert np.array_equal(one.splits["test"].acoustic, generate(text="hidden").splits["test"].acoustic)


def test_names_choose_variants():
    """A synthetic name is read strictly: a typing error or a contradiction never picks something else."""
    assert parse_synthetic("synthetic") == ("glove", True, "small")
    assert parse_synthetic("synthetic", size="mosi", aligned=False) == ("glove", False, "mosi")
    assert parse_synthetic("synthetic-mosi", text="hidden") == ("hidden", True, "mosi")
    for name in ("synthetic-x", "synthetic-aligned", "synthetic-aligned-bert", "synthetic-aligned-glove-mosei"):
        with pytest.raises(DataError, match="Did you mean"):
            parse_synthetic(name)
    with pytest.raises(DataError, match="agree with its name"):
        parse_synthetic("synthetic-aligned-glove", text="hidden")
