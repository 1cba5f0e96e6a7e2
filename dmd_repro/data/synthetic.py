"""SYNTHETIC features with a known truth: for demos and tests, never compared with printed numbers.

Each clip has a sentiment s in [-3, 3]. Each modality sees its own noisy reading of it, f_m = s + sigma_m e_m, along one
direction of its feature space and under an envelope over time, mixed with private factors that say nothing about s and
with noise at every step. Shorter clips are padded with exact zeros on the left. The label is s on MOSI's grid of 0.2.
So three readings together predict better than one, and s itself better than three; with `cross_modal=False` acoustic
and visual read something else, and the gain of three over one is gone.

All arithmetic is elementwise and the result is put on a grid, so that the content (and its digest) does not depend on
how a machine orders its sums. Ours, not the paper's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dmd_repro.data.features import Features, FeatureSet, TextKind
from dmd_repro.data.store.digest import feature_set, features
from dmd_repro.errors import DataError, nearest
from dmd_repro.seeds import seed_for
from dmd_repro.shapes import MODALITIES, SPLITS

Size = Literal["small", "mosi"]
SYNTHETIC_SEED = 2023  # the seed of the content; runs have their own
SPREAD = 1.4  # standard deviation of the sentiment before it is cut to [-3, 3]
READING_NOISE: Mapping[str, float] = {"l": 1.0, "a": 1.2, "v": 1.2}  # sigma_m
PRIVATE_FACTORS = 2
CLIPS_PER_VIDEO = 8
_GRID = 1024.0  # features are multiples of 1/1024


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of one generated data set."""

    splits: Mapping[str, int]  # clips
    widths: Mapping[str, int]  # glove, hidden, a, v
    aligned_steps: int
    unaligned_steps: Mapping[str, int]


SIZES: dict[str, Sizes] = {
    "small": Sizes(
        splits={"train": 192, "valid": 64, "test": 96},  # 12 batches of 16: more than the authors' window of 10
        widths={"glove": 30, "hidden": 48, "a": 5, "v": 20},
        aligned_steps=20,
        unaligned_steps={"l": 20, "a": 28, "v": 36},
    ),
    "mosi": Sizes(  # CMU-MOSI's own sizes, as in the public files
        splits={"train": 1284, "valid": 229, "test": 686},
        widths={"glove": 300, "hidden": 768, "a": 5, "v": 20},
        aligned_steps=50,
        unaligned_steps={"l": 50, "a": 375, "v": 500},
    ),
}


def synthetic_name(*, text: TextKind = "glove", aligned: bool = True, size: Size = "small") -> str:
    """Return `synthetic-<aligned|unaligned>-<glove|hidden>`, with `-mosi` behind it for MOSI's sizes."""
    return f"synthetic-{'aligned' if aligned else 'unaligned'}-{text}{'' if size == 'small' else f'-{size}'}"


VARIANTS: dict[str, tuple[TextKind, bool, Size]] = {
    synthetic_name(text=text, aligned=aligned, size=size): (text, aligned, size)
    for size in ("small", "mosi")
    for aligned in (True, False)
    for text in ("glove", "hidden")
}


def is_synthetic(name: str) -> bool:
    """Tell whether a name asks for generated data."""
    return name.split("-")[0] == "synthetic"


def parse_synthetic(
    name: str, *, text: TextKind | None = None, aligned: bool | None = None, size: Size | None = None
) -> tuple[TextKind, bool, Size]:
    """Return (text, aligned, size) of a synthetic name; "synthetic" alone takes them from the arguments.

    Raises DataError on an unknown name or size, on text there is none of, and on arguments that contradict the name.
    """
    if text == "bert":
        raise DataError.at(
            f"--text bert with '{name}'", expected="glove or hidden, as generated clips have no words",
            got="token ids", do="Name an imported feature set that holds them (dmd data list), or take --text hidden",
        )  # fmt: skip
    family = {"synthetic": "small", "synthetic-mosi": "mosi"}
    if name in family:
        chosen = (text or "glove", True if aligned is None else aligned, size or family[name])
        name = synthetic_name(text=chosen[0], aligned=chosen[1], size=chosen[2])  # type: ignore[arg-type]
    if name not in VARIANTS:
        raise DataError.at(
            f"feature set '{name}'",
            expected="a synthetic feature set that can be generated",
            got="an unknown name",
            do=nearest(name, ["synthetic", *VARIANTS]),
        )
    variant = VARIANTS[name]
    asked = (text or variant[0], variant[1] if aligned is None else aligned, size or variant[2])
    if asked != variant:
        raise DataError.at(
            f"feature set '{name}'",
            expected="options that agree with its name",
            got=f"text {asked[0]}, {'aligned' if asked[1] else 'unaligned'}, size {asked[2]}",
            do="Write --data synthetic and let the options choose",
        )
    return variant


