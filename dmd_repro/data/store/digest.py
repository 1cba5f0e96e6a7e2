"""What identifies features: a digest of the content (dtype, shape, bytes), whatever file or pickle it came in.

Each array has its own sha256, a split's digest is over those of its arrays in a fixed order, a feature set's over those
of its splits. So choosing another kind of text changes the digest without hashing the other arrays again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dmd_repro.data.features import Features, FeatureSet, Standing, TextKind
from dmd_repro.data.pickle_gate.filearray import Blocks, Narrowed
from dmd_repro.shapes import MODALITIES, SPLITS

Array = NDArray[np.generic]
_CHUNK = 1 << 23  # bytes hashed or written at a time


def little_endian(array: Array) -> Array:
    """Return the array contiguous and little-endian: the bytes that are hashed and stored (no copy if it is so)."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def chunks(array: Array) -> Iterator[memoryview]:
    """Yield the bytes of a contiguous array in pieces, without copying it."""
    flat = memoryview(array.reshape(-1).view(np.uint8).data)
    for start in range(0, len(flat), _CHUNK):
        yield flat[start : start + _CHUNK]


def pieces(array: Array | Blocks) -> Iterator[memoryview]:
    """Yield the little-endian bytes of an array, or of one that stays in its file, without copying it as a whole."""
    if isinstance(array, np.ndarray):
        yield from chunks(little_endian(array))
        return
    for _, block in array.blocks():
        yield from chunks(little_endian(block))


def digest_start(dtype: np.dtype[np.generic], shape: Sequence[int]) -> hashlib._Hash:
    """Return the sha256 of an array's dtype (little-endian) and shape, to be fed its bytes."""
    return hashlib.sha256(json.dumps([dtype.str, list(shape)]).encode())


def array_digest(array: Array | Blocks) -> str:
    """Return the sha256 over dtype, shape and bytes of one array; the byte order in memory does not enter."""
    if isinstance(array, Narrowed):
        return array.digest
    digest = digest_start(array.dtype.newbyteorder("<"), array.shape)
    for piece in pieces(array):
        digest.update(piece)
    return digest.hexdigest()


def ids_digest(ids: Sequence[str]) -> str:
    """Return the sha256 over the clips' ids in order."""
    return hashlib.sha256(json.dumps(["ids", *ids]).encode()).hexdigest()


def split_digest(parts: Mapping[str, str], language: str = "language") -> str:
    """Return a split's digest from those of its arrays; `language` names the entry of the chosen text."""
    order = ["ids", language, "acoustic", "visual", *(f"lengths_{m}" for m in MODALITIES), "labels"]
    lines = "".join(f"{'language' if name == language else name} {parts[name]}\n" for name in order)
    return hashlib.sha256(lines.encode()).hexdigest()


def features_digest(splits: Mapping[str, str]) -> str:
    """Return a feature set's digest from those of its three splits."""
    return hashlib.sha256("".join(f"{s} {splits[s]}\n" for s in SPLITS).encode()).hexdigest()


def feature_set(
    *,
    ids: Sequence[str],
    language: Array,
    acoustic: Array,
    visual: Array,
    labels: Array,
    aligned: bool,
    lengths: Mapping[str, Array] | None = None,
) -> FeatureSet:
    """Build one split from arrays in memory: digest computed, arrays made read-only, full lengths where none are given.

    Shapes as in `FeatureSet`; features and labels must already be float32 (token ids int64). Raises DataError on shapes
    that disagree.
    """
    arrays = {"language": language, "acoustic": acoustic, "visual": visual, "labels": labels}
    steps = {"l": language.shape[2 if language.dtype.kind == "i" else 1], "a": acoustic.shape[1], "v": visual.shape[1]}
    given = lengths or {m: np.full(len(ids), steps[m], dtype=np.int64) for m in MODALITIES}
    arrays |= {f"lengths_{m}": np.asarray(given[m], dtype=np.int64) for m in MODALITIES}
    arrays = {name: little_endian(array) for name, array in arrays.items()}
    for array in arrays.values():
        array.flags.writeable = False
    parts = {"ids": ids_digest(ids)} | {name: array_digest(array) for name, array in arrays.items()}
    return FeatureSet(
        ids=tuple(ids),
        language=arrays["language"],
        acoustic=arrays["acoustic"],  # type: ignore[arg-type]
        visual=arrays["visual"],  # type: ignore[arg-type]
        lengths={m: arrays[f"lengths_{m}"] for m in MODALITIES},  # type: ignore[misc]
        labels=arrays["labels"],  # type: ignore[arg-type]
        aligned=aligned,
        digest=split_digest(parts),
    )


def features(
    name: str, dataset: str, splits: Mapping[str, FeatureSet], *, text: TextKind, standing: Standing
) -> Features:
    """Put three splits together; `aligned` is theirs, the digest is over theirs."""
    return Features(
        name=name,
        dataset=dataset,
        text=text,
        aligned=splits["train"].aligned,
        standing=standing,
        splits=dict(splits),
        digest=features_digest({s: splits[s].digest for s in SPLITS}),
    )
