"""A tiny BERT written to a folder, and feature sets whose text is token ids it can read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dmd_repro.data.features import Features
from dmd_repro.data.formats.incoming import Incoming, IncomingSplit
from dmd_repro.data.store.digest import feature_set, features
from dmd_repro.data.store.folder import Store

VOCABULARY, WIDTH, STEPS = 40, 12, 7


def write_bert(folder: Path, seed: int = 1, **changes: object) -> str:
    """Write a random BERT of two layers as transformers saves it; return the folder."""
    transformers = pytest.importorskip("transformers", reason="needs the extra [bert]")
    config = transformers.BertConfig(
        **{"vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 3,
           "intermediate_size": 20, "max_position_embeddings": 16, **changes}
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformers.BertModel(config).save_pretrained(folder)
    return str(folder)


def tokens(n: int, seed: int = 0) -> np.ndarray:
    """Return (n, 3, STEPS) ids, mask and segments: padded on the right, as a tokenizer does."""
    generator = np.random.Generator(np.random.PCG64(seed))
    out = np.zeros((n, 3, STEPS), np.int64)
    for i in range(n):
        length = int(generator.integers(3, STEPS + 1))
        out[i, 0, :length] = generator.integers(1, VOCABULARY // 2, length)
        out[i, 1, :length] = 1
    return out


def arrays(n: int, seed: int) -> dict[str, np.ndarray]:
    """Return the acoustic, visual and label arrays of n clips."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return {
        "acoustic": generator.standard_normal((n, 9, 3), dtype=np.float32),
        "visual": generator.standard_normal((n, 8, 4), dtype=np.float32),
        "labels": np.linspace(-3, 3, n, dtype=np.float32),
    }


SIZES = {"train": 12, "valid": 5, "test": 6}


def token_features() -> Features:
    """Return unaligned features whose text is token ids."""
    splits = {
        split: feature_set(
            ids=[f"{split}$_${i}" for i in range(n)], language=tokens(n, n), aligned=False, **arrays(n, n)
        )
        for split, n in SIZES.items()
    }
    return features("toy-bert", "mosi", splits, text="bert", standing="partial")


def token_store(root: Path, name: str = "toy-bert") -> Store:
    """Put the same clips into a store, as an MMSA file would be: hidden states and token ids."""
    splits = {}
    for split, n in SIZES.items():
        more = arrays(n, n) | {"language_bert": tokens(n, n)}
        more["language_hidden"] = np.random.Generator(np.random.PCG64(n)).standard_normal((n, STEPS, 6), np.float32)
        more |= {f"lengths_{m}": np.full(n, steps, np.int64) for m, steps in (("l", STEPS), ("a", 9), ("v", 8))}
        splits[split] = IncomingSplit(tuple(f"{split}$_${i}" for i in range(n)), more)
    store = Store(root)
    store.write(name, Incoming("mosi", False, ("hidden", "bert"), "partial", splits))
    return store
