"""Small feature files in the two public layouts, for the tests of the importer."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

SIZES = {"train": 5, "valid": 3, "test": 4}


def mmsa(*, aligned: bool = False, text: int = 12, a: int = 5, v: int = 20, sizes: dict[str, int] = SIZES) -> Any:
    """A file of the MMSA family, as the MMSA loaders read it."""
    generator = np.random.Generator(np.random.PCG64(3))
    steps = {"l": 6, "a": 6, "v": 6} if aligned else {"l": 6, "a": 9, "v": 8}
    out: dict[str, dict[str, Any]] = {}
    for split, n in sizes.items():
        mask = np.zeros((n, 3, steps["l"]), dtype=np.int64)
        mask[:, 0, :3], mask[:, 1, :3] = 101, 1
        out[split] = {
            "raw_text": np.array(["SOME WORDS"] * n),
            "id": np.array([f"vid{split}{i // 2}$_${i}" for i in range(n)]),
            "text": generator.standard_normal((n, steps["l"], text), dtype=np.float32),
            "text_bert": mask,
            "audio": generator.standard_normal((n, steps["a"], a), dtype=np.float32),
            "vision": generator.standard_normal((n, steps["v"], v), dtype=np.float32),
            "regression_labels": np.linspace(-3, 3, n, dtype=np.float32),
            "classification_labels": np.zeros(n),
            "annotations": ["Neutral"] * n,
        }
        if not aligned:
            out[split]["audio_lengths"] = [1 + i % steps["a"] for i in range(n)]
            out[split]["vision_lengths"] = [steps["v"]] * n
            for i, length in enumerate(out[split]["audio_lengths"]):
                out[split]["audio"][i, : steps["a"] - length] = 0
    return out


def mult(*, a: int = 74, v: int = 35, sizes: dict[str, int] = SIZES) -> Any:
    """A file of the MulT family: GloVe text, labels (N, 1, 1) in thirds as in MOSEI, ids (N, 3) as bytes, float64."""
    generator = np.random.Generator(np.random.PCG64(4))
    return {
        split: {
            "text": generator.standard_normal((n, 6, 300)),
            "audio": generator.standard_normal((n, 9, a)),
            "vision": generator.standard_normal((n, 8, v)),
            "labels": (np.round(3 * np.linspace(-3, 3, n)) / 3).reshape(n, 1, 1),
            "id": np.array([[f"vid{split}{i}".encode(), b"1.5", b"2.5"] for i in range(n)]),
        }
        for split, n in sizes.items()
    }


def save(path: Path, content: Any, protocol: int = 4) -> Path:
    """Pickle the content to a file and return its path."""
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path
