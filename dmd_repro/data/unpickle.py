"""Read a stranger's pickle without running anything in it.

A pickle is a program: it may name any function and call it. This reader lets it name only what a file of arrays needs,
and even those names stand for our own small builders, never for numpy's: bytes become arrays only after every size is
checked. Any other name is refused when it is read, before anything is called.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmd_repro.errors import DataError

_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|[SU]\d{0,9})")
_DEPTH = 8  # feature files nest four deep: splits, columns, lists, items
_PACKED = {
    b"\xfd7zXZ\x00": ("an xz archive", "Unpack it first: xz -dk {name} (or Python's lzma)"),
    b"\x1f\x8b": ("a gzip archive", "Unpack it first: gunzip -k {name}"),
    b"BZh": ("a bzip2 archive", "Unpack it first: bunzip2 -k {name}"),
    b"PK\x03\x04": ("a zip archive (or a file of torch.save)", "Unpack it and import the .pkl file inside"),
    b"\x28\xb5\x2f\xfd": ("a zstd archive", "Unpack it first: zstd -dk {name}"),
    b"7z\xbc\xaf": ("a 7z archive", "Unpack it first: 7z x {name}"),
    b"\x93NUMPY": ("a single numpy array", "Import the published .pkl file"),
    b"\x89HDF": ("an HDF5 file", "Import the published .pkl file"),
}


class _Refused(Exception):
    """Something in the pickle is not on the list: (expected, got, do)."""


class _Dtype:
    """A dtype as the pickle describes it: plain numbers, bool, bytes or text of a fixed width."""

    __slots__ = ("order", "spec")

    def __init__(self, spec: object) -> None:
        text = spec.decode("latin1") if isinstance(spec, bytes) else spec
        if isinstance(text, str) and text.lstrip("<>|=").startswith("O"):
            raise _Refused(
                "arrays of numbers or of fixed-width text",
                "an object array (dtype O)",
                "Save the features as float arrays and the ids as a list of strings",
            )
        if not isinstance(text, str) or not _DTYPE.fullmatch(text):
            raise _Refused(
                "arrays of numbers or of fixed-width text", f"dtype {_short(spec)}", "Save the features as float32"
            )
        self.spec, self.order = text.lstrip("<>|="), text[0] if text[0] in "<>" else "="

    def __setstate__(self, state: object) -> None:
        """Take numpy's state (3, byte order, no sub-array, no names, no fields, size, alignment, flags)."""
        plain = isinstance(state, tuple) and len(state) == 8 and state[0] == 3 and state[2:5] == (None, None, None)
        order = state[1] if plain else None  # type: ignore[index]
        order = order.decode("latin1") if isinstance(order, bytes) else order
        if order not in ("<", ">", "|", "="):
            raise _Refused("plain arrays", "a structured or unknown dtype", "Save the features as float32 arrays")
        self.order = order if order in "<>" else "="

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.spec).newbyteorder(self.order)  # type: ignore[arg-type]


class _Array:
    """An array as the pickle describes it; `value` is there once the pickle has given shape, dtype and bytes."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: NDArray[Any] | None = None

    def __setstate__(self, state: object) -> None:
        """Take numpy's state (1, shape, dtype, Fortran order?, bytes)."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise _malformed("an array state of another form")
        _, shape, dtype, fortran, raw = state
        self.value = _build(raw, dtype, shape, "F" if fortran is True or fortran == 1 else "C")


def _build(raw: object, dtype: object, shape: object, order: str) -> NDArray[Any]:
    """Return the array; the bytes are not copied. Every size is checked against the bytes that are really there."""
    if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple | list):
        raise _malformed("an array without dtype or shape")
    if isinstance(raw, str):  # Python 2 wrote bytes as str; they were decoded as latin1
        raw = raw.encode("latin1")
    if isinstance(raw, list):
        raise _Refused("arrays of numbers", "an object array", "Save the features as float arrays")
    if not isinstance(raw, bytes | bytearray | memoryview):
        raise _malformed("an array whose content is not bytes")
    if not all(type(n) is int and 0 <= n < 2**48 for n in shape) or len(shape) > 8:
        raise _malformed("an array with an impossible shape")
    count, kind = math.prod(shape), dtype.dtype
    if count * kind.itemsize != len(raw):
        raise _malformed(f"an array of {len(raw)} bytes for shape {tuple(shape)} of {kind}")
    if not raw:
        return np.empty(shape, dtype=kind)
    array = np.frombuffer(raw, dtype=kind, count=count).reshape(tuple(shape), order=order)  # type: ignore[call-overload]
    array.flags.writeable = False
    return array


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    if kind is not _NDARRAY:
        raise _malformed("a subclass of array")
    return _Array()


def _frombuffer(raw: object, dtype: object, shape: object, order: object, axes: object = None) -> _Array:
    array = _Array()
    if order in ("C", "F"):
        array.value = _build(raw, dtype, shape, str(order))
    elif order == "K" and isinstance(axes, tuple | list) and sorted(axes) == list(range(len(axes))):
        array.value = _build(raw, dtype, shape, "C").transpose(axes)
    else:
        raise _malformed(f"an array in order {_short(order)}")
    return array


def _scalar(dtype: object, raw: object = b"") -> Any:
    return _build(raw, dtype, (), "C")[()]


