"""Other containers than a pickle: files of torch.save (zip), .npz and .npy, read without torch and by the gate.

What lies uncompressed in a zip is a section of the file: its arrays stay where they are, its pickles go through the
gate like any other. A compressed array of a `.npz` is unpacked, a few megabytes at a time, into a file without a name.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from dmd_repro.data.pickle_gate.builders import Builders, Dtype, Name, Refused, named
from dmd_repro.data.pickle_gate.filearray import ByteSource, FileArray, Span
from dmd_repro.data.pickle_gate.foreign import Foreign
from dmd_repro.data.pickle_gate.reader import ForeignName, Reader
from dmd_repro.data.pickle_gate.unpickle import NPY, ZIP, load, open_source, read_with, refused_file
from dmd_repro.errors import DataError

_MOST = 20_000  # members of a zip
_STORAGES = {
    "FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "LongStorage": "i8", "IntStorage": "i4",
    "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "b1",
}  # fmt: skip
_AS_PICKLE = "Write the dict with pickle: pickle.dump(torch.load(FILE), open(NEW, 'wb')), if you trust where it is from"


def load_file(source: ByteSource, scratch: Path | None = None) -> Any:
    """Return the content of an open file as dicts, lists, text, numbers and arrays, whatever its container.

    A pickle (protocols 0 to 5, Python 2 or 3), a zip of torch.save and a `.npy` give what was saved, a `.npz` a dict of
    its arrays. Arrays of 64 KB and more stay in the file (`FileArray`); in `scratch` those that an old protocol wrote
    as text are decoded and compressed ones unpacked, into files without a name. Raises DataError, and runs nothing, if
    the file is truncated, packed otherwise, of another kind, holds much besides arrays, or names anything outside the
    lists.
    """
    head = source.read(0, min(8, source.size)).tobytes()
    try:
        if head.startswith(NPY):
            return _npy(source, scratch)
        if not head.startswith(ZIP):
            return load(source, scratch)
        members = _members(source)
        root = next((n.removesuffix("data.pkl") for n in members if n.endswith("/data.pkl")), None)
        if root is not None:
            return _torch(source, members, root, scratch)
        if all(name.endswith(".npy") for name in members):
            unpacked = _unpacked(source, members, scratch)
            return {n.removesuffix(".npy"): _npy(part, scratch) for n, part in unpacked.items()}
    except Refused as refused:
        expected, got, do = refused.args
        raise DataError.at(str(source.path), expected=expected, got=got, do=do) from None
    raise refused_file(
        source.path, "a zip archive", f"Unpack it first (unzip {source.path.name}) and import the file inside"
    )


def pickles(source: ByteSource) -> Iterator[ByteSource]:
    """Yield every pickle in an open file: the file itself, or those inside a zip or a `.npy`."""
    head = source.read(0, min(8, source.size)).tobytes()
    if head.startswith(ZIP):
        members = _members(source)
        wanted = {n: m for n, m in members.items() if n.endswith((".pkl", ".npy"))}
        for name, part in _unpacked(source, wanted, None).items():
            if name.endswith(".pkl"):
                yield part
            else:
                yield from pickles(part)
    elif head.startswith(NPY):
        _, _, dtype, start = _npy_header(source)
        if dtype.kind == "O":
            yield source.section(start, source.size - start)
    else:
        yield source


def load_path(path: Path, scratch: Path | None = None) -> Any:
    """Open a file and return its content, as `load_file` does; its big arrays are read when they are asked for."""
    return load_file(open_source(path), scratch)


def _members(source: ByteSource) -> dict[str, zipfile.ZipInfo]:
    try:
        with source.stream() as file, zipfile.ZipFile(file) as archive:
            members = {info.filename: info for info in archive.infolist() if not info.is_dir()}
    except Exception as error:  # any: the bytes are a stranger's
        raise refused_file(source.path, "a truncated or damaged zip archive", "Get the file again") from error
    if not members or len(members) > _MOST:
        raise refused_file(source.path, f"a zip archive of {len(members)} files", "Import the file of features")
    return members


def _unpacked(
    source: ByteSource, members: Mapping[str, zipfile.ZipInfo], scratch: Path | None
) -> dict[str, ByteSource]:
    """Return members as sources: sections of the file, or of one file without a name where they are compressed."""
    packed = {n: i for n, i in members.items() if i.compress_type == zipfile.ZIP_DEFLATED and not i.flag_bits & 1}
    if not packed:
        return {name: _section(source, info) for name, info in members.items()}
    folder = scratch or Path(tempfile.gettempdir())
    size, free = sum(info.file_size for info in packed.values()), shutil.disk_usage(folder).free
    if size > free:
        got = f"arrays of {size / 1e9:.1f} GB once unpacked, and {free / 1e9:.1f} GB free in {folder}"
        raise refused_file(source.path, got, "Free some space, or choose another folder with --data-dir")
    found = {name: _section(source, info) for name, info in members.items() if name not in packed}
    with tempfile.TemporaryFile(dir=folder) as file:
        starts = {name: _unpack(source, info, file) for name, info in packed.items()}
        file.flush()
        whole = ByteSource(source.path, os.fdopen(os.dup(file.fileno()), "rb", buffering=0))
    whole.on_read = lambda n: source.on_read(n)
    return found | {name: whole.section(starts[name], info.file_size) for name, info in packed.items()}


def _unpack(source: ByteSource, info: zipfile.ZipInfo, file: IO[bytes]) -> int:
    """Write a compressed member to the end of a file and return where it begins there; its check sum is checked."""
    start = file.tell()
    with source.stream() as stream:
        try:
            with zipfile.ZipFile(stream) as archive, archive.open(info) as member:
                shutil.copyfileobj(member, file, 1 << 20)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise refused_file(source.path, "a truncated or damaged zip archive", "Get the file again") from error
    if file.tell() - start != info.file_size:
        raise refused_file(source.path, "a truncated or damaged zip archive", "Get the file again")
    return start


def _section(source: ByteSource, info: zipfile.ZipInfo) -> ByteSource:
    """Return a member as a section of the file; it must lie there as it is."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise refused_file(
            source.path,
            "an archive that is encrypted, or compressed in another way than numpy's",
            "Write it with np.savez, or as a pickle",
        )
    try:
        head = source.read(info.header_offset, 30).tobytes()
        if not head.startswith(ZIP):
            raise ValueError
        skip = 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        return source.section(info.header_offset + skip, info.file_size)
    except (ValueError, DataError) as error:
        raise refused_file(source.path, "a truncated or damaged zip archive", "Get the file again") from error


