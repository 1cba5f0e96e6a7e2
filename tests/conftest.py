"""Fixtures shared by the tests: the real data beside the checkout, where it is, and small toys."""

from __future__ import annotations

import gc
import lzma
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from bad_server import BODY, WAITED, BadServer, serving

from dmd_repro.data.features import Features
from dmd_repro.data.store.digest import feature_set, features
from dmd_repro.data.synthetic import generate

if not torch.cuda.is_available():  # read when Triton is first imported, whoever does that
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_collection_finish() -> None:
    """Let no garbage collection look through modules and tests again: statsmodels asks for one in every call."""
    gc.freeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference material beside the checkout; the test skips where it is absent."""
    folder = Path(__file__).resolve().parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared (reference arrays and real clips), which is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def real_file(shared: Path, tmp_path_factory: pytest.TempPathFactory):
    """A function that unpacks one of the real files ("aligned" or "unaligned") and returns its path."""
    unpacked: dict[str, Path] = {}

    def unpack(setting: str) -> Path:
        if setting not in unpacked:
            packed = shared / "data" / f"mosi_dev_{setting}.pkl.xz"
            if not packed.is_file():
                pytest.skip(f"needs ../shared/data/{packed.name}")
            path = tmp_path_factory.mktemp("real") / packed.stem
            path.write_bytes(lzma.decompress(packed.read_bytes()))
            unpacked[setting] = path
        return unpacked[setting]

    return unpack


@pytest.fixture(scope="session")
def synthetic() -> Features:
    """The small synthetic features: aligned, GloVe-like text."""
    return generate()


@pytest.fixture(scope="session")
def toy() -> Features:
    """A dozen clips of random, unaligned features with unequal steps: for shapes and speed, nothing to learn."""
    generator = np.random.Generator(np.random.PCG64(7))

    def split(name: str, n: int):
        return feature_set(
            ids=[f"{name}$_${i}" for i in range(n)],
            language=generator.standard_normal((n, 8, 6), dtype=np.float32),
            acoustic=generator.standard_normal((n, 11, 3), dtype=np.float32),
            visual=generator.standard_normal((n, 13, 4), dtype=np.float32),
            labels=np.linspace(-3, 3, n, dtype=np.float32),
            aligned=False,
        )

    return features(
        "toy", "mosi", {"train": split("a", 6), "valid": split("b", 3), "test": split("c", 3)},
        text="glove", standing="partial",
    )  # fmt: skip


@pytest.fixture(scope="module")
def shared_server() -> Iterator[BadServer]:
    """One misbehaving web server for the tests of a module."""
    with serving(BODY) as running:
        yield running


@pytest.fixture
def server(shared_server: BadServer) -> BadServer:
    """The server, with nothing asked of it yet."""
    shared_server.asked.clear()
    shared_server.ranges.clear()
    WAITED.clear()
    return shared_server