def _encode(text: object, encoding: object = "latin1") -> bytes:
    """Return bytes that protocols 0 to 2 spell as text."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _malformed("bytes in another spelling than latin1")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


def _mapping(items: object = ()) -> dict[Any, Any]:
    return dict(items)  # type: ignore[call-overload]


class _Name:
    """What an allowed name stands for while reading. No attribute can be set on it, so a pickle cannot alter it."""

    __slots__ = ()

    def __call__(self, *arguments: Any) -> Any:
        raise _malformed("a call of something that is no function")


def _name(build: Callable[..., Any]) -> _Name:
    def call(self: _Name, *arguments: Any) -> Any:
        return build(*arguments)

    return type("_Name", (_Name,), {"__slots__": (), "__call__": call})()


_NDARRAY = _Name()
_ALLOWED: dict[tuple[str, str], _Name] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _name(lambda spec, align=False, copy=False: _Dtype(spec)),
    ("_codecs", "encode"): _name(_encode),
    ("collections", "OrderedDict"): _name(_mapping),
}
for _package in ("numpy.core", "numpy._core"):  # numpy 1, numpy 2
    _ALLOWED[_package + ".multiarray", "_reconstruct"] = _name(_reconstruct)
    _ALLOWED[_package + ".multiarray", "scalar"] = _name(_scalar)
    _ALLOWED[_package + ".numeric", "_frombuffer"] = _name(_frombuffer)
for _package in ("builtins", "__builtin__"):
    _ALLOWED[_package, "bytes"] = _name(_no_bytes)  # how protocols 0 to 2 spell b""


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _Refused(
                "only arrays, text and numbers",
                f"a pickle that would call {_short(f'{module}.{name}', quote=False)}; nothing was run",
                "Do not load this file with other tools; get it again from its source",
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused(
            "only arrays, text and numbers", "a pickle that points outside itself", "Import the published file"
        )


def load_pickle(path: Path) -> Any:
    """Return the content of a pickle (protocols 0 to 5, Python 2 or 3) as dicts, lists, text, numbers and arrays.

    Arrays are read-only views of the bytes read. Raises DataError, and runs nothing, if the file is missing, empty,
    truncated, packed, no pickle, or names anything outside the list.
    """
    where = str(path)
    if not path.is_file():
        got = "a folder" if path.is_dir() else "nothing there"
        raise DataError.at(where, expected="a feature file (.pkl)", got=got, do="Check the path")
    try:
        with path.open("rb") as file:
            head = file.read(512)
            _check_head(path, head)
            file.seek(0)
            try:
                value = _plain(_Reader(file, encoding="latin1").load(), _DEPTH, {})
            except (_Refused, OSError):
                raise
            except (Exception, RecursionError) as error:  # any: the bytes are a stranger's program
                raise _unreadable(where, head, error) from error
            if file.read(1):
                raise DataError.at(
                    where, expected="one pickle", got="more bytes after its end", do="Get the file again"
                )
    except _Refused as refused:
        expected, got, do = refused.args
        raise DataError.at(where, expected=expected, got=got, do=do) from None
    except OSError as error:
        raise DataError.at(
            where,
            expected="a file that can be read",
            got=error.strerror or str(error),
            do="Check its permissions and disk",
        ) from error
    return value


def _check_head(path: Path, head: bytes) -> None:
    if not head:
        raise DataError.at(str(path), expected="a feature file (.pkl)", got="an empty file", do="Get the file again")
    for magic, (what, do) in _PACKED.items():
        if head.startswith(magic):
            raise DataError.at(str(path), expected="a pickle", got=what, do=do.format(name=path.name))
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"version https://git-lfs")):
        raise DataError.at(
            str(path),
            expected="a pickle",
            got="a web page or a pointer in place of the file",
            do="Download the file itself",
        )


def _unreadable(where: str, head: bytes, error: BaseException) -> DataError:
    text = all(byte in b"\t\n\r\x0b\x0c" or 32 <= byte < 127 for byte in head)
    if isinstance(error, MemoryError):
        got, do = "one that asks for more memory than there is", "Use a machine with more memory, or get the file again"
    elif text and not head.startswith((b"(", b"]", b"}", b"c")):  # protocol 0 starts so, and is text too
        got, do = "a text file", "Import the .pkl file of features"
    elif head.startswith(b"\x80") or text:
        got, do = f"a truncated or damaged one ({_short(error, quote=False)})", "Get the file again"
    else:
        got, do = "something else", "Import the .pkl file of features"
    return DataError.at(where, expected="a complete pickle", got=got, do=do)


def _plain(value: Any, depth: int, seen: dict[int, Any]) -> Any:
    """Return the value with every array in place of its description; refuse what nests deeper than features do."""
    if isinstance(value, _Array):
        if value.value is None:
            raise _malformed("an array without content")
        return value.value
    if isinstance(value, _Dtype | _Name | set | frozenset):
        raise _malformed(f"a {type(value).__name__.strip('_').lower()} in place of a value")
    if not isinstance(value, dict | list | tuple):
        return value
    if id(value) not in seen:  # shared parts once: a small pickle can describe a huge tree
        if depth == 0:
            raise _malformed("containers nested too deep")
        seen[id(value)] = None  # a container that holds itself
        if isinstance(value, dict):
            if not all(isinstance(key, str | bytes | int) for key in value):
                raise _malformed("a dict whose keys are no text")
            seen[id(value)] = {k: _plain(v, depth - 1, seen) for k, v in value.items()}
        else:
            seen[id(value)] = [_plain(v, depth - 1, seen) for v in value]
    return seen[id(value)]


def _malformed(got: str) -> _Refused:
    return _Refused("arrays as numpy pickles them", got, "Get the file again from its source")


def _short(value: object, *, quote: bool = True) -> str:
    text = "".join(c if c.isprintable() else "?" for c in (repr(value) if quote else str(value)))
    return text if len(text) <= 80 else text[:77] + "..."
