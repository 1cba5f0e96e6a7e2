"""Arrays that stay in the file they came in, read block by block: an import holds a few megabytes, whatever the file.

`ByteSource` is the open file, `Span` a stretch of it, `FileArray` such a stretch with dtype and shape, `Narrowed` a
validated FileArray as the store holds it. None of them copies the file into memory or maps it: a map would end the
process without a word if the file shrank meanwhile.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from dmd_repro.errors import DataError

BLOCK = 1 << 22  # values looked at together


class Blocks(Protocol):
    """What the store takes besides an array: a content that is read in blocks of whole clips."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def nbytes(self) -> int: ...

    def blocks(self) -> Iterator[tuple[int, NDArray[Any]]]: ...


class ByteSource:
    """A file, or a section of one, open for reading in any order; `on_read` hears the number of bytes of each read."""

    __slots__ = ("_file", "_nameless", "_seen", "_start", "on_read", "path", "size")

    def __init__(self, path: Path, file: IO[bytes] | io.FileIO | None = None) -> None:
        self.path = path
        self._file: IO[bytes] | io.FileIO = file or path.open("rb", buffering=0)
        self._nameless = file is not None
        self._seen = self._stamp()
        self._start, self.size = 0, self._seen[0]
        self.on_read: Callable[[int], None] = lambda n: None

    def section(self, start: int, size: int) -> ByteSource:
        """Return a stretch of the file as a source of its own: what lies uncompressed in an archive."""
        if not (start >= 0 and size >= 0 and start + size <= self.size):
            raise ValueError("a section beyond the end of the file")
        part = ByteSource(self.path, self._again() if self._nameless else None)
        part._seen, part._start, part.size = self._seen, self._start + start, size
        part.on_read = lambda n: self.on_read(n)
        return part

    def stream(self) -> BinaryIO:
        """Return the source as a buffered stream with a handle of its own."""
        return io.BufferedReader(_Window(self._again(), self._start, self.size))

    def _again(self) -> io.FileIO:
        """Return a further handle. That of a file without a name shares its position, which every read sets anew."""
        if self._nameless:
            return os.fdopen(os.dup(self._file.fileno()), "rb", buffering=0)
        return self.path.open("rb", buffering=0)

    def read(self, offset: int, n: int) -> NDArray[np.uint8]:
        """Return n bytes from an offset; DataError if the disk refuses or the file has become shorter."""
        out = np.empty(n, dtype=np.uint8)
        view, done = out.data, 0
        try:
            self._file.seek(self._start + offset)
            while done < n:
                got = self._file.readinto(view[done:])  # type: ignore[union-attr]
                if not got:
                    raise self._changed("one that became shorter while it was read")
                done += got
        except OSError as error:
            raise DataError.at(
                str(self.path),
                expected="a file that can be read",
                got=error.strerror or str(error),
                do="Check its disk",
            ) from error
        self.on_read(n)
        return out

    def check_unchanged(self) -> None:
        """Raise DataError if the file is not as it was when it was opened."""
        if self._stamp() != self._seen:
            raise self._changed("one that changed while it was read")

    def close(self) -> None:
        """Close the file; its arrays can no longer be read."""
        self._file.close()

    def __del__(self) -> None:
        file = getattr(self, "_file", None)
        if file is not None:
            file.close()

    def _stamp(self) -> tuple[int, int]:
        facts = os.fstat(self._file.fileno())
        return facts.st_size, facts.st_mtime_ns

    def _changed(self, got: str) -> DataError:
        return DataError.at(
            str(self.path),
            expected="a file that stays as it is",
            got=got,
            do="Wait until it is complete, then try again",
        )


class _Window(io.RawIOBase):
    """A section of a file as a stream that begins at 0."""

    def __init__(self, file: io.FileIO, start: int, size: int) -> None:
        self._inner, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        n = min(len(buffer), max(0, self._size - self._at))
        self._inner.seek(self._start + self._at)
        got: int = self._inner.readinto(memoryview(buffer)[:n])
        self._at += got
        return got

    def close(self) -> None:
        self._inner.close()
        super().close()


