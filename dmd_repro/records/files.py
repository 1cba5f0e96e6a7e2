"""The files of a record, read once and in whole: JSON, and safetensors as views of what was read."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmd_repro.disk import parse_json, sentences
from dmd_repro.errors import RunError, Unreadable

_AT_ONCE = 1 << 24  # bytes that one call of the system is asked for
_DTYPES = {
    code: np.dtype(name)
    for code, name in {
        "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8",
        "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
    }.items()
}  # fmt: skip


def read_bytes(path: Path | str) -> bytes:
    """Return a file of a record; raises RunError where it is missing, Unreadable where it is there and refuses."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            return (
                os.read(descriptor, size)
                if (size := os.fstat(descriptor).st_size) < _AT_ONCE
                else Path(path).read_bytes()
            )
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise RunError.at(
            str(path), expected="a file of a record", got=f"'{error.strerror}'",
            do="See dmd runs verify: --repair moves such a record aside",
        ) from error  # fmt: skip
    except OSError as error:
        raise Unreadable.at(
            str(path), expected="a file that can be read", got=f"'{error.strerror or type(error).__name__}'",
            do="Check its permissions and its disk, then run the same command again: nothing was moved",
        ) from error  # fmt: skip


Arrays = dict[str, NDArray[Any]]


class Files:
    """The files of one record, each read once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = str(path)
        self._kept: dict[str, bytes] = {}
        self._arrays: dict[str, tuple[Arrays, str]] = {}
        self._names: frozenset[str] | None = None

    def __getitem__(self, name: str) -> bytes:
        """Return a file's content; raises RunError or Unreadable."""
        if name not in self._kept:
            self._kept[name] = read_bytes(f"{self._folder}{os.sep}{name}")  # a Path for each takes as long as reading
        return self._kept[name]

    def has(self, name: str) -> bool:
        """Whether there is a file of this name; raises Unreadable if the folder cannot be listed."""
        if self._names is None:
            with sentences(self.path, "a folder that can be read", Unreadable), os.scandir(self.path) as entries:
                self._names = frozenset(entry.name for entry in entries if entry.is_file())
        return name in self._names

    def arrays(self, name: str) -> tuple[Arrays, str]:
        """Return views of a safetensors file's arrays and the text of its metadata; raises RunError or Unreadable."""
        if name not in self._arrays:
            self._arrays[name] = unpack_arrays(self[name], self.path / name)
        return self._arrays[name]

    def json(self, name: str) -> Any:
        """Return a JSON file's content; raises RunError or Unreadable."""
        try:
            return parse_json(self[name])
        except ValueError as error:
            raise RunError.at(
                str(self.path / name), expected="a readable JSON file", got="something else, or half of it",
                do="See dmd runs verify: --repair moves such a record aside",
            ) from error  # fmt: skip


def read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read a safetensors file and the JSON in its metadata.

    Raises RunError if it is missing, cut off or damaged, Unreadable if it is there and cannot be read.
    """
    arrays, about = unpack_arrays(bytearray(read_bytes(path)), path)
    try:
        return arrays, dict(parse_json(about))
    except (ValueError, TypeError) as error:
        raise no_arrays(path, str(error)) from error


def unpack_arrays(content: bytes | bytearray, path: Path) -> tuple[Arrays, str]:
    """Return views of a safetensors file's arrays, and the text of the JSON in its metadata."""
    try:
        size = int.from_bytes(content[:8], "little")
        if not 0 < size <= len(content) - 8:
            raise ValueError("a header longer than the file")
        header = dict(parse_json(content[8 : 8 + size]))
        about = header.pop("__metadata__", {}).get("meta", "{}")
        arrays, ends = {}, [0]
        for name, entry in header.items():
            begin, end = (int(n) for n in entry["data_offsets"])
            dtype, shape = _DTYPES[entry["dtype"]], tuple(int(n) for n in entry["shape"])
            count = math.prod(shape)
            if min((begin, *shape, 0)) < 0 or end - begin != count * dtype.itemsize or end > len(content) - 8 - size:
                raise ValueError(f"offsets of '{name}' outside the file")
            arrays[name] = np.frombuffer(content, dtype, count, 8 + size + begin).reshape(shape)
            ends.append(end)
        if max(ends) != len(content) - 8 - size:
            raise ValueError("another length than its header says")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise no_arrays(path, str(error)) from error

    return arrays, str(about)


def no_arrays(path: Path, why: str) -> RunError:
    return RunError.at(
        str(path), expected="a complete safetensors file", got=f"'{why[:100]}'",
        do="See dmd runs verify: --repair moves such a record aside",
    )  # fmt: skip


def pack_arrays(arrays: Mapping[str, NDArray[Any]], meta: Any = None) -> bytes:
    """Return safetensors bytes; `meta` goes in as JSON under ONE key, so that equal content gives equal bytes."""
    from safetensors.numpy import save

    # safetensors writes the raw buffer, so a strided array must be copied; ascontiguousarray would make 0-d into (1,)
    plain = {key: np.asarray(value, order="C") for key, value in arrays.items()}
    return bytes(save(plain, metadata=None if meta is None else {"meta": json.dumps(meta, sort_keys=True)}))


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
