"""Data sets: for each its label range and steps, the classes and signs it is scored by, and its official sizes.

An entry is all the program knows of a data set. A paper's folder may bring more of them (`datasets.yaml`). Widths alone
never tell which data set a file is: several share them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from dmd_repro.errors import SpecError, nearest

Splits = Mapping[str, int]
SHIPPED = "shipped"


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What is publicly known of a data set's official version; `None` or empty where nothing is."""

    title: str
    label_range: tuple[float, float] | None  # None: whatever a file holds (`custom` alone), so no classes
    label_step: float | None = None  # labels are multiples of it: a mean over raters; None: not known
    classes: tuple[str, ...] = ()  # class accuracies that are defined on this range, e.g. acc7
    zeros: tuple[str, ...] = ("non0", "has0")  # readings of ACC2 and F1 that make sense, the usual one first
    splits: Splits | None = None  # clips in the official split
    test_signs: tuple[int, int, int] | None = None  # test labels < 0, = 0, > 0
    videos: Splits | None = None  # source videos of each split, disjoint
    dims: Mapping[str, tuple[int, ...]] = field(
        default_factory=dict
    )  # widths of the public files: l (GloVe, hidden), a, v
    steps: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)  # of l, a, v there: aligned, unaligned
    origin: str = SHIPPED  # or the file it was read from

    def __post_init__(self) -> None:
        """Raise SpecError for a range that is none."""
        if self.label_range is None:
            return
        low, high = self.label_range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise SpecError.at(
                f"data set '{self.title}'", expected="a label range [low, high] with low < high",
                got=f"[{low}, {high}]", do="Correct it",
            )  # fmt: skip


SEVEN = ("acc7", "acc5", "acc3")  # of labels in [-3, 3]
DATASETS: dict[str, DatasetFacts] = {
    "mosi": DatasetFacts(
        title="CMU-MOSI",
        label_range=(-3.0, 3.0),
        label_step=0.2,  # mean of five raters
        classes=SEVEN,
        splits={"train": 1284, "valid": 229, "test": 686},
        test_signs=(379, 30, 277),
        videos={"train": 52, "valid": 10, "test": 31},
        dims={"l": (300, 768), "a": (5,), "v": (20,)},
        steps={"aligned": (50, 50, 50), "unaligned": (50, 375, 500)},
    ),
    "mosei": DatasetFacts(
        title="CMU-MOSEI",
        label_range=(-3.0, 3.0),
        label_step=1 / 3,  # mean of three raters
        classes=SEVEN,
        splits={"train": 16326, "valid": 1871, "test": 4659},
        test_signs=(1350, 1025, 2284),
        videos={"train": 2249, "valid": 300, "test": 676},
        dims={"l": (300, 768), "a": (74,), "v": (35,)},
        steps={"aligned": (50, 50, 50), "unaligned": (50, 500, 500)},
    ),
    "sims": DatasetFacts(
        title="CH-SIMS",
        label_range=(-1.0, 1.0),
        label_step=0.2,
        classes=("acc5_unit", "acc3_unit"),
        zeros=("neg0",),
        splits={"train": 1368, "valid": 456, "test": 457},
        dims={"l": (768,), "a": (33,), "v": (709,)},
    ),
    "custom": DatasetFacts(title="a custom data set", label_range=None),
    "synthetic": DatasetFacts(title="SYNTHETIC", label_range=(-3.0, 3.0), classes=SEVEN),
}


def dataset_facts(name: str) -> DatasetFacts:
    """Return the entry of a data set; raises SpecError with the nearest name."""
    if name not in DATASETS:
        raise SpecError.at(
            f"data set '{name}'", expected="a known data set", got="an unknown name", do=nearest(name, DATASETS)
        )
    return DATASETS[name]


def dataset_title(name: str) -> str:
    """Return a data set's title; the name itself where there is no entry (a record of another folder's paper)."""
    return DATASETS[name].title if name in DATASETS else name
