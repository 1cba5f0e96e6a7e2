"""What the few names a feature pickle may use stand for: small builders of our own, never numpy's functions.

One set is made for each file. Bytes become an array only after shape, dtype and size agree, and what is copied on the
way is counted, so that a small file cannot unfold into a large one.
"""

from __future__ import annotations

import codecs
import math
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmd_repro.data.pickle_gate.filearray import ByteSource, FileArray, Span
from dmd_repro.data.pickle_gate.foreign import Foreign

_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|[SU]\d{0,9})")
_PIECE = 1 << 22  # bytes decoded together
_COPIES = 4  # an honest old file copies each array at most twice on the way


class Refused(Exception):
    """Something in a pickle is not on the list: (expected, got, do)."""


class Dtype:
    """A dtype as the pickle describes it: plain numbers, bool, bytes or text of a fixed width, or Python objects.

    Any other one is known by name only (`plain` False): an array of it is not read.
    """

    __slots__ = ("order", "plain", "spec")

    def __init__(self, spec: object) -> None:
        text = spec.decode("latin1") if isinstance(spec, bytes) else spec
        self.plain = isinstance(text, str) and bool(_DTYPE.fullmatch(text))
        self.spec = text.lstrip("<>|=") if isinstance(text, str) else "of another kind"
        self.order = text[0] if isinstance(text, str) and text[:1] in ("<", ">") else "="

    @property
    def objects(self) -> bool:
        """Whether an array of it holds Python objects."""
        return self.spec in ("O", "O4", "O8")

    def __setstate__(self, state: object) -> None:
        """Take numpy's state (3, byte order, no sub-array, no names, no fields, size, alignment, flags)."""
        if not self.plain:
            return
        plain = isinstance(state, tuple) and len(state) == 8 and state[0] == 3 and state[2:5] == (None, None, None)
        order = state[1] if plain else None  # type: ignore[index]
        order = order.decode("latin1") if isinstance(order, bytes) else order
        if order not in ("<", ">", "|", "="):
            raise malformed("a dtype whose state is another than its name says")
        self.order = order if order in "<>" else "="
        size, alignment, flags = state[5:]  # type: ignore[index]
        if self.spec[0] in "SU":
            good = size in (-1, self.dtype.itemsize) and alignment in (-1, 1, 4) and flags in (0, 8)
        else:
            good = (size, alignment, flags) == (-1, -1, 0)
        if not good:
            raise malformed("a dtype whose size is another than its name says")

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.spec).newbyteorder(self.order)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Objects:
    """An array of Python objects: its shape, and the objects in C order."""

    shape: tuple[int, ...]
    items: list[Any]


