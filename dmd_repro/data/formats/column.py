"""Where a value is, for messages, and the sentence for a column of another kind than it should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmd_repro.data.formats.names import kind_of
from dmd_repro.data.formats.said import ImportNotes
from dmd_repro.data.pickle_gate.filearray import FileArray
from dmd_repro.data.pickle_gate.foreign import Foreign
from dmd_repro.errors import DataError

PAD = "Pad every clip with zeros on the left to one length, the same in all splits, and give lengths if they matter"


@dataclass(slots=True)
class Column:
    """Where a column is, what is said of it, and how many of its values were replaced."""

    file: str
    split: str
    key: str
    ids: Sequence[str] = ()
    said: ImportNotes = field(default_factory=ImportNotes)
    published: bool = False  # the file has the official number of clips
    replaced: dict[str, int] = field(default_factory=dict)  # {"-inf": n, "NaN": n}
    padded: dict[str, int] = field(default_factory=dict)  # zero steps at the left and right end, clips of zeros alone

    @property
    def where(self) -> str:
        return f"{self.file}, {self.key} of {self.split}"

    def place(self, index: Sequence[int]) -> str:
        """Name the clip, the step and the channel of a value."""
        clip = f"clip {self.ids[index[0]]}" if index[0] < len(self.ids) else f"clip number {index[0]}"
        names = [clip, *(f"{axis} {n}" for axis, n in zip(("step", "channel"), index[1:], strict=False))]
        return f"{self.where}, {', '.join(names)}"

    def bad(self, where: str, expected: str, got: str, do: str = "") -> DataError:
        """Return the error for something in this column."""
        usual = "Check that this is the published file" if self.published else "Correct this column and import again"
        return DataError.at(where, expected=expected, got=got, do=do or usual)


def numbers(value: Any, column: Column) -> NDArray[Any] | FileArray:
    """Return a column as an array of numbers; DataError if it is text, ragged or anything else."""
    if isinstance(value, list):
        value = _stacked(value, column)
    if isinstance(value, Foreign):
        raise column.bad(column.where, "an array of numbers", value.what, value.do)
    array = isinstance(value, np.ndarray | FileArray)
    if not array or value.dtype.kind not in "fiu":
        got = f"an array of {_kind(value.dtype)}" if array else kind_of(value)
        raise column.bad(column.where, "an array of numbers", got, _how(value) if array else "")
    found: NDArray[Any] | FileArray = value
    return found


def as_numbers(value: Any, column: Column) -> NDArray[Any] | FileArray:
    """Return `numbers`, from text too where each entry is one number ('1.4')."""
    texts = np.asarray(value) if isinstance(value, FileArray) and value.dtype.kind in "SU" else value
    if isinstance(texts, np.ndarray) and texts.dtype.kind in "SU":
        texts = texts.tolist()
    if isinstance(texts, list) and texts and all(isinstance(t, str | bytes) for t in texts):
        try:
            found = np.array([float(t) for t in texts])
        except (ValueError, UnicodeDecodeError):
            return numbers(value, column)
        column.said.note(f"{column.key}: text read as numbers", column.split)
        return found
    return numbers(value, column)


def fits(array: NDArray[Any] | FileArray, column: Column, known: dict[str, int], steps: str, width: str) -> None:
    """Check the shape (clips, steps, channels) against what is known, and add to it."""
    n, t, d = array.shape
    if n != known["B"]:
        turned = (
            "The axes look turned: write x.transpose(1, 0, 2) in place of x in all splits" if t == known["B"] else ""
        )
        wanted = f"{known['B']} clips, as many as labels"
        raise column.bad(column.where, wanted, f"{n}, shape {array.shape}", turned)
    if known.setdefault(steps, t) != t:
        raise column.bad(column.where, f"{known[steps]} steps, as in train", f"{t}", PAD)
    if known.setdefault(width, d) != d:
        raise column.bad(column.where, f"{known[width]} channels, as in train", f"{d}")


def _stacked(value: list[Any], column: Column) -> Any:
    foreign = next((item for item in value if isinstance(item, Foreign)), None)
    if foreign is not None:
        return foreign
    arrays = [item for item in value if isinstance(item, np.ndarray | FileArray)]
    if len(arrays) == len(value) and len({item.shape for item in arrays}) > 1:
        raise _ragged(column, [item.shape for item in arrays])
    try:
        return np.array(value)
    except (ValueError, OverflowError, TypeError) as error:  # rows of different lengths
        if value and all(isinstance(item, list) for item in value) and len({len(item) for item in value}) > 1:
            raise _ragged(column, [(len(item),) for item in value]) from error
        raise column.bad(
            column.where, "an array of numbers", "rows of different lengths or huge numbers", PAD
        ) from error


def _ragged(column: Column, shapes: list[tuple[int, ...]]) -> DataError:
    lengths = [shape[0] if shape else 0 for shape in shapes]
    same = len({shape[1:] for shape in shapes}) == 1 and len(set(lengths)) > 1
    got = f"clips of different lengths, {min(lengths)} to {max(lengths)} steps" if same else "clips of different shapes"
    return column.bad(column.where, "clips of one length", got, PAD)


def _kind(dtype: np.dtype[Any]) -> str:
    return {"S": "text", "U": "text", "b": "yes or no (bool)", "O": "mixed objects"}.get(dtype.kind, str(dtype))


def _how(value: Any) -> str:
    if value.dtype.kind in "SU":
        return "Write the numbers, not the words: text needs a vector for each word"
    return "Write it as float32: x.astype('float32')" if value.dtype.kind == "b" else "Write one array of numbers"
