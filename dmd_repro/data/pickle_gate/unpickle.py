"""Read a stranger's pickle without running anything in it.

A pickle is a program: it may name any function and call it. This reader lets it name only what a file of arrays needs,
and even those names stand for our own small builders (`builders.py`). Any other name is refused when it is read, before
anything is called (`reader.py`); lengths, memo numbers and the size of all that is no array are checked before that
(`opcodes.py`). Big arrays are not read here at all: they stay in the file (`filearray.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from dmd_repro.data.pickle_gate.builders import Array, Builders, Dtype, Name, Objects, Refused, malformed, short
from dmd_repro.data.pickle_gate.filearray import ByteSource, Span
from dmd_repro.data.pickle_gate.foreign import Foreign
from dmd_repro.data.pickle_gate.opcodes import TooMuch, Walked, walk
from dmd_repro.data.pickle_gate.reader import ForeignName, Reader
from dmd_repro.errors import DataError

_LONGEST_TEXT = 1 << 24  # bytes of one text that is no array
_DEPTH = 8  # feature files nest four deep: splits, columns, lists, items
_PROTOCOL_0 = re.compile(rb"[(\]}]|c[\w.]+\n\w+\n")  # how the oldest protocol starts: it is text too
ZIP, NPY = b"PK\x03\x04", b"\x93NUMPY"
_LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_PACKED = {
    b"\xfd7zXZ\x00": ("an xz archive", "Unpack it first: xz -dc {name} > NEW.pkl"),
    b"\x1f\x8b": ("a gzip archive", "Unpack it first: gunzip -c {name} > NEW.pkl"),
    b"BZh": ("a bzip2 archive", "Unpack it first: bunzip2 -c {name} > NEW.pkl"),
    b"\x28\xb5\x2f\xfd": ("a zstd archive", "Unpack it first: zstd -dc {name} > NEW.pkl"),
    b"7z\xbc\xaf": ("a 7z archive", "Unpack it first: 7z x {name}"),
    b"\x89HDF": (
        "an HDF5 file (.csd of the CMU SDK, or MATLAB 7.3)",
        "Write its columns under train, valid and test with pickle, or get the file of the MMSA or MulT family",
    ),
    b"MATLAB 5.0": (
        "a MATLAB file",
        "Read it with scipy.io.loadmat, write its columns under train, valid and test with pickle",
    ),
    _LEGACY_TORCH: (
        "a file of torch.save in its form before torch 1.6",
        "Save it anew, if you trust where it is from: torch.save(torch.load('{name}'), 'NEW.pt')",
    ),
}


def open_source(path: Path) -> ByteSource:
    """Open a file that may be a pickle; DataError if it is none at first sight."""
    where = str(path)
    if not path.is_file():
        got = "a folder" if path.is_dir() else "nothing there"
        raise DataError.at(where, expected="a feature file (.pkl)", got=got, do="Check the path")
    try:
        source = ByteSource(path)
        with path.open("rb") as file:
            _check_head(path, file.read(512))
        return source
    except OSError as error:
        raise _refused_by_disk(where, error) from error


def load(source: ByteSource, scratch: Path | None = None) -> Any:
    """Read an open pickle (see `containers.load_file`); the arrays stay usable until the source is closed."""
    return read_with(source, lambda file: Reader(file, source, Builders(source.size, scratch).names))[0]


def read_with(source: ByteSource, make: Callable[[BinaryIO], Reader], *, keep: bool = True) -> tuple[Any, Walked]:
    """Walk over the file, then read it with a reader; every failure is a DataError. `keep` False drops the content."""
    where, head = str(source.path), b""
    try:
        with source.stream() as file:
            head = file.read(512)
            file.seek(0)
            try:
                walked = walk(file, source.size)
                file.seek(0)
                content = make(file).load()
                return (_plain(content, _DEPTH, {}) if keep else None), walked
            except (Refused, OSError, DataError):
                raise
            except TooMuch as error:
                raise Refused(
                    "a feature file: arrays, and little besides",
                    str(error),
                    "Save every column as one array of numbers or of text",
                ) from error
            except (Exception, RecursionError) as error:  # any: the bytes are a stranger's program
                raise _unreadable(where, head, error) from error
    except Refused as refused:
        expected, got, do = refused.args
        raise DataError.at(where, expected=expected, got=got, do=do) from None
    except OSError as error:
        raise _refused_by_disk(where, error) from error


def _refused_by_disk(where: str, error: OSError) -> DataError:
    got = error.strerror or str(error)
    return DataError.at(where, expected="a file that can be read", got=got, do="Check its permissions and disk")


def refused_file(path: Path, got: str, do: str) -> DataError:
    """Return the error for a file that is another thing than a file of features."""
    return DataError.at(str(path), expected="a pickle of features", got=got, do=do)


def _check_head(path: Path, head: bytes) -> None:
    if head[257:262] == b"ustar":
        raise refused_file(path, "a tar archive", f"Unpack it first (tar -xf {path.name}) and import the file inside")
    if not head:
        raise DataError.at(str(path), expected="a feature file (.pkl)", got="an empty file", do="Get the file again")
    for magic, (what, do) in _PACKED.items():
        if head.startswith(magic):
            raise refused_file(path, what, do.format(name=path.name))
    if not head.strip(b"\x00"):
        raise refused_file(path, "nothing but zero bytes: a download that was never filled", "Download it again")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"version https://git-lfs")):
        raise refused_file(path, "a web page or a pointer in place of the file", "Download the file itself")


def _unreadable(where: str, head: bytes, error: BaseException) -> DataError:
    text = all(byte in b"\t\n\r\x0b\x0c" or 32 <= byte < 127 for byte in head)
    old = _PROTOCOL_0.match(head)
    if isinstance(error, MemoryError):
        got, do = "one that asks for more memory than there is", "Use a machine with more memory, or get the file again"
    elif text and not old:
        got, do = _text_file(where, head)
    elif head.startswith(b"\x80") or old:
        got, do = f"a truncated or damaged one ({short(error, quote=False)})", "Get the file again"
    else:
        got, do = "something else", "Import the .pkl file of features"
    expected = "a complete pickle" if "truncated" in got else "a pickle of features"
    return DataError.at(where, expected=expected, got=got, do=do)


def _text_file(where: str, head: bytes) -> tuple[str, str]:
    """Say what a file of text is, and what it is good for."""
    first = head.splitlines()[0] if head else b""
    if b"video_id" in first and b"label" in first:
        return (
            "a list of clips and labels (CSV)",
            f"It goes with features: dmd data check NAME --labels {Path(where).name}",
        )
    if head.lstrip()[:1] in (b"{", b"["):
        return "a JSON file", "Write its columns as numpy arrays, with pickle"
    return "a text file", "Import the .pkl file of features"


def _plain(value: Any, depth: int, seen: dict[int, Any]) -> Any:
    """Return the value with every array in place of its description; refuse what nests deeper than features do."""
    if isinstance(value, Array):
        if value.value is None:
            raise malformed("an array without content")
        value = value.value
    if isinstance(value, ForeignName):
        return value.value
    if isinstance(value, Dtype):
        return Foreign("a dtype", "Write str(dtype)")
    if isinstance(value, Name):
        raise malformed("a name in place of a value")
    if not isinstance(value, dict | list | tuple | Span | Objects):
        return value
    if id(value) not in seen:  # shared parts once: a small pickle can describe a huge tree
        if depth == 0:
            raise malformed("containers nested too deep")
        seen[id(value)] = None  # a container that holds itself
        if isinstance(value, Span):
            if value.length > _LONGEST_TEXT:
                raise malformed(f"a text of {value.length >> 20} MB")
            raw = value.read()
            seen[id(value)] = raw.decode("utf-8") if value.text else raw
        elif isinstance(value, dict):
            if not all(isinstance(key, str | bytes | int) for key in value):
                raise malformed("a dict whose keys are no text")
            seen[id(value)] = {k: _plain(v, depth - 1, seen) for k, v in value.items()}
        elif isinstance(value, Objects):
            items = [_plain(v, depth - 1, seen) for v in value.items]
            for n in reversed(value.shape[1:]):
                items = [items[i : i + n] for i in range(0, len(items), n)] if n else []
            seen[id(value)] = items if value.shape else items[0]
        else:
            seen[id(value)] = [_plain(v, depth - 1, seen) for v in value]
    return seen[id(value)]
