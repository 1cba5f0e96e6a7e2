"""Safetensors files, written without a second copy in memory and read as read-only maps of the file.

The format is a length (8 bytes, little-endian), a JSON header of names, dtypes, shapes and offsets, then the bytes; the
`safetensors` package reads these files, but its numpy interface copies each array.
"""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmd_repro.data.pickle_gate.filearray import Blocks
from dmd_repro.data.store.digest import digest_start, pieces
from dmd_repro.disk import parse_json
from dmd_repro.errors import DataError

Array = NDArray[np.generic]
_CODES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "I64": np.dtype("<i8")}
_NAMES = {dtype: code for code, dtype in _CODES.items()}
_LONGEST_HEADER = 1 << 20


def write_tensors(path: Path, arrays: Mapping[str, Array | Blocks], digests: Mapping[str, str] | None = None) -> None:
    """Write float32 and int64 arrays to a new file and flush it to the disk; OSError is the caller's.

    Raises DataError if what was written has another digest than the given one: its source changed on the way.
    """
    header, offset = {}, 0
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))  # so that every array is aligned
    for name in order:
        array = arrays[name]
        code = _NAMES[array.dtype.newbyteorder("<")]
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with path.open("xb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            digest = digest_start(arrays[name].dtype.newbyteorder("<"), arrays[name].shape)
            for piece in pieces(arrays[name]):
                digest.update(piece)
                file.write(piece)
            if digests and digest.hexdigest() != digests[name]:
                raise DataError.at(
                    name,
                    expected="the values that were checked",
                    got="others: the file changed while it was imported",
                    do="Wait until it is complete, then import it again",
                )
        file.flush()
        os.fsync(file.fileno())


def map_tensors(path: Path) -> dict[str, Array]:
    """Return the arrays of a file as read-only views of its memory map; DataError if the file is missing or damaged."""
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise _damaged(path, str(getattr(error, "strerror", None) or "an empty file")) from error
    try:
        size = int.from_bytes(mapped[:8], "little")
        if not 0 < size <= min(_LONGEST_HEADER, len(mapped) - 8):
            raise ValueError("a header longer than the file")
        header = parse_json(mapped[8 : 8 + size])
        return {name: _view(mapped, 8 + size, entry) for name, entry in dict(header).items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, str(error)[:100]) from error


def _view(mapped: mmap.mmap, base: int, entry: Mapping[str, Any]) -> Array:
    dtype, shape = _CODES[str(entry["dtype"])], [int(n) for n in entry["shape"]]
    begin, end = (int(n) for n in entry["data_offsets"])
    count = math.prod(shape)
    if (
        min(shape, default=0) < 0
        or not 0 <= begin <= end <= len(mapped) - base
        or end - begin != count * dtype.itemsize
    ):
        raise ValueError("offsets that do not fit the file")
    return np.frombuffer(mapped, dtype=dtype, count=count, offset=base + begin).reshape(shape)


def _damaged(path: Path, got: str) -> DataError:
    return DataError.at(str(path), expected="a complete safetensors file", got=got, do="Import this feature set again")