def generate(
    *,
    text: TextKind = "glove",
    aligned: bool = True,
    size: Size = "small",
    seed: int = SYNTHETIC_SEED,
    cross_modal: bool = True,
) -> Features:
    """Generate train, valid and test; equal arguments give equal bytes.

    Labels, clips and readings do not depend on `text` or `aligned`, so the variants describe the same clips. Raises
    DataError if there is no such variant.
    """
    parse_synthetic(synthetic_name(text=text, aligned=aligned, size=size))
    splits = {s: _split(s, text, aligned, SIZES[size], seed, cross_modal) for s in SPLITS}
    name = synthetic_name(text=text, aligned=aligned, size=size) + ("" if cross_modal else "-unimodal")
    return features(name, "synthetic", splits, text=text, standing="synthetic")


def with_noise(given: Features, modality: str, *, seed: int = SYNTHETIC_SEED) -> Features:
    """Return the same clips with one modality replaced by noise of its spread; padded steps stay exact zeros.

    A model that reads the modality predicts worse from them, one that does not says the same.
    """
    splits = {}
    for name, part in given.splits.items():
        arrays = {m: np.asarray(part.array(m)) for m in MODALITIES}
        x = arrays[modality]
        drawn = _stream(seed, name, "noise", modality).standard_normal(x.shape, dtype=np.float32)
        arrays[modality] = drawn * x.std() * x.any(axis=2, keepdims=True)
        splits[name] = feature_set(
            ids=part.ids, language=arrays["l"], acoustic=arrays["a"], visual=arrays["v"], lengths=part.lengths,
            labels=part.labels, aligned=part.aligned,
        )  # fmt: skip
    return features(f"{given.name}-noise-{modality}", given.dataset, splits, text=given.text, standing=given.standing)


def truth(*, size: Size = "small", seed: int = SYNTHETIC_SEED) -> dict[str, NDArray[np.float64]]:
    """Return the sentiment s (B,) behind the labels of each split: what a perfect model would predict."""
    return {s: _sentiment(seed, s, n) for s, n in SIZES[size].splits.items()}


def _stream(seed: int, *scope: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed_for(seed, "synthetic", *scope)))


def _sentiment(seed: int, split: str, n: int) -> NDArray[np.float64]:
    return np.clip(_stream(seed, split, "sentiment").standard_normal(n) * SPREAD, -3.0, 3.0)


def _split(split: str, text: TextKind, aligned: bool, layout: Sizes, seed: int, cross_modal: bool) -> FeatureSet:
    n = layout.splits[split]
    sentiment = _sentiment(seed, split, n)
    share = _stream(seed, split, "length").uniform(0.4, 1.0, n)  # how much of the steps a clip fills
    arrays, lengths = {}, {}
    for m in MODALITIES:
        steps = layout.aligned_steps if aligned else layout.unaligned_steps[m]
        lengths[m] = np.ceil(share * steps).astype(np.int64)
        if not aligned:  # frame rates differ a little from clip to clip
            lengths[m] = np.clip(lengths[m] - _stream(seed, split, "rate", m).integers(0, 4, n), 2, steps)
        read = sentiment if cross_modal or m == "l" else _stream(seed, split, "other", m).standard_normal(n) * SPREAD
        factor = read + READING_NOISE[m] * _stream(seed, split, "reading", m).standard_normal(n)
        kind = text if m == "l" else m
        arrays[m] = _sequence(seed, split, kind, factor / SPREAD, lengths[m], steps, layout.widths[kind])
    labels = np.rint(sentiment * 5) / 5 + 0.0  # MOSI's grid; + 0.0 turns -0.0 into 0.0
    return feature_set(
        ids=[f"SYN{split}{i // CLIPS_PER_VIDEO:03d}$_${i % CLIPS_PER_VIDEO + 1}" for i in range(n)],
        language=arrays["l"],
        acoustic=arrays["a"],
        visual=arrays["v"],
        lengths=lengths,
        labels=labels.astype(np.float32),
        aligned=aligned,
    )


def _sequence(
    seed: int, split: str, kind: str, factor: NDArray[np.float64], lengths: NDArray[np.int64], steps: int, width: int
) -> NDArray[np.float32]:
    """Return (B, steps, width): the reading under an envelope, private factors, noise, zeros on the left."""
    n = len(factor)
    directions = _stream(seed, "directions", kind)  # shared by the splits
    reading = 0.6 * directions.standard_normal(width).astype(np.float32)
    private = 0.5 * directions.standard_normal((PRIVATE_FACTORS, width)).astype(np.float32)
    stream = _stream(seed, split, "sequence", kind, str(steps))
    # a triangle of mean about 1 whose peak lies anywhere in the clip
    place = (np.arange(steps) - (steps - lengths[:, None])) / lengths[:, None]  # 0 to 1 over the valid steps
    envelope = 1.5 - 1.5 * np.abs(place - stream.uniform(0.3, 0.9, n)[:, None])
    x = stream.standard_normal((n, steps, width), dtype=np.float32)
    x *= np.float32(0.6)
    x += (factor[:, None] * envelope).astype(np.float32)[:, :, None] * reading
    for k in range(PRIVATE_FACTORS):
        x += stream.standard_normal(n).astype(np.float32)[:, None, None] * private[k]
    x *= np.float32(_GRID)
    np.rint(x, out=x)
    x /= np.float32(_GRID)
    x *= (place >= 0)[:, :, None]
    x += np.float32(0.0)  # -0.0 becomes 0.0
    return x
