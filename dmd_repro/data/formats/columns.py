"""One column of a feature file at a time: checked value by value and turned into the plain array the store holds.

Nothing is coerced in silence: a value that is not kept as it is, is counted; one that cannot be kept is refused with
its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dmd_repro.data.pickle_gate.filearray import BLOCK, FileArray, Narrowed, narrow
from dmd_repro.data.store.digest import digest_start
from dmd_repro.errors import DataError

NanRule = Literal["refuse", "zero"]
LABEL_RANGE = 3.0


@dataclass(slots=True)
class Column:
    """Where a column is, for messages, and how many of its values were replaced."""

    file: str
    split: str
    key: str
    ids: Sequence[str] = ()
    replaced: dict[str, int] = field(default_factory=dict)  # {"-inf": n, "NaN": n}

    @property
    def where(self) -> str:
        return f"{self.file}, {self.key} of {self.split}"

    def place(self, index: Sequence[int]) -> str:
        """Name the clip, the step and the channel of a value."""
        clip = f"clip {self.ids[index[0]]}" if self.ids else f"clip number {index[0]}"
        names = [clip, *(f"{axis} {n}" for axis, n in zip(("step", "channel"), index[1:], strict=False))]
        return f"{self.where}, {', '.join(names)}"


def numbers(value: Any, column: Column) -> NDArray[Any] | FileArray:
    """Return a column as an array of numbers; DataError if it is text, ragged or anything else."""
    if isinstance(value, list):
        try:
            value = np.array(value)
        except (ValueError, OverflowError) as error:  # rows of different lengths
            raise _bad(column.where, "an array of numbers", "rows of different lengths or huge numbers") from error
    array = isinstance(value, np.ndarray | FileArray)
    if not array or value.dtype.kind not in "fiu":
        got = f"an array of {value.dtype}" if array else f"a {type(value).__name__}"
        raise _bad(column.where, "an array of numbers", got)
    found: NDArray[Any] | FileArray = value
    return found


def sequences(
    value: Any, column: Column, *, nan: NanRule, minus_inf_to_zero: bool = False
) -> NDArray[np.float32] | Narrowed:
    """Return features (B, T, D) as finite float32; a big array stays in its file and is narrowed whenever it is read.

    -inf becomes 0 and is counted where allowed (the authors' loader does so for audio), NaN where `nan` is "zero".
    Raises DataError on any other value that float32 cannot hold, naming clip, step and channel.
    """
    array = numbers(value, column)
    if array.ndim != 3 or 0 in array.shape:
        raise _bad(column.where, "an array (clips, steps, channels)", f"shape {array.shape}")
    in_file = isinstance(array, FileArray)
    digest = digest_start(np.dtype("<f4"), array.shape)
    out: NDArray[np.float32] = np.empty((0,) if in_file else array.shape, dtype="<f4")
    for start, source in array.blocks() if isinstance(array, FileArray) else _blocks(array):
        block, bad = narrow(source)
        if bad is not None:
            _count(bad, source, start, column, nan=nan, minus_inf_to_zero=minus_inf_to_zero)
        if in_file:
            digest.update(block.data)
        else:
            out[start : start + len(block)] = block
    return Narrowed(array, digest.hexdigest()) if isinstance(array, FileArray) else out


def _blocks(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    per_block = max(1, BLOCK // (array.shape[1] * array.shape[2]))
    yield from ((start, array[start : start + per_block]) for start in range(0, len(array), per_block))


def _count(
    bad: NDArray[np.bool_],
    source: NDArray[Any],
    start: int,
    column: Column,
    *,
    nan: NanRule,
    minus_inf_to_zero: bool,
) -> None:
    """Count the values of a block that become 0; DataError naming the first that may not."""
    is_nan, minus = np.isnan(source), np.isneginf(source)
    refused = bad.copy()
    if nan == "zero":
        refused &= ~is_nan
    if minus_inf_to_zero:
        refused &= ~minus
    if refused.any():
        first = [int(n) for n in np.argwhere(refused)[0]]
        found, count = source[tuple(first)], int(refused.sum())
        more = f" ({count} such values)" if count > 1 else ""
        first[0] += start
        if np.isnan(found):
            raise _bad(column.place(first), "a finite number", f"NaN{more}", "Repair the file, or pass --nan zero")
        if np.isinf(found) and source.dtype.itemsize == 2:
            got = f"{found}{more} in a float16 array, which overflows beyond 65504"
            raise _bad(column.place(first), "a finite number", got, "Get the float32 or float64 file")
        if np.isinf(found):
            raise _bad(column.place(first), "a finite number", f"{found}{more}")
        raise _bad(column.place(first), "a number float32 can hold", f"{found}{more}")
    for what, where in (("NaN", is_nan), ("-inf", minus & bad)):
        if where.any():
            column.replaced[what] = column.replaced.get(what, 0) + int(where.sum())


def labels(value: Any, column: Column) -> NDArray[np.float32]:
    """Return labels (B,) float32 from (B,), (B, 1) or (B, 1, 1); DataError outside [-3, 3] or not finite."""
    array = numbers(value, column)
    if array.ndim == 0 or array.size != len(array) or not array.size:
        raise _bad(column.where, "one label a clip", f"shape {array.shape}")
    flat = np.asarray(array).reshape(-1)
    wrong = np.flatnonzero(~(np.abs(flat) <= LABEL_RANGE))
    if wrong.size:
        raise _bad(
            column.place([int(wrong[0])]),
            "a sentiment in [-3, 3]",
            f"{flat[wrong[0]]}" + (f" ({wrong.size} such labels)" if wrong.size > 1 else ""),
            "Import the regression labels of CMU-MOSI or CMU-MOSEI",
        )
    return flat.astype(np.float32)


def lengths(value: Any, column: Column, steps: int) -> NDArray[np.int64]:
    """Return lengths (B,) int64; DataError if one is no whole number or beyond the array's steps."""
    array = numbers(value, column)
    if array.ndim != 1:
        raise _bad(column.where, "one length a clip", f"shape {array.shape}")
    array = np.asarray(array)
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(~((array >= 0) & (array <= steps) & (np.floor(array) == array)))
    if wrong.size:
        raise _bad(column.place([int(wrong[0])]), f"a length from 0 to {steps}", f"{array[wrong[0]]}")
    return array.astype(np.int64)


def tokens(value: Any, column: Column) -> NDArray[np.int64]:
    """Return token ids, mask and segments (B, 3, T) as int64; DataError unless all are whole and the mask is 0 or 1."""
    array = numbers(value, column)
    if array.ndim != 3 or array.shape[1] != 3 or 0 in array.shape:
        raise _bad(column.where, "an array (clips, 3, steps)", f"shape {array.shape}")
    top = np.array([2**31, 2, 2**31])[:, None]  # ids, mask, segments: exclusive bounds
    out = np.empty(array.shape, dtype="<i8")
    for start, block in array.blocks() if isinstance(array, FileArray) else _blocks(array):
        with np.errstate(invalid="ignore"):
            wrong = np.argwhere(~((block >= 0) & (block < top) & (np.floor(block) == block)))
            out[start : start + len(block)] = block
        if wrong.size:
            clip, row, step = (int(n) for n in wrong[0])
            what = ("a token id", "a mask of 0 or 1", "a segment number")[row]
            raise _bad(f"{column.place([clip + start])}, step {step}", what, f"{block[clip, row, step]}")
    return out


def identifiers(value: Any, column: Column, n: int) -> tuple[str, ...]:
    """Return n ids as text, the parts of a row joined with `$_$`; DataError on another number or kind."""
    if isinstance(value, FileArray):
        value = np.asarray(value)
    if isinstance(value, list) and any(isinstance(item, list) for item in value):
        if not all(isinstance(item, list) and len(item) == len(value[0]) for item in value):
            raise _bad(column.where, "one id a clip", "rows of different lengths")
        rows = value
    elif isinstance(value, list):
        rows = [[item] for item in value]
    elif isinstance(value, np.ndarray) and value.dtype.kind in "SUfiu" and value.ndim in (1, 2) and value.size:
        try:
            rows = value.reshape(len(value), -1).tolist()
        except ValueError as error:  # bytes that are no text
            raise _bad(column.where, "ids as text", "bytes that are no text") from error
    else:
        got = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
        raise _bad(column.where, "one id a clip, as text", got)
    if len(rows) != n:
        raise _bad(column.where, f"{n} ids, one a clip", f"{len(rows)}")
    return tuple("$_$".join(_text(part, column) for part in row) for row in rows)


def _text(part: Any, column: Column) -> str:
    if isinstance(part, bytes):
        part = part.decode("utf-8", "backslashreplace")
    if isinstance(part, np.generic):
        part = part.item()
    if isinstance(part, float) and part.is_integer():
        part = int(part)
    if not isinstance(part, str | int | float) or not str(part).isprintable():
        raise _bad(column.where, "ids as printable text", repr(part)[:60])
    return str(part).strip()


def _bad(where: str, expected: str, got: str, do: str = "Check that this is the published file") -> DataError:
    return DataError.at(where, expected=expected, got=got, do=do)
