"""One column of a feature file at a time: checked value by value and turned into the plain array the store holds.

Nothing is coerced in silence: a value that is not kept as it is, is counted; one that cannot be kept is refused with
its place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dmd_repro.data.formats.column import Column, as_numbers, numbers
from dmd_repro.data.formats.names import kind_of, plain
from dmd_repro.data.pickle_gate.filearray import BLOCK, FileArray, Narrowed, narrow
from dmd_repro.data.pickle_gate.foreign import Foreign
from dmd_repro.data.store.digest import digest_start

NanRule = Literal["refuse", "zero"]
SEVEN = 7  # columns of CMU-MOSEI's "All Labels": sentiment, then six emotions


def vectors(value: Any, column: Column) -> NDArray[Any] | FileArray:
    """Return features as an array (B, T, D) of numbers, not looked at yet; DataError saying what it is instead."""
    array = numbers(value, column)
    want = "an array (clips, steps, channels)"
    if array.ndim == 2 and array.dtype.kind in "iu" and column.key == "text":
        raise column.bad(
            column.where, f"{want} of word vectors", f"whole numbers of shape {array.shape}: word indices",
            "Look each index up in its embedding matrix (300 wide for GloVe) before the file is written",
        )  # fmt: skip
    if array.ndim == 2:
        got = f"shape {array.shape}: one vector a clip"
        do = "Get the file with a vector for each step: means over a clip do not do"
        raise column.bad(column.where, want, got, do)
    if array.ndim != 3:
        kept = tuple(n for n in array.shape if n != 1)
        do = f"Drop the axis of size 1: x.reshape{kept}" if len(kept) == 3 else ""
        raise column.bad(column.where, want, f"shape {array.shape}", do)
    if 0 in array.shape[1:]:
        raise column.bad(column.where, f"{want} with at least one step and channel", f"shape {array.shape}")
    return array


def sequences(
    array: NDArray[Any] | FileArray, column: Column, *, nan: NanRule, minus_inf_to_zero: bool = False
) -> NDArray[np.float32] | Narrowed:
    """Return features (B, T, D) as finite float32; a big array stays in its file and is narrowed whenever it is read.

    -inf becomes 0 and is counted where allowed (the authors' loader does so for audio); NaN and other infinite values
    where `nan` is "zero". Raises DataError on any other value that float32 cannot hold, naming clip, step and channel.
    """
    in_file = isinstance(array, FileArray)
    digest = digest_start(np.dtype("<f4"), array.shape)
    out: NDArray[np.float32] = np.empty((0,) if in_file else array.shape, dtype="<f4")
    for start, source in array.blocks() if isinstance(array, FileArray) else _blocks(array):
        block, bad = narrow(source)
        if bad is not None:
            _count(bad, source, start, column, nan=nan, minus_inf_to_zero=minus_inf_to_zero)
        _pad(block, column)
        if in_file:
            digest.update(block.data)
        else:
            out[start : start + len(block)] = block
    return Narrowed(array, digest.hexdigest()) if isinstance(array, FileArray) else out


def _blocks(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    per_block = max(1, BLOCK // (array.shape[1] * array.shape[2]))
    yield from ((start, array[start : start + per_block]) for start in range(0, len(array), per_block))


def _pad(block: NDArray[np.float32], column: Column) -> None:
    """Count the zero steps at both ends of a block's clips, and the clips of zeros alone."""
    filled = (block != 0).any(axis=2)
    some = filled.any(axis=1)
    left, right = filled.argmax(axis=1), filled[:, ::-1].argmax(axis=1)
    counts = {"left": left[some].sum(), "right": right[some].sum(), "empty": (~some).sum(), "clips": len(block)}
    for name, n in counts.items():
        column.padded[name] = column.padded.get(name, 0) + int(n)


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
    is_nan, minus, infinite = np.isnan(source), np.isneginf(source), np.isinf(source)
    kept = minus & minus_inf_to_zero
    refused = bad & ~kept
    if nan == "zero":
        refused &= ~(is_nan | infinite)
    if refused.any():
        first = [int(n) for n in np.argwhere(refused)[0]]
        found, count = source[tuple(first)], int(refused.sum())
        more = f" ({count} such values)" if count > 1 else ""
        first[0] += start
        if np.isinf(found) and source.dtype.itemsize == 2:
            got = f"{found}{more} in a float16 array, which overflows beyond 65504"
            do = "Get the float32 or float64 file, or pass --nan zero to set such values to 0"
            raise column.bad(column.place(first), "a finite number", got, do)
        if np.isnan(found) or np.isinf(found):
            got = f"{'NaN' if np.isnan(found) else found}{more}"
            do = "Repair the file, or pass --nan zero to set such values to 0"
            raise column.bad(column.place(first), "a finite number", got, do)
        raise column.bad(column.place(first), "a number float32 can hold", f"{found}{more}")
    for what, where in (("NaN", is_nan), ("-inf", kept), ("inf", infinite & bad & ~kept)):
        if where.any():
            column.replaced[what] = column.replaced.get(what, 0) + int(where.sum())


def labels(value: Any, column: Column) -> NDArray[np.float64]:
    """Return labels (B,) from (B,), (B, 1), (B, 1, 1), or the first of CMU-MOSEI's seven columns, which is noted.

    Values are looked at by `labels_within`. Raises DataError on any other shape.
    """
    _each_a_number(value, column)
    array = as_numbers(value, column)
    shape = array.shape
    if array.ndim and not shape[0]:
        do = "Set some training videos aside for it: the best epoch is chosen on valid, numbers are measured on test"
        raise column.bad(column.where, "at least one clip", "an empty split", do)
    if array.ndim in (2, 3) and shape[-1] == SEVEN and array.size == SEVEN * shape[0]:
        text = f"{column.key}: seven columns, the first (sentiment) read, six emotions left out"
        column.said.note(text, column.split)
        return np.asarray(array).reshape(-1, SEVEN)[:, 0].astype(np.float64)
    if array.ndim == 0 or array.size != shape[0]:
        values = set(np.unique(np.asarray(array)).tolist()) if 0 < array.size < 1 << 20 else set()
        if array.ndim > 1 and values <= {0, 1}:
            got, do = (
                f"shape {shape} of 0 and 1: classes of emotion (IEMOCAP has them so)",
                ("Get the file of CMU-MOSI or CMU-MOSEI: classes cannot serve where a sentiment is predicted"),
            )
        else:
            got, do = f"shape {shape}", "Keep the column of the sentiment: labels[..., k]"
        raise column.bad(column.where, "one sentiment a clip", got, do)
    return np.asarray(array).reshape(-1).astype(np.float64)


def _each_a_number(value: Any, column: Column) -> None:
    """Refuse a label that is text or nothing, naming its clip."""
    if isinstance(value, FileArray) and value.dtype.kind in "SU":
        value = np.asarray(value)
    items = value.tolist() if isinstance(value, np.ndarray) and value.dtype.kind in "SU" else value
    odd = [i for i, item in enumerate(items) if _no_number(item)] if isinstance(items, list) else []
    if odd:
        first = items[odd[0]]
        got = repr(plain(first)[:30]) if isinstance(first, str | bytes) else "None"
        more = f" ({len(odd)} such labels)" if len(odd) > 1 else ""
        raise column.bad(column.place(odd[:1]), "a number", f"{got}{more}", "Leave these clips out, or label them")


def _no_number(item: Any) -> bool:
    if not isinstance(item, str | bytes):
        return item is None
    try:
        float(item)
    except ValueError:
        return True
    return False


def labels_within(y: NDArray[np.float64], column: Column, bounds: tuple[float, float] | None) -> NDArray[np.float32]:
    """Return labels as float32; DataError naming the clip of one that is not finite or outside `bounds` (None: any)."""
    low, high = bounds or (-np.finfo(np.float32).max, np.finfo(np.float32).max)
    wrong = np.flatnonzero(~((y >= low) & (y <= high)))
    if wrong.size:
        found = y[wrong[0]]
        range_ = f" in [{low:g}, {high:g}]" if bounds else ", a finite number"
        others = ", ".join(column.ids[int(i)] for i in wrong[1:4]) if column.ids else ""
        more = f" ({wrong.size} such labels; {others}{', ...' if wrong.size > 4 else ''} too)" if wrong.size > 1 else ""
        do = "Leave these clips out, or label them"
        if np.isfinite(found) and bounds:
            do = (
                f"Leave these clips out or clip them (labels.clip({low:g}, {high:g})) and say so where you report,"
                " or pass --dataset custom if the labels have another range"
            )
        raise column.bad(
            column.place([int(wrong[0])]), f"a sentiment{range_}", f"{'NaN' if np.isnan(found) else found}{more}", do
        )
    return y.astype(np.float32)


def lengths(value: Any, column: Column, steps: int) -> NDArray[np.int64]:
    """Return lengths (B,) int64; those beyond the array's steps are cut to them, which is counted and said.

    Raises DataError if one is no whole number or negative.
    """
    array = as_numbers(value, column)
    if array.ndim > 1 and array.size == array.shape[0]:
        column.said.note(f"{column.key}: axes of size 1 dropped", column.split)
        array = np.asarray(array).reshape(-1)
    if array.ndim != 1:
        raise column.bad(column.where, "one length a clip", f"shape {array.shape}")
    array = np.asarray(array, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(~((array >= 0) & (array < 2**31) & (np.floor(array) == array)))
    if wrong.size:
        raise column.bad(
            column.place([int(wrong[0])]), f"a length from 0 to {steps}, a whole number", f"{array[wrong[0]]:g}",
            "Count the steps of each clip that are not padding",
        )  # fmt: skip
    found: NDArray[np.int64] = array.astype(np.int64)
    beyond = int((found > steps).sum())
    if beyond:
        column.said.warn(
            f"{column.key} of {column.split}: {beyond} of {len(found)} lengths, up to {found.max()}, go beyond the"
            f" {steps} steps there are (the arrays were cut, the lengths not): set to {steps}"
        )
    return np.minimum(found, steps)


def token_rows(value: Any, column: Column) -> NDArray[Any] | FileArray:
    """Return token ids, mask and segments as an array (B, 3, T) of numbers, turned where it is (B, T, 3), noted."""
    array = numbers(value, column)
    if array.ndim == 3 and array.shape[2] == 3 != array.shape[1]:
        column.said.note(f"{column.key}: axes (clips, steps, 3) turned to (clips, 3, steps)", column.split)
        array = array.transpose((0, 2, 1))
    if array.ndim != 3 or array.shape[1] != 3 or not array.shape[2]:
        do = "Write token ids, mask and segments of each clip as three rows: np.stack([ids, mask, segments], axis=1)"
        raise column.bad(column.where, "an array (clips, 3, steps)", f"shape {array.shape}", do)
    return array


def tokens(array: NDArray[Any] | FileArray, column: Column) -> NDArray[np.int64]:
    """Return token ids, mask and segments (B, 3, T) as int64; DataError unless all are whole and the mask is 0 or 1."""
    top = np.array([2**31, 2, 2**31])[:, None]  # ids, mask, segments: exclusive bounds
    out = np.empty(array.shape, dtype="<i8")
    for start, block in array.blocks() if isinstance(array, FileArray) else _blocks(array):
        with np.errstate(invalid="ignore"):
            wrong = np.argwhere(~((block >= 0) & (block < top) & (np.floor(block) == block)))
            out[start : start + len(block)] = block
        if wrong.size:
            clip, row, step = (int(n) for n in wrong[0])
            what = ("a token id", "a mask of 0 or 1", "a segment number")[row]
            do = "The rows are token ids, mask, segments in this order: check that they are not swapped"
            raise column.bad(f"{column.place([clip + start])}, step {step}", what, f"{block[clip, row, step]}", do)
    return out


def identifiers(value: Any, column: Column, n: int) -> tuple[str, ...]:
    """Return n ids as text, the parts of a row joined with `$_$`; DataError on another number or kind."""
    if isinstance(value, FileArray):
        value = np.asarray(value)
    if isinstance(value, Foreign):
        raise column.bad(column.where, "one id a clip, as text", value.what, value.do)
    if isinstance(value, list):
        small = [isinstance(item, np.ndarray) and item.dtype.kind in "SUfiu" for item in value]
        value = [item.tolist() if is_small else item for item, is_small in zip(value, small, strict=True)]
    if isinstance(value, list) and any(isinstance(item, list) for item in value):
        if not all(isinstance(item, list) and len(item) == len(value[0]) for item in value):
            raise column.bad(column.where, "one id a clip", "rows of different lengths")
        rows = value
    elif isinstance(value, list):
        rows = [[item] for item in value]
    elif isinstance(value, np.ndarray) and value.dtype.kind in "SUfiu" and value.ndim in (1, 2) and value.size:
        try:
            rows = value.reshape(len(value), -1).tolist()
        except ValueError as error:  # bytes that are no text
            raise column.bad(column.where, "ids as text", "bytes that are no text") from error
    else:
        got = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else kind_of(value)
        raise column.bad(column.where, "one id a clip, as text", got, "Write the ids as a list of text")
    if len(rows) != n:
        raise column.bad(column.where, f"{n} ids, one a clip", f"{len(rows)}")
    return tuple("$_$".join(_text(part, column) for part in row) for row in rows)


def _text(part: Any, column: Column) -> str:
    if isinstance(part, bytes):
        part = part.decode("utf-8", "backslashreplace")
    if isinstance(part, np.generic):
        part = part.item()
    if isinstance(part, float) and math.isnan(part):
        raise column.bad(column.where, "one id a clip", "NaN", "Name the clips, or leave the id column out")
    if isinstance(part, float) and part.is_integer():
        part = int(part)
    if not isinstance(part, str | int | float) or not str(part).isprintable():
        raise column.bad(column.where, "ids as printable text", repr(part)[:60])
    return str(part).strip()