class Array:
    """An array as the pickle describes it; `value` is there once the pickle has given shape, dtype and bytes."""

    __slots__ = ("_builders", "value")

    def __init__(self, builders: Builders, value: NDArray[Any] | FileArray | Objects | Foreign | None = None) -> None:
        self._builders, self.value = builders, value

    def __setstate__(self, state: object) -> None:
        """Take numpy's state (1, shape, dtype, Fortran order?, bytes)."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise malformed("an array state of another form")
        version, shape, dtype, fortran, raw = state
        if version != 1:
            raise malformed("an array state of another version")
        self.value = self._builders.build(raw, dtype, shape, "F" if fortran is True or fortran == 1 else "C")


class Name:
    """What an allowed name stands for while reading. No attribute can be set on it, so a pickle cannot alter it."""

    __slots__ = ()

    def __call__(self, *arguments: Any) -> Any:
        raise malformed("a call of something that is no function")


def named(build: Callable[..., Any]) -> Name:
    """Return an allowed name that stands for a function of ours."""

    def call(self: Name, *arguments: Any) -> Any:
        return build(*arguments)

    return type("Name", (Name,), {"__slots__": (), "__call__": call})()


class Builders:
    """The allowed names for one file of `size` bytes: `names[module, name]`.

    Old protocols write bytes as text; a big one is decoded into a nameless file in the folder `scratch`.
    """

    def __init__(self, size: int, scratch: Path | None = None) -> None:
        self._left = _COPIES * size + (1 << 20)
        self._scratch = scratch
        self._ndarray = Name()
        self.names: dict[tuple[str, str], Name] = {
            ("numpy", "ndarray"): self._ndarray,
            ("numpy", "dtype"): named(lambda spec, align=False, copy=False: Dtype(spec)),
            ("_codecs", "encode"): named(self.encode),
            ("collections", "OrderedDict"): named(self.mapping),
            ("collections", "defaultdict"): named(self.defaults),
        }
        for package in ("numpy.core", "numpy._core"):  # numpy 1, numpy 2
            self.names[package + ".multiarray", "_reconstruct"] = named(self.reconstruct)
            self.names[package + ".multiarray", "scalar"] = named(self.scalar)
            self.names[package + ".numeric", "_frombuffer"] = named(self.frombuffer)
        for package in ("builtins", "__builtin__"):
            self.names[package, "bytes"] = named(lambda: b"")  # how protocols 0 to 2 spell b""

    def build(
        self, raw: object, dtype: object, shape: object, order: str
    ) -> NDArray[Any] | FileArray | Objects | Foreign:
        """Return an array over the bytes, which are not copied, after every size is checked against them."""
        if not isinstance(dtype, Dtype) or not isinstance(shape, tuple | list):
            raise malformed("an array without dtype or shape")
        if dtype.objects:
            return self._objects(raw, shape)
        if not dtype.plain:
            return Foreign(f"an array of dtype {short(dtype.spec, quote=False)}", "Save it as float32, or as text")
        if isinstance(raw, str) or (isinstance(raw, Span) and raw.text):
            raw = self.encode(raw)  # Python 2 wrote bytes as str; they were decoded as latin1
        if not isinstance(raw, bytes | bytearray | Span):
            raise malformed("an array whose content is not bytes")
        if not all(type(n) is int and 0 <= n < 2**48 for n in shape) or len(shape) > 8:
            raise malformed("an array with an impossible shape")
        count, kind, size = math.prod(shape), dtype.dtype, raw.length if isinstance(raw, Span) else len(raw)
        if count * kind.itemsize != size:
            raise malformed(f"an array of {size} bytes for shape {tuple(shape)} of {kind}")
        if isinstance(raw, Span):
            if order == "C":
                return FileArray(raw, kind, tuple(shape))
            return FileArray(raw, kind, tuple(shape[::-1]), tuple(range(len(shape)))[::-1])
        if not raw:
            return np.empty(shape, dtype=kind)
        array = np.frombuffer(raw, dtype=kind, count=count)
        array = array.reshape(tuple(shape), order=order)  # type: ignore[call-overload]
        array.flags.writeable = False
        return array

    def _objects(self, raw: object, shape: tuple[Any, ...] | list[Any]) -> Objects:
        if type(raw) is not list or not all(type(n) is int and n >= 0 for n in shape) or len(shape) > 8:
            raise malformed("an object array that is no list of objects")
        if math.prod(shape) != len(raw):
            raise malformed(f"an object array of {len(raw)} objects for shape {short(tuple(shape))}")
        return Objects(tuple(shape), raw)

    def reconstruct(self, kind: object, shape: object, code: object) -> Any:
        """Stand for numpy's `_reconstruct`: an array to be filled by its state."""
        if kind is self._ndarray:
            return Array(self)
        value = getattr(kind, "value", None)  # the name of another kind of array
        if isinstance(value, Foreign):
            return value
        raise malformed("a subclass of array")

    def frombuffer(self, raw: object, dtype: object, shape: object, order: object, axes: object = None) -> Array:
        """Stand for numpy's `_frombuffer` (protocol 5)."""
        if order in ("C", "F"):
            return Array(self, self.build(raw, dtype, shape, str(order)))
        if order == "K" and isinstance(axes, tuple | list) and sorted(axes) == list(range(len(axes))):
            array = self.build(raw, dtype, shape, "C")
            if isinstance(array, np.ndarray | FileArray) and array.ndim == len(axes):
                return Array(self, array.transpose(tuple(axes)))
        raise malformed(f"an array in order {short(order)}")

    def scalar(self, dtype: object, raw: object = b"") -> Any:
        """Stand for numpy's `scalar`."""
        if isinstance(dtype, Dtype) and not dtype.plain:
            return Foreign(f"a value of dtype {short(dtype.spec, quote=False)}", "Write it as a number or as text")
        array = self.build(raw, dtype, (), "C")
        return np.asarray(array)[()]

    def defaults(self, factory: object = None) -> dict[Any, Any]:
        """Stand for `defaultdict`: a plain dict, for nothing that is absent is ever asked for."""
        return {}

    def encode(self, text: object, encoding: object = "latin1") -> bytes | Span:
        """Stand for `codecs.encode`: bytes that protocols 0 to 2 spell as latin1 text."""
        if not isinstance(text, str | Span) or encoding not in ("latin1", "latin-1"):
            raise malformed("bytes in another spelling than latin1")
        self._charge(text.length if isinstance(text, Span) else len(text))
        return self._decoded(text) if isinstance(text, Span) else text.encode("latin1")

    def _decoded(self, span: Span) -> Span:
        if not span.text:
            return span
        decoder = codecs.getincrementaldecoder("utf-8")()
        file = tempfile.TemporaryFile(dir=self._scratch)  # noqa: SIM115 (as long as the array is used)
        for start in range(0, span.length, _PIECE):
            n = min(_PIECE, span.length - start)
            text = decoder.decode(span.source.read(span.offset + start, n).tobytes(), final=start + n == span.length)
            file.write(text.encode("latin1"))
        file.flush()
        source = ByteSource(span.source.path, file)
        source.on_read = lambda n: span.source.on_read(n)
        return Span(source, 0, source.size)

    def mapping(self, items: object = ()) -> dict[Any, Any]:
        """Stand for `OrderedDict`."""
        if not isinstance(items, list | tuple):
            raise malformed("an ordered dict of something else")
        self._charge(100 * len(items))
        if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in items):
            raise malformed("an ordered dict of something else")
        return {key: value for key, value in items if self._is_key(key)}

    @staticmethod
    def _is_key(key: object) -> bool:
        if not isinstance(key, str | bytes | int):  # a nest of tuples would end the process when it is hashed
            raise malformed("a dict whose keys are no text")
        return True

    def _charge(self, n: int) -> None:
        self._left -= n
        if self._left < 0:
            raise malformed("a pickle that unfolds to many times its size")


def malformed(got: str) -> Refused:
    return Refused("arrays as numpy pickles them", got, "Get the file again from its source")


def short(value: object, *, quote: bool = True) -> str:
    text = "".join(c if c.isprintable() else "?" for c in (repr(value) if quote else str(value)))
    return text if len(text) <= 80 else text[:77] + "..."
