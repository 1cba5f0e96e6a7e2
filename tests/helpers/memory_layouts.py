"""Feature files whose arrays lie in memory in any way: each is read, or refused, as its plain twin is.

The tests draw some, `benchmarks/fuzz.py layouts` thousands.
"""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from hostile import one_line
from toy_files import mmsa

from dmd_repro.data.formats.importer import import_file
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import DataError

KEYS = (
    "text",
    "audio",
    "vision",
    "text_bert",
    "regression_labels",
    "audio_lengths",
    "vision_lengths",
    "id",
    "raw_text",
)
WAYS = ("C", "F", "axes", "reversed", "stepped", "broadcast", "list", "objects", "readonly")
TYPES = ("f4", "f8", ">f4", ">f8", "f2", "i1", "i8", ">i4", "u2", "b1", "c8", "U", "S", "O")
SIZES = {"train": 4, "valid": 2, "test": 2}
EMPTY = 0.06  # share of arrays with an axis of size 0


def lying(array: np.ndarray, way: str, rng: np.random.Generator) -> Any:
    """Return the same values in another order of memory, or as a list."""
    if way == "list":
        return list(array)
    if way == "objects":
        out = np.empty(len(array) if array.ndim else 1, dtype=object)
        out[:] = list(array) if array.ndim else [array]
        return out
    if way == "F":
        return np.asfortranarray(array)
    if way == "axes":
        axes = rng.permutation(array.ndim)
        return np.ascontiguousarray(array.transpose(axes)).transpose(np.argsort(axes))
    if way == "reversed":
        turn = tuple(slice(None, None, int(rng.choice([-1, 1]))) for _ in range(array.ndim))
        return array[turn].copy()[turn]
    if way == "stepped":
        wide = np.repeat(array, 2, axis=-1) if array.ndim else array
        return wide[..., ::2] if array.ndim else wide
    if (
        way == "broadcast"
        and array.ndim
        and array.size
        and np.array_equal(array, np.broadcast_to(array[:1], array.shape))
    ):
        return np.broadcast_to(array[:1], array.shape)
    if way == "readonly":
        array = array.copy()
        array.flags.writeable = False
    return array


def drawn(rng: np.random.Generator) -> tuple[Any, Any, str]:
    """Return (a file, the same values in plain C order, what was done)."""
    content = mmsa(sizes=SIZES, aligned=bool(rng.integers(2)))
    plain = copy.deepcopy(content)
    done = []
    for _ in range(int(rng.integers(1, 4))):
        key = str(rng.choice(KEYS))
        way, kind = str(rng.choice(WAYS)), str(rng.choice(TYPES)) if rng.random() < 0.6 else ""
        for split, part in content.items():
            if key not in part or rng.random() < 0.1:
                continue
            array = np.array(plain[split][key])
            if kind and (array.dtype.kind in "fiub" or kind in ("U", "O")):
                with np.errstate(all="ignore"):
                    array = array.astype(kind)
            if rng.random() < EMPTY and array.ndim:
                cut = [slice(None)] * array.ndim
                cut[int(rng.integers(array.ndim))] = slice(0, 0)
                array = array[tuple(cut)]
            plain[split][key] = array.copy(order="C")
            part[key] = lying(array, way, rng)
        done.append(f"{key} {way} {kind}".strip())
    return content, plain, ", ".join(done)


def outcome(path: Path, content: Any, protocol: int, store: Store) -> tuple[str, str]:
    """Return ("digest", digest) or ("refused", message) of one import."""
    path.write_bytes(pickle.dumps(content, protocol))
    try:
        manifest, _ = import_file(path, store, name="x", dataset="mosi", force=True)
    except DataError as error:
        one_line(error)
        return "refused", str(error)
    return "digest", manifest.digest


def judge(folder: Path, seed: int, counts: Counter[str]) -> None:
    """Import one drawn file and its plain twin: the same digest, or both refused; a list may be refused otherwise."""
    rng = np.random.Generator(np.random.PCG64(seed))
    content, plain, done = drawn(rng)
    store = Store(folder / "store")
    what, got = outcome(folder / "x.pkl", content, int(rng.integers(6)), store)
    wanted, twin = outcome(folder / "y.pkl", plain, 4, store)
    assert what == wanted, f"seed {seed} ({done}): {got} against {twin}"
    if what == "digest":
        assert got == twin, f"seed {seed} ({done})"
    counts["imported with the digest of the plain file" if what == "digest" else "refused, as the plain file is"] += 1