def _npy_header(source: ByteSource) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    try:
        with source.stream() as file:
            version = npy.read_magic(file)
            read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
            shape, fortran, dtype = read(file)
            if not all(type(n) is int and 0 <= n < 2**48 for n in shape) or len(shape) > 8:
                raise ValueError("an impossible shape")
            return tuple(shape), fortran, dtype, file.tell()
    except (Exception, RecursionError) as error:  # any: the bytes are a stranger's
        raise refused_file(source.path, "a damaged .npy array", "Write it again with np.save") from error


def _npy(source: ByteSource, scratch: Path | None) -> Any:
    if not source.read(0, min(6, source.size)).tobytes().startswith(NPY):
        raise refused_file(source.path, "a damaged .npy array", "Write it again with np.save")
    shape, fortran, dtype, start = _npy_header(source)
    if dtype.kind == "O":  # np.save(FILE, dict): a pickle behind the head
        return load(source.section(start, source.size - start), scratch)
    if not Dtype(dtype.str).plain:
        return Foreign(f"an array of dtype {dtype}"[:60], "Save it as float32, or as text")
    if math.prod(shape) * dtype.itemsize != source.size - start:
        raise refused_file(source.path, "an array whose size is another than its head says", "Write it again")
    if 0 in shape or not dtype.itemsize:
        return np.empty(shape, dtype=dtype)
    span = Span(source, start, source.size - start)
    if not fortran:
        return FileArray(span, dtype, shape)
    return FileArray(span, dtype, shape[::-1], tuple(range(len(shape)))[::-1])