class Span:
    """A stretch of a file that a pickle describes as bytes (or as text, in UTF-8)."""

    __slots__ = ("length", "offset", "source", "text")

    def __init__(self, source: ByteSource, offset: int, length: int, text: bool = False) -> None:
        self.source, self.offset, self.length, self.text = source, offset, length, text

    def read(self) -> bytes:
        """Return the bytes."""
        return self.source.read(self.offset, self.length).tobytes()


class FileArray:
    """An array in a file: shape and dtype are known, values are read when asked for (np.asarray reads all)."""

    __slots__ = ("_axes", "_offset", "_stored", "dtype", "shape", "source")

    def __init__(
        self, span: Span, dtype: np.dtype[Any], stored: tuple[int, ...], axes: tuple[int, ...] | None = None
    ) -> None:
        """`stored` is the shape in C order as the bytes lie; `axes` the transposition that gives the array's own."""
        self.source, self._offset, self.dtype, self._stored, self._axes = span.source, span.offset, dtype, stored, axes
        self.shape = stored if axes is None else tuple(stored[a] for a in axes)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def transpose(self, axes: tuple[int, ...]) -> FileArray:
        """Return the same bytes with the axes in another order."""
        own = self._axes or tuple(range(self.ndim))
        span = Span(self.source, self._offset, self.nbytes)
        return FileArray(span, self.dtype, self._stored, tuple(own[a] for a in axes))

    def blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (first clip, values in C order): whole clips, about BLOCK values together, whatever order they lie in.

        Where the clips are not the outermost axis of the bytes, each block is gathered from many short stretches.
        """
        axes = self._axes or tuple(range(self.ndim))
        clips = axes[0]  # where the first axis lies in the bytes
        outer = math.prod(self._stored[:clips])
        row = math.prod(self._stored[clips + 1 :]) * self.dtype.itemsize
        whole = len(self) * row  # bytes of all clips in one stretch
        for start, stop in _bounds(self.shape):
            n = (stop - start) * row
            raw = np.empty((outer, n), dtype=np.uint8)
            for k in range(outer):
                raw[k] = self.source.read(self._offset + k * whole + start * row, n)
            lying = raw.reshape(-1).view(self.dtype)
            lying = lying.reshape(*self._stored[:clips], stop - start, *self._stored[clips + 1 :])
            yield start, np.ascontiguousarray(lying.transpose(axes))

    @property
    def scattered(self) -> bool:
        """Whether a clip does not lie in one stretch of the file."""
        return self._axes is not None and self._axes[0] != 0

    def rows(self, start: int, stop: int) -> FileArray:
        """Return the clips from `start` to before `stop` of an array whose clips lie one after the other."""
        if self.scattered:
            raise ValueError("clips that do not lie one after the other")
        row = self.nbytes // max(1, len(self))
        span = Span(self.source, self._offset + start * row, (stop - start) * row)
        return FileArray(span, self.dtype, (stop - start, *self._stored[1:]), self._axes)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        array = self.source.read(self._offset, self.nbytes).view(self.dtype).reshape(self._stored)
        array = array if self._axes is None else array.transpose(self._axes)
        return array if dtype is None else array.astype(dtype, copy=False)

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(self)[key]


class Narrowed:
    """A validated FileArray (B, T, D) as the store holds it: float32, what was not finite as 0; made block by block."""

    __slots__ = ("_source", "digest", "dtype", "shape")

    def __init__(self, source: FileArray, digest: str) -> None:
        self._source, self.shape, self.digest = source, source.shape, digest
        self.dtype: np.dtype[Any] = np.dtype("<f4")

    @property
    def nbytes(self) -> int:
        return self._source.size * 4

    def blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (first clip, values)."""
        for start, block in self._source.blocks():
            yield start, narrow(block)[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        out = np.empty(self.shape, dtype=dtype or self.dtype)
        for start, block in self.blocks():
            out[start : start + len(block)] = block
        return out

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(self)[key]


def narrow(block: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Return a block as a new float32 array with 0 where it is not finite, and the mask of those values if any."""
    with np.errstate(over="ignore", invalid="ignore"):
        out = block.astype("<f4", order="C")
    bad = ~np.isfinite(out)
    if not bad.any():
        return out, None
    out[bad] = 0.0
    return out, bad


def _bounds(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    per_block = max(1, BLOCK // max(1, int(np.prod(shape[1:], dtype=np.int64))))
    for start in range(0, shape[0], per_block):
        yield start, min(start + per_block, shape[0])
