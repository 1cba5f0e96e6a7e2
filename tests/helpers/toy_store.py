"""Tiny feature sets in a store, for planning and for runs of a fraction of a second."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dmd_repro.data.features import Standing, TextKind
from dmd_repro.data.formats.incoming import Incoming, IncomingSplit
from dmd_repro.data.store.folder import Store
from dmd_repro.datasets import DATASETS

SIZES = {"train": 20, "valid": 6, "test": 7}


def put(
    root: Path,
    name: str,
    *,
    dataset: str = "mosi",
    aligned: bool = True,
    texts: tuple[TextKind, ...] = ("glove",),
    standing: Standing = "partial",
    sizes: Mapping[str, int] = SIZES,
    public: bool = False,
) -> Store:
    """Add a feature set of random numbers to the store under `root` and return the store.

    `sizes`: clips of each split. `public`: as wide and as long as the public files of the data set.
    """
    generator = np.random.Generator(np.random.PCG64(5))
    steps, widths = {"l": 8, "a": 8, "v": 8} if aligned else {"l": 8, "a": 9, "v": 10}, {"l": 6, "a": 3, "v": 4}
    if public:
        facts = DATASETS[dataset]
        steps = dict(zip("lav", facts.steps["aligned" if aligned else "unaligned"], strict=True))
        widths = {m: facts.dims[m][0] for m in "lav"}
    splits = {}
    for split, n in sizes.items():
        arrays: dict[str, np.ndarray] = {
            "acoustic": generator.standard_normal((n, steps["a"], widths["a"]), dtype=np.float32),
            "visual": generator.standard_normal((n, steps["v"], widths["v"]), dtype=np.float32),
            "labels": np.linspace(-3, 3, n, dtype=np.float32),
            **{f"lengths_{m}": np.full(n, steps[m], np.int64) for m in steps},
        }
        for kind in texts:
            if kind == "bert":
                arrays["language_bert"] = np.ones((n, 3, steps["l"]), np.int64)
            else:
                arrays[f"language_{kind}"] = generator.standard_normal((n, steps["l"], widths["l"]), dtype=np.float32)
        splits[split] = IncomingSplit(tuple(f"{split}{i}$_${i}" for i in range(n)), arrays)
    store = Store(root)
    store.write(name, Incoming(dataset, aligned, texts, standing, splits))
    return store