def _torch(source: ByteSource, members: dict[str, zipfile.ZipInfo], root: str, scratch: Path | None) -> Any:
    """Read a zip of torch.save: a pickle whose tensors point at the storages beside it."""
    body = _section(source, members[f"{root}data.pkl"])
    order = members.get(f"{root}byteorder")
    big = order is not None and _section(source, order).read(0, order.file_size).tobytes().strip() == b"big"
    names = Builders(source.size, scratch).names | {
        ("torch._utils", "_rebuild_tensor_v2"): named(lambda *a: _tensor(*a)),
        ("torch._utils", "_rebuild_parameter"): named(lambda data, *rest: data),
        ("torch", "Size"): named(lambda sizes=(): list(sizes)),
        **{("torch", name): _StorageName(code) for name, code in _STORAGES.items()},
    }

    def storage(pid: Any) -> Any:
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage" or not isinstance(pid[2], str):
            raise _other()
        kind, key, count = pid[1], pid[2], pid[4]
        if isinstance(kind, ForeignName):
            return kind.value  # a dtype numpy has not: bfloat16, complex, quantised
        member = members.get(f"{root}data/{key}")
        if not isinstance(kind, _StorageName) or type(count) is not int or member is None:
            raise _other()
        dtype = np.dtype((">" if big else "<") + kind.code)
        part = _section(source, member)
        if part.size < count * dtype.itemsize:
            raise _other()
        return _Storage(part, dtype)

    def make(file: BinaryIO) -> Reader:
        return _TorchReader(file, body, names, storage)

    return read_with(body, make)[0]


class _StorageName(Name):
    __slots__ = ("code",)

    def __init__(self, code: str) -> None:
        self.code = code


class _Storage:
    """The numbers of one or more tensors, as a section of the file."""

    __slots__ = ("dtype", "part")

    def __init__(self, part: ByteSource, dtype: np.dtype[Any]) -> None:
        self.part, self.dtype = part, dtype


class _TorchReader(Reader):
    def __init__(self, file: BinaryIO, source: ByteSource, names: Mapping[tuple[str, str], Name], storage: Any) -> None:
        super().__init__(file, source, names)
        self._storage = storage

    def persistent_load(self, pid: Any) -> Any:
        return self._storage(pid)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Any:
    """Stand for torch's `_rebuild_tensor_v2`: a tensor whose numbers lie without gaps, in any order of the axes."""
    if isinstance(storage, Foreign):
        return Foreign("a torch tensor of a kind numpy does not have", "Save x.float() in its place")
    size, stride = list(size), list(stride)
    if not isinstance(storage, _Storage) or len(size) != len(stride) or len(size) > 8:
        raise _other()
    if not all(type(n) is int and 0 <= n < 2**48 for n in (offset, *size, *stride)):
        raise _other()
    if 0 in size:
        return np.empty(size, dtype=storage.dtype)
    order = sorted(range(len(size)), key=lambda a: (-stride[a], -size[a], a))
    wanted = 1
    for a in reversed(order):
        if size[a] != 1 and stride[a] != wanted:
            return Foreign("a torch tensor that is a view with gaps or repeats", "Save x.contiguous() in its place")
        wanted *= size[a]
    item = storage.dtype.itemsize
    if (offset + wanted) * item > storage.part.size:
        raise _other()
    span = Span(storage.part, offset * item, wanted * item)
    axes = tuple(order.index(a) for a in range(len(size)))
    return FileArray(span, storage.dtype, tuple(size[a] for a in order), axes if axes != tuple(sorted(axes)) else None)


def _other() -> Refused:
    return Refused("a file of torch.save with a dict of tensors, arrays and text", "another layout of it", _AS_PICKLE)
